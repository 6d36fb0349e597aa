"""What a run would do now: phases, units, what is reused and what is pending, and the files and bytes it will need.

Nothing is written and no document is read. Numbers that depend on rows nobody has counted yet are upper bounds (marked so):
every row kept, and the texts' size as the input's footers or file sizes tell it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from curate.core.layout import RunFolder
from curate.core.manifest import SHARD_BYTES, Manifest
from curate.core.packs import PACKS, ROLE_FILES
from curate.core.plan import Phase, Plan
from curate.planning.fingerprints import finished_units, read_layout, unit_fingerprints, unit_sizes
from curate.planning.rates import Rates, peak_bytes

#: Bytes of an overlay per row of a pass, measured on the sample (LID with three candidates and one filter: 48).
_OVERLAY_ROW_BYTES = 64
#: Bytes of a job's records for a document, guessed: a key, a rank, a number.
_RECORD_BYTES = 32
#: zstd-compressed Parquet per byte of text, as written by ingest and publish on the sample (0.30 to 0.38).
_COMPRESSED = 0.4


def preview(plan: Plan, manifest: Manifest, folder: RunFolder, rates: Rates | None = None) -> dict[str, Any]:
    """`{"name", "run_dir", "files", "shards", "bytes", "phases": [{"name", "kind", "units", "reused", "pending",
    "pending_units", "bytes", "disk_bytes", "files", "steps", "estimate"}], "disk_bytes", "run_files", "estimate",
    "uncut": [{"file", "bytes", "why"}]}`; units None: not known before the count.

    estimate: `{"cpu_seconds", "gpu_seconds", "start_seconds", "peak_bytes", "exact"}` of what is pending, by measured rates,
    else None; of the run: `{"machine", "cpu_seconds", "gpu_seconds", "start_seconds", "peak_bytes", "unknown": [phase]}`.
    """
    phases = [_phase(plan, manifest, folder, phase) for phase in plan.phases]
    _skip_consumed(phases)
    _invalidate(phases)
    size = sum(s.bytes for s in manifest.shards)
    for phase, described in zip(plan.phases, phases, strict=True):
        described["estimate"] = _estimate(rates, phase, described, size)
    return {
        "name": plan.name,
        "run_dir": str(folder.root),
        "files": len(manifest.files),
        "shards": len(manifest.shards),
        "bytes": sum(s.bytes for s in manifest.shards),
        "phases": phases,
        "disk_bytes": sum(p["disk_bytes"] for p in phases),
        "run_files": sum(p["files"] for p in phases),
        "estimate": _total(rates, phases),
        "uncut": uncut(manifest),
        "outputs": [{"name": o.name, "path": o.path} for o in plan.outputs],
    }


def _phase(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> dict[str, Any]:
    fingerprints = unit_fingerprints(plan, manifest, phase, folder)
    done = finished_units(plan, manifest, phase, folder, fingerprints) if fingerprints else {}
    known = fingerprints or {}
    sizes = unit_sizes(manifest, phase, known)
    pending = sorted(set(known) - set(done))
    size = sum(s.bytes for s in manifest.shards)
    return {
        "name": phase.name,
        "kind": phase.kind,
        "steps": [s.name for s in phase.steps],
        "units": len(known) if fingerprints is not None else None,
        "reused": len(done),
        "pending": len(pending) if fingerprints is not None else None,
        "pending_units": pending,
        "pending_share": sum(sizes[u] for u in pending) / max(1, sum(sizes.values())),
        "bytes": sum(sizes[u] for u in pending) if phase.kind != "write" else size if pending else 0,
        "disk_bytes": _disk(plan, manifest, folder, phase),
        "files": _files(phase, _ingested(manifest) if phase.kind == "ingest" else len(known)),
        "output": phase.output,
    }


def uncut(manifest: Manifest) -> list[dict[str, Any]]:
    """Files, or parts of them, that one task has to read although they are more than two shards: `file bytes why`."""
    found = []
    for shard in manifest.shards:
        if shard.ingest is None and shard.bytes > 2 * SHARD_BYTES:
            why = "one row group cannot be cut"
            found.append({"file": manifest.files[shard.files[0]].path, "bytes": shard.bytes, "why": why})
    for unit in manifest.ingest:
        if len(unit.shards) > 2:
            size = sum(manifest.shards[s].bytes for s in unit.shards)
            why = "one task of ingest reads it from its beginning; later phases have its parts"
            found.append({"file": manifest.files[unit.files[0]].path, "bytes": size, "why": why})
    return sorted(found, key=lambda entry: (-entry["bytes"], entry["file"]))


def _estimate(
    rates: Rates | None, phase: Phase, described: dict[str, Any], size: int
) -> dict[str, Any] | None:
    """What the pending units will cost. size: bytes of the whole input, by which rates are."""
    found = rates.of(phase) if rates is not None else None
    if found is None:
        return None
    rate, share = found.rate, 1.0
    if described["units"]:
        share = described["pending_share"]
    elif described["units"] == 0:
        share = 0.0
    if share:
        described["disk_bytes"] = rate.disk(size)
    return {
        "cpu_seconds": share * rate.cpu(size),
        "gpu_seconds": share * rate.gpu(size),
        "start_seconds": rate.start_seconds if share else 0.0,
        "peak_bytes": peak_bytes(rate, phase),
        "exact": found.exact,
    }


def _total(rates: Rates | None, phases: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Of all phases; unknown: those with work to do and no rate."""
    if rates is None:
        return None
    known = [p["estimate"] for p in phases if p["estimate"] is not None]
    return {
        "machine": rates.machine,
        **{key: sum(e[key] for e in known) for key in ("cpu_seconds", "gpu_seconds", "start_seconds")},
        "peak_bytes": max((e["peak_bytes"] for e in known), default=0),
        "unknown": [p["name"] for p in phases if p["estimate"] is None and p["pending"] != 0],
    }


