"""spaCy teachers and the merging step: what a passage gets, and what becomes of what has no place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner.annotations import annotate
from filters.ner.teachers.teacher import COLUMNS, MOST_CHARACTERS
from filters.ner.types import type_map
from filters.ner_merge import MergeConfig, NerMerge
from filters.ner_spacy import NerSpacy, SpacyConfig
from tests.filters.ner.pipelines import ruler

Said = Sequence[Mapping[str, Any]] | None


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(ruler(tmp_path_factory.mktemp("spacy") / "ruler"))


def batch(
    texts: Sequence[str], languages: Sequence[str | None] | None = None, **columns: pa.Array
) -> DocBatch:
    found = {"doc": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())}
    if languages is not None:
        found["language"] = pa.array(languages, pa.string())
    return DocBatch(pa.RecordBatch.from_pydict({**found, **columns}), language="language")


def opened(step: Any, tmp_path: Path) -> Any:
    context = Context(models=tmp_path, scratch=tmp_path, offline=True)
    assert all(file.is_file() for file in step.artifacts(context).values())
    step.open(context)
    return step


def merged(
    texts: Sequence[str], teachers: Mapping[str, Sequence[Said]], **options: Any
) -> list[dict[str, Any]]:
    columns = {f"{name}__mentions": pa.array(said, COLUMNS["mentions"]) for name, said in teachers.items()}
    step = NerMerge(MergeConfig(teachers=list(teachers), **options))
    step.open(Context(models=Path(), scratch=Path()))
    found = step.annotate(batch(texts, **columns))
    assert {name: column.type for name, column in found.items()} == dict(step.writes())
    rows: list[dict[str, Any]] = pa.RecordBatch.from_pydict(dict(found)).to_pylist()
    for text, row in zip(texts, rows, strict=True):
        for span in [*(row["spans"] or ()), *(row["nested_spans"] or ())]:
            assert text[span["start"] : span["end"]] == span["text"]
    return rows


def test_a_pipeline_annotates_the_languages_it_is_for(pipeline: str, tmp_path: Path) -> None:
    texts = ["Ada is in Bonn.", "محمد في Bonn", "Bonn", "Ada " * MOST_CHARACTERS, ""]
    step = opened(NerSpacy(SpacyConfig(models={"eng_Latn": pipeline, "arb_Arab": pipeline})), tmp_path)
    languages = ["eng_Latn", "arb_Arab", "deu_Latn", "eng_Latn", "eng_Latn"]
    found = step.annotate(batch(texts, languages))
    assert found["outcome"].to_pylist() == ["ok", "ok", "no_model", "too_long", "ok"]
    assert found["mentions"].to_pylist() == [
        [
            {"text": "Ada", "label": "person", "start": 0, "end": 3},
            {"text": "Bonn", "label": "city", "start": 10, "end": 14},
        ],
        [
            {"text": "محمد", "label": "person", "start": 0, "end": 4},
            {"text": "Bonn", "label": "city", "start": 8, "end": 12},
        ],
        None,
        None,
        [],
    ]
    everywhere = opened(NerSpacy(SpacyConfig(model=pipeline)), tmp_path).annotate(batch(texts[:3]))
    assert everywhere["outcome"].to_pylist() == ["ok"] * 3


def test_components_can_be_left_out(pipeline: str, tmp_path: Path) -> None:
    step = opened(NerSpacy(SpacyConfig(model=pipeline, disable=["entity_ruler"])), tmp_path)
    assert step.annotate(batch(["Ada"]))["mentions"].to_pylist() == [[]]
    with pytest.raises(CurateError, match="no component 'parser'"):
        opened(NerSpacy(SpacyConfig(model=pipeline, disable=["parser"])), tmp_path)


@pytest.mark.parametrize("name", ["no_such_pipeline_sm", "json", "/nowhere/at all"])
def test_a_pipeline_that_is_not_there_is_found_before_work_starts(name: str, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="E504"):
        NerSpacy(SpacyConfig(model=name)).artifacts(Context(models=tmp_path, scratch=tmp_path))


def test_a_pipeline_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(CurateError, match="E507"):
        NerSpacy(SpacyConfig(model=str(tmp_path))).open(Context(models=tmp_path, scratch=tmp_path))


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="name a pipeline"):
        SpacyConfig()
    with pytest.raises(ValidationError, match="named twice"):
        MergeConfig(teachers=["a", "a"])


def test_strings_and_offsets_become_spans_with_the_votes_of_all() -> None:
    text = "Ada Lovelace met Bob in New York."
    llm = [{"text": "Ada Lovelace", "label": "mathematician"}, {"text": "New  York", "label": "city"}]
    spacy = [
        {"text": "Ada Lovelace", "label": "PERSON", "start": 0, "end": 12},
        {"text": "New York", "label": "GPE", "start": 24, "end": 32},
        {"text": "York", "label": "GPE", "start": 28, "end": 32},
    ]
    (row,) = merged([text], {"llm": [llm], "spacy": [spacy]})
    assert [(s["text"], s["label"], s["core"], s["teachers"]) for s in row["spans"]] == [
        ("Ada Lovelace", "mathematician", None, ["llm"]),
        ("New York", "city", "LOC", ["llm"]),
    ]
    assert [(v["teacher"], v["label"]) for v in row["spans"][1]["votes"]] == [
        ("llm", "city"),
        ("spacy", "GPE"),
    ]
    assert [s["text"] for s in row["nested_spans"]] == ["York"]
    assert (row["spans_count"], row["rejects_count"], row["answers_count"]) == (3, 0, 2)
    assert [text[t["start"] : t["end"]] for t in row["tokens"]] == [*text[:-1].split(), "."]


def test_every_mention_without_a_place_is_a_reject_with_its_reason() -> None:
    said = [
        {"text": "Zoe", "label": "person"},
        {"text": "", "label": "person"},
        {"text": "Ada", "label": ""},
        {"text": "Ada", "label": "person"},
        {"text": "Ada", "label": "person"},
        {"text": "d", "label": "person"},
        {"text": "x", "label": "person", "start": 0, "end": 99},
        {"text": "Bob", "label": "person", "start": 0, "end": 3},
    ]
    rows = merged(["Ada", "Bob"], {"llm": [said, []]})
    reasons = [(reject["mention"], reject["reason"]) for reject in rows[0]["rejects"]]
    assert reasons == [
        ("Zoe", "not_in_text"),
        ("", "empty"),
        ("Ada", "no_label"),
        ("Ada", "no_more_occurrences"),
        ("d", "inside_word"),
        ("x", "outside_text"),
        ("Bob", "another_text"),
    ]
    assert [row["rejects_count"] for row in rows] == [7, 0]


def test_no_answer_is_not_an_empty_answer() -> None:
    rows = merged(
        ["Ada", "Bob", "Eve"], {"a": [None, [], None], "b": [None, None, [{"text": "Eve", "label": "x"}]]}
    )
    assert [row["reasons"] for row in rows] == [["unanswered"], [], []]
    assert [row["spans_count"] for row in rows] == [None, 0, 1]
    assert rows[2]["spans"][0]["agreement"] == 1.0
    kept = merged(["Ada"], {"a": [None]}, unanswered="keep")
    assert "reasons" not in kept[0]


def test_every_occurrence() -> None:
    said = [{"text": "Ada", "label": "person"}]
    assert [len(r["spans"]) for r in merged(["Ada, Ada, Ada"], {"a": [said]})] == [1]
    assert [len(r["spans"]) for r in merged(["Ada, Ada, Ada"], {"a": [said]}, grounding="all")] == [3]


def test_five_hundred_types_and_a_file_of_more(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(500)]
    said = [{"text": word, "label": f"kind {word}"} for word in words]
    (row,) = merged([" ".join(words)], {"a": [said]})
    assert len({span["label"] for span in row["spans"]}) == 500
    (tmp_path / "types.tsv").write_text("kind w7\tship\n")
    with pytest.raises(CurateError, match="'ship' is no standard type"):
        NerMerge(MergeConfig(teachers=["a"], types=str(tmp_path / "types.tsv"))).artifacts(
            Context(models=tmp_path, scratch=tmp_path)
        )
    (tmp_path / "types.tsv").write_text("kind w7\tvehicle\n")
    (row,) = merged(["w7"], {"a": [said[7:8]]}, types=str(tmp_path / "types.tsv"))
    assert row["spans"][0]["standard"] == "vehicle"


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("ذهب محمد إلى القاهرة.", "القاهرة"),
        ("彼は東京に住んでいる", "東京"),
        ("Cafe\u0301 Zoe\u0308 in Bonn", "Cafe\u0301 Zoe\u0308"),
        ("นายกรัฐมนตรีไปกรุงเทพมหานคร", "กรุงเทพมหานคร"),
        ("👩‍👩‍👧 Ada 🇩🇪", "Ada"),
    ],
)
def test_every_script(text: str, mention: str) -> None:
    (row,) = merged([text], {"a": [[{"text": mention, "label": "x"}]]})
    assert [span["text"] for span in row["spans"]] == [mention]


def test_labels_that_read_alike_mean_the_same() -> None:
    """By an oracle of three words; the encoder's own cosines are tested where it is."""
    answers = {
        "a": pa.array([[{"text": "Heat", "label": "movie studio"}]], COLUMNS["mentions"]),
        "b": pa.array([[{"text": "Heat", "label": "ship"}]], COLUMNS["mentions"]),
        "c": pa.array([[{"text": "Heat", "label": "film studio"}]], COLUMNS["mentions"]),
    }
    asked = []

    def similar(one: str, other: str) -> bool:
        asked.append((one, other))
        return {one, other} == {"movie studio", "film studio"}

    texts = pa.array(["Heat"])
    (span,) = annotate(texts, answers, type_map(), similar=similar).spans.to_pylist()[0]
    assert (span["label"], span["teachers"]) == ("movie studio", ["a", "c"])
    assert span["agreement"] == pytest.approx(2 / 3)
    (apart,) = annotate(texts, answers, type_map()).spans.to_pylist()[0]
    assert apart["teachers"] == ["a"]
    assert ("person", "city") not in asked


def test_the_encoder_knows_labels_that_read_alike(tmp_path: Path) -> None:
    texts, label = ["Heat"], ("movie studio", "film studio", "river bank")
    teachers: dict[str, Sequence[Said]] = {
        name: [[{"text": "Heat", "label": label[i]}]] for i, name in enumerate("abc")
    }
    (row,) = merged(texts, teachers, similarity=0.75)
    assert row["spans"][0]["teachers"] == ["a", "b"]
    step = NerMerge(MergeConfig(teachers=["a"], similarity=0.75))
    assert len(step.artifacts(Context(models=tmp_path, scratch=tmp_path))) > 1
