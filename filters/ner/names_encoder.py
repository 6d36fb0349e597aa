"""The encoder `usem3-names`: usem3's vector of a text, and beside it what its tokens say of names, for the same pass.

    vector[0:512]   usem3's own (`filters.encoders.usem3`)
    vector[512]     mean over the tokens of P(the token is part of a name)
    vector[513]     mean over the tokens of P(a name begins with it)

usem3 has 1,280 features of every token before it takes their mean, and in these is what in the mean is lost: which tokens
are names. A small network looks at each token, whatever its language, and costs 10 to 14 % more time:

    h = relu(features · W0 + b0)        names-usem3.safetensors: 0.weight float32[64, 1280], 0.bias float32[64]
    p = σ(h · W1 + b1)                                           1.weight float32[2, 64], 1.bias float32[2]

`scripts/train_ner_head.py` trains it on the tokens of gold corpora. A mean is a sum in the order of the text, and no row of
a product sees another, so the vector depends on the text alone, bit for bit. Marks of beginning and end do not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.errors import error
from curate.core.text.memory import kernel
from filters.encoders.matrix import Float32s, multiply, packed, padded
from filters.encoders.usem3 import DIMENSIONS, Usem3
from filters.encoders.usem3_layers import TokenCache
from filters.encoders.usem3_weights import FEATURES

NAME: Final = "usem3-names"
WEIGHTS: Final = Path(__file__).parent / "shipped" / "names-usem3.safetensors"
#: What is asked of a token: part of a name, begins one.
OUTPUTS: Final = 2
#: Columns of a product come in multiples of this.
_COLUMNS: Final = 32

Layers = tuple[tuple[Float32s, Float32s], tuple[Float32s, Float32s]]


class _Network(NamedTuple):
    """Weights as `multiply` reads them."""

    first: Float32s
    first_bias: Float32s
    second: Float32s
    second_bias: Float32s

    @staticmethod
    def of(layers: Layers) -> _Network:
        (weight, bias), (last, last_bias) = layers
        hidden = weight.shape[0]
        wide = -(-hidden // _COLUMNS) * _COLUMNS
        first, second = np.zeros((FEATURES, wide), np.float32), np.zeros((wide, _COLUMNS), np.float32)
        first[:, :hidden] = weight.T
        second[:hidden, :OUTPUTS] = last.T
        return _Network(packed(first), _filled(bias, wide), packed(second), _filled(last_bias, _COLUMNS))


class Usem3Names(Usem3):
    """usem3 with two figures more. weights: of the network; None: the shipped ones."""

    name = NAME
    dimensions = DIMENSIONS + OUTPUTS

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self._path = weights or WEIGHTS
        self._network: _Network | None = None

    def files(self) -> Mapping[str, Path]:
        return {**super().files(), "names": self._path}

    def open(self) -> None:
        super().open()
        self._network = _Network.of(read_layers(self._path))

    def _pooled(
        self, cache: TokenCache, tokens: npt.NDArray[np.int32], ends: npt.NDArray[np.int64]
    ) -> tuple[Float32s, Float32s]:
        assert self._network is not None
        each = np.zeros((padded(len(tokens)), FEATURES), np.float32)
        sums = cache.sums(tokens, ends, each)
        more = np.zeros((len(ends) - 1, OUTPUTS), np.float32)
        _means(_logits(each, len(tokens), self._network), ends, more)
        return sums, more


def _logits(each: Float32s, rows: int, network: _Network) -> Float32s:
    """float32[rows, OUTPUTS]. each: float32[padded(rows), FEATURES]."""
    hidden = np.empty((len(each), len(network.first_bias)), np.float32)
    multiply(
        each.ctypes.data, FEATURES, network.first.ctypes.data, network.first_bias.ctypes.data, FEATURES,
        hidden.ctypes.data, hidden.shape[1], rows, hidden.shape[1],
    )  # fmt: skip
    np.maximum(hidden, 0, out=hidden)
    out = np.empty((len(each), _COLUMNS), np.float32)
    multiply(
        hidden.ctypes.data, hidden.shape[1], network.second.ctypes.data, network.second_bias.ctypes.data,
        hidden.shape[1], out.ctypes.data, _COLUMNS, rows, _COLUMNS,
    )  # fmt: skip
    return np.ascontiguousarray(out[:rows, :OUTPUTS])


@kernel
def _means(logits, ends, out):  # type: ignore[no-untyped-def]  # numba infers
    """out[document, k]: the mean of σ(logits[:, k]) over a document's tokens without its two marks; 0 if there are none."""
    for document in range(out.shape[0]):
        first, last = ends[document] + 1, ends[document + 1] - 1
        for k in range(out.shape[1]):
            total = 0.0
            for token in range(first, last):
                total += 1.0 / (1.0 + math.exp(-float(logits[token, k])))
            out[document, k] = np.float32(total / max(1, last - first))


def _filled(bias: Float32s, size: int) -> Float32s:
    out = np.zeros(size, np.float32)
    out[: len(bias)] = bias
    return out


def read_layers(path: Path) -> Layers:
    """The two layers of a file; E507 if it does not hold them."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        layers = tuple((tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(2))
    except (SafetensorError, KeyError, OSError, ValueError) as cause:
        raise _unfit(path, str(cause)) from cause
    hidden = layers[0][0].shape[0]
    shapes = [tensor.shape for layer in layers for tensor in layer]
    if shapes != [(hidden, FEATURES), (hidden,), (OUTPUTS, hidden), (OUTPUTS,)] or not hidden:
        raise _unfit(path, f"its shapes are {shapes}")
    flat = [tensor for layer in layers for tensor in layer]
    if any(tensor.dtype != np.float32 or not np.isfinite(tensor).all() for tensor in flat):
        raise _unfit(path, "it has weights that are not finite float32")
    return (layers[0], layers[1])


def write_layers(layers: Layers, path: Path) -> None:
    """The file that `read_layers` reads."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for number, (weight, bias) in enumerate(layers):
        tensors[f"{number}.weight"] = np.ascontiguousarray(weight, np.float32)
        tensors[f"{number}.bias"] = np.ascontiguousarray(bias, np.float32)
    save_file(tensors, path)


def _unfit(path: Path, why: str) -> Exception:
    return error(
        "E507",
        f"{path} cannot be used to find names: {why}",
        help="reinstall curate, or train it anew with scripts/train_ner_head.py",
        file=str(path),
    )
