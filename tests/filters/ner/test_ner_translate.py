"""Labels in the language of the text: by a server that answers as told, and by a real llama.cpp server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from curate.cli import cli
from curate.core.batch import DocBatch
from curate.core.errors import CurateError
from curate.core.stage import Context
from filters.ner.annotations import MERGED_SPAN
from filters.ner.gold import TOKEN
from filters.ner.teachers.translating import read_translation
from filters.ner_translate import TRANSLATED_SPAN, NerTranslate, NerTranslateConfig
from tests.llama import llama_server
from tests.llm_server import LlmServer, Reply

TEXTS = [("Ada in Bonn", "deu_Latn"), ("Ada in Bonn", "eng_Latn"), ("Ada", None), ("Ada in Bonn", "hin_Deva")]
GERMAN = {"person": "Person", "city": "»Stadt«.", "film studio": "A film studio is\na place"}


def span(start: int, end: int, label: str) -> dict[str, Any]:
    return {
        "start": start, "end": end, "text": "", "label": label, "standard": label, "core": "PER", "teachers": ["a"],
        "agreement": 1.0, "votes": [],
    }  # fmt: skip


SPANS = [[span(0, 3, "person"), span(7, 11, "city")], [span(0, 3, "person")], [span(0, 3, "person")], None]
NESTED = [[span(7, 8, "film studio")], [], [], None]


def translated(
    url: str, folder: Path, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, int], NerTranslate]:
    record = pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(4), pa.int64()),
            "text": pa.array([text for text, _ in TEXTS], pa.string()),
            "language": pa.array([language for _, language in TEXTS], pa.string()),
            "ner__spans": pa.array(SPANS, pa.list_(MERGED_SPAN)),
            "ner__nested_spans": pa.array(NESTED, pa.list_(MERGED_SPAN)),
        }
    )
    server = {"base_url": url, "id": "toy", "concurrency": 2, "retries": 0}
    given = {"model": "smollm2", "server": server, "max_invalid_frac": 1, **options}
    step = NerTranslate(NerTranslateConfig.model_validate(given))
    step.open(Context(models=folder, scratch=folder, cache=folder / "cache"))
    columns = dict(step.annotate(DocBatch(record, language="language")))
    counts = dict(step.finish())
    return (
        pa.RecordBatch.from_pydict(columns, pa.schema(list(step.writes().items()))).to_pylist(),
        counts,
        step,
    )


def german(request: dict[str, Any], number: int) -> str | Reply:
    said = request["messages"][0]["content"]
    assert "from English to German" in said
    return next(answer for label, answer in GERMAN.items() if said.endswith(f'Type: "{label}"'))


def test_labels_are_in_the_language_of_the_text_and_the_free_ones_stay(tmp_path: Path) -> None:
    with LlmServer(german) as server:
        rows, counts, step = translated(server.url, tmp_path)
        assert len(server.requests) == 3  # English is not asked about, nor what has no language
    labels = [[(s["label"], s["translation"]) for s in row["spans"] or ()] for row in rows]
    assert labels == [
        [("person", "Person"), ("city", "Stadt")],
        [("person", "person")],
        [("person", None)],
        [],
    ]
    assert [row["spans"] is None for row in rows] == [False, False, False, True]
    assert rows[0]["nested_spans"][0]["translation"] is None
    assert [row["translations_count"] for row in rows] == [2, 1, 0, 0]
    kept = [{k: v for k, v in s.items() if k != "translation"} for s in rows[0]["spans"]]
    assert kept == SPANS[0]
    assert (counts["translated"], counts["invalid"]) == (2, 1)
    assert step.provenance() == {"model": "smollm2", "labels_in": "eng_Latn"}
    with LlmServer(["nobody asks"]) as server:
        again, counts, _ = translated(server.url, tmp_path)
        assert (again, len(server.requests), counts["cached"]) == (rows, 0, 3)
    with LlmServer(["a\nb"]) as server, pytest.raises(CurateError, match="R313: 1 of 1 answers of other"):
        translated(server.url, tmp_path, model="other", max_invalid_frac=0)


def test_a_label_is_asked_about_once_in_a_process(tmp_path: Path) -> None:
    """One label of three without a translation is one, however many batches have it."""
    with LlmServer(german) as server:
        rows, _, step = translated(server.url, tmp_path, max_invalid_frac=0.4)
        record = pa.RecordBatch.from_pydict(
            {
                "doc": pa.array(range(4), pa.int64()),
                "text": pa.array([text for text, _ in TEXTS], pa.string()),
                "language": pa.array([language for _, language in TEXTS], pa.string()),
                "ner__spans": pa.array(SPANS, pa.list_(MERGED_SPAN)),
                "ner__nested_spans": pa.array(NESTED, pa.list_(MERGED_SPAN)),
            }
        )
        for _ in range(400):
            again = step.annotate(DocBatch(record, language="language"))
        assert again["spans"].to_pylist() == [row["spans"] for row in rows]
    assert len(server.requests) == 3
    assert step.finish() == {"translated": 800, "invalid": 400}
    assert (step._share.invalid, step._share.answered) == (1, 3)


def test_half_a_character_in_an_answer_ends_nothing(tmp_path: Path) -> None:
    with LlmServer([r'{"translation": "Stadt \ud83d"}']) as server:
        rows, _, _ = translated(server.url, tmp_path, answer="schema")
    assert [s["translation"] for s in rows[0]["spans"]] == ["Stadt \ufffd"] * 2


def test_an_export_takes_the_translations(tmp_path: Path) -> None:
    with LlmServer(german) as server:
        rows, _, step = translated(server.url, tmp_path)
    tokens = [[{"start": a, "end": b} for a, b in ((0, 3), (4, 6), (7, 11)) if b <= len(t)] for t, _ in TEXTS]
    spans = pa.array([r["spans"] for r in rows], pa.list_(TRANSLATED_SPAN))
    facts = {
        f"curate.{fact}": value for fact, value in step.provenance().items()
    }  # as the runner writes them
    kinds = [
        pa.field("text", pa.string()),
        pa.field("tokens", pa.list_(TOKEN)),
        pa.field("spans", spans.type, metadata=facts),
    ]
    table = pa.table([[text for text, _ in TEXTS], tokens, spans], pa.schema(kinds))
    pq.write_table(table, tmp_path / "made.parquet")
    arguments = [
        "ner",
        "export",
        str(tmp_path / "made.parquet"),
        str(tmp_path / "a.bio"),
        "--by",
        "translation",
    ]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    tagged = [line for line in (tmp_path / "a.bio").read_text().splitlines() if "\tB-" in line]
    assert tagged == ["Ada\tB-Person", "Bonn\tB-Stadt", "Ada\tB-person"]
    assert "left out: 1 spans without type" in done.output
    arguments = [
        "ner",
        "export",
        str(tmp_path / "made.parquet"),
        str(tmp_path / "set"),
        "--format",
        "datasets",
    ]
    CliRunner().invoke(cli, arguments, catch_exceptions=False)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "`translation` is the label in the text's language, by the language model smollm2." in card


@pytest.mark.parametrize(
    ("answer", "form", "label"),
    [
        ("Filmstudio", "text", "Filmstudio"),
        ("<think>hm</think>\n「映画会社」。", "text", "映画会社"),
        ('```json\n{"translation": "شخص"}\n```', "schema", "شخص"),
        ("{'translation': 'Ort',}", "schema", "Ort"),
        ('{"translation": 3}', "schema", None),
        (r'{"translation": "Stadt\ud83d"}', "schema", "Stadt\ufffd"),
        ("Stadt", "schema", None),
        ("Ort (Substantiv)\nDas ist", "text", None),
        ("x" * 81, "text", None),
        ("…", "text", None),
        ("", "text", None),
        ("[1, 2", "schema", None),
    ],
)
def test_what_is_a_label(answer: str, form: Any, label: str | None) -> None:
    assert read_translation(answer, form) == label


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="did you mean 'eng_Latn'"):
        NerTranslateConfig.model_validate(
            {"model": "x", "server": {"base_url": "http://x"}, "source": "English"}
        )


def test_a_real_llama_cpp_server_translates_in_form(tmp_path: Path) -> None:
    """A model of 135 million parameters: only the form, the cache, and that no label is lost."""
    with llama_server() as url:
        rows, counts, _ = translated(url, tmp_path, answer="schema", max_tokens=24)
    assert counts["requests"] == counts["translated"] + counts["invalid"] == 3
    assert [[s["label"] for s in row["spans"] or ()] for row in rows] == [
        ["person", "city"],
        ["person"],
        ["person"],
        [],
    ]
    for row in rows[:1]:
        for s in (*row["spans"], *row["nested_spans"]):
            assert s["translation"] is None or 0 < len(s["translation"]) <= 80
    again, counts, _ = translated("http://127.0.0.1:9/v1", tmp_path, answer="schema", max_tokens=24)
    assert (again, counts["cached"]) == (rows, 3)
