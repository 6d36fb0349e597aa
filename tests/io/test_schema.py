"""One schema for all inputs, and everything that stands against it, named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.core.errors import CurateError, Problem
from curate.core.manifest import InputSpec
from curate.io.schema import source_schema
from tests.io.inputs import input_spec, plan, write_parquet

STRING = pa.string()


def schema_of(*specs: InputSpec) -> dict[str, pa.DataType]:
    schema = source_schema(plan(*specs), specs)
    return dict(zip(schema.names, schema.types, strict=True))


def problems_of(*specs: InputSpec) -> tuple[Problem, ...]:
    with pytest.raises(CurateError) as caught:
        schema_of(*specs)
    return caught.value.problems


def test_reserved_columns_come_first_and_are_strings(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "n": pa.array([1], pa.int32()),
        "date": pa.array([0], pa.timestamp("us")),
        "text": ["x"],
        "url": ["u"],
        "id": [7],
        "meta": [{"a": [1]}],
    }
    schema = schema_of(input_spec(write_parquet(tmp_path / "a.parquet", columns)))
    assert list(schema) == ["doc", "id", "text", "url", "date", "n", "meta"]
    assert schema["doc"] == pa.int64()
    assert schema["id"] == schema["url"] == schema["date"] == STRING
    assert schema["n"] == pa.int32()
    assert schema["meta"] == pa.struct([("a", pa.list_(pa.int64()))])


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), STRING),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
)
def test_string_like_columns_become_strings(tmp_path: Path, kind: pa.DataType) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", {"text": pa.array(["x"], kind), "tag": pa.array(["y"], kind)}
    )
    assert schema_of(input_spec(path))["tag"] == STRING


def test_bytes_are_text_only_in_reserved_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": [b"x"], "id": [b"7"], "blob": [b"\xff"]})
    schema = schema_of(input_spec(path))
    assert (schema["text"], schema["id"], schema["blob"]) == (STRING, STRING, pa.binary())


def test_files_are_unified_and_nulls_take_the_others_type(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "a.parquet", {"text": ["x"], "n": pa.nulls(1), "tags": pa.array([[]], pa.list_(pa.null()))}
    )
    write_parquet(tmp_path / "b.parquet", {"text": ["x"], "n": [1.5], "tags": [["t"]], "m": [True]})
    schema = schema_of(input_spec(tmp_path))
    assert (schema["n"], schema["tags"], schema["m"]) == (pa.float64(), pa.list_(STRING), pa.bool_())


def test_names_of_list_items_are_no_conflict(tmp_path: Path) -> None:
    for name in ("item", "element"):
        kind = pa.list_(pa.field(name, STRING))
        write_parquet(tmp_path / f"{name}.parquet", {"text": ["x"], "tags": pa.array([["t"]], kind)})
    assert schema_of(input_spec(tmp_path))["tags"] == pa.list_(STRING)


def test_all_conflicts_are_listed_with_files_and_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"], "n": [1], "m": ["x"]})
    write_parquet(tmp_path / "b.parquet", {"text": ["x"], "n": ["1"], "m": [True]})
    problems = problems_of(input_spec(tmp_path))
    assert [problem.code for problem in problems] == ["C204", "C204"]
    assert problems[0].message == "column 'n' is int64 in a.parquet but string in b.parquet"
    assert "type: string" in problems[0].help


def test_a_declared_type_ends_a_conflict(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"], "n": [1]})
    write_parquet(tmp_path / "b.parquet", {"text": ["x"], "n": ["1"]})
    assert schema_of(input_spec(tmp_path, columns={"n": ("n", "string")}))["n"] == STRING


def test_a_missing_text_column_is_explained(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"body": ["x"], "n": [1]})
    (problem,) = problems_of(input_spec(path))
    assert problem.code == "D402"
    assert problem.message == "a.parquet: no column 'text'; it has body, n"
    assert "columns: {text: body}" in problem.help
    assert schema_of(input_spec(path, columns={"text": "body"}))["text"] == STRING


def test_many_files_without_text_are_one_problem(tmp_path: Path) -> None:
    for i in range(30):
        write_parquet(tmp_path / f"{i:02}.parquet", {"body": ["x"]})
    (problem,) = problems_of(input_spec(tmp_path))
    assert problem.message.startswith("00.parquet and 29 more: no column 'text'")


def test_jsonl_whose_text_is_called_something_else_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "x", "n": 1}\n')
    (problem,) = problems_of(input_spec(tmp_path))
    assert problem.code == "D402"
    assert "they have body, n" in problem.message


def test_a_missing_declared_column_is_d402(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    (problem,) = problems_of(input_spec(path, columns={"url": "link"}))
    assert (problem.code, "'link'" in problem.message) == ("D402", True)


@pytest.mark.parametrize("text", [[1], [["x"]], [{"x": "y"}], [True]])
def test_text_of_another_type_is_d403(tmp_path: Path, text: list[Any]) -> None:
    (problem,) = problems_of(input_spec(write_parquet(tmp_path / "a.parquet", {"text": text})))
    assert (problem.code, "'text'" in problem.message) == ("D403", True)


def test_a_reserved_column_that_is_no_string_is_d403(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"], "url": [["u", "v"]]})
    assert problems_of(input_spec(path))[0].code == "D403"
    assert schema_of(input_spec(path, columns={"links": "url"}))["links"] == pa.list_(STRING)


def test_a_renamed_field_and_the_files_own_doc_are_gone(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"body": ["x"], "doc": ["d"], "text": ["other"]})
    assert list(schema_of(input_spec(path, columns={"text": "body"}))) == ["doc", "id", "text"]
    kept = schema_of(input_spec(path, columns={"text": "body", "old_doc": "doc", "old_text": "text"}))
    assert kept["old_doc"] == kept["old_text"] == STRING


def test_constants_have_the_types_of_their_values(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"], "year": ["no"]})
    constants = {"licence": "MIT", "year": 2024, "share": 0.5, "clean": True, "date": 2024}
    schema = schema_of(input_spec(path, constants=constants))
    assert {name: schema[name] for name in constants} == {
        "licence": STRING,
        "year": pa.int64(),
        "share": pa.float64(),
        "clean": pa.bool_(),
        "date": STRING,
    }


def test_jsonl_has_reserved_declared_and_extra(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    columns = {"score": ("s", "float64"), "tags": ("t", "list<string>"), "lang": "l"}
    schema = schema_of(input_spec(tmp_path, columns=columns))
    reserved = ["doc", "id", "text", "url", "source", "date", "dump", "licence"]
    assert list(schema) == [*reserved, "score", "tags", "lang", "extra"]
    assert (schema["score"], schema["tags"], schema["lang"]) == (pa.float64(), pa.list_(STRING), STRING)


def test_a_named_input_has_a_source(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    assert "source" not in schema_of(input_spec(path))
    assert schema_of(input_spec(path, name="web"))["source"] == STRING


def test_bad_files_have_no_say(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    (tmp_path / "b.parquet").write_bytes(b"no")
    assert list(schema_of(input_spec(tmp_path, on_error="quarantine"))) == ["doc", "id", "text"]
