"""`curate thresholds --stop-words`: lists against plain Python, and what the filter makes of them."""

from __future__ import annotations

import json
import string
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from curate.cli import cli
from curate.thresholds import stop_words
from curate.thresholds.stop_words import Counted, count_words
from curate.views.documents import Documents
from curate.views.run_state import read_run

CONFIG = """\
name: {name}
language: {language}
words: {words}
input: {{path: {path}/*.parquet}}
steps:
  - {{use: filters.gopher_quality, as: gopher, min_words: 3, min_stop_words: 2{more}}}
execution: {{workers: 1}}
"""
LETTERS = string.ascii_lowercase
#: Words of each language, so that shares above and below 0.8 % occur.
VOCABULARY = {
    "eng_Latn": ["the", "The", "THE", "of", "and", "to", "7", "1999", "...", "cat", *(f"w{c}" for c in LETTERS[:10] * 9)],
    "fry_Latn": ["it", "fan", "de", "in", "en", "—", "is", *(f"wurd{a}{b}" for a in LETTERS for b in LETTERS)],
    "ell_Grek": ["και", "ΚΑΙ", "το", "της", "του", "με", "να", "σε", "από", "που", "3,5", *"αβγδεζηθικλμνξο"],
    "nob_Latn": ["og", "i", "det"],
    "isl_Latn": ["og", "að", "í"],
}  # fmt: skip


def documents() -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for language, words in VOCABULARY.items():
        weights = 1.0 / np.arange(1, len(words) + 1)
        for _ in range(30 if language == "isl_Latn" else 150):
            drawn = random.choice(len(words), int(random.integers(5, 60)), p=weights / weights.sum())
            rows.append({"text": " ".join(words[n] for n in drawn), "lang": language})
    rows += [
        {"text": "one two three", "lang": None},
        {"text": None, "lang": "eng_Latn"},
        {"text": "", "lang": "eng_Latn"},
    ]
    order = random.permutation(len(rows))
    return [{"id": f"d{n}", **rows[n]} for n in order]


