"""Several threads of a worker share its steps and mappers, each with a batch of its own: nobody may see another's.

Three threads go through the same batches at once, each beginning at another, and give up the interpreter as often as they
can be made to. What they find must be what one thread finds. Memory that kernels of two threads write may also end it all.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from numba.core.dispatcher import Dispatcher

from curate.core.batch import SPACY_LIKE, UNICODE, DocBatch
from curate.core.models import models_folder
from curate.core.stage import Context, Job, Mapper
from curate.running.steps import build_step
from curate.stages import kind, load, names
from filters.encoders.usem3 import Usem3
from filters.encoders.usem3_layers import TokenCache
from filters.encoders.usem3_weights import read_weights
from tests.conformance.cases import LANGUAGE, SMALL, Case, opened, output, record

THREADS = 3
BATCHES = 4
#: Documents of a batch that nothing was kept of yet, and words of each: kernels must work so long that others do meanwhile.
NEW, WORDS = 50, 200
#: Options of jobs that cannot be built without.
JOBS: dict[str, dict[str, Any]] = {
    "filters.draw": {"n": 5},
    "filters.quantile": {"columns": ["lid__prob"], "keep": {"all": 0.5}},
    "filters.top": {"by": "lid__prob", "k": 2},
}

Found = dict[str, pa.Array]


def new_words(seed: int) -> list[str]:
    """Documents of words that no other document has."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 12, NEW * WORDS)
    letters = random.choice(list("abcdefghijklmnopqrstuvwxyzäöüéабвгд.,-\n"), int(lengths.sum()))
    some = random.random(len(letters)) < 0.2
    letters[some] = [chr(point) for point in random.integers(0x4E00, 0x9FA5, int(some.sum()))]
    every = "".join(letters)
    ends = np.cumsum(lengths)
    words = [every[a:b] for a, b in zip(ends - lengths, ends, strict=True)]
    return [" ".join(words[at : at + WORDS]) for at in range(0, len(words), WORDS)]


@cache
def records() -> list[pa.RecordBatch]:
    return [record([*SMALL.values(), *new_words(i)], start=1000 * i).slice(i) for i in range(BATCHES)]


def batches() -> list[DocBatch]:
    """Batches of which nothing was looked at yet, by turns with one definition of words and the other."""
    return [
        DocBatch(documents, language=LANGUAGE, words=(UNICODE, SPACY_LIKE)[i % 2])
        for i, documents in enumerate(records())
    ]


@contextmanager
def interrupted_often() -> Iterator[None]:
    """Threads take turns at every byte code and between any two kernels."""
    before = sys.getswitchinterval()
    kernels = [
        (module, name, value)
        for title, module in list(sys.modules.items())
        if title.partition(".")[0] in ("curate", "lid", "filters", "dedup")
        for name, value in list(vars(module).items())
        if isinstance(value, Dispatcher)
    ]
    sys.setswitchinterval(1e-6)
    for module, name, value in kernels:
        setattr(module, name, _after_others(value))
    try:
        yield
    finally:
        for module, name, value in kernels:
            setattr(module, name, value)
        sys.setswitchinterval(before)


def _after_others(kernel: Dispatcher) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        time.sleep(1e-4)
        return kernel(*arguments)

    return call


def by_threads(work: Callable[[DocBatch], Found]) -> Iterator[tuple[int, Found]]:
    """The number of a batch and what was found in it: each batch by each thread."""
    start = threading.Barrier(THREADS)

    def one(thread: int) -> list[tuple[int, Found]]:
        own = batches()
        order = np.roll(np.arange(BATCHES), -thread).tolist()
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


def differing(together: Callable[[DocBatch], Found], alone: Callable[[DocBatch], Found]) -> set[int]:
    """Numbers of batches in which threads that work `together` find something else than one that works `alone`.

    Threads come first: what one thread has put into a cache would hide what they do to it.
    """
    for words in (UNICODE, SPACY_LIKE):  # kernels are compiled before they are wrapped
        alone(DocBatch(record(list(SMALL.values())), language=LANGUAGE, words=words))
    found = list(by_threads(together))
    expected = [alone(batch) for batch in batches()]
    return {i for i, columns in found if not same(columns, expected[i])}


def test_steps(case: Case, tmp_path: Path) -> None:
    if case == Case("filters.quality", {}):
        pytest.skip(
            "reads texts whole, which takes long; another case has the same code read their beginnings"
        )
    together, alone = opened(case, tmp_path), opened(case, tmp_path)
    turn: AbstractContextManager[Any] = (
        threading.Lock() if getattr(together, "SERIAL", False) else nullcontext()
    )

    def in_turn(batch: DocBatch) -> Found:
        with turn:  # as the runner does
            return output(together, batch)

    assert differing(in_turn, lambda batch: output(alone, batch)) == set()


@pytest.mark.parametrize("name", [n for n in names(outside=False) if kind(load(n)) == "job"])
def test_mappers(name: str, tmp_path: Path) -> None:
    job = build_step(name, JOBS.get(name, {}))
    assert isinstance(job, Job)
    job.open(Context(models=models_folder(), scratch=tmp_path, offline=True))
    together, alone = (job.mapper(job.partitions(1 << 30)) for _ in range(2))

    def emitted(mapper: Mapper, batch: DocBatch) -> Found:
        mapped = mapper.emit(batch)
        side = {} if mapped.side is None else {f"side {n}": mapped.side[n] for n in mapped.side.schema.names}
        records = {n: mapped.records[n] for n in mapped.records.schema.names}
        return {**records, **side, "partition": pa.array(mapped.partitions)}

    assert differing(partial(emitted, together), partial(emitted, alone)) == set()


def test_a_buffer_that_all_threads_use_would_be_noticed() -> None:
    scratch: list[int] = []

    def lengths(batch: DocBatch) -> Found:
        scratch.clear()
        for text in batch.text.to_pylist():
            scratch.append(len(text))
            time.sleep(0)  # as kernels do, which let others work
        return {"length": pa.array(scratch, pa.int64())}

    assert any(differing(lengths, lengths) for _ in range(20))


def test_a_cache_that_all_threads_use_would_be_noticed() -> None:
    """Kernels that read what another kernel has put into memory of the step."""
    together, alone = Usem3(), Usem3()
    for encoder in (together, alone):
        encoder.open()
    shared = TokenCache(read_weights(together.files()["weights"]))

    def encoded(encoder: Usem3, batch: DocBatch) -> Found:
        return {"vectors": pa.array(encoder.encode(batch.text, 20).embeddings.ravel())}

    with patch.object(together, "_cache", lambda weights: shared):
        assert differing(partial(encoded, together), partial(encoded, alone))
