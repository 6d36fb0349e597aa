"""From a loaded config to a plan: every check that can be made before work starts, all faults at once.

    config → inputs listed and frozen (manifest) → source schema → steps, column by column → outputs → phases

A column is available to a step if the source has it or an earlier step wrote it. Steps are fused into one pass while they
need the same resources; a pass is cut where GPUs begin or end.
"""

from __future__ import annotations

import os
from pathlib import Path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from curate import __version__
from curate.config.environment import expand
from curate.config.load import Loaded, Step
from curate.config.validation import in_order
from curate.config.yaml_source import KeyPath
from curate.core.columns import REASONS, qualified
from curate.core.errors import CurateError, Problem
from curate.core.layout import RunFolder
from curate.core.manifest import InputSpec, Manifest
from curate.core.models import models_folder
from curate.core.objects import Place, as_place
from curate.core.overlay import DROP, DROP_REASONS, QUARANTINED, TEXT_BYTES
from curate.core.passages import Beside
from curate.core.plan import Plan, StepPlan, packed_schema
from curate.core.stage import Caching, Context, Job, Selector
from curate.core.store import is_url
from curate.core.suggest import did_you_mean
from curate.io.listing import build_manifest
from curate.io.source import source_schema
from curate.planning.artifacts import checksums
from curate.planning.earlier import earlier_plan, kept_partitions
from curate.planning.outputs import output_plans
from curate.planning.passages import over_problems, placed, reads_over, writes_over
from curate.planning.phases import PlannedReduce, PlannedStep, phases, provenance
from curate.planning.places import place_faults
from curate.planning.snapshots import with_snapshots_of
from curate.running.contract import AnyStep, step_fields, written
from curate.running.ledger import READ
from curate.stages import kind as kind_of

#: Names in an overlay that are not columns of steps.
_OVERLAY_NAMES: Final = (TEXT_BYTES, DROP, DROP_REASONS)


_RUN_FOLDER: Final = "the run folder"


@dataclass(frozen=True)
class Compiled:
    """A config that passed every check."""

    plan: Plan
    manifest: Manifest
    schema: pa.Schema


@dataclass
class _Checking:
    """What is known on the way through a config, and what is wrong with it."""

    loaded: Loaded
    problems: list[Problem] = field(default_factory=list)

    def add(self, cause: CurateError, path: KeyPath) -> None:
        """An error from elsewhere, placed at a part of the config."""
        place = self.loaded.source.value(path)
        self.problems += [
            Problem(p.code, p.message, p.help, p.position or place, p.context) for p in cause.problems
        ]

    def fault(self, code: str, message: str, help: str, path: KeyPath, *, key: bool = False) -> None:
        source = self.loaded.source
        self.problems.append(Problem(code, message, help, source.key(path) if key else source.value(path)))

    def stop(self) -> None:
        if self.problems:
            # Only faults of the config are its own (exit 2); a changed input is the run's (exit 1).
            raise CurateError(in_order(self.problems, self.loaded.source.file))


def compile_run(
    loaded: Loaded, folder: RunFolder, *, previous: Manifest | None = None, update: bool = False
) -> Compiled:
    """Check everything and plan the run. Raises all faults at once, in the order of the config's lines.

    previous: the manifest frozen by an earlier run in the same folder; without `update` the inputs must not differ.
    """
    checking = _Checking(loaded)
    checking.problems += loaded.unset_variables(os.environ)
    checking.stop()
    specs = _specs(loaded)
    manifest, source = _inputs(checking, specs, previous, update)
    context = Context(
        models=models_folder(),
        scratch=folder.cache,
        offline=_offline(),
        run=loaded.config.name,
        words=loaded.config.words,
        cache=folder.cache,
    )
    _check_names(checking)
    size = sum(s.bytes for s in manifest.shards) if manifest is not None else 0
    before = earlier_plan(folder) if previous is not None else None
    steps, after = _steps(checking, source, context, size, before)
    language = _language(checking, after)
    outputs = (
        output_plans(loaded, after, language, [s.plan for s in steps], folder, specs, checking.problems)
        if after is not None
        else ()
    )
    checking.stop()
    assert manifest is not None
    assert source is not None
    assert after is not None
    config = provenance(loaded, [step.plan for step in steps])
    planned = phases(manifest, steps, outputs, language, loaded.config.words, config)
    if previous == manifest:
        planned = with_snapshots_of(planned, folder)
    plan = Plan(
        name=loaded.config.name,
        version=__version__,
        language=language,
        source=packed_schema(source),
        inputs=specs,
        phases=planned,
        outputs=outputs,
        models=str(context.models),
        local_tmp=loaded.config.execution.local_tmp,
        offline=context.offline,
        config=config,
        words=loaded.config.words,
    )
    numbers = {step.name: step.index for step in loaded.config.steps}
    checking.stop()  # a plan of faulty options would find every place outdated
    for name, cause in place_faults(plan, manifest, folder):
        checking.add(cause, ("steps", numbers[name], "index"))
    checking.stop()
    return Compiled(plan, manifest, after)


