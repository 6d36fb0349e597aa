"""An index: documents that are published already, as far as deduplication has to know them. Here it is read.

    index.json                        format, kind (`dedup.minhash`), parameters, segments in order; written last
    segment-<digest>/documents.parquet   doc int64, id string, first_line string[, evidence]     a row a document
    segment-<digest>/keys.parquet        one or two uint64 columns, row int64                    ascending by key

A segment is what one run added. It never changes, and its name is a digest of its content; an index that grew is the
segments of the one before (the same files, linked) and a new one. Two indexes that share a segment have it once. A
document's *place* is its row in all segments, one after the other; places of old documents stay as an index grows.

In a job every published document is an old one: it stands behind the shards of the run, in virtual shards of `BLOCK`
documents, with a rank that is better than any. So it survives whatever it meets, and no new document's number
changes. What a job hands out names it by −1 − place, which is no `doc` of the run.

A run refuses (C209) an index that was made by another step or with other parameters, one of another format, and one whose
files are not the ones that `index.json` names: by size and checksum when it is planned, by size when a worker begins; pages
of Parquet have checksums of their own. `index.json` counts as an artifact of the step, so another index makes the step's
phases new; its name does not.

Numbers, in bytes a document: 16 for each key before compression, the evidence, and the id and 120 characters of text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from curate.core.commit import checksum_of
from curate.core.errors import CurateError, error

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

#: Raised when the files change their form.
FORMAT: Final = 1
#: Documents of a virtual shard, which is a row group of `documents.parquet`; keys of a row group of `keys.parquet`.
BLOCK: Final = 65_536
INDEX: Final = "index.json"
DOCUMENTS: Final = "documents.parquet"
KEYS: Final = "keys.parquet"
#: Rank of a published document. Ranks of the run begin above it.
OLD: Final = np.int64(-(2**63))


@dataclass(frozen=True)
class Segment:
    """What one run added. entry: its part of `index.json`."""

    folder: Path
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def documents(self) -> int:
        return int(self.entry["documents"])

    def check(self, *, whole: bool = True) -> None:
        """C209 if a file is not the one that `index.json` names, by its size and, if `whole`, by its checksum."""
        for name, known in self.entry["files"].items():
            path = self.folder / name
            try:
                size = path.stat().st_size
            except OSError as cause:
                raise refused(path, f"cannot be read: {cause.strerror}") from cause
            if size != known["bytes"]:
                raise refused(path, f"has {size:,} bytes instead of {known['bytes']:,}")
            if whole and checksum_of(path) != known["checksum"]:
                raise refused(path, "is damaged: its checksum is another one")

    def rows(self, columns: Sequence[str], group: int) -> pa.Table:
        """Columns of one block of documents."""
        with pq.ParquetFile(self.folder / DOCUMENTS, page_checksum_verification=True) as file:
            return file.read_row_group(group, list(columns), use_threads=False)


class Published:
    """The documents of some indexes. kind: of the step."""

    def __init__(self, paths: Sequence[str], kind: str) -> None:
        self._paths, self._kind = paths, kind
        self._expected: Mapping[str, str] = {}

    def expect(self, artifacts: Mapping[str, str]) -> None:
        """Role → checksum of `index.json`, as `check` found them: R301 when another index is read later."""
        self._expected = artifacts

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """In order, each once."""
        found: dict[str, Segment] = {}
        for number, path in enumerate(self._paths):
            folder = index_folder(Path(path), self._kind)
            for entry in read_index(folder, self._expected.get(_role(number)))["segments"]:
                found.setdefault(entry["name"], Segment(folder / entry["name"], entry))
        return tuple(found.values())

    def check(self, wanted: Mapping[str, Any], *, whole: bool = True) -> dict[str, Path]:
        """Role → `index.json` of every index; C209 if one is damaged, or has other parameters than are wanted.

        whole: whether to read all files and compare their checksums, which is enough once a run.
        """
        files = {}
        for number, path in enumerate(self._paths):
            folder = index_folder(Path(path), self._kind)
            index = read_index(folder)
            if index["kind"] != self._kind:
                raise refused(folder, f"is an index of {index['kind']}, and this step is {self._kind}")
            for name in sorted(wanted.keys() | index["parameters"].keys()):
                theirs, ours = index["parameters"].get(name), wanted.get(name)
                if theirs != ours:
                    raise refused(
                        folder, f"was made with {name}: {_shown(theirs)}, and this step has {_shown(ours)}"
                    )
            files[_role(number)] = folder / INDEX
        for segment in self.segments:
            segment.check(whole=whole)
        return files

    @property
    def documents(self) -> int:
        """How many there are; 0 where an index cannot be read, which `check` says."""
        try:
            return sum(segment.documents for segment in self.segments)
        except CurateError:
            return 0

    @cached_property
    def _blocks(self) -> list[tuple[Segment, int]]:
        """Segment and row group of each virtual shard."""
        return [(s, group) for s in self.segments for group in range(-(-s.documents // BLOCK))]

    @cached_property
    def _starts(self) -> Int64s:
        """The first place of each virtual shard."""
        sizes = [min(BLOCK, segment.documents - group * BLOCK) for segment, group in self._blocks]
        return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64)

    def records(
        self, names: Sequence[str], first_shard: int, part: int, parts: int
    ) -> Iterator[list[pa.Array]]:
        """[doc int64, keys uint64 …] of the documents whose key (the first of `names`) is of one of `parts` partitions.

        doc: as a virtual shard of a run whose shards are below `first_shard`.
        """
        bits = parts.bit_length() - 1
        low, high = part << (64 - bits), ((part + 1) << (64 - bits)) - 1
        block = first_shard
        for segment in self.segments:
            with pq.ParquetFile(segment.folder / KEYS, page_checksum_verification=True) as file:
                for group, (first, last) in enumerate(segment.entry["key_ranges"]):
                    if int(last, 16) < low or int(first, 16) > high:
                        continue
                    table = file.read_row_group(group, [*names, "row"], use_threads=False)
                    columns = [table[name].combine_chunks() for name in names]
                    key = columns[0].to_numpy()
                    start = int(np.searchsorted(key, np.uint64(low), side="left"))
                    count = int(np.searchsorted(key, np.uint64(high), side="right")) - start
                    row = table["row"].to_numpy()[start : start + count]
                    docs = (block + row // BLOCK << 32) | row % BLOCK
                    yield [pa.array(docs), *(column.slice(start, count) for column in columns)]
            block += -(-segment.documents // BLOCK)

    def evidence(self, first_shard: int, shard: int, kind: pa.DataType) -> pa.Array:
        """The evidence of a virtual shard's documents, by row."""
        segment, group = self._blocks[shard - first_shard]
        table = segment.rows(["evidence"], group)
        return table["evidence"].combine_chunks().cast(kind)

    def named(self, docs: pa.Array, first_shard: int) -> pa.Array:
        """Documents as the job hands them out: −1 − place for those of an index."""
        values = docs.fill_null(0).to_numpy()
        old = np.flatnonzero(values >= first_shard << 32)
        if len(old) == 0:
            return docs
        values = values.copy()
        shard = (values[old] >> 32) - first_shard
        values[old] = -1 - (self._starts[shard] + (values[old] & 0xFFFFFFFF))
        return pa.array(values, mask=docs.is_null().to_numpy(zero_copy_only=False))

    def evidence_of(self, numbers: Sequence[int], schema: pa.Schema) -> pa.RecordBatch:
        """doc and evidence of documents that are called by these numbers (below 0), ascending."""
        places = -1 - np.array(sorted(numbers), np.int64)
        blocks = np.searchsorted(self._starts, places, side="right") - 1
        parts = []
        for block in np.unique(blocks)[::-1].tolist():
            here = places[blocks == block]
            kept = self.evidence(0, block, schema.field("evidence").type)
            columns = [pa.array(-1 - here), kept.take(pa.array(here - self._starts[block]))]
            parts.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        return pa.concat_batches(parts)

    def describe(self, number: int) -> dict[str, Any] | None:
        """run, doc, id and first_line of the document that is called `number` (below 0); None if there is none."""
        place = -1 - number
        if not 0 <= place < int(self._starts[-1]):
            return None
        block = int(np.searchsorted(self._starts, place, side="right")) - 1
        segment, group = self._blocks[block]
        row = place - int(self._starts[block])
        (found,) = segment.rows(["doc", "id", "first_line"], group).slice(row, 1).to_pylist()
        return {**found, "run": segment.entry["run"], "index": str(segment.folder.parent)}


