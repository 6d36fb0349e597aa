"""Publishing: kept rows become Parquet files of about one size, in a stated order, whose bytes depend on nothing else.

    count      per shard: rows and bytes of text per partition (a language, or the value of `partition_by`)
    arrange    once: how many files a partition gets, and how many row groups each file (`FileLayout`)
    exchange   per shard, or run of shards: each kept row goes to its row group
    write      per file: its row groups in order, each sorted and written whole

With `shuffle: seed` a row's place is decided by hash(seed, doc): partitions of the exchange are equal ranges of the hash,
rows are sorted by it, so each partition is one uniformly random permutation. Without it, rows keep the order of `doc`.
A row group is one partition of the exchange, so a writer holds about one row group at a time whatever the file's size.

`shard` and `row_group` sizes are bytes of text before compression: they are known before anything is written, and so
the number of files is exact.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.columns import UNDETERMINED
from curate.core.exchange import ExchangeReader
from curate.core.plan import OutputPlan

#: Counts of one shard: partition value → (rows, bytes of text).
Counts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class PartitionLayout:
    """One partition's files: `files` of them, `groups` row groups each; the first has these numbers in the whole output."""

    value: str
    rows: int
    bytes: int
    files: int
    groups: int
    first_file: int
    first_group: int


@dataclass(frozen=True)
class FileLayout:
    """Which rows stand where. starts: shard → partition → bytes of text in earlier shards (only without shuffle)."""

    output: str
    partitions: tuple[PartitionLayout, ...]
    starts: Mapping[int, Mapping[str, int]]

    @property
    def files(self) -> int:
        return sum(p.files for p in self.partitions)

    def partition_of_file(self, file: int) -> PartitionLayout:
        return next(p for p in self.partitions if p.first_file <= file < p.first_file + p.files)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True)

    @staticmethod
    def from_json(text: str) -> FileLayout:
        raw = json.loads(text)
        return FileLayout(
            raw["output"],
            tuple(PartitionLayout(**p) for p in raw["partitions"]),
            {int(shard): starts for shard, starts in raw["starts"].items()},
        )


