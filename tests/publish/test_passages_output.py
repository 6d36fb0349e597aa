"""Steps over passages, and outputs of passages, against a plain Python account of every passage."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.views.report import build_report
from filters.passages import STAGE as PASSAGES
from tests.publish.publishing import Publisher

MAX = 9
STEPS: list[dict[str, Any]] = [
    {"use": "filters.passages", "max_tokens": MAX, "when": "id != 'uncut'"},
    {"use": "filters.length", "as": "size", "over": "passages__spans", "min_chars": 12, "max_words": 500},
    {"use": "dedup.exact", "as": "same", "over": "passages__spans", "when": "size__words_count > 2"},
    {"use": "filters.sample", "as": "drawn", "over": "passages__spans", "rate": 0.8},
    {"select": "not contains(text, 'Ü')", "as": "plain", "over": "passages__spans"},
]
TEXTS = [
    "Die Brücke in Köln. Über den Rhein führt sie seit langem. Ja. Ein Satz kommt oft vor, immer wieder gleich.",
    "委员会星期二开会讨论工程师为这条河规划的新桥。市长说旧桥不能修了。",
    "Ein Satz kommt oft vor, immer wieder gleich. Another sentence is here, and it is long enough. No.",
    "😀 emoji! and الجسر القديم في المدينة. Ein Satz kommt oft vor, immer wieder gleich.",
]


def documents(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": "uncut" if n == 5 else f"id-{n}",
            "text": f"{TEXTS[n % 4]} Number {n} stands here for itself alone.",
            "lang": ("deu_Latn", "cmn_Hani", "deu_Latn", None)[n % 4],
            "url": f"https://example.org/{n}",
            "dump": "CC-1",
        }
        for n in range(count)
    ]


def passages_of(row: dict[str, Any]) -> list[tuple[int, int]]:
    record = pa.RecordBatch.from_pydict({"doc": pa.array([0], pa.int64()), "text": pa.array([row["text"]])})
    [found] = PASSAGES(PASSAGES.Config(max_tokens=MAX)).annotate(DocBatch(record))["spans"].to_pylist()
    return [(span["start"], span["end"]) for span in found]


def expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every passage with what the steps of `STEPS` but the sample must say of it, in the order of documents."""
    seen: set[str] = set()
    made = []
    for row in rows:
        for ordinal, (start, end) in enumerate(passages_of(row) if row["id"] != "uncut" else []):
            text = row["text"][start:end]
            entry = {**row, "text": text, "start": start, "end": end, "id": f"{row['id']}#{ordinal}"}
            long = len(text) >= 12
            twin = long and entry["text"] in seen
            if long:
                seen.add(text)
            made.append({**entry, "long": long, "twin": twin})
    return made


@pytest.fixture
def several(publisher: Publisher) -> Publisher:
    rows = documents(23)
    publisher.input(rows[:11], "a.parquet", group=4)
    publisher.input(rows[11:], "b.parquet")
    publisher.steps = [*STEPS]
    return publisher


def test_rows_are_the_passages_that_no_step_drops(several: Publisher) -> None:
    several.publish(unit="passages__spans")
    wanted = [p for p in expected(documents(23)) if p["long"] and not p["twin"] and "Ü" not in p["text"]]
    got = several.rows()
    drawn = {row["id"] for row in got}
    assert 0.5 * len(wanted) < len(drawn) < len(wanted)
    of_all = [p for p in wanted if p["id"] in drawn]
    keys = ("id", "text", "start", "end", "url", "dump")
    assert [[row[k] for k in keys] for row in got] == [[p[k] for k in keys] for p in of_all]
    assert [row["language"] for row in got] == [p["lang"] for p in of_all]
    assert list(got[0])[:11] == [
        *("id", "text", "start", "end", "source_doc", "url", "language", "licence", "dump", "source", "date"),
    ]
    assert all(row["size__chars_count"] == len(row["text"]) for row in got)
    assert len({row["source_doc"] for row in got}) > 15
    [output] = build_report(several.folder.root)["outputs"]
    fates = output["passages"]
    everything = expected(documents(23))
    assert (fates["documents"], fates["cut"], fates["published"]) == (23, len(everything), len(got))
    assert fates["dropped"]["size"] == sum(not p["long"] for p in everything)
    assert fates["dropped"]["same"] == sum(p["twin"] for p in everything)
    assert build_report(several.folder.root)["balanced"]


@pytest.mark.parametrize("entry", [{}, {"shuffle": 3, "partition_by": "language", "shard": "1kB"}])
def test_bytes_do_not_depend_on_tasks(several: Publisher, entry: dict[str, Any]) -> None:
    several.publish(unit="passages__spans", row_group="300B", **entry, tasks=1)
    once = several.bytes()
    several.publish(unit="passages__spans", row_group="300B", **entry, tasks=5, force=True)
    assert several.bytes() == once
    rows = several.rows()
    assert len({row["id"] for row in rows}) == len(rows)
    if entry:
        assert {name.split("/")[0] for name in several.files()} == {"deu_Latn", "cmn_Hani", "und"}
        assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)


