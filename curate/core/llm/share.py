"""Whether a share of invalid answers is above a limit, asked after every answer, with one error rate for all the asking.

A count that is compared with the limit again and again exceeds it sooner or later by chance alone: 15 % of invalid answers
stop every other run whose limit is 20 %. So the evidence is a likelihood ratio of the answers, of shares above the limit to
the limit itself, in the mean over eight shares (from all invalid down to just above the limit). If the true share is at most
the limit, that ratio is a supermartingale, and by Ville's inequality it reaches 1,000 at any time with a chance of at most
1/1,000, however often and whenever one looks (Wald's sequential test with a mixture; Robbins 1970, Ann. Math. Stat. 41).

A limit of 0.2 that every answer misses is known to be exceeded after 6 answers; a true share of 0.4 after some 80, of 0.25
after about 1,200. A limit of 0 is exceeded by the first invalid answer.
"""

from __future__ import annotations

import math
from typing import Final

#: Chance at most that a run is stopped whose true share is at most the limit.
ERROR_RATE: Final = 1e-3
#: Shares that are held against the limit: 1, and each next one half as far above it.
_ALTERNATIVES: Final = 8


class InvalidShare:
    """Counts answers. limit: share that may be invalid, 0 to 1."""

    def __init__(self, limit: float) -> None:
        self.answered = self.invalid = 0
        self._limit = limit
        shares = [limit + (1 - limit) * 0.5**step for step in range(_ALTERNATIVES)]
        with_limit = 0 < limit < 1
        self._steps = (
            [(_log(share / limit), _log((1 - share) / (1 - limit))) for share in shares] if with_limit else []
        )

    def exceeded(self, *, valid: bool) -> bool:
        """Count an answer; whether by now the share is above the limit beyond doubt. It stays so until a valid one comes."""
        self.answered += 1
        self.invalid += not valid
        if valid:
            return False
        return self._limit == 0 or self._evidence() >= math.log(_ALTERNATIVES / ERROR_RATE)

    def _evidence(self) -> float:
        """Logarithm of the sum of the likelihood ratios; -inf if there are none."""
        valid = self.answered - self.invalid
        logs = [self.invalid * bad + (valid * good if valid else 0.0) for bad, good in self._steps]
        most = max(logs, default=-math.inf)
        return most + math.log(sum(math.exp(one - most) for one in logs)) if most > -math.inf else most


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
