"""The Gopher rules decide as datatrove's filter decides when it is given our tokens."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import gopher_quality_filter as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.batch import DocBatch
from filters.gopher_quality import RULES, STAGE, GopherQualityConfig
from filters.stopwords import STOP_WORDS

ENGLISH = (
    "The committee that met in Leeds decided to publish the report, and with it the figures that members "
    "have asked for. Nothing of the sort was to be expected. "
)


def batch_of(texts: list[str], languages: list[str | None] | None = None) -> DocBatch:
    columns = {"doc": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())}
    if languages is not None:
        columns["lid__lang"] = pa.array(languages, pa.string())
    return DocBatch(
        pa.RecordBatch.from_pydict(columns), language="lid__lang" if languages is not None else None
    )


def annotate(batch: DocBatch, **config: Any) -> dict[str, list[Any]]:
    step = STAGE(GopherQualityConfig(**config))
    columns = step.annotate(batch)
    assert {name: column.type for name, column in columns.items()} == step.writes()
    return {name: column.to_pylist() for name, column in columns.items()}


def judged_by_datatrove(
    monkeypatch: pytest.MonkeyPatch, batch: DocBatch, row: int, **config: Any
) -> str | None:
    """The reason of datatrove's filter for one row, or None; the tokens are ours."""
    words = [word.decode() for word in batch.tokens.of(row)]
    monkeypatch.setattr(theirs, "split_into_words", lambda text, language: words)
    verdict = theirs.GopherQualityFilter(**config).filter(
        Document(text=batch.text[row].as_py(), id=str(row), metadata={})
    )
    return None if verdict is True else verdict[1]


FRAGMENTS = [
    "...\u0e33", "#\uff9e", "…\u0e33",
    "the", "be", "to", "of", "and", "that", "have", "with", "The", "report", "internationalisation",
    "x", "42", "3.14", "#", "##", "...", "....", "…", "……", ". . .", "..\u0301.", "-", "•",
    "- item", "• item", " \u00a0- odd", "\n", "\r\n", "\n- ", "\n• ", "...\n", "…\u2003\n",
    ".. .\n", "\u2028", "\x1f-", "日本語", "ไทย", "안녕", "слово", "e\u0301", "👍🏽", "１", "،", "$", "(",
    ")", "!!!", "_", "",
]  # fmt: skip
assigned = st.characters(codec="utf-8", exclude_categories=("Cn", "Cs"))
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(assigned, max_size=6), max_size=60).map(" ".join)
texts |= st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join)
configs = st.fixed_dictionaries(
    {
        "min_words": st.integers(1, 12),
        "max_words": st.none() | st.integers(5, 60),
        "min_avg_word_length": st.none() | st.integers(1, 5),
        "max_avg_word_length": st.none() | st.integers(3, 10),
        "max_symbol_word_ratio": st.none() | st.sampled_from([0.05, 0.1, 0.25, 0.5]),
        "max_bullet_lines_frac": st.none() | st.sampled_from([0.25, 0.5, 0.9]),
        "max_ellipsis_lines_frac": st.none() | st.sampled_from([0.25, 0.3, 0.5]),
        "min_alpha_words_frac": st.none() | st.sampled_from([0.25, 0.5, 0.8]),
        "min_stop_words": st.none() | st.integers(1, 4),
    }
)
THEIR_NAMES = {
    "min_words": "min_doc_words",
    "max_words": "max_doc_words",
    "max_bullet_lines_frac": "max_bullet_lines_ratio",
    "max_ellipsis_lines_frac": "max_ellipsis_lines_ratio",
    "min_alpha_words_frac": "max_non_alpha_words_ratio",
}


