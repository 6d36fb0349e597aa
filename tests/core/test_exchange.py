"""An exchange gives every row back exactly once, under the partition it was given, and in the order it came."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core import exchange
from curate.core.errors import CurateError
from curate.core.exchange import ExchangeReader, ExchangeWriter

SCHEMA = pa.schema([pa.field("__doc", pa.int64(), nullable=False), pa.field("text", pa.string())])


def record(docs: range) -> pa.RecordBatch:
    texts = [None if d % 5 == 0 else "é" * (d % 50) for d in docs]
    return pa.RecordBatch.from_arrays(
        [pa.array(docs, pa.int64()), pa.array(texts, pa.string())], schema=SCHEMA
    )


def write(path: Path, keys: list[list[int]]) -> tuple[str, dict[int, list[dict[str, object]]]]:
    """One batch for each list of partitions; gives the file's seal and the rows of each partition."""
    expected: dict[int, list[dict[str, object]]] = {}
    first = 0
    with ExchangeWriter(path, SCHEMA) as writer:
        for batch_keys in keys:
            batch = record(range(first, first + len(batch_keys)))
            first += len(batch_keys)
            writer.append(batch, np.array(batch_keys, np.int64))
            for key, row in zip(batch_keys, batch.to_pylist(), strict=True):
                expected.setdefault(key, []).append(row)
    return writer.seal, expected


partitions = st.lists(st.lists(st.integers(0, 9) | st.integers(0, 2**40), max_size=20), max_size=8)


@settings(deadline=None)
@given(
    keys=partitions,
    run_bytes=st.sampled_from([1, 500, 64 * 2**20]),
    stretch=st.sampled_from([1, 8 * 2**20]),
    page=st.sampled_from([1, 2, 5, 128]),
)
def test_every_row_comes_back_once_in_its_partition_and_in_order(
    keys: list[list[int]], run_bytes: int, stretch: int, page: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "RUN_BYTES", run_bytes)
        patch.setattr(exchange, "_STRETCH_BYTES", stretch)
        patch.setattr(exchange, "_PAGE", page)
        path = Path(place) / "x.arrow"
        seal, expected = write(path, keys)
        reader = ExchangeReader(path, seal)
        assert reader.partitions() == sorted(expected)
        found = {
            key: [row for batch in reader.batches(key) for row in batch.to_pylist()]
            for key in {*expected, *range(-1, 11), 2**40 + 1}
        }
        assert {key: rows for key, rows in found.items() if rows} == expected
        assert reader.batches(-1) == []


def test_an_exchange_of_nothing_is_a_file_with_a_schema(tmp_path: Path) -> None:
    seal, _ = write(tmp_path / "x.arrow", [])
    reader = ExchangeReader(tmp_path / "x.arrow", seal)
    assert reader.schema.equals(SCHEMA)
    assert reader.batches(0) == []


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    keys = [[3, 1, 3, 2] * 50, [1] * 30]
    write(tmp_path / "a.arrow", keys)
    write(tmp_path / "b.arrow", keys)
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


@pytest.mark.parametrize("keep", [0, 7, 100, -200, -8, -1])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.arrow"
    seal, _ = write(path, [[1, 2, 3] * 40])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CurateError) as caught:
        ExchangeReader(path, seal)
    assert caught.value.problems[0].code == "R306"
    assert str(path) in caught.value.problems[0].message


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows come out as they were, or not at all; damaged rows are found by who reads them."""
    monkeypatch.setattr(exchange, "_PAGE", 2)
    path = tmp_path / "x.arrow"
    seal, expected = write(path, [[1, 2, 3, 2, 9], [3, 7]])
    whole = path.read_bytes()
    found_at_once = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            reader = ExchangeReader(path, seal)
        except CurateError:
            found_at_once += 1
            continue
        damaged = []
        for key, rows in expected.items():
            try:
                assert [row for batch in reader.batches(key) for row in batch.to_pylist()] == rows
            except CurateError:
                damaged.append(key)
        assert damaged, place
        assert len(damaged) < len(expected), place
    assert found_at_once < len(whole) / 6


def test_a_partition_is_read_without_the_rows_of_others(tmp_path: Path) -> None:
    """A worker reads its own stretches of every shard's file: checking them must not cost the whole file each time."""
    path = tmp_path / "x.arrow"
    seal, expected = write(path, [list(range(1000)) * 20])
    read = []

    class Counting(ExchangeReader):
        def _read(self, offset: int, size: int) -> pa.Buffer:
            read.append(size)
            return super()._read(offset, size)

    reader = Counting(path, seal)
    assert sum(len(batch) for batch in reader.batches(500)) == len(expected[500])
    assert sum(read) < path.stat().st_size / 20


def test_what_a_done_file_records_does_not_grow_with_partitions(tmp_path: Path) -> None:
    few, _ = write(tmp_path / "few.arrow", [[1, 2]])
    many, _ = write(tmp_path / "many.arrow", [list(range(2000))] * 3)
    assert len(few) == len(many) == 32


def test_files_that_changed_places_are_found(tmp_path: Path) -> None:
    one, _ = write(tmp_path / "one.arrow", [[1, 2, 3]])
    other, _ = write(tmp_path / "other.arrow", [[1, 2, 3], [1, 2, 3]])
    ExchangeReader(tmp_path / "one.arrow", one)
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "one.arrow", other)
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "other.arrow", one)


def test_stretches_that_changed_places_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    seal, _ = write(path, [[0, 1, 2]])
    reader = ExchangeReader(path, seal)
    _, first, second = reader._page(0)
    assert first["bytes"] == second["bytes"]
    whole, start, size = path.read_bytes(), int(first["offset"]), int(first["bytes"])
    swapped = (
        whole[:start]
        + whole[start + size : start + 2 * size]
        + whole[start : start + size]
        + whole[start + 2 * size :]
    )
    path.write_bytes(swapped)
    for partition in (1, 2):
        with pytest.raises(CurateError, match=f"R306.*partition {partition}"):
            ExchangeReader(path, seal).batches(partition)


def test_a_file_of_the_old_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(record(range(5)))
    with pytest.raises(CurateError, match="another version of curate"):
        ExchangeReader(path, "")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "none.arrow", "")


def test_a_map_that_fails_leaves_no_whole_file(tmp_path: Path) -> None:
    def work() -> None:
        with ExchangeWriter(tmp_path / "x.arrow", SCHEMA) as writer:
            writer.append(record(range(3)), np.array([0, 1, 2]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "x.arrow", "")
