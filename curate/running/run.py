"""`curate run`: plan, lock, phases in order, publish; what a rerun finds done stays done.

The folder belongs to one run at a time (`curate.running.locks`). Before a
phase starts, records and files that no longer count are removed; when it ends its done-files are merged and its books are
checked. Exchange files go when the files they fed are published, and those between two phases of a job, which nobody else
reads, when the second is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from curate.config.execution import RayCluster
from curate.core.commit import Done, consume, forget, write_atomically
from curate.core.compaction import compact, read_counters
from curate.core.errors import CurateError, error
from curate.core.layout import RUN_NAMES, RunFolder
from curate.core.lease import is_lost
from curate.core.manifest import Manifest
from curate.core.objects import Place, as_place, remove, remove_tree
from curate.core.plan import Phase, Plan, pack
from curate.executors.gpus import gpus_for
from curate.executors.local import Executor, Listener, LocalExecutor, Share
from curate.executors.slurm.notice import forget_queue
from curate.io.card import dataset_card
from curate.io.publish import arrange
from curate.planning.fingerprints import (
    corpus_fingerprint,
    finished_units,
    layout_fingerprint,
    read_layout,
    unit_fingerprints,
    unit_sizes,
)
from curate.running.finish import finish, foreign_files, sweep_staging
from curate.running.ledger import add_up, imbalances
from curate.running.locks import locked_outputs
from curate.running.summaries import write_summary
from curate.running.task import run_scratch, unit_files

#: Seconds between two looks at what this machine does not see yet.
_PAUSE: Final = 3.0


class PhaseListener(Listener, Protocol):
    """Hears about phases as well as units."""

    def phase_started(self, phase: Phase, units: int, done: int, size: int) -> None: ...

    def phase_finished(self, phase: Phase) -> None: ...


@dataclass(frozen=True)
class Execution:
    """How to work, which never changes what comes out. workers: None for as many as a cluster holds. share: of this machine,
    where few units may use more than `threads`."""

    workers: int | None
    threads: int
    retries: int
    tasks: int | None
    environment: Mapping[str, str]
    ray: RayCluster | None = None
    share: Share | None = None


def start_anew(folder: RunFolder, plan: Plan) -> None:
    """`--force`: forget everything but the cache. The lock must be held; only what a run makes is removed."""
    for output in plan.outputs:
        sweep_staging(folder, output, set())
    for name in RUN_NAMES:
        remove_tree(folder.root / name)


def execute(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    how: Execution,
    listener: PhaseListener,
    prepare: Callable[[], None],
) -> None:
    """Run every phase that has units pending, and publish. The lock must be held.

    prepare: called once the plan stands in the folder, before the first worker starts.
    """
    lay_out(plan, manifest, folder)
    if passes_pending(plan, manifest, folder):
        prepare()
    with (
        locked_outputs(plan),
        _executor(
            plan, manifest, folder, how, [p for p in plan.phases if _is_due(plan, manifest, folder, p)]
        ) as executor,
    ):
        for phase in plan.phases:
            if not is_needless(plan, manifest, folder, phase):
                run_phase(plan, manifest, folder, phase, executor, how.tasks, listener)


def lay_out(plan: Plan, manifest: Manifest, folder: RunFolder) -> None:
    """Put plan and manifest into the folder and remove what belongs to neither; C205 if an output is taken."""
    forget_queue(
        folder
    )  # nothing of it is there any more, and it may name phases that the plan does not have
    write_atomically(folder.plan, plan.to_json())
    write_atomically(folder.manifest, manifest.to_json())
    folder.failure.unlink(missing_ok=True)
    remove_tree(folder.evidence("").parent)  # why the last try stopped
    _drop_old_phases(folder, plan)
    _check_outputs(plan, folder)


def passes_pending(plan: Plan, manifest: Manifest, folder: RunFolder) -> bool:
    """Whether steps have work to do."""
    return any(_pending(plan, manifest, folder, phase) for phase in plan.passes)


def is_needless(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> bool:
    """Whether a phase can be left out: an exchange whose files are written."""
    return phase.kind == "exchange" and not _pending(plan, manifest, folder, _writer_of(plan, phase))


def _is_due(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> bool:
    """Whether a phase needs a GPU and has work to do."""
    return phase.resources.get("gpus", 0) > 0 and _pending(plan, manifest, folder, phase)


def _executor(
    plan: Plan, manifest: Manifest, folder: RunFolder, how: Execution, needing: Sequence[Phase]
) -> Executor:
    """Of this machine, or of a Ray cluster. needing: phases with work for a GPU."""
    if how.ray is not None:
        from curate.executors.ray import RayExecutor

        return RayExecutor(
            folder.root,
            workers=how.workers,
            threads=how.threads,
            retries=how.retries,
            config=how.ray,
            phases=plan.phases,
            is_due=lambda phase: (
                not is_needless(plan, manifest, folder, phase) and _pending(plan, manifest, folder, phase)
            ),
        )
    assert how.workers is not None
    return LocalExecutor(
        folder.root,
        logs=folder.logs,
        workers=how.workers,
        threads=how.threads,
        retries=how.retries,
        environment=how.environment,
        scratch=run_scratch(plan.local_tmp, folder.root),
        gpus=gpus_for(plan, needing),
        share=how.share,
    )


def record_failure(folder: RunFolder, cause: CurateError) -> None:
    """Note why the run stopped, for `curate status`."""
    if is_lost(folder.lock):
        return  # the folder is another run's, and so is what it says
    problems = [{"code": p.code, "message": p.message} for p in cause.problems]
    # A full disk, or a store that is away, takes no note either; the failure itself is shown to the user.
    with suppress(OSError, CurateError):
        write_atomically(folder.failure, json.dumps({"problems": problems}) + "\n")


def _check_outputs(plan: Plan, folder: RunFolder) -> None:
    faults = [p for o in plan.outputs if (p := foreign_files(folder, o, plan.name)) is not None]
    if faults:
        raise CurateError(faults)


def _drop_old_phases(folder: RunFolder, plan: Plan) -> None:
    """Remove what belongs to phases this plan does not have (a step moved, an output was taken out)."""
    names = {p.name for p in plan.phases}
    for kind in ("overlays", "exchange", "quarantine", "counters", "done"):
        place = folder.root / kind
        for path in place.iterdir() if place.is_dir() else ():
            if path.name not in names:
                remove_tree(path)


def _writer_of(plan: Plan, phase: Phase) -> Phase:
    return plan.phase(f"{phase.output}.write")


def _pending(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> bool:
    fingerprints = unit_fingerprints(plan, manifest, phase, folder)
    if fingerprints is None:
        return True
    return len(finished_units(plan, manifest, phase, folder, fingerprints)) < len(fingerprints)


@dataclass(frozen=True)
class PhaseWork:
    """What a phase has to do. units: how many it has; done: of these; pending: unit → bytes; size: bytes of all units."""

    units: int
    done: int
    pending: Mapping[int, int]
    size: int


def run_phase(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    phase: Phase,
    executor: Executor,
    tasks: int | None,
    listener: PhaseListener,
) -> None:
    """Bring one phase to its end: pending units done, done-files merged, books balanced, its output published."""
    work = open_phase(plan, manifest, folder, phase)
    listener.phase_started(phase, work.units, work.done, work.size)
    if work.pending:
        packed = pack(work.pending, tasks if tasks is not None else len(work.pending))
        executor.run(phase, packed, listener, lambda unit: unit_files(manifest, phase, unit))
    patience = executor.delay if work.pending else 0.0
    close_phase(plan, manifest, folder, phase, worked=bool(work.pending), patience=patience)
    listener.phase_finished(phase)
    if phase.kind == "write":
        publish(plan, manifest, folder, phase)


def open_phase(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> PhaseWork:
    """Remove what no longer counts of a phase and say what it has to do. Nobody may be at work on it."""
    fingerprints = unit_fingerprints(plan, manifest, phase, folder)
    if fingerprints is None:
        raise error(
            "R306", f"phase {phase.name} cannot start: its rows have not been counted", help="run again"
        )
    done = finished_units(plan, manifest, phase, folder, fingerprints)
    forget(folder, phase.name, done)
    _sweep_own(plan, manifest, folder, phase, done)
    layout = read_layout(plan, manifest, phase.output or "", folder) if phase.kind == "write" else None
    sizes = unit_sizes(manifest, phase, fingerprints, layout)
    pending = {unit: size for unit, size in sizes.items() if unit not in done}
    return PhaseWork(len(fingerprints), len(done), pending, sum(sizes.values()))


def close_phase(
    plan: Plan,
    manifest: Manifest,
    folder: RunFolder,
    phase: Phase,
    *,
    worked: bool,
    patience: float = 0.0,
) -> None:
    """End a phase whose units are done: merge its done-files and check its books; R306 if a unit is missing.

    worked: whether units were done since the phase was opened, so that killed attempts may have left files.
    patience: seconds to wait for what other nodes have committed, as NFS may show it late.
    """
    fingerprints = unit_fingerprints(plan, manifest, phase, folder) or {}
    until = time.monotonic() + patience
    done = finished_units(plan, manifest, phase, folder, fingerprints)
    while len(done) < len(fingerprints) and time.monotonic() < until:
        time.sleep(_PAUSE)
        done = finished_units(plan, manifest, phase, folder, fingerprints)
    missing = sorted(set(fingerprints) - set(done))
    if missing:
        raise error(
            "R306",
            f"phase {phase.name} ended without unit {missing[0]}: its outputs are missing or have another size",
            help="run again: missing units are computed anew",
            phase=phase.name,
            unit=missing[0],
        )
    # An output's exchange holds all texts, in few units, and goes when they are published.
    done = compact(folder, phase.name, done, pack=phase.kind != "exchange")
    if worked:
        forget(folder, phase.name, done)  # what a killed worker left half written
        _sweep_own(plan, manifest, folder, phase, done)
    check_books(plan, manifest, folder, phase, done)
    if phase.kind == "reduce" and phase.source is not None:
        source = plan.phase(phase.source)
        if source.passing:
            consume(folder, source.name, finished_units(plan, manifest, source, folder))
    if phase.kind == "check":
        from curate.running.ceiling_evidence import check_ceilings  # reads documents, which runs seldom do

        check_ceilings(plan, folder, phase, done)
    write_summary(folder, manifest, phase, done, corpus_fingerprint(plan, manifest))
    if phase.kind == "count":
        _arrange(plan, manifest, folder, phase, done)


def _sweep_own(
    plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase, done: Mapping[int, Done]
) -> None:
    """Files outside the phase's own folders that no record vouches for."""
    if phase.kind == "write":
        sweep_staging(
            folder, plan.output(phase.output or ""), {as_place(d.outputs["file"].path) for d in done.values()}
        )
    elif phase.kind == "ingest":
        kept = {folder.absolute(o.path) for d in done.values() for o in d.outputs.values()}
        place = folder.root / "ingested"
        remove([path for path in (place.iterdir() if place.is_dir() else ()) if path not in kept])


