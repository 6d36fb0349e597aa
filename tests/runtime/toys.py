"""Small steps that do one thing each, and a pass made of them.

Bytes       writes the length of the text, and reasons for texts outside two bounds: a filter
Mark        writes whether the text holds a word
Choose      a selector: keeps, drops, or cannot tell, by the document's number
Upper       rewrites texts that hold a word to upper case
Fragile     returns `failed` for texts that hold a word
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.expression import parse
from curate.core.plan import StepPlan
from curate.core.stage import Annotator, Context, Selector, StageConfig
from curate.running.contract import AnyStep
from curate.running.pipeline import Pipeline

STRINGS = pa.list_(pa.string())


class Bounds(StageConfig):
    least: int = Field(0, description="Fewest bytes.")
    most: int = Field(10**9, description="Most bytes.")


class Word(StageConfig):
    word: str = Field("x", description="The word looked for.")


class Modulus(StageConfig):
    drop: int = Field(3, description="Documents whose number this divides are dropped.")
    unknown: int = Field(5, description="Of those whose number this divides nothing is known.")


class _Toy(Annotator[Any]):
    VERSION: ClassVar[int] = 1

    def __init__(self, config: Any) -> None:
        self.config = config

    def reads(self) -> frozenset[str]:
        return frozenset({"text"})


class Bytes(_Toy):
    Config = Bounds

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"text_bytes": pa.int64(), "reasons": STRINGS}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        size = pa.array(batch.text_bytes)
        reasons = [
            ["short"] * (s < self.config.least)
            + ["long"] * (s > self.config.most)
            + ["odd"] * (s < 2 < self.config.least)
            for s in size.to_pylist()
        ]
        return {"text_bytes": size, "reasons": pa.array(reasons, STRINGS)}


class Mark(_Toy):
    Config = Word

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"found": pa.bool_()}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        return {"found": pc.match_substring(batch.text, self.config.word)}


class Choose(Selector[Modulus]):
    Config = Modulus
    VERSION: ClassVar[int] = 1

    def __init__(self, config: Modulus) -> None:
        self.config = config

    def reads(self) -> frozenset[str]:
        return frozenset({"doc"})

    def open(self, context: Context) -> None:
        pass

    def keep(self, batch: DocBatch) -> pa.BooleanArray:
        docs = batch.column("doc").to_numpy()
        return pa.array(docs % self.config.drop != 0, mask=docs % self.config.unknown == 0)


class Upper(_Toy):
    Config = Word

    def writes(self) -> Mapping[str, pa.DataType]:
        return {}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        wanted = pc.match_substring(batch.text, self.config.word)
        return {"text": pc.if_else(wanted, pc.utf8_upper(batch.text), pa.scalar(None, pa.string()))}


class Fragile(_Toy):
    Config = Word

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"ok_count": pa.int64(), "reasons": STRINGS}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        wrong = pc.match_substring(batch.text, self.config.word).to_numpy(zero_copy_only=False)
        failed = pa.array(np.where(wrong, "no model for this", ""), pa.string(), mask=~wrong)
        return {
            "ok_count": pa.array(np.ones(batch.num_rows, np.int64)),
            "reasons": pa.array(
                [["even"] if doc % 2 == 0 else [] for doc in batch.column("doc").to_pylist()], STRINGS
            ),
            "failed": failed,
        }


def planned(name: str, step: AnyStep, *, when: str | None = None, mode: str = "filter") -> StepPlan:
    """The plan of a step, as `curate.planning.compile` makes it."""
    annotator = isinstance(step, Annotator)
    writes = step.writes() if isinstance(step, Annotator) else {}
    return StepPlan(
        name=name,
        use=f"toys.{type(step).__name__.lower()}",
        options={},
        version=1,
        kind="annotator" if annotator else "selector",
        when=when,
        filters=mode == "filter" and "reasons" in writes,
        reads=tuple(sorted(step.reads() | (parse(when).columns if when else frozenset()))),
        writes={f"{name}__{local}": str(kind) for local, kind in writes.items()},
        title=name,
    )


def passing(
    *steps: tuple[StepPlan, AnyStep],
    language: str | None = None,
    first: bool = True,
) -> Pipeline:
    """A pass over these steps, ready for its first batch."""
    place = Path(tempfile.gettempdir())  # the toys write nothing
    pipeline = Pipeline(list(steps), Context(models=place, scratch=place), language, first=first)
    pipeline.start_unit()
    return pipeline


def step(name: str, made: AnyStep, **options: Any) -> tuple[StepPlan, AnyStep]:
    return planned(name, made, **options), made


def documents(texts: Sequence[str | None], start: int = 0, **columns: Any) -> pa.RecordBatch:
    """Documents numbered from `start`, with more columns if they are given."""
    return pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(start, start + len(texts)), pa.int64()),
            "text": pa.array(texts, pa.string()),
            **{name: pa.array(values, pa.string()) for name, values in columns.items()},
        }
    )
