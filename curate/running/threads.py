"""Batches of a unit in several threads: work in any order, results in the order of the input, memory within bounds.

    batches ──read──► at most THREADS at work, one waiting ──► results in order ──► overlay, records, counters

Kernels, Parquet and Arrow's functions work without the interpreter's lock, so threads of one process share its models and
tables where processes would each have their own. The calling thread reads and writes, the others only work; with one thread
everything happens in the calling one, a batch after the other.

Memory: batches that wait or are at work are (THREADS + 1) × 8 MiB of input together, or one batch that is larger; what the
steps hold beside a batch comes on top (`curate.executors.local.THREAD_BYTES`). Results that wait for an earlier one are some
columns of 2 × THREADS batches at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from curate.io.parquet import BATCH_BYTES

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """The threads of a worker. They live as long as it does, since kernels keep caches by thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None

    def use(self, count: int) -> None:
        """Have so many from now on. Nothing may be at work."""
        if count != self._count:
            self.close()
            self._count = count

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def in_order(
        self, items: Iterable[Item], work: Callable[[Item], Result], weigh: Callable[[Item], int]
    ) -> Generator[Result, None, None]:
        """`work` of every item, in order. weigh: bytes of an item.

        What `work` or reading raises is raised after the results of all items before it, whatever the number of threads;
        when the iterator is left nothing is at work.
        """
        if self._count == 1:
            for item in items:
                yield work(item)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="curate")
        window = _Window[Result](self._count)
        iterator, fault = iter(items), None
        try:
            while True:
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                except Exception as cause:  # noqa: BLE001  # raised when the results before it are out
                    fault = cause
                    break
                weight = weigh(item)
                while not window.admits(weight):
                    yield from window.finished()
                    if not window.admits(weight):
                        window.wait()
                window.add(self._pool.submit(work, item), weight)
                del item
                yield from window.finished()
            yield from window.rest()
        finally:
            window.abandon()
        if fault is not None:
            raise fault


class _Window(deque[tuple[Future[Result], int]]):
    """Work that was begun and whose results were not taken, in order, with the bytes of each."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._most = 2 * threads
        self._bytes = (threads + 1) * BATCH_BYTES

    def admits(self, weight: int) -> bool:
        held = [size for future, size in self if not future.done()]
        return len(self) < self._most and (not held or sum(held) + weight <= self._bytes)

    def add(self, future: Future[Result], weight: int) -> None:
        self.append((future, weight))

    def wait(self) -> None:
        """Until a place may be free: the first result is out, or if there are places, any."""
        if len(self) >= self._most:
            wait([self[0][0]])
        else:
            wait([f for f, _ in self if not f.done()], return_when=FIRST_COMPLETED)

    def finished(self) -> Iterator[Result]:
        """Results that are out and have none before them that is not."""
        while self and self[0][0].done():
            yield self.popleft()[0].result()

    def rest(self) -> Iterator[Result]:
        while self:
            yield self.popleft()[0].result()

    def abandon(self) -> None:
        """Begin nothing more, and wait for what has begun."""
        for future, _ in self:
            future.cancel()
        wait([future for future, _ in self])