ROWS = documents()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run `wiki` and the input `web`. Tests write elsewhere."""
    root = tmp_path_factory.mktemp("stop-words")
    for name, rows in (("wiki", ROWS), ("web", ROWS[::2])):
        (root / name).mkdir()
        schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("lang", pa.string())])
        half = len(rows) // 2
        pq.write_table(pa.Table.from_pylist(rows[:half], schema), root / name / "a.parquet")
        pq.write_table(pa.Table.from_pylist(rows[half:], schema), root / name / "b.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run(root, "wiki", "wiki")
    return root


def run(
    root: Path, name: str, path: str, words: str = "unicode", more: str = "", language: str = "lang"
) -> None:
    text = CONFIG.format(name=name, path=path, words=words, more=more, language=language)
    (root / f"{name}.yaml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(cli, ["run", f"{name}.yaml"])
    assert done.exit_code == 0, done.output


@pytest.fixture
def curate(place: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(place)

    def invoke(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["thresholds", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return invoke


def oracle(language: str, share: float = 0.008, least: int = 8) -> tuple[list[str], int]:
    """Plain Python on texts whose words are parted by single spaces."""
    words = [w for r in ROWS if r["lang"] == language and r["text"] for w in r["text"].split()]
    words = [w for w in words if any(unicodedata.category(c)[0] not in "PS" for c in w)]
    counts = Counter(w.lower() for w in words if any(unicodedata.category(c)[0] == "L" for c in w))
    ordered = sorted(counts, key=lambda w: (-counts[w], w))
    above = [w for w in ordered if counts[w] / len(words) > share]
    return (above if len(above) > least else ordered[:least]) if len(ordered) >= least else [], len(words)


def test_lists_are_those_that_plain_python_counts(curate: Any) -> None:
    table = json.loads(curate("wiki", "--stop-words", "--json"))
    assert sorted(table["stop_words"]) == ["ell_Grek", "eng_Latn", "fry_Latn"]
    for language, found in table["stop_words"].items():
        listed, words = oracle(language)
        assert (found["list"], found["words"], found["documents"]) == (listed, words, 150), language
        assert table["values"][language]["stop_words"] == listed
        assert len(listed) >= 8
        assert not {"7", "1999", "...", "3,5", "—"} & set(listed)
    assert "the" in table["stop_words"]["eng_Latn"]["list"]
    assert "The" not in table["stop_words"]["eng_Latn"]["list"]
    assert len(table["stop_words"]["fry_Latn"]["list"]) > 8


def test_languages_without_enough_to_count_are_reported(curate: Any) -> None:
    table = json.loads(curate("wiki", "--stop-words", "--json"))
    assert table["no_stop_words"] == {
        "isl_Latn": "30 documents of wiki, fewer than 100",
        "nob_Latn": "fewer than 8 different words with a letter",
        "und": "no language is known",
    }
    assert "no stop words: 30 documents of wiki, fewer than 100" in curate("wiki", "--stop-words", "--all")
    fewer = json.loads(
        curate("wiki", "--stop-words", "--json", "--languages", "isl_Latn,eng_Latn", "--min-docs", "10")
    )
    assert sorted(fewer["stop_words"]) == ["eng_Latn"]
    assert fewer["no_stop_words"] == {"isl_Latn": "fewer than 8 different words with a letter"}


def test_nothing_is_counted_unless_asked_for(curate: Any) -> None:
    table = json.loads(curate("wiki", "--json"))
    assert (table["stop_words"], table["no_stop_words"]) == ({}, {})
    assert all("stop_words" not in values for values in table["values"].values())


@pytest.mark.parametrize(("output", "words"), [("derived", "spacy-like"), ("derived.yaml", "unicode")])
def test_a_run_with_the_lists_gives_the_verdicts_that_were_computed(
    curate: Any, place: Path, tmp_path: Path, output: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").symlink_to(place / "web")
    monkeypatch.chdir(tmp_path)
    run(tmp_path, "before", "web", words)
    arguments = [
        "before",
        "--reference",
        str(place / "runs" / "wiki"),
        "--options",
        "min_words",
        "--stop-words",
    ]
    done = CliRunner().invoke(cli, ["thresholds", *arguments, "--min-docs", "60", "--output", output])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "derived" / "ell_Grek.yaml" if output == "derived" else tmp_path / output).read_text(
        "utf-8"
    )
    assert "και" in text  # for people, not \u03ba…
    assert "of wiki." in text
    lists = {
        language: YAML(typ="safe").load(text)["stop_words"]
        if output == "derived"
        else YAML(typ="safe").load(text)[language]["stop_words"]
        for language in ["ell_Grek"]
    }
    run(tmp_path, "after", "web", words, f", thresholds: {output}")
    verdicts = {}
    for name in ("before", "after"):
        state = Documents(read_run(tmp_path / "runs" / name))
        verdicts[name] = {
            d.id: d for d in state.fetch([n << 32 | r for n in range(2) for r in range(state.records(n))])
        }
    changed = 0
    for document in verdicts["after"].values():
        if document.language != "ell_Grek":
            continue
        found = len(set(lists["ell_Grek"]) & set((document.text or "").split()))
        assert document.values["gopher__stop_words_count"] == found
        assert ("gopher_enough_stop_words" in document.fate.reasons) == (found < 2)
        changed += found != verdicts["before"][document.id].values["gopher__stop_words_count"]
    assert changed > 10
    frisian = [d for d in verdicts["before"].values() if d.language == "fry_Latn"]
    assert all(d.values["gopher__stop_words_count"] is None for d in frisian)  # no list is built in
    known = [verdicts["after"][d.id].values["gopher__stop_words_count"] for d in frisian]
    assert all(count is not None for count in known)


def test_a_run_without_languages_has_one_list(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wiki").symlink_to(place / "wiki")
    monkeypatch.chdir(tmp_path)
    run(tmp_path, "plain", "wiki", language="null")
    done = CliRunner().invoke(cli, ["thresholds", "plain", "--stop-words", "--json"])
    assert done.exit_code == 0, done.output
    table = json.loads(done.stdout)
    assert list(table["stop_words"]) == ["default"]
    assert table["stop_words"]["default"]["documents"] == sum(bool(r["text"]) for r in ROWS)


def test_a_sample_is_drawn_by_documents_and_the_same_each_time(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    wiki = Documents(read_run(place / "runs" / "wiki"))
    some, totals = count_words(wiki, "unicode", frozenset(["eng_Latn"]), sample=75)
    assert list(some) == ["eng_Latn"]
    assert totals["fry_Latn"] == 150
    assert 50 <= some["eng_Latn"].documents <= 100
    again, _ = count_words(wiki, "unicode", frozenset(["eng_Latn"]), sample=75)
    assert again == some
    monkeypatch.setattr(stop_words, "_ROWS", 7)
    in_parts, _ = count_words(wiki, "unicode", frozenset(["eng_Latn"]), sample=75)
    assert in_parts == some
    monkeypatch.setattr(stop_words, "_DISTINCT", 20)
    forgetful, _ = count_words(wiki, "unicode", frozenset(["eng_Latn"]), sample=75)
    assert len(forgetful["eng_Latn"].counts) <= 20
    assert forgetful["eng_Latn"].stop_words()[0] == some["eng_Latn"].stop_words()[0]


def test_a_list_needs_words() -> None:
    assert Counted().stop_words() == []
    few = Counted(1, 100, Counter(dict.fromkeys("abcdefgh", 10)))
    assert few.stop_words() == list("abcdefgh")
    assert Counted(1, 100, Counter(dict.fromkeys("abcdefg", 10))).stop_words() == []
