"""Export: the last phase of a job with `index:`; it writes what later runs need to know of the documents that survived.

In: what the job found out, of all shards, and the mapper's side records. Out: the index (`dedup.index`), which is the
segments of the indexes that the job was held against, and one of this run's survivors. No records: nobody depends on it.
Documents that were removed are in no index: they are not published, so nobody could show the twin they would make.

The folder is made beside its place, under a hidden name, and moved there when all its files are on disk, so there is never
half an index. An equal one that stands there already (the unit was killed before its done-file was written) is as good;
any other is left alone, and the run stops (R312). What a killed attempt leaves is removed by the next one: its lock is
free then.

One unit. Keys go through scratch by their upper bits and are sorted part by part: 64 MB at a time, and 8 bytes of
memory for each removed document.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from curate.core.batch import DocBatch
from curate.core.columns import DOC, ID
from curate.core.commit import checksum_of
from curate.core.errors import CurateError, error
from curate.core.exchange import ExchangeReader, ExchangeWriter
from curate.core.stage import Context, Reduce, ReduceUnit
from dedup.index import BLOCK, DOCUMENTS, FORMAT, INDEX, KEYS, Published, Segment, read_index, taken
from dedup.records import Emitted, looked_up

#: Characters of a text that are kept, and those in which its first line is looked for.
_LINE: Final = 120
_BEGINNING: Final = 480
#: Into how many parts keys are divided before they are sorted.
_PARTS: Final = 256
_LOCK: Final = "lock"


def side_fields(keys: int) -> list[pa.Field]:
    """What the mapper leaves of each document for an index, beside its evidence. keys: of a document."""
    return [
        pa.field(ID, pa.string(), nullable=False),
        pa.field("first_line", pa.string(), nullable=False),
        pa.field("keys", pa.list_(pa.uint64(), keys), nullable=False),
    ]


def side_columns(batch: DocBatch, keys: npt.NDArray[np.uint64]) -> list[pa.Array]:
    """Those columns. keys: uint64[rows, keys]."""
    flat = pa.array(np.ascontiguousarray(keys).ravel())
    beginning = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(batch.text, 0, _BEGINNING))
    line = pc.replace_substring_regex(beginning, r"(?s)[\r\n].*", "")
    ids = batch.column(ID).cast(pa.string()).fill_null("")
    return [
        ids,
        pc.utf8_slice_codeunits(line, 0, _LINE),
        pa.FixedSizeListArray.from_arrays(flat, keys.shape[1]),
    ]


class Export(Reduce):
    """Writes the index at `path`. before: the indexes it grows from; removes: whether a survivor means a removal where
    the config's `mode:` drops documents.

    key_names: columns of `keys.parquet`; with one, a document has a row for each of its keys. worded: whether the keys
    depend on what a word is in the run.
    """

    name = "index"
    follows_mode = True

    def __init__(
        self,
        path: str,
        kind: str,
        parameters: Mapping[str, Any],
        *,
        before: Published | None,
        key_names: Sequence[str],
        removes: bool,
        worded: bool = False,
    ) -> None:
        self.makes = path
        self._path, self._kind, self._parameters = Path(path), kind, dict(parameters)
        self._before, self._key_names, self._removes = before, list(key_names), removes
        self._worded = worded

    def units(self, partitions: int) -> int:
        return 1

    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(DOC, pa.int64(), nullable=False)])

    def reduce(self, records: Iterator[pa.RecordBatch], context: Context) -> Emitted:
        unit, removed = looked_up(context), [np.zeros(0, np.int64)]
        for batch in records:
            docs = batch.column(DOC).to_numpy()
            if self._removes and unit.drops:
                removed.append(docs[batch.column("survivor").is_valid().to_numpy(zero_copy_only=False)])
        self._write(unit, np.sort(np.concatenate(removed)), context)
        yield from ()

    def _write(self, unit: ReduceUnit, removed: npt.NDArray[np.int64], context: Context) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(self._path)
        folder = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", dir=self._path.parent))
        folder.chmod(0o755)
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                segments = [dict(_linked(segment, folder)) for segment in self._old()]
                made = self._segment(unit, removed, folder, context)
                if made is not None and all(made["name"] != other["name"] for other in segments):
                    segments.append(made)
                unit.count("indexed", sum(segment["documents"] for segment in segments))
                parameters = self._parameters | ({"run_words": context.words} if self._worded else {})
                index = {"format": FORMAT, "kind": self._kind, "parameters": parameters, "segments": segments}
                _durable(folder / INDEX, json.dumps(index, indent=1, sort_keys=True) + "\n")
                _settle(folder, self._path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _old(self) -> tuple[Segment, ...]:
        return self._before.segments if self._before is not None else ()

    def _segment(
        self, unit: ReduceUnit, removed: npt.NDArray[np.int64], folder: Path, context: Context
    ) -> dict[str, Any] | None:
        """The segment of this run's survivors, and its part of `index.json`; None if there are none."""
        place = folder / "segment"
        place.mkdir()
        shards: dict[str, int] = {}
        written = 0
        several = len(self._key_names) == 1
        fields = [pa.field(name, pa.uint64(), nullable=False) for name in self._key_names]
        kept = pa.schema([*fields, pa.field("row", pa.int64(), nullable=False)])
        with tempfile.TemporaryDirectory(dir=context.scratch) as scratch:
            held = Path(scratch) / "keys.arrow"
            with ExchangeWriter(held, kept) as spread, _Blocks(place / DOCUMENTS) as documents:
                for shard in unit.shards:
                    before = written
                    for batch in unit.side(shard):
                        alive = ~_among(batch.column(DOC).to_numpy(), removed)
                        stays = batch if alive.all() else batch.filter(pa.array(alive))
                        documents.append(stays.drop_columns(["keys"]))
                        spread.append(*_keyed(stays.column("keys"), written, kept, several=several))
                        written += stays.num_rows
                    if written > before:
                        shards[str(shard)] = written - before
            if written == 0:
                shutil.rmtree(place)
                return None
            ranges = _sorted_keys(ExchangeReader(held, spread.seal), place / KEYS, kept)
        files = {
            name: {"bytes": (place / name).stat().st_size, "checksum": checksum_of(place / name)}
            for name in (DOCUMENTS, KEYS)
        }
        name = "segment-" + xxhash.xxh3_128_hexdigest(json.dumps(files, sort_keys=True).encode())[:16]
        place.rename(folder / name)
        return {
            "name": name, "run": context.run, "documents": written, "shards": shards, "files": files,
            "key_ranges": ranges,
        }  # fmt: skip


