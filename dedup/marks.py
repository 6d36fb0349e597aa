"""What jobs of deduplication write about each document, and into how many parts they divide their records.

In: the job's last records about some documents, row for row (`survivor` null: nothing removes it; null in every column but
`doc`: it has no twin). Out: the columns `cluster`, `cluster_size`, `keep`, `survivor`, the job's own, `weight` if asked for,
and `reasons`, by which documents are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import REASONS
from dedup.rehydrate import Rehydrate, weights


def marks(
    found: pa.RecordBatch,
    reason: str,
    *,
    removes: bool,
    rehydrate: Rehydrate | None,
    others: Sequence[str] = (),
) -> Mapping[str, pa.Array]:
    """reason: of removed documents. removes: false with `keep: none`. others: more columns of `found` to hand on."""
    lost = pc.is_valid(found.column("survivor"))
    if not removes:
        lost = pa.array(np.zeros(found.num_rows, np.bool_))
    ends = np.zeros(found.num_rows + 1, np.int32)
    np.cumsum(lost.to_numpy(zero_copy_only=False), out=ends[1:])
    names = pa.array([reason] * int(ends[-1]), pa.string())
    sizes = found.column("cluster_size").fill_null(1)
    weight = {}
    if rehydrate is not None:
        weight["weight"] = pc.if_else(lost, None, pa.array(weights(rehydrate, sizes.to_numpy())))
    return {
        "cluster": found.column("cluster"),
        "cluster_size": sizes,
        "keep": pc.invert(lost),
        "survivor": found.column("survivor"),
        **{name: found.column(name) for name in others},
        **weight,
        REASONS: pa.ListArray.from_arrays(pa.array(ends), names),
    }


def power_of_two(asked: int | None, full: float, most: int) -> int:
    """Partitions: as many as were asked for, else as many as the records fill, at most `most`."""
    if asked is not None:
        return 1 << (asked - 1).bit_length()
    return min(most, 1 << int(full).bit_length())