def as_theirs(config: dict[str, Any], *, spaced: bool) -> dict[str, Any]:
    """The config in datatrove's names; without word lengths for a document in a script without spaces."""
    renamed = {THEIR_NAMES.get(name, name): value for name, value in config.items()}
    return renamed if spaced else {**renamed, "min_avg_word_length": None, "max_avg_word_length": None}


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, min_size=1, max_size=6), configs)
def test_verdict_and_reason_are_datatroves(documents: list[str], config: dict[str, Any]) -> None:
    batch = batch_of(documents)
    ours = annotate(batch, **config)
    with pytest.MonkeyPatch.context() as patch:
        for row, reasons in enumerate(ours["reasons"]):
            spaced = ours["mean_word_length"][row] is not None or ours["words_count"][row] == 0
            expected = judged_by_datatrove(patch, batch, row, **as_theirs(config, spaced=spaced))
            assert (reasons[0] if reasons else None) == expected
            assert reasons == [rule for rule in RULES if rule in reasons]


@settings(deadline=None, max_examples=200)
@given(texts, configs)
def test_every_reason_is_what_datatrove_says_of_that_rule_alone(text: str, config: dict[str, Any]) -> None:
    batch = batch_of([text])
    ours = annotate(batch, **{**config, "min_words": 1})
    if ours["reasons"][0][:1] == ["gopher_short_doc"]:
        return
    spaced = ours["mean_word_length"][0] is not None
    wanted = set()
    with pytest.MonkeyPatch.context() as patch:
        for name in config:
            alone = {other: config[other] if other == name else None for other in config}
            alone["min_words"] = 1
            reason = judged_by_datatrove(patch, batch, 0, **as_theirs(alone, spaced=spaced))
            wanted |= {reason} if reason else set()
    # One threshold stands for two rules; datatrove names the first that fails.
    found = set(ours["reasons"][0])
    if "gopher_too_many_hashes" in found:
        found, wanted = found - {"gopher_too_many_ellipsis"}, wanted - {"gopher_too_many_ellipsis"}
    assert found == wanted


HANDMADE = {
    "good": (ENGLISH * 3, None),
    "empty": ("", "gopher_short_doc"),
    "short": (ENGLISH, "gopher_short_doc"),
    "long": ("the of " * 50_001, "gopher_long_doc"),
    "short words": ("a b of the " * 30, "gopher_below_avg_threshold"),
    "long words": (
        "internationalisation of the deindustrialisation " * 20 + "überwältigendste " * 60,
        "gopher_above_avg_threshold",
    ),
    "hashes": (ENGLISH * 3 + "# " * 30, "gopher_too_many_hashes"),
    "ellipses": (ENGLISH * 3 + "word... " * 30, "gopher_too_many_ellipsis"),
    "bullets": ("- have the words\n• of and with\n" * 30, "gopher_too_many_bullets"),
    "cut lines": (
        "the words that have been cut off somewhere in the middle of a line…\n" * 30,
        "gopher_too_many_end_ellipsis",
    ),
    "numbers": ("the of words 1234 5678 " * 30, "gopher_below_alpha_threshold"),
    "no stop words": ("Lorem ipsum dolor sit amet consectetur " * 10, "gopher_enough_stop_words"),
}


@pytest.mark.parametrize("name", HANDMADE)
def test_each_rule_with_fineweb_thresholds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, reason = HANDMADE[name]
    batch = batch_of([text])
    reasons = annotate(batch)["reasons"][0]
    assert (reasons[0] if reasons else None) == reason
    assert judged_by_datatrove(monkeypatch, batch, 0) == reason


def test_measurements() -> None:
    ours = annotate(batch_of(["The café, # 42...\n• so…\n-x\n\nend …"]))
    # The | café | , | # | 42 | ... | • | so | … | - | x | end | …: `•` is not in datatrove's punctuation set.
    assert ours["words_count"] == [7]
    assert ours["mean_word_length"] == [pytest.approx((3 + 4 + 2 + 1 + 2 + 1 + 3) / 7)]
    assert ours["hash_frac"] == [pytest.approx(1 / 13)]
    assert ours["ellipsis_frac"] == [pytest.approx(3 / 13)]
    assert ours["alpha_words_frac"] == [pytest.approx(5 / 13)]
    assert ours["bullet_lines_frac"] == [pytest.approx(2 / 5)]
    assert ours["ellipsis_lines_frac"] == [pytest.approx(3 / 5)]
    assert ours["stop_words_count"] == [0]


