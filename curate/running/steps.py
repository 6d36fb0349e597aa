"""Steps of a plan as objects: built from their names and options, and put to work in a pass.

What comes out is not opened yet: no model is loaded and no file is read. In a pass a job stands at the head like an
annotator, by its marks, or at the end, by its mapper; a step over passages looks like one over documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.core.passages import Beside
from curate.core.plan import Plan, StepPlan
from curate.core.stage import Job, Mapper
from curate.running.contract import AnyStep
from curate.running.jobs import Marks
from curate.running.passages import OverMapper, OverPassages, PassageMarks
from curate.stages import load as load_stage


def build_step(use: str, options: Mapping[str, Any]) -> AnyStep | Job[Any]:
    """A step from its name and options, as the plan has them."""
    stage = load_stage(use)
    step: AnyStep | Job[Any] = stage(stage.Config.model_validate(dict(options)))
    return step


def build_job(plan: StepPlan) -> Job[Any]:
    """A job that knows which files the run was planned with, for those who ask it about what it did."""
    job = build_step(plan.use, plan.options)
    assert isinstance(job, Job)
    job.expect(plan.artifacts)
    return job


def placed(plan: Plan, step_plan: StepPlan, step: AnyStep | Job[Any]) -> AnyStep:
    """The step as it works in a pass: a job at its head like an annotator, one over passages like one over documents."""
    if step_plan.over is None:
        return Marks(step) if isinstance(step, Job) else step
    beside = Beside.of(plan.steps_before(step_plan.name), step_plan.over)
    if isinstance(step, Job):
        return Marks(step, PassageMarks(step, step_plan, beside))
    return OverPassages(step, step_plan.name, beside, step_plan.when)


def placed_mapper(plan: Plan, step_plan: StepPlan, job: Job[Any], partitions: int) -> Mapper:
    """The job's mapper as it works at the end of a pass."""
    mapper = job.mapper(partitions)
    if step_plan.over is None:
        return mapper
    beside = Beside.of(plan.steps_before(step_plan.name), step_plan.over)
    return OverMapper(mapper, job.reads(), beside, step_plan.when)
