"""Let a GLiNER model annotate passages: a small encoder that finds entities of the types it is told.

In: the text, one passage a row. Out, per passage:

    mentions   list<struct<text, label, start, end>>   code points of the text; the label is one of `types`
    outcome    string                                  `ok`; `too_long`: more words than the model reads

`filters.ner_merge` checks the offsets and makes spans of them. The model is a folder with `gliner_config.json`, weights and
tokenizer; nothing is fetched. Texts of a batch are padded to the longest, which can move a score in its last digits and an
entity over the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Resources, StageConfig
from filters.ner.teachers.gliner import Gliner, gliner_files
from filters.ner.teachers.teacher import COLUMNS, MOST_CHARACTERS, OK, TOO_LONG, Said, columns_of


class GlinerConfig(StageConfig):
    """The model and what it looks for."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("model",)

    model: str = Field(min_length=1, description="Folder of the model.")
    types: Annotated[list[str], Field(min_length=1, max_length=1000)] = Field(
        description="Types to find, such as `[person, city]`."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Least score of an entity.")
    nested: bool = Field(False, description="Whether entities within others are wanted.")
    batch: int = Field(16, ge=1, le=100_000, description="Passages that the model takes at a time.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where it runs.")


class NerGliner(Annotator[GlinerConfig]):
    """Annotates passages by a GLiNER model."""

    Config = GlinerConfig
    VERSION: ClassVar[int] = 1
    SERIAL: ClassVar[bool] = True  # a model has threads of its own

    def __init__(self, config: GlinerConfig) -> None:
        self.config = config
        self._model: Gliner | None = None

    def resources(self) -> Resources:
        return Resources(memory_gb=4, gpus=int(self.config.device == "cuda"))

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return COLUMNS

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        return {**gliner_files(self.config.model), **library_files("gliner", "torch", "transformers")}

    def provenance(self) -> Mapping[str, str]:
        return {"model": Path(self.config.model).name}

    def open(self, context: Context) -> None:
        self._model = Gliner(self.config.model, self.config.device)

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._model is not None
        texts = batch.text.to_pylist()
        # A text of nothing but blanks has no entities, and there is nothing to look at.
        said = [Said([], OK) if not text.strip() else Said(None, TOO_LONG) for text in texts]
        rows = [
            row
            for row, text in enumerate(texts)
            if text.strip() and len(text) <= MOST_CHARACTERS and self._model.fits(text)
        ]
        config = self.config
        found = self._model.entities(
            [texts[row] for row in rows],
            config.types,
            config.threshold,
            nested=config.nested,
            batch=config.batch,
        )
        for row, mentions in zip(rows, found, strict=True):
            said[row] = Said(mentions, OK)
        return columns_of(said)


STAGE = NerGliner
