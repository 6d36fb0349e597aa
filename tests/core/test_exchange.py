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


def write(path: Path, keys: list[list[int]]) -> tuple[list[int], dict[int, list[dict[str, object]]]]:
    """One batch for each list of partitions; gives the batches' partitions and the rows of each partition."""
    expected: dict[int, list[dict[str, object]]] = {}
    first = 0
    with ExchangeWriter(path, SCHEMA) as writer:
        for batch_keys in keys:
            batch = record(range(first, first + len(batch_keys)))
            first += len(batch_keys)
            writer.append(batch, np.array(batch_keys, np.int64))
            for key, row in zip(batch_keys, batch.to_pylist(), strict=True):
                expected.setdefault(key, []).append(row)
    return writer.partitions, expected


partitions = st.lists(st.lists(st.integers(0, 9) | st.integers(0, 2**40), max_size=20), max_size=8)


@settings(deadline=None)
@given(keys=partitions, run_bytes=st.sampled_from([1, 500, 64 * 2**20]))
def test_every_row_comes_back_once_in_its_partition_and_in_order(
    keys: list[list[int]], run_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "_RUN_BYTES", run_bytes)
        path = Path(place) / "x.arrow"
        facts, expected = write(path, keys)
        reader = ExchangeReader(path, facts)
        found = {
            key: [row for batch in reader.batches(key) for row in batch.to_pylist()]
            for key in set(facts) | {7}
        }
        assert {key: rows for key, rows in found.items() if rows} == expected
        assert reader.batches(-1) == []


def test_an_exchange_of_nothing_is_a_file_with_a_schema(tmp_path: Path) -> None:
    facts, _ = write(tmp_path / "x.arrow", [])
    reader = ExchangeReader(tmp_path / "x.arrow", facts)
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
    facts, _ = write(path, [[1, 2, 3] * 40])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CurateError) as caught:
        ExchangeReader(path, facts)
    assert caught.value.problems[0].code == "R306"
    assert str(path) in caught.value.problems[0].message


def test_a_file_that_does_not_fit_its_done_record_is_an_error(tmp_path: Path) -> None:
    facts, _ = write(tmp_path / "x.arrow", [[1, 2, 3]])
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "x.arrow", facts[:-1])


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="R306"):
        ExchangeReader(tmp_path / "none.arrow", [])


def test_a_map_that_fails_writes_no_run(tmp_path: Path) -> None:
    def work() -> None:
        with ExchangeWriter(tmp_path / "x.arrow", SCHEMA) as writer:
            writer.append(record(range(3)), np.array([0, 1, 2]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert ExchangeReader(tmp_path / "x.arrow", []).batches(0) == []