def _disk(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> int:
    """Bytes a phase leaves on disk until the next ones are done; an upper bound before rows are counted."""
    text = sum(s.bytes for s in manifest.shards)
    rows = sum(s.rows if s.rows is not None else s.bytes // 1000 for s in manifest.shards)
    if phase.kind == "ingest":
        return int(_COMPRESSED * sum(manifest.shards[s].bytes for u in manifest.ingest for s in u.shards))
    if phase.kind == "pass":
        return rows * _OVERLAY_ROW_BYTES
    if phase.kind in ("check", "count"):
        return 0
    if phase.kind == "reduce":
        return rows * _RECORD_BYTES
    layout = read_layout(plan, manifest, phase.output or "", folder)
    kept = sum(p.bytes for p in layout.partitions) if layout is not None else text
    return kept if phase.kind == "exchange" else int(_COMPRESSED * kept)


def _files(phase: Phase, units: int) -> int:
    """Files of a finished phase: its units' outputs, in packs where they are many, merged records and counters,
    and what these come to.

    Bad records have files of their own, in units that have some.
    """
    roles = _outputs(phase)
    return roles * (units if units <= ROLE_FILES or phase.kind in ("exchange", "write") else PACKS) + 3


def _ingested(manifest: Manifest) -> int:
    """Shards, and so files, that ingest writes."""
    return sum(len(unit.shards) for unit in manifest.ingest)


def _outputs(phase: Phase) -> int:
    """Files of a unit beside its done-file and counters: a pass before a job writes records, and perhaps evidence."""
    if phase.kind in ("check", "count"):
        return 0
    return 3 if phase.kind == "pass" and phase.job is not None else 1


def files_at_once(plan: Plan, manifest: Manifest) -> int:
    """Files that the run folder will hold at most: of every phase what it keeps, and of the widest one the outputs, a
    done-file and counters of each unit until it ends and they are merged and packed.
    """
    text = sum(s.bytes for s in manifest.shards)
    units = []
    for phase in plan.phases:
        if phase.kind == "ingest":
            units.append(_ingested(manifest))
        elif phase.kind == "exchange":
            units.append(len(manifest.groups))
        elif phase.kind == "reduce":
            units.append(phase.partitions)
        elif phase.kind == "write":
            units.append(text // plan.output(phase.output or "").shard_bytes + 1)
        else:
            units.append(len(manifest.shards))
    phases = list(zip(plan.phases, units, strict=True))
    kept = sum(_files(p, n) for p, n in phases if p.kind != "write")
    at_work = (n * (2 + (_outputs(p) if p.kind != "write" else 0)) - _files(p, n) for p, n in phases)
    return kept + max(0, *at_work)


def _skip_consumed(phases: list[dict[str, Any]]) -> None:
    """An exchange has nothing to do while everything it feeds is published."""
    for exchange, write in pairwise(phases):
        if exchange["kind"] == "exchange" and write["pending"] == 0:
            exchange.update(
                reused=exchange["units"],
                pending=0,
                pending_units=[],
                pending_share=0.0,
                bytes=0,
                disk_bytes=0,
            )


def _invalidate(phases: list[dict[str, Any]]) -> None:
    """Files to write are only known once every row before them has been counted."""
    behind: set[str | None] = set()
    passes_pending = any(p["pending"] for p in phases if p["kind"] in ("ingest", "pass"))
    for phase in phases:
        if phase["kind"] == "count" and (phase["pending"] or passes_pending):
            behind.add(phase["output"])
        if phase["kind"] == "write" and phase["output"] in behind and phase["reused"] == 0:
            phase.update(units=None, pending=None, pending_units=[], pending_share=1.0)
