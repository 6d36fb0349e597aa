"""Small sets of words, one per language, that a kernel can look tokens up in.

A token is first tested against 256 bits per set (a mix of its length, first and last byte), which turns away
nine in ten at the cost of three loads; the rest are hashed, found by open addressing and compared byte for
byte, so no hash is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.text.hashing import P0, hash_bytes
from curate.core.text.memory import address_of, inlined, kernel, view_uint8


@dataclass(frozen=True)
class WordSets:
    """names: the sets' keys, whose position is the set's number. Words are numbered through all the sets.

    data: uint8[bytes] all words; starts: int32[words+1] into it; sets: int32[words] the set of each;
    maybe: uint8[sets, 256] the first test; slots: int32[2^k] word or -1, by hash.
    """

    names: tuple[str, ...]
    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    sets: npt.NDArray[np.int32]
    maybe: npt.NDArray[np.uint8]
    slots: npt.NDArray[np.int32]

    @classmethod
    def build(cls, words: Mapping[str, Sequence[str]]) -> WordSets:
        """Sets of words (exact spelling; repetitions count once)."""
        distinct = [
            (number, word.encode())
            for number, name in enumerate(words)
            for word in dict.fromkeys(words[name])
        ]
        # At least a word of padding, so that no array is ever empty.
        data = np.frombuffer(b"".join(word for _, word in distinct) + b"\0", np.uint8).copy()
        starts = np.zeros(len(distinct) + 1, np.int32)
        np.cumsum([len(word) for _, word in distinct], out=starts[1:])
        sets = np.array([number for number, _ in distinct] or [0], np.int32)
        maybe = np.zeros((max(1, len(words)), 256), np.uint8)
        slots = np.full(1 << max(4, (3 * len(distinct)).bit_length()), -1, np.int32)
        _insert(address_of(data), data.size, len(distinct), starts, sets, maybe, slots)
        return cls(tuple(words), data, starts, sets, maybe, slots)

    def __len__(self) -> int:
        return len(self.starts) - 1


@inlined
def _sketch(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    return (np.int64(data[start]) + 7 * np.int64(data[end - 1]) + 29 * (end - start)) & 255


@inlined
def _slot(data, start, end, number, slots):  # type: ignore[no-untyped-def]  # numba infers
    return np.int64((hash_bytes(data, start, end) + np.uint64(number) * P0) & np.uint64(slots.size - 1))


@kernel
def _insert(address, size, words, starts, sets, maybe, slots):  # type: ignore[no-untyped-def]  # numba infers
    data = view_uint8(address, size)
    for word in range(words):
        start, end = np.int64(starts[word]), np.int64(starts[word + 1])
        maybe[sets[word], _sketch(data, start, end)] = 1
        slot = _slot(data, start, end, sets[word], slots)
        while slots[slot] >= 0:
            slot = (slot + 1) & (slots.size - 1)
        slots[slot] = word


@inlined
def find_word(data, start, end, number, words, starts, sets, maybe, slots):  # type: ignore[no-untyped-def]  # numba infers
    """The word of set `number` that equals data[start:end] (not empty), or -1. words: the sets' own data."""
    if maybe[number, _sketch(data, start, end)] == 0:
        return -1
    slot = _slot(data, start, end, number, slots)
    while slots[slot] >= 0:
        word = slots[slot]
        first = np.int64(starts[word])
        if sets[word] == number and starts[word + 1] - first == end - start:
            k = 0
            while k < end - start and data[start + k] == words[first + k]:
                k += 1
            if k == end - start:
                return word
        slot = (slot + 1) & (slots.size - 1)
    return -1
