"""Things in order, divided into runs of neighbours of about equal size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def even_runs(sizes: Sequence[int], number: int) -> list[range]:
    """At most `number` runs, as ranges of indices; none is empty, and none exceeds the mean by more than one thing.

    sizes: of at least one thing, none negative.
    """
    before = np.cumsum(np.asarray(sizes, np.int64)) - np.asarray(sizes, np.int64)
    width = max(1, -(-sum(sizes) // number))
    places = np.minimum(before // width, number - 1)  # things of no size may come last
    starts = np.flatnonzero(np.diff(places, prepend=-1)).tolist()
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(sizes)], strict=True)]
