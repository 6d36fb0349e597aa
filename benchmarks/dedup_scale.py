"""Link and cluster on band records made directly: CPU seconds and memory of 1 million to 1 billion documents.

    python benchmarks/dedup_scale.py --documents 100000000
    python benchmarks/dedup_scale.py --documents 1000000000 --direct --edges scratch/edges

14 bands. A fifth of the documents are copies of an earlier one and keep three quarters of its bands; in one band a
million documents (at most a tenth of all) have the same key. Every key is a function of document and band, so the
records of a partition are made when it is linked, and none of them is ever on disk. Edges are kept as two 32-bit numbers.

--direct   the clusters read those edges; without it they go through the cluster phase, which writes 36 bytes an edge to
           its scratch, as a run does
--edges    a file that keeps the edges; where it is there already, `link` is left out and they are read from it

CPU seconds are those of `link` and `cluster`, the making of records left out; one process, one thread. Memory is
`RssAnon` of /proc/self/status, looked at every 20 ms: memory that is no page of a memory-mapped file; `mapped` are the
sizes of the files that are mapped at one time, whether their pages are in memory or not. The records
that are made are in shared memory, which it leaves out too, because in a run they come from files.
"""

from __future__ import annotations

import mmap
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from curate.core.stage import Context, ReduceUnit  # noqa: E402  # after the path is set
from curate.core.text.memory import inlined, kernel  # noqa: E402  # after the path is set
from dedup.clusters import Cluster, components  # noqa: E402  # after the path is set
from dedup.edge_file import EdgeBatch  # noqa: E402  # after the path is set
from dedup.link import Link  # noqa: E402  # after the path is set
from dedup.numbering import Scratch  # noqa: E402  # after the path is set
from dedup.records import VERIFIED  # noqa: E402  # after the path is set

