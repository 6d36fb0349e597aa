"""Keep the rows for which a condition holds.

In: the columns that `expression` names. Out: no column; a row is kept if the condition is true. Rows for
which it is null are dropped with the reason `null`. In a config, `{select: lid__prob >= 0.65}` is short for
`{use: filters.select, expression: lid__prob >= 0.65}`. The language is that of `curate.core.expression`.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.expression import parse
from curate.core.expression.field import Condition
from curate.core.stage import Selector, StageConfig


class SelectConfig(StageConfig):
    """The condition."""

    expression: Condition = Field(description="Rows for which this is true are kept: lid__prob >= 0.65.")


class Select(Selector[SelectConfig]):
    """Keeps the rows for which a condition holds."""

    Config = SelectConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: SelectConfig) -> None:
        self.condition = parse(config.expression)

    def reads(self) -> frozenset[str]:
        return self.condition.columns

    def keep(self, batch: DocBatch) -> pa.BooleanArray:
        return self.condition.evaluate(batch.record)


STAGE = Select
