"""A unit's files are the same bytes whether one thread works at its batches or four, in every phase up to the marks of jobs.

Batches are made tiny, so that a shard of some hundred documents has dozens; threads are interrupted as often as can be.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.commit import write_atomically
from curate.core.layout import RunFolder
from curate.io import parquet
from curate.running.pipeline import Outcome, Pipeline
from curate.running.task import Worker
from tests.corpus import rows
from tests.runtime.project import Project

THREADS = 4
#: A run of which each shard is a single batch.
WHOLE = 0
BATCH_BYTES = 20_000
STEPS = [
    {"use": "lid.fasttext", "as": "lid"},
    {"use": "filters.select", "as": "young", "expression": "n >= 3"},
    {"use": "filters.gopher_repetition", "as": "repetition", "when": "kind != 'rus_Cyrl'"},
    {"use": "filters.gopher_quality", "as": "gopher", "min_words": 5, "min_stop_words": None},
    {"use": "filters.c4", "as": "c4", "mode": "annotate"},
    {"use": "dedup.lines", "as": "lines", "max_count": 40, "partitions": 2},
    {"use": "dedup.exact", "as": "exact", "partitions": 2},
    {"use": "dedup.minhash", "as": "near", "verify": "exact", "partitions": 2},
    {"use": "filters.passages", "max_tokens": 20},
    {"use": "filters.ner_surface", "as": "surface", "over": "passages__spans"},
    {"use": "dedup.exact", "as": "same", "over": "passages__spans", "partitions": 2},
    {
        "use": "filters.top",
        "as": "best",
        "over": "passages__spans",
        "by": "surface__score",
        "k": 90,
        "per_document": 2,
    },
]

#: (phase, unit) → rows, facts, and of each output its role, size and checksum.
Made = dict[tuple[str, int], tuple[int, dict[str, Any], dict[str, tuple[int, str]]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("threads")


@pytest.fixture
def planned(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setattr(parquet, "BATCH_BYTES", BATCH_BYTES)
    monkeypatch.setattr(parquet, "STEP_ROWS", 8)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield Project(root / "project")
    sys.setswitchinterval(before)


def write_inputs(project: Project) -> None:
    """Two shards with copies of each other's documents, empty texts, and records that are no UTF-8."""
    (project.root / "in" / "a.parquet").unlink()
    for name in "ab":
        documents = rows(name, 300) + rows("both", 60)
        texts = [row["text"].encode() for row in documents]
        texts[7] = texts[200] = b"\xff no text"
        text = pa.array(texts, pa.binary())
        columns = {
            "id": pa.array([f"{name}/{row['id']}" for row in documents]),
            "text": pa.StringArray.from_buffers(len(text), *text.buffers()[1:]),
            "kind": pa.array([row["kind"] for row in documents]),
            "n": pa.array([row["n"] for row in documents]),
        }
        pq.write_table(pa.table(columns), project.root / "in" / f"{name}.parquet")


def work(folder: RunFolder, threads: int) -> Made:
    worker = Worker(folder.root, threads=threads)
    made: Made = {}
    try:
        for phase in worker.plan.phases:
            if phase.kind in ("count", "exchange", "write"):
                continue
            for done in worker.run(phase.name, worker.task_units(phase.name, 0, 1), 0, quiet):
                outputs = {role: (o.bytes, o.checksum) for role, o in done.outputs.items()}
                made[phase.name, done.unit] = (done.rows, dict(done.facts), outputs)
    finally:
        worker.close()
    return made


def quiet(rows: int, size: int, work: object = None) -> None: ...


def test_four_threads_write_the_bytes_of_one(planned: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(planned)
    planned.config["steps"] = STEPS
    planned.config["language"] = "lid__lang"
    planned.config["input"][0]["on_error"] = "quarantine"
    planned.config["publish"] = [{"name": "all", "path": str(planned.root / "out")}]
    seen: list[str] = []
    whole = Pipeline.work

    def noted(self: Pipeline, *arguments: Any) -> Outcome:
        seen.append(threading.current_thread().name)
        return whole(self, *arguments)

    monkeypatch.setattr(Pipeline, "work", noted)
    found, last = {}, {}
    for threads in (1, THREADS, WHOLE):
        if threads == WHOLE:
            monkeypatch.setattr(parquet, "BATCH_BYTES", 1 << 30)
            monkeypatch.setattr(parquet, "STEP_ROWS", 1 << 20)
        planned.config["run_dir"] = str(planned.root / f"run{threads}")
        compiled = planned.compile()
        folder = RunFolder(planned.root / f"run{threads}")
        write_atomically(folder.plan, compiled.plan.to_json())
        write_atomically(folder.manifest, compiled.manifest.to_json())
        seen.clear()
        found[threads] = work(folder, max(threads, 1))
        passes = [p.name for p in compiled.plan.passes]
        overlays = [sorted((folder.root / "overlays" / name).iterdir()) for name in passes[-3:]]
        last[threads] = [pq.read_table(path).combine_chunks() for paths in overlays for path in paths]
        if threads == WHOLE:
            continue
        assert len(set(seen)) == threads
        assert len(seen) > 40
    assert found[1] == found[THREADS]
    assert all(one.equals(other) for one, other in zip(last[1], last[WHOLE], strict=True)), (
        "numbers of passages"
    )
    assert {"quarantine", "overlay", "counters", "rows"} <= found[1]["pass1", 0][2].keys()
    assert len({phase for phase, _ in found[1]}) >= 8
