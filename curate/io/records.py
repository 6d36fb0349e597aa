"""What is known of a record besides its columns: its made-up id, and why it may be no document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: How much of a bad record is kept.
RAW_BYTES: Final = 4096


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be a document.

    row: its number in its file, from 0. position: `row 17` of a Parquet file, `line 1500, byte 9123456` of a
    text file (lines from 1, bytes from 0, uncompressed). raw: up to 4 KiB of it, empty if it could not be
    read.
    """

    doc: int
    row: int
    file: str
    position: str
    reason: str
    raw: bytes


def made_ids(path: str, rows: npt.NDArray[np.int64]) -> pa.StringArray:
    """Ids of records that have none, `path#row`; rows: their numbers in the file, from 0."""
    return pc.binary_join_element_wise(pa.scalar(path), pa.array(rows).cast(pa.string()), pa.scalar("#"))
