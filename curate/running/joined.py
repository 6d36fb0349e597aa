"""Reading a shard as a phase sees it: the source joined with the overlays of the passes before, living rows only.

Only the columns asked for are read, from wherever they stand: the source (Parquet in place, or the ingested shard), an
overlay, or, for texts that a pass rewrote, the last overlay that did. A phase that asks for overlay columns alone never
opens the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import TEXT
from curate.core.commit import Done
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.overlay import DROP, TEXT_BYTES, OverlayReader, doc_numbers
from curate.core.packs import Stretch
from curate.core.plan import Phase, Plan
from curate.io.source import read_shard

#: The size of the text as it stands now, asked for like a column (that no input can have); it comes from the last overlay.
SIZE = "\0text_bytes"


@dataclass(frozen=True)
class ShardView:
    """One shard with what earlier phases wrote about it. overlays: of the passes before, in order."""

    plan: Plan
    manifest: Manifest
    folder: RunFolder
    shard: int
    ingested: str | Stretch | None
    overlays: tuple[tuple[Phase, Done], ...]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Living rows in order of doc: `doc` first, then the columns asked for. Needs at least one overlay."""
        placed = self._place(columns)
        readers = {
            index: OverlayReader(self._path(index), self._wanted(index, placed))
            for index in sorted(self._read_overlays(placed))
        }
        from_source = frozenset(c for c in columns if placed[c] == -1 and c != "doc")
        last = readers[len(self.overlays) - 1]
        if not from_source:
            for stretch in last:
                if stretch.num_rows:
                    yield self._assemble(columns, placed, stretch, None, readers)
            return
        for batch in read_shard(
            self.manifest,
            self.plan.inputs,
            self.shard,
            schema=self.plan.source_schema,
            columns=from_source,
            ingested=self.ingested,
        ):
            if batch.record.num_rows:
                end = int(doc_numbers(batch.record)[-1])
                yield self._assemble(columns, placed, last.take_until(end), batch.record, readers)

    def _path(self, index: int) -> Path | Stretch:
        return self.overlays[index][1].outputs["overlay"].place(self.folder)

    def _place(self, columns: Sequence[str]) -> dict[str, int]:
        """Column → index of the overlay that holds it, -1 for the source. `text` stays with the source."""
        placed = dict.fromkeys(columns, -1)
        for index, (phase, _) in enumerate(self.overlays):
            for step in phase.steps:
                placed.update({c: index for c in step.writes if c in placed})
        if SIZE in placed:
            placed[SIZE] = len(self.overlays) - 1
        return placed

    def _read_overlays(self, placed: dict[str, int]) -> set[int]:
        """Overlays that hold a wanted column, or rewrote a wanted text, and the last, which tells who lives."""
        rewriting = self._rewriting() if TEXT in placed else []
        return ({*placed.values(), *rewriting, len(self.overlays) - 1}) - {-1}

    def _rewriting(self) -> list[int]:
        return [i for i, (_, done) in enumerate(self.overlays) if done.facts.get("rewritten", 0) > 0]

    def _wanted(self, index: int, placed: dict[str, int]) -> list[str]:
        wanted = [TEXT_BYTES if c == SIZE else c for c, at in placed.items() if at == index]
        if TEXT in placed and index in self._rewriting():
            wanted.append(TEXT)
        if index == len(self.overlays) - 1:
            wanted.append(DROP)
        return wanted

    def _assemble(
        self,
        columns: Sequence[str],
        placed: dict[str, int],
        stretch: pa.RecordBatch,
        source: pa.RecordBatch | None,
        readers: dict[int, OverlayReader],
    ) -> pa.RecordBatch:
        """The living rows of one stretch of the last overlay, with their columns from everywhere."""
        last = len(self.overlays) - 1
        alive = pc.is_null(stretch.column(DROP))
        living = stretch if pc.all(alive).as_py() else stretch.filter(alive)
        docs = doc_numbers(living)
        parts: dict[int, pa.RecordBatch] = {last: living}
        end = int(stretch.column("doc")[-1].as_py()) if stretch.num_rows else -1
        if source is not None:
            parts[-1] = self._match(source, docs)
            end = max(end, int(doc_numbers(source)[-1]))
        for index, reader in readers.items():
            if index != last:
                parts[index] = self._match(reader.take_until(end), docs)
        arrays = {"doc": living.column("doc")}
        for column in columns:
            if column != "doc":
                name = TEXT_BYTES if column == SIZE else column
                arrays[column] = parts[placed[column]].column(name)
        if TEXT in arrays:
            for index in self._rewriting():
                arrays[TEXT] = pc.coalesce(parts[index].column(TEXT), arrays[TEXT])
        return pa.RecordBatch.from_pydict(arrays)

    def _match(
        self, record: pa.RecordBatch, docs: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> pa.RecordBatch:
        """The rows of `record` (ascending doc) with these docs; all must be there."""
        have = doc_numbers(record)
        if len(have) == len(docs) and np.array_equal(have, docs):
            return record
        places = np.searchsorted(have, docs)
        found = places < len(have)
        if not found.all() or not np.array_equal(have[places], docs):
            missing = docs[~found] if not found.all() else docs[have[places] != docs]
            raise error(
                "R301",
                f"shard {self.shard} lacks document {int(missing[0])}, which an earlier phase read",
                help="the input was rewritten while the run used it; start anew with --force",
                shard=self.shard,
            )
        return record.take(pa.array(places))
