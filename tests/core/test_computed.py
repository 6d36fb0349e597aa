"""Values of different objects are worked out at the same time, each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from curate.core.batch import DocBatch
from curate.core.computed import computed
from curate.core.text.tokens import Tokens


class Both:
    def __init__(self, gate: Barrier) -> None:
        self.gate = gate
        self.asked = 0

    @computed
    def value(self) -> int:
        """What it is."""
        self.asked += 1
        return self.gate.wait(timeout=30)


def test_two_objects_are_worked_on_at_once() -> None:
    """A lock that all objects share would keep the second from the gate, and break it."""
    gate = Barrier(2)
    two = [Both(gate), Both(gate)]
    with ThreadPoolExecutor(2) as pool:
        values = list(pool.map(lambda one: one.value, two))
    assert sorted(values) == [0, 1]
    assert [one.value for one in two] == values
    assert [one.asked for one in two] == [1, 1]


def test_a_value_stands_in_the_object() -> None:
    one = Both(Barrier(1))
    assert one.value == 0
    assert one.__dict__["value"] == 0
    del one.__dict__["value"]
    assert (one.value, one.asked) == (0, 2)
    assert Both.value.__doc__ == "What it is."


def test_what_batches_share_is_computed_so() -> None:
    assert {name for name, held in vars(DocBatch).items() if isinstance(held, computed)} == {
        "text_bytes",
        "tokens",
        "lines",
    }
    assert isinstance(vars(Tokens)["hashes"], computed)
