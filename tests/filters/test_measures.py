"""How well scores follow labels: the figures are scipy's and scikit-learn's, intervals cover what they should."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from filters.heads.training import measures

RNG = np.random.default_rng(11)


@pytest.mark.parametrize("ties", [False, True])
def test_figures_are_scipys_and_scikit_learns(ties: bool) -> None:
    a = RNG.integers(0, 6, 200).astype(float) if ties else RNG.standard_normal(200)
    b = np.clip(a + RNG.integers(-1, 2, 200), 0, 5) if ties else a + RNG.standard_normal(200)
    assert measures.spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    if ties:
        assert measures.kappa(a, b) == pytest.approx(
            sklearn.metrics.cohen_kappa_score(a.astype(int), b.astype(int), weights="quadratic")
        )
        found = measures.at_threshold(a, b, 3)
        assert found.f1 == pytest.approx(sklearn.metrics.f1_score(b >= 3, a >= 3))
        assert found.recall == pytest.approx(sklearn.metrics.recall_score(b >= 3, a >= 3))
        assert found.precision == pytest.approx(sklearn.metrics.precision_score(b >= 3, a >= 3))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth = 6 / math.pi * math.asin(0.6 / 2)  # of two normal variables with correlation .6
    covered = 0
    for _ in range(400):
        a = RNG.standard_normal(60)
        b = 0.6 * a + 0.8 * RNG.standard_normal(60)
        low, high = measures.interval(measures.spearman(a, b), 60)
        covered += low <= truth <= high
    assert 0.91 < covered / 400 < 0.985


def test_figures_that_cannot_be_said_are_nan() -> None:
    one = np.ones(5)
    assert math.isnan(measures.spearman(one, np.arange(5.0)))
    assert math.isnan(measures.spearman(one[:2], one[:2]))
    assert all(math.isnan(v) for v in measures.interval(math.nan, 50))
    assert math.isnan(measures.kappa(one, one))
    assert math.isnan(measures.kappa(one * 1e9, np.arange(5.0)))
    assert math.isnan(measures.at_threshold(one, one, 2).f1)
    assert math.isnan(measures.calibration(one[:0], one[:0]).error)


def test_calibration_is_the_distance_of_means() -> None:
    scores = np.repeat([0.0, 1.0], 50)
    found = measures.calibration(scores, np.repeat([0.5, 1.0], 50))
    assert found.error == pytest.approx(0.25)
    assert sum(count for count, _, _ in found.bins) == 100
