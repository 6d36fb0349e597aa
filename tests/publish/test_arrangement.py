"""Laws of where rows stand: every row in exactly one row group of one file, files as many as were announced.

Without a shuffle rows keep their order; with one, the order is a permutation that the seed and the documents decide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core.plan import OutputPlan
from curate.io.publish import (
    FileLayout,
    arrange,
    count_rows,
    file_groups,
    file_name,
    row_groups,
    shuffle_key,
)


def output(**changes: Any) -> OutputPlan:
    given = {
        "name": "data",
        "path": "/out",
        "where": None,
        "partition_by": "lang",
        "shard_bytes": 1000,
        "row_group_bytes": 300,
        "seed": None,
        "preset": None,
        "columns": (("text", "text"),),
    }
    return OutputPlan(**{**given, **changes})


VALUES = ("deu_Latn", "eng_Latn", None, "und", "x/y")

#: Shards of batches of (value, size) rows.
corpora = st.lists(
    st.lists(st.lists(st.tuples(st.sampled_from(VALUES), st.integers(0, 700)), max_size=8), max_size=3),
    max_size=5,
)


def laid_out(plan: OutputPlan, corpus: Any) -> tuple[FileLayout, list[tuple[int, str, int, int]]]:
    """The layout of a corpus, and for every row its doc, its partition, its row group and its size."""
    by = plan.partition_by is not None
    counts: dict[int, dict[str, tuple[int, int]]] = {shard: {} for shard in range(len(corpus))}
    for shard, batches in enumerate(corpus):
        for batch in batches:
            values = pa.array([v for v, _ in batch], pa.string()) if by else None
            count_rows(values, pa.array([s for _, s in batch], pa.int64()), counts[shard])
    layout = FileLayout.from_json(arrange(plan, counts).to_json())
    assert layout == arrange(plan, counts)
    placed = []
    for shard, batches in enumerate(corpus):
        seen: dict[str, int] = {}
        first = 0
        for batch in batches:
            docs = np.arange(first, first + len(batch), dtype=np.int64) + (shard << 32)
            first += len(batch)
            values = pa.array([v for v, _ in batch], pa.string()) if by else None
            sizes = np.array([s for _, s in batch], np.int64)
            groups = row_groups(layout, plan, shard, values, docs, sizes, seen)
            names = [(v or "und") if by else "" for v, _ in batch]
            placed += list(zip(docs.tolist(), names, groups.tolist(), sizes.tolist(), strict=True))
    return layout, placed


@settings(deadline=None)
@given(corpus=corpora, seed=st.none() | st.integers(0, 2**63 - 1), by=st.sampled_from(["lang", None]))
def test_every_row_stands_in_one_row_group_of_its_own_partition(
    corpus: Any, seed: int | None, by: str | None
) -> None:
    plan = output(seed=seed, partition_by=by)
    layout, placed = laid_out(plan, corpus)
    owner = {
        group: layout.partition_of_file(file).value
        for file in range(layout.files)
        for group in file_groups(layout, file)
    }
    assert len(owner) == sum(p.files * p.groups for p in layout.partitions)
    assert set(owner) == set(range(len(owner)))
    for _, value, group, _ in placed:
        assert owner[group] == value
    for partition in layout.partitions:
        assert partition.rows == sum(value == partition.value for _, value, _, _ in placed)


@settings(deadline=None)
@given(corpus=corpora, by=st.sampled_from(["lang", None]))
def test_without_a_shuffle_rows_keep_their_order_and_groups_are_even(corpus: Any, by: str | None) -> None:
    plan = output(partition_by=by)
    layout, placed = laid_out(plan, corpus)
    for partition in layout.partitions:
        rows = [(group, size) for _, value, group, size in sorted(placed) if value == partition.value]
        assert [group for group, _ in rows] == sorted(group for group, _ in rows)
        share = max(partition.bytes, 1) / (partition.files * partition.groups)
        for wanted in {group for group, _ in rows}:
            sizes = [size for group, size in rows if group == wanted]
            assert sum(sizes) <= share + max(sizes)  # a row stands where it begins


@settings(deadline=None)
@given(corpus=corpora)
def test_files_are_named_as_they_are_counted(corpus: Any) -> None:
    plan = output()
    layout, _ = laid_out(plan, corpus)
    names = [file_name(plan, layout, file) for file in range(layout.files)]
    assert len(set(names)) == len(names)
    for partition in layout.partitions:
        mine = [n for n in names if n.endswith(f"-of-{partition.files:05d}.parquet")]
        assert len(mine) >= partition.files


def test_the_number_of_files_follows_from_the_bytes() -> None:
    plan = output(shard_bytes=100, row_group_bytes=50)
    for size, files in ((0, 1), (1, 1), (100, 1), (101, 2), (1000, 10), (1001, 11)):
        layout = arrange(plan, {0: {"deu_Latn": (500, size)}})
        assert layout.files == files
        assert layout.partitions[0].groups == max(1, round(size / files / 50))


def test_there_are_never_more_files_than_rows() -> None:
    assert arrange(output(shard_bytes=10), {0: {"a": (3, 10_000)}}).files == 3


def test_an_output_without_rows_is_one_empty_file() -> None:
    for by, name in (("lang", "und/data-00000-of-00001.parquet"), (None, "data-00000-of-00001.parquet")):
        plan = output(partition_by=by)
        layout = arrange(plan, {0: {}, 1: {}})
        assert layout.files == 1
        assert file_name(plan, layout, 0) == name


@given(
    seed=st.integers(0, 2**63 - 1), docs=st.lists(st.integers(0, 2**62), unique=True, min_size=1, max_size=50)
)
def test_the_shuffle_gives_different_documents_different_keys(seed: int, docs: list[int]) -> None:
    keys = shuffle_key(seed, np.array(docs, np.int64))
    assert len(set(keys.tolist())) == len(docs)
    assert shuffle_key(seed, np.array(docs[::-1], np.int64)).tolist() == keys.tolist()[::-1]


def test_the_shuffle_is_uniform_over_consecutive_documents() -> None:
    """A chi-square test of 64 ranges of the key, for numbers as real shards have them; 99.99 % quantile of 63 degrees."""
    docs = np.concatenate([np.arange(20_000, dtype=np.int64) + (shard << 32) for shard in range(5)])
    for seed in (0, 1, 2, 12345, 2**63 - 1):
        ranges = np.bincount((shuffle_key(seed, docs) >> np.uint64(58)).astype(int), minlength=64)
        expected = len(docs) / 64
        assert ((ranges - expected) ** 2 / expected).sum() < 117


def test_the_shuffle_leaves_no_order_and_another_seed_gives_another() -> None:
    docs = np.arange(10_000, dtype=np.int64)
    order = np.argsort(shuffle_key(1, docs))
    other = np.argsort(shuffle_key(2, docs))
    assert abs(np.corrcoef(order, docs)[0, 1]) < 0.05
    assert abs(np.corrcoef(order, other)[0, 1]) < 0.05
    assert (np.abs(np.diff(order)) == 1).mean() < 0.01


@pytest.mark.parametrize("rows", [1, 999, 5000])
def test_shuffled_row_groups_are_about_equal(rows: int) -> None:
    plan = output(
        seed=7, partition_by=None, shard_bytes=rows * 100 // 4 + 1, row_group_bytes=rows * 100 // 16 + 1
    )
    layout = arrange(plan, {0: {"": (rows, rows * 100)}})
    groups = row_groups(layout, plan, 0, None, np.arange(rows, dtype=np.int64), np.ones(rows, np.int64), {})
    sizes = np.bincount(groups, minlength=layout.partitions[0].groups * layout.files)
    mean = rows / len(sizes)
    assert sizes.sum() == rows
    assert sizes.max() < mean + 6 * mean**0.5 + 1