def check_place(
    path: str,
    kind: str,
    parameters: Mapping[str, Any],
    before: Published | None,
    against: Sequence[str],
    run: str,
) -> None:
    """R312 if something stands at `path` that no attempt at this index can have left.

    parameters: as in `index.json`. before, against: what it grows from; run: the run's name, which its segment has.
    """
    folder = Path(path)
    if os.path.realpath(folder) in {os.path.realpath(index_folder(Path(p), kind)) for p in against}:
        raise taken(folder, "is read by `against` too: an index never changes")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        index = read_index(folder)
    except CurateError as cause:
        raise taken(folder, "is there already, and is no index of this run") from cause
    old = [segment.name for segment in before.segments] if before is not None else []
    own = index["segments"][len(old) :]
    if (
        (index["kind"], index["parameters"]) != (kind, parameters)
        or [segment["name"] for segment in index["segments"][: len(old)]] != old
        or [segment["run"] for segment in own] not in ([], [run])
    ):
        raise taken(folder, "is there already, as the index of another run, step or state of `against`")


def taken(path: Path, why: str) -> CurateError:
    return error(
        "R312",
        f"the index {path} {why}",
        help="name a new folder with `index:`, or remove the old one if no run is held against it",
        option="index",
    )


def index_folder(path: Path, kind: str) -> Path:
    """The index that a path means: the folder itself, or what a step of that kind wrote in a run folder."""
    plan = path / "plan.json"
    if (path / INDEX).exists() or not plan.exists():
        return path
    try:
        steps = [step for phase in json.loads(plan.read_text())["phases"] for step in phase["steps"]]
    except (ValueError, KeyError, TypeError) as cause:
        raise refused(path, "is a run folder whose plan cannot be read") from cause
    wrote = {s["options"]["index"] for s in steps if s["use"] == kind and s["options"].get("index")}
    if len(wrote) != 1:
        raise refused(path, f"is a run folder in which {len(wrote)} steps of {kind} wrote an index")
    folder = Path(wrote.pop())
    if not folder.is_absolute():
        raise refused(path, f"is a run folder whose plan does not say where {folder} lies")
    return folder