def _offline() -> bool:
    return os.environ.get("CURATE_OFFLINE", "") not in ("", "0")


def _specs(loaded: Loaded) -> tuple[InputSpec, ...]:
    """Inputs with their environment variables put in."""

    specs = []
    for entry in loaded.config.input:
        spec = entry.spec()
        listed = expand(spec.list_file, os.environ) if spec.list_file is not None else None
        paths = tuple(expand(p, os.environ) for p in spec.paths)
        specs.append(replace(spec, paths=paths, list_file=listed))
    return tuple(specs)


def _inputs(
    checking: _Checking, specs: tuple[InputSpec, ...], previous: Manifest | None, update: bool
) -> tuple[Manifest | None, pa.Schema | None]:
    path: KeyPath = ("input",)
    try:
        manifest = build_manifest(specs, previous=previous, update=update)
    except CurateError as cause:
        if cause.exit_code == 1:
            raise
        for problem in cause.problems:
            checking.add(CurateError([problem]), _input_of(problem, specs, checking.loaded))
        return None, None
    try:
        return manifest, source_schema(manifest, specs)
    except CurateError as cause:
        checking.add(cause, path)
        return manifest, None


def _check_names(checking: _Checking) -> None:
    """`read` and `quarantine` stand for the reader's own work in ledgers and overlays."""
    for step in checking.loaded.config.steps:
        if step.name in (READ, QUARANTINED):
            message = f"no step can be called '{step.name}': reports use it for the reader's own work"
            checking.fault("C108", message, "give the step another name with `as:`", (*step.path, "as"))


def _check_inputs_apart(
    checking: _Checking, manifest: Manifest, specs: Sequence[InputSpec], folder: RunFolder
) -> None:
    """C202 if the run folder lies where inputs are looked for, or inputs lie in it or in an output."""
    outputs = {
        f"output '{p.name}'": _real(as_place(expand(p.path, os.environ)))
        for p in checking.loaded.config.publish
    }
    places = {_RUN_FOLDER: _real(folder.root), **outputs}
    several = isinstance(checking.loaded.source.at(("input",)), list)
    for index, spec in enumerate(specs):
        path: KeyPath = ("input", index) if several else ("input",)
        folders = [p.rstrip("/") if is_url(p) else os.path.realpath(p) for p in spec.paths if is_url(p) or os.path.isdir(p)]
        if any(f"{places[_RUN_FOLDER]}/".startswith(f"{f}/") for f in folders):
            help = "read a folder of its own: the next run would read what this one writes"
            checking.fault("C202", f"{_RUN_FOLDER} lies in the input {spec.paths[0]}", help, path)
    real: dict[str, str] = {}
    for file in manifest.files:
        location = file.location
        if not is_url(location):
            parent, name = os.path.split(location)
            location = os.path.join(real.setdefault(parent, os.path.realpath(parent)), name)
        for what, place in places.items():
            if location.startswith(f"{place}/"):
                path = ("input", file.input) if several else ("input",)
                checking.fault(
                    "C202", f"the input {file.path} lies in {what}", "read from another folder", path
                )
                return


def _real(place: Place) -> str:
    """A folder's name by which others can be compared with it: links are followed."""
    return os.path.realpath(place) if isinstance(place, Path) else str(place)


def _input_of(problem: Problem, specs: Sequence[InputSpec], loaded: Loaded) -> KeyPath:
    """The input that a problem of listing is about: the one whose path it names, else all of them."""
    several = isinstance(loaded.source.at(("input",)), list)
    for index, spec in enumerate(specs):
        for name in (*spec.paths, *([spec.list_file] if spec.list_file is not None else [])):
            if name in problem.message:
                base: KeyPath = ("input", index) if several else ("input",)
                return (*base, "list" if name == spec.list_file else "path")
    return ("input",)