BANDS = 14
CROWDED = 3
SHARD = 1_000_000
#: Documents of a partition at most.
PARTITION = 8_000_000
FIFTH, THREE_QUARTERS = np.uint64((1 << 64) // 5), np.uint64(3 << 62)
#: Edges read at a time.
BATCH = 1 << 22


@inlined
def _mixed(number, salt):  # type: ignore[no-untyped-def]  # numba infers
    """Bits that look random, uint64 (splitmix64)."""
    x = (np.uint64(number) + (np.uint64(salt) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


@inlined
def _rank(number):  # type: ignore[no-untyped-def]  # numba infers
    return -np.int64(np.uint64(500) + _mixed(number, 200) % np.uint64(4500))


@inlined
def _key(number, count, band, crowd):  # type: ignore[no-untyped-def]  # numba infers
    """Band key of a document: its own, or that of the document that it copies."""
    origin = np.int64(number)
    if number > 0 and _mixed(number, 100) < FIFTH and _mixed(number, 101 + band) < THREE_QUARTERS:
        origin = np.int64(_mixed(number, 99) % np.uint64(number))
    if band == CROWDED and _mixed(number, 98) < crowd:
        return np.uint64(0x0123456789ABCDEF)
    return _mixed(origin, band)


@kernel
def _scatter(count, band, crowd, shift, capacity, numbers, filled):  # type: ignore[no-untyped-def]  # numba infers
    """Documents of each partition of a band, each from its own `capacity` places on; whether they fit."""
    for number in range(count):
        part = np.int64(_key(number, count, band, crowd) >> np.uint64(shift)) if shift < 64 else np.int64(0)
        if filled[part] == capacity:
            return False
        numbers[part * capacity + filled[part]] = number
        filled[part] += 1
    return True


@kernel
def _records(numbers, count, band, crowd, doc, key, rank, ranked):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(numbers.size):
        number = np.int64(numbers[i])
        doc[i] = np.int64(number // SHARD) << 32 | np.int64(number % SHARD)
        key[i] = _key(number, count, band, crowd)
        if ranked:
            rank[i] = _rank(number)


@kernel
def _edges(pairs, ranked, doc, other, rank, other_rank):  # type: ignore[no-untyped-def]  # numba infers
    for i in range(doc.size):
        one, two = np.int64(pairs[i, 0]), np.int64(pairs[i, 1])
        doc[i] = one // SHARD << 32 | one % SHARD
        other[i] = two // SHARD << 32 | two % SHARD
        rank[i] = _rank(one) if ranked else 0
        other_rank[i] = _rank(two) if ranked else 0


class EdgeNumbers:
    """Edges as pairs of 32-bit numbers in a file; gives them as the cluster phase reads them, as often as asked."""

    def __init__(self, path: Path, ranked: bool) -> None:
        self._path, self._ranked = path, ranked
        self._unfinished = path.with_name(f"{path.name}.unfinished")

    def open(self) -> None:
        self._file = self._unfinished.open("wb")

    def append(self, record: pa.RecordBatch) -> None:
        pair = np.empty((record.num_rows, 2), np.uint32)
        for side, name in enumerate(("doc", "other")):
            doc = record.column(name).to_numpy()
            pair[:, side] = (doc >> 32) * SHARD + (doc & 0xFFFFFFFF)
        pair.tofile(self._file)

    @property
    def there(self) -> bool:
        return self._path.exists()

    def close(self) -> None:
        self._file.close()
        self._unfinished.rename(self._path)

    def __iter__(self) -> Iterator[EdgeBatch]:
        unmeasured = np.zeros(BATCH, np.float32)
        with self._path.open("rb") as file:
            while True:
                pair = np.fromfile(file, np.uint32, 2 * BATCH).reshape(-1, 2)
                if not len(pair):
                    return
                columns = np.empty((4, len(pair)), np.int64)
                _edges(pair, self._ranked, *columns)
                yield EdgeBatch(*columns, unmeasured[: len(pair)])

    def records(self) -> Iterator[pa.RecordBatch]:
        for batch in self:
            yield pa.RecordBatch.from_arrays([pa.array(column) for column in batch], schema=VERIFIED)


class Memory:
    """The most anonymous memory of this process since `since()`, and the most mapped from files of a folder, in GB.

    linked: the most anonymous memory of a unit of `link`.
    """

    def __init__(self, folder: Path) -> None:
        self._most = self.mapped = self.linked = 0.0
        self._folder = str(folder)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        looks = 0
        while not self._stopped.wait(0.02):
            self._most = max(self._most, anonymous())
            looks += 1
            if looks % 50 == 0:  # a mapping stays for long, and the list of them takes a millisecond
                self.mapped = max(self.mapped, mapped_from(self._folder))

    def since(self) -> None:
        self._most = anonymous()

    @property
    def most(self) -> float:
        return max(self._most, anonymous())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def anonymous() -> float:
    """Resident memory that is no page of a file, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError("/proc/self/status has no RssAnon")


def mapped_from(folder: str) -> float:
    """Sizes of this process's mappings of files in a folder, removed ones too, in GB."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if folder in line:
            first, last = line.split(maxsplit=1)[0].split("-")
            total += int(last, 16) - int(first, 16)
    return total / 1e9


def shared(length: int, dtype: Any) -> np.ndarray[Any, Any]:
    """An array in shared memory, which is not anonymous memory; gone with the process."""
    return np.frombuffer(mmap.mmap(-1, max(1, length) * np.dtype(dtype).itemsize), dtype)


@click.command()
@click.option("--documents", "count", default=1_000_000, show_default=True)
@click.option("--keep", type=click.Choice(["first", "longest"]), default="first", show_default=True)
@click.option("--direct", is_flag=True, help="Cluster without the copy of the edges that a run makes.")
@click.option("--edges", type=click.Path(dir_okay=False, path_type=Path), help="File that keeps the edges.")
def scale(count: int, keep: str, direct: bool, edges: Path | None) -> None:
    """Link and cluster on records made directly, without verification."""
    ranked = keep == "longest"
    scratch = Path(tempfile.mkdtemp())
    try:
        written = EdgeNumbers(edges or scratch / "edges", ranked)
        _scale(count, ranked, direct, scratch, written)
    finally:
        shutil.rmtree(scratch)


def _scale(count: int, ranked: bool, direct: bool, scratch: Path, written: EdgeNumbers) -> None:
    print(f"{count:,} documents, {BANDS} bands, keep: {'longest' if ranked else 'first'}\n", flush=True)
    counts: Counter[str] = Counter()
    unit = ReduceUnit(
        0, range(count // SHARD + 1), count, lambda shard: iter(()), lambda name, n: counts.update({name: n})
    )
    context = replace(Context(models=scratch, scratch=scratch), unit=unit)
    link = Link(10**9, None)
    names = ["doc", "key", "rank"][: 3 if ranked else 2]
    _warm(link, context, names, ranked)
    memory = Memory(scratch)
    seconds = 0.0
    if not written.there:
        counts.clear()
        seconds = _link(link, context, names, count, ranked, written, memory)
        print(f"{counts['edges']:,} edges\n")
    print(
        "| phase | CPU s | µs a document | most anonymous memory, GB | most mapped, GB |\n|---|---|---|---|---|"
    )
    if seconds:
        print(f"| link | {seconds:.2f} | {seconds / count * 1e6:.2f} | {memory.linked:.2f} | |", flush=True)
    memory.since()
    start = time.process_time()
    if direct:
        found = components(written, Scratch(scratch))
        clustered = sum(len(part.doc) for part in found.parts())
    else:
        cluster = Cluster(star=False, measured=False, groups=None)
        clustered = sum(r.num_rows for r, _ in cluster.reduce(written.records(), context))
    clustering = time.process_time() - start
    figures = f"{clustering:.2f} | {clustering / count * 1e6:.2f} | {memory.most:.2f} | {memory.mapped:.2f}"
    print(f"| cluster | {figures} |")
    total = seconds + clustering
    print(f"| both | {total:.2f} | {total / count * 1e6:.2f} | | |\n\n{clustered:,} documents in clusters")
    memory.stop()


def _link(
    link: Link,
    context: Context,
    names: list[str],
    count: int,
    ranked: bool,
    written: EdgeNumbers,
    memory: Memory,
) -> float:
    """Writes all edges; CPU seconds that linking took."""
    parts = 1 << max(0, (count // PARTITION).bit_length())
    # A partition holds its share, some more by chance, and perhaps the crowd.
    capacity = count // parts + count // parts // 50 + 10_000 + min(1_000_000, count // 10)
    crowd = np.uint64((1 << 64) // count * min(1_000_000, count // 10))
    numbers = shared(parts * capacity, np.uint32)
    doc, key = shared(capacity, np.int64), shared(capacity, np.uint64)
    rank = shared(capacity if ranked else 1, np.int64)
    written.open()
    seconds, records = 0.0, 0
    for band in range(BANDS):
        filled = np.zeros(parts, np.int64)
        shift = 64 - (parts.bit_length() - 1)
        if not _scatter(count, band, crowd, shift, capacity, numbers, filled):
            raise ValueError("a partition is larger than expected")
        for part, rows in enumerate(filled.tolist()):
            _records(numbers[part * capacity :][:rows], count, band, crowd, doc, key, rank, ranked)
            columns = [pa.array(column[:rows]) for column in (doc, key, rank)[: len(names)]]
            batch = pa.RecordBatch.from_arrays(columns, names=names)
            memory.since()
            start = time.process_time()
            edges = [record for record, _ in link.reduce(iter([batch]), context)]
            seconds += time.process_time() - start
            memory.linked = max(memory.linked, memory.most)
            records += rows
            for record in edges:
                written.append(record)
            del edges
        if count >= 100_000_000:
            print(f"band {band}: {seconds:.0f} s", file=sys.stderr, flush=True)
    written.close()
    print(f"{records:,} records in {parts} partitions a band, {seconds / records * 1e9:.0f} ns a record")
    return seconds


def _warm(link: Link, context: Context, names: list[str], ranked: bool) -> None:
    """Loads or compiles the kernels."""
    tiny = [pa.array([1, 2]), pa.array([7, 7], pa.uint64()), pa.array([0, 0])][: len(names)]
    edges = list(link.reduce(iter([pa.RecordBatch.from_arrays(tiny, names=names)]), context))
    cluster = Cluster(star=False, measured=False, groups=None)
    list(cluster.reduce(iter([edges[0][0]]), context))


if __name__ == "__main__":
    scale()
