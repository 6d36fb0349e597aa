"""What the index of an exchange takes of a process's memory, from what the manifest says before any row is read.

With `shuffle` the rows of a run of 64 MB are spread over all row groups of the output, and each row group that they meet is
a stretch with an entry in the index (`curate.core.exchange`). Of r rows and g row groups these are g (1 - e^(-r/g)) on
average: nearly a row each in a large corpus. Of 50,000 shards of 256 MB a unit of the exchange has 25 GB and 8 million
stretches, half a gigabyte; a process that writes files holds a part of the indices of all units, as much again. Without
`shuffle` a run's rows go to neighbouring row groups, and the index is small.

It is an upper bound for rows of 100 bytes and more: what steps drop is counted as if it were published, and rows that nobody
has counted are taken to be as short as that.
"""

from __future__ import annotations

import math
from typing import Final

from curate.core.exchange import RUN_BYTES, reader_memory, writer_memory
from curate.core.manifest import Manifest
from curate.core.plan import OutputPlan

#: Of a row that nobody has counted yet: documents of JSON Lines, and passages.
_ROW_BYTES: Final = 100


def exchange_memory(manifest: Manifest, output: OutputPlan) -> tuple[int, int]:
    """Bytes of the index in a process of an output's exchange, and of all indices in one that writes files."""
    if output.seed is None:
        return 0, 0
    sizes = [shard.bytes for shard in manifest.shards]
    rows = [
        shard.rows if shard.rows is not None and output.unit is None else shard.bytes // _ROW_BYTES
        for shard in manifest.shards
    ]
    row_groups = max(1, sum(sizes) // output.row_group_bytes)
    largest = together = 0
    for group in manifest.groups:
        runs = max(1, math.ceil(sum(sizes[group.start : group.stop]) / RUN_BYTES))
        run_rows = sum(rows[group.start : group.stop]) / runs
        of_one_run = math.ceil(-row_groups * math.expm1(-run_rows / row_groups))
        largest = max(largest, writer_memory(runs * of_one_run, of_one_run))
        together += runs * of_one_run
    return largest, reader_memory(together)
