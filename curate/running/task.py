"""The only entry of a worker, whoever starts it: a run folder, a phase and some units in; committed units out.

A `Worker` lives as long as its process. It reads plan and manifest once, builds and opens a phase's steps once, and then
takes units one after the other: work under a new attempt's names, make durable, commit. A unit that somebody else
committed meanwhile is left as it is, and the loser's files are removed.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa

from curate.config.environment import expand
from curate.core.commit import Done, Output, describe, remove_outputs, write_done
from curate.core.errors import CurateError, Problem, error, is_gone, system_error
from curate.core.exchange import ExchangeReader
from curate.core.layout import RunFolder, new_attempt
from curate.core.manifest import Manifest
from curate.core.objects import Place, Scratch
from curate.core.plan import Phase, StepPlan, digest, pack
from curate.core.stage import Context, Job
from curate.io.publish import FileLayout
from curate.planning.artifacts import check_unchanged
from curate.planning.fingerprints import (
    finished_units,
    pending_units,
    read_layout,
    unit_fingerprints,
    unit_sizes,
)
from curate.running.checks import run_check
from curate.running.contract import AnyStep
from curate.running.jobs import MapperStep, found_records
from curate.running.passes import run_pass
from curate.running.pipeline import Pipeline
from curate.running.publishing import run_count, run_exchange, run_write
from curate.running.quarantine import Quarantine
from curate.running.saved_run import check_version, load_run
from curate.running.steps import build_step, placed, placed_mapper
from curate.running.threads import Threads
from curate.running.units import run_ingest, run_reduce
from curate.running.workspace import Report, UnitResult, Workspace

T = TypeVar("T")

#: Seconds after which records are read again, when a file that they name is gone.
_PAUSES: Final = (0.05, 0.3)


def _allowed_files() -> int:
    """How many files this process may have open, after asking for as many as it can get (up to 65,536)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


#: Seconds for which NFS may show another node's folder as it was (acdirmax), and between two looks.
ATTRIBUTES: Final = 65.0
_PAUSE: Final = 3.0


def _state(path: Place) -> tuple[int, int] | None:
    """What changes when a file is replaced; None if there is none, or it is an object."""
    if not isinstance(path, Path):
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def scratch_base(local_tmp: str | None) -> Path:
    """The node-local folder for scratch files: the config's, else the system's."""
    return Path(expand(local_tmp, os.environ) if local_tmp else tempfile.gettempdir())


def run_scratch(local_tmp: str | None, root: Place) -> Path:
    """Where the workers of one run put their scratch folders on this node."""
    return scratch_base(local_tmp) / f"curate-{digest(str(root))[:16]}"


