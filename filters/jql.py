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
from curate.core.columns import FAILED, TEXT
from curate.core.errors import CurateError, Problem, error
from curate.core.stage import Annotator, Context, Resources
from filters.encoders.encoder import MOST_CHARACTERS
from filters.encoders.options import MOST_TOKENS, PackedOptions, described, make_encoder
from filters.registry import JQL_ENCODER, JQL_HEADS, JQL_TEACHERS
from filters.scoring import CacheOption, Scorer, score_columns, scoring_files, scoring_snapshot


class JqlConfig(CacheOption):
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

    def encoder(self) -> PackedOptions:
        given = self.model_dump(exclude={"heads", "cache"})
        return PackedOptions.model_validate({"use": "packed", "pooling": "cls", "normalize": True, **given})


class Jql(Annotator[JqlConfig]):
    """Scores documents as JQL does: one multilingual encoder, three educational heads."""

    Config = JqlConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: JqlConfig) -> None:
        self.config = config
        self._scorer: Scorer | None = None

    def resources(self) -> Resources:
        memory = make_encoder(self.config.encoder()).memory_gb()
        return Resources(memory_gb=memory, gpus=int(self.config.device == "cuda"))

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return score_columns(dict.fromkeys(f"{teacher}_score" for teacher in JQL_TEACHERS))

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        faults: list[Problem] = []
        heads: dict[str, Path] = {}
        files: dict[str, Path] = {}
        try:
            heads = self._heads(context)
        except CurateError as cause:
            faults += cause.problems
        try:
            files = scoring_files(make_encoder(self.config.encoder(), context.models), heads)
        except CurateError as cause:
            faults = [*cause.problems, *faults]
        if faults:
            raise CurateError(faults)
        return files

    def provenance(self) -> Mapping[str, str]:
        return {**described(self.config.encoder()), "head": ", ".join(JQL_TEACHERS.values())}

    def open(self, context: Context) -> None:
        encoder = make_encoder(self.config.encoder(), context.models, context.threads)
        base = self.config.folder(context)
        self._scorer = Scorer(encoder, self._heads(context), MOST_CHARACTERS, base, context.snapshot)

    def snapshot(self, context: Context) -> tuple[str, ...]:
        encoder = make_encoder(self.config.encoder(), context.models)
        return scoring_snapshot(encoder, self._heads(context), MOST_CHARACTERS, self.config.folder(context))

    def begin(self) -> None:
        assert self._scorer is not None
        self._scorer.begin()

    def finish(self) -> Mapping[str, int]:
        assert self._scorer is not None
        return self._scorer.finish()

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._scorer is not None
        found = self._scorer.score(batch)
        columns = found.columns()
        if any(found.failed):
            columns[FAILED] = pa.array(found.failed, pa.string())
        return columns

    def _heads(self, context: Context) -> dict[str, Path]:
        """Column → weights; E504 if they have not been made yet."""
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


STAGE = Jql
