"""Checking `over:` before any work starts: the column of spans, and whether a step can be given passages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate.config.load import Loaded, Step
from curate.core.ceilings import GUARDS
from curate.core.errors import CurateError, Problem
from curate.core.passages import Beside, is_spans
from curate.core.stage import Job
from curate.core.suggest import did_you_mean
from curate.running.contract import AnyStep, written
from curate.running.passages import OverPassages, rewrites


def placed(step: Step, instance: AnyStep | Job[Any], beside: Beside | None) -> AnyStep | Job[Any]:
    """The step as the checks see it: one over passages reads and writes lists; a job stays what it is."""
    if beside is None or isinstance(instance, Job):
        return instance
    return OverPassages(instance, step.name, beside, step.when)


def reads_over(
    instance: AnyStep | Job[Any], beside: Beside, asked: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Columns of documents that a step over passages needs. asked: those of its `when`."""
    return beside.needs(instance.reads() | asked) if isinstance(instance, Job) else instance.reads()


def writes_over(instance: AnyStep | Job[Any]) -> Mapping[str, pa.DataType]:
    """Local names and types of its columns of documents."""
    kinds = written(instance)
    return {name: pa.list_(kind) for name, kind in kinds.items()} if isinstance(instance, Job) else kinds


def over_problems(
    loaded: Loaded, step: Step, instance: AnyStep | Job[Any], beside: Beside, schema: pa.Schema
) -> list[Problem]:
    """What is wrong with `over:` of a step, for the documents' columns there are before it."""
    path = (*step.path, "over")
    problems = spans_problems(loaded, path, beside.spans, schema)
    if isinstance(instance, Job) and getattr(type(instance), "mark_texts", None) not in (
        None,
        Job.mark_texts,
    ):
        problems += _at(loaded, path, rewrites(step.name))
    if isinstance(instance, Job) and instance.ceilings() is not None:
        problems += [
            _without_ceilings(loaded, step, name) for name in GUARDS if name in step.options.model_fields_set
        ]
    return problems


def _without_ceilings(loaded: Loaded, step: Step, option: str) -> Problem:
    """A ceiling that somebody set and that would not hold is a run that nobody guards."""
    message = f"`{option}` counts documents, and '{step.name}' is given passages, over which no ceiling holds"
    help = "remove it; ceilings hold where a step is given documents"
    return Problem("C208", message, help, loaded.source.key((*step.path, option)))


def spans_problems(
    loaded: Loaded, path: tuple[str | int, ...], spans: str, schema: pa.Schema
) -> list[Problem]:
    """C201 or C206 unless the documents have that column, and it is one of spans."""
    place = loaded.source.value(path)
    if spans not in schema.names:
        lists = [f.name for f in schema if is_spans(f.type)]
        near = did_you_mean(spans, lists)
        help = f"did you mean '{near}'?" if near else "put `use: filters.passages` before it"
        return [Problem("C201", f"there is no column '{spans}' of passages", help, place)]
    if not is_spans(schema.field(spans).type):
        kind = schema.field(spans).type
        help = "name a column of passages, such as passages__spans"
        return [
            Problem("C206", f"'{spans}' is {kind}, not a list of spans with a start and an end", help, place)
        ]
    return []


def _at(loaded: Loaded, path: tuple[str | int, ...], cause: CurateError) -> list[Problem]:
    place = loaded.source.value(path)
    return [Problem(p.code, p.message, p.help, place) for p in cause.problems]
