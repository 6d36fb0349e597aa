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
    …/<role>-<number>.<attempt>.pack       overlays and other files of many units, packed when a phase ends (not in a store)
    published/<output>.json                what stands in the output folder
    ceilings/<job>.txt                     pairs to look at, if a job would remove more than its ceilings allow
    failure.json                           why the last try stopped, if it did
    slurm/                                 what a run on Slurm has submitted, and which tasks failed
    cache/                                 what is kept by content, such as embeddings; --force leaves it
    lock, logs/

The folder is local, or a prefix of a store (`curate.core.objects`). Then units write below `work`, on the node's own disk,
and what is done is uploaded; `cache/`, `logs/` and `slurm/` are files that are mapped or appended to and stay `beside` it,
in `runs/<name>-<hash>` of the working directory. Which directory that is while Slurm works in the folder stands in it, in
`slurm/jobs.json`.

An attempt is a random name: two attempts at one unit never write to one file, and only the one that the done-file names
counts. Everything else in these folders is debris and is removed by the next run.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from curate.core.objects import ObjectPath, Place, Scratch, as_place
from curate.core.store import is_url


def new_attempt() -> str:
    """A name for one try at one unit."""
    return secrets.token_hex(6)


def beside(root: Place, directory: Path) -> Path:
    """Where files of a run stand that are no objects: its folder if that is local, else one of its own in a directory."""
    if isinstance(root, Path):
        return root
    return directory / "runs" / f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


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
    """Names below one run folder; `root` is absolute. scratch: for files on their way to a store or from it.

    directory: in which whoever works in a folder of a store has what is no object; None: the working directory.
    """

    root: Place
    scratch: Scratch = field(default_factory=Scratch, compare=False, repr=False)
    directory: Path | None = field(default=None, compare=False)

    @property
    def work(self) -> Path:
        """Where units write: the folder itself if it is local."""
        return self.root if isinstance(self.root, Path) else self.scratch.root / "work"

    @property
    def beside(self) -> Path:
        """Where files stand that are no objects: the folder itself if it is local."""
        return beside(self.root, self.directory or Path.cwd())

    @property
    def manifest(self) -> Place:
        return self.root / "manifest.json"

    @property
    def plan(self) -> Place:
        return self.root / "plan.json"

    @property
    def lock(self) -> Place:
        return self.root / "lock"

    @property
    def failure(self) -> Place:
        return self.root / "failure.json"

    @property
    def cache(self) -> Path:
        return self.beside / "cache"

    @property
    def logs(self) -> Path:
        return self.beside / "logs"

    def overlay(self, phase: str, shard: int, attempt: str) -> Path:
        return self.work / "overlays" / phase / f"{shard:06d}.{attempt}.parquet"

    def ingested(self, shard: int, attempt: str) -> Path:
        return self.work / "ingested" / f"{shard:06d}.{attempt}.parquet"

    def exchange(self, phase: str, unit: int, attempt: str) -> Path:
        return self.work / "exchange" / phase / f"{unit:06d}.{attempt}.arrow"

    def side(self, phase: str, unit: int, attempt: str) -> Path:
        return self.work / "exchange" / phase / f"{unit:06d}.{attempt}.side.arrow"

    def quarantine(self, phase: str, unit: int, attempt: str) -> Path:
        return self.work / "quarantine" / phase / f"{unit:06d}.{attempt}.parquet"

    def counters(self, phase: str, unit: int, attempt: str) -> Path:
        return self.work / "counters" / phase / f"{unit:06d}.{attempt}.json"

    def all_counters(self, phase: str, digest: str) -> Place:
        return self.root / "counters" / phase / f"all.{digest}.jsonl"

    def done_folder(self, phase: str) -> Place:
        return self.root / "done" / phase

    def done(self, phase: str, unit: int, fingerprint: str) -> Place:
        return self.done_folder(phase) / f"{unit:06d}-{fingerprint[:16]}.json"

    def all_done(self, phase: str) -> Place:
        return self.done_folder(phase) / "all.json"

    def summary(self, phase: str) -> Place:
        return self.done_folder(phase) / "summary.json"

    def file_layout(self, output: str, fingerprint: str) -> Place:
        return self.root / "layout" / f"{output}-{fingerprint[:16]}.json"

    def published(self, output: str) -> Place:
        return self.root / "published" / f"{output}.json"

    def evidence(self, job: str) -> Place:
        return self.root / "ceilings" / f"{job}.txt"

    def pack(self, beside: Path, role: str, number: int, attempt: str) -> Path:
        return beside.with_name(f"{role}-{number:03d}.{attempt}.pack")

    def relative(self, path: Place) -> str:
        """The path as it stands in a done-file: below the run folder, so that the folder can be moved; else the whole."""
        if isinstance(path, ObjectPath):
            inside = isinstance(self.root, ObjectPath) and path.is_relative_to(self.root)
            return path.below(self.root) if inside and isinstance(self.root, ObjectPath) else str(path)
        return path.relative_to(self.work).as_posix() if path.is_relative_to(self.work) else str(path)

    def absolute(self, name: str) -> Place:
        """The inverse of `relative`."""
        if isinstance(self.root, Path) and not is_url(name):
            return self.root / name
        return as_place(name) if is_url(name) or name.startswith("/") else self.root / name

    def local(self, name: str) -> Path:
        """A file that a done-file names, for reading: of a store, a copy on this machine until the unit ends."""
        return self.scratch.fetch(self.absolute(name), name)
