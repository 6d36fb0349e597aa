"""What is kept of a document is enough to compare it."""

from __future__ import annotations

import numpy as np

from dedup.evidence import Sketches
from dedup.shingles import Shingles


def test_slices_of_sketches_are_compared_where_they_are() -> None:
    rng = np.random.default_rng(1)
    signatures = rng.integers(0, 2**32, (9, 112), dtype=np.uint32)
    signatures[5:] = signatures[:4]
    signatures[6, :56] = 0
    shingles = Shingles(np.zeros(0, np.uint64), np.zeros(10, np.int64))
    kind = Sketches(112)
    kept = kind.keep(shingles, signatures)
    found = kind.compare(kept.slice(5), kept.slice(0, 4))
    assert found[[0, 2, 3]].tolist() == [1, 1, 1]
    assert 0.45 < found[1] < 0.55
    assert kind.compare(kept.slice(0, 0), kept.slice(9)).tolist() == []
