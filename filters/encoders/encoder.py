"""What an encoder is: texts in, one vector each out. A head (`filters.heads`) makes scores of the vectors.

embeddings   float32[n, dimensions]   of length 1
n_tokens     int32[n]                 tokens that were read, marks of beginning and end included; 0: there was
                                      nothing to read, and the vector is zero
truncated    bool[n]                  whether a part of the text was not read
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.models import sha256
from filters.encoders.meter import Meter

#: Characters of a text that are read at most: a tokenizer holds a text several times over.
MOST_CHARACTERS: Final = 1 << 16


#: What decides an encoder's vectors beside its files, by name: pooling, prefix.
Settings = Mapping[str, str | int | bool]


class Encoded(NamedTuple):
    """What an encoder makes of texts, row for row."""

    embeddings: npt.NDArray[np.float32]
    n_tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]


class Encoder(Protocol):
    """A frozen model. Cheap to make; `open` loads it, once per process.

    name: of the model, wherever it lies. dimensions: of a vector; known once its files are there. max_tokens: it reads no
    more. languages: those it was trained on, None if it does not say. libraries: modules whose version decides its output.
    settings: what decides the vectors beside the files. meter: what it has done, told by itself.
    """

    @property
    def name(self) -> str: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def languages(self) -> frozenset[str] | None: ...
    @property
    def libraries(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def meter(self) -> Meter: ...

    def files(self) -> Mapping[str, Path]:
        """The files that decide its output, by role; E502 or E504 if they are not there."""
        ...

    def memory_gb(self) -> float: ...

    def open(self) -> None:
        """Load it; E507 if its files are damaged."""
        ...

    def encode(self, texts: pa.StringArray, max_characters: int) -> Encoded:
        """texts: without nulls; of each the first max_characters ≤ MOST_CHARACTERS are read."""
        ...


def known(encoder: Encoder, languages: pa.Array | None, rows: int) -> npt.NDArray[np.bool_]:
    """bool[rows]: whether the encoder was trained on the text's language; all, where nobody says languages."""
    if languages is None or encoder.languages is None:
        return np.ones(rows, np.bool_)
    among: npt.NDArray[np.bool_] = pc.is_in(languages, pa.array(sorted(encoder.languages))).to_numpy(
        zero_copy_only=False
    )
    return among


def checksum(files: Mapping[str, Path]) -> str:
    """SHA-256 over the SHA-256 of an encoder's files, by which a head knows the encoder it was trained on."""
    lines = [f"{role} {sha256(path)}\n" for role, path in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def first_characters(texts: pa.StringArray, most: int) -> tuple[pa.StringArray, npt.NDArray[Any]]:
    """The first characters of each text, and bool[rows]: whether that is not all of it."""
    cut = pc.utf8_slice_codeunits(texts, 0, most)
    shorter = pc.less(pc.binary_length(cut), pc.binary_length(texts))
    return cut, shorter.to_numpy(zero_copy_only=False)
