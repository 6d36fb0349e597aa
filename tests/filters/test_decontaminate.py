"""Documents that share n words in a row with a test set are dropped; which words, plain Python says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.batch import DocBatch, Words
from curate.core.errors import CurateError
from curate.core.text.codepoints import COUNTED
from filters.decontaminate import STAGE, build_table, ngrams_in, shared
from tests.filters.rule_cases import annotate, assigned_only, batch_of, opened

WORDS = ["a", "b", "c", "d", ",", ".", "北", "京", "x-y", "don't", "ไท", "A"]
texts = st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)


def ngrams(batch: DocBatch, row: int, n: int) -> list[tuple[bytes, ...]]:
    """All n-grams of a row's words, in order."""
    tokens = batch.tokens
    counted = tokens.classes[int(tokens.docs[row]) : int(tokens.docs[row + 1])] & COUNTED
    words = [word for word, keep in zip(tokens.of(row), counted, strict=True) if keep]
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def record(documents: list[str]) -> pa.RecordBatch:
    nothing = pa.nulls(len(documents), pa.string())
    doc = pa.array(range(len(documents)), pa.int64())
    return pa.RecordBatch.from_pydict(
        {"doc": doc, "text": pa.array(documents, pa.string()), "language": nothing}
    )


@pytest.mark.parametrize("words", ["unicode", "spacy-like"])
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(texts, max_size=4), st.lists(texts, min_size=1, max_size=3), st.integers(2, 5))
def test_shared_ngrams_are_those_plain_python_finds(
    words: Words, documents: list[str], test: list[str], n: int
) -> None:
    whole = " ".join(["one"] * n)  # so that the set has an n-gram
    sets = [("first", record([*test, whole])), ("second", record([f"{text} {whole} two" for text in test]))]
    known: dict[tuple[bytes, ...], int] = {}
    for number, (_, rows) in enumerate(sets):
        cut = DocBatch(rows, language="language", words=words)
        for row in range(rows.num_rows):
            for ngram in ngrams(cut, row, n):
                known.setdefault(ngram, number)
    batch = DocBatch(record([*documents, *test]), language="language", words=words)
    table = build_table(sets, n, words, by_language=words == "spacy-like", language="und")
    counts, owners = shared(batch, table, n)
    assert ngrams_in(batch, n).tolist() == [len(ngrams(batch, row, n)) for row in range(batch.num_rows)]
    for row in range(batch.num_rows):
        hits = [known[ngram] for ngram in ngrams(batch, row, n) if ngram in known]
        assert counts[row] == len(hits)
        assert owners[row] == (hits[0] if hits else -1)


SENTENCE = "one two three four five six seven eight nine ten eleven twelve thirteen"


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return str(path)


def test_near_duplicates_share_many_of_their_short_ngrams(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(200)]
    place = write(tmp_path / "test.jsonl", [{"text": " ".join(words)}])
    every_eighth = " ".join("changed" if i % 8 == 7 else word for i, word in enumerate(words))
    quotes = " ".join([*words[:20], *(f"v{i}" for i in range(180))])
    texts = [every_eighth, quotes, "nothing in common at all with it", ""]
    exact = annotate(STAGE, batch_of(texts), sets=[place])
    assert exact["reasons"] == [[], ["contaminated"], [], []]
    near = annotate(STAGE, batch_of(texts), sets=[place], n=5, max_frac=0.3)
    assert near["reasons"] == [["contaminated"], [], [], []]
    assert near["ngrams_frac"] == pytest.approx([3 / 8, 16 / 196, 0, 0], abs=0.01)
    with pytest.raises(ValidationError, match="leave one out"):
        STAGE.Config(sets=[place], max_frac=0.5, max_ngrams=3)


def test_thirteen_words_whatever_the_punctuation(tmp_path: Path) -> None:
    place = write(tmp_path / "test.jsonl", [{"text": SENTENCE}])
    documents = [
        "x " + SENTENCE.replace(" ", ", ") + "!",
        SENTENCE.replace("seven", "seventh"),
        SENTENCE.removesuffix("thirteen"),
        SENTENCE.title(),
        f"{SENTENCE} and {SENTENCE}",
    ]
    found = annotate(STAGE, batch_of(documents), sets=[place])
    assert found["ngrams_count"] == [1, 0, 0, 0, 2]
    assert found["test_set"] == ["test.jsonl", None, None, None, "test.jsonl"]
    assert found["reasons"] == [["contaminated"], [], [], [], ["contaminated"]]
    assert annotate(STAGE, batch_of(documents), sets=[place], max_ngrams=1)["reasons"][0] == []


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet", "folder", "import"])
def test_kinds_of_sets(tmp_path: Path, name: str) -> None:
    rows = [
        {"text": SENTENCE, "split": "test", "language": "eng_Latn"},
        {"text": SENTENCE[::-1], "split": "train"},
    ]
    place, table = tmp_path / name, pa.Table.from_pylist(rows)
    if name == "a.jsonl.gz":
        write(place, rows)
    elif name == "a.parquet":
        pq.write_table(table, place)
    else:
        place.mkdir()
        pq.write_table(table, place / ("sentences.parquet" if name == "import" else "b.parquet"))
    batch = batch_of([SENTENCE, SENTENCE[::-1]])
    assert annotate(STAGE, batch, sets=[str(place)])["ngrams_count"] == [1, 1]
    assert annotate(STAGE, batch, sets=[str(place)], splits=["test", "dev"])["ngrams_count"] == [1, 0]
    step = opened(STAGE, sets=[str(place)])
    (file,) = step.artifacts(None).values()  # type: ignore[arg-type]
    assert file.is_file()


