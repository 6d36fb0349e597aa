"""`columns: fineweb2` gives FineWeb2's columns: its names, its order, its types, and values as its readers expect them.

FineWeb2's features are those of its card (huggingface.co/datasets/HuggingFaceFW/fineweb-2).
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from tests.publish.publishing import Publisher

FEATURES = {
    "text": pa.string(),
    "id": pa.string(),
    "dump": pa.string(),
    "url": pa.string(),
    "date": pa.string(),
    "file_path": pa.string(),
    "language": pa.string(),
    "language_score": pa.float64(),
    "language_script": pa.string(),
    "minhash_cluster_size": pa.int64(),
    "top_langs": pa.string(),
}


def identified(*codes: str | None, **more: Any) -> list[dict[str, Any]]:
    """Documents as a language step leaves them, with two candidates each."""
    return [
        {
            "id": f"d{n}",
            "text": f"Text {n}",
            "lid__lang": code,
            "lid__prob": None if code is None else 0.75,
            "lid__top": None
            if code is None
            else [{"lang": code, "prob": 0.75}, {"lang": "eng_Latn", "prob": 0.125}],
            **more,
        }
        for n, code in enumerate(codes)
    ]


@pytest.fixture
def fineweb(publisher: Publisher) -> Publisher:
    publisher.language = "lid__lang"
    return publisher


def test_names_order_and_types_are_fineweb2s(fineweb: Publisher) -> None:
    fineweb.input(identified("deu_Latn"))
    fineweb.publish(columns="fineweb2")
    schema = fineweb.schema()
    assert schema.names == list(FEATURES)
    assert {field.name: field.type for field in schema} == FEATURES


def test_types_hold_whatever_the_run_has(fineweb: Publisher) -> None:
    """Without any of the columns, with dates as dates, and with an integer cluster size."""
    fineweb.input([{"text": "a", "lid__lang": "deu_Latn"}])
    fineweb.publish(columns="fineweb2")
    assert {field.name: field.type for field in fineweb.schema()} == FEATURES
    import datetime

    fineweb.input([{"text": "a", "date": datetime.date(2024, 2, 29), "dump": 17, "dedup__cluster_size": 3}])
    fineweb.language = None
    fineweb.publish(columns="fineweb2", force=True)
    assert {field.name: field.type for field in fineweb.schema()} == FEATURES
    (row,) = fineweb.rows()
    assert (row["date"], row["dump"], row["minhash_cluster_size"]) == ("2024-02-29", "17", 3)
    assert (row["language"], row["language_score"], row["top_langs"]) == (None, None, None)


def test_a_code_is_split_into_language_and_script(fineweb: Publisher) -> None:
    fineweb.input(identified("deu_Latn", "cmn_Hani", "und", None, "tlh", "en_Latn", "abc_Latn_x"))
    fineweb.publish(columns="fineweb2")
    assert [(r["language"], r["language_script"]) for r in fineweb.rows()] == [
        ("deu", "Latn"),
        ("cmn", "Hani"),
        ("und", None),
        ("und", None),
        ("tlh", None),
        ("en", "Latn"),
        ("abc", "Latn_x"),
    ]


def test_candidates_are_json_best_first(fineweb: Publisher) -> None:
    fineweb.input(identified("deu_Latn", None, "cmn_Hani"))
    fineweb.publish(columns="fineweb2")
    found = [json.loads(row["top_langs"]) for row in fineweb.rows()]
    assert found == [
        {"deu_Latn_score": 0.75, "eng_Latn_score": 0.125},
        {},
        {"cmn_Hani_score": 0.75, "eng_Latn_score": 0.125},
    ]
    assert list(found[0]) == ["deu_Latn_score", "eng_Latn_score"]


def test_small_probabilities_and_odd_names_are_json_too(fineweb: Publisher) -> None:
    rows = identified("deu_Latn", 'a"b\\c\n')
    rows[0]["lid__top"] = [{"lang": "deu_Latn", "prob": 1.0}, {"lang": "eng_Latn", "prob": 1e-9}]
    fineweb.input(rows)
    fineweb.publish(columns="fineweb2")
    first, second = (json.loads(row["top_langs"]) for row in fineweb.rows())
    assert first["eng_Latn_score"] == pytest.approx(1e-9)
    assert second['a"b\\c\n_score'] == 0.75


def test_without_candidates_the_language_itself_is_the_only_one(fineweb: Publisher) -> None:
    rows = [
        {key: value for key, value in row.items() if key != "lid__top"}
        for row in identified("deu_Latn", None)
    ]
    fineweb.input(rows)
    fineweb.publish(columns="fineweb2")
    assert [json.loads(row["top_langs"]) for row in fineweb.rows()] == [{"deu_Latn_score": 0.75}, {}]


def test_the_inputs_own_columns_are_taken(fineweb: Publisher) -> None:
    fineweb.input(
        identified(
            "deu_Latn", url="https://a", dump="CC-1", date="2020", file_path="s3://x", dedup__cluster_size=4
        )
    )
    fineweb.publish(columns="fineweb2")
    (row,) = fineweb.rows()
    assert (row["url"], row["dump"], row["date"], row["file_path"]) == ("https://a", "CC-1", "2020", "s3://x")
    assert row["minhash_cluster_size"] == 4
    assert row["language_score"] == 0.75


def test_the_file_path_is_the_manifests(fineweb: Publisher) -> None:
    fineweb.input(identified("deu_Latn"), "x y.parquet")
    fineweb.input(identified("deu_Latn"), "z.parquet")
    fineweb.publish(columns="fineweb2", shuffle=1)
    assert sorted(row["file_path"] for row in fineweb.rows()) == ["x y.parquet", "z.parquet"]


def test_what_lid_finds_reaches_the_columns(publisher: Publisher) -> None:
    texts = {
        "deu": "Der Ausschuss der Stadt traf sich am Dienstag, um über die neue Brücke zu sprechen.",
        "rus": "Старый мельник встречает гостей горячим чаем и рассказывает истории.",
        "srp": "Старац је седео поред реке и причао деци о животу у селу некада давно.",
        "hrv": "Starac je sjedio pored rijeke i pričao djeci o životu u selu nekada davno.",
    }
    publisher.language = None
    publisher.input([{"id": code, "text": text} for code, text in texts.items()])
    publisher.steps = [{"use": "lid.fasttext", "as": "lid", "top_k": 5}]
    publisher.publish(columns="fineweb2")
    assert {field.name: field.type for field in publisher.schema()} == FEATURES
    for row in publisher.rows():
        candidates = json.loads(row["top_langs"])
        scores = list(candidates.values())
        assert 1 < len(candidates) <= 5
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert next(iter(candidates)) == f"{row['language']}_{row['language_script']}_score"
        assert scores[0] == pytest.approx(row["language_score"], rel=1e-6)
    assert {row["id"]: row["language"] for row in publisher.rows()}["deu"] == "deu"