def _role(number: int) -> str:
    """What an index of `against` is called among the artifacts of a step."""
    return f"against/{number}"


def read_index(folder: Path, checksum: str | None = None) -> dict[str, Any]:
    """`index.json`; C209 if there is none or it is of another format, R301 if it has not the expected checksum."""
    path = folder / INDEX
    try:
        content = path.read_bytes()
        found = xxhash.xxh3_128_hexdigest(content)
        if checksum is not None and found != checksum:
            raise error(
                "R301",
                f"{folder} is another index than when the run was planned: it has the checksum {found}, and the run "
                f"knows {checksum}",
                help="put the one before back, or run again: the run is planned anew",
            )
        index: dict[str, Any] = json.loads(content)
        form = index["format"]
        if form == FORMAT:
            _checked(index)
    except FileNotFoundError as cause:
        raise refused(folder, f"is no index: it has no {INDEX}") from cause
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise refused(path, f"cannot be read: {cause}") from cause
    if form != FORMAT:
        raise refused(folder, f"has format {form}, and this version reads {FORMAT}")
    return index


def _checked(index: Mapping[str, Any]) -> None:
    """KeyError, TypeError or ValueError unless everything is there that somebody looks for later."""
    _ = index["kind"], dict(index["parameters"])
    for segment in index["segments"]:
        _ = segment["run"], [(int(first, 16), int(last, 16)) for first, last in segment["key_ranges"]]
        if Path(segment["name"]).name != segment["name"] or int(segment["documents"]) < 0:
            raise ValueError(f"{segment['name']} with {segment['documents']} documents is no segment")
        for name in (DOCUMENTS, KEYS):
            _ = int(segment["files"][name]["bytes"]), segment["files"][name]["checksum"]


def refused(path: Path, why: str) -> CurateError:
    return error(
        "C209",
        f"{path} {why}",
        help="name the `index:` that an earlier run of this step wrote, with the same parameters, or leave it out",
    )


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
