"""Repeated word n-grams of a batch of texts: the most frequent ones, and all that occurred before.

In: the tokens of a batch. Out, per document and n, code points: `filters.top_ngrams` and `filters.joined_ngrams` say which.

Both go through one document after the other, so that what they share is in the second-level cache: the words written one
after the other, nothing between them, and where each begins.

    joined    address of the words' bytes and MARGIN bytes of zeros, so that every load lies inside the buffer
    cuts      int32[count + 1]   where word p begins; the last one is where the words end
    narrow    whether all is ASCII: as many code points as bytes

Memory, per word of the longest document: 70 bytes, up to 48 more where most n-grams are found twice, and the words' bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.blocks import BLOCK
from curate.core.text.memory import address_of, inlined, kernel
from curate.core.text.tokens import Tokens
from curate.core.text.unaligned import load_word, store_word
from filters.joined_ngrams import MARKS, MOST_MARKS, duplicate_n_grams
from filters.spans import slot_bits, word_at
from filters.top_ngrams import COUNTERS, MOST_COUNTERS, top_n_grams

MARGIN: Final = 80
_HIGH_BITS: Final = np.uint64(0x8080808080808080)

Numbers = npt.NDArray[np.int64]


def count_n_grams(tokens: Tokens, top_sizes: Numbers, duplicate_sizes: Numbers) -> tuple[Numbers, Numbers]:
    """int64[rows, top_sizes], -1 where there are fewer than n words, and int64[rows, duplicate_sizes].

    Sizes: int64[n], ascending, all ≥ 1.
    """
    rows = len(tokens.docs) - 1
    top = np.full((rows, len(top_sizes)), -1, np.int64)
    duplicate = np.zeros((rows, len(duplicate_sizes)), np.int64)
    filled = np.flatnonzero(np.diff(tokens.docs))
    if len(filled):
        longest = int(np.diff(tokens.docs).max())
        reach = tokens.ends[tokens.docs[filled + 1] - 1] - tokens.starts[tokens.docs[filled]]
        joined = np.empty(int(reach.max()) + MARGIN, np.uint8)
        _count(
            address_of(tokens.data), tokens.data.size, tokens.starts, tokens.ends, tokens.hashes, tokens.docs, longest,
            address_of(joined), top_sizes, duplicate_sizes, top, duplicate,
        )  # fmt: skip
    return top, duplicate


@kernel
def _count(  # type: ignore[no-untyped-def]  # numba infers
    address, size, starts, ends, hashes, docs, longest, joined, top_sizes, duplicate_sizes, top, duplicate,
):  # fmt: skip
    """joined: address of room for the words of any document and MARGIN bytes."""
    cuts, keys = np.empty(longest + 1, np.int32), np.empty(longest, np.uint64)
    places, bounds, chosen = (
        np.empty(longest, np.int32),
        np.empty(longest, np.int32),
        np.empty(longest, np.int32),
    )
    marks = np.empty(
        1 << max(slot_bits(COUNTERS * longest, MOST_COUNTERS), slot_bits(MARKS * longest, MOST_MARKS)),
        np.uint8,
    )
    most = np.empty(longest + BLOCK, np.uint8)
    slots = 1 << slot_bits(2 * longest, 40)
    tallies, frequencies = np.empty(slots, np.int32), np.empty(slots, np.int32)
    table = np.empty(1 << slot_bits(2 * longest, 40), np.int64)
    for row in range(docs.size - 1):
        first, count = docs[row], docs[row + 1] - docs[row]
        if count == 0:
            continue
        narrow = _join(
            address, size, starts[first : first + count], ends[first : first + count], joined, cuts
        )
        top_n_grams(
            joined, cuts, hashes[first : first + count], narrow, top_sizes,
            marks, most, keys, places, tallies, frequencies, top[row],
        )  # fmt: skip
        duplicate_n_grams(
            joined,
            cuts,
            count,
            narrow,
            duplicate_sizes,
            marks,
            keys,
            places,
            bounds,
            chosen,
            most,
            tallies,
            table,
            duplicate[row],
        )


@inlined
def _join(address, size, starts, ends, joined, cuts):  # type: ignore[no-untyped-def]  # numba infers
    """Writes the words one after the other, zeros after them, and where each begins. Whether all is ASCII."""
    at = np.int64(0)
    for t in range(starts.size):
        start, length = np.int64(starts[t]), np.int64(ends[t]) - np.int64(starts[t])
        cuts[t] = at
        done = np.int64(0)
        if (
            start + 16 <= size
        ):  # nearly all words are that short; what is too much is overwritten by the next ones
            store_word(joined + at, load_word(address + start))
            store_word(joined + at + 8, load_word(address + start + 8))
            done = np.int64(16)
        while done < length:
            store_word(
                joined + at + done, word_at(address, size, start + done, min(length - done, np.int64(8)))
            )
            done += 8
        at += length
    cuts[starts.size] = at
    for k in range(0, MARGIN - 8 + 1, 8):
        store_word(joined + at + k, np.uint64(0))
    high = np.uint64(0)
    for k in range(0, at, 8):
        high |= load_word(joined + k)
    return high & _HIGH_BITS == 0