class Worker:
    """Does units of one run. threads: that batches of a pass are worked in. scratch: where its scratch folder goes.
    patience: seconds to wait for files of earlier phases, which another node wrote.
    """

    def __init__(
        self, root: Place, *, threads: int = 1, scratch: Path | None = None, patience: float = 0.0
    ) -> None:
        self._patience = patience
        self.plan, self.manifest = load_run(root)
        check_version(self.plan, root)
        self._threads = threads
        self._lanes = Threads(threads)
        self._pipelines: dict[str, Pipeline] = {}
        self._jobs: dict[str, Job[Any]] = {}
        self._done: dict[str, dict[int, Done]] = {}
        self._layouts: dict[str, FileLayout] = {}
        self._fingerprints: dict[str, dict[int, str]] = {}
        self._merged: dict[str, tuple[int, int] | None] = {}
        self._open_files = _allowed_files() // 2
        self._at = ""
        self._exchange: OrderedDict[tuple[str, int, str], ExchangeReader] = OrderedDict()
        self._scratch = tempfile.TemporaryDirectory(
            prefix="curate-", dir=scratch if scratch is not None else scratch_base(self.plan.local_tmp)
        )
        self.folder = RunFolder(root, Scratch(Path(self._scratch.name)))
        self._space = Workspace(self.plan, self.manifest, self.folder, self._finished, self._layout)

    def close(self) -> None:
        self._lanes.close()
        self._scratch.cleanup()

    def open(self, phase_name: str) -> None:
        """Build and open the steps of a phase now, instead of with its first unit."""
        phase = self.plan.phase(phase_name)
        if phase.kind == "pass":
            self._pipeline(phase)
        elif phase.job is not None:
            self._job(phase)

    def pending(self, phase_name: str, units: Sequence[int]) -> list[int]:
        """Those of these units that nobody has done since the phase began."""
        phase = self.plan.phase(phase_name)
        known = self._fingerprints_of(phase)
        return pending_units(self.plan, self.manifest, phase, self.folder, units, known)

    def task_units(self, phase_name: str, task: int, tasks: int) -> list[int]:
        """Units that task `task` of `tasks` still has to do: the division depends on sizes, not on what is done."""
        phase = self.plan.phase(phase_name)
        layout = self._layout(phase.output) if phase.kind == "write" and phase.output is not None else None
        known = self._fingerprints_of(phase)
        packed = pack(unit_sizes(self.manifest, phase, known, layout), tasks)
        done = finished_units(self.plan, self.manifest, phase, self.folder, known)
        return [unit for unit in packed[task] if unit not in done] if task < len(packed) else []

    def run(
        self, phase_name: str, units: Sequence[int], task: int, report: Report, threads: int | None = None
    ) -> list[Done]:
        """Do these units in order; a record for each that this process committed. threads: instead of the worker's."""
        self._lanes.use(self._threads if threads is None else threads)
        phase = self.plan.phase(phase_name)
        if phase_name != self._at:
            self._exchange.clear()  # files that were consumed keep their disk space as long as somebody has them open
            self._at = phase_name
        fingerprints = self._fingerprints_of(phase)
        self._merged.setdefault(phase_name, _state(self.folder.all_done(phase_name)))
        committed = []
        for unit in units:
            try:
                done = self._patiently(phase, unit, fingerprints[unit], task, report)
            except CurateError as cause:
                raise located(cause, self.manifest, phase, unit) from cause
            except OSError as cause:
                raise located(system_error(cause), self.manifest, phase, unit) from cause
            finally:
                self.folder.scratch.clear()
            if done is not None:
                committed.append(done)
        return committed

    def _fingerprints_of(self, phase: Phase) -> dict[int, str]:
        """Every unit's fingerprint; they cannot change while a phase runs."""
        if phase.name not in self._fingerprints:
            found = self._look(lambda: unit_fingerprints(self.plan, self.manifest, phase, self.folder))
            if found is None:
                raise error("R303", f"phase {phase.name} cannot start: its rows have not been counted yet")
            self._fingerprints[phase.name] = found
        return self._fingerprints[phase.name]

    def _patiently(self, phase: Phase, unit: int, fingerprint: str, task: int, report: Report) -> Done | None:
        """`_unit`, again if a file is gone and the records, read again, tell of another place: a phase was compacted."""
        for pause in _PAUSES:
            try:
                return self._unit(phase, unit, fingerprint, task, report)
            except (CurateError, FileNotFoundError) as cause:
                if not is_gone(cause) or not self._moved(pause):
                    raise
        return self._unit(phase, unit, fingerprint, task, report)

    def _moved(self, pause: float) -> bool:
        """Forget the records of earlier phases; whether they differ now, after a pause."""
        held, self._done = self._done, {}
        self._exchange.clear()
        time.sleep(pause)
        return any(self._finished(name) != records for name, records in held.items())

    def _unit(self, phase: Phase, unit: int, fingerprint: str, task: int, report: Report) -> Done | None:
        attempt = new_attempt()
        path = self.folder.quarantine(phase.name, unit, attempt)
        with Quarantine(path, self._space.file_of) as quarantine:
            result = self._work(phase, unit, attempt, quarantine, report)
        if quarantine.rows:
            result.outputs["quarantine"] = path
        counters = self.folder.counters(phase.name, unit, attempt)
        counters.parent.mkdir(parents=True, exist_ok=True)
        counters.write_text(json.dumps(result.counters), encoding="utf-8")
        result.outputs["counters"] = counters
        outputs: dict[str, Output] = {
            role: describe(self.folder, path, result.seals.get(role), result.places.get(role))
            for role, path in result.outputs.items()
        }
        done = Done(
            unit=unit,
            fingerprint=fingerprint,
            task=task,
            attempt=attempt,
            rows=result.rows,
            bytes=sum(o.bytes for o in outputs.values()),
            outputs=outputs,
            facts={**result.facts, "quarantined": quarantine.rows},
        )
        if write_done(self.folder, phase.name, done):
            if not self._ended_without(phase, done):
                return done
            self.folder.done(phase.name, unit, fingerprint).unlink(missing_ok=True)
        elif unit not in finished_units(self.plan, self.manifest, phase, self.folder):
            # The other attempt's outputs are gone (a run that was starting took them for debris): ours count.
            self.folder.done(phase.name, unit, fingerprint).unlink(missing_ok=True)
            if write_done(self.folder, phase.name, done):
                return done
        remove_outputs(self.folder, done)
        return None

    def _ended_without(self, phase: Phase, done: Done) -> bool:
        """Whether the phase ended with another attempt at the unit while this one worked: on a node that was given up."""
        if _state(self.folder.all_done(phase.name)) == self._merged[phase.name]:
            return False
        counts = finished_units(self.plan, self.manifest, phase, self.folder).get(done.unit)
        return counts is not None and counts.attempt != done.attempt

    def _work(
        self, phase: Phase, unit: int, attempt: str, quarantine: Quarantine, report: Report
    ) -> UnitResult:
        if phase.kind == "ingest":
            return run_ingest(self._space, unit, attempt, quarantine, report)
        if phase.kind == "pass":
            found = self._found(phase, unit)
            pipeline = self._pipeline(phase)
            return run_pass(
                self._space, phase, pipeline, self._lanes, found, unit, attempt, quarantine, report
            )
        if phase.kind == "reduce":
            return run_reduce(
                self._space,
                phase,
                self._job(phase),
                unit,
                attempt,
                self._context,
                self._open_exchange,
                report,
            )
        if phase.kind == "check":
            return run_check(self._space, phase, self._job(phase), self._found(phase, unit), unit, report)
        if phase.kind == "count":
            return run_count(self._space, phase, unit, report)
        if phase.kind == "exchange":
            return run_exchange(self._space, phase, unit, attempt, report)
        return run_write(self._space, phase, unit, attempt, self._open_exchange, report)

    def _pipeline(self, phase: Phase) -> Pipeline:
        if phase.name not in self._pipelines:
            steps = [(s, placed(self.plan, s, self._step(s))) for s in phase.steps]
            first = phase == self.plan.passes[0]
            mapper = None
            if phase.job is not None:
                maps = placed_mapper(self.plan, phase.job, self._job(phase), phase.partitions)
                mapper = MapperStep(phase.job, maps)
            self._pipelines[phase.name] = Pipeline(
                steps,
                self._context,
                self.plan.language,
                first=first,
                words=self.plan.words,
                mapper=mapper,
                cut=self.plan.places(),
            )
        return self._pipelines[phase.name]

    def _step(self, plan: StepPlan) -> AnyStep | Job[Any]:
        """A step of the plan, neither it nor its files changed since; not opened yet."""
        step = build_step(plan.use, plan.options)
        check_unchanged(plan, step, self._context)
        return step

    @cached_property
    def _context(self) -> Context:
        return Context(
            models=Path(self.plan.models),
            scratch=Path(self._scratch.name),
            threads=self._threads,
            offline=self.plan.offline,
            run=self.plan.name,
            words=self.plan.words,
            cache=self.folder.cache,
        )

    def _job(self, phase: Phase) -> Job[Any]:
        """The job whose mapper ends that pass, or whose reduce phase it is; built and opened once."""
        if phase.name not in self._jobs:
            assert phase.job is not None
            job = self._step(phase.job)
            assert isinstance(job, Job)
            job.open(replace(self._context, artifacts=phase.job.artifacts))
            self._jobs[phase.name] = job
        return self._jobs[phase.name]

    def _found(self, phase: Phase, shard: int) -> pa.RecordBatch | None:
        """What a job found out about one shard, for the pass that begins with its marks."""
        if phase.source is None:
            return None
        reduced = self.plan.phase(phase.source)
        readers = (self._open_exchange(reduced.name, unit) for unit in sorted(self._finished(reduced.name)))
        return found_records(readers, shard)

    def _look(self, look: Callable[[], T | None]) -> T | None:
        """What `look` sees, as soon as it sees something and as long as patience lasts, at the second look in any case."""
        until = time.monotonic() + max(self._patience, _PAUSES[-1])
        while (found := look()) is None and time.monotonic() < until:
            time.sleep(_PAUSE if self._patience else _PAUSES[-1])
        return found

    def _finished(self, phase_name: str) -> Mapping[int, Done]:
        if phase_name not in self._done:
            phase = self.plan.phase(phase_name)
            known = self._fingerprints_of(phase)
            units = len(known)
            done: dict[int, Done] = {}

            def finished() -> bool | None:
                nonlocal done
                done = finished_units(self.plan, self.manifest, phase, self.folder, known)
                return True if len(done) >= units else None

            if not self._look(finished):
                raise error(
                    "R303",
                    f"phase {phase_name} is not finished ({len(done)} of {units} units), and this phase reads what it wrote",
                    help="finish it first; `curate run` does all phases in order",
                )
            self._done[phase_name] = done
        return self._done[phase_name]

    def _layout(self, output: str) -> FileLayout:
        if output not in self._layouts:
            layout = self._look(lambda: read_layout(self.plan, self.manifest, output, self.folder))
            if layout is None:
                raise error("R306", f"the arrangement of output '{output}' is missing", help="run again")
            self._layouts[output] = layout
        return self._layouts[output]

    def _open_exchange(self, phase_name: str, unit: int, role: str = "rows") -> ExchangeReader:
        """Exchange files stay open, as many as the system allows: every file to write reads a little of each."""
        key = (phase_name, unit, role)
        if key not in self._exchange:
            output = self._finished(phase_name)[unit].outputs[role]
            self._exchange[key] = ExchangeReader(output.ranges(self.folder), output.checksum)
            while len(self._exchange) > self._open_files:
                self._exchange.popitem(last=False)
        self._exchange.move_to_end(key)
        return self._exchange[key]


def located(cause: CurateError, manifest: Manifest, phase: Phase, unit: int) -> CurateError:
    """The same problems, with phase, unit and file where they lack them; a run-time fault, so exit 1."""
    context = {"phase": phase.name, "unit": unit, **unit_files(manifest, phase, unit)}
    problems = [
        Problem(p.code, p.message, p.help, p.position, {**context, **p.context}) for p in cause.problems
    ]
    return CurateError(problems, exit_code=1)


def unit_files(manifest: Manifest, phase: Phase, unit: int) -> dict[str, object]:
    """The file a unit reads, for messages; of several the first, and how many more."""
    if phase.kind in ("write", "reduce"):
        return {}
    if phase.kind == "ingest":
        numbers = manifest.ingest[unit].files
    else:
        group = manifest.groups[unit] if phase.kind == "exchange" else (unit,)
        numbers = tuple(dict.fromkeys(f for s in group for f in manifest.shards[s].files))
    paths = [manifest.files[n].path for n in numbers]
    if not paths:
        return {}
    return {"file": paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"}
