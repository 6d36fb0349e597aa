"""What steps with an encoder have in common: its languages, its vectors and where these are kept, from unit to unit.

In: the text, and the languages of the batch if a step has identified them. A subclass opens `_encoder` and `_vectors` and
makes columns of vectors. The counts of a unit are texts `encoded`, `reused`, `cached`, `not_cached`
(`filters.encoders.vectors`); what the encoder did is told with its name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, StringConstraints

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.stage import Annotator, Context, StageConfig, Work
from filters.encoders.encoder import Encoder, known

if TYPE_CHECKING:
    from filters.encoders.vectors import Vectors

C = TypeVar("C", bound=StageConfig)
CacheOption = Annotated[str, StringConstraints(min_length=1)] | bool
#: The option `cache` of these steps.
CACHE: Final[Any] = Field(
    True,
    description="Where vectors are kept: in the run folder (true), in a folder that runs share, or nowhere (false).",
)


class EncodingStep(Annotator[C]):
    """A step with an encoder. A subclass says which, and what becomes of its vectors."""

    def __init__(self, config: C) -> None:
        self.config = config
        self._counts: Counter[str] = Counter()
        self._encoder: Encoder | None = None
        self._vectors: Vectors | None = None

    @abstractmethod
    def cache_option(self) -> str | bool:
        """A folder, or whether the run's own is used."""
        ...

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def begin(self) -> None:
        assert self._vectors is not None
        self._counts.clear()
        self._vectors.begin()
        self._vectors.worked()  # of a unit that was not finished

    def finish(self) -> Mapping[str, int]:
        assert self._vectors is not None
        return {name: n for name, n in (*self._counts.items(), *self._vectors.finish().items()) if n}

    def worked(self) -> Mapping[str, Work]:
        assert self._vectors is not None
        return self._vectors.worked()

    def _known(self, batch: DocBatch) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether the encoder knows the document's language; all, where no step identifies languages."""
        assert self._encoder is not None
        return known(self._encoder, batch.languages, batch.num_rows)

    def _cache(self, context: Context) -> Path | None:
        """The folder under which vectors are kept."""
        option = self.cache_option()
        if isinstance(option, str):
            return Path(option)
        return context.cache if option else None
