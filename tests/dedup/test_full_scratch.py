"""A full scratch disk is an error that names the disk, not a signal that kills the worker."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dedup.edge_file import EdgeFile
from dedup.lines import Stored
from dedup.numbering import Scratch


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if os.geteuid() != 0 or mounted.returncode != 0:
        pytest.skip("a file system can be mounted by root alone, and not in every container")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_arrays_take_their_space_when_they_are_made(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught:
        Scratch(small_disk).array(1 << 21, np.int64, 0)
    assert caught.value.errno == errno.ENOSPC
    assert list(small_disk.iterdir()) == []


def test_edges_that_do_not_fit(small_disk: Path) -> None:
    count = 1 << 17
    columns = [pa.array(np.arange(count)) for _ in range(4)] + [pa.array(np.zeros(count, np.float32))]
    record = pa.RecordBatch.from_arrays(columns, names=list("abcde"))
    with pytest.raises(OSError, match="No space") as caught:
        EdgeFile(small_disk / "edges", iter([record]))
    assert caught.value.errno == errno.ENOSPC


def test_lines_that_do_not_fit(small_disk: Path) -> None:
    count = 1 << 16
    names = {"doc": pa.array(np.arange(count)), "key": pa.array(np.arange(count).astype(np.uint64))}
    records = [pa.RecordBatch.from_pydict(names) for _ in range(3)]
    with pytest.raises(OSError, match="No space") as caught:
        Stored(small_disk / "lines", iter(records), at_once=count)
    assert caught.value.errno == errno.ENOSPC


def test_edges_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of records, with columns that are not written since all of their values are equal."""
    monkeypatch.setattr("dedup.edge_file._STORED", 4)
    alike = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.75, 0, 0], np.float32)
    records = [
        pa.RecordBatch.from_arrays(
            [pa.array(np.arange(n) * k) for k in range(4)] + [pa.array(alike[:n])], names=list("abcde")
        )
        for n in (3, 0, 8, 1)
    ]
    edges = EdgeFile(tmp_path / "edges", iter(records))
    for _ in range(2):
        parts = list(edges)
        assert max(len(part.doc) for part in parts) == 4
        assert [part.similarity.dtype for part in parts] == [np.dtype(np.float32)] * len(parts)
        found = [np.concatenate(columns).tolist() for columns in zip(*parts, strict=True)]
        assert found == [pa.chunked_array([r.column(k) for r in records]).to_pylist() for k in range(5)]
    assert (tmp_path / "edges").stat().st_size < sum(36 * r.num_rows for r in records)
