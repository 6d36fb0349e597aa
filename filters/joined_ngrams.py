"""Duplicate word n-grams of a text, counted as datatrove's `find_all_duplicate` counts.

In: the words of a text, one after the other (`filters.ngrams`). Out, per n: code points in n-grams that occurred before. A
walk goes from left to right: an n-gram (its words joined by nothing) that occurred before adds its length and is jumped
over; any other is remembered, and the walk goes on by one word.

The counts are exact. Words joined by nothing are equal also where the cuts differ (`a bc` and `ab c`), so n-grams are
compared byte by byte where their hashes are equal. Most places are never compared: if the L bytes that follow a place occur
nowhere else in the document, then no n-gram of at least L bytes at that place has an equal, whatever n. The walk can pass
over it, since it is neither found nor finds anything. Marks of one byte, indexed by hash bits (once, more often), tell which
16 bytes occur once. Of the places that are left, 1 in 6 of English, those with the same 16 bytes are grouped: where only two
are, L is one more than what they have in common. n-grams that may still have an equal are marked by a hash of their own,
unless they are so many that most have one.

Costs a word, on one core of an AMD EPYC (Zen 4) at 2.6 GHz that others used too, clean English: words written 1.9 ns, first
marks 2.1, places found 0.9, groups 1.9, marks of 5- to 10-grams 3.1, walks 2.8; in text that repeats itself (one place in
three) the walks are 10.5 of 23. Floor: 16 bytes read and a mark set and read, 2 ns.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curate.core.text.blocks import BLOCK
from curate.core.text.hashing import M1, M2, P0, P1
from curate.core.text.memory import inlined
from curate.core.text.unaligned import load_word
from filters.blocks import hash_block, numbers_of, same_block, same_until
from filters.spans import characters_of, slot_bits

#: Marks per place, and most of them: 64 MiB. A fuller table only leaves more places to compare: 3 of 100 with 32.
MARKS: Final = 32
MOST_MARKS: Final = 26
#: Where one place in so many may hold a duplicate, most of them do, and they are not told apart once more.
_OFTEN: Final = 5
#: Bytes by which places are told apart; n-grams of fewer are left to the hash of their own.
_FIRST_LEVEL: Final = 16
#: No length is known at which the place is the only one of its kind.
_NO_BOUND: Final = np.iinfo(np.int32).max
#: The table of n-grams starts with 2¹⁴ slots at most and grows fourfold: a text that repeats one word needs one slot.
_FIRST_SLOTS: Final = 14
_LOW32: Final = 0xFFFFFFFF


@inlined
def duplicate_n_grams(  # type: ignore[no-untyped-def]  # numba infers
    joined, cuts, count, narrow, sizes, marks, keys, places, bounds, chosen, flags, groups, table, out,
):  # fmt: skip
    """out[number]: as above, for n = sizes[number], ascending. joined, cuts, narrow: of `filters.ngrams`.

    marks: uint8[2**slot_bits(MARKS * count, MOST_MARKS)]; keys: uint64[count]; places, bounds, chosen: int32[count];
    flags: uint8[count + BLOCK]; groups: int32[2**slot_bits(2 * count, 40)], table: int64 of as many.
    """
    if sizes.size == 0 or count <= sizes[0]:
        return
    left = _repeated_places(joined, cuts, count, sizes[0], marks, keys, places, bounds, chosen, flags, groups)
    for number in range(sizes.size):
        n = sizes[number]
        left = _still_repeated(joined, cuts, count, n, places, bounds, keys, left)
        if left < 2:
            break
        if _OFTEN * left < count:
            some = _twice(places, left, marks, keys, chosen)
        else:
            some = left
            for c in range(left):
                chosen[c] = places[c]
        enough = slot_bits(2 * some, 40)
        bits = min(enough, _FIRST_SLOTS)
        found = _walk(joined, cuts, n, chosen, keys, some, table, bits, narrow)
        while found < 0:
            bits = min(enough, bits + 2)
            found = _walk(joined, cuts, n, chosen, keys, some, table, bits, narrow)
        out[number] = found


@inlined
def _repeated_places(joined, cuts, count, shortest, marks, keys, places, bounds, chosen, flags, groups):  # type: ignore[no-untyped-def]  # numba infers
    """Finds the places that may hold a duplicate; returns how many.

    places, bounds: these, and a number of bytes: the n-grams there of so many or more have no equal.
    """
    count -= shortest - 1  # where the last n-grams begin
    bits = slot_bits(MARKS * count, MOST_MARKS)
    shift = np.uint64(64 - bits)
    marks[: 1 << bits] = 0
    for p in range(count):
        at = joined + np.int64(cuts[p])
        key = load_word(at) * P0 + load_word(at + 8) * P1
        keys[p] = key
        slot = key >> shift
        marks[slot] = np.uint8(1) + np.uint8(marks[slot] != 0)
    for p in range(count):
        flags[p] = marks[keys[p] >> shift]
    following = cuts[shortest:]
    for p in range(count):
        flags[p] |= np.uint8(2) * np.uint8(following[p] - cuts[p] < _FIRST_LEVEL)
    left = numbers_of(np.int64(flags.ctypes.data), count, 2, places)
    # Those that share a slot: alone with their bytes, one of two, or one of many.
    bits = slot_bits(2 * left, 40)
    shift = np.uint64(64 - bits)
    chosen[:left] = 0
    groups[: 1 << bits] = 0
    last = np.int64(1 << bits) - 1
    for c in range(left):
        key = keys[places[c]]
        bounds[c] = _FIRST_LEVEL
        slot = np.int64(key >> shift)
        while groups[slot] != 0 and keys[places[groups[slot] - 1]] != key:
            slot = (slot + 1) & last
        if groups[slot] == 0:
            groups[slot] = c + 1
            continue
        first = groups[slot] - 1
        second = chosen[first]
        chosen[first] = c
        if second == 0:
            alike = same_until(joined + np.int64(cuts[places[first]]), joined + np.int64(cuts[places[c]]))
            bound = np.int32(max(alike + 1, _FIRST_LEVEL)) if alike < BLOCK else _NO_BOUND
            bounds[first] = bound
            bounds[c] = bound
        else:
            bounds[first] = _NO_BOUND
            bounds[second] = _NO_BOUND
            bounds[c] = _NO_BOUND
    return left


@inlined
def _still_repeated(joined, cuts, count, n, places, bounds, keys, left):  # type: ignore[no-untyped-def]  # numba infers
    """Keeps the places that may hold a duplicate of n words; those that do not hold none of more words.

    keys: of their n-grams. They are made here and not in the walk, where each would be waited for.
    """
    kept = np.int64(0)
    while left > 0 and places[left - 1] + n > count:
        left -= 1
    for c in range(left):
        p, bound = places[c], bounds[c]
        start = np.int64(cuts[p])
        length = np.int64(cuts[p + n]) - start
        places[kept] = p
        bounds[kept] = bound
        keys[kept] = _key(joined + start, length)
        kept += np.int64(length < bound)
    return kept


@inlined
def _key(at, length):  # type: ignore[no-untyped-def]  # numba infers
    """A hash of `length` bytes at an address; BLOCK bytes beyond them can be read."""
    key = hash_block(at, min(length, np.int64(BLOCK)))
    while length > BLOCK:
        length -= BLOCK
        at += BLOCK
        key = (key ^ (key >> np.uint64(32))) * M1 + hash_block(at, min(length, np.int64(BLOCK)))
    return (key ^ (key >> np.uint64(32))) * M2


@inlined
def _twice(places, left, marks, keys, chosen):  # type: ignore[no-untyped-def]  # numba infers
    """Chooses the places whose n-gram may have an equal among them, and puts their keys first; returns how many."""
    bits = slot_bits(MARKS * left, MOST_MARKS)
    shift = np.uint64(64 - bits)
    marks[: 1 << bits] = 0
    for c in range(left):
        slot = keys[c] >> shift
        marks[slot] = np.uint8(1) + np.uint8(marks[slot] != 0)
    some = np.int64(0)
    for c in range(left):
        key = keys[c]
        chosen[some] = places[c]
        keys[some] = key
        some += np.int64(marks[key >> shift] > 1)
    return some


@inlined
def _walk(joined, cuts, n, places, keys, left, table, bits, narrow):  # type: ignore[no-untyped-def]  # numba infers
    """Code points of duplicate n-grams among `places`, with their keys; -1 if the table is too small.

    table: int64[≥ 2**bits], 31 bits of the n-gram's hash above its place + 1.
    """
    slots = np.int64(1) << bits
    table[:slots] = 0
    last = np.uint64(slots - 1)
    room = slots >> 1
    total, go_on = np.int64(0), np.int64(0)
    for c in range(left):
        p = np.int64(places[c])
        if p < go_on:
            continue
        start = np.int64(cuts[p])
        length = np.int64(cuts[p + n]) - start
        key = keys[c]
        mark = np.int64(key >> np.uint64(33))
        slot = (key >> np.uint64(2)) & last
        found = False
        while table[slot] != 0:
            entry = table[slot]
            if entry >> 32 == mark:
                other = (entry & _LOW32) - 1
                there = np.int64(cuts[other])
                if np.int64(cuts[other + n]) - there == length and _same(
                    joined + start, joined + there, length
                ):
                    found = True
                    break
            slot = (slot + np.uint64(1)) & last
        if found:
            total += length if narrow else characters_of(joined + start, length)
            go_on = p + n
        else:
            if room == 0:
                return np.int64(-1)
            room -= 1
            table[slot] = mark << 32 | (p + 1)
    return total


@inlined
def _same(one, other, length):  # type: ignore[no-untyped-def]  # numba infers
    """Whether `length` bytes at two addresses are the same; BLOCK bytes beyond them can be read."""
    while length > BLOCK:
        if not same_block(one, other, np.int64(BLOCK)):
            return False
        one += BLOCK
        other += BLOCK
        length -= BLOCK
    return same_block(one, other, length)
