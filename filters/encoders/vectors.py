"""Vectors of texts, encoded once: within a batch, between the steps of a pass, and from run to run.

    texts → keys of what is read → made in this unit? → in the cache? → else the encoder → rounded to float16

Every vector that a head sees has been rounded to float16 and back, whether it comes from the cache, from the step before or
from the encoder just now: a run that finds everything and a run that finds nothing give equal scores, if the encoder
gives equal vectors. Rounding moves a value of a unit vector by at most 2⁻¹¹ of itself, or
2⁻²⁵ where it is below 2⁻¹⁴.

Steps of one process share encoders and vectors by recipe and cache (`shared`), so two heads on one encoder encode once.
Batches may come from several threads: looking up and keeping take turns, and encoding does too unless the encoder is
`CONCURRENT`, which says that a vector depends on nothing but its text. Of such a one everything is found that the unit has
made so far. Of others, whose vectors depend by rounding on the texts beside them, only what was made of the same batch for
another step: what else is there yet depends on the threads. So what is encoded together follows from the shard and the
snapshot; what was made in a unit is forgotten when the next one begins.

A unit's new vectors become a shard when it ends. Where that cannot be written (a full disk, a folder of somebody else) the
work goes on, and `not_cached` counts the texts. Vectors that are not finite are never kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock, local
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.stage import Work
from curate.core.text.content import prefix_keys
from filters.encoders.cache import Index, Recipe, Snapshot, recipe_of, write_recipe
from filters.encoders.encoder import Encoded, Encoder, first_characters
from filters.encoders.shards import Keys, Rows, ShardWriter

Mask = npt.NDArray[np.bool_]

#: Bytes of vectors of the unit at work that are held for other steps of the pass; at least those of two calls are.
_HELD_BYTES: Final = 64_000_000

_SHARED: dict[tuple[str, Path | None, tuple[str, ...]], Vectors] = {}
_ENCODERS: dict[str, tuple[Encoder, AbstractContextManager[Any]]] = {}


def shared(encoder: Encoder, max_characters: int, base: Path | None, names: Sequence[str]) -> Vectors:
    """The process's vectors of that encoder; it is opened unless one like it is. base: of the cache; names: the snapshot."""
    recipe = recipe_of(encoder, max_characters)
    folder = recipe.folder(base) if base is not None else None
    key = (recipe.to_json(), folder, tuple(names))
    if key not in _SHARED:
        alike = recipe_of(encoder, 0).to_json()
        if alike not in _ENCODERS:
            encoder.open()
            _ENCODERS[alike] = encoder, _turns(encoder)
        opened, turn = _ENCODERS[alike]
        _SHARED[key] = Vectors(opened, recipe, folder, names, turn)
    return _SHARED[key]


def _turns(encoder: Encoder) -> AbstractContextManager[Any]:
    """What is held while an encoder works: it is one model, whoever's vectors it makes."""
    return nullcontext() if getattr(encoder, "CONCURRENT", False) else Lock()