class _Blocks:
    """`documents.parquet`, with exactly `BLOCK` rows to a row group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def append(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._rows += batch.num_rows
        while self._rows >= BLOCK:
            self._flush(BLOCK)

    def _flush(self, count: int) -> None:
        table = pa.Table.from_batches(self._held)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", compression_level=1, write_page_checksum=True
            )
        block, rest = table.slice(0, count).combine_chunks(), table.slice(count)
        self._writer.write_table(block, row_group_size=BLOCK)
        self._held, self._rows = rest.to_batches(), rest.num_rows

    def __enter__(self) -> _Blocks:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None and self._rows:
            self._flush(self._rows)
        if self._writer is not None:
            self._writer.close()


def _among(docs: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """bool[docs]: which are among `chosen`, ascending."""
    if len(chosen) == 0:
        return np.zeros(len(docs), np.bool_)
    at = np.minimum(np.searchsorted(chosen, docs), len(chosen) - 1)
    return np.asarray(chosen[at] == docs)


def _keyed(
    keys: pa.FixedSizeListArray, first: int, schema: pa.Schema, *, several: bool
) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """Rows of `keys.parquet` for the documents from row `first` on, and the part each goes to."""
    width = keys.type.list_size
    matrix = keys.flatten().to_numpy().reshape(-1, width)
    rows = np.arange(first, first + len(matrix))
    columns = [matrix.ravel()] if several else [np.ascontiguousarray(column) for column in matrix.T]
    rows = np.repeat(rows, width) if several else rows
    part = (columns[0] >> np.uint64(56)).astype(np.int64)
    return pa.RecordBatch.from_arrays([*map(pa.array, columns), pa.array(rows)], schema=schema), part


def _sorted_keys(spread: ExchangeReader, path: Path, schema: pa.Schema) -> list[list[str]]:
    """Writes `keys.parquet` in the order of keys and rows; the first and last key of each row group, in hex."""
    ranges = []
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=False, write_page_checksum=True
    ) as writer:
        for part in range(_PARTS):
            batches = spread.batches(part)
            if not batches:
                continue
            table = pa.concat_batches(batches)
            columns = [column.to_numpy() for column in table.columns]
            table = table.take(pa.array(np.lexsort([*columns[1:][::-1], columns[0]])))
            for start in range(0, table.num_rows, BLOCK):
                group = table.slice(start, BLOCK)
                writer.write_batch(group, row_group_size=BLOCK)
                ends = group.column(0)[0].as_py(), group.column(0)[-1].as_py()
                ranges.append([f"{end:016x}" for end in ends])
    return ranges


def _linked(segment: Segment, folder: Path) -> Mapping[str, Any]:
    """An old segment in the new folder: the same files, or copies on another disk."""
    target = folder / segment.name
    target.mkdir()
    for name in segment.entry["files"]:
        try:
            os.link(segment.folder / name, target / name)
        except OSError:
            shutil.copyfile(segment.folder / name, target / name)
    return segment.entry


def _durable(path: Path, text: str) -> None:
    """Writes the last file of a folder, after all others are on disk."""
    for other in sorted(path.parent.rglob("*")):
        if other.is_file():
            with other.open("rb") as file:
                os.fsync(file.fileno())
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _settle(folder: Path, path: Path) -> None:
    """Moves a whole index to its place; R312 if another one stands there."""
    try:
        folder.rename(path)
    except OSError as cause:
        if _same(path / INDEX, folder / INDEX):
            _check_whole(path)
        elif path.exists():
            raise taken(path, "is there already, with other content than this run would give it") from cause
        else:
            raise
    # Only now: until the folder has its name, the lock tells whether somebody still works on it.
    (path / _LOCK).unlink(missing_ok=True)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _check_whole(path: Path) -> None:
    """R312 if an index lacks a file, or one is not the one that `index.json` names."""
    for entry in read_index(path)["segments"]:
        try:
            Segment(path / entry["name"], entry).check()
        except CurateError as cause:
            raise error(
                "R312",
                f"the index {path} is there already, but not whole: {cause.problems[0].message}",
                help="remove the folder and run again: the index is written anew",
            ) from cause


def _sweep(path: Path) -> None:
    """Removes what killed attempts at this index left: folders whose lock nobody holds."""
    for folder in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
