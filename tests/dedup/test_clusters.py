"""Clusters against a union-find and a greedy star in plain Python."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.clusters import Decided, components, stars
from dedup.edge_file import EdgeBatch
from dedup.numbering import Index, Scratch
from dedup.radix import best_first

Edge = tuple[int, int, float]


def batches_of(edges: list[Edge], rank: dict[int, int], cuts: int = 1) -> list[EdgeBatch]:
    made = []
    for number in range(cuts):
        part = edges[number::cuts]
        doc = np.array([e[0] for e in part], np.int64)
        other = np.array([e[1] for e in part], np.int64)
        ranks = [np.array([rank[d] for d in side.tolist()], np.int64) for side in (doc, other)]
        made.append(EdgeBatch(doc, other, *ranks, np.array([e[2] for e in part], np.float32)))
    return made


def rows_of(found: Decided) -> dict[int, tuple[int, int, int, int, float | None]]:
    rows = [row for part in found.parts(7) for row in zip(*(c.tolist() for c in part), strict=True)]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert found.removed == sum(doc != survivor for doc, _, _, survivor, _, _ in rows)
    return {doc: (*rest, None if np.isnan(alike) else float(alike)) for doc, *rest, alike in rows}


def expected(edges: list[Edge], rank: dict[int, int], star: bool) -> dict[int, tuple[object, ...]]:
    near: dict[int, dict[int, float]] = {}
    for a, b, alike in edges:
        for one, other in ((a, b), (b, a)):
            near.setdefault(one, {})[other] = max(alike, near.get(one, {}).get(other, -1.0))
    survivor: dict[int, int] = {}
    for doc in sorted(near, key=lambda d: (rank[d], d)):
        if doc in survivor:
            continue
        survivor[doc] = doc
        reached = [doc]
        while reached:
            for other in near[reached.pop()]:
                if other not in survivor:
                    survivor[other] = doc
                    reached += [] if star else [other]
    out: dict[int, tuple[object, ...]] = {}
    for doc, best in survivor.items():
        members = [d for d in survivor if survivor[d] == best]
        if len(members) == 1:
            continue
        inside = {o: s for o, s in near[doc].items() if survivor[o] == best}
        direct = inside.get(best)
        partner = best if direct is not None else min(inside, key=lambda o: (-inside[o], o))
        out[doc] = (min(members), len(members), best, partner, direct)
    return out


docs = st.integers(0, 12).map(lambda n: (n % 3) << 32 | n * 29)
edge = st.tuples(docs, docs, st.sampled_from([0.5, 0.75, 0.875])).filter(lambda e: e[0] != e[1])


@pytest.mark.parametrize(("find", "star"), [(components, False), (stars, True)])
@settings(deadline=None, max_examples=300)
@given(st.lists(edge, max_size=25), st.randoms(use_true_random=False), st.integers(1, 4))
def test_clusters_are_those_of_plain_python(
    find: Callable[[list[EdgeBatch]], Decided],
    star: bool,
    made: list[Edge],
    chance: random.Random,
    cuts: int,
) -> None:
    rank = {doc: chance.randint(0, 2) for e in made for doc in e[:2]}
    assert rows_of(find(batches_of(made, rank, cuts))) == expected(made, rank, star)
    turned = [(b, a, alike) if chance.random() < 0.5 else (a, b, alike) for a, b, alike in made]
    turned += turned[: len(turned) // 2]
    chance.shuffle(turned)
    assert rows_of(find(batches_of(turned, rank, 1))) == expected(made, rank, star)


@pytest.mark.parametrize(("find", "star"), [(components, False), (stars, True)])
@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_arrays_that_are_left_out_or_have_wide_numbers_change_nothing(
    find: Callable[..., Decided],
    star: bool,
    ranked: bool,
    measured: bool,
    narrow: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers of 64 bits, which 2**32 documents would need; equal ranks and similarities, which have no array."""
    if not narrow:
        monkeypatch.setattr("dedup.numbering._NARROW", 0)
    chance = random.Random(5)
    numbers = [(n % 7) << 32 | n for n in range(900)]
    pairs = [(chance.choice(numbers), chance.choice(numbers)) for _ in range(700)]
    made = [(a, b, chance.choice([0.5, 0.75]) if measured else 0.0) for a, b in pairs if a != b]
    rank = {doc: chance.randint(-(2**63), 2**63 - 1) if ranked else 4 for doc in numbers}
    found = find(batches_of(made, rank, 3))
    assert rows_of(found) == expected(made, rank, star)
    assert found.survivor.dtype == found.partner.dtype == (np.uint32 if narrow else np.int64)
    assert (found.smallest is None, found.similarity is None) == (not ranked, not measured)
    assert found.clusters == len({row[2] for row in rows_of(found).values()})


