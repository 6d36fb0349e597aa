"""Runs of neighbours: nothing is lost, none is empty, none much larger than the others."""

from hypothesis import given
from hypothesis import strategies as st

from curate.core.runs import even_runs


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60), st.integers(1, 20))
def test_runs_hold_everything_once_in_order_and_are_even(sizes: list[int], number: int) -> None:
    runs = even_runs(sizes, number)
    assert [index for run in runs for index in run] == list(range(len(sizes)))
    assert 1 <= len(runs) <= number
    assert all(runs)
    mean = -(-sum(sizes) // number)
    assert all(sum(sizes[i] for i in run) <= mean + max(sizes) for run in runs)
