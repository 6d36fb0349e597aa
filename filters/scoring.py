"""What the steps that score have in common: one encoder, any number of heads, and what becomes of texts without a score.

In: the text, and the languages of the batch if a step has identified them. Out, per document:

    <head>        float32[n]   what each head says; nan where there is no score
    scored        bool[n]      whether there was something to read, in a language that the encoder knows
    n_tokens      int32[n]     tokens that the encoder read; 0 where not scored
    truncated     bool[n]      whether a part of the text was not read
    failed        object[n]    why the encoder or a head gave no number, else None: these rows go to the quarantine

Heads read vectors rounded to float16, from the cache or made just now (`filters.encoders.vectors`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.errors import CurateError, Problem
from curate.core.libraries import library_files
from curate.core.stage import Context, Resources, StageConfig
from filters.encoders.cache import recipe_of, snapshot
from filters.encoders.encoder import checksum
from filters.encoders.options import Options, described, make_encoder
from filters.encoders.step import EncodingStep
from filters.heads.card import card_path, check_encoder, read_card
from filters.heads.head import Head, read_head

if TYPE_CHECKING:
    pass

C = TypeVar("C", bound=StageConfig)


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


class ScoringStep(EncodingStep[C]):
    """A step with an encoder and heads. A subclass says which, and what columns become of `score`."""

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self._heads: dict[str, Head] = {}

    @abstractmethod
    def encoder_options(self) -> Options: ...

    @abstractmethod
    def head_files(self, context: Context) -> Mapping[str, Path]:
        """Column → weights; an error if they are not there."""
        ...

    def max_characters(self) -> int | None:
        """Of a text that are read; None: as many as the heads were shown, which must then be the same for all."""
        return None

    def resources(self) -> Resources:
        options = self.encoder_options()
        gpus = int(getattr(options, "device", "cpu") == "cuda")
        return Resources(memory_gb=make_encoder(options).memory_gb(), gpus=gpus)

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        """Every file that decides a score. All that is missing is one error; E508 if a head is not the encoder's."""
        encoder = make_encoder(self.encoder_options(), context.models)
        faults: list[Problem] = []
        files: dict[str, Path] = {}
        heads: Mapping[str, Path] = {}
        try:
            files |= encoder.files()
        except CurateError as cause:
            faults += cause.problems
        try:
            heads = self.head_files(context)
        except CurateError as cause:
            faults += cause.problems
        shown: dict[str, int] = {}
        for column, weights in heads.items():
            try:
                card = read_card(weights)
                shown[column] = card.encoder.max_characters
                if files:
                    check_encoder(card, encoder.name, checksum(encoder.files()), encoder.settings)
            except CurateError as cause:
                faults += cause.problems
            end = "" if len(heads) == 1 else f"/{column}"
            files |= {f"head{end}": weights, f"card{end}": card_path(weights)}
        if self.max_characters() is None and len(set(shown.values())) > 1:
            told = ", ".join(f"{column} on {most:,}" for column, most in shown.items())
            what = f"the heads were trained on different numbers of characters: {told}"
            faults.append(Problem("C208", what, "set `max_characters`, or score in two steps"))
        if faults:
            raise CurateError(faults)
        return files | library_files(*encoder.libraries)

    def provenance(self) -> Mapping[str, str]:
        return described(self.encoder_options())

    def open(self, context: Context) -> None:
        from filters.encoders.vectors import shared  # it brings kernels

        encoder = make_encoder(self.encoder_options(), context.models, context.threads)
        found = checksum(encoder.files())
        self._heads = {column: read_head(weights) for column, weights in self.head_files(context).items()}
        for head in self._heads.values():
            check_encoder(head.card, encoder.name, found, encoder.settings)
        self._encoder = encoder
        most = self._characters(
            {column: head.card.encoder.max_characters for column, head in self._heads.items()}
        )
        self._vectors = shared(encoder, most, self._cache(context), context.snapshot)

    def snapshot(self, context: Context) -> tuple[str, ...]:
        base = self._cache(context)
        if base is None:
            return ()
        shown = {
            c: read_card(weights).encoder.max_characters for c, weights in self.head_files(context).items()
        }
        encoder = make_encoder(self.encoder_options(), context.models)
        return snapshot(recipe_of(encoder, self._characters(shown)).folder(base))

    def score(self, batch: DocBatch) -> Scores:
        assert self._vectors is not None
        assert self._encoder is not None
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
        for column, head in self._heads.items():
            made = head.score(vectors)
            finite = np.isfinite(made)
            failed[at[~finite]] = f"the head {head.card.name} gives no number"
            value = np.full(rows, np.nan, np.float32)
            value[at[finite]] = made[finite]
            values[column] = value
        broken = ~np.isfinite(vectors).all(axis=1)
        failed[at[broken]] = f"the encoder {self._encoder.name} gives no number"
        return Scores(values, scored, n_tokens, truncated, failed)

    def _characters(self, shown: Mapping[str, int]) -> int:
        return self.max_characters() or max(shown.values())
