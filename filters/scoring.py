"""What the steps that score have in common: one encoder, any number of heads, and what becomes of texts without a score.

In: the text, and the languages of the batch if a step has identified them. Out, per document:

    <head>        float32[n]   what each head says; nan where there is no score
    scored        bool[n]      whether there was something to read, in a language that the encoder knows
    n_tokens      int32[n]     tokens that the encoder read; 0 where not scored
    truncated     bool[n]      whether a part of the text was not read
    failed        object[n]    why the encoder or a head gave no number, else None: these rows go to the quarantine
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StringConstraints

from curate.core.batch import DocBatch
from curate.core.errors import CurateError, Problem
from curate.core.libraries import library_files
from curate.core.stage import Context, StageConfig
from filters.encoders.cache import recipe_of, snapshot
from filters.encoders.encoder import Encoder, checksum
from filters.heads.card import card_path, check_encoder, read_card
from filters.heads.head import Head, read_head


class Scores(NamedTuple):
    """See the module's story."""

    values: dict[str, npt.NDArray[np.float32]]
    scored: npt.NDArray[np.bool_]
    n_tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.object_]

    def columns(self) -> dict[str, pa.Array]:
        """The heads' columns, `scored`, `n_tokens`, `truncated`; null where there is no score."""
        out: dict[str, pa.Array] = {
            name: pa.array(value, mask=np.isnan(value)) for name, value in self.values.items()
        }
        out["scored"] = pa.array(self.scored)
        out["n_tokens"] = pa.array(self.n_tokens, mask=~self.scored)
        out["truncated"] = pa.array(self.truncated, mask=~self.scored)
        return out


def score_columns(heads: Mapping[str, object]) -> dict[str, pa.DataType]:
    """The columns of `Scores.columns` and their types."""
    return {
        **dict.fromkeys(heads, pa.float32()),
        "scored": pa.bool_(),
        "n_tokens": pa.int32(),
        "truncated": pa.bool_(),
    }


def scoring_files(encoder: Encoder, heads: Mapping[str, Path]) -> dict[str, Path]:
    """Every file that decides a score, by role. All that is missing is one error; E508 if a head is not the encoder's.

    heads: column → weights; a single one has the roles `head` and `card`, several `head/<column>` and `card/<column>`.
    """
    faults: list[Problem] = []
    files: dict[str, Path] = {}
    try:
        files |= encoder.files()
    except CurateError as cause:
        faults += cause.problems
    for column, weights in heads.items():
        try:
            card = read_card(weights)
            if not faults:
                check_encoder(card, encoder.name, checksum(encoder.files()), encoder.settings)
        except CurateError as cause:
            faults += cause.problems
        end = "" if len(heads) == 1 else f"/{column}"
        files |= {f"head{end}": weights, f"card{end}": card_path(weights)}
    if faults:
        raise CurateError(faults)
    return files | library_files(*encoder.libraries)


Cache = Annotated[str, StringConstraints(min_length=1)] | bool
CACHE: Final = (
    "Where vectors are kept: in the run folder (true), in a folder that runs share, or nowhere (false)."
)


class CacheOption(StageConfig):
    """The option of every step that scores that says where embeddings are kept."""

    LOCATIONS: ClassVar[tuple[str, ...]] = ("cache",)

    cache: Cache = Field(True, description=CACHE)

    def folder(self, context: Context) -> Path | None:
        """Under which embeddings are kept, None for nowhere."""
        if isinstance(self.cache, str):
            return Path(self.cache)
        return context.cache if self.cache else None


def scoring_snapshot(
    encoder: Encoder, heads: Mapping[str, Path], max_characters: int | None, base: Path | None
) -> tuple[str, ...]:
    """Names of what is in the cache now. base: its folder."""
    if base is None:
        return ()
    most = max_characters or max(read_card(w).encoder.max_characters for w in heads.values())
    return snapshot(recipe_of(encoder, most).folder(base))


class Scorer:
    """An encoder and its heads, opened; `begin` and `finish` stand around a unit."""

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, Path],
        max_characters: int | None,
        base: Path | None,
        names: tuple[str, ...],
    ) -> None:
        """heads: column → weights. E508 if one was made for another encoder.

        max_characters: read of each text; None: as many as the heads were shown at most. base: folder of the cache, None for
        none; names: its snapshot.
        """
        from filters.encoders.vectors import shared  # it brings kernels

        found = checksum(encoder.files())
        self.encoder = encoder
        self.heads: dict[str, Head] = {}
        for column, weights in heads.items():
            head = read_head(weights)
            check_encoder(head.card, encoder.name, found, encoder.settings)
            self.heads[column] = head
        most = max_characters or max(head.card.encoder.max_characters for head in self.heads.values())
        self._vectors = shared(encoder, most, base, names)
        self._counts: Counter[str] = Counter()

    def begin(self) -> None:
        self._counts.clear()
        self._vectors.begin()

    def finish(self) -> Mapping[str, int]:
        """Counts of the unit: texts `encoded`, `reused`, `cached`, `not_cached`."""
        return {name: n for name, n in (*self._counts.items(), *self._vectors.finish().items()) if n}

    def score(self, batch: DocBatch) -> Scores:
        rows = batch.num_rows
        known = self._known(batch)
        encoded = self._vectors.encode(batch.text.filter(pa.array(known)), self._counts)
        found = encoded.n_tokens > 0
        at = np.flatnonzero(known)[found]
        vectors = encoded.embeddings[found]
        scored = np.zeros(rows, np.bool_)
        scored[at] = True
        n_tokens = np.zeros(rows, np.int32)
        n_tokens[at] = encoded.n_tokens[found]
        truncated = np.zeros(rows, np.bool_)
        truncated[at] = encoded.truncated[found]
        failed = np.full(rows, None, object)
        values = {}
        for column, head in self.heads.items():
            made = head.score(vectors)
            finite = np.isfinite(made)
            failed[at[~finite]] = f"the head {head.card.name} gives no number"
            value = np.full(rows, np.nan, np.float32)
            value[at[finite]] = made[finite]
            values[column] = value
        broken = ~np.isfinite(vectors).all(axis=1)
        failed[at[broken]] = f"the encoder {self.encoder.name} gives no number"
        return Scores(values, scored, n_tokens, truncated, failed)

    def _known(self, batch: DocBatch) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether the encoder knows the document's language; all, where no step identifies languages."""
        if batch.languages is None or self.encoder.languages is None:
            return np.ones(batch.num_rows, np.bool_)
        among = pc.is_in(batch.languages, pa.array(sorted(self.encoder.languages)))
        return among.to_numpy(zero_copy_only=False)
