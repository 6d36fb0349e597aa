"""Documents of a run with everything that is known about them: where they lie, their own columns, what each
step wrote, and their fate. For `explain` and `inspect`, which show few documents; nothing here is on a hot
path.

A document's fate is in the last overlay that has a row for it: dropped there, or kept if no pass is left. Bad
records are taken from the quarantine's files, which have them all, also those that ingest met and that no
overlay knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import DOC, ID, TEXT, UNDETERMINED
from curate.core.errors import CurateError
from curate.core.manifest import Shard, SourceFile, row_of, shard_of
from curate.core.overlay import DROP, DROP_REASONS, QUARANTINED, TEXT_BYTES
from curate.core.packs import Stretch, parquet_source
from curate.core.plan import Phase
from curate.core.stage import Job
from curate.diagnostics import printable
from curate.io.publish import FileLayout
from curate.io.source import read_shard
from curate.planning.fingerprints import read_layout
from curate.running.ledger import READ
from curate.running.workspace import Workspace
from curate.views.report import quarantine_files
from curate.views.run_state import RunState

Docs = npt.NDArray[np.int64]

#: unfinished: kept so far, but not every pass has seen its shard.
FateName = Literal["kept", "dropped", "quarantined", "unfinished"]


@dataclass(frozen=True)
class Fate:
    """What became of a document. step, reasons: who took it out and why. file, position, raw: of a bad
    record.
    """

    name: FateName
    step: str | None = None
    reasons: tuple[str, ...] = ()
    file: str | None = None
    position: str | None = None
    raw: bytes | None = None


@dataclass
class Document:
    """One document. own: its columns in the input, without the text; values: what steps wrote, by global
    name, null where a step did not see it.

    text: as the last pass left it; None if it has none, or cannot be read. language: `und` if it has none.
    """

    doc: int
    file: str
    row: int
    fate: Fate
    language: str = UNDETERMINED
    own: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    text_bytes: int | None = None
    rewritten: bool = False

    @property
    def id(self) -> str:
        """The document's own id; `path#row` for a record too bad to have one."""
        return str(self.own.get(ID) or f"{self.file}#{self.row}")


