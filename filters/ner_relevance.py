"""Score passages by how rich in named entities they are, from 1 to 4, as FiNERweb rates them (arXiv 2512.13884).

In: the text, its tokens, and its languages if a step has identified them. Out, per document, or with
`over: passages__spans` per passage:

    score      float32        1 to 4, among passages of the language: thresholds are a language's own
    prob       float32        P(score ≥ 3)
    embedded   bool           whether the encoder knows the language; else capitals alone decide
    reasons    list<string>   `low_prob`; only with `min_prob`

The head looks at the vector of the encoder, at what a small network says of each of its tokens on the way
(`filters.ner.names_encoder`), and at two surface features, which cost nothing: the shares of capitalised words inside
sentences and of different ones among them (`filters.ner.surface`), which decide alone in languages that the encoder does
not know. How much each weighs is trained on languages that it was not trained on; `filters/ner/shipped/ner-usem3.json` has
the figures. A score says where a passage stands among those of its language; `filters.top` takes the best of each. Heads of
one's own are taken as well: with the network that lies beside them (`names-usem3.safetensors`, else the shipped one), or for
the vector alone (`encoder.name` in the card: `usem3`).

`classifier:` takes a classifier instead, such as the XLM-R that FiNERweb released, from a folder (`filters.ner.classifier`):

    - {use: filters.ner_relevance, over: passages__spans, classifier: {model: models/finerweb-xlmr, device: cuda}}

It reads every language; a passage in which its tokenizer finds nothing has score 1 and prob 0, and `embedded` is false.

Vectors, or what a classifier gives, are kept as those of `filters.quality` are, in the run's folder or where `cache` says: a
second head, threshold or run never encodes a passage again (`filters.encoders.vectors`). usem3 reads about 0.25 MB/s on one
core. Bound what it must read: `filters.ner_surface` and `filters.top` make a pool of candidates first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate.core.batch import UNICODE, DocBatch
from curate.core.columns import FAILED, REASONS
from curate.core.errors import CurateError, error
from curate.core.libraries import library_files
from curate.core.stage import Context, Resources, Rule, StageConfig
from filters.encoders.cache import recipe_of, snapshot
from filters.encoders.encoder import MOST_CHARACTERS, Encoder, checksum
from filters.encoders.step import CACHE, CacheOption, EncodingStep
from filters.encoders.usem3 import Usem3
from filters.ner.classifier import Classifier, ClassifierOptions
from filters.ner.names_encoder import NAME, WEIGHTS, Usem3Names
from filters.ner.relevance_head import NerCard, NerHead, head_path, read_ner_card, read_ner_head, shares
from filters.ner.surface import surface
from filters.rules import listed

if TYPE_CHECKING:
    pass

DEFAULT_HEAD: Final = "ner-usem3"
Float32s = npt.NDArray[np.float32]


class NerRelevanceConfig(StageConfig):
    """Options of `filters.ner_relevance`."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

    head: str = Field(
        DEFAULT_HEAD,
        min_length=1,
        description="What makes scores: a shipped head by name, or the path of a .safetensors file with its card beside it.",
    )
    classifier: ClassifierOptions | None = Field(
        None, description="A classifier that makes the scores, in the place of encoder and head."
    )
    max_characters: int | None = Field(
        None,
        ge=1,
        le=MOST_CHARACTERS,
        description="Characters of a text that are read; null: as many as the head was trained on, or the classifier takes.",
    )
    min_prob: float | None = Field(
        None, ge=0, le=1, description="Least P(score ≥ 3) that passes; null: nothing is dropped."
    )

    cache: CacheOption = CACHE

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.classifier is not None and "head" in self.model_fields_set:
            raise ValueError("a classifier has no head: give `head` or `classifier`")
        return self


