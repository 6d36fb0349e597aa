"""Exchange: rows change from being grouped by shard to being grouped by partition.

A map unit spills sorted runs into one Arrow IPC file: it gathers about 64 MB of rows, sorts them by partition (stable, so
rows of one partition stay in the order of `doc`), and writes one record batch for each partition that occurs. Which
partition a batch holds is in the unit's done-file (`facts["partitions"]`), so a reducer opens the file and reads
only its own batches. Reducers sort; they never rely on the order of arrival.

Raw IPC: compressing costs more CPU than it saves on local disks (lz4 1.4-1.9 times reading and writing, raw 1.05-1.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import error

_RUN_BYTES = 64 * 1024 * 1024


class ExchangeWriter:
    """Writes one exchange file. `append(record, partition: int64[rows])`, then `close` gives the batches' partitions."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._held: list[pa.RecordBatch] = []
        self._keys: list[npt.NDArray[np.int64]] = []
        self._bytes = 0
        self.partitions: list[int] = []

    def append(self, record: pa.RecordBatch, partition: npt.NDArray[np.int64]) -> None:
        if record.num_rows == 0:
            return
        self._held.append(record)
        self._keys.append(partition)
        self._bytes += record.get_total_buffer_size()
        if self._bytes >= _RUN_BYTES:
            self._spill()

    def _spill(self) -> None:
        if not self._held:
            return
        keys = np.concatenate(self._keys)
        held = self._held[0] if len(self._held) == 1 else pa.concat_batches(self._held)
        self._held, self._keys, self._bytes = [], [], 0
        in_order = bool((keys[1:] >= keys[:-1]).all())
        order = np.arange(len(keys)) if in_order else np.argsort(keys, kind="stable")
        values, starts = np.unique(keys[order], return_index=True)
        ends = np.append(starts[1:], len(keys))
        for value, start, end in zip(values, starts, ends, strict=True):
            part = held.slice(start, end - start) if in_order else held.take(pa.array(order[start:end]))
            self._writer.write_batch(part)
            self.partitions.append(int(value))

    def __enter__(self) -> ExchangeWriter:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        if kind is None:
            self._spill()
        self._writer.close()
        self._sink.close()


class ExchangeReader:
    """One exchange file: `batches(partition)` reads those alone.

    It is read, not mapped: mapped pages count as resident memory until the whole file does.
    """

    def __init__(self, path: Path, partitions: Sequence[int]) -> None:
        try:
            self._file = pa.ipc.open_file(pa.OSFile(str(path)))
            found = self._file.num_record_batches
        except (OSError, pa.ArrowException) as cause:
            raise _damaged(path, str(cause)) from cause
        if found != len(partitions):
            raise _damaged(path, f"it holds {found} batches, its done-file names {len(partitions)}")
        self._where: dict[int, list[int]] = {}
        for index, partition in enumerate(partitions):
            self._where.setdefault(partition, []).append(index)

    @property
    def schema(self) -> pa.Schema:
        return self._file.schema

    def batches(self, partition: int) -> list[pa.RecordBatch]:
        return [self._file.get_batch(i) for i in self._where.get(partition, ())]


def _damaged(path: Path, cause: str) -> Exception:
    return error(
        "R306",
        f"the exchange file {path} cannot be read: {cause}",
        help="remove the file and run again: its unit will be computed again",
        file=str(path),
    )
