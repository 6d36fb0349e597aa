"""Work in several threads: results in order, errors as with one, no more in memory than stated, serial steps alone."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.executors.gpus import Gpus, device_names
from curate.executors.local import THREAD_BYTES, WORKER_BYTES, LocalExecutor, Share
from curate.io.parquet import BATCH_BYTES
from curate.running.threads import Threads
from tests.runtime.toys import Mark, Word, documents, passing, step

_GIVE_UP = 20.0


class Watched:
    """Does work and knows how much of it is at work or waits. slow: items that end after all others that have begun."""

    def __init__(self, weights: list[int], slow: frozenset[int] = frozenset()) -> None:
        self.weights, self.slow = weights, slow
        self._lock = threading.Condition()
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self.read = -1
        self.most = self.most_items = 0

    def items(self) -> Iterator[int]:
        for item in range(len(self.weights)):
            with self._lock:
                self.read = item
            yield item

    def work(self, item: int) -> int:
        with self._lock:
            self._begun.add(item)
            held = self._begun - self._ended
            self.most = max(self.most, sum(self.weights[i] for i in held))
            self.most_items = max(self.most_items, len(held))
        if item in self.slow:
            time.sleep(0.05)
        with self._lock:
            self._ended.add(item)
        return item * 10

    def weigh(self, item: int) -> int:
        return self.weights[item]


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[Threads]:
    made = Threads(request.param)
    yield made
    made.close()


def test_results_come_in_order_whichever_ends_first(threads: Threads) -> None:
    watched = Watched([BATCH_BYTES // 3] * 40, slow=frozenset({0, 7, 8, 20}))
    assert list(threads.in_order(watched.items(), watched.work, watched.weigh)) == [i * 10 for i in range(40)]


def test_memory_is_bounded_by_bytes_and_one_large_item_is_alone() -> None:
    pool = Threads(3)
    weights = [
        BATCH_BYTES,
        BATCH_BYTES // 2,
        9 * BATCH_BYTES,
        BATCH_BYTES,
        9 * BATCH_BYTES,
        1,
        2 * BATCH_BYTES,
    ] * 3
    watched = Watched(weights, slow=frozenset(range(len(weights))))
    assert len(list(pool.in_order(watched.items(), watched.work, watched.weigh))) == len(weights)
    assert watched.most == 9 * BATCH_BYTES
    small = Watched([BATCH_BYTES] * 12, slow=frozenset(range(12)))
    assert len(list(pool.in_order(small.items(), small.work, small.weigh))) == 12
    assert small.most_items == 3
    pool.close()


def test_no_more_is_read_than_the_window_holds_while_results_are_not_taken() -> None:
    pool = Threads(2)
    watched = Watched([1] * 100)
    results = pool.in_order(watched.items(), watched.work, watched.weigh)
    assert next(results) == 0
    time.sleep(0.05)
    assert watched.read <= 4
    results.close()
    pool.close()


def test_the_first_fault_in_order_is_raised_and_nothing_is_at_work_afterwards(threads: Threads) -> None:
    at_work: list[int] = []

    def work(item: int) -> int:
        at_work.append(item)
        try:
            if item == 4:
                time.sleep(0.05)
            if item in (4, 5):
                raise ValueError(f"item {item}")
            return item
        finally:
            at_work.remove(item)

    taken: list[int] = []
    with pytest.raises(ValueError, match="item 4"):
        taken.extend(threads.in_order(range(50), work, lambda _: 1))
    assert taken == [0, 1, 2, 3]
    assert at_work == []
    assert list(threads.in_order(range(3), lambda item: item, lambda _: 1)) == [0, 1, 2]


def test_a_fault_of_reading_comes_after_the_results_before_it(threads: Threads) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("unreadable")

    def work(item: int) -> int:
        time.sleep(0.02)
        return item

    taken: list[int] = []
    with pytest.raises(OSError, match="unreadable"):
        taken.extend(threads.in_order(items(), work, lambda _: 1))
    assert taken == [0, 1, 2]


def test_threads_stay_from_unit_to_unit_and_change_with_their_number() -> None:
    """Kernels keep caches by thread."""
    pool = Threads(2)

    def names(count: int) -> set[str]:
        def work(item: int) -> str:
            time.sleep(0.002)
            return threading.current_thread().name

        return set(pool.in_order(range(count), work, lambda _: 1))

    first = names(20)
    assert len(first) == 2
    assert names(20) == first
    pool.use(1)
    assert names(3) == {threading.current_thread().name}
    pool.close()


class Alone(Mark):
    """A step that cannot bear two calls at once."""

    SERIAL: ClassVar[bool] = True

    def __init__(self, config: Word) -> None:
        super().__init__(config)
        self.inside = self.most = 0

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.002)
        self.inside -= 1
        return super().annotate(batch)


class Open(Alone):
    """The same without saying so."""

    SERIAL: ClassVar[bool] = False


@pytest.mark.parametrize(("kind", "together"), [(Alone, False), (Open, True)])
def test_a_serial_step_is_called_by_one_thread_at_a_time(
    kind: Callable[[Word], Alone], together: bool
) -> None:
    made = kind(Word(word="x"))
    pipeline = passing(step("alone", made))
    pool = Threads(4)
    records = [documents(["x", "y"], start=2 * i) for i in range(30)]
    outcomes = list(pool.in_order(records, pipeline.work, lambda _: 1))
    pool.close()
    assert [doc for o in outcomes for doc in o.overlay["doc"].to_pylist()] == list(range(60))
    assert (made.most > 1) == together


def test_cores_are_shared_out_as_far_as_memory_reaches() -> None:
    much = Share(8, 10**12, WORKER_BYTES)
    assert [much.threads(workers) for workers in (1, 2, 3, 8, 9)] == [8, 4, 2, 1, 1]
    little = Share(8, 2 * WORKER_BYTES + 3 * THREAD_BYTES, WORKER_BYTES)
    assert little.threads(1) == 1 + (WORKER_BYTES + 3 * THREAD_BYTES) // THREAD_BYTES
    assert little.threads(2) == 2
    assert Share(8, 1, WORKER_BYTES).threads(1) == 1
    idle = Share(8, 4 * WORKER_BYTES + THREAD_BYTES, WORKER_BYTES)
    assert idle.threads(1, started=4) == 2, "workers that wait keep their memory"


def test_the_last_units_get_the_cores_of_idle_workers(tmp_path: Path) -> None:
    def threads(workers: int, busy: int, waiting: int, share: Share | None) -> int:
        executor = LocalExecutor(
            tmp_path,
            logs=tmp_path,
            workers=workers,
            threads=1,
            retries=0,
            environment={},
            scratch=tmp_path,
            share=share,
        )
        executor._processes = [cast("Any", SimpleNamespace(unit=unit)) for unit in range(busy)]
        return executor._threads_of(waiting)

    much = Share(8, 10**12, WORKER_BYTES)
    assert threads(8, 1, 0, much) == 8  # one unit in all
    assert threads(8, 1, 3, much) == 2  # the first of four
    assert threads(8, 8, 100, much) == 1
    assert threads(8, 1, 0, None) == 1  # `execution.threads` says so


def test_phases_that_need_gpus_have_a_worker_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers beyond the GPUs wait for other phases; one that is lost is replaced under its number."""
    gpus = Gpus(("4", "5"))
    executor = LocalExecutor(
        tmp_path, logs=tmp_path, workers=4, threads=1, retries=0, environment={}, scratch=tmp_path, gpus=gpus
    )

    def start(number: int) -> None:
        executor._processes.append(
            cast("Any", SimpleNamespace(number=number, unit=None, todo=(), ready=True))
        )

    monkeypatch.setattr(executor, "_start", start)
    waiting: deque[tuple[int, deque[int]]] = deque((at, deque([at])) for at in range(9))
    executor._fill(waiting)
    assert [worker.number for worker in executor._processes] == [0, 1, 2, 3]
    executor._most = 2  # as `run` sets it for a phase that needs one
    del executor._processes[1]
    executor._fill(waiting)
    assert sorted(worker.number for worker in executor._processes) == [0, 1, 2, 3]
    spare = next(worker for worker in executor._processes if worker.number == 3)
    executor._feed("pass1", spare, waiting)
    assert (spare.unit, len(waiting)) == (None, 9)