def arrange(output: OutputPlan, counts: Mapping[int, Counts]) -> FileLayout:
    """Decide files and row groups from the counts of all shards. An output without rows still gets one empty file."""
    rows: dict[str, int] = {}
    volume: dict[str, int] = {}
    starts: dict[int, dict[str, int]] = {}
    for shard in sorted(counts):
        if output.seed is None:
            starts[shard] = {value: volume.get(value, 0) for value in sorted(counts[shard])}
        for value, (count, size) in counts[shard].items():
            rows[value] = rows.get(value, 0) + count
            volume[value] = volume.get(value, 0) + size
    if not rows:
        rows, volume = {UNDETERMINED if output.partition_by else "": 0}, {}
    partitions = []
    file = group = 0
    for value in sorted(rows):
        size = volume.get(value, 0)
        files = min(max(1, rows[value]), max(1, -(-size // output.shard_bytes)))
        groups = max(1, round(size / files / output.row_group_bytes))
        partitions.append(PartitionLayout(value, rows[value], size, files, groups, file, group))
        file, group = file + files, group + files * groups
    return FileLayout(output.name, tuple(partitions), starts)


def count_rows(values: pa.StringArray | None, sizes: pa.Int64Array, into: dict[str, tuple[int, int]]) -> None:
    """Add a batch to the counts of its shard. values: partition of each row, None when there are no partitions."""
    names, codes = _partition_codes(values, len(sizes))
    rows = np.bincount(codes, minlength=len(names))
    volume = np.bincount(codes, weights=sizes.to_numpy(zero_copy_only=False), minlength=len(names))
    for index in np.flatnonzero(rows):
        before = into.get(names[index], (0, 0))
        into[names[index]] = (before[0] + int(rows[index]), before[1] + int(volume[index]))


def row_groups(
    layout: FileLayout,
    output: OutputPlan,
    shard: int,
    values: pa.StringArray | None,
    docs: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    seen: dict[str, int],
) -> npt.NDArray[np.int64]:
    """The number of the row group that each row goes to: int64[rows], for consecutive batches of one shard.

    sizes: bytes of each row's text. seen: bytes of the shard's rows met so far, per partition; updated.
    """
    names, codes = _partition_codes(values, len(docs))
    place = {p.value: p for p in layout.partitions}
    result = np.empty(len(docs), np.int64)
    for index in np.unique(codes):
        partition = place[names[index]]
        here = np.flatnonzero(codes == index)
        if output.seed is not None:
            high = (shuffle_key(output.seed, docs[here]) >> np.uint64(32)).astype(np.int64)
            group = (high * (partition.files * partition.groups)) >> 32
        else:
            ends = np.cumsum(sizes[here])
            before = seen.get(partition.value, 0)
            group = group_at(partition, layout.starts[shard][partition.value] + before + ends - sizes[here])
            seen[partition.value] = before + int(ends[-1])
        result[here] = partition.first_group + group
    return result


def group_at(partition: PartitionLayout, position: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The row group, within its partition, of rows that begin at these bytes of the partition's texts."""
    count = partition.files * partition.groups
    share = max(partition.bytes, 1) / count
    return np.minimum((position / share).astype(np.int64), count - 1)


def shuffle_key(seed: int, docs: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """hash(seed, doc): uint64[rows], distinct for distinct docs (splitmix64's finaliser, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = docs.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.uint64((2 * seed + 1) % 2**64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _partition_codes(values: pa.StringArray | None, rows: int) -> tuple[list[str], npt.NDArray[np.int64]]:
    if values is None:
        return [""], np.zeros(rows, np.int64)
    encoded = values.cast(pa.string()).fill_null(UNDETERMINED).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def file_name(output: OutputPlan, layout: FileLayout, file: int) -> str:
    """`deu_Latn/pretrain-00000-of-00003.parquet`, below the output's folder; odd characters are percent-encoded."""
    partition = layout.partition_of_file(file)
    name = f"{output.name}-{file - partition.first_file:05d}-of-{partition.files:05d}.parquet"
    return f"{folder_name(partition.value)}/{name}" if output.partition_by else name


def folder_name(value: str) -> str:
    """A partition's value as one folder name, distinct for distinct values.

    Odd characters are percent-encoded, so it is never hidden, never `..` and holds no separator; a name too long for a file
    system ends in a digest of the value instead.
    """
    name = quote(value, safe=" +,=@()-_.", encoding="utf-8", errors="strict")
    if name[:1] in (".", "_"):  # loaders and this tool pass over hidden folders
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _FOLDER_BYTES:
        start = re.sub("%.?$", "", name[: _FOLDER_BYTES - 20])  # no half of an escape
        return f"{start}~{hashlib.sha256(value.encode()).hexdigest()[:16]}"
    return "%52EADME.md" if name == "README.md" else name or "%empty"


def write_file(path: Path, groups: Iterable[pa.RecordBatch], schema: pa.Schema) -> tuple[int, int]:
    """Write one published file, a record batch a row group; gives its rows and the bytes of all columns.

    Long texts gain nothing from a dictionary, and pages hold few rows so that a reader need not decode a gigabyte at once.
    """
    rows = volume = 0
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=3,
        write_page_index=True,
        write_page_checksum=True,
        write_batch_size=64,
        use_dictionary=[path for path in _leaves(schema) if path not in _UNIQUE],
    ) as writer:
        for group in groups:
            if group.num_rows:
                table = pa.Table.from_batches([group]).cast(schema)
                writer.write_table(table, row_group_size=group.num_rows)
                rows += group.num_rows
                volume += group.nbytes
        if rows == 0:
            writer.write_table(schema.empty_table())
    return rows, volume


#: Longest folder name, in bytes; file systems allow 255.
_FOLDER_BYTES: Final = 200
#: Columns whose values hardly ever repeat.
_UNIQUE: Final = ("text", "id", "url", "doc")


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the Parquet columns of a schema, nested ones included."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [leaves.column(index).path for index in range(len(leaves))]


def exchanged_groups(
    output: OutputPlan, layout: FileLayout, file: int, readers: Callable[[], Iterable[ExchangeReader]]
) -> Iterator[pa.RecordBatch]:
    """The row groups of a file, each gathered from the exchange files of all shards and sorted.

    readers: opens the exchange files, one after the other; called for each row group.
    """
    for group in file_groups(layout, file):
        batches = [b for reader in readers() for b in reader.batches(group)]
        if not batches:
            continue
        together = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
        docs = together.column(0).to_numpy()
        key = shuffle_key(output.seed, docs) if output.seed is not None else docs
        ordered = together if _ascending(key) else together.take(pa.array(np.argsort(key)))
        yield ordered.select(list(range(1, ordered.num_columns)))


def streamed_groups(
    rows: Iterable[tuple[pa.RecordBatch, npt.NDArray[np.int64]]], layout: FileLayout, file: int
) -> Iterator[pa.RecordBatch]:
    """The row groups of a file from rows that come in their final order, each batch with its rows' group numbers."""
    wanted = file_groups(layout, file)
    held: list[pa.RecordBatch] = []
    current = wanted.start
    for record, groups in rows:
        first, last = np.searchsorted(groups, [wanted.start, wanted.stop])
        while first < last:
            if groups[first] != current and held:
                yield pa.concat_batches(held)
                held = []
            current = int(groups[first])
            end = int(np.searchsorted(groups, current, side="right"))
            held.append(record.slice(first, end - first))
            first = end
    if held:
        yield pa.concat_batches(held)


def file_groups(layout: FileLayout, file: int) -> range:
    """Numbers of the row groups that stand in a file."""
    partition = layout.partition_of_file(file)
    first = partition.first_group + (file - partition.first_file) * partition.groups
    return range(first, first + partition.groups)


def _ascending(key: npt.NDArray[Any]) -> bool:
    return bool((key[1:] > key[:-1]).all())


def provenance(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts about the run as schema metadata; no time, host, task count or path is among them."""
    return {"curate": json.dumps(facts, sort_keys=True, ensure_ascii=True)}
