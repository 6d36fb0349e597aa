"""Summaries: what the records of a finished phase come to, so that `curate status` need not read them all.

    done/<phase>/summary.json = {"plan", "manifest", "records": digests of the files that it was made from, "corpus",
                                 "shards", "groups", "units", "done", "rows", "bytes", "quarantined", "counts", "encoders",
                                 "files": {path: [bytes, whether it is a pack]}}

It is written when a phase ends and believed as long as plan, manifest and records are byte for byte what they were, no unit
has a done-file of its own, and every file that the records name is there with the bytes they say (a pack may be longer).
Else the records are read, which for 100,000 units takes seconds. Nothing but what people are shown depends on it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from curate.core.commit import Done, checksum_of, write_atomically
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.objects import Place, Sizes
from curate.core.plan import Phase
from curate.running.ledger import encoders


@dataclass(frozen=True)
class Summary:
    """units: of the phase, None while that is not known; done: of these; rows, bytes, quarantined: of the done ones.

    counts: what a job's reduce phase, or the steps of a pass, counted beside the ledger.
    encoders: encoder → `tokens busy_seconds seconds` of the units of a pass.
    """

    units: int | None
    done: int
    rows: int
    bytes: int
    quarantined: int
    counts: Mapping[str, Any] = field(default_factory=dict)
    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @staticmethod
    def of(units: int | None, records: Iterable[Done]) -> Summary:
        counts: dict[str, Any] = {}
        facts = []
        done = rows = size = bad = 0
        for record in records:
            done += 1
            rows += record.rows
            size += record.bytes
            bad += record.facts.get("quarantined", 0)
            _add(counts, record.facts.get("counts", {}))
            facts.append(record.facts)
        works = {
            name: {"tokens": work.tokens, "busy_seconds": work.busy, "seconds": work.seconds}
            for name, work in encoders(facts).items()
        }
        return Summary(units, done, rows, size, bad, counts, works)


def _add(total: dict[str, Any], counts: Mapping[str, Any]) -> None:
    for name, number in counts.items():
        if isinstance(number, Mapping):
            _add(total.setdefault(name, {}), number)
        elif isinstance(number, int):
            total[name] = total.get(name, 0) + number


def write_summary(
    folder: RunFolder, manifest: Manifest, phase: Phase, records: Mapping[int, Done], corpus: str
) -> None:
    """Sum up a finished phase. corpus: fingerprint of the whole input."""
    if not _summed(phase) or not folder.all_done(phase.name).exists():
        return
    files: dict[str, tuple[int, bool]] = {}
    for record in records.values():
        for output in record.outputs.values():
            end = (output.offset or 0) + output.bytes
            known, _ = files.get(output.path, (0, False))
            files[output.path] = max(known, end), output.offset is not None
    summary = dataclasses.asdict(Summary.of(len(records), records.values()))
    made_from = {
        "plan": digest_of(folder.plan),
        "manifest": digest_of(folder.manifest),
        "records": digest_of(folder.all_done(phase.name)),
    }
    whole = {"corpus": corpus, "shards": len(manifest.shards), "groups": len(manifest.groups)}
    text = json.dumps({**made_from, **whole, **summary, "files": files}) + "\n"
    write_atomically(folder.summary(phase.name), text)


def _summed(phase: Phase) -> bool:
    """Not files that are moved after they are written, and none that go while the phase stays done."""
    return phase.kind not in ("exchange", "write") and not phase.passing and phase.makes is None


class Summaries:
    """The summaries of a run folder that hold now."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._run = {"plan": digest_of(folder.plan), "manifest": digest_of(folder.manifest)}
        #: Fingerprint of the whole input, if a summary that holds has it.
        self.corpus: str | None = None
        #: How many shards it has, and runs of them (`Manifest.groups`).
        self.shards = self.groups = 0

    def of(self, phase: Phase) -> Summary | None:
        """That of a phase; None if there is none, or something has changed since."""
        try:
            raw = json.loads(self._folder.summary(phase.name).read_text(encoding="utf-8"))
            if any(raw[name] != digest for name, digest in self._run.items()):
                return None
            single = any(self._folder.done_folder(phase.name).glob("[0-9]*.json"))
            if single or raw["records"] != digest_of(self._folder.all_done(phase.name)):
                return None
            sizes = Sizes()
            files = raw["files"].items()
            if not all(_fits(sizes.named(path, self._folder.absolute), *known) for path, known in files):
                return None
            found = Summary(**{f.name: raw[f.name] for f in dataclasses.fields(Summary)})
            self.corpus, self.shards, self.groups = str(raw["corpus"]), int(raw["shards"]), int(raw["groups"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return found


def _fits(size: int | None, end: int, packed: bool) -> bool:
    """What `finished` asks of a file of that size, None if it is not there."""
    return size is not None and (size >= end if packed else size == end)


def digest_of(path: Place) -> str:
    """`checksum_of` a small file, or object."""
    return checksum_of(path) if isinstance(path, Path) else xxhash.xxh3_128_hexdigest(path.read_bytes())
