"""The steps of a config, one after the other: built, their files looked for, their columns followed.

In: the loaded config and the schema of the input. Out: each step's part of the plan with what it needs, and the schema after
the last one. A column is available to a step if the source has it or an earlier step wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from curate.config.environment import expand
from curate.config.load import Step
from curate.core.columns import REASONS, qualified
from curate.core.errors import CurateError
from curate.core.overlay import DROP, DROP_REASONS, TEXT_BYTES
from curate.core.passages import SOURCE_DOC, Beside
from curate.core.plan import Plan, StepPlan
from curate.core.stage import Caching, Context, Job, Selector, StageConfig
from curate.core.suggest import did_you_mean
from curate.planning.artifacts import checksums
from curate.planning.checking import Checking
from curate.planning.earlier import kept_partitions
from curate.planning.outputs import DOCUMENTS
from curate.planning.passages import over_problems, placed, reads_over, writes_over
from curate.planning.phases import PlannedReduce, PlannedStep
from curate.running.contract import AnyStep, step_fields, written
from curate.stages import kind as kind_of

#: Names in an overlay that are not columns of steps.
_OVERLAY_NAMES: Final = (TEXT_BYTES, DROP, DROP_REASONS)


def checked_steps(
    checking: Checking, schema: pa.Schema | None, context: Context, size: int, earlier: Plan | None
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
        step = _settled(checking, _located(checking, entry), schema)
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


def _located(checking: Checking, step: Step) -> Step:
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


def _settled(checking: Checking, step: Step, schema: pa.Schema | None) -> Step:
    """The step with what its options leave to the input's columns (`StageConfig.settled`)."""
    if schema is None or not isinstance(step.options, StageConfig):
        return step
    try:
        if step.over is not None:
            schema = Beside(step.over).fields(schema)
        elif SOURCE_DOC in schema.names and any(
            out.unit != DOCUMENTS for out in checking.loaded.config.publish
        ):
            # What is published as passages has the number of this run's document under that name, not the input's.
            schema = schema.remove(schema.get_field_index(SOURCE_DOC))
        return replace(step, options=step.options.settled(schema))
    except CurateError as cause:
        for p in cause.problems:
            checking.add(CurateError([p]), (*step.path, str(p.context["option"])))
        return step


def _absolute(path: str) -> str:
    return os.path.abspath(expand(path, os.environ))


def _built(checking: Checking, step: Step) -> AnyStep | Job[Any] | None:
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
    checking: Checking, step: Step, instance: AnyStep | Job[Any], context: Context
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


def _snapshot(checking: Checking, step: Step, instance: Caching, context: Context) -> tuple[str, ...]:
    """What the step may look up in its cache; one that cannot be used is a fault."""
    try:
        return instance.snapshot(context)
    except CurateError as cause:
        checking.add(cause, (*step.path, "cache"))
        return ()


def _check_columns(
    checking: Checking,
    step: Step,
    instance: AnyStep | Job[Any],
    schema: pa.Schema,
    writers: Mapping[str, str],
    beside: Beside | None = None,
) -> None:
    """Columns read must be there, columns written must be new, conditions must fit the types. beside: of a step over
    passages, whose columns its conditions are about."""
    loaded = checking.loaded
    language = loaded.config.language or first_lid(loaded.config.steps)
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


def first_lid(steps: Sequence[Step]) -> str | None:
    """`lid__lang` of the first language identification step."""
    for step in steps:
        if step.use.startswith("lid.") and step.over is None:
            return qualified(step.name, "lang")
    return None
