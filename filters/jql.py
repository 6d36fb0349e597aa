"""JQL's three educational scores: the preset of `filters.quality` for a GPU (arXiv 2505.22232).

In: the text. Out, per document:

    gemma_score     float32   the heads that were distilled from Gemma-3-27B, Mistral-Small-3.1-24B and Llama-3.3-70B, 0 to
    mistral_score   float32   about 5, not cut to that range; null where there was nothing to read
    llama_score     float32
    scored          bool      whether there was
    n_tokens        int32     tokens that the encoder read; null where not scored
    truncated       bool      whether a part of the text was not read; null where not scored

The encoder is snowflake-arctic-embed-m-v2.0: state of the first token, scaled to length 1, bfloat16, up to 8,192 tokens.
Reading 8,192 tokens instead of 512 is worth about 7 points of Spearman's correlation there. What differs from JQL's own
procedure: heads compute in float32, so scores are no steps of 1/64; nothing is padded; truncation is recorded.

JQL keeps what is above the 0.6 or 0.7 quantile of every head, in each language, of documents that were deduplicated and not
filtered (`configs/jql.yaml`):

    use: filters.quantile
    columns: [jql__gemma_score, jql__mistral_score, jql__llama_score]
    keep: {all: 0.6}
    by: language

Models: `curate models pull snowflake-arctic-embed-m-v2.0 jql-edu-heads`, then `curate heads import jql-edu-heads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch
from curate.core.columns import FAILED
from curate.core.errors import error
from curate.core.stage import Context, StageConfig
from filters.encoders.encoder import MOST_CHARACTERS
from filters.encoders.options import MOST_TOKENS, Options, PackedOptions
from filters.encoders.step import CACHE, CacheOption
from filters.registry import JQL_ENCODER, JQL_HEADS, JQL_TEACHERS
from filters.scoring import ScoringStep, score_columns


class JqlConfig(StageConfig):
    """Options of `filters.jql`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("heads", "cache")

    model: str = Field(
        JQL_ENCODER,
        min_length=1,
        description="The encoder: as `curate models` lists it, or the folder that it lies in.",
    )
    heads: str | None = Field(
        None,
        description="Folder of the three heads; null: where `curate heads import jql-edu-heads` puts them.",
    )
    device: Literal["cpu", "cuda"] = Field("cuda", description="Where the encoder runs.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="In what numbers it computes."
    )
    max_tokens: int = Field(8192, ge=4, le=MOST_TOKENS, description="Tokens of a text that are read.")
    batch_tokens: int = Field(
        131_072, ge=1, le=1 << 24, description="Tokens that go through the model together."
    )
    compile: bool = Field(
        True,
        description="Whether parts are compiled on CUDA, by Triton and a C compiler; vectors differ by rounding.",
    )

    cache: CacheOption = CACHE

    def encoder(self) -> PackedOptions:
        given = self.model_dump(exclude={"heads", "cache"})
        return PackedOptions.model_validate({"use": "packed", "pooling": "cls", "normalize": True, **given})


class Jql(ScoringStep[JqlConfig]):
    """Scores documents as JQL does: one multilingual encoder, three educational heads."""

    Config = JqlConfig
    VERSION: ClassVar[int] = 1

    def encoder_options(self) -> Options:
        return self.config.encoder()

    def cache_option(self) -> str | bool:
        return self.config.cache

    def max_characters(self) -> int:
        return MOST_CHARACTERS

    def head_files(self, context: Context) -> Mapping[str, Path]:
        folder = Path(self.config.heads) if self.config.heads else context.models / JQL_HEADS
        heads = {f"{teacher}_score": folder / f"{name}.safetensors" for teacher, name in JQL_TEACHERS.items()}
        for path in heads.values():
            if not path.is_file():
                raise error(
                    "E504",
                    f"the head {path.name} is not in {folder}",
                    help=f"run: curate models pull {JQL_HEADS} && curate heads import {JQL_HEADS}",
                    file=str(path),
                )
        return heads

    def writes(self) -> Mapping[str, pa.DataType]:
        return score_columns(dict.fromkeys(f"{teacher}_score" for teacher in JQL_TEACHERS))

    def provenance(self) -> Mapping[str, str]:
        return {**super().provenance(), "head": ", ".join(JQL_TEACHERS.values())}

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        found = self.score(batch)
        columns = found.columns()
        if any(found.failed):
            columns[FAILED] = pa.array(found.failed, pa.string())
        return columns


STAGE = Jql
