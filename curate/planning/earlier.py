"""What the plan that a run folder has already decided, and the next one goes on with."""

from __future__ import annotations

from curate.core.layout import RunFolder
from curate.core.plan import Plan, StepPlan

#: How many times as many partitions the input may call for before a job is given them: their units are as much larger.
_FULLER = 4


def earlier_plan(folder: RunFolder) -> Plan | None:
    """The plan of the last run in the folder; None if there is none that can be read."""
    try:
        return Plan.from_json(folder.plan.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):  # whoever needs that plan says what is wrong with it
        return None


def kept_partitions(before: Plan | None, step: StepPlan, chosen: int) -> int:
    """Into how many partitions a job's records go: as many as before, so that what is mapped stays when the input grows.

    chosen: by the job for today's input; taken where the config says how many, for a new job, and for four times as many
    and more.
    """
    if before is None or step.options.get("partitions", 0) is not None:
        return chosen
    for phase in before.passes:
        job = phase.job
        if job is not None and (job.name, job.use) == (step.name, step.use):
            return phase.partitions if chosen < _FULLER * phase.partitions else chosen
    return chosen
