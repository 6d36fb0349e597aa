"""An overlay gives back what was written, however far it is read at a time, and says so when it was damaged."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.core import overlay
from curate.core.errors import CurateError
from curate.core.overlay import OverlayReader, OverlayWriter, doc_numbers, overlay_schema

SCHEMA = overlay_schema(
    [
        pa.field("lid__prob", pa.float32(), metadata={"curate.step": "lid.fasttext"}),
        pa.field("tag__list", pa.list_(pa.string())),
    ]
)


def rows_of(docs: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "doc": doc,
            "lid__prob": None if doc % 5 == 0 else doc % 4 / 4,
            "tag__list": None if doc % 3 == 0 else [str(doc)] * (doc % 3),
            "text": "rewritten é" if doc % 7 == 0 else None,
            "text_bytes": doc % 100,
            "drop": "lid" if doc % 2 else None,
            "drop_reasons": ["a", "b"] if doc % 2 else None,
        }
        for doc in docs
    ]


def write(path: Path, docs: list[int], cuts: list[int]) -> list[dict[str, Any]]:
    """Write rows for these docs in batches cut at `cuts`; gives the rows."""
    rows = rows_of(docs)
    bounds = [0, *sorted(c % (len(rows) + 1) for c in cuts), len(rows)]
    with OverlayWriter(path, SCHEMA) as writer:
        for start, end in itertools.pairwise(bounds):
            writer.append(pa.RecordBatch.from_pylist(rows[start:end], schema=SCHEMA))
    return rows


documents = st.lists(st.integers(0, 400), unique=True, max_size=60).map(sorted)


@settings(deadline=None)
@given(
    docs=documents,
    cuts=st.lists(st.integers(0, 60), max_size=6),
    stops=st.lists(st.integers(-1, 410), max_size=12),
)
def test_reading_forwards_in_any_steps_gives_every_row_once(
    docs: list[int], cuts: list[int], stops: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlay, "_READ_ROWS", 7)
        patch.setattr(overlay, "_GROUP_ROWS", 11)
        path = Path(place) / "o.parquet"
        rows = write(path, docs, cuts)
        reader = OverlayReader(path, SCHEMA.names)
        read: list[dict[str, Any]] = []
        for stop in sorted(stops):
            part = reader.take_until(stop)
            read += part.to_pylist()
            assert [r["doc"] for r in read] == [d for d in docs if d <= stop]
        for part in reader:
            read += part.to_pylist()
        assert read == rows


@settings(deadline=None)
@given(docs=documents, stops=st.lists(st.integers(-1, 410), min_size=1, max_size=5))
def test_a_stop_that_was_passed_gives_nothing_more(docs: list[int], stops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "o.parquet"
        write(path, docs, [])
        reader = OverlayReader(path, [])
        reader.take_until(max(stops))
        for stop in stops:
            assert reader.take_until(stop).num_rows == 0


def test_the_columns_asked_for_come_in_the_order_asked_and_doc_first(tmp_path: Path) -> None:
    write(tmp_path / "o.parquet", [1, 2, 3], [])
    reader = OverlayReader(tmp_path / "o.parquet", ["drop", "lid__prob"])
    batch = reader.take_until(2)
    assert batch.schema.names == ["doc", "drop", "lid__prob"]
    assert doc_numbers(batch).tolist() == [1, 2]


def test_schema_types_and_metadata_survive(tmp_path: Path) -> None:
    write(tmp_path / "o.parquet", [4, 5], [])
    found = pq.read_schema(tmp_path / "o.parquet")
    assert found.equals(SCHEMA)
    assert found.field("lid__prob").metadata[b"curate.step"] == b"lid.fasttext"


def test_an_overlay_of_nothing_is_a_file_with_a_schema(tmp_path: Path) -> None:
    write(tmp_path / "o.parquet", [], [])
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0
    assert OverlayReader(tmp_path / "o.parquet", ["drop"]).take_until(10**12).num_rows == 0


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    docs = list(range(0, 5000, 3))
    write(tmp_path / "a.parquet", docs, [100, 900])
    write(tmp_path / "b.parquet", docs, [100, 900])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_row_groups_end_where_the_batches_fill_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_GROUP_ROWS", 100)
    write(tmp_path / "o.parquet", list(range(250)), list(range(0, 250, 30)))
    facts = pq.ParquetFile(tmp_path / "o.parquet").metadata
    assert [facts.row_group(i).num_rows for i in range(facts.num_row_groups)] == [120, 120, 10]


def test_a_pass_that_fails_writes_none_of_the_rows_it_held(tmp_path: Path) -> None:
    def work() -> None:
        with OverlayWriter(tmp_path / "o.parquet", SCHEMA) as writer:
            writer.append(pa.RecordBatch.from_pylist(rows_of([1]), schema=SCHEMA))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0


@pytest.mark.parametrize("keep", [0, 3, 100, -9, -1])
def test_a_truncated_overlay_is_an_error_that_names_it(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "o.parquet"
    write(path, list(range(1000)), [])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CurateError) as caught:
        OverlayReader(path, SCHEMA.names).take_until(2000)
    assert caught.value.problems[0].code == "R306"
    assert str(path) in caught.value.problems[0].message


def test_a_flipped_bit_in_the_data_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    write(path, list(range(3000)), [])
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(CurateError) as caught:
        list(OverlayReader(path, []))
    assert caught.value.problems[0].code == "R306"


def test_an_overlay_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="R306"):
        OverlayReader(tmp_path / "none.parquet", [])
