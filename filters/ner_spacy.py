"""Let spaCy pipelines annotate passages: a teacher that runs on a CPU.

In: the text, one passage a row; the languages of the batch, where `models` names pipelines by language. Out, per passage:

    mentions   list<struct<text, label, start, end>>   what the pipeline calls an entity, code points of the text
    outcome    string                                  `ok`, `no_model`, `too_long` (`filters.ner.teachers.teacher`)

`filters.ner_merge` checks the offsets and makes spans of them, alone or with what other teachers say. A passage whose
language has no pipeline has null for mentions, which counts for nothing there.

Numbers: a small pipeline reads about 10,000 words a second on one core.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Resources, StageConfig
from filters.ner.teachers.pipeline import entities, load_pipeline, pipeline_files
from filters.ner.teachers.teacher import COLUMNS, MOST_CHARACTERS, NO_MODEL, OK, TOO_LONG, Said, columns_of

if TYPE_CHECKING:
    from spacy.language import Language


class SpacyConfig(StageConfig):
    """Which pipelines annotate."""

    model: str | None = Field(
        None,
        min_length=1,
        description="The pipeline, a package or folder, of passages whose language has none in `models`; null: none.",
    )
    models: dict[str, str] = Field(
        default_factory=dict, description="Pipelines by language, such as `{deu_Latn: de_core_news_sm}`."
    )
    disable: list[str] = Field(
        default_factory=list, description="Components to leave out, such as `[parser, lemmatizer]`."
    )
    batch: int = Field(64, ge=1, le=100_000, description="Passages that a pipeline takes at a time.")

    @model_validator(mode="after")
    def _has_one(self) -> SpacyConfig:
        if self.model is None and not self.models:
            raise ValueError("name a pipeline: `model: xx_ent_wiki_sm`, or some by language in `models`")
        return self


class NerSpacy(Annotator[SpacyConfig]):
    """Annotates passages by spaCy pipelines."""

    Config = SpacyConfig
    VERSION: ClassVar[int] = 1
    SERIAL: ClassVar[bool] = True  # spaCy's pipelines expect a process with one thread

    def __init__(self, config: SpacyConfig) -> None:
        self.config = config
        self._pipelines: dict[str, Language] = {}

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5 + 0.5 * len(self._names()))

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return COLUMNS

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        files = {f"{name}/{role}": file for name in self._names() for role, file in pipeline_files(name)}
        return {**files, **library_files("spacy", "thinc")}

    def provenance(self) -> Mapping[str, str]:
        return {"models": " ".join(Path(name).name for name in self._names())}

    def open(self, context: Context) -> None:
        self._pipelines = {name: load_pipeline(name, self.config.disable) for name in self._names()}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        texts = batch.text.to_pylist()
        languages = batch.languages.to_pylist() if batch.languages is not None else [None] * len(texts)
        said: list[Said] = []
        rows: dict[str, list[int]] = {}
        for row, (text, language) in enumerate(zip(texts, languages, strict=True)):
            name = self.config.models.get(language or "", self.config.model)
            said.append(Said(None, NO_MODEL if name is None else TOO_LONG))
            if name is not None and len(text) <= MOST_CHARACTERS:
                rows.setdefault(name, []).append(row)
        for name, mine in rows.items():
            found = entities(self._pipelines[name], [texts[row] for row in mine], self.config.batch)
            for row, mentions in zip(mine, found, strict=True):
                said[row] = Said(mentions, OK)
        return columns_of(said)

    def _names(self) -> list[str]:
        """The pipelines, each once."""
        named = [
            *self.config.models.values(),
            *([self.config.model] if self.config.model is not None else []),
        ]
        return sorted(set(named))


STAGE = NerSpacy
