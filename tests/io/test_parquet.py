"""Parquet files that are none, and reading that is bounded by the batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import CurateError
from curate.io import parquet
from curate.io.parquet import Rows, Unreadable, read_facts, read_parquet, rows_at_a_time
from tests.io.inputs import write_parquet


def batches(path: Path, columns: list[str] | None = None) -> list[Rows]:
    found = list(read_parquet(str(path), range(len(read_facts(str(path)).row_groups)), columns))
    assert all(isinstance(rows, Rows) for rows in found)
    return [rows for rows in found if isinstance(rows, Rows)]


def test_facts_are_what_was_written(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b", "c"]}, row_group_size=2)
    facts = read_facts(str(path))
    assert facts.rows == 3
    assert [rows for rows, _ in facts.row_groups] == [2, 1]
    assert facts.schema == pa.schema([("text", pa.string())])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b'{"text": "x"}\n', "no Parquet file"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"PAR1 and then nothing", "cut short"),
        (b"PAR1" + b"\x00" * 100 + b"\xff\x00\x00\x00PAR1", "footer"),
        (b"PARE" + b"\x00" * 100 + b"\x10\x00\x00\x00PARE", "encrypted"),
    ],
)
def test_what_is_no_parquet_file_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(CurateError, match=rf"D401: .*{reason}"):
        read_facts(str(path))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x" * 100] * 100})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CurateError, match=r"D401: .*cut short"):
        read_facts(str(path))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    path = write_parquet(tmp_path / "a.parquet", table)
    with pytest.raises(CurateError, match=r"D401: .*two columns are called 'text'"):
        read_facts(str(path))


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        (1000, 3_000_000, 174),  # 3 KB rows: 512 KiB a step
        (1000, 100_000_000, 41),  # 100 KB rows: 4 MiB a step
        (1000, 20_000_000, 64),
        (10, 600_000_000, 1),
        (1_000_000, 8_000_000, 1024),
        (0, 0, 1024),
    ],
)
def test_steps_fit_the_rows(rows: int, size: int, expected: int) -> None:
    assert rows_at_a_time(rows, size) == expected


def test_batches_hold_about_8_mib_and_at_the_end_half_and_every_row_once(tmp_path: Path) -> None:
    texts = [str(i) * (i % 3000) for i in range(12_000)]
    path = write_parquet(tmp_path / "a.parquet", {"text": texts}, row_group_size=2500)
    found = batches(path)
    assert [text for rows in found for text in rows.record.column("text").to_pylist()] == texts
    assert [rows.first_row for rows in found] == [0] + [
        sum(rows.record.num_rows for rows in found[: i + 1]) for i in range(len(found) - 1)
    ]
    whole = parquet.BATCH_BYTES
    assert len(found) > 10
    assert [round(2 * rows.record.nbytes / whole) for rows in found[:-1]] == [2] * 5 + [1] * (len(found) - 6)
    assert all(rows.record.nbytes <= whole for rows in found[:5])
    assert all(rows.record.nbytes <= whole // 2 for rows in found[5:])


def test_a_large_document_is_a_batch_by_itself(tmp_path: Path) -> None:
    texts = ["small"] * 100 + ["x" * 20_000_000] + ["small"] * 100 + ["y" * 20_000_000] * 2
    found = batches(write_parquet(tmp_path / "a.parquet", {"text": texts}))
    assert [rows.record.num_rows for rows in found] == [100, 1, 100, 1, 1]


def test_short_rows_are_batched_by_number(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"n": list(range(100_000))})
    assert max(rows.record.num_rows for rows in batches(path)) <= parquet.BATCH_ROWS
    assert sum(rows.record.num_rows for rows in batches(path, [])) == 100_000


def test_a_column_whose_name_begins_alike_is_not_read_along(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"a": [1], "a.b": [2], "c": [{"a": 3}]})
    assert batches(path, ["a"])[0].record.to_pylist() == [{"a": 1}]
    assert batches(path, ["c", "a.b"])[0].record.to_pylist() == [{"c": {"a": 3}, "a.b": 2}]


def corrupt_page(path: Path, group: int, column: int) -> None:
    """Overwrites a column chunk from its middle on."""
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(column)
    data = bytearray(path.read_bytes())
    half = chunk.total_compressed_size // 2
    end = chunk.data_page_offset + chunk.total_compressed_size
    data[end - half : end] = b"\xff" * half
    path.write_bytes(data)


def test_a_corrupt_page_costs_only_the_rest_of_its_row_group(tmp_path: Path) -> None:
    texts = [json.dumps([i] * 50) for i in range(9000)]
    options = {
        "row_group_size": 3000,
        "compression": "zstd",
        "use_dictionary": False,
        "data_page_size": 20_000,
    }
    path = write_parquet(tmp_path / "a.parquet", {"n": list(range(9000)), "text": texts}, **options)
    corrupt_page(path, 1, 1)
    found = list(read_parquet(str(path), range(3), None))
    torn = [rows for rows in found if isinstance(rows, Unreadable)]
    assert len(torn) == 1
    assert 3000 < torn[0].first_row < 6000
    assert torn[0].first_row + torn[0].rows == 6000
    assert torn[0].row_group == 1
    read = [n for rows in found if isinstance(rows, Rows) for n in rows.record.column("n").to_pylist()]
    assert read == [n for n in range(9000) if not torn[0].first_row <= n < 6000]
    only_text = [rows for rows in read_parquet(str(path), range(3), ["text"]) if isinstance(rows, Unreadable)]
    assert only_text == torn  # the same rows, whatever is read beside
    assert not [rows for rows in read_parquet(str(path), range(3), ["n"]) if isinstance(rows, Unreadable)]


PEAK = """
import sys
def peak(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024
from curate.io.parquet import read_facts, read_parquet
base = peak("VmRSS")
groups = range(len(read_facts(sys.argv[1]).row_groups))
rows = sum(rows.record.num_rows for rows in read_parquet(sys.argv[1], groups, None))
print(rows, peak("VmHWM") - base)
"""


def memory_of_a_whole_read(path: Path) -> tuple[int, float]:
    """Rows, and MiB above what the imports take."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    rows, peak = done.stdout.split()
    return int(rows), float(peak)


@pytest.mark.slow
def test_a_row_group_of_1_gb_is_read_in_300_mb(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    block = [f"{i} " + "compressible text, " * 160 for i in range(34_000)]
    table = pa.table(
        {"text": pa.array(block * 10, pa.large_string()), "id": [str(i) for i in range(340_000)]}
    )
    assert table.nbytes > 1_000_000_000
    pq.write_table(table, path, row_group_size=1_000_000, compression="zstd", use_dictionary=False)
    del table
    rows, peak = memory_of_a_whole_read(path)
    assert rows == 340_000
    assert peak < 300


@pytest.mark.slow
def test_documents_of_60_mb_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{i} " + "long document " * 4_300_000 if i % 10 == 0 else f"{i} short" for i in range(120)]
    table = pa.table({"text": texts})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_batch_size=10)
    rows, peak = memory_of_a_whole_read(path)
    assert rows == 120
    assert peak < 300
