"""Count what capitals, digits and punctuation say of the names in a text, from its tokens: nothing else is read.

In: the tokens of the text, and its languages if a step has identified them. Out, per document, or with
`over: passages__spans` per passage (`filters.ner.surface`):

    words_count           int32     words of letters
    sentences_count       int32
    capitalised_count     int32     words that begin with a capital inside a sentence
    distinct_count        int32     different ones of these
    sequences_count       int32     of two capitalised words and more
    all_capitals_count    int32     words of two capitals and more
    numbers_count         int32     tokens of digits
    marks_count           int32     punctuation and symbols
    cased_frac            float32   words in a script that has capitals; null without words
    score                 float32   1 to 4: how rich in names it is, by capitals alone, among texts of its language

The score orders candidates that an encoder or a teacher then looks at: it costs next to nothing, orders languages that
capitalise names only well, German badly, and says nothing of scripts without capitals (benchmarks/ner.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from curate.core.batch import UNICODE, DocBatch
from curate.core.stage import Annotator, Context, StageConfig
from filters.ner.relevance_head import NerHead, head_path, read_ner_head, shares
from filters.ner.surface import COUNTS, surface

#: The head whose surface weights and centres make the score.
HEAD: Final = "ner-usem3"
_PUBLISHED: Final = (
    "words", "sentences", "capitalised", "distinct", "sequences", "all_capitals", "numbers", "marks",
)  # fmt: skip


class NerSurfaceConfig(StageConfig):
    """It has no options."""


class NerSurface(Annotator[NerSurfaceConfig]):
    """Counts capitals, digits and punctuation."""

    Config = NerSurfaceConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: NerSurfaceConfig) -> None:
        self.config = config
        self._head: NerHead | None = None

    def reads(self) -> frozenset[str]:
        return frozenset({"text"})

    def writes(self) -> Mapping[str, pa.DataType]:
        counts = {f"{name}_count": pa.int32() for name in _PUBLISHED}
        return {**counts, "cased_frac": pa.float32(), "score": pa.float32()}

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        weights = head_path(HEAD)
        return {"head": weights, "card": weights.with_suffix(".json")}

    def open(self, context: Context) -> None:
        self._head = read_ner_head(head_path(HEAD))

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        assert self._head is not None
        counts = surface(batch.tokens, runs=batch.words == UNICODE)
        columns = {f"{name}_count": pa.array(counts[:, COUNTS.index(name)].copy()) for name in _PUBLISHED}
        words = counts[:, COUNTS.index("words")]
        cased = counts[:, COUNTS.index("cased")] / np.maximum(words, 1)
        scores = self._head.score(shares(counts), batch.languages, None)
        return {
            **columns,
            "cased_frac": pa.array(cased.astype(np.float32), mask=words == 0),
            "score": pa.array(scores.score),
        }


STAGE = NerSurface
