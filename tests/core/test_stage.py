"""What a step gets for nothing when it inherits from the protocols, and what options refuse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, ValidationError

from curate.core.batch import DocBatch
from curate.core.columns import qualified, step_of
from curate.core.stage import Annotator, Context, Resources, Selector, StageConfig


class Options(StageConfig):
    least: int = Field(1, ge=0, description="Fewest bytes.")


class Length(Annotator[Options]):
    """Only what a step must have."""

    Config = Options
    VERSION: ClassVar[int] = 1

    def __init__(self, config: Options) -> None:
        self.config = config

    def reads(self) -> frozenset[str]:
        return frozenset({"text"})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"bytes": pa.int64()}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        return {"bytes": pa.array(batch.text_bytes)}


class Everything(Selector[Options]):
    Config = Options
    VERSION: ClassVar[int] = 1

    def __init__(self, config: Options) -> None:
        self.config = config

    def reads(self) -> frozenset[str]:
        return frozenset()

    def open(self, context: Context) -> None:
        pass

    def keep(self, batch: DocBatch) -> pa.BooleanArray:
        return pa.array([True] * batch.num_rows)


def test_an_annotator_inherits_everything_that_is_optional(tmp_path: Path) -> None:
    step = Length(Options())
    context = Context(models=tmp_path, scratch=tmp_path)
    step.open(context)
    assert step.resources() == Resources(memory_gb=0.5, gpus=0)
    assert step.artifacts(context) == {}
    assert step.provenance() == {}
    assert step.rules("deu_Latn") == ()


def test_the_kinds_of_steps_are_told_apart() -> None:
    annotator, selector = Length(Options()), Everything(Options())
    assert isinstance(annotator, Annotator)
    assert not isinstance(annotator, Selector)
    assert isinstance(selector, Selector)
    assert not isinstance(selector, Annotator)


def test_a_class_with_the_methods_is_a_step_without_inheriting() -> None:
    bare = type(
        "Bare", (), {n: getattr(Length, n) for n in dir(Length) if not n.startswith("__") and n[0] != "_"}
    )
    assert isinstance(bare(), Annotator)


def test_options_refuse_unknown_keys_and_changes() -> None:
    with pytest.raises(ValidationError):
        Options.model_validate({"lest": 3})
    with pytest.raises(ValidationError):
        Options().least = 4
    assert issubclass(StageConfig, BaseModel)


def test_columns_are_prefixed_by_their_step() -> None:
    assert qualified("lid", "prob") == "lid__prob"
    assert step_of("lid__prob") == "lid"
    assert step_of("a_b__c_d__e") == "a_b"
    assert step_of("text") is None
    assert step_of("__prob") is None
    assert step_of("lid__") == "lid"