class NerRelevance(EncodingStep[NerRelevanceConfig]):
    """Scores passages by how rich in named entities they are."""

    Config = NerRelevanceConfig
    VERSION: ClassVar[int] = 2

    def __init__(self, config: NerRelevanceConfig) -> None:
        super().__init__(config)
        self._head: NerHead | None = None

    def cache_option(self) -> str | bool:
        return self.config.cache

    def resources(self) -> Resources:
        classifier = self.config.classifier
        if classifier is None:
            return Resources(memory_gb=Usem3().memory_gb())
        return Resources(
            memory_gb=Classifier(classifier.loading()).memory_gb(), gpus=int(classifier.device == "cuda")
        )

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = {"score": pa.float32(), "prob": pa.float32(), "embedded": pa.bool_()}
        return columns | {REASONS: pa.list_(pa.string())} if self.rules(None) else columns

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        if self.config.min_prob is None:
            return ()
        return (Rule("low_prob", "prob", self.config.min_prob, None, 0, 1, "min_prob"),)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        encoder = self._made(context)
        files = dict(encoder.files())
        if self.config.classifier is None:
            weights = head_path(self.config.head)
            _check_encoder(read_ner_card(weights), encoder)
            files |= {"head": weights, "card": weights.with_suffix(".json")}
        return files | library_files(*encoder.libraries)

    def provenance(self) -> Mapping[str, str]:
        classifier = self.config.classifier
        if classifier is None:
            card = read_ner_card(head_path(self.config.head))
            return {"encoder": card.encoder.name, "head": Path(self.config.head).stem}
        named = {"classifier": classifier.model, "target": classifier.target}
        return named | ({"classifier_revision": classifier.revision} if classifier.revision else {})

    def open(self, context: Context) -> None:
        from filters.encoders.vectors import shared  # it brings kernels

        self._encoder = encoder = self._made(context)
        if self.config.classifier is None:
            self._head = read_ner_head(head_path(self.config.head))
            _check_encoder(self._head.card, encoder)
        self._vectors = shared(encoder, self._characters(), self._cache(context), context.snapshot)

    def snapshot(self, context: Context) -> tuple[str, ...]:
        base = self._cache(context)
        if base is None:
            return ()
        return snapshot(recipe_of(self._made(context), self._characters()).folder(base))

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._vectors is not None
        rows = batch.num_rows
        at = np.flatnonzero(self._known(batch))
        encoded = self._vectors.encode(batch.text.take(pa.array(at)), self._counts)
        read = encoded.n_tokens > 0
        at, vectors = at[read], encoded.embeddings[read]
        broken = np.logical_not(np.isfinite(vectors).all(axis=1))
        embedded = np.zeros(rows, np.bool_)
        embedded[at] = True
        score, prob = self._scores(batch, at, np.where(broken[:, None], 0, vectors), ~embedded)
        columns = {"score": pa.array(score), "prob": pa.array(prob), "embedded": pa.array(embedded)}
        if self.config.min_prob is not None:
            columns[REASONS] = listed(["low_prob"], (prob < np.float32(self.config.min_prob))[:, None])
        if broken.any():
            failed = np.full(rows, None, object)
            failed[at[broken]] = "the encoder gives no number"
            columns[FAILED] = pa.array(failed, pa.string())
        return columns

    def _scores(
        self, batch: DocBatch, at: npt.NDArray[np.int64], vectors: Float32s, others: npt.NDArray[np.bool_]
    ) -> tuple[Float32s, Float32s]:
        """Scores and probabilities of all rows; at: those with vectors."""
        score, prob = np.ones(batch.num_rows, np.float32), np.zeros(batch.num_rows, np.float32)
        if self._head is None:
            assert self.config.classifier is not None
            assert isinstance(self._encoder, Classifier)
            score[at], prob[at] = self._encoder.rate(vectors, self.config.classifier.target)
            return score, prob
        languages = batch.languages
        feats = shares(surface(batch.tokens, runs=batch.words == UNICODE))
        for rows, given in ((at, vectors), (np.flatnonzero(others), None)):
            own = languages.take(pa.array(rows)) if languages is not None else None
            score[rows], prob[rows] = self._head.score(feats[rows], own, given)
        return score, prob

    def _made(self, context: Context) -> Encoder:
        """The encoder, not opened."""
        classifier = self.config.classifier
        if classifier is None:
            weights = head_path(self.config.head)
            if read_ner_card(weights).encoder.name != NAME:
                return Usem3()
            own = weights.with_name(WEIGHTS.name)  # a head may have been trained with a network of its own
            return Usem3Names(own if own.is_file() else None)
        return Classifier(classifier.loading(), context.models, context.threads)

    def _characters(self) -> int:
        if self.config.max_characters is not None:
            return self.config.max_characters
        if self.config.classifier is not None:
            return MOST_CHARACTERS
        return read_ner_card(head_path(self.config.head)).encoder.max_characters


def _check_encoder(card: NerCard, encoder: Encoder) -> None:
    """E508 unless the head was trained on that encoder."""
    wanted, found = card.encoder, checksum(encoder.files())
    if (wanted.name, wanted.checksum) != (encoder.name, found):
        raise _other_encoder(card, encoder.name, found)


def _other_encoder(card: NerCard, name: str, found: str) -> CurateError:
    return error(
        "E508",
        f"the head '{card.name}' was made for the encoder {card.encoder.name} ({card.encoder.checksum[:12]}), not for "
        f"{name} ({found[:12]})",
        help=f"install the version of {name} that the head was trained on, or train it anew",
    )


STAGE = NerRelevance
