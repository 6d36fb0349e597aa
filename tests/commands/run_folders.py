"""Run folders made by hand, with the project's own writers: any state of any number of passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import __version__
from curate.core.commit import Done, Output, describe, write_done
from curate.core.compaction import compact, read_counters
from curate.core.layout import RunFolder, new_attempt
from curate.core.manifest import InputSpec, Manifest, SourceFile
from curate.core.manifest import Shard as ManifestShard
from curate.core.overlay import DROP, DROP_REASONS, OverlayWriter
from curate.core.plan import Phase, Plan, StepPlan, digest
from curate.planning.fingerprints import finished_units, unit_fingerprints
from curate.running.ledger import READ, Tally


@dataclass(frozen=True)
class Shard:
    """What a pass did to a shard. languages: language → rows in and kept; a byte a row.

    dropped: reason → rows, in the first language. held: rows that the manifest says the shard has, if not all that came in.
    """

    languages: Mapping[str, tuple[int, int]]
    dropped: Mapping[str, int] = field(default_factory=dict)
    held: int | None = None

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.languages.values())


def make_run(root: Path, passes: Sequence[Sequence[Shard | None]], *, compacted: bool = False) -> Path:
    """A run folder whose pass n did `passes[n]` to each shard; None: not done. One step a pass, no outputs."""
    root.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(root)
    plan = _plan([_phase(index) for index in range(len(passes))])
    manifest = _manifest(passes[0])
    folder.plan.write_text(plan.to_json(), encoding="utf-8")
    folder.manifest.write_text(manifest.to_json(), encoding="utf-8")
    for index, (phase, shards) in enumerate(zip(plan.phases, passes, strict=True)):
        fingerprints = unit_fingerprints(plan, manifest, phase, folder) or {}
        records = {
            unit: _finish(folder, phase, unit, fingerprints[unit], shard, first=index == 0)
            for unit, shard in enumerate(shards)
            if shard is not None
        }
        if compacted:
            compact(folder, phase.name, records)
    return root


def _phase(index: int) -> Phase:
    name = f"step{index}"
    step = StepPlan(name, "filters.length", {}, 1, "annotator", None, True, ("text",), {}, "made by hand")
    return Phase(f"pass{index + 1}", "pass", digest(name), (step,))


def _plan(phases: Sequence[Phase]) -> Plan:
    spec = InputSpec(None, ("x.parquet",), None, "parquet", {}, {}, "fail")
    return Plan(
        name="made",
        version=__version__,
        language=None,
        source="",
        inputs=(spec,),
        phases=tuple(phases),
        outputs=(),
        models="models",
        local_tmp=None,
        offline=True,
        config={},
    )


def _manifest(shards: Sequence[Shard | None]) -> Manifest:
    files, entries = [], []
    for number, shard in enumerate(shards):
        rows = None if shard is None else shard.rows if shard.held is None else shard.held
        files.append(SourceFile(0, f"{number}.parquet", f"/{number}.parquet", "parquet", 1, "", "", rows))
        entries.append(ManifestShard(number, (number,), (0, 1), 0, rows, 1))
    return Manifest(tuple(files), tuple(entries), ())


def _finish(
    folder: RunFolder, phase: Phase, unit: int, fingerprint: str, shard: Shard, *, first: bool
) -> Done:
    attempt = new_attempt()
    path = folder.counters(phase.name, unit, attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"steps": _counters(phase, shard, first=first)}), encoding="utf-8")
    outputs = {"counters": describe(folder, path)}
    done = Done(unit, fingerprint, 0, attempt, shard.rows, 1, outputs, {"quarantined": 0})
    write_done(folder, phase.name, done)
    return done


def _counters(phase: Phase, shard: Shard, *, first: bool) -> list[dict[str, Any]]:
    entered = {
        lang: Tally(rows, rows, 0, rows, rows).as_dict() for lang, (rows, _) in shard.languages.items()
    }
    steps = [{"step": READ, "by_language": entered}] if first else []
    tallies = {lang: Tally(rows, kept, 0, rows, kept) for lang, (rows, kept) in shard.languages.items()}
    tally = next(iter(tallies.values()))
    tally.dropped, tally.reasons = dict(shard.dropped), dict(shard.dropped)
    return [
        *steps,
        {"step": phase.steps[0].name, "by_language": {k: t.as_dict() for k, t in tallies.items()}},
    ]


def split_run(
    run: Path, root: Path, *, second: Sequence[int] = (0, 1), rewritten: Mapping[int, str] | None = None
) -> Path:
    """A copy of a finished run of one pass, with its last step in a second pass.

    second: shards that the second pass has seen. rewritten: doc → text that the second pass made of it.
    """
    shutil.copytree(run, root)
    folder, manifest = (
        RunFolder(root),
        Manifest.from_json((root / "manifest.json").read_text(encoding="utf-8")),
    )
    before = Plan.from_json(folder.plan.read_text(encoding="utf-8"))
    [whole] = before.passes
    early, late = (
        replace(whole, steps=whole.steps[:-1]),
        Phase("pass2", "pass", digest("late"), whole.steps[-1:]),
    )
    at = before.phases.index(whole)
    after = replace(before, phases=(*before.phases[:at], early, late, *before.phases[at + 1 :]))
    records = finished_units(before, manifest, whole, folder)
    counters = dict(read_counters(folder, whole.name, records))
    overlays = {u: pq.read_table(folder.absolute(d.outputs["overlay"].path)) for u, d in records.items()}
    shutil.rmtree(folder.done_folder(whole.name))
    folder.plan.write_text(after.to_json(), encoding="utf-8")
    for unit, done in records.items():
        one, two = _split_overlay(overlays[unit], early, late)
        texts = pa.array([(rewritten or {}).get(doc) for doc in two["doc"].to_pylist()], pa.string())
        two = two.set_column(two.schema.get_field_index("text"), two.schema.field("text"), texts)
        steps = counters[unit]["steps"]
        bad = {role: o for role, o in done.outputs.items() if role == "quarantine"}
        facts = dict(done.facts)
        late_facts = {"rewritten": len(texts) - texts.null_count, "quarantined": 0}
        _write_unit(after, manifest, folder, early, unit, one, steps[:-1], bad, facts)
        if unit in second:
            _write_unit(after, manifest, folder, late, unit, two, steps[-1:], {}, late_facts)
    return root


def _split_overlay(table: pa.Table, early: Phase, late: Phase) -> tuple[pa.Table, pa.Table]:
    [step] = late.steps
    lost = pc.fill_null(pc.equal(table[DROP], step.name), False)
    one = table.drop_columns(list(step.writes))
    for name in (DROP, DROP_REASONS):
        column = pc.if_else(lost, pa.scalar(None, table[name].type), table[name])
        one = one.set_column(one.schema.get_field_index(name), table.schema.field(name), column)
    two = table.filter(pc.or_(pc.is_null(table[DROP]), lost))
    return one, two.drop_columns([c for s in early.steps for c in s.writes])


def _write_unit(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    phase: Phase,
    unit: int,
    table: pa.Table,
    steps: list[dict[str, Any]],
    outputs: Mapping[str, Output],
    facts: dict[str, Any],
) -> None:
    attempt = new_attempt()
    overlay, counters = folder.overlay(phase.name, unit, attempt), folder.counters(phase.name, unit, attempt)
    with OverlayWriter(overlay, table.schema) as writer:
        for record in table.combine_chunks().to_batches():
            writer.append(record)
    counters.parent.mkdir(parents=True, exist_ok=True)
    counters.write_text(json.dumps({"steps": steps}), encoding="utf-8")
    written = {"overlay": describe(folder, overlay), "counters": describe(folder, counters)}
    fingerprint = (unit_fingerprints(plan, manifest, phase, folder) or {})[unit]
    write_done(
        folder,
        phase.name,
        Done(unit, fingerprint, 0, attempt, table.num_rows, 1, {**written, **outputs}, facts),
    )