def _steps(
    checking: _Checking, schema: pa.Schema | None, context: Context, size: int, earlier: Plan | None
) -> tuple[list[PlannedStep], pa.Schema | None]:
    """Each step's plan with what it needs, and the schema after the last; schema None: unknown, checks skipped.

    size: bytes of the input, by which jobs choose their partitions, unless they had others in an earlier plan.
    """
    planned: list[PlannedStep] = []
    built: list[tuple[Step, AnyStep | Job[Any]]] = []
    lost: set[str] = (
        set()
    )  # steps with a path that means nothing: what they find there would be another fault
    for entry in checking.loaded.config.steps:
        before = len(checking.problems)
        step = _located(checking, entry)
        if len(checking.problems) > before:
            lost.add(step.name)
        instance = _built(checking, step)
        if instance is not None:
            built.append((step, instance))
    writers = {name: step.name for step, instance in built for name in _written(step, instance)}
    for step, bare in built:
        faults = len(checking.problems)
        artifacts = _artifacts(checking, step, bare, context) if step.name not in lost else {}
        before = len(checking.problems)
        beside = Beside.of([p.plan for p in planned], step.over) if step.over is not None else None
        instance = placed(step, bare, beside)
        if schema is not None:
            if beside is not None:
                checking.problems += over_problems(checking.loaded, step, bare, beside, schema)
            _check_columns(checking, step, instance, schema, writers, beside)
        plan = _step_plan(step, instance, artifacts, beside)
        if isinstance(bare, Caching) and len(checking.problems) == faults:
            plan = replace(plan, snapshot=_snapshot(checking, step, bare, context))
        planned.append(_planned(plan, instance, size, earlier))
        if schema is not None and len(checking.problems) == before:
            schema = pa.schema([*schema, *step_fields(plan, instance)])
        elif schema is not None:
            known = [f for f in step_fields(plan, instance) if f.name not in schema.names]
            schema = pa.schema([*schema, *known])
    return planned, schema


def _planned(plan: StepPlan, instance: AnyStep | Job[Any], size: int, earlier: Plan | None) -> PlannedStep:
    if not isinstance(instance, Job):
        return PlannedStep(plan, instance.resources())
    partitions = kept_partitions(earlier, plan, instance.partitions(size))
    reduces = tuple(
        PlannedReduce(r.name, r.units(partitions), r.makes, r.follows_mode, r.passing)
        for r in instance.reduces(partitions)
    )
    checked = plan.filters and plan.over is None and instance.ceilings() is not None
    return PlannedStep(
        plan,
        instance.resources(),
        partitions,
        reduces,
        checked,
        mapping=instance.mapping(),
        units=instance.reduce_resources(size, partitions),
    )


def _located(checking: _Checking, step: Step) -> Step:
    """The step with its paths made absolute and their variables put in: nothing else may decide what they mean later."""
    found: dict[str, Any] = {}
    for name in getattr(step.stage.Config, "LOCATIONS", ()):
        value = getattr(step.options, name)
        try:
            if isinstance(value, str):
                found[name] = _absolute(value)
            elif isinstance(value, (list, tuple)):
                found[name] = tuple(_absolute(path) for path in value)
        except CurateError as cause:
            checking.add(cause, (*step.path, name))
            found[name] = None if isinstance(value, str) else ()
    return replace(step, options=step.options.model_copy(update=found))


def _absolute(path: str) -> str:
    return os.path.abspath(expand(path, os.environ))


def _built(checking: _Checking, step: Step) -> AnyStep | Job[Any] | None:
    try:
        instance: AnyStep | Job[Any] = step.stage(step.options)
        if step.mode == "annotate" and REASONS not in written(instance):
            help = "remove `mode:`; only steps that write reasons are filters"
            checking.fault("C208", f"'{step.use}' drops no rows by reasons", help, (*step.path, "mode"))
    except CurateError as cause:
        checking.add(cause, step.path)
        return None
    return instance


def _written(step: Step, instance: AnyStep | Job[Any]) -> list[str]:
    return [qualified(step.name, local) for local in written(instance)]


def _artifacts(
    checking: _Checking, step: Step, instance: AnyStep | Job[Any], context: Context
) -> dict[str, str]:
    """Checksums of the files that decide a step's output; a missing one is a fault."""
    try:
        return checksums(instance, context)
    except CurateError as cause:
        for p in cause.problems:
            option = p.context.get("option")
            checking.add(CurateError([p]), (*step.path, str(option)) if option is not None else step.path)
    except OSError as cause:
        checking.fault(
            "C207", f"a file of step '{step.name}' cannot be read: {cause}", "check the path", step.path
        )
    return {}