@pytest.mark.parametrize(
    ("visible", "found", "each", "seen"),
    [
        (None, 2, 1, ["0", "1", "", ""]),
        ("5,GPU-8f6e, MIG-1", 3, 1, ["5", "GPU-8f6e", "MIG-1", ""]),
        ("3,1,2", 2, 1, ["3", "1", "", ""]),  # CUDA takes no more of a list than it finds
        (None, 5, 2, ["0,1", "2,3", "", ""]),
        (None, 0, 1, ["as the run's", "as the run's", "as the run's", "as the run's"]),
    ],
)
def test_every_worker_sees_gpus_of_its_own(
    visible: str | None,
    found: int,
    each: int,
    seen: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a pretended list of devices: what the processes are started with."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as the run's" if visible is None else visible)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    gpus = Gpus(device_names(found, environment), each)
    executor = LocalExecutor(
        tmp_path, logs=tmp_path, workers=4, threads=1, retries=0, environment={}, scratch=tmp_path, gpus=gpus
    )
    started: list[Mapping[str, str]] = []

    def popen(command: object, *, env: Mapping[str, str], **_: object) -> Any:
        started.append(env)
        return SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: -1), stdin=None)

    monkeypatch.setattr("curate.executors.local.subprocess.Popen", popen)
    monkeypatch.setattr("curate.executors.local.os.set_blocking", lambda *_: None)
    monkeypatch.setattr(executor._selector, "register", lambda *_: None)
    for number in range(4):
        executor._start(number)
    assert [env["CUDA_VISIBLE_DEVICES"] for env in started] == seen
    assert gpus.workers == found // each
