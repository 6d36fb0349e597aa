"""Bounds of a distribution: the strictest that are allowed, exact while values fit into memory, never stricter beyond."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.thresholds.derive import rounded
from curate.thresholds.distribution import DISTINCT, Distribution
from curate.thresholds.rules import Side

numbers = st.floats(-1e6, 1e6) | st.integers(0, 30).map(float) | st.sampled_from([0.0, -0.0, 0.5])


@given(st.lists(numbers, min_size=1, max_size=200), st.floats(0, 1))
def test_bounds_of_a_distribution_are_the_strictest_allowed(values: list[float], share: float) -> None:
    found = Distribution()
    found.add(np.array([*values[::2], np.nan, np.inf]))
    found.add(np.array(values[1::2]))
    allowed = int(share * len(values))
    distinct = sorted({v + 0.0 for v in values})
    least = max(v for v in distinct if sum(w < v for w in values) <= allowed)
    most = min(v for v in distinct if sum(w > v for w in values) <= allowed)
    assert (found.minimum_for(allowed), found.maximum_for(allowed)) == (least, most)
    assert found.median == np.median(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values), abs=1e-6)


@pytest.mark.parametrize("low", [-1.0, -0.5])
def test_negative_values_beyond_memory_lose_no_more_than_is_allowed(low: float) -> None:
    values = np.random.default_rng(5).beta(2, 3, 300_000) + low
    found = Distribution()
    for part in np.array_split(values, 11):
        found.add(part)
    assert len(np.unique(values)) > DISTINCT
    exact = np.sort(values)
    for allowed in (30, 300, 3_000, 30_000, 150_000):
        least, most = found.minimum_for(allowed), found.maximum_for(allowed)
        assert (values < least).sum() <= allowed
        assert (values > most).sum() <= allowed
        assert least == pytest.approx(exact[allowed], rel=3e-3, abs=1e-6)
        assert most == pytest.approx(exact[-allowed - 1], rel=3e-3, abs=1e-6)


def test_many_different_values_stay_within_memory_whatever_their_order() -> None:
    values = np.random.default_rng(3).beta(1, 5, 200_000)
    orders = [values, values[::-1], np.sort(values)]
    found = [Distribution() for _ in orders]
    for distribution, order in zip(found, orders, strict=True):
        for part in np.array_split(order, 37):
            distribution.add(part)
    bounds = [(d.minimum_for(20_000), d.maximum_for(2_000), d.median) for d in found]
    assert len(set(bounds)) == 1
    exact = np.sort(values)
    low, high, middle = bounds[0]
    assert low == pytest.approx(exact[20_000], rel=3e-3)
    assert high == pytest.approx(exact[-2_001], rel=3e-3)
    assert middle == pytest.approx(np.median(values), rel=3e-3)
    assert (values < low).sum() <= 20_000
    assert (values > high).sum() <= 2_000
    assert len(found[0]._values) <= DISTINCT


@given(st.floats(0, 1e7), st.sampled_from(["minimum", "maximum"]), st.booleans())
def test_rounding_never_drops_more(value: float, name: Any, whole: bool) -> None:
    bound = rounded(value, Side("rule", "m__x", name, "x", whole=whole))
    assert bound <= value if name == "minimum" else bound >= value
    assert bound == pytest.approx(value, rel=1.01e-3, abs=1 if whole else 0)
    assert not whole or bound == int(bound)
    assert rounded(0.1, Side("rule", "m__x", name, "x")) == 0.1
