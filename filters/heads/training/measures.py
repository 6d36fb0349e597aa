"""How well scores follow labels.

    spearman       correlation of ranks, equal values sharing the mean of theirs
    interval       its 95 % interval: Fisher's z with the variance (1 + r²/2) / (n - 3) of Bonett and Wright (2000,
                   Psychometrika 65), which is near the nominal level up to |r| = .95
    at_threshold   F1, precision and recall of "reaches the threshold"
    calibration    scores in ten bins of equal size: mean score and mean label of each, and their mean distance
    kappa          Cohen's, with quadratic weights, of scores rounded to whole numbers

JQL found that macro-F1 ranks teachers wrongly and Spearman's correlation rightly (arXiv 2505.22232, section 4).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]

_BINS: Final = 10
#: Whole numbers between the least and the greatest value, beyond which kappa says nothing.
_MOST_CLASSES: Final = 1000
_NORMAL: Final = 1.959963984540054  # 97.5 % of the normal distribution lie below


def ranks(values: Float64s) -> Float64s:
    """float64[n] from 0.5 up, equal values sharing the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[inverse]


def spearman(a: Float64s, b: Float64s) -> float:
    """nan if there are fewer than 3 values, or one side has one value only."""
    if len(a) < 3 or (a == a[0]).all() or (b == b[0]).all():
        return math.nan
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def interval(correlation: float, n: int) -> tuple[float, float]:
    """95 % interval of a rank correlation of n pairs; nan where there is none."""
    if n < 4 or math.isnan(correlation):
        return math.nan, math.nan
    z = math.atanh(min(max(correlation, -0.9999999), 0.9999999))
    width = _NORMAL * math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return math.tanh(z - width), math.tanh(z + width)


class AtThreshold(NamedTuple):
    """positives: labels that reach the threshold. nan where nothing can be said."""

    f1: float
    precision: float
    recall: float
    positives: int


def at_threshold(scores: Float64s, labels: Float64s, threshold: float) -> AtThreshold:
    said, true = scores >= threshold, labels >= threshold
    both = int((said & true).sum())
    precision = both / said.sum() if said.any() else math.nan
    recall = both / true.sum() if true.any() else math.nan
    f1 = 2 * both / (said.sum() + true.sum()) if said.any() or true.any() else math.nan
    return AtThreshold(float(f1), float(precision), float(recall), int(true.sum()))


class Calibration(NamedTuple):
    """error: mean distance of mean score and mean label over the bins, by their size. bins: (documents, score, label)."""

    error: float
    bins: list[tuple[int, float, float]]


def calibration(scores: Float64s, labels: Float64s) -> Calibration:
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    bins = [(len(part), float(scores[part].mean()), float(labels[part].mean())) for part in parts]
    total = sum(count for count, _, _ in bins)
    error = sum(count * abs(score - label) for count, score, label in bins) / total if total else math.nan
    return Calibration(error, bins)


def kappa(a: Float64s, b: Float64s) -> float:
    """Quadratic weighted kappa of values rounded to whole numbers; nan without pairs or where both say one thing."""
    if not len(a):
        return math.nan
    one, two = np.rint(a).astype(np.int64), np.rint(b).astype(np.int64)
    low = min(one.min(), two.min())
    size = int(max(one.max(), two.max()) - low) + 1
    if size > _MOST_CLASSES:
        return math.nan
    seen = np.zeros((size, size))
    np.add.at(seen, (one - low, two - low), 1)
    expected = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / len(a)
    weights = (np.arange(size)[:, None] - np.arange(size)[None, :]) ** 2
    chance = float((weights * expected).sum())
    return 1 - float((weights * seen).sum()) / chance if chance else math.nan
