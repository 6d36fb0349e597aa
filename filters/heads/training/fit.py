"""Weights from embeddings and labels, in plain numpy: some thousand labels and 512 dimensions need no GPU.

    ridge     w = (X'SX + L I)^-1 X'Sy on centred values, S the documents' weights; for few labels
    mse       a network on the labels: Linear, ReLU, Linear (JQL, arXiv 2505.22232, appendix)
    bce       the same on whether a label reaches the threshold; the score is the probability (FineWeb2-HQ, arXiv 2502.10361)
    softmax   the same with an output for each whole label; the score is their mean by probability

Networks are trained by AdamW (Loshchilov and Hutter, arXiv 1711.05101) with a learning rate that falls to 0 as a cosine,
on embeddings centred and divided by their deviation, which is put into the first layer afterwards. The epoch with the best
Spearman correlation on labels that were held back is kept. A seed decides everything: the same labels and seed on the same
machine give the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from filters.heads.outputs import OUTPUTS, Output, output_scores
from filters.heads.training.measures import spearman
from filters.heads.training.recipe import Fit

Float64s = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Layer = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]

#: AdamW's moments, and what keeps a step finite.
_BETA1: Final = 0.9
_BETA2: Final = 0.999
_EPSILON: Final = 1e-8


@dataclass(frozen=True)
class Fitted:
    """Layers as a head has them (weight[outputs, inputs], bias[outputs]), and what becomes of the outputs.

    classes: the label of each output of a softmax. epochs: that were trained, 0 for ridge.
    """

    layers: list[Layer]
    output: Output
    classes: tuple[float, ...] = ()
    epochs: int = 0

    def score(self, vectors: Float64s) -> Float64s:
        """float64[n] for float64[n, dimensions]."""
        values: npt.NDArray[np.floating] = vectors
        for number, (weight, bias) in enumerate(self.layers):
            values = values @ weight.T + bias
            if number + 1 < len(self.layers):
                values = np.maximum(values, 0)
        return output_scores(values, self.output, self.classes)


def fit(
    vectors: Float64s, labels: Float64s, recipe: Fit, *, threshold: float | None, balance: bool, seed: int
) -> Fitted:
    """A head of these labels. balance: each whole label counts as much as any other."""
    weights = class_weights(labels) if balance else None
    if recipe.loss == "ridge":
        return _ridge(vectors, labels, recipe.penalty, weights)
    return _network(vectors, labels, recipe, threshold, weights, seed)


def class_weights(labels: Float64s) -> Float64s:
    """float64[n], 1 in the mean: such that every whole label has the same sum."""
    _, inverse, counts = np.unique(np.rint(labels), return_inverse=True, return_counts=True)
    return (len(labels) / (len(counts) * counts))[inverse]


def _ridge(vectors: Float64s, labels: Float64s, penalty: float, weights: Float64s | None) -> Fitted:
    if weights is None:
        centre, mean = vectors.mean(axis=0), float(labels.mean())
        x = vectors - centre
        scaled = x
    else:
        centre = np.average(vectors, axis=0, weights=weights)
        mean = float(np.average(labels, weights=weights))
        x = vectors - centre
        scaled = x * weights[:, None]
    found = np.linalg.solve(scaled.T @ x + penalty * np.eye(x.shape[1]), scaled.T @ (labels - mean))
    return Fitted([(found[None, :], np.array([mean - float(centre @ found)]))], "linear")


def _network(
    vectors: Float64s,
    labels: Float64s,
    recipe: Fit,
    threshold: float | None,
    weights: Float64s | None,
    seed: int,
) -> Fitted:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    held = order[: max(3, round(recipe.validation * len(labels)))]
    rest = order[len(held) :]
    classes: tuple[float, ...] = ()
    targets = labels[:, None]
    if recipe.loss == "bce":
        assert threshold is not None
        targets = (labels >= threshold).astype(np.float64)[:, None]
    elif recipe.loss == "softmax":
        found, inverse = np.unique(np.rint(labels), return_inverse=True)
        classes = tuple(found.tolist())
        targets = np.eye(len(found))[inverse]
    output = OUTPUTS[recipe.loss]
    centre, scale = vectors[rest].mean(axis=0), max(float(vectors[rest].std()), 1e-12)
    x = ((vectors - centre) / scale).astype(np.float32)
    network = _Network((x.shape[1], *recipe.hidden, targets.shape[1]), targets[rest], output, rng)
    counted = (weights if weights is not None else np.ones(len(labels))).astype(np.float32)
    size = min(recipe.batch, max(1, len(rest) // 4))
    steps = recipe.epochs * -(-len(rest) // size)
    best, kept, since, step, trained = -math.inf, network.copy(), 0, 0, 0
    for _epoch in range(recipe.epochs):
        trained += 1
        shuffled = rng.permutation(rest)
        for first in range(0, len(shuffled), size):
            rows = shuffled[first : first + size]
            rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            network.step(x[rows], targets[rows].astype(np.float32), counted[rows], rate, recipe.weight_decay)
            step += 1
        scores = output_scores(network.apply(x[held])[-1], output, classes)
        gained = spearman(scores, labels[held])
        if math.isnan(gained):
            gained = -1.0
        since = 0 if gained >= best + recipe.min_gain else since + 1
        if gained > best:
            best, kept = gained, network.copy()
        if since >= recipe.patience:
            break
    return Fitted(_unscaled(kept, centre, scale), output, classes, trained)


def _unscaled(layers: list[Layer], centre: Float64s, scale: float) -> list[Layer]:
    """The layers for embeddings as they are, instead of centred and divided."""
    weight, bias = (part.astype(np.float64) for part in layers[0])
    first: Layer = (weight / scale, bias - weight @ centre / scale)
    return [first, *layers[1:]]


class _Network:
    """Layers with AdamW's state. Weights begin as torch.nn.Linear's do; the last bias as the mean of what it is to say."""

    def __init__(
        self, widths: tuple[int, ...], targets: Float64s, output: Output, rng: np.random.Generator
    ) -> None:
        self.parts: list[Float32s] = []
        for inputs, outputs in pairwise(widths):
            bound = 1 / math.sqrt(inputs)
            self.parts.append(rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32))
            self.parts.append(rng.uniform(-bound, bound, outputs).astype(np.float32))
        mean = targets.mean(axis=0).clip(1e-3, None) if output != "linear" else targets.mean(axis=0)
        if output == "sigmoid":
            mean = np.log(mean / (1 - mean.clip(None, 1 - 1e-3)))
        elif output == "mean":
            mean = np.log(mean)
        self.parts[-1] = mean.astype(np.float32)
        self._first = [np.zeros_like(part) for part in self.parts]
        self._second = [np.zeros_like(part) for part in self.parts]
        self._steps = 0
        self._output = output

    def copy(self) -> list[Layer]:
        return [(self.parts[i].copy(), self.parts[i + 1].copy()) for i in range(0, len(self.parts), 2)]

    def apply(self, x: Float32s) -> list[Float32s]:
        """What goes into each layer, and what comes out of the last."""
        values = [x]
        for i in range(0, len(self.parts), 2):
            made = values[-1] @ self.parts[i].T + self.parts[i + 1]
            values.append(np.maximum(made, 0) if i + 2 < len(self.parts) else made)
        return values

    def step(self, x: Float32s, targets: Float32s, counted: Float32s, rate: float, decay: float) -> None:
        values = self.apply(x)
        said = values[-1]
        if self._output == "sigmoid":
            said = 1 / (1 + np.exp(-said.clip(-60, 60)))
        elif self._output == "mean":
            said = np.exp(said - said.max(axis=1, keepdims=True))
            said /= said.sum(axis=1, keepdims=True)
        # The derivative of the squared error (halved), of cross-entropy and of softmax's is the same.
        back = (said - targets) * (counted / max(float(counted.sum()), 1e-12))[:, None]
        slopes: list[Float32s] = [np.zeros(0, np.float32)] * len(self.parts)
        for i in range(len(self.parts) - 2, -1, -2):
            before = values[i // 2]
            slopes[i], slopes[i + 1] = back.T @ before, back.sum(axis=0)
            if i:
                back = (back @ self.parts[i]) * (before > 0)
        self._steps += 1
        one, two = 1 - _BETA1**self._steps, 1 - _BETA2**self._steps
        for i, slope in enumerate(slopes):
            self._first[i] += (1 - _BETA1) * (slope - self._first[i])
            self._second[i] += (1 - _BETA2) * (slope * slope - self._second[i])
            if i % 2 == 0:  # weights decay, biases do not
                self.parts[i] *= 1 - rate * decay
            self.parts[i] -= rate * (self._first[i] / one) / (np.sqrt(self._second[i] / two) + _EPSILON)
