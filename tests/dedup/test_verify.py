"""Pairs find their sketches, and only those that are alike go on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from curate.core.stage import Context
from dedup import verify
from dedup.evidence import Evidence, Sketches, Words
from dedup.records import EDGE, FOUND
from dedup.verify import EVIDENCE, Attach, Fetch, Measure, Verify, side_schema, slices
from tests.dedup.phases import Parts, run_phase, unit_of

PLACES = 16
Sketch = npt.NDArray[np.uint8]


def as_array(evidence: Evidence, rows: list[Sketch]) -> pa.Array:
    """Sketches as they are, or a word for each (place, byte): two ways to say what documents have in common."""
    if isinstance(evidence, Words):
        words = [[place << 8 | int(b) for place, b in enumerate(row)] for row in rows]
        return pa.array([[1, *row] for row in words], evidence.type)  # each word is a shingle
    return pa.array([row.tobytes() for row in rows], evidence.type)


class Store:
    """Documents with evidence over a few shards."""

    def __init__(self, sketches: dict[int, Sketch], evidence: Evidence | None = None) -> None:
        self.sketches = sketches
        self.evidence = evidence or Sketches(PLACES)
        self.side: dict[int, list[pa.RecordBatch]] = {shard: [] for shard in range(5)}
        for shard in self.side:
            docs = sorted(doc for doc in sketches if doc >> 32 == shard)
            for part in (docs[:2], docs[2:]):  # several batches, the first perhaps empty
                arrays = [pa.array(part, pa.int64()), as_array(self.evidence, [sketches[d] for d in part])]
                self.side[shard].append(pa.RecordBatch.from_arrays(arrays, schema=side_schema(self.evidence)))
        self.counts: Counter[str] = Counter()

    def run(
        self, phase: Attach | Verify | Fetch | Measure, parts: Parts, groups: int, scratch: Path
    ) -> Parts:
        out: Parts = {}
        for unit in range(groups):
            found = run_phase(
                phase, parts, unit_of(unit, self.side, 0, self.counts), scratch, random.Random(unit)
            )
            for partition, batches in found.items():
                out.setdefault(partition, []).extend(batches)
        return out

    def alike(self, one: int, other: int) -> float:
        """The similarity, in plain Python."""
        equal = sum(a == b for a, b in zip(self.sketches[one], self.sketches[other], strict=True))
        if isinstance(self.evidence, Words):
            return float(np.float32(equal / (2 * PLACES - equal)))
        return float(np.float32(min(1, max(0, (equal / PLACES - 1 / 256) / (1 - 1 / 256)))))


def made(seed: int, evidence: Evidence | None = None) -> tuple[Store, list[tuple[int, int]]]:
    """A store, and pairs (doc, other) of families of which most are alike."""
    rng = np.random.default_rng(seed)
    sketches: dict[int, Sketch] = {}
    pairs: list[tuple[int, int]] = []
    for family in range(30):
        kinds = rng.integers(0, 256, (2, PLACES), dtype=np.uint8)
        docs = [int(rng.integers(0, 5)) << 32 | family * 10 + n for n in range(6)]
        for doc in docs:
            sketch = kinds[rng.integers(0, 2)].copy()
            changed = rng.integers(0, PLACES, int(rng.integers(0, 5)))
            sketch[changed] = rng.integers(0, 256, len(changed), dtype=np.uint8)
            sketches[doc] = sketch
        pairs += [(doc, docs[0]) for doc in docs[1:]]
    return Store(sketches, evidence), pairs


def edge_parts(pairs: list[tuple[int, int]], groups: int) -> Parts:
    parts: Parts = {}
    for doc, other in pairs:
        row = {"doc": doc, "other": other, "rank": doc % 7, "other_rank": other % 7}
        parts.setdefault((doc >> 32) % groups, []).append(pa.RecordBatch.from_pylist([row], schema=EDGE))
    return parts


KINDS = [Sketches(PLACES), Words()]


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("bound", [0.7, 0.85])
@pytest.mark.parametrize("evidence", KINDS, ids=["sketches", "words"])
def test_a_pair_goes_on_exactly_if_it_is_alike(
    tmp_path: Path, groups: int, bound: float, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_COPIED", 7 * PLACES)
    monkeypatch.setattr("dedup.evidence._ROWS", 7)
    store, pairs = made(groups, evidence)
    attached = store.run(
        Attach(groups, store.evidence), edge_parts([*pairs, *pairs[:40]], groups), groups, tmp_path
    )
    assert store.counts["candidates"] == len(pairs)
    verified = store.run(Verify(groups, store.evidence, bound), attached, groups, tmp_path)
    assert set(verified) == {0}
    rows = [row for batch in verified[0] for row in batch.to_pylist()]
    for row in rows:
        assert row["similarity"] == np.float32(store.alike(row["doc"], row["other"])) >= np.float32(bound)
        assert (row["rank"], row["other_rank"]) == (row["doc"] % 7, row["other"] % 7)
    found = {(row["doc"], row["other"]) for row in rows}
    direct = {pair for pair in pairs if np.float32(store.alike(*pair)) >= np.float32(bound)}
    assert found & set(pairs) == direct
    assert store.counts["rejected"] == len(pairs) - len(direct) > 10
    # Those that their star rejected have a star of their own: the second kind of a family is found too.
    again = found - set(pairs)
    assert store.counts["restarred"] == len(again) > 5


class Large:
    """Documents of shard 0 with words of a megabyte each, and every pair of them; the memory that phases take of Arrow."""

    count, words = 16, 1 << 18

    def __init__(self) -> None:
        self.pairs = [(one, other) for one in range(self.count) for other in range(one)]

    def side(self) -> dict[int, list[pa.RecordBatch]]:
        return {0: [self._record(doc) for doc in range(self.count)]}

    def _record(self, doc: int) -> pa.RecordBatch:
        shared = np.arange(self.words, dtype=np.uint32)
        shared[0] = 1  # the width
        kept = pa.LargeListArray.from_arrays(pa.array([0, self.words], pa.int64()), pa.array(shared))
        return pa.RecordBatch.from_arrays([pa.array([doc], pa.int64()), kept], schema=side_schema(Words()))

    def records(self, *, attached: bool) -> Iterator[pa.RecordBatch]:
        """attached: as if `doc` had a single word."""
        rows = [{"doc": d, "other": o, "rank": d, "other_rank": o} for d, o in self.pairs]
        record = pa.RecordBatch.from_pylist(rows, schema=EDGE)
        if attached:
            schema = EDGE.append(pa.field(EVIDENCE, Words().type, nullable=False))
            kept = pa.array([[1, 0]] * len(rows), Words().type)
            record = pa.RecordBatch.from_arrays([*record.columns, kept], schema=schema)
        yield record

    def peak(self, phase: Attach | Verify, scratch: Path, *, attached: bool) -> tuple[int, int]:
        """Records that come out, and the most bytes at a time."""
        pool = pa.proxy_memory_pool(pa.default_memory_pool())
        side = self.side()
        unit = unit_of(0, side, 0, Counter())
        context = replace(Context(models=scratch, scratch=scratch), unit=unit)
        before = pa.default_memory_pool()
        pa.set_memory_pool(pool)
        try:
            out = sum(r.num_rows for r, _ in phase.reduce(self.records(attached=attached), context))
        finally:
            pa.set_memory_pool(before)
        return out, pool.max_memory()


@pytest.mark.parametrize("name", ["attach", "verify"])
def test_memory_follows_the_evidence_and_not_the_pairs(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 pairs of 16 documents of a megabyte: one side of all pairs would be 120 MB."""
    monkeypatch.setattr(verify, "_COPIED", 4 << 20)
    large = Large()
    if name == "attach":
        found, peak = large.peak(Attach(1, Words()), tmp_path, attached=False)
    else:
        found, peak = large.peak(Verify(1, Words(), 0), tmp_path, attached=True)
    assert found == len(large.pairs)
    assert peak < 60 << 20


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([], 10, []),
        ([3, 3, 3, 3], 6, [(0, 2), (2, 4)]),
        ([30, 1, 1, 30], 6, [(0, 1), (1, 3), (3, 4)]),
        ([0, 0, 7, 0], 6, [(0, 2), (2, 3), (3, 4)]),
        ([0] * 5, 1, [(0, 5)]),
    ],
)
def test_slices_have_no_more_bytes_than_they_may(
    sizes: list[int], most: int, expected: list[tuple[int, int]]
) -> None:
    found = [(part.start, part.stop) for part in slices(np.array(sizes, np.int64), most)]
    assert found == expected


