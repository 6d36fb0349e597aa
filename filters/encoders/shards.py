"""Files of an embedding cache: vectors as an encoder made them, rounded to 16 bits, by the key of the text.

A shard is an uncompressed Arrow IPC file with record batches of 4,096 rows, in the order in which texts were encoded:

    key_hi     uint64                        128-bit key of the characters that were read (`curate.core.text.content`)
    key_lo     uint64
    n_tokens   int32                         as in `filters.encoders.encoder`
    truncated  bool                          whether the encoder read less than the text that the key is of
    vector     fixed_size_list<float16>[d]

Each batch has the XXH3-64 of its keys and of its other columns beside it, which are checked when they are read.

`<sums of the keys' halves>.arrow` is committed by `link` from a hidden file, whole or not at all, and never changes. So two
attempts at one unit leave one shard, whatever order its threads came in, and what begins with a dot counts for nothing;
debris of a day is removed.

Why no Parquet: it takes 2.5 times the CPU to read lists of a fixed size (100,000 x 512: 0.39 s, here 0.01 s and 0.13 s with
the conversion to float32) and 10 times to write them, and vectors do not compress (zstd 8 %).
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from curate.core.errors import CurateError, error

Float16s = npt.NDArray[np.float16]
Keys = npt.NDArray[np.uint64]

#: Rows of a record batch: 4 MB of 512 values, read and checked together.
GROUP: Final = 4096
#: File in which a folder says what its vectors are.
RECIPE: Final = "encoder.json"
_NAME: Final = re.compile(r"[0-9a-f]{32}\.arrow")
#: Seconds after which a hidden file that nobody wrote to was left by a killed process.
_DEBRIS: Final = 24 * 3600.0
_ONE_THREAD: Final = pa.ipc.IpcReadOptions(use_threads=False)
_KEYS_ALONE: Final = pa.ipc.IpcReadOptions(use_threads=False, included_fields=[0, 1])


class Rows(NamedTuple):
    """Rows of a shard: uint64[n, 2], int32[n], bool[n], float16[n, dimensions]."""

    keys: Keys
    n_tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    vectors: Float16s

    def part(self, which: Any) -> Rows:
        """The rows that a slice, a mask or positions choose."""
        return Rows(self.keys[which], self.n_tokens[which], self.truncated[which], self.vectors[which])

    def put(self, at: npt.NDArray[np.int64], rows: Rows) -> None:
        """Everything but the keys of `rows`, at these positions."""
        self.n_tokens[at], self.truncated[at], self.vectors[at] = rows[1:]


def joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.n_tokens for part in parts]),
        np.concatenate([part.truncated for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )


def shard_schema(dimensions: int) -> pa.Schema:
    item = pa.field("item", pa.float16(), nullable=False)
    kinds = {
        "key_hi": pa.uint64(),
        "key_lo": pa.uint64(),
        "n_tokens": pa.int32(),
        "truncated": pa.bool_(),
        "vector": pa.list_(item, dimensions),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def shard_names(folder: Path) -> tuple[str, ...]:
    """The committed shards of a folder, ascending; none if it is not there. E510 if it holds something else."""
    try:
        entries = sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return ()
    names = [name for name in entries if not name.startswith(".") and name != RECIPE]
    for name in names:
        if not _NAME.fullmatch(name):
            raise unfit(folder / name, "it is none of the files of an embedding cache")
    return tuple(names)


class ShardWriter:
    """Writes one shard under a hidden name; `commit` gives it its own. Any OSError leaves it to `discard`."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_debris(folder)
        self._folder = folder
        self._schema = shard_schema(dimensions)
        self._path = folder / f".{secrets.token_hex(8)}.tmp"
        self._sink = pa.OSFile(str(self._path), "wb")
        self._file = pa.ipc.new_file(self._sink, self._schema)
        self._sums = np.zeros(2, np.uint64)
        self._held: list[Rows] = []
        self._count = 0

    def append(self, rows: Rows) -> None:
        self._held.append(rows)
        self._count += len(rows.keys)
        if self._count >= GROUP:
            self._write(self._count // GROUP * GROUP)

    def _write(self, count: int) -> None:
        """The first `count` rows that are held."""
        rows = joined(self._held)
        self._held, self._count = [rows.part(slice(count, None))], self._count - count
        for first in range(0, count, GROUP):
            group = rows.part(slice(first, min(first + GROUP, count)))
            self._sums += group.keys.sum(axis=0, dtype=np.uint64)
            digests = {"keys": _digest(group.keys), "rest": _digest(*group[1:])}
            self._file.write_batch(_record(group, self._schema), custom_metadata=digests)

    def commit(self) -> None:
        """Make what was appended durable and give it its name."""
        if self._count:
            self._write(self._count)
        self._file.close()
        self._sink.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another attempt at the same texts was first
            os.link(self._path, self._folder / f"{self._sums[0]:016x}{self._sums[1]:016x}.arrow")
        self._path.unlink()

    def discard(self) -> None:
        """Remove it. A full disk makes closing fail as writing did."""
        with suppress(OSError, pa.ArrowException):
            self._file.close()
        with suppress(OSError):
            self._sink.close()
        with suppress(OSError):
            self._path.unlink()


class ShardReader:
    """Reads one shard a record batch at a time. E510 if it is damaged, or has vectors of other dimensions."""

    def __init__(self, path: Path, dimensions: int) -> None:
        self._path = path
        try:
            self._file = pa.ipc.open_file(pa.OSFile(str(path)), options=_ONE_THREAD)
            found = self._file.schema
        except (OSError, pa.ArrowException) as cause:
            raise unfit(path, str(cause)) from cause
        if not found.equals(shard_schema(dimensions)):
            raise unfit(path, f"it has the columns {found.names} and not vectors of {dimensions} values")

    @property
    def groups(self) -> int:
        return int(self._file.num_record_batches)

    def key_groups(self) -> list[Keys]:
        """uint64[rows, 2] of each record batch. Mapped, since reading would fetch the vectors too."""
        try:
            with pa.memory_map(str(self._path)) as mapped:
                file = pa.ipc.open_file(mapped, options=_KEYS_ALONE)
                return [
                    self._checked_keys(file.get_batch_with_custom_metadata(i)) for i in range(self.groups)
                ]
        except (OSError, pa.ArrowException) as cause:
            raise unfit(self._path, str(cause)) from cause

    def _checked_keys(self, read: pa.RecordBatchWithMetadata) -> Keys:
        keys = _keys(read.batch)
        self._check(read.custom_metadata, "keys", _digest(keys))
        return keys

    def group(self, number: int) -> Rows:
        """The rows of a record batch."""
        try:
            batch, metadata = self._file.get_batch_with_custom_metadata(number)
        except (OSError, pa.ArrowException) as cause:
            raise unfit(self._path, str(cause)) from cause
        vectors = batch.column("vector")
        values = vectors.flatten().to_numpy(zero_copy_only=True)
        rows = Rows(
            _keys(batch),
            batch.column("n_tokens").to_numpy(),
            batch.column("truncated").to_numpy(zero_copy_only=False),
            values.reshape(batch.num_rows, vectors.type.list_size),
        )
        self._check(metadata, "keys", _digest(rows.keys))
        self._check(metadata, "rest", _digest(*rows[1:]))
        return rows

    def _check(self, metadata: Mapping[bytes, bytes] | None, name: str, digest: str) -> None:
        if metadata is None or metadata.get(name.encode()) != digest.encode():
            raise unfit(self._path, "its content is not what was written")


def unfit(path: Path, why: str) -> CurateError:
    return error(
        "E510",
        f"{path} is no part of an embedding cache: {why}",
        help="remove the file, or name another folder with `cache:`",
        file=str(path),
    )


def _record(rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    values = pa.array(np.ascontiguousarray(rows.vectors).ravel())
    arrays = [
        pa.array(np.ascontiguousarray(rows.keys[:, 0])),
        pa.array(np.ascontiguousarray(rows.keys[:, 1])),
        pa.array(rows.n_tokens),
        pa.array(rows.truncated),
        pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _keys(batch: pa.RecordBatch) -> Keys:
    return np.stack([batch.column(name).to_numpy() for name in ("key_hi", "key_lo")], axis=1)


def _digest(*parts: npt.NDArray[np.generic]) -> str:
    """XXH3-64 over arrays, hex."""
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
    return digest.hexdigest()


def _remove_debris(folder: Path) -> None:
    """Hidden files that nobody has written to for a day; another process may remove them at the same time."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _DEBRIS:
                path.unlink()
