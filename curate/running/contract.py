"""What the runner holds a step to: the columns and types it declared, one value for every row it was given.

A step that breaks this is a bug in the step, so the error names it and says what was declared and what came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.columns import REASONS, qualified
from curate.core.errors import CurateError, error
from curate.core.plan import StepPlan
from curate.core.stage import Annotator, Job, Selector

AnyStep = Annotator[Any] | Selector[Any]


def written(step: AnyStep | Job[Any]) -> Mapping[str, pa.DataType]:
    """Local names and types of the columns a step adds; a selector adds none."""
    return step.writes() if isinstance(step, (Annotator, Job)) else {}


def step_fields(plan: StepPlan, step: AnyStep | Job[Any]) -> list[pa.Field]:
    """The fields a step adds to an overlay: global names; step, version and provenance in the metadata."""
    facts = {"step": plan.use, "version": str(plan.version), **plan.provenance}
    metadata = {f"curate.{key}": value for key, value in facts.items()}
    over = plan.over is not None and isinstance(step, Job)  # other steps have lists themselves by now
    return [
        pa.field(qualified(plan.name, local), pa.list_(kind) if over else kind, metadata=metadata)
        for local, kind in written(step).items()
    ]


def checked_columns(
    plan: StepPlan, step: Annotator[Any], returned: Mapping[str, pa.Array], batch: DocBatch
) -> dict[str, pa.Array]:
    """What an annotator returned, under global names, in declared order."""
    declared = step.writes()
    if returned.keys() != declared.keys():
        raise _broken(plan, f"declared the columns {sorted(declared)} and returned {sorted(returned)}")
    if (
        REASONS in declared
        and plan.over is None  # over passages a list holds a list for each
        and isinstance(returned[REASONS], pa.ListArray)
        and returned[REASONS].flatten().null_count
    ):
        raise _broken(plan, "returned a null among the reasons of a row; a reason is a name")
    return {
        qualified(plan.name, local): checked_column(plan, local, returned[local], kind, batch)
        for local, kind in declared.items()
    }


def checked_column(
    plan: StepPlan | str, name: str, column: pa.Array, kind: pa.DataType, batch: DocBatch
) -> pa.Array:
    """One returned column: an Array of the declared type with a value for every row."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not isinstance(column, pa.Array):
        raise _broken(plan, f"returned {type(column).__name__} for '{name}', not an Arrow array")
    if len(column) != batch.num_rows:
        raise _broken(plan, f"returned {len(column)} values of '{name}' for {batch.num_rows} rows")
    if column.type != kind:
        raise _broken(plan, f"returned '{name}' as {column.type}, not {kind}")
    return column


def _broken(plan: StepPlan | str, what: str) -> CurateError:
    """plan: of the step, or its name alone."""
    name, title = (plan, f"'{plan}'") if isinstance(plan, str) else (plan.name, f"'{plan.name}' ({plan.use})")
    return error(
        "R303",
        f"step {title} {what}",
        help="this is a fault of the step: it breaks the contract in curate/core/stage.py",
        step=name,
    )