@pytest.mark.parametrize("evidence", KINDS, ids=["sketches", "words"])
def test_pairs_by_place_are_those_row_for_row(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dedup.evidence._ROWS", 7)
    store, _ = made(3)
    kept = as_array(evidence, list(store.sketches.values()))
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, len(kept) - 5, 100), rng.integers(0, len(kept) - 5, 100)
    sliced = kept.slice(5)
    each = 4 * (PLACES + 1) if isinstance(evidence, Words) else PLACES
    assert evidence.sizes(sliced).tolist() == [each] * len(sliced)
    expected = evidence.compare(kept.take(pa.array(one)), sliced.take(pa.array(other)))
    assert evidence.compare(kept, sliced, one, other).tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 2
    for wrong in (np.array([-1]), np.array([len(sliced)])):
        with pytest.raises(IndexError):
            evidence.compare(kept, sliced, np.array([0]), wrong)


def test_rejected_members_are_gathered_around_the_best_of_them(tmp_path: Path) -> None:
    one, other = np.zeros(PLACES, np.uint8), np.full(PLACES, 9, np.uint8)
    store = Store({0: one, 1: other, 2: other, 3: one, 1 << 32: other})
    pairs = [(1, 0), (2, 0), (3, 0), (1 << 32, 0)]
    attached = store.run(Attach(2, store.evidence), edge_parts(pairs, 2), 2, tmp_path)
    verified = store.run(Verify(2, store.evidence, 0.9), attached, 2, tmp_path)
    found = {(row["doc"], row["other"]) for batch in verified[0] for row in batch.to_pylist()}
    # Ranks are doc % 7: 1 << 32 has 4, so document 1 is the best of the rejected.
    assert found == {(3, 0), (2, 1), (1 << 32, 1)}


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("evidence", KINDS, ids=["sketches", "words"])
def test_similarities_to_far_survivors_are_measured(tmp_path: Path, groups: int, evidence: Evidence) -> None:
    store, pairs = made(7, evidence)
    parts: Parts = {}
    for number, (doc, survivor) in enumerate(pairs):
        known = 0.25 if number % 3 == 0 else None
        row = {
            "doc": doc,
            "cluster": doc,
            "cluster_size": 2,
            "survivor": survivor,
            "partner": 5,
            "similarity": known,
        }
        parts.setdefault((survivor >> 32) % groups, []).append(
            pa.RecordBatch.from_pylist([row], schema=FOUND)
        )
    for survivor in {other for _, other in pairs}:
        row = {
            "doc": survivor,
            "cluster": 0,
            "cluster_size": 2,
            "survivor": None,
            "partner": 1,
            "similarity": None,
        }
        parts.setdefault((survivor >> 32) % groups, []).append(
            pa.RecordBatch.from_pylist([row], schema=FOUND)
        )
    fetched = store.run(Fetch(groups, store.evidence), parts, groups, tmp_path)
    measured = store.run(Measure(groups, store.evidence), fetched, groups, tmp_path)
    rows = {
        row["doc"]: (shard, row)
        for shard, batches in measured.items()
        for b in batches
        for row in b.to_pylist()
    }
    assert len(rows) == len(pairs) + 30
    for number, (doc, survivor) in enumerate(pairs):
        shard, row = rows[doc]
        assert shard == doc >> 32
        assert row["survivor"] == survivor
        assert row["similarity"] == (0.25 if number % 3 == 0 else np.float32(store.alike(doc, survivor)))
    assert all(rows[other][1]["similarity"] is None for _, other in pairs)


def test_a_candidate_without_evidence_is_an_error(tmp_path: Path) -> None:
    store, _ = made(1)
    with pytest.raises(ValueError, match="no evidence"):
        store.run(Attach(1, store.evidence), edge_parts([(7 << 32, 3)], 1), 1, tmp_path)
