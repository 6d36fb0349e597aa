"""Embeddings of labelled texts, of those that the encoder can judge.

A text in a language that the encoder was not trained on, or in which its tokenizer finds nothing, would be no score when a
run meets it, so it teaches nothing and is measured by nothing here: it is left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.encoders.encoder import Encoder
from filters.heads.training.labels import Labels


@dataclass(frozen=True)
class Embedded:
    """labels: of the texts that are left; vectors: float64[n, dimensions]. unknown: texts left out for their language;
    empty: for having no tokens."""

    labels: Labels
    vectors: npt.NDArray[np.float64]
    unknown: int
    empty: int


def embed(labels: Labels, encoder: Encoder, max_characters: int) -> Embedded:
    """encoder: opened."""
    known = np.ones(len(labels.texts), np.bool_)
    if labels.languages is not None and encoder.languages is not None:
        among = pc.is_in(labels.languages, pa.array(sorted(encoder.languages)))
        known = among.to_numpy(zero_copy_only=False)
    rest = labels.take(known)
    encoded = encoder.encode(rest.texts, max_characters)
    found = encoded.n_tokens > 0
    return Embedded(
        rest.take(found),
        encoded.embeddings[found].astype(np.float64),
        int((~known).sum()),
        int((~found).sum()),
    )
