"""From what comes out of a head's last layer to one score.

    linear    the only value, as it is
    sigmoid   the probability that the only value stands for
    mean      a value for each class: the mean of the classes by the probabilities (softmax) that the values stand for

In float64, row by row, so that a score depends on its own vector alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Output = Literal["linear", "sigmoid", "mean"]
#: Loss → what its outputs are.
OUTPUTS: Final[Mapping[str, Output]] = {
    "ridge": "linear",
    "mse": "linear",
    "bce": "sigmoid",
    "softmax": "mean",
}


def output_scores(
    values: npt.NDArray[Any], output: Output, classes: Sequence[float] = ()
) -> npt.NDArray[np.float64]:
    """float64[n] for [n, 1], or of `mean` [n, classes]."""
    exact = values.astype(np.float64)
    if output == "sigmoid":
        return 1 / (1 + np.exp(-exact[:, 0].clip(-700, 700)))
    if output == "mean":
        shares = np.exp(exact - exact.max(axis=1, keepdims=True))
        total = np.zeros(len(exact))
        weighted = np.zeros(len(exact))
        for column, value in enumerate(classes):
            total += shares[:, column]
            weighted += shares[:, column] * value
        return weighted / total
    return exact[:, 0]
