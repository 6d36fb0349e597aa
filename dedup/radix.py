"""Radix sort on local scratch: the numbers of documents from the best rank on.

In: rank: int64[documents], any values. Out: number[documents], every number once, by rank, equal ranks ascending. The answer
and an array like it lie on scratch, since `argsort` would answer in plain memory. A rank has six digits of 11 bits; one in
which all ranks are equal is counted and costs no more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import kernel
from dedup.numbering import Numbers, Scratch

#: Bits of a rank to sort by at a time; six times as many are 66.
_DIGIT: Final = 11


def best_first(rank: npt.NDArray[np.int64], number: npt.DTypeLike, scratch: Scratch) -> Numbers:
    """number[len(rank)]: numbers by rank, equal ones ascending; an array of the scratch."""
    order, spare = (scratch.array(len(rank), number, 0) for _ in range(2))
    counts = np.zeros((6, 1 << _DIGIT), np.int64)
    _count(rank, order, counts)
    for digit in np.flatnonzero(np.count_nonzero(counts, axis=1) > 1):
        _by_digit(rank, digit * _DIGIT, np.cumsum(counts[digit]) - counts[digit], order, spare)
        order, spare = spare, order
    return order


@kernel
def _count(rank, order, counts):  # type: ignore[no-untyped-def]  # numba infers
    """How often each digit has each value; and order as it is before the first one is sorted by."""
    for i in range(rank.size):
        order[i] = i
        value = np.uint64(rank[i]) ^ np.uint64(1 << 63)
        for digit in range(counts.shape[0]):
            counts[digit, np.int64(value >> np.uint64(digit * _DIGIT)) & ((1 << _DIGIT) - 1)] += 1


@kernel
def _by_digit(rank, shift, free, order, out):  # type: ignore[no-untyped-def]  # numba infers
    """order, stably by the digit of rank that begins at bit `shift`; free: where each value's numbers begin, moved on."""
    for k in range(order.size):
        i = order[k]
        value = np.uint64(rank[i]) ^ np.uint64(1 << 63)
        digit = np.int64(value >> np.uint64(shift)) & ((1 << _DIGIT) - 1)
        out[free[digit]] = i
        free[digit] += 1
