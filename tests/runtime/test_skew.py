"""No task takes over twice the median of its phase, as far as units can be put together so: one language with 40 % of the
bytes, one file 500 times the median. Time is told by a count that it follows: bytes for what reads documents, rows for
partitions.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.core.plan import even_tasks, pack
from curate.io import sharding
from curate.planning.session import Request, prepare
from curate.running.locks import locked
from curate.running.run import close_phase, lay_out, open_phase
from curate.running.task import Worker

WORDS = ["".join(letters) for letters in itertools.product("abcdefghijklmno", repeat=3)]
CONFIG = """
name: skewed
language: lang
input: {{path: {root}/in/*.parquet}}
run_dir: {root}/run
steps:
  - {{use: dedup.minhash, as: near, scope: language, partitions: 8}}
publish:
  - {{name: all, path: {root}/out, partition_by: language, shuffle: 1, shard: 100KB}}
"""


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=200),
    st.lists(st.integers(1, 600), min_size=1, max_size=40),
)
@example([1] * 2_000, [100] * 40)
def test_the_longest_task_is_at_most_twice_the_median(sizes: list[int], factors: list[int]) -> None:
    units = dict(enumerate([*sizes, *(factor * int(median(sizes)) for factor in factors)]))
    packed = pack(units, even_tasks(units))
    assert sorted(u for task in packed for u in task) == sorted(units)
    loads = [sum(units[u] for u in task) for task in packed]
    assert max(loads) <= 2 * median(loads)


def test_even_units_are_a_task_each() -> None:
    assert even_tasks({n: 100 + n for n in range(90)}) == 90
    assert even_tasks({}) == 1
    assert even_tasks({0: 0, 1: 0}) == 2


def skewed(root: Path) -> None:
    """Sixty files of 12 documents, and one of 6,000 in row groups of 100; 40 % of all are in one language."""
    (root / "in").mkdir(parents=True)
    dice = random.Random(7)
    for number in range(61):
        count = 6_000 if number == 30 else 12
        langs = [f"l{dice.randrange(1, 9)}" if dice.random() > 0.4 else "l0" for _ in range(count)]
        texts = [" ".join(dice.choices(WORDS, k=dice.randrange(20, 60))) for _ in range(count)]
        table = pa.table({"id": [f"{number}-{n}" for n in range(count)], "text": texts, "lang": langs})
        pq.write_table(table, root / "in" / f"{number:02d}.parquet", row_group_size=100)
    (root / "skewed.yaml").write_text(CONFIG.format(root=root))


def loads(root: Path) -> Iterator[tuple[str, str, list[int]]]:
    """Phase, what is counted, and how much of it each task has: by bytes as packed, by rows as done."""
    session = prepare(Request(root / "skewed.yaml"))
    plan, manifest, folder = session.compiled.plan, session.compiled.manifest, session.folder
    with ExitStack() as held:
        held.enter_context(locked(folder))
        lay_out(plan, manifest, folder)
        worker = held.enter_context(closing(Worker(folder.root)))
        for phase in plan.phases:
            work = open_phase(plan, manifest, folder, phase)
            packed = pack(work.pending, even_tasks(work.pending))
            rows = {d.unit: d.rows for d in worker.run(phase.name, sorted(work.pending), 0, lambda *_: None)}
            close_phase(plan, manifest, folder, phase, worked=True)
            kind = "rows" if phase.kind == "reduce" else "bytes"
            counted = rows if kind == "rows" else work.pending
            yield phase.name, kind, [sum(counted[u] for u in task) for task in packed]


def test_no_task_of_a_skewed_corpus_is_over_twice_the_median(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "SHARD_BYTES", 100_000)
    skewed(tmp_path)
    seen = {}
    for phase, _, tasks in list(loads(tmp_path)):
        if sum(tasks) > 1000:  # pairs and clusters of a few duplicates are nothing to divide
            assert max(tasks) <= 2 * median(tasks), phase
            seen[phase] = len(tasks)
    assert seen["pass1"] >= 10
    assert seen["all.write"] >= 5
    assert seen["near.link"] == 8


def report(root: Path) -> Iterator[str]:
    """The same as lines for people."""
    sharding.SHARD_BYTES = 100_000  # type: ignore[misc]  # a small input stands for a large one
    skewed(root)
    for phase, kind, tasks in loads(root):
        yield (
            f"{phase:14}{len(tasks):4} tasks, {kind} of the longest {max(tasks) / max(1, median(tasks)):.2f} times "
            f"the median"
        )
