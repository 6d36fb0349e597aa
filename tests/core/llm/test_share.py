"""When too many answers are invalid: soon if nearly all are, never by chance, however often one looks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from curate.core.llm.share import ERROR_RATE, InvalidShare


def stopped_at(limit: float, invalid: list[bool]) -> int | None:
    """The number of answers after which the run stops."""
    share = InvalidShare(limit)
    return next((n for n, bad in enumerate(invalid, 1) if share.exceeded(valid=not bad)), None)


def test_a_server_that_says_nothing_of_use_is_found_out_at_once() -> None:
    assert stopped_at(0.2, [True] * 30) == 6
    assert stopped_at(0.5, [True] * 30) == 13
    assert stopped_at(0.0, [False, False, True]) == 3
    assert stopped_at(0.0, [False] * 1000) is None
    assert stopped_at(1.0, [True] * 1000) is None


@pytest.mark.parametrize(("share", "limit"), [(0.15, 0.2), (0.2, 0.2), (0.1, 0.1), (0.5, 0.5)])
def test_runs_within_the_limit_are_not_stopped_by_chance(share: float, limit: float) -> None:
    """600 runs of 800 answers, looked at after each; a count that is compared each time stops many."""
    draws = np.random.default_rng(7).random((600, 800)) < share
    stops = sum(stopped_at(limit, row.tolist()) is not None for row in draws)
    assert stops <= 5, "the chance of 6 is below 1 in 10,000"
    counts = draws.cumsum(axis=1)
    naive = (counts > limit * np.maximum(np.arange(1, 801), 20)).any(axis=1).mean()
    assert naive > 0.05


@pytest.mark.parametrize(("share", "most"), [(0.9, 30), (0.4, 250), (0.25, 6000)])
def test_runs_beyond_the_limit_are_stopped(share: float, most: int) -> None:
    draws = np.random.default_rng(8).random((40, most)) < share
    assert all(stopped_at(0.2, row.tolist()) is not None for row in draws)


def test_the_chance_to_be_stopped_within_sixteen_answers_is_below_the_error_rate() -> None:
    """Exact, over all ways in which sixteen answers can come out, each as likely as the limit says."""
    limit, stop = Fraction(1, 4), Fraction(0)
    alive = {(0, 0): Fraction(1)}
    for _ in range(16):
        following: dict[tuple[int, int], Fraction] = {}
        for (valid, invalid), chance in alive.items():
            good = (valid + 1, invalid)
            following[good] = following.get(good, Fraction(0)) + chance * (1 - limit)
            share = InvalidShare(float(limit))
            share.answered, share.invalid = valid + invalid, invalid
            if share.exceeded(valid=False):
                stop += chance * limit
            else:
                bad = (valid, invalid + 1)
                following[bad] = following.get(bad, Fraction(0)) + chance * limit
        alive = following
    assert 0 < stop < ERROR_RATE
