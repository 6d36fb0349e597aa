"""What a unit has to hand, and what it leaves: the run's plan, manifest and earlier results in, `UnitResult` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from curate.core.commit import Done
from curate.core.exchange import ExchangeReader
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest, Shard, row_of, shard_of
from curate.core.objects import Place
from curate.core.packs import Stretch
from curate.core.plan import Phase, Plan
from curate.core.stage import Work
from curate.io.publish import FileLayout
from curate.io.source import BadRecord
from curate.running.joined import ShardView
from curate.running.quarantine import BadRow


class Report(Protocol):
    """Called after every batch with rows, bytes of text and what encoders did since the last call."""

    def __call__(self, rows: int, size: int, work: Work = ..., /) -> None: ...


class OpenExchange(Protocol):
    """Opens what a finished unit of a phase wrote: its records, or its mapper's side records."""

    def __call__(self, phase: str, unit: int, role: str = "rows", /) -> ExchangeReader: ...


@dataclass
class UnitResult:
    """What a unit wrote and counted. rows: rows that entered; outputs: role → file; facts: for the next phases.

    seals: role → seal, of those files that are exchanges. places: role → where a file is to stand, if it was written
    elsewhere.
    """

    rows: int
    outputs: dict[str, Path]
    counters: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    seals: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """What every unit of a run can look at: the plan, the manifest, and which earlier units are done."""

    plan: Plan
    manifest: Manifest
    folder: RunFolder
    done: Callable[[str], Mapping[int, Done]]
    layout: Callable[[str], FileLayout]

    def ingested(self, shard: Shard) -> str | Stretch | None:
        if shard.ingest is None:
            return None
        output = self.done("ingest")[shard.ingest].outputs[f"shard{shard.number}"]
        place = output.place(self.folder)
        return place if isinstance(place, Stretch) else str(place)

    def view(self, shard: int, before: Phase | None = None) -> ShardView:
        """A shard with the overlays of the passes before that phase (all passes if None)."""
        passes = self.plan.passes
        if before is not None and before.kind == "pass":
            passes = passes[: passes.index(before)]
        overlays = tuple((phase, self.done(phase.name)[shard]) for phase in passes)
        source = self.manifest.shards[shard]
        return ShardView(self.plan, self.manifest, self.folder, shard, self.ingested(source), overlays)

    def file_of(self, doc: int) -> str:
        """Path of the file a document came from."""
        shard = self.manifest.shards[shard_of(doc)]
        starts = self.file_starts(shard)
        index = int(np.searchsorted(starts, row_of(doc), side="right")) - 1
        return self.manifest.files[shard.files[max(index, 0)]].path

    def file_starts(self, shard: Shard) -> list[int]:
        """The shard's row at which each of its files begins."""
        if shard.ingest is None:
            return [0]
        starts: list[int] = self.done("ingest")[shard.ingest].facts["file_starts"][str(shard.number)]
        return starts


def bad_row(bad: BadRecord, step: str) -> BadRow:
    """A record that could not be read, as the quarantine has it."""
    return BadRow(bad.doc, step, bad.reason, bad.file, bad.position, bad.raw)
