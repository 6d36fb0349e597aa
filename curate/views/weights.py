"""Weights for rehydration, from what the filters after a deduplication did to survivors of clusters of each size.

In: a run in which filters follow the deduplication. Out, for each class of sizes: survivors that the filters saw, how many
of them they removed, and a weight:

    rate >= overall rate    1
    below it                1 + (most − 1) · (overall − rate) / (overall − lowest rate), rounded

so the class that filters object to least weighs `most`. FineWeb2 (Penedo et al. 2025, arXiv:2506.20920) chose the
weights of its table by looking at the same rates; the classes are its classes. One with fewer survivors than `minimum`
says too little and joins the next smaller one, so a table never rests on a handful of documents.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import DOC, qualified
from curate.core.overlay import DROP
from curate.core.packs import parquet_source
from curate.core.plan import StepPlan
from curate.views.documents import Documents

#: Smallest sizes of the classes.
CLASSES: Final = (1, 2, 3, 4, 5, 100, 1_000)


def weights_table(documents: Documents, step: StepPlan, *, most: int, minimum: int) -> dict[str, Any]:
    """`step documents removed classes[] rehydrate`; classes have `sizes_from documents removed weight`."""
    seen, gone = np.zeros(len(CLASSES), np.int64), np.zeros(len(CLASSES), np.int64)
    for shard in documents.manifest.shards:
        sizes, removed = _survivors(documents, step, shard.number)
        classes = np.searchsorted(CLASSES, sizes, side="right") - 1
        seen += np.bincount(classes, minlength=len(CLASSES))
        gone += np.bincount(classes[removed], minlength=len(CLASSES))
    merged: list[list[int]] = []
    for start, count, lost in zip(CLASSES, seen.tolist(), gone.tolist(), strict=True):
        if merged and (count < minimum or merged[-1][1] < minimum):
            merged[-1][1] += count
            merged[-1][2] += lost
        else:
            merged.append([start, count, lost])
    overall = int(gone.sum()) / max(1, int(seen.sum()))
    rates = [lost / max(1, count) for _, count, lost in merged]
    lowest = min(rates)
    chosen = [
        1 if rate >= overall else 1 + round((most - 1) * (overall - rate) / (overall - lowest))
        for rate in rates
    ]
    return {
        "step": step.name,
        "documents": int(seen.sum()),
        "removed": int(gone.sum()),
        "classes": [
            {"sizes_from": start, "documents": count, "removed": lost, "weight": weight}
            for (start, count, lost), weight in zip(merged, chosen, strict=True)
        ],
        "rehydrate": {start: weight for (start, _, _), weight in zip(merged, chosen, strict=True)},
    }


def _survivors(
    documents: Documents, step: StepPlan, shard: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Cluster sizes of the survivors of a shard, and which of them later steps removed."""
    overlays = documents.overlays(shard)
    if len(overlays) < len(documents.run.passes):
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    phase, path = next(found for found in overlays if step.name in [s.name for s in found[0].steps])
    size, survivor = qualified(step.name, "cluster_size"), qualified(step.name, "survivor")
    # A step that only marks drops nobody, and its survivors are known by having none.
    table = pq.read_table(
        parquet_source(path), columns=[DOC, DROP, size, survivor], filters=pc.is_null(pc.field(survivor))
    )
    names = [s.name for s in phase.steps]
    before = pa.array(names[: names.index(step.name) + 1], pa.string())
    kept = table.filter(
        pc.and_(pc.is_valid(table[size]), pc.invert(pc.is_in(table[DROP], value_set=before, skip_nulls=True)))
    )
    last = pq.read_table(parquet_source(overlays[-1][1]), columns=[DOC, DROP])
    alive = last.filter(pc.is_null(last[DROP]))[DOC].to_numpy()
    return kept[size].to_numpy().astype(np.int64), ~np.isin(kept[DOC].to_numpy(), alive)
