"""Batches of a budget of tokens, sorted by length, tokenised ahead of the model, halved where memory runs out.

    texts of a window → longest first → tokens (a thread of its own) → batches → the model → vectors, in the texts' order

A window is a batch of documents, which begins where a shard begins: which texts go through the model together depends on
the texts alone, never on tasks or workers. Texts of like length stand together, so that padding costs little and long ones
fail first, if they do.

    padded    rows × longest row ≤ budget
    packed    all tokens ≤ budget

While the model works on one batch, the thread cuts the next texts, and one finished batch is being fetched. Cutting begins
when a window is made (`Window`), before its turn at the model comes: with two threads of a worker the model goes from one
window to the next without waiting. A batch that
does not fit in memory is halved, down to one text; if that does not fit either, it is E509. The budget of the rest of the
window is lowered to what did fit.

What is equal: a batch of the same texts gives the same bits on the same device and library. In another company a text's
vector differs by rounding (about 1e-6 in float32, 1e-2 in bfloat16).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.errors import error
from filters.encoders.encoder import Encoded, first_characters
from filters.encoders.meter import Meter
from filters.encoders.tokens import Int32s, Tokenizer

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]

#: Bytes of text to a token, guessed high, and batches that are cut at a time: so much text is tokenised together.
_TOKEN_BYTES: Final = 4
_BATCHES_AHEAD: Final = 4


class Batch(NamedTuple):
    """Texts that go through the model together, longest first.

    rows: int64[n], which texts of the window. tokens: int32[total], one text behind the other. lengths: int64[n].
    """

    rows: Int64s
    tokens: Int32s
    lengths: Int64s

    def halves(self) -> tuple[Batch, Batch]:
        middle = len(self.rows) // 2
        at = int(self.lengths[:middle].sum())
        return (
            Batch(self.rows[:middle], self.tokens[:at], self.lengths[:middle]),
            Batch(self.rows[middle:], self.tokens[at:], self.lengths[middle:]),
        )

    def padded(self, filler: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokens and mask, int64[n, longest], filled up on the right."""
        mask = np.arange(int(self.lengths.max())) < self.lengths[:, None]
        tokens = np.full(mask.shape, filler, np.int64)
        tokens[mask] = self.tokens
        return tokens, mask.astype(np.int64)


class Forward(NamedTuple):
    """A model. start: begins a batch and returns what waits for its float32[n, dimensions]. too_large: exceptions that mean
    that the batch does not fit in memory. recover: called before smaller ones are tried. meter: gets tokens, and seconds if
    the model computes here; a device's are told by who waits for it.
    """

    start: Callable[[Batch], Callable[[], Float32s]]
    too_large: tuple[type[BaseException], ...]
    recover: Callable[[], None]
    meter: Meter
    here: bool = True


class _Cut(NamedTuple):
    """Texts that were tokenised together: their rows, tokens, and whether a part was left out."""

    rows: Int64s
    ids: list[Int32s]
    truncated: npt.NDArray[np.bool_]


class Window:
    """Texts whose first tokens are being cut; `encode`, once, gives them to the model."""

    def __init__(self, texts: pa.StringArray, max_characters: int, tokenizer: Tokenizer, budget: int) -> None:
        self._texts, self._truncated = first_characters(texts, max_characters)
        self._budget = budget
        self._cuts = _Cuts(self._texts, tokenizer, budget)

    def encode(self, forward: Forward, *, padded: bool, dimensions: int, name: str) -> Encoded:
        """Vectors of all texts, in their order; zero where there was nothing to read."""
        truncated = self._truncated
        vectors = np.zeros((len(self._texts), dimensions), np.float32)
        n_tokens = np.zeros(len(self._texts), np.int32)
        model = _Model(forward, self._budget, padded, vectors, name)
        with self._cuts as parts:
            for part in parts:
                truncated[part.rows] |= part.truncated
                lengths = np.array([len(ids) for ids in part.ids], np.int64)
                n_tokens[part.rows] = lengths
                order = np.argsort(-lengths, kind="stable")
                model.run(part.rows, part.ids, lengths, order[lengths[order] > 0])
        model.collect()
        return Encoded(vectors, n_tokens, truncated)


