"""Ranks of documents in their groups, and which of them several columns together let pass; for `filters.quantile`.

A rank is the weight of what stands before over the weight of all, by value, then by `doc`, of which the smaller one stands
higher. Groups of a partition are sorted in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.columns import DOC
from curate.core.stage import Context, Reduce

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Rule(NamedTuple):
    """How several columns decide. name: as in `keep:`; least: columns that must pass, of `k_of_n`; drops: whether documents
    without a value are dropped."""

    name: str
    quantile: float
    least: int
    drops: bool


def verdict_schema() -> pa.Schema:
    """verdict: 0 stays, 1 below the quantile, 2 without a value and not wanted."""
    return pa.schema(
        [
            pa.field(DOC, pa.int64(), nullable=False),
            pa.field("verdict", pa.int8()),
            pa.field("ranks", pa.list_(pa.float64())),
        ]
    )


class Rank(Reduce):
    """Sorts the groups of a partition. columns: how many values a document has."""

    name = "rank"

    def __init__(self, rule: Rule, columns: int) -> None:
        self._rule = rule
        self._columns = columns

    def schema(self) -> pa.Schema:
        return verdict_schema()

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        batches = list(records)
        if not batches:
            return
        whole = pa.concat_batches(batches)
        del batches
        doc, weight = (whole.column(name).to_numpy() for name in (DOC, "weight"))
        group = np.unique(whole.column("group").to_numpy(), return_inverse=True)[1]
        ranks = np.full((len(doc), self._columns), np.nan)
        passes = np.zeros(ranks.shape, np.bool_)
        for i in range(self._columns):
            values = whole.column(f"value{i}").to_numpy()
            ranks[:, i], passes[:, i] = ranked(group, values, doc, weight, self._rule.quantile)
        known = ~np.isnan(ranks)
        stays = together(self._rule, ranks, passes, known)
        if stays is None:
            again = combined(self._rule, ranks, known)
            stays = ranked(group, again, doc, weight, self._rule.quantile)[1]
        yield verdicts(doc, ranks, stays, self._rule, context), doc >> 32


def verdicts(doc: Int64s, ranks: Float64s, stays: Mask, rule: Rule, context: Context) -> pa.RecordBatch:
    """The records for shards. ranks: float64[documents, columns], nan without a value."""
    known = ~np.isnan(ranks)
    valued = known.any(axis=1)
    verdict = np.where(stays, 0, 1).astype(np.int8)
    verdict[~valued] = 2 if rule.drops else 0
    if context.unit is not None:
        context.unit.count("missing", int((~valued).sum()))
    flat = pa.array(ranks.ravel(), mask=~known.ravel())
    ends = pa.array(np.arange(len(doc) + 1, dtype=np.int32) * ranks.shape[1])
    arrays = [pa.array(doc), pa.array(verdict), pa.ListArray.from_arrays(ends, flat)]
    return pa.RecordBatch.from_arrays(arrays, schema=verdict_schema())


def together(rule: Rule, ranks: Float64s, passes: Mask, known: Mask) -> Mask | None:
    """bool[documents]: whether enough of the ranks pass; None if the rule ranks once more. A column without a value has no
    say."""
    if rule.name in ("mean_rank", "max_rank"):
        return None
    least = 1 if rule.name == "any" else rule.least if rule.name == "k_of_n" else ranks.shape[1]
    enough: Mask = passes.sum(axis=1) >= np.minimum(known.sum(axis=1), least)
    return enough


def combined(rule: Rule, ranks: Float64s, known: Mask) -> Float64s:
    """float64[documents]: the mean or the greatest of the ranks, nan without any."""
    if rule.name == "max_rank":
        whole = np.where(known, ranks, -1).max(axis=1)
    else:
        whole = np.where(known, ranks, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), whole, np.nan)


def ranked(
    group: Int64s, value: Float64s, doc: Int64s, weight: Int64s, quantile: float
) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Of each document in its group: float64 rank, nan without a value, and bool, whether it reaches the quantile.

    Weights are added as integers and compared with the quantile as the decimal fraction it is written as, so 0.7 of 10 is 7.
    """
    ranks = np.full(len(value), np.nan)
    passes = np.zeros(len(value), np.bool_)
    there = np.flatnonzero(~np.isnan(value))
    order = there[np.lexsort((-doc[there], value[there], group[there]))]
    groups, sums = group[order], np.cumsum(weight[order])
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    share = Fraction(str(quantile))
    for start, end in pairwise(np.append(starts, len(order)).tolist()):
        rows = order[start:end]
        base = int(sums[start]) - int(weight[order[start]])
        total = int(sums[end - 1]) - base
        before = sums[start:end] - weight[rows] - base
        ranks[rows] = before / max(total, 1)
        passes[rows] = before >= -(-share.numerator * total // share.denominator)
    return ranks, passes
