"""A head: a small network in float32 that makes one score of an encoder's vector (JQL, arXiv 2505.22232, section 3).

In: float32[n, dimensions]. Out: float32[n]. A safetensors file holds, for layer i = 0, 1, …:

    <i>.weight   float32[outputs, inputs]    as torch.nn.Linear has it
    <i>.bias     float32[outputs]

with ReLU between layers (or tanh, if the card says so) and one output in the end; a single layer is a linear head. In
float32 throughout: JQL's bfloat16 makes scores steps of 1/64, and quantiles full of ties. Scores are what comes out, not cut
to the range of the labels.

Rows do not depend on each other (`filters.encoders.matrix`), so a score is a function of the text.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.core.errors import CurateError, error
from filters.heads.card import Card, read_card
from filters.heads.outputs import output_scores

Float32s = npt.NDArray[np.float32]
Layers = list[tuple[Float32s, Float32s]]
#: Vectors that go through the layers together: whole tiles of any kernel, so that they need not be copied.
_BLOCK: Final = 1152
#: Columns come in multiples of this; those that are added are zero.
_COLUMNS: Final = 32


class Head:
    """Weights and card; `score` applies it."""

    def __init__(self, card: Card, layers: Layers) -> None:
        from filters.encoders.matrix import packed

        self.card = card
        self._tanh = card.activation == "tanh"
        self._widths = [weight.shape[0] for weight, _ in layers]
        self._layers = [
            (packed(_filled(weight.T)), _filled(bias[None, :])[0], weight.shape[1]) for weight, bias in layers
        ]

    def score(self, vectors: Float32s) -> Float32s:
        """float32[n] for float32[n, dimensions]."""
        out = np.empty(len(vectors), np.float32)
        for first in range(0, len(vectors), _BLOCK):
            part = vectors[first : first + _BLOCK]
            out[first : first + len(part)] = self._apply(part)
        return out

    def _apply(self, vectors: Float32s) -> Float32s:
        from filters.encoders.matrix import multiply, padded

        rows = padded(len(vectors))
        values = np.ascontiguousarray(vectors, np.float32)
        if rows > len(vectors):
            values = np.concatenate([values, np.zeros((rows - len(vectors), vectors.shape[1]), np.float32)])
        for number, (panels, bias, depth) in enumerate(self._layers):
            made = np.empty((rows, len(bias)), np.float32)
            multiply(
                values.ctypes.data, values.shape[1], panels.ctypes.data, bias.ctypes.data, depth,
                made.ctypes.data, made.shape[1], rows, made.shape[1],
            )  # fmt: skip
            if number + 1 < len(self._layers):
                np.tanh(made, out=made) if self._tanh else np.maximum(made, 0, out=made)
            values = made
        return self._said(values[: len(vectors)])

    def _said(self, values: Float32s) -> Float32s:
        if self.card.output == "linear":
            return values[:, 0]
        wanted = values[:, : max(1, len(self.card.classes))]
        return output_scores(wanted, self.card.output, self.card.classes).astype(np.float32)


def read_head(weights: Path) -> Head:
    """A head from its files; E507 if they are damaged or do not fit together."""
    card = read_card(weights)
    try:
        data = weights.read_bytes()
    except OSError as cause:
        raise _unfit(weights, str(cause)) from cause
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise _unfit(weights, "its SHA-256 is not the one on its card")
    return Head(card, _checked(_tensors(data, weights), card, weights))


def write_head(layers: Layers, card: Card, folder: Path) -> Path:
    """Writes `<name>.safetensors` and its card into a folder, with the checksum of the weights; returns their path."""
    from safetensors.numpy import save

    weights = folder / f"{card.name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for number, (weight, bias) in enumerate(layers):
        tensors[f"{number}.weight"] = np.ascontiguousarray(weight, np.float32)
        tensors[f"{number}.bias"] = np.ascontiguousarray(bias, np.float32)
    data = save(tensors)
    weights.write_bytes(data)
    stated = card.model_copy(update={"weights_sha256": hashlib.sha256(data).hexdigest()})
    weights.with_suffix(".json").write_text(stated.to_json(), encoding="utf-8")
    return weights


def _tensors(data: bytes, weights: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError) as cause:
        raise _unfit(weights, str(cause)) from cause


def _checked(tensors: dict[str, Any], card: Card, weights: Path) -> Layers:
    """The layers, in order, as the card has them."""
    count = len(card.layers) - 1
    expected = {f"{i}.{part}" for i in range(count) for part in ("weight", "bias")}
    if tensors.keys() != expected:
        raise _unfit(weights, f"it holds {sorted(tensors)[:6]}, its card asks for {sorted(expected)[:6]}")
    layers: Layers = []
    for number in range(count):
        weight, bias = tensors[f"{number}.weight"], tensors[f"{number}.bias"]
        shape = (card.layers[number + 1], card.layers[number])
        if weight.shape != shape or bias.shape != shape[:1]:
            raise _unfit(
                weights, f"layer {number} is {weight.shape} with {bias.shape} biases, its card says {shape}"
            )
        if weight.dtype != np.float32 or bias.dtype != np.float32:
            raise _unfit(weights, f"layer {number} is {weight.dtype}, not float32")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise _unfit(weights, f"layer {number} has weights that are not finite")
        layers.append((weight, bias))
    wanted = len(card.classes) if card.output == "mean" else 1
    if card.layers[-1] != wanted or not wanted:
        what = "not one score" if wanted == 1 else f"not one for each of {wanted} classes"
        raise _unfit(weights, f"it gives {card.layers[-1]} values, {what}")
    return layers


def _filled(matrix: Float32s) -> Float32s:
    """With zero columns up to a multiple of 32."""
    columns = -(-matrix.shape[1] // _COLUMNS) * _COLUMNS
    out = np.zeros((matrix.shape[0], columns), np.float32)
    out[:, : matrix.shape[1]] = matrix
    return out


def _unfit(weights: Path, why: str) -> CurateError:
    return error(
        "E507",
        f"{weights} cannot be used as a head: {why}",
        help="use the file and the card that were made together",
        file=str(weights),
    )