class _Model:
    """Gives the model its batches and puts the vectors where they belong; one batch is in flight."""

    def __init__(self, forward: Forward, budget: int, padded: bool, vectors: Float32s, name: str) -> None:
        self._forward = forward
        self._budget = budget
        self._padded = padded
        self._vectors = vectors
        self._name = name
        self._waiting: tuple[Batch, Callable[[], Float32s]] | None = None

    def run(self, rows: Int64s, ids: list[Int32s], lengths: Int64s, order: Int64s) -> None:
        """order: of the texts with tokens, longest first."""
        first = 0
        while first < len(order):
            here = order[first:]
            sizes = (
                lengths[here[0]] * np.arange(1, len(here) + 1) if self._padded else np.cumsum(lengths[here])
            )
            count = max(1, int(np.searchsorted(sizes, self._budget, "right")))
            taken = here[:count]
            self._start(Batch(rows[taken], np.concatenate([ids[at] for at in taken]), lengths[taken]))
            first += count

    def collect(self) -> None:
        if self._waiting is not None:
            batch, fetch = self._waiting
            self._waiting = None
            with self._computing():
                self._vectors[batch.rows] = fetch()
            self._forward.meter.add(len(batch.tokens))

    def _computing(self) -> AbstractContextManager[None]:
        return self._forward.meter.computing() if self._forward.here else nullcontext()

    def _begun(self, batch: Batch) -> Callable[[], Float32s] | None:
        """What waits for the batch; None if it does not fit and can be halved. The exception has gone by then: its traceback
        holds the tensors of the layers, and their memory could not be given back before."""
        try:
            with self._computing():
                return self._forward.start(batch)
        except self._forward.too_large as cause:
            if len(batch.rows) > 1:
                return None
            raise error(
                "E509",
                f"{self._name} runs out of memory on one text of {batch.lengths[0]:,} tokens",
                help="lower `max_tokens`, use a smaller dtype, or a device with more memory",
            ) from cause

    def _start(self, batch: Batch) -> None:
        todo = [batch]
        while todo:
            part = todo.pop()
            fetch = self._begun(part)
            if fetch is None:
                self.collect()
                self._forward.recover()
                one, other = part.halves()
                size = len(one.rows) * int(one.lengths[0]) if self._padded else len(one.tokens)
                self._budget = min(self._budget, max(size, 1))
                todo += [other, one]
                continue
            self.collect()
            self._waiting = (part, fetch)


class _Cuts:
    """The texts as tokens, longest first, a few batches at a time; the next are cut while the caller uses the last. The
    first
    are begun at once; entering it promises that the thread ends."""

    def __init__(self, texts: pa.StringArray, tokenizer: Tokenizer, budget: int) -> None:
        self._texts, self._tokenizer = texts, tokenizer
        self._parts = deque(_parts(texts, budget * _TOKEN_BYTES * _BATCHES_AHEAD))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        self._coming = self._next()

    def _next(self) -> Future[_Cut] | None:
        return self._thread.submit(self._cut, self._parts.popleft()) if self._parts else None

    def _cut(self, rows: Int64s) -> _Cut:
        return _Cut(rows, *self._tokenizer.encode(self._texts.take(pa.array(rows)).to_pylist()))

    def __enter__(self) -> Iterator[_Cut]:
        return self._made()

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _made(self) -> Iterator[_Cut]:
        while self._coming is not None:
            made = self._coming.result()
            self._coming = self._next()
            yield made


def _parts(texts: pa.StringArray, step: int) -> list[Int64s]:
    """Rows of the texts, longest first, cut where so many bytes are together."""
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(-sizes, kind="stable")
    ends = np.cumsum(np.maximum(sizes[order], 1))
    parts: list[Int64s] = []
    first = 0
    while first < len(order):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + step, "right")))
        parts.append(order[first:last])
        first = last
    return parts
