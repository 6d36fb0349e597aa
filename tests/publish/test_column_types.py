"""Columns of every type that Parquet holds are carried from the input to the published files, through the exchange too."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.publish.publishing import Publisher

ROWS = 40
DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 1)

#: Column → type and the value of a row.
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "flag": (pa.bool_(), lambda n: n % 2 == 0),
    "small": (pa.int8(), lambda n: n),
    "unsigned": (pa.uint64(), lambda n: 2**63 + n),
    "half": (pa.float32(), lambda n: n / 2),
    "day": (pa.date32(), lambda n: DAY + datetime.timedelta(n)),
    "moment": (pa.timestamp("us", tz="UTC"), lambda n: MOMENT.replace(tzinfo=datetime.UTC)),
    "price": (pa.decimal128(10, 2), lambda n: Decimal(n) / 4),
    "raw": (pa.binary(), lambda n: bytes([n, 255])),
    "kind": (pa.dictionary(pa.int32(), pa.string()), lambda n: ("red", "green", "blue")[n % 3]),
    "tags": (pa.list_(pa.string()), lambda n: [str(n)] * (n % 3)),
    "deep": (
        pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        lambda n: [{"a": n, "b": ["x"]}],
    ),
    "pair": (pa.struct([("x", pa.float64()), ("y", pa.string())]), lambda n: {"x": n * 1.5, "y": "é"}),
    "long": (pa.large_string(), lambda n: f"long {n}"),
    "map": (pa.map_(pa.string(), pa.int64()), lambda n: [("k", n)]),
}


def table(first: int, rows: int) -> pa.Table:
    numbers = range(first, first + rows)
    columns = {
        name: pa.array([None if n % 5 == 4 else make(n) for n in numbers], kind)
        for name, (kind, make) in KINDS.items()
    }
    return pa.table({"id": [f"d{n}" for n in numbers], "text": [f"text {n}" for n in numbers], **columns})


def write(publisher: Publisher, name: str, data: pa.Table) -> None:
    path = publisher.root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, path, row_group_size=7)


@pytest.mark.parametrize(
    "arranged", [{}, {"shuffle": 1}, {"partition_by": "kind"}, {"shard": 200, "shuffle": 3}], ids=str
)
def test_values_of_every_type_are_published_as_they_were(
    publisher: Publisher, arranged: dict[str, Any]
) -> None:
    publisher.language = None
    write(publisher, "a.parquet", table(0, ROWS // 2))
    write(publisher, "b.parquet", table(ROWS // 2, ROWS // 2))
    publisher.publish(columns=["id", *KINDS], **arranged)
    expected = {row["id"]: row for row in table(0, ROWS).drop_columns(["text"]).to_pylist()}
    found = {row["id"]: row for row in publisher.rows()}
    assert found == expected
    schema = publisher.schema()
    for name in (
        "flag",
        "small",
        "unsigned",
        "half",
        "day",
        "moment",
        "price",
        "raw",
        "tags",
        "deep",
        "pair",
        "map",
    ):
        assert schema.field(name).type == KINDS[name][0], name


def test_dictionaries_that_differ_between_files_are_published(publisher: Publisher) -> None:
    publisher.language = None
    for name, values in (("a.parquet", ["x", "y", "x"]), ("b.parquet", ["z", "x", None])):
        kinds = pa.array(values).dictionary_encode()
        write(publisher, name, pa.table({"text": [f"{name} {n}" for n in range(3)], "kind": kinds}))
    publisher.publish(shuffle=1, columns=["text", "kind"])
    assert sorted(row["kind"] or "" for row in publisher.rows()) == ["", "x", "x", "x", "y", "z"]


@pytest.mark.parametrize("arranged", [{}, {"shuffle": 1}, {"partition_by": "language"}], ids=str)
def test_inputs_without_rows_are_published_as_an_empty_file(
    publisher: Publisher, arranged: dict[str, Any]
) -> None:
    empty = pa.table(
        {
            "id": pa.array([], pa.string()),
            "text": pa.array([], pa.string()),
            "lang": pa.array([], pa.string()),
        }
    )
    write(publisher, "a.parquet", empty)
    write(publisher, "b.parquet", empty)
    publisher.publish(columns=["id", "text"], **arranged)
    assert publisher.rows() == []
    assert len(publisher.files()) == 1


def test_an_empty_file_among_others_changes_nothing(publisher: Publisher) -> None:
    publisher.language = None
    write(publisher, "b.parquet", table(0, 9))
    write(publisher, "a.parquet", table(0, 0))
    publisher.publish(columns=["id"], shard=30)
    assert [row["id"] for row in publisher.rows()] == [f"d{n}" for n in range(9)]


@pytest.mark.parametrize("name", ["__doc", "doc", "drop", "text_bytes", "with space", "a.b", "größe"])
@pytest.mark.parametrize("seed", [None, 1])
def test_any_published_name_works(publisher: Publisher, name: str, seed: int | None) -> None:
    publisher.language = None
    write(publisher, "a.parquet", table(0, 9))
    publisher.publish(columns={"id": "id", "text": name}, shuffle=seed)
    assert {row["id"]: row[name] for row in publisher.rows()} == {f"d{n}": f"text {n}" for n in range(9)}


@pytest.mark.parametrize("name", ["drop", "drop_reasons", "text_bytes", "with space", "a.b", "größe"])
def test_a_column_of_the_input_may_have_any_name(publisher: Publisher, name: str) -> None:
    publisher.language = None
    write(publisher, "a.parquet", pa.table({"text": ["one", "two", None], name: [1, 2, 3]}))
    publisher.steps = [{"use": "filters.select", "as": "pick", "expression": f"`{name}` > 1"}]
    publisher.publish(columns=["text", name], where=f"`{name}` < 9", shuffle=1)
    assert publisher.rows() == [{"text": "two", name: 2}]
