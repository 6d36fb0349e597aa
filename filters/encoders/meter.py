"""What an encoder has done: tokens that it read, and seconds in which it computed.

Tokenising, looking up, copying and writing are no computing. Threads that compute at the same time count once: the seconds
are of the wall's clock, so their share of the time that a unit took is at most 1. Where a device computes beside this
process, it says how long (`add`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from curate.core.stage import Work


class Meter:
    """Counts since it was asked last. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = Lock()
        self._at_work = 0
        self._since = self._busy = 0.0
        self._tokens = 0

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Around arithmetic of this thread."""
        with self._lock:
            if not self._at_work:
                self._since = self._clock()
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if not self._at_work:
                    self._busy += self._clock() - self._since

    def add(self, tokens: int = 0, seconds: float = 0.0) -> None:
        """Tokens that were read, and seconds that a device says it took."""
        with self._lock:
            self._tokens += tokens
            self._busy += seconds

    def take(self) -> Work:
        """What was done since the last call; of those who are at work, what they did so far."""
        with self._lock:
            if self._at_work:
                now = self._clock()
                self._busy += now - self._since
                self._since = now
            made = Work(self._tokens, self._busy)
            self._tokens, self._busy = 0, 0.0
            return made
