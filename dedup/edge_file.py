"""Edges between documents: in batches, and in a file on local scratch, to be gone through as often as needed.

In the file 36 bytes an edge (doc, other and their ranks int64, similarity float32), one column after the other of each
part of a million edges. A column whose values are all equal in a part is not written: 16 bytes where nothing is ranked or
measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64s = npt.NDArray[np.int64]

#: Edges that are written and read at a time.
_STORED: Final = 1 << 20
#: Edges that are numbered and gone through together, so that their numbers stay in the cache of a core.
_AT_ONCE: Final = 1 << 16


class EdgeBatch(NamedTuple):
    """Some edges; similarity must be a number (0 where nobody measured)."""

    doc: Int64s
    other: Int64s
    rank: Int64s
    other_rank: Int64s
    similarity: npt.NDArray[np.float32]

    def slices(self) -> Iterator[EdgeBatch]:
        """The same edges in small parts."""
        for start in range(0, len(self.doc), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            ranks = self.rank[part], self.other_rank[part]
            yield EdgeBatch(self.doc[part], self.other[part], *ranks, self.similarity[part])


class EdgeFile:
    """Edges of records (doc, other, rank, other_rank, similarity) in a file."""

    def __init__(self, path: Path, records: Iterator[pa.RecordBatch]) -> None:
        self._path = path
        #: Of each part how many edges it has, and of each column the value that all of them have, if so.
        self._parts: list[tuple[int, list[Any]]] = []
        with path.open("wb") as file:
            for record in records:
                for start in range(0, record.num_rows, _STORED):
                    columns = [
                        np.ascontiguousarray(c.to_numpy()) for c in record.slice(start, _STORED).columns
                    ]
                    equal = [column[0] if (column == column[0]).all() else None for column in columns]
                    self._parts.append((len(columns[0]), equal))
                    for column, value in zip(columns, equal, strict=True):
                        if value is None:
                            file.write(column.data)  # unlike `tofile`, says ENOSPC

    def __iter__(self) -> Iterator[EdgeBatch]:
        with self._path.open("rb") as file:
            for length, equal in self._parts:
                columns = [
                    np.fromfile(file, dtype, length) if value is None else np.full(length, value, dtype)
                    for value, dtype in zip(equal, (*[np.int64] * 4, np.float32), strict=True)
                ]
                yield EdgeBatch(*columns)