def test_lists_stand_beside_the_spans_of_documents(several: Publisher) -> None:
    several.publish(columns=["id", "passages__spans", "size__chars_count", "same__reasons", "plain__keep"])
    for row in several.rows():
        spans = row["passages__spans"]
        if row["id"] == "uncut":
            assert spans is None
            assert row["size__chars_count"] is None
            continue
        counts = row["size__chars_count"]
        assert counts == [s["end"] - s["start"] for s in spans]
        assert len(row["same__reasons"]) == len(row["plain__keep"]) == len(spans)
        for reasons, count in zip(row["same__reasons"], counts, strict=True):
            assert (reasons is None) >= (count < 12)  # a step does not see what one before it dropped


def test_where_is_asked_about_passages(several: Publisher) -> None:
    several.steps = [STEPS[0], {"use": "lid.fasttext", "as": "plid", "over": "passages__spans"}]
    several.publish(
        unit="passages__spans",
        where="plid__lang = 'cmn_Hani' and end - start > 5 and start = 0",
        columns=["id", "language"],
    )
    rows = several.rows()
    assert [row["id"] for row in rows] == [f"id-{n}#0" for n in range(1, 23, 4) if n != 5]


def test_a_passage_has_its_own_language(several: Publisher) -> None:
    several.steps = [STEPS[0], {"use": "lid.fasttext", "as": "plid", "over": "passages__spans"}]
    several.publish(unit="passages__spans", partition_by="language")
    assert {row["language"] for row in several.rows("eng_Latn")} == {"eng_Latn"}
    assert len(several.rows("eng_Latn")) >= 22


FAULTS = [
    ({"use": "filters.length", "min_chars": 1, "over": "passages"}, "C201"),
    ({"use": "filters.length", "min_chars": 1, "over": "text"}, "C206"),
    ({"use": "dedup.lines", "over": "passages__spans"}, "C208"),
    ({"use": "dedup.exact", "over": "passages__spans", "max_removed_frac": 0.5}, "C208"),
    ({"select": "passages__spans is null", "over": "passages__spans"}, "C201"),
    ({"use": "filters.sample", "rate": 1, "when": "leng > 1", "over": "passages__spans"}, "C201"),
]


@pytest.mark.parametrize(("step", "code"), FAULTS)
def test_what_cannot_be_is_found_before_work_starts(publisher: Publisher, step: Any, code: str) -> None:
    publisher.input(documents(2))
    publisher.steps = [STEPS[0], step]
    with pytest.raises(CurateError, match=code):
        publisher.publish()


@pytest.mark.parametrize(("unit", "code"), [("passages_spans", "C201"), ("url", "C206")])
def test_a_unit_is_a_column_of_spans(publisher: Publisher, unit: str, code: str) -> None:
    publisher.input(documents(2))
    publisher.steps = [STEPS[0]]
    with pytest.raises(CurateError, match=code):
        publisher.publish(unit=unit)


def test_a_step_that_fails_on_a_passage_sends_its_document_away(
    publisher: Publisher, monkeypatch: Any
) -> None:
    from filters import length

    made = length.STAGE.annotate

    def fragile(self: Any, batch: DocBatch) -> Any:
        failed = [("broken" if "工程师" in text else None) for text in batch.text.to_pylist()]
        return {**made(self, batch), "failed": pa.array(failed, pa.string())}

    monkeypatch.setattr(length.STAGE, "annotate", fragile)
    publisher.input(documents(8))
    publisher.steps = STEPS[:2]
    publisher.publish(columns=["id"])
    assert [row["id"] for row in publisher.rows()] == [
        d["id"] for n, d in enumerate(documents(8)) if n % 4 != 1 or n == 5
    ]
    assert json.loads(json.dumps(build_report(publisher.folder.root)))["quarantine"]["rows"] == 1


def test_a_text_that_was_cut_is_not_rewritten_afterwards(publisher: Publisher) -> None:
    """Places of passages are places in the text as it was: a step that would move them stops the run."""
    text = "This line has a citation [1] and enough words to stay where it is.\n" * 6
    publisher.input([{"id": "a", "lang": "eng_Latn", "text": text}], "a.parquet")
    publisher.steps = [{"use": "filters.passages", "max_tokens": MAX}, {"use": "filters.c4"}]
    message = "rewrites texts whose places 'passages__spans' already holds"
    with pytest.raises(CurateError, match=message) as caught:
        publisher.publish(unit="passages__spans")
    assert "put 'c4' before" in caught.value.problems[0].help