class Vectors:
    """An encoder with what it has made. folder: of its recipe in the cache, None for none. turn: held while it encodes."""

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        folder: Path | None,
        names: Sequence[str] = (),
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._folder = folder
        self._snapshot = Snapshot(folder, names, recipe.dimensions) if folder is not None and names else None
        self._state = Lock()
        self._concurrent = bool(getattr(encoder, "CONCURRENT", False))
        self._turn = turn if turn is not None else _turns(encoder)
        self._made: list[tuple[Index, Rows]] = []
        self._thread = local()
        self._unit = 0
        self._writer: ShardWriter | None = None
        self._writable = folder is not None
        self._lost = self._written = 0

    def begin(self) -> None:
        """A unit begins; what another one left unfinished is forgotten."""
        if self._writer is not None:
            self._writer.discard()
        self._made, self._writer, self._writable = [], None, self._folder is not None
        self._lost = self._written = 0
        self._unit += 1

    def finish(self) -> Mapping[str, int]:
        """The unit ends: what it made is committed. Counts `cached` and `not_cached` texts, to whoever asks first."""
        if self._writer is not None:
            try:
                self._writer.commit()
            except (OSError, pa.ArrowException):
                self._lose(0)
        counts = {"cached": self._written, "not_cached": self._lost}
        self._writer = None
        self.begin()
        return {name: number for name, number in counts.items() if number}

    def encode(self, texts: pa.StringArray, counts: Counter[str]) -> Encoded:
        """Row for row, as `Encoder.encode`, rounded to float16. counts: the caller's own, gets texts `encoded`, `reused`."""
        keys, cut = prefix_keys(texts, self._recipe.max_characters)
        first, place = _distinct(keys)
        rows = _empty(keys[first], self._recipe.dimensions)
        have = np.zeros(len(first), np.bool_)
        memory = self._memory(counts)
        with self._state:
            for index, made in reversed(memory):
                _look_up(index, made, rows, have)
            if self._snapshot is not None:
                _within(self._snapshot, rows, have)
            missing = np.flatnonzero(~have)
            counts["reused"] += len(have) - len(missing)
            counts["encoded"] += len(missing)
        if len(missing):
            self._make(texts.take(pa.array(first[missing])), rows, missing, memory)
        vectors = rows.vectors.astype(np.float32)
        if len(first) == len(keys):
            return Encoded(vectors, rows.n_tokens, rows.truncated | cut)
        return Encoded(vectors[place], rows.n_tokens[place], rows.truncated[place] | cut)

    def worked(self) -> dict[str, Work]:
        """The encoder's name → what it did since somebody asked last, for whoever's vectors."""
        return {self._encoder.name: self._encoder.meter.take()}

    def _memory(self, caller: Counter[str]) -> list[tuple[Index, Rows]]:
        """What may be found beside the snapshot: of the unit, or of the batch that this thread is at. Where a caller comes
        for the second time, the next batch has begun."""
        if self._concurrent:
            return self._made
        mine = self._thread
        if getattr(mine, "unit", None) != self._unit or id(caller) in mine.callers:
            mine.unit, mine.callers, mine.made = self._unit, set(), []
        mine.callers.add(id(caller))
        made: list[tuple[Index, Rows]] = mine.made
        return made

    def _make(
        self,
        texts: pa.StringArray,
        into: Rows,
        at: npt.NDArray[np.int64],
        memory: list[tuple[Index, Rows]],
    ) -> None:
        """Encode texts, put them into rows `at`, and keep them."""
        most = self._recipe.max_characters
        shown = first_characters(texts, most)[0]
        begin = getattr(self._encoder, "begin", None)  # tokens are cut before the model's turn comes
        encode = begin(shown, most) if begin is not None else partial(self._encoder.encode, shown, most)
        with self._turn:
            encoded = encode()
        with np.errstate(over="ignore"):  # beyond 65,504 it is infinite, and the row is refused
            vectors = encoded.embeddings.astype(np.float16)
        made = Rows(into.keys[at], encoded.n_tokens, encoded.truncated, vectors)
        into.put(at, made)
        finite = np.isfinite(made.vectors).all(axis=1)
        if not finite.all():
            made = made.part(finite)
        if len(made.keys) == 0:
            return
        with self._state:
            self._remember(made, memory)

    def _remember(self, made: Rows, memory: list[tuple[Index, Rows]]) -> None:
        """For other steps and batches of the unit, and for the cache; once, if two threads made the same text at once."""
        if self._concurrent:
            made = made.part(~_known(made.keys, memory))
            if len(made.keys) == 0:
                return
        memory.append((Index(made.keys, np.arange(len(made.keys))), made))
        while len(memory) > 2 and sum(rows.vectors.nbytes for _, rows in memory) > _HELD_BYTES:
            memory.pop(0)
        self._keep(made)

    def _keep(self, made: Rows) -> None:
        if not self._writable:
            self._lost += len(made.keys) if self._folder is not None else 0
            return
        assert self._folder is not None
        try:
            if self._writer is None:
                write_recipe(self._recipe, self._folder)
                self._writer = ShardWriter(self._folder, self._recipe.dimensions)
            self._writer.append(made)
            self._written += len(made.keys)
        except (OSError, pa.ArrowException):
            self._lose(len(made.keys))

    def _lose(self, more: int) -> None:
        """The cache cannot be written: this unit keeps nothing."""
        if self._writer is not None:
            self._writer.discard()
        self._lost, self._written = self._lost + self._written + more, 0
        self._writer, self._writable = None, False


def _known(keys: Keys, memory: Sequence[tuple[Index, Rows]]) -> Mask:
    """bool[keys]: whether their texts are there already."""
    known = np.zeros(len(keys), np.bool_)
    for index, rows in memory:
        places = index.find(keys)
        found = np.flatnonzero(places >= 0)
        known[found[rows.keys[places[found], 1] == keys[found, 1]]] = True
    return known


def _distinct(keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first row of each different key, and for each row its number among these."""
    _, first, place = np.unique(keys[:, 0], return_index=True, return_inverse=True)
    collided = not (keys[first[place], 1] == keys[:, 1]).all()  # two keys with one upper half
    if collided or len(first) == len(keys):
        rows = np.arange(len(keys))
        return rows, rows
    order = np.argsort(first)  # so that they come in the order of the texts
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[place]


def _empty(keys: Keys, dimensions: int) -> Rows:
    count = len(keys)
    return Rows(
        keys, np.zeros(count, np.int32), np.zeros(count, np.bool_), np.zeros((count, dimensions), np.float16)
    )


def _look_up(index: Index, made: Rows, rows: Rows, have: Mask) -> None:
    """Rows that are missing and were made before; `have` says afterwards that they are there."""
    missing = np.flatnonzero(~have)
    places = index.find(rows.keys[missing])
    found = np.flatnonzero(places >= 0)
    found = found[made.keys[places[found], 1] == rows.keys[missing[found], 1]]
    rows.put(missing[found], made.part(places[found]))
    have[missing[found]] = True


def _within(snapshot: Snapshot, rows: Rows, have: Mask) -> None:
    """The same from the cache."""
    missing = np.flatnonzero(~have)
    if len(missing) == len(have):
        have[:] = snapshot.find(rows.keys, rows)
    elif len(missing):
        part = _empty(rows.keys[missing], rows.vectors.shape[1])
        found = snapshot.find(part.keys, part)
        rows.put(missing[found], part.part(found))
        have[missing[found]] = True
