"""The run folder: every file name a run uses is made here.

    manifest.json                          which files are read (frozen)
    plan.json                              phases, steps and outputs
    overlays/<phase>/<shard>.<attempt>.parquet      what a pass found out about each row that entered it
    ingested/<shard>.<attempt>.parquet     JSONL as Parquet
    layout/<output>-<fingerprint>.json     which rows go to which published file, once they are counted
    exchange/<phase>/<unit>.<attempt>.arrow         rows on their way to a published file; records of a job
    quarantine/<phase>/<unit>.<attempt>.parquet     bad records, with file, position and reason
    counters/<phase>/<unit>.<attempt>.json          the ledger's numbers
    done/<phase>/<unit>-<fingerprint>.json          a unit is finished; names the outputs that count
    done/<phase>/all.json, counters/<phase>/all.<digest>.jsonl      the same, compacted when a phase ends
    done/<phase>/summary.json              what the records come to, for `curate status`
    …/<role>-<number>.<attempt>.pack       overlays and other files of many units, packed when a phase ends
    published/<output>.json                what stands in the output folder
    ceilings/<job>.txt                     pairs to look at, if a job would remove more than its ceilings allow
    failure.json                           why the last try stopped, if it did
    slurm/                                 what a run on Slurm has submitted, and which tasks failed
    cache/                                 what is kept by content, such as embeddings; --force leaves it
    lock, logs/

An attempt is a random name: two attempts at one unit never write to one file, and only the one that the done-file names
counts. Everything else in these folders is debris and is removed by the next run.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final


def new_attempt() -> str:
    """A name for one try at one unit."""
    return secrets.token_hex(6)


#: Everything a run may put into its folder, besides the cache; the manifest and the plan, by which a folder is known, last.
RUN_NAMES: Final = (
    "overlays",
    "ingested",
    "exchange",
    "quarantine",
    "counters",
    "done",
    "layout",
    "published",
    "ceilings",
    "logs",
    "slurm",
    "failure.json",
    "plan.json",
    "manifest.json",
)


@dataclass(frozen=True)
class RunFolder:
    """Names below one run folder; `root` is absolute."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def failure(self) -> Path:
        return self.root / "failure.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def overlay(self, phase: str, shard: int, attempt: str) -> Path:
        return self.root / "overlays" / phase / f"{shard:06d}.{attempt}.parquet"

    def ingested(self, shard: int, attempt: str) -> Path:
        return self.root / "ingested" / f"{shard:06d}.{attempt}.parquet"

    def exchange(self, phase: str, unit: int, attempt: str) -> Path:
        return self.root / "exchange" / phase / f"{unit:06d}.{attempt}.arrow"

    def side(self, phase: str, unit: int, attempt: str) -> Path:
        return self.root / "exchange" / phase / f"{unit:06d}.{attempt}.side.arrow"

    def quarantine(self, phase: str, unit: int, attempt: str) -> Path:
        return self.root / "quarantine" / phase / f"{unit:06d}.{attempt}.parquet"

    def counters(self, phase: str, unit: int, attempt: str) -> Path:
        return self.root / "counters" / phase / f"{unit:06d}.{attempt}.json"

    def all_counters(self, phase: str, digest: str) -> Path:
        return self.root / "counters" / phase / f"all.{digest}.jsonl"

    def done_folder(self, phase: str) -> Path:
        return self.root / "done" / phase

    def done(self, phase: str, unit: int, fingerprint: str) -> Path:
        return self.done_folder(phase) / f"{unit:06d}-{fingerprint[:16]}.json"

    def all_done(self, phase: str) -> Path:
        return self.done_folder(phase) / "all.json"

    def summary(self, phase: str) -> Path:
        return self.done_folder(phase) / "summary.json"

    def file_layout(self, output: str, fingerprint: str) -> Path:
        return self.root / "layout" / f"{output}-{fingerprint[:16]}.json"

    def published(self, output: str) -> Path:
        return self.root / "published" / f"{output}.json"

    def evidence(self, job: str) -> Path:
        return self.root / "ceilings" / f"{job}.txt"

    def pack(self, beside: Path, role: str, number: int, attempt: str) -> Path:
        return beside.with_name(f"{role}-{number:03d}.{attempt}.pack")

    def relative(self, path: Path) -> str:
        """The path as it stands in a done-file: below the run folder, so that the folder can be moved."""
        return path.relative_to(self.root).as_posix()

    def absolute(self, name: str) -> Path:
        """The inverse of `relative`; published files carry absolute paths already."""
        return self.root / name
