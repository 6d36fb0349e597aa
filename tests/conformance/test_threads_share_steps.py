"""Several threads of a worker share its steps and mappers, each with a batch of its own: nobody may see another's.

Four threads go through the same batches at once, each beginning at another, and give up the interpreter as often as they can
be made to. What they find must be what one thread finds.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.core.batch import SPACY_LIKE, UNICODE, DocBatch
from curate.core.models import models_folder
from curate.core.stage import Context, Job
from curate.running.task import build_step
from curate.stages import kind, load, names
from tests.conformance.cases import LANGUAGE, SMALL, Case, many, opened, output

THREADS = 4
BATCHES = 8
#: Options of jobs that cannot be built without.
JOBS: dict[str, dict[str, Any]] = {"filters.quantile": {"columns": ["lid__prob"], "keep": {"all": 0.5}}}

Found = dict[str, pa.Array]


def batches() -> list[DocBatch]:
    """Documents in batches of several sizes, by turns with one definition of words and the other; none was looked at yet."""
    documents = many(len(SMALL) * BATCHES)
    size = len(SMALL)
    return [
        DocBatch(
            documents.slice(size * i + i % 3, size - i % 5),
            language=LANGUAGE,
            words=(UNICODE, SPACY_LIKE)[i % 2],
        )
        for i in range(BATCHES)
    ]


@contextmanager
def interrupted_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def by_threads(work: Callable[[DocBatch], Found]) -> Iterator[tuple[int, Found]]:
    """The number of a batch and what was found in it: each batch by each thread."""
    start = threading.Barrier(THREADS)

    def one(thread: int) -> list[tuple[int, Found]]:
        own = batches()
        order = np.roll(np.arange(BATCHES), -thread * BATCHES // THREADS).tolist()
        start.wait()
        return [(i, work(own[i])) for i in order]

    with interrupted_often(), ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(one, range(THREADS)):
            yield from done


def same(one: Found, other: Found) -> bool:
    """Equal columns; nan, which the records of jobs may hold, is equal to nan."""
    return one.keys() == other.keys() and all(
        column.equals(other[name]) or repr(column.to_pylist()) == repr(other[name].to_pylist())
        for name, column in one.items()
    )


def differing(work: Callable[[DocBatch], Found], alone: list[Found]) -> set[int]:
    """Numbers of batches in which threads find something else."""
    return {i for i, found in by_threads(work) if not same(found, alone[i])}


def test_steps(case: Case, tmp_path: Path) -> None:
    """Two instances: what is made at the first batch must be made by several threads at once too."""
    if case == Case("filters.quality", {}):
        pytest.skip(
            "reads texts whole, which takes long; another case has the same code read their beginnings"
        )
    one, many_threads = opened(case, tmp_path), opened(case, tmp_path)
    alone = [output(one, batch) for batch in batches()]
    assert differing(lambda batch: output(many_threads, batch), alone) == set()


@pytest.mark.parametrize("name", [n for n in names(outside=False) if kind(load(n)) == "job"])
def test_mappers(name: str, tmp_path: Path) -> None:
    job = build_step(name, JOBS.get(name, {}))
    assert isinstance(job, Job)
    job.open(Context(models=models_folder(), scratch=tmp_path, offline=True))
    mapper = job.mapper(job.partitions(1 << 30))

    def work(batch: DocBatch) -> Found:
        mapped = mapper.emit(batch)
        side = {} if mapped.side is None else {f"side {n}": mapped.side[n] for n in mapped.side.schema.names}
        records = {n: mapped.records[n] for n in mapped.records.schema.names}
        return {**records, **side, "partition": pa.array(mapped.partitions)}

    alone = [work(batch) for batch in batches()]
    assert differing(work, alone) == set()


def test_one_buffer_for_all_threads_would_be_noticed() -> None:
    scratch: list[int] = []

    def work(batch: DocBatch) -> Found:
        scratch.clear()
        for text in batch.text.to_pylist():
            scratch.append(len(text))
        return {"length": pa.array(scratch, pa.int64())}

    alone = [work(batch) for batch in batches()]
    assert differing(work, alone)