def _snapshot(checking: _Checking, step: Step, instance: Caching, context: Context) -> tuple[str, ...]:
    """What the step may look up in its cache; one that cannot be used is a fault."""
    try:
        return instance.snapshot(context)
    except CurateError as cause:
        checking.add(cause, (*step.path, "cache"))
        return ()


def _check_columns(
    checking: _Checking,
    step: Step,
    instance: AnyStep | Job[Any],
    schema: pa.Schema,
    writers: Mapping[str, str],
    beside: Beside | None = None,
) -> None:
    """Columns read must be there, columns written must be new, conditions must fit the types. beside: of a step over
    passages, whose columns its conditions are about."""
    loaded = checking.loaded
    language = loaded.config.language or _first_lid(loaded.config.steps)
    own = schema
    if beside is not None:
        own, language = beside.fields(schema), beside.language or language
    later = {name: writer for name, writer in writers.items() if name not in schema.names}
    conditions = ["when"] if step.when is not None else []
    if step.use == "filters.select":
        conditions.append("expression")
    for key in conditions:
        checking.problems += loaded.condition_problems((*step.path, key), own, language, later)
    if step.use != "filters.select":
        needed = instance.reads() if beside is None else reads_over(instance, beside)
        for column in sorted(needed - set(schema.names) - {step.over}):
            checking.fault(
                "C201",
                f"step '{step.name}' reads '{column}', which is not there yet",
                _where_from(column, schema.names, later),
                (*step.path, "use"),
            )
    if isinstance(instance, Job) and instance.reads() <= set(own.names):
        try:
            instance.check(own, language if language in own.names else None)
        except CurateError as cause:
            for p in cause.problems:
                option = str(p.context.get("option", "use"))
                checking.fault(p.code, p.message, p.help, (*step.path, option))
    for column in _written(step, instance):
        if column in schema.names or column in _OVERLAY_NAMES:
            help = "give the step another name with `as:`"
            checking.fault("C108", f"the column '{column}' is there already", help, (*step.path, "use"))


def _where_from(column: str, names: Sequence[str], later: Mapping[str, str]) -> str:
    if column in later:
        return f"move the step '{later[column]}', which writes it, before this one"
    near = did_you_mean(column, names)
    return f"did you mean '{near}'?" if near else f"columns here: {', '.join(names[:12])}"


def _step_plan(
    step: Step, instance: AnyStep | Job[Any], artifacts: Mapping[str, str], beside: Beside | None = None
) -> StepPlan:
    writes = written(instance)
    reads = instance.reads() | _condition_columns(step)
    if beside is not None:
        reads = reads_over(instance, beside, _condition_columns(step))
        writes = writes_over(instance)
    options: dict[str, Any] = step.options.model_dump(mode="json")
    title = str(options["expression"]) if step.use == "filters.select" else step.use
    return StepPlan(
        name=step.name,
        use=step.use,
        options=options,
        version=step.stage.VERSION,
        kind=kind_of(step.stage),
        when=step.when,
        filters=step.mode == "filter"
        and (REASONS in writes or (beside is not None and kind_of(step.stage) == "selector")),
        reads=tuple(sorted(reads)),
        writes={qualified(step.name, local): str(kind) for local, kind in writes.items()},
        title=title,
        artifacts=dict(artifacts),
        provenance={} if isinstance(instance, Selector) else dict(instance.provenance()),
        over=step.over,
    )


def _condition_columns(step: Step) -> frozenset[str]:
    from curate.core.expression import parse

    return parse(step.when).columns if step.when is not None else frozenset()


def _first_lid(steps: Sequence[Step]) -> str | None:
    """`lid__lang` of the first language identification step."""
    for step in steps:
        if step.use.startswith("lid.") and step.over is None:
            return qualified(step.name, "lang")
    return None


def _language(checking: _Checking, schema: pa.Schema | None) -> str | None:
    """The ledger's language column: the config's, else the first LID step's, else none."""
    config = checking.loaded.config
    column = config.language or _first_lid(config.steps)
    if schema is None or column is None:
        return column
    if column not in schema.names:
        near = did_you_mean(column, schema.names)
        help = f"did you mean '{near}'?" if near else "name a column of the input or of a LID step"
        checking.fault("C201", f"there is no column '{column}'", help, ("language",))
    elif schema.field(column).type != pa.string():
        kind = schema.field(column).type
        checking.fault(
            "C206", f"the language column '{column}' is {kind}", "name a column of strings", ("language",)
        )
    return column