class Documents:
    """The documents of one run."""

    def __init__(self, run: RunState) -> None:
        self.run = run
        self.plan, self.manifest, self.folder = run.plan, run.manifest, run.folder
        self.space = Workspace(
            run.plan, run.manifest, run.folder, lambda name: run.phase(name).done, self.layout
        )

    @cached_property
    def source(self) -> pa.Schema:
        """Columns that the documents have in the input."""
        return self.plan.source_schema

    @cached_property
    def step_names(self) -> list[str]:
        """Steps in order, the reader first."""
        return [READ, *(s.name for s in self.plan.steps)]

    def layout(self, output: str) -> FileLayout:
        layout = read_layout(self.plan, self.manifest, output, self.folder)
        if layout is None:
            raise LookupError(output)
        return layout

    @cached_property
    def quarantine(self) -> pa.Table | None:
        """All bad records, ascending by doc; None if there are none."""
        tables = [pq.read_table(parquet_source(path)) for path in quarantine_files(self.run)]
        return pa.concat_tables(tables).sort_by(DOC).combine_chunks() if tables else None

    def quarantined(self, doc: int) -> Fate | None:
        """The fate of a bad record, or None if that document is none."""
        if self.quarantine is None:
            return None
        found = self.quarantine.filter(pc.equal(self.quarantine[DOC], doc)).to_pylist()
        return _bad_fate(found[0]) if found else None

    def overlays(self, shard: int) -> list[tuple[Phase, Path | Stretch]]:
        """The passes that have seen a shard, in order, with what they wrote about it."""
        found = []
        for phase in self.run.passes:
            if shard not in phase.done:
                break
            found.append((phase.phase, self.run.place(phase, shard, "overlay")))
        return found

    def place(self, doc: int) -> tuple[SourceFile, int]:
        """The file a document came from, and its row (record) there, from 0."""
        shard, row = self.manifest.shards[shard_of(doc)], row_of(doc)
        if shard.ingest is None:
            return self.manifest.files[shard.files[0]], shard.first_row + row
        starts = self.space.file_starts(shard)
        index = max(int(np.searchsorted(starts, row, side="right")) - 1, 0)
        before = (
            [s for s in self.manifest.ingest[shard.ingest].shards if s < shard.number] if index == 0 else []
        )
        earlier = sum(self.records(s) for s in before)
        return self.manifest.files[shard.files[index]], row - starts[index] + earlier

    def find(self, wanted: str) -> list[int]:
        """Documents with that id, ascending; bad records whose bytes hold it are among them. Empty if there
        are none.
        """
        found = {doc for shard in self.readable_shards() for doc in self._find_in(shard, wanted)}
        return sorted(found | set(self._find_bad(wanted)))

    def readable_shards(self) -> Iterator[int]:
        """Shards whose records can be read now: those in place, and those that ingest has written."""
        for shard in self.manifest.shards:
            if shard.ingest is None or shard.ingest in self.run.phase("ingest").done:
                yield shard.number

    def batches(self, shard: int, columns: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """`doc` and these columns of the input."""
        ingested = self._ingested(self.manifest.shards[shard])
        batches = read_shard(
            self.manifest,
            self.plan.inputs,
            shard,
            schema=self.source,
            columns=frozenset(columns),
            ingested=str(ingested) if isinstance(ingested, Path) else ingested,
        )
        for batch in batches:
            yield batch.record

    def _ingested(self, shard: Shard) -> Path | Stretch | None:
        """Where a shard that ingest has written is now."""
        if shard.ingest is None:
            return None
        return self.run.place(self.run.phase("ingest"), shard.ingest, f"shard{shard.number}")

    def _find_in(self, shard: int, wanted: str) -> list[int]:
        found: list[int] = []
        for record in self.batches(shard, [ID]):
            found += record.column(DOC).filter(pc.equal(record.column(ID), wanted)).to_pylist()
        return found

    def _find_bad(self, wanted: str) -> list[int]:
        """Bad records: `path#row`, or JSON that could not be parsed but begins like the record that is meant."""
        if self.quarantine is None:
            return []
        path, _, row = wanted.rpartition("#")
        named = (
            self.quarantine.filter(pc.equal(self.quarantine["file"], path))[DOC].to_pylist() if path else []
        )
        numbered = [doc for doc in named if str(self.place(doc)[1]) == row]
        quoted = json.dumps(wanted, ensure_ascii=False).encode()
        near = self.quarantine.filter(pc.match_substring(self.quarantine["raw"], quoted))
        found = []
        for record in near.to_pylist():
            spec = self.plan.inputs[self.place(record[DOC])[0].input]
            key = spec.columns[ID].field if ID in spec.columns else ID
            if re.search(rb'"%s"\s*:\s*%s' % (re.escape(key.encode()), re.escape(quoted)), record["raw"]):
                found.append(record[DOC])
        return [*numbered, *found]

    def exists(self, doc: int) -> bool:
        """Whether there is a record of that number, good or bad."""
        if not 0 <= shard_of(doc) < len(self.manifest.shards):
            return False
        return row_of(doc) < self.records(shard_of(doc))

    def records(self, shard: int) -> int:
        """Records of a shard, bad ones included; none before it is ingested."""
        source = self.manifest.shards[shard]
        if source.ingest is None:
            return source.rows or 0
        if source.ingest not in self.run.phase("ingest").done:
            return 0
        # Records are numbered one by one, so the last one's number, good or bad, tells how many there are.
        docs = [d for d in self._bad_docs.tolist() if shard_of(d) == shard]
        place = self._ingested(source)
        assert place is not None
        metadata = pq.read_metadata(parquet_source(place))
        for group in range(metadata.num_row_groups):
            docs.append(metadata.row_group(group).column(0).statistics.max)
        return max((row_of(d) + 1 for d in docs), default=0)

    @cached_property
    def _bad_docs(self) -> Docs:
        return np.empty(0, np.int64) if self.quarantine is None else self.quarantine[DOC].to_numpy()

    def near_ids(self, wanted: str, limit: int = 2_000) -> list[str]:
        """Ids that begin like the one that is wanted, for a did-you-mean."""
        prefix = wanted[: max(2, len(wanted) // 2)]
        found: list[str] = []
        for shard in self.readable_shards():
            for record in self.batches(shard, [ID]):
                ids = record.column(ID)
                found += [_value(i) for i in ids.filter(pc.starts_with(ids, prefix))]
                if len(found) >= limit:
                    return found[:limit]
        return found

    def fetch(self, docs: Sequence[int], *, text: bool = True) -> list[Document]:
        """These documents with everything known about them, in the order asked for.

        Of a document that is none of the run's, such as a published one that a job names, only the number is known.
        """
        found: dict[int, Document] = {}
        shards: dict[int, list[int]] = {}
        for doc in sorted(set(docs)):
            if 0 <= shard_of(doc) < len(self.manifest.shards):
                shards.setdefault(shard_of(doc), []).append(doc)
            else:
                found[doc] = Document(doc, "published", doc, Fate("kept"))
        for shard, members in shards.items():
            found.update(self._fetch_shard(shard, np.array(members, np.int64), text))
        return [found[doc] for doc in docs]

    def _fetch_shard(self, shard: int, docs: Docs, text: bool) -> dict[int, Document]:
        found = {}
        for doc in docs.tolist():
            file, row = self.place(doc)
            found[doc] = Document(doc, file.path, row, self.quarantined(doc) or Fate("unfinished"))
            found[doc].values = {column: None for s in self.plan.steps for column in s.writes}
        columns = [c for c in self.source.names if c != DOC and (text or c != TEXT)]
        for own in self._source_rows(shard, docs, columns):
            document = found[own.pop(DOC)]
            document.text = own.pop(TEXT, None)
            document.own = own
        overlays = self.overlays(shard)
        for index, (_, path) in enumerate(overlays):
            last = index + 1 == len(self.run.passes)
            for row in read_rows(path, docs).to_pylist():
                _take_overlay(found[row[DOC]], row, last=last)
        for document in found.values():
            known = {**document.own, **document.values}
            document.language = known.get(self.plan.language or "") or UNDETERMINED
        return found

    def _source_rows(self, shard: int, docs: Docs, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        left = set(docs.tolist())
        for record in self.batches(shard, columns):
            here = np.flatnonzero(np.isin(record.column(DOC).to_numpy(), docs))
            for index in here:
                row = {name: _value(record.column(name)[int(index)]) for name in record.schema.names}
                left.discard(row[DOC])
                yield row
            if not left:
                return

    def languages(self, shard: int) -> tuple[Docs, pa.Array] | None:
        """Language of each document of a shard, ascending by doc, as far as it is known; None if it is
        nowhere.
        """
        name = self.plan.language
        if name is None:
            return None
        for phase, path in reversed(self.overlays(shard)):
            if any(name in s.writes for s in phase.steps):
                table = pq.read_table(parquet_source(path), columns=[DOC, name])
                return table[DOC].to_numpy(), pc.fill_null(table[name].combine_chunks(), UNDETERMINED)
        if name not in self.source.names:
            return None
        records = list(self.batches(shard, [name]))
        table = pa.Table.from_batches(records, pa.schema([(DOC, pa.int64()), self.source.field(name)]))
        return table[DOC].to_numpy(), pc.fill_null(table[name].combine_chunks(), UNDETERMINED)


def raise_if_another(cause: CurateError) -> None:
    """An index that is gone is shown as that; one that is not the run's would say something else about its documents."""
    if any(problem.code == "R301" for problem in cause.problems):
        raise cause


def published_document(job: Job[Any], number: int) -> Document:
    """A document of another run that a job names by a number below 0, as far as an index knows it."""
    try:
        found = job.describe(number)
    except CurateError as cause:
        raise_if_another(cause)
        found = None
    own = {ID: found["id"] if found is not None else f"published {number}"}
    text = found["first_line"] if found is not None else None
    return Document(
        number, str(found["index"]) if found is not None else "", 0, Fate("kept"), own=own, text=text
    )


def read_rows(path: Path | Stretch, docs: Docs) -> pa.Table:
    """The overlay's rows of these documents (ascending); only row groups that may hold one are read."""
    file = pq.ParquetFile(parquet_source(path))
    column = file.schema_arrow.names.index(DOC)
    groups = []
    for group in range(file.metadata.num_row_groups):
        bounds = file.metadata.row_group(group).column(column).statistics
        if bounds is None or not bounds.has_min_max or _between(docs, bounds.min, bounds.max):
            groups.append(group)
    if not groups:
        return file.schema_arrow.empty_table()
    table = file.read_row_groups(groups)
    return table.filter(pc.is_in(table[DOC], pa.array(docs)))


def _between(docs: Docs, low: int, high: int) -> bool:
    return bool(((docs >= low) & (docs <= high)).any())


def _take_overlay(document: Document, row: Mapping[str, Any], *, last: bool) -> None:
    """What one pass says about a document; passes are taken in order."""
    own = (DOC, TEXT, TEXT_BYTES, DROP, DROP_REASONS)
    document.values.update({name: value for name, value in row.items() if name not in own})
    document.text_bytes = row[TEXT_BYTES]
    if row[TEXT] is not None:
        document.text, document.rewritten = row[TEXT], True
    if row[DROP] is not None and row[DROP] != QUARANTINED:
        document.fate = Fate("dropped", row[DROP], tuple(row[DROP_REASONS] or ()))
    elif row[DROP] is None and last:
        document.fate = Fate("kept")


def _bad_fate(row: Mapping[str, Any]) -> Fate:
    """Records that ingest could not read are the reader's in every report."""
    step = row["step"]
    return Fate("quarantined", step, (row["reason"],), row["file"], row["position"], row["raw"])


def _value(scalar: pa.Scalar) -> Any:
    """A value of the input; bytes that are not UTF-8 are shown as replacement characters."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        buffer = getattr(scalar, "as_buffer", None)
        return buffer().to_pybytes().decode("utf-8", "replace") if buffer is not None else None


def raw_text(fate: Fate) -> str:
    r"""The bytes of a bad record as text; those that are not UTF-8 become `\xff`."""
    return (fate.raw or b"").decode("utf-8", "backslashreplace")


def excerpt(text: str, limit: int) -> str:
    r"""The beginning of a text on one line: at most `limit` characters of it, control and invisible ones as
    `\n`, `\u202e`.
    """
    shown = "\\n".join(printable(line) for line in text[:limit].split("\n"))
    return shown + "…" if len(text) > limit else shown
