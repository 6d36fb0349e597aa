"""The best passages of each language in a run, for any number of tasks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from curate.core.errors import CurateError
from curate.core.plan import Plan
from tests.publish.publishing import Publisher


def test_top_passages_of_a_run(publisher: Publisher) -> None:
    rows = [
        {"id": f"id-{n}", "text": "Short one. " * (n % 5) + f"Number {n} is the last sentence here, long enough.",
         "lang": ("deu_Latn", "eng_Latn")[n % 2], "url": f"https://host{n % 3}.example/{n}"}
        for n in range(30)
    ]  # fmt: skip
    publisher.input(rows[:13], "a.parquet", group=5)
    publisher.input(rows[13:], "b.parquet")
    over = {"over": "passages__spans"}
    publisher.steps = [
        {"use": "filters.passages", "max_tokens": 8},
        {"use": "filters.length", "as": "size", "min_chars": 1, **over},
        {
            "use": "filters.top",
            **over,
            "by": "size__chars_count",
            "k": 6,
            "per_document": 1,
            "per_host": 3,
            "floor": 20,
        },
    ]
    publisher.publish(unit="passages__spans", tasks=1)
    found, bytes_once = publisher.rows(), publisher.bytes()
    assert len(found) == 12
    assert len({row["source_doc"] for row in found}) == 12
    for language in ("deu_Latn", "eng_Latn"):
        own = [row for row in found if row["language"] == language]
        assert sorted(row["top__rank"] for row in own) == [1, 2, 3, 4, 5, 6]
        hosts = [urlsplit(row["url"]).hostname for row in own]
        assert max(hosts.count(h) for h in hosts) <= 3
        assert [row["size__chars_count"] for row in sorted(own, key=lambda row: row["top__rank"])] == sorted(
            (row["size__chars_count"] for row in own), reverse=True
        )
    publisher.publish(unit="passages__spans", tasks=4, force=True)
    assert publisher.bytes() == bytes_once


@pytest.mark.parametrize(
    ("options", "code"), [({"by": "url"}, "C206"), ({"by": "doc", "per_document": 1}, "C201")]
)
def test_what_cannot_be_is_found_before_work_starts(publisher: Publisher, options: Any, code: str) -> None:
    publisher.input([{"id": "a", "text": "b", "lang": "deu_Latn", "url": "c"}])
    publisher.steps = [{"use": "filters.top", "k": 1, **options}]
    with pytest.raises(CurateError, match=code):
        publisher.publish()


def test_near_duplicate_passages_are_dropped_but_one(publisher: Publisher) -> None:
    boilerplate = " ".join(f"word{n}" for n in range(30)) + "."
    rows = [
        {
            "id": f"id-{n}",
            "text": f"{' '.join(f'own{n}x{i}' for i in range(30))}.\n\n{boilerplate}",
            "lang": "deu_Latn",
        }
        for n in range(6)
    ]
    rows[3]["text"] = rows[3]["text"].replace("word29.", "another.")
    publisher.input(rows[:2], "a.parquet")
    publisher.input(rows[2:], "b.parquet")
    publisher.steps = [
        {"use": "filters.passages", "max_tokens": 32},
        {
            "use": "dedup.minhash",
            "as": "alike",
            "over": "passages__spans",
            "threshold": 0.6,
            "verify": "exact",
        },
    ]
    publisher.publish(unit="passages__spans")
    found = publisher.rows()
    assert [row["id"] for row in found] == ["id-0#0", "id-0#1", *(f"id-{n}#0" for n in range(1, 6))]
    assert [row["alike__cluster_size"] for row in found] == [1, 6, 1, 1, 1, 1, 1]


def test_top_of_an_output_is_a_step_of_its_own(publisher: Publisher) -> None:
    rows = [{"id": f"id-{n}", "text": "x" * (n % 7 + 1), "lang": "deu_Latn", "n": n} for n in range(20)]
    publisher.input(rows)
    publisher.publish(where="n != 19", top={"by": "n", "k": 3, "per": "lang"}, columns=["id"])
    assert [row["id"] for row in publisher.rows()] == ["id-16", "id-17", "id-18"]
    assert [
        step.name for step in Plan.from_json(publisher.folder.plan.read_text(encoding="utf-8")).steps
    ] == ["data_top"]


@pytest.mark.parametrize(
    ("top", "code"), [({"by": "nn", "k": 1}, "C201"), ({"by": "n", "kk": 1}, "C103"), (3, "C102")]
)
def test_a_fault_of_top_stands_where_it_was_written(publisher: Publisher, top: Any, code: str) -> None:
    publisher.input([{"id": "a", "text": "b", "lang": "deu_Latn", "n": 1}])
    with pytest.raises(CurateError, match=code) as caught:
        publisher.publish(top=top)
    place = caught.value.problems[0].position
    assert place is not None
    assert "top" in place.text or "by" in place.text or "kk" in place.text