@pytest.mark.parametrize("find", [components, stars])
def test_edges_in_any_order_give_the_same_clusters(find: Callable[[list[EdgeBatch]], Decided]) -> None:
    chance = random.Random(3)
    numbers = [(n % 7) << 32 | n for n in range(4000)]
    made = [(chance.choice(numbers), chance.choice(numbers), chance.choice([0.5, 0.75])) for _ in range(3000)]
    made = [e for e in made if e[0] != e[1]]
    rank = {doc: chance.randint(0, 3) for doc in numbers}
    answer = rows_of(find(batches_of(made, rank)))
    for cuts in (1, 5):
        chance.shuffle(made)
        assert rows_of(find(batches_of(made, rank, cuts))) == answer
    assert answer == expected(made, rank, find is stars)


def test_a_long_chain_is_one_component_and_many_stars() -> None:
    count = 200_000
    chain = EdgeBatch(
        np.arange(1, count), np.arange(count - 1), *(np.zeros(count - 1, np.int64) for _ in range(2)),
        np.ones(count - 1, np.float32),
    )  # fmt: skip
    whole = components([chain])
    assert set(whole.survivor.tolist()) == {0}
    assert whole.size[0] == count
    assert stars([chain]).size.max() == 2


def test_numbers_of_documents_follow_their_order() -> None:
    chance = np.random.default_rng(1)
    docs = np.unique(chance.integers(0, 50, 3000) << 32 | chance.integers(0, 5000, 3000))
    zeros = np.zeros(len(docs) - 1, np.int64)
    index = Index([EdgeBatch(docs[1:], docs[:-1], zeros, zeros, zeros.astype(np.float32))], Scratch())
    assert len(index) == len(docs)
    documents = index.documents(Scratch())
    assert documents.of(np.arange(len(docs))).tolist() == docs.tolist()
    assert [documents.below(shard) for shard in (0, 7, 50, 99)] == [
        int((docs >> 32 < shard).sum()) for shard in (0, 7, 50, 99)
    ]
    assert index.of(docs).tolist() == list(range(len(docs)))


@pytest.mark.parametrize("find", [components, stars])
def test_arrays_on_scratch_are_as_good_and_leave_nothing(
    find: Callable[..., Decided], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(4)
    made = [(chance.randrange(500), chance.randrange(500, 1000), 0.5) for _ in range(600)]
    edges = batches_of(made, {doc: doc % 3 for doc in range(1000)})
    answer = rows_of(find(edges))
    monkeypatch.setattr("dedup.numbering._MAPPED", 8)
    assert rows_of(find(edges, Scratch(tmp_path))) == answer
    assert list(tmp_path.iterdir()) == []


def test_nothing() -> None:
    for find in (components, stars):
        assert list(find([]).parts()) == []


ranks = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.integers(0, 1 << 23), max_size=50)


@settings(deadline=None)
@given(ranks=ranks)
def test_the_best_first_are_those_of_a_stable_sort(ranks: list[int]) -> None:
    array = np.array(ranks, np.int64)
    found = best_first(array, np.uint32, Scratch())
    assert found.tolist() == np.argsort(array, kind="stable").tolist()


@pytest.mark.parametrize("find", [components, stars])
def test_no_array_of_all_documents_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: Callable[[list[EdgeBatch], Scratch], Decided]
) -> None:
    """An int64 for each of 400,000 documents would be 3.2 MB; numpy tells tracemalloc of its memory, not of mapped files."""
    rng = np.random.default_rng(0)
    batches = []
    for start in range(0, 400_000, 20_000):
        doc = np.arange(start + 1, start + 20_000)
        edges = (doc, doc - 1, doc % 1000, (doc - 1) % 1000, rng.random(len(doc), np.float32))
        batches.append(EdgeBatch(*edges))
    find(batches[:1], Scratch(tmp_path))  # compiled
    monkeypatch.setattr("dedup.numbering._MAPPED", 8)
    monkeypatch.setattr("dedup.clusters._AT_ONCE", 10_000)
    monkeypatch.setattr("dedup.edge_file._AT_ONCE", 10_000)
    tracemalloc.start()
    try:
        found = find(batches, Scratch(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert len(found.docs) == 400_000
    assert list(tmp_path.iterdir()) == []
