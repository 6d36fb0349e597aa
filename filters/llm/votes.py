"""Votes into a score: what more than half of the valid ones say, else their mean (JQL, arXiv 2505.22232, section 3)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

#: Stands for an invalid answer; no rubric goes so low.
INVALID: Final = -(2**15)


def scores(votes: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """float32[n] for int16[n, samples]; nan where no vote is valid."""
    valid = votes != INVALID
    count = valid.sum(axis=1)
    out = np.full(len(votes), np.nan)
    some = count > 0
    out[some] = np.where(valid, votes, 0).sum(axis=1)[some] / count[some]
    agree = (votes[:, :, None] == votes[:, None, :]) & valid[:, :, None]
    best = agree.sum(axis=2)  # of each vote, how many say the same
    at = best.argmax(axis=1)
    rows = np.arange(len(votes))
    majority = 2 * best[rows, at] > count
    decided = some & majority
    out[decided] = votes[rows, at][decided]
    return out.astype(np.float32)
