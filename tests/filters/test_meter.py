"""What encoders tell of their speed: threads at the same time count once, and tokens are those that were read."""

from __future__ import annotations

import time

import pyarrow as pa

from filters.encoders.meter import Meter
from filters.encoders.usem3 import Usem3


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_those_who_compute_at_the_same_time_count_once() -> None:
    clock = _Clock()
    meter = Meter(clock)
    first, second = meter.computing(), meter.computing()
    clock.now = 1.0
    with first:
        clock.now = 3.0
        with second:
            clock.now = 4.0
        clock.now = 5.0
        assert meter.take().busy == 4.0, "one is still at it"
        clock.now = 6.0
    clock.now = 100.0
    assert meter.take().busy == 1.0
    meter.add(tokens=7, seconds=0.5)
    assert meter.take() == (7, 0.5, 0.0)
    assert meter.take() == (0, 0.0, 0.0)


def test_an_error_ends_the_computing() -> None:
    clock = _Clock()
    meter = Meter(clock)
    try:
        with meter.computing():
            clock.now = 2.0
            raise MemoryError
    except MemoryError:
        clock.now = 9.0
    assert meter.take().busy == 2.0


def test_usem3_tells_of_tokens_and_less_time_than_passed() -> None:
    encoder = Usem3()
    encoder.open()
    texts = pa.array(["Plants store light as sugar, and animals eat the plants. " * 5, "", "a"] * 20)
    start = time.perf_counter()
    encoded = encoder.encode(texts, 1000)
    passed = time.perf_counter() - start
    tokens, busy, _ = encoder.meter.take()
    assert tokens == encoded.n_tokens.sum() > 1000
    assert 0.3 * passed < busy < passed, "the rest are tokens and copies"
