"""Embeddings of labelled texts, of those that the encoder can judge.

A text in a language that the encoder was not trained on, or in which its tokenizer finds nothing, would be no score when a
run meets it, so it teaches nothing and is measured by nothing here: it is left out and counted.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.models import models_folder
from filters.encoders.cache import recipe_of, snapshot
from filters.encoders.encoder import Encoded, Encoder, known
from filters.encoders.options import Options, make_encoder
from filters.encoders.vectors import shared
from filters.heads.training.labels import Labels

#: Texts whose vectors become a shard of the cache: a kill costs no more than these.
_SHARD: Final = 8192


@dataclass(frozen=True)
class Embedded:
    """labels: of the texts that are left; vectors: float64[n, dimensions]. unknown: texts left out for their language;
    empty: for having no tokens; not_finite: for vectors that are none."""

    labels: Labels
    vectors: npt.NDArray[np.float64]
    unknown: int
    empty: int
    not_finite: int


def encoder_of(options: Options) -> Encoder:
    """The encoder of a recipe, not opened, with all of this machine's cores."""
    return make_encoder(options, models_folder(), len(os.sched_getaffinity(0)))


def embed(labels: Labels, encoder: Encoder, max_characters: int, cache: Path | None = None) -> Embedded:
    """encoder: not opened. cache: a folder as runs use it; vectors are rounded to float16 then, as every run's are."""
    understood = known(encoder, labels.languages, len(labels.texts))
    rest = labels.take(understood)
    if cache is None:
        encoder.open()
        encoded = encoder.encode(rest.texts, max_characters)
    else:
        encoded = _kept(rest.texts, encoder, max_characters, cache)
    read = encoded.n_tokens > 0
    finite = np.isfinite(encoded.embeddings).all(axis=1)
    return Embedded(
        rest.take(read & finite),
        encoded.embeddings[read & finite].astype(np.float64),
        int((~understood).sum()),
        int((~read).sum()),
        int((read & ~finite).sum()),
    )


def _kept(texts: pa.StringArray, encoder: Encoder, max_characters: int, cache: Path) -> Encoded:
    names = snapshot(recipe_of(encoder, max_characters).folder(cache))
    vectors = shared(encoder, max_characters, cache, names)
    parts = []
    for first in range(0, max(1, len(texts)), _SHARD):
        vectors.begin()
        parts.append(vectors.encode(texts[first : first + _SHARD], Counter()))
        vectors.finish()
    return Encoded(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
