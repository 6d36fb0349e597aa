"""What a shard gives: good rows, and bad ones beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import CurateError
from curate.core.manifest import doc_id
from curate.core.utf8 import invalid_rows
from curate.io import sharding
from curate.io.schema import source_schema
from curate.io.source import read_shard
from tests.io.inputs import Read, input_spec, plan, write_parquet
from tests.io.test_parquet import corrupt_page

Reader = Callable[..., Read]


def as_string(values: Any) -> pa.Array:
    """bytes as strings, valid or not."""
    options = pc.CastOptions(target_type=pa.string(), allow_invalid_utf8=True)
    return pa.array(values, pa.binary()).cast(options=options)


def test_rows_have_doc_and_a_made_id(tmp_path: Path, read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "SHARD_BYTES", 1)
    path = write_parquet(tmp_path / "de/a.parquet", {"text": ["a", "b", None]}, row_group_size=2)
    result = read(input_spec(path.parent.parent, name="web"))
    assert result.rows == [
        {"doc": doc_id(0, 0), "id": "web/de/a.parquet#0", "text": "a", "source": "web"},
        {"doc": doc_id(0, 1), "id": "web/de/a.parquet#1", "text": "b", "source": "web"},
        {"doc": doc_id(1, 0), "id": "web/de/a.parquet#2", "text": None, "source": "web"},
    ]


def test_ids_are_strings_and_missing_ones_are_made(tmp_path: Path, read: Reader) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "id": [7, None, 7]})
    assert read(input_spec(path)).column("id") == ["7", "a.parquet#1", "7"]


def test_columns_a_file_lacks_are_null_and_constants_are_set(tmp_path: Path, read: Reader) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["a"], "n": [1], "licence": ["CC"]})
    write_parquet(tmp_path / "b.parquet", {"text": ["b"], "meta": [{"k": ["v"]}]})
    rows = read(input_spec(tmp_path, constants={"licence": "MIT", "year": 1})).rows
    assert [(row["n"], row["meta"], row["licence"], row["year"]) for row in rows] == [
        (1, None, "MIT", 1),
        (None, {"k": ["v"]}, "MIT", 1),
    ]


def test_structs_with_other_fields_are_unified(tmp_path: Path, read: Reader) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["a"], "meta": [{"k": 1}]})
    write_parquet(tmp_path / "b.parquet", {"text": ["b"], "meta": [{"l": "x"}]})
    assert read(input_spec(tmp_path)).column("meta") == [{"k": 1, "l": None}, {"k": None, "l": "x"}]


def test_the_files_own_source_comes_before_the_inputs_name(tmp_path: Path, read: Reader) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "source": ["wiki", None]})
    assert read(input_spec(path, name="web")).column("source") == ["wiki", "web"]
    assert read(input_spec(path, name="web", constants={"source": "set"})).column("source") == ["set", "set"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
def test_text_of_any_string_like_type_is_read(tmp_path: Path, read: Reader, kind: pa.DataType) -> None:
    texts = ["größe", None, "", "x"]
    plain = pa.array([None if text is None else text.encode() for text in texts], pa.binary())
    array = pa.array(texts).dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    result = read(input_spec(write_parquet(tmp_path / "a.parquet", {"text": array})))
    assert result.column("text") == texts
    assert all(batch.record.schema.field("text").type == pa.string() for batch in result.batches)


def test_only_the_columns_asked_for_are_given(tmp_path: Path, read: Reader) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a"], "n": [1], "m": [2]})
    for validate in (True, False):
        result = read(input_spec(path), columns=frozenset({"m"}), validate=validate)
        assert result.rows == [{"doc": 0, "m": 2}]
        assert read(input_spec(path), columns=frozenset(), validate=validate).rows == [{"doc": 0}]
        assert read(input_spec(path), columns=frozenset({"id"}), validate=validate).rows == [
            {"doc": 0, "id": "a.parquet#0"}
        ]


def test_invalid_utf8_costs_one_row_and_is_kept_with_its_place(tmp_path: Path, read: Reader) -> None:
    texts = [b"fine %d" % i for i in range(3000)]
    texts[1500] = b"bad \xff byte" + b"x" * 9000
    result = read(
        input_spec(write_parquet(tmp_path / "a.parquet", {"text": as_string(texts)}, row_group_size=700))
    )
    assert len(result.rows) == 2999
    (bad,) = result.bad
    assert (bad.doc, bad.row, bad.file, bad.position) == (1500, 1500, "a.parquet", "row 1500")
    assert bad.reason == "invalid UTF-8 in column 'text' at byte 4"
    assert bad.raw == texts[1500][:4096]
    assert 1500 not in result.column("doc")


def test_invalid_utf8_in_any_column_is_found_whatever_is_asked_for(tmp_path: Path, read: Reader) -> None:
    nested = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 4], pa.int32()), as_string([b"a", b"\xff", b"c", b"d"])
    )
    columns = {"text": ["a", "b", "c"], "url": as_string([b"\xc3", b"u", None]), "tags": nested}
    path = write_parquet(tmp_path / "a.parquet", columns)
    result = read(input_spec(path), columns=frozenset({"text"}))
    assert result.column("text") == ["c"]
    assert [(bad.row, bad.reason) for bad in result.bad] == [
        (0, "invalid UTF-8 in column 'url' at byte 0"),
        (1, "invalid UTF-8 in column 'tags'"),
    ]


def test_later_passes_leave_the_judging_to_the_first(tmp_path: Path, read: Reader) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "url": as_string([b"\xff", b"u"])})
    result = read(input_spec(path), columns=frozenset({"text"}), validate=False)
    assert (result.column("doc"), result.bad) == ([0, 1], [])


@given(st.lists(st.one_of(st.none(), st.binary(max_size=6)), max_size=40), st.integers(0, 5))
def test_invalid_rows_are_those_python_cannot_decode(values: list[bytes | None], skip: int) -> None:
    def broken(value: bytes | None) -> bool:
        try:
            return value is not None and value.decode() is None
        except UnicodeDecodeError:
            return True

    array = as_string(values)[skip:]
    expected = [broken(value) for value in values[skip:]]
    found = invalid_rows(array)
    assert (found.tolist() if found is not None else [False] * len(array)) == expected
    nested = pa.ListArray.from_arrays(pa.array(range(len(array) + 1), pa.int32()), array)
    in_lists = invalid_rows(nested)
    assert (in_lists.tolist() if in_lists is not None else [False] * len(array)) == expected


def test_values_that_do_not_convert_are_bad_records(tmp_path: Path, read: Reader) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": list("abcd"), "n": ["1", "two", None, "4"]})
    result = read(input_spec(path, columns={"n": ("n", "int64")}))
    assert result.column("n") == [1, None, 4]
    (bad,) = result.bad
    assert (bad.row, bad.raw) == (1, b"two")
    assert "'n' does not convert from string to int64" in bad.reason


def test_a_file_that_is_none_is_d401_or_one_bad_record(tmp_path: Path, read: Reader) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["a"]})
    (tmp_path / "b.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(CurateError, match=r"D401: .*b\.parquet"):
        read(input_spec(tmp_path))
    result = read(input_spec(tmp_path, on_error="quarantine"))
    assert result.column("text") == ["a"]
    (bad,) = result.bad
    assert (bad.doc, bad.file) == (doc_id(1, 0), "b.parquet")
    assert "cut short" in bad.reason


def test_a_corrupt_page_stops_or_every_row_of_it_is_bad(tmp_path: Path, read: Reader) -> None:
    options = {
        "row_group_size": 3000,
        "use_dictionary": False,
        "data_page_size": 20_000,
        "compression": "zstd",
    }
    texts = [f"{i} " * 20 for i in range(9000)]
    path = write_parquet(tmp_path / "a.parquet", {"text": texts}, **options)
    corrupt_page(path, 1, 0)
    with pytest.raises(CurateError, match=r"D401: a\.parquet: .* row group 1"):
        read(input_spec(path))
    result = read(input_spec(path, on_error="quarantine"))
    rows = [bad.row for bad in result.bad]
    assert rows == list(range(rows[0], 6000))
    assert sorted(result.column("doc") + [bad.doc for bad in result.bad]) == list(range(9000))


@pytest.mark.parametrize("damage", ["longer", "same size", "gone"])
def test_a_file_rewritten_between_passes_is_r301(tmp_path: Path, damage: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["aaa"]}, compression="none")
    specs = [input_spec(path)]
    manifest = plan(*specs)
    schema = source_schema(manifest, specs)
    before = path.stat()
    if damage == "gone":
        path.unlink()
    else:
        write_parquet(path, {"text": ["bbb" if damage == "same size" else "b" * 90]}, compression="none")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CurateError, match=r"R301: a\.parquet") as caught:
        list(read_shard(manifest, specs, 0, schema=schema))
    assert caught.value.exit_code == 1


def test_stores_are_read_like_disks(memory: Any, tmp_path: Path, read: Reader) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["größe"] * 10_000})
    memory.pipe("/corpus/a.parquet", (tmp_path / "a.parquet").read_bytes())
    memory.pipe("/corpus/b.jsonl", b'{"text": "x"}\n')
    result = read(input_spec("memory://corpus"))
    assert result.column("text") == ["größe"] * 10_000 + ["x"]


def test_mixed_inputs_give_one_schema(tmp_path: Path, read: Reader) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["a"], "n": [1]})
    (tmp_path / "b.jsonl").write_text('{"text": "b", "n": 2}\n')
    result = read(input_spec(tmp_path))
    assert {batch.record.schema for batch in result.batches} == {result.schema}
    assert [(row["text"], row["n"], row["extra"]) for row in result.rows] == [
        ("a", 1, None),
        ("b", None, '{"n":2}'),
    ]