def test_chinese_is_cut_alike_under_both_definitions(tmp_path: Path) -> None:
    text = "自从二〇〇四年提出了兴建人文大楼的构想"
    place = write(tmp_path / "t.jsonl", [{"text": text, "language": "cmn_Hani"}])
    for words in ("unicode", "spacy-like"):
        batch = batch_of([f"他说，{text}，"], ["cmn_Hani"], words=words)
        assert annotate(STAGE, batch, sets=[place])["ngrams_count"][0] > 0


CONTRACTED = "I don't know why they can't say what it's like when we've been there and she'll never see it"
#: How many of its n-grams the text shares with itself: as many as it has.
ALL = len(CONTRACTED.replace("'", " '").replace("n '", " n'").split()) - 12


@pytest.mark.parametrize("row", ["eng_Latn", "eng", "en", "EN", "en-US", "en_Latn", None, "", "deu_Latn"])
@pytest.mark.parametrize("documents", ["eng_Latn", None, "no column"])
def test_a_set_is_cut_by_the_rules_of_its_documents_whatever_its_column_says(
    tmp_path: Path, row: str | None, documents: str | None
) -> None:
    place = write(tmp_path / "t.jsonl", [{"text": CONTRACTED, "language": row}])
    languages = None if documents == "no column" else [documents]
    batch = batch_of([CONTRACTED], languages, words="spacy-like")
    if languages is not None and not row:
        with pytest.raises(
            CurateError, match=r"D402: nothing says which language 1 texts of the test set t\.jsonl"
        ):
            annotate(STAGE, batch, sets=[place])
    (found,) = annotate(STAGE, batch, sets=[place], language="en")["ngrams_count"]
    if documents == "no column" or (documents == "eng_Latn" and row != "deu_Latn"):
        assert found == ALL
    else:
        assert found < ALL  # the text is in another language than its copy was said to be
    unicode = batch_of([CONTRACTED], languages)
    assert annotate(STAGE, unicode, sets=[place])["ngrams_count"][0] > 0


def test_a_set_without_a_column_needs_its_language_only_where_words_depend_on_it(tmp_path: Path) -> None:
    place = write(tmp_path / "t.jsonl", [{"text": CONTRACTED}])
    batch = batch_of([CONTRACTED], ["eng_Latn"], words="spacy-like")
    with pytest.raises(CurateError, match="D402"):
        annotate(STAGE, batch, sets=[place])
    assert annotate(STAGE, batch, sets=[place], language="eng_Latn")["ngrams_count"] == [ALL]


def test_languages_that_are_none(tmp_path: Path) -> None:
    place = write(tmp_path / "t.jsonl", [{"text": CONTRACTED, "language": "English"}])
    batch = batch_of([CONTRACTED], ["eng_Latn"], words="spacy-like")
    with pytest.raises(
        CurateError, match=r"D403: 'language' of the test set t\.jsonl is no language: 'English'"
    ) as caught:
        annotate(STAGE, batch, sets=[place])
    assert caught.value.problems[0].help == "did you mean 'eng_Latn'?"
    with pytest.raises(ValueError, match="'English' is no language; did you mean 'eng_Latn'"):
        opened(STAGE, sets=[place], language="English")


@pytest.mark.parametrize(
    ("rows", "options", "code"),
    [
        ([{"body": "a"}], {}, "D402"),
        ([{"text": "a"}], {"splits": ["test"]}, "D402"),
        ([{"text": 3}], {}, "D403"),
        ([[1]], {}, "D402"),
    ],
)
def test_sets_that_do_not_fit(tmp_path: Path, rows: list[Any], options: dict[str, Any], code: str) -> None:
    with pytest.raises(CurateError, match=code):
        opened(STAGE, sets=[write(tmp_path / "a.jsonl", rows)], **options)


def test_a_set_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="D401: there is no test set"):
        opened(STAGE, sets=[str(tmp_path / "no")])
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(CurateError, match="line 3"):
        opened(STAGE, sets=[str(tmp_path / "a.jsonl")])
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(CurateError, match="D401"):
        opened(STAGE, sets=[str(tmp_path / "a.parquet")])


def test_a_set_of_short_texts_protects_nothing_and_says_so(tmp_path: Path) -> None:
    place = write(tmp_path / "a.jsonl", [{"text": "Too short."}, {"text": None}])
    with pytest.raises(CurateError, match="has 13 words"):
        annotate(STAGE, batch_of([assigned_only(SENTENCE)]), sets=[place])