def _arrange(
    plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase, done: Mapping[int, Done]
) -> None:
    """Decide the files of an output from the counts, once."""
    name = phase.output or ""
    counts = {
        unit: {value: (rows, size) for value, (rows, size) in d.facts["counts"].items()}
        for unit, d in done.items()
    }
    path = folder.file_layout(name, layout_fingerprint(plan, manifest, name))
    if read_layout(plan, manifest, name, folder) is None:
        known: list[Place] = list(path.parent.iterdir()) if path.parent.exists() else []
        remove(old for old in known if old.name.lstrip(".").rsplit("-", 1)[0] == name)
        write_atomically(path, arrange(plan.output(name), counts).to_json())


def publish(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> None:
    """Move a finished output into place and remove the exchange files that fed it."""
    name = phase.output or ""
    output = plan.output(name)
    layout = read_layout(plan, manifest, name, folder)
    if layout is None:
        raise error("R306", f"the arrangement of output '{name}' is missing", help="run again")
    done = finished_units(plan, manifest, phase, folder)
    rows = sum(d.rows for d in done.values())
    expected = sum(p.rows for p in layout.partitions)
    if rows != expected:
        forget(folder, phase.name, {})
        raise error(
            "R305",
            f"output '{name}' should have {expected} rows and has {rows}",
            help="run again: its files are written anew",
            phase=phase.name,
        )
    finish(folder, output, layout, done, dataset_card(plan, output, layout), plan.name)
    exchange = f"{name}.exchange"
    forget(folder, exchange, {})
    for kind in ("exchange", "done", "counters"):
        remove_tree(folder.root / kind / exchange)


def check_books(
    plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase, done: Mapping[int, Done]
) -> None:
    """R305 unless rows in = kept + dropped + quarantined, in every step, language and across phases."""
    if phase.kind != "pass":
        return
    first = phase == plan.passes[0]
    names = (["read"] if first else []) + [s.name for s in phase.steps]
    ledgers = add_up(names, (c for _, c in read_counters(folder, phase.name, done)))
    found = imbalances(ledgers)
    entered = sum(d.rows for d in done.values())
    if ledgers and ledgers[0].total().rows_in != entered:
        found.append(f"{entered} rows entered, the ledger has {ledgers[0].total().rows_in}")
    expected = _rows_before(plan, manifest, folder, phase)
    if expected != entered:
        found.append(f"{expected} rows should have entered, {entered} did")
    if found:
        raise error("R305", f"the ledger of phase {phase.name} does not balance: {'; '.join(found[:5])}")


def _rows_before(plan: Plan, manifest: Manifest, folder: RunFolder, phase: Phase) -> int:
    """Rows that a pass should have met: what the inputs hold, or what the pass before kept."""
    index = plan.passes.index(phase)
    if index == 0:
        rows = sum(s.rows or 0 for s in manifest.shards if s.ingest is None)
        if manifest.ingest:
            ingest = finished_units(plan, manifest, plan.phase("ingest"), folder)
            rows += sum(d.rows - d.facts["quarantined"] for d in ingest.values())
        return rows
    before = plan.passes[index - 1]
    done = finished_units(plan, manifest, before, folder)
    names = (["read"] if index == 1 else []) + [s.name for s in before.steps]
    ledgers = add_up(names, (c for _, c in read_counters(folder, before.name, done)))
    return ledgers[-1].total().rows_kept if ledgers else 0
