"""Which units a phase has, and what each one's output depends on.

A unit is computed again when its fingerprint changes, and only then. Shard-local phases (`ingest`, `pass`, `count`) depend
on their own shard; the reduce phases of jobs, every phase after one, `exchange` and `write` on all of them: what is a
duplicate depends on all documents, where a row stands on how many there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from curate.core.commit import Done, finished, is_consumed, is_finished, still_made
from curate.core.layout import RunFolder
from curate.core.manifest import InputSpec, Manifest
from curate.core.plan import Phase, Plan, digest
from curate.io.publish import FileLayout
from curate.running.finish import in_place


def shard_fingerprints(plan: Plan, manifest: Manifest) -> Sequence[str]:
    """By shard, what its documents depend on: the files, and how their input names and fills columns."""
    # Asked for by every phase, and a second of work for 100,000 shards: remembered as long as the manifest is.
    known: list[tuple[tuple[InputSpec, ...], list[str]]] = vars(manifest).setdefault("_fingerprints", [])
    found = next((prints for inputs, prints in known if inputs is plan.inputs), None)
    if found is None:
        found = _shard_fingerprints(plan, manifest)
        known.append((plan.inputs, found))
    return found


def _shard_fingerprints(plan: Plan, manifest: Manifest) -> list[str]:
    readings: dict[tuple[int, ...], list[object]] = {}
    found = []
    for shard in manifest.shards:
        inputs = tuple(sorted({manifest.files[f].input for f in shard.files}))
        if inputs not in readings:
            readings[inputs] = [
                [
                    sorted((n, dataclasses.asdict(c)) for n, c in spec.columns.items()),
                    sorted(spec.constants.items()),
                    spec.name,
                ]
                for spec in (plan.inputs[i] for i in inputs)
            ]
        found.append(digest(manifest.shard_identity(shard.number), readings[inputs]))
    return found


def corpus_fingerprint(plan: Plan, manifest: Manifest) -> str:
    """What the whole input is."""
    return digest(list(shard_fingerprints(plan, manifest)))


def layout_fingerprint(plan: Plan, manifest: Manifest, output: str) -> str:
    """What an output's arrangement into files depends on."""
    return _arrangement(plan, corpus_fingerprint(plan, manifest), output)


def _arrangement(plan: Plan, corpus: str, output: str) -> str:
    return digest(plan.phase(f"{output}.write").fingerprint, corpus)


def unit_fingerprints(
    plan: Plan, manifest: Manifest, phase: Phase, folder: RunFolder
) -> dict[int, str] | None:
    """Unit → fingerprint, or None while the units are not known (files to write, before rows are counted)."""
    shards = shard_fingerprints(plan, manifest)
    if phase.kind == "ingest":
        return {
            unit.number: digest(phase.fingerprint, [shards[s] for s in unit.shards])
            for unit in manifest.ingest
        }
    if not phase.corpus:
        return {s.number: digest(phase.fingerprint, shards[s.number]) for s in manifest.shards}
    corpus = corpus_fingerprint(plan, manifest)
    if phase.kind == "reduce":
        return {unit: digest(phase.fingerprint, corpus, unit) for unit in range(phase.partitions)}
    if phase.kind in ("pass", "check", "count"):
        return {s.number: digest(phase.fingerprint, corpus, s.number) for s in manifest.shards}
    if phase.kind == "exchange":
        # A run of shards, also of one, is no shard of its number, whose file may stand in an older folder.
        return {
            unit: digest(
                phase.fingerprint,
                corpus,
                unit if group == range(unit, unit + 1) else [group.start, group.stop],
            )
            for unit, group in enumerate(manifest.groups)
        }
    return file_fingerprints(plan, phase, folder, corpus)


def file_fingerprints(plan: Plan, phase: Phase, folder: RunFolder, corpus: str) -> dict[int, str] | None:
    """Those of the files to write, which need no more of the input than its fingerprint."""
    layout = _layout(plan, corpus, phase.output or "", folder)
    if layout is None:
        return None
    return {file: digest(phase.fingerprint, corpus, file) for file in range(layout.files)}


def read_layout(plan: Plan, manifest: Manifest, output: str, folder: RunFolder) -> FileLayout | None:
    """The arrangement of an output into files, once its rows have been counted; a damaged one is made again."""
    return _layout(plan, corpus_fingerprint(plan, manifest), output, folder)


def _layout(plan: Plan, corpus: str, output: str, folder: RunFolder) -> FileLayout | None:
    path = folder.file_layout(output, _arrangement(plan, corpus, output))
    try:
        return FileLayout.from_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def finished_units(
    plan: Plan,
    manifest: Manifest,
    phase: Phase,
    folder: RunFolder,
    fingerprints: Mapping[int, str] | None = None,
) -> dict[int, Done]:
    """Units whose done-file counts now. fingerprints: of all units of the phase, if they are at hand.

    One whose exchange file was removed because everything was read from it counts as long as its reader is done.
    """
    known = fingerprints or unit_fingerprints(plan, manifest, phase, folder) or {}
    found = finished(folder, phase.name, known, _presence(plan, phase, folder))
    if phase.passing and any(is_consumed(done) for done in found.values()):
        reader = next(p for p in plan.phases if p.kind == "reduce" and p.source == phase.name)
        units = unit_fingerprints(plan, manifest, reader, folder) or {}
        if finished_units(plan, manifest, reader, folder, units).keys() != units.keys():
            return {unit: done for unit, done in found.items() if not is_consumed(done)}
    return found


def _presence(plan: Plan, phase: Phase, folder: RunFolder) -> Callable[[Done], bool] | None:
    """How to tell whether what a record vouches for is there, if it is not where the record says."""
    if phase.kind == "write":
        return in_place(folder, plan.output(phase.output or ""))
    if phase.makes is not None:
        return partial(still_made, folder, Path(phase.makes))
    return None


def pending_units(
    plan: Plan,
    manifest: Manifest,
    phase: Phase,
    folder: RunFolder,
    units: Sequence[int],
    fingerprints: Mapping[int, str] | None = None,
) -> list[int]:
    """Those of a few units that are not done, without reading the done-files of the others; for a phase at work.

    fingerprints: of all units of the phase, if they are at hand.
    """
    known = fingerprints or unit_fingerprints(plan, manifest, phase, folder) or {}
    present = _presence(plan, phase, folder)
    return [u for u in units if not is_finished(folder, phase.name, u, known[u], present)]


def unit_sizes(
    manifest: Manifest, phase: Phase, units: Mapping[int, str], layout: FileLayout | None = None
) -> dict[int, int]:
    """Bytes of input of each unit, to divide them into tasks of about equal size. layout: of the output that is written."""
    if phase.kind == "ingest":
        return {u: sum(manifest.shards[s].bytes for s in manifest.ingest[u].shards) for u in units}
    if phase.kind == "write" and layout is not None:
        parts = ((p.first_file, p.files, p.bytes // max(1, p.files)) for p in layout.partitions)
        sizes = {file: 1 + size for first, files, size in parts for file in range(first, first + files)}
        return {u: sizes.get(u, 1) for u in units}
    if phase.kind in ("write", "reduce"):
        return dict.fromkeys(units, 1)
    if phase.kind == "exchange":
        return {u: sum(manifest.shards[s].bytes for s in manifest.groups[u]) for u in units}
    return {u: manifest.shards[u].bytes for u in units}
