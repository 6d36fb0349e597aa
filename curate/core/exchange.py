"""Exchange: rows change from being grouped by shard to being grouped by partition.

A map unit spills sorted runs into one file: it gathers about 64 MB of rows, sorts them by partition (stable, so rows of one
partition stay in the order of `doc`), and writes a stretch for each partition that occurs, of 8 MB at most or one row:

    schema      Arrow IPC schema message
    stretches   Arrow IPC record batch messages, one after the other
    index       32 bytes a stretch: partition, offset, bytes, XXH3-64 of these bytes; by partition, then offset
    directory   16 bytes a page of 128 stretches of the index: its first partition, and the XXH3-64 of the page
    trailer     24 bytes: stretches, bytes of the schema, magic

The unit's done-file has the seal, XXH3-128 of schema, directory and trailer, so what it records does not grow with the
partitions, and every byte that is read is checked when it is read: directory by seal, page by directory, stretch by page.
A reader of one partition reads and checks no other's rows. It holds 16 bytes a page in memory and 4 KB while it looks up; a
writer holds the index. Reducers sort; they never rely on the order of arrival.

Raw IPC: compressing costs more CPU than it saves on local disks (lz4 1.4-1.9 times reading and writing, raw 1.05-1.2).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.core.errors import error
from curate.core.objects import ObjectPath, size_of
from curate.core.packs import Stretch

#: Rows that a writer gathers before it sorts and writes them.
RUN_BYTES = 64 * 1024 * 1024
_STRETCH_BYTES = 8 * 1024 * 1024
_PAGE: Final = 128
#: Of an object, what is read at once from its end: the index of 8,000 stretches, or all of a small one.
_TAIL_BYTES: Final = 256 * 1024
#: Of the file; in the fingerprints of phases that write one, so a new format is never met with old files. 1 was an Arrow
#: IPC file whose done-file listed the partitions.
FORMAT: Final = 2
_MAGIC: Final = b"CURATEX%d" % FORMAT
_TRAILER: Final = struct.Struct("<QQ8s")
_ENTRY: Final = np.dtype([("partition", "<i8"), ("offset", "<i8"), ("bytes", "<i8"), ("digest", "<u8")])
_PAGE_ENTRY: Final = np.dtype([("partition", "<i8"), ("digest", "<u8")])
#: Of a stretch of the run that is being written: a tuple of four numbers, and its place in the list.
_HELD_BYTES: Final = 240


def writer_memory(stretches: int, of_one_run: int) -> int:
    """Bytes that the index of a file takes while it is written, beside the rows. of_one_run: stretches of a run of rows."""
    last_run = (stretches - of_one_run) * _ENTRY.itemsize + of_one_run * _HELD_BYTES
    return max(last_run, 2 * stretches * _ENTRY.itemsize)  # then the runs' parts are joined


def reader_memory(stretches: int) -> int:
    """Bytes that readers hold of files with so many stretches together."""
    return -(-stretches // _PAGE) * _PAGE_ENTRY.itemsize


class ExchangeWriter:
    """Writes one exchange file. `append(record, partition: int64[rows])`; once it is left without an error it has a `seal`.

    Columns must be no dictionaries.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = pa.OSFile(str(path), "wb")
        self._head = schema.serialize().to_pybytes()
        self._sink.write(self._head)
        self._held: list[pa.RecordBatch] = []
        self._keys: list[npt.NDArray[np.int64]] = []
        self._bytes = 0
        self._stretches: list[tuple[int, int, int, int]] = []
        self._index: list[npt.NDArray[np.void]] = []  # of earlier runs: tuples take five times the memory
        self._end = len(self._head)
        #: XXH3-128, hex, by which a reader knows the file.
        self.seal = ""

    def append(self, record: pa.RecordBatch, partition: npt.NDArray[np.int64]) -> None:
        if record.num_rows == 0:
            return
        self._held.append(record)
        self._keys.append(partition)
        self._bytes += record.get_total_buffer_size()
        if self._bytes >= RUN_BYTES:
            self._spill()

    def _spill(self) -> None:
        if self._held:
            self._write_run()
            self._index.append(np.array(self._stretches, _ENTRY))
            self._stretches = []

    def _write_run(self) -> None:
        keys = np.concatenate(self._keys)
        if (keys == keys[0]).all():  # such as side records: nothing to sort, so nothing to join
            for part in self._held:
                self._write(int(keys[0]), part)
            self._held, self._keys, self._bytes = [], [], 0
            return
        held = self._held[0] if len(self._held) == 1 else pa.concat_batches(self._held)
        self._held, self._keys, self._bytes = [], [], 0
        in_order = bool((keys[1:] >= keys[:-1]).all())
        order = np.arange(len(keys)) if in_order else np.argsort(keys, kind="stable")
        values, starts = np.unique(keys[order], return_index=True)
        ends = np.append(starts[1:], len(keys))
        for value, start, end in zip(values, starts, ends, strict=True):
            part = held.slice(start, end - start) if in_order else held.take(pa.array(order[start:end]))
            self._write(int(value), part)

    def _write(self, partition: int, part: pa.RecordBatch) -> None:
        rows = max(1, part.num_rows * _STRETCH_BYTES // max(part.nbytes, 1))
        for start in range(0, part.num_rows, rows):
            message = part.slice(start, rows).serialize()
            self._sink.write(message)
            digest = xxhash.xxh3_64_intdigest(message)
            self._stretches.append((partition, self._end, message.size, digest))
            self._end += message.size

    def __enter__(self) -> ExchangeWriter:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        with self._sink:
            if kind is None:
                self._spill()
                self._finish()

    def _finish(self) -> None:
        index = np.concatenate([np.zeros(0, _ENTRY), *self._index])
        self._index.clear()  # of a large unit it is gigabytes, held once
        order = np.argsort(index["partition"], kind="stable")
        pages = np.zeros(-(-len(index) // _PAGE), _PAGE_ENTRY)
        for number in range(len(pages)):
            page = index[order[number * _PAGE : (number + 1) * _PAGE]]
            data = page.tobytes()
            self._sink.write(data)
            pages[number] = (page["partition"][0], xxhash.xxh3_64_intdigest(data))
        directory = pages.tobytes()
        trailer = _TRAILER.pack(len(index), len(self._head), _MAGIC)
        self._sink.write(directory)
        self._sink.write(trailer)
        self.seal = xxhash.xxh3_128_hexdigest(self._head + directory + trailer)


class ExchangeReader:
    """One exchange file: `batches(partition)` reads and checks those alone. R306 for a file that is not as it was written.

    It is read, not mapped: mapped pages count as resident memory until the whole file does. Of a store, a request reads the
    index, or all of a small file, and then one each stretch.
    """

    def __init__(self, place: Path | Stretch | ObjectPath, seal: str) -> None:
        self._path = place
        self._start = place.offset if isinstance(place, Stretch) else 0
        try:
            if isinstance(place, ObjectPath):
                self._file = _InStore(place)
            else:
                self._file = pa.OSFile(str(place.path if isinstance(place, Stretch) else place))
            self._open(place.bytes if isinstance(place, Stretch) else self._file.size(), seal)
        except (OSError, pa.ArrowException) as cause:
            raise _damaged(place, str(cause)) from cause

    def _open(self, size: int, seal: str) -> None:
        trailer = bytes(self._read(max(size - _TRAILER.size, 0), _TRAILER.size))
        stretches, head, magic = (
            _TRAILER.unpack(trailer) if len(trailer) == _TRAILER.size else (0, 0, b"nothing")
        )
        if magic != _MAGIC:
            raise _damaged(self._path, "it was cut off, or another version of curate wrote it")
        pages = -(-stretches // _PAGE)
        directory_at = size - _TRAILER.size - pages * _PAGE_ENTRY.itemsize
        self._index_at = directory_at - stretches * _ENTRY.itemsize
        if self._index_at < head:
            raise _damaged(self._path, "its parts do not fit into it")
        schema = bytes(self._read(0, head))
        directory = bytes(self._read(directory_at, pages * _PAGE_ENTRY.itemsize))
        if xxhash.xxh3_128_hexdigest(schema + directory + trailer) != seal:
            raise _damaged(self._path, "it was changed after it was written, or is another unit's")
        self.schema: pa.Schema = pa.ipc.read_schema(pa.py_buffer(schema))
        self._stretches = stretches
        self._directory = np.frombuffer(directory, _PAGE_ENTRY)

    def batches(self, partition: int) -> list[pa.RecordBatch]:
        """In the order in which they were written."""
        firsts = self._directory["partition"]
        # A partition may begin in the page before the first one that begins with it.
        start = max(int(np.searchsorted(firsts, partition, side="left")) - 1, 0)
        found = []
        for page in range(start, int(np.searchsorted(firsts, partition, side="right"))):
            index = self._page(page)
            for entry in index[index["partition"] == partition]:
                found.append(pa.ipc.read_record_batch(self._stretch(entry), self.schema))
        return found

    def partitions(self) -> list[int]:
        """Those that have rows, ascending."""
        pages = [self._page(page)["partition"] for page in range(len(self._directory))]
        return [int(p) for p in np.unique(np.concatenate(pages))] if pages else []

    def _page(self, number: int) -> npt.NDArray[np.void]:
        first = number * _PAGE
        count = min(_PAGE, self._stretches - first)
        page = self._read(self._index_at + first * _ENTRY.itemsize, count * _ENTRY.itemsize)
        if xxhash.xxh3_64_intdigest(page) != self._directory["digest"][number]:
            raise _damaged(self._path, "its index was changed after it was written")
        return np.frombuffer(page, _ENTRY)

    def _stretch(self, entry: Any) -> pa.Buffer:
        offset, size = int(entry["offset"]), int(entry["bytes"])
        data = self._read(offset, size)
        if xxhash.xxh3_64_intdigest(data) != entry["digest"]:
            partition = int(entry["partition"])
            raise _damaged(
                self._path,
                f"rows of partition {partition}, bytes {offset} to {offset + size}, were changed after they were written",
            )
        return data

    def _read(self, offset: int, size: int) -> pa.Buffer:
        """As many of these bytes as there are."""
        try:
            self._file.seek(self._start + offset)
            return self._file.read_buffer(size)
        except OSError as cause:
            raise _damaged(self._path, str(cause)) from cause


class _InStore:
    """Ranges of an object. Its end, where the index is, is read at once and held."""

    def __init__(self, place: ObjectPath) -> None:
        self._place = place
        size = size_of(place)
        if size is None:
            raise FileNotFoundError(f"{place} is not there")
        self._size = size
        self._tail_at = max(size - _TAIL_BYTES, 0)
        self._tail = place.read_range(self._tail_at, size)
        self._at = 0

    def size(self) -> int:
        return self._size

    def seek(self, offset: int) -> None:
        self._at = offset

    def read_buffer(self, size: int) -> pa.Buffer:
        """As many of these bytes as there are."""
        start = self._at
        self._at += size
        if start >= self._tail_at:
            start -= self._tail_at
            return pa.py_buffer(self._tail[start : start + size])
        return pa.py_buffer(self._place.read_range(start, min(size, self._size - start)))


def _damaged(path: Path | Stretch | ObjectPath, cause: str) -> Exception:
    return error(
        "R306",
        f"the exchange file {path} cannot be read: {cause}",
        help="remove the file and run again: its unit will be computed again",
        file=str(path),
    )