def test_null_switches_every_rule_off() -> None:
    off = {name: None for name in GopherQualityConfig.model_fields if name != "stop_words"}
    assert annotate(batch_of(["", "#", "...", ENGLISH]), **off)["reasons"] == [[], [], [], []]


def test_word_length_is_no_matter_without_spaces() -> None:
    texts = ["これは日本語のテキストです。" * 20, "ภาษาไทยไม่มีช่องว่าง" * 20, "a b c d " * 30]
    ours = annotate(batch_of(texts, ["jpn_Jpan", "tha_Thai", None]))
    assert ours["mean_word_length"] == [None, None, 1.0]
    assert [any("avg" in reason for reason in reasons) for reasons in ours["reasons"]] == [False, False, True]


def test_stop_words_are_those_of_the_language() -> None:
    german = "Der Hund und die Katze liegen in der Sonne. " * 20
    ours = annotate(batch_of([german] * 5, ["deu_Latn", "eng_Latn", "tha_Thai", None, "und"]))
    assert ours["stop_words_count"] == [4, 0, None, None, None]
    assert ours["reasons"] == [[], ["gopher_enough_stop_words"], [], [], []]
    # Nobody has identified languages: English, as datatrove has it.
    assert annotate(batch_of([german]))["reasons"] == [["gopher_enough_stop_words"]]


def test_own_stop_words_for_all_or_by_language() -> None:
    text, languages = "foo bar qux " * 30, ["deu_Latn", "eng_Latn", None]
    assert annotate(batch_of([text] * 3, languages), stop_words=["foo", "bar"])["stop_words_count"] == [
        2,
        2,
        2,
    ]
    by_language = {"deu_Latn": ["foo"], "default": ["foo", "bar", "qux"]}
    assert annotate(batch_of([text] * 3, languages), stop_words=by_language)["stop_words_count"] == [1, 3, 3]
    assert annotate(batch_of([text] * 3, languages), stop_words={"deu_Latn": ["qux"]})[
        "stop_words_count"
    ] == [1, None, None]
    assert annotate(batch_of([text]), stop_words={"default": ["foo"]})["stop_words_count"] == [1]


@pytest.mark.parametrize(
    "config",
    [
        {"min_word": 50},
        {"min_words": -1},
        {"max_bullet_lines_frac": 1.5},
        {"stop_words": {"de": ["der"]}},
        {"stop_words": [""]},
    ],
)
def test_rejects_what_cannot_be_meant(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GopherQualityConfig(**config)


def test_an_unknown_language_gets_a_suggestion() -> None:
    with pytest.raises(ValidationError, match="did you mean 'deu_Latn'"):
        GopherQualityConfig.model_validate({"stop_words": {"de": ["der"]}})


def test_builtin_stop_words_are_tokens() -> None:
    """A stop word that the tokeniser would cut could never be found."""
    words = sorted({word for group in STOP_WORDS.values() for word in group})
    batch = batch_of(words)
    assert [word for row, word in enumerate(words) if batch.tokens.of(row) != [word.encode()]] == []
    assert all(unicodedata.is_normalized("NFC", word) and word == word.lower() for word in words)
    assert all(GopherQualityConfig(stop_words={language: ["x"]}) for language in STOP_WORDS)


def test_results_do_not_depend_on_the_batch() -> None:
    texts = [text for text, _ in HANDMADE.values() if len(text) < 100_000]
    whole = annotate(batch_of(texts))
    for row, text in enumerate(texts):
        alone = annotate(batch_of([text]))
        assert all(alone[name] == whole[name][row : row + 1] for name in whole)
    kept = batch_of(texts)
    _ = kept.tokens, kept.lines
    mask = np.arange(len(texts)) % 2 == 1
    assert annotate(kept.filter(mask))["reasons"] == [
        r for r, k in zip(whole["reasons"], mask, strict=True) if k
    ]
