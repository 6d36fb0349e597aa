"""Laws of a pass, whatever its steps do: no document is lost or doubled, each has one fate, and the books balance.

A plain Python model says what should become of every document; the pass must agree, however its input is cut into batches.
"""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.running.ledger import StepLedger, imbalances
from curate.running.pipeline import blank_rows
from curate.running.quarantine import BadRow
from tests.runtime.toys import (
    Bounds,
    Bytes,
    Choose,
    Fragile,
    Mark,
    Modulus,
    Upper,
    Word,
    documents,
    passing,
    step,
)

TEXTS = (
    None,
    "",
    "  \n",
    "\u3000",
    "x",
    "ab",
    "xx yy",
    "wiki text",
    "é" * 40,
    "long " * 30,
    "\0",
    "X\u0301y",
)
LANGUAGES = ("deu_Latn", "eng_Latn", None, "und")

WHEN = (None, "doc % 2 = 0", "source = 'wiki'", "len(text) > 3", "source is null and doc > 3")

KINDS = ("bytes", "mark", "choose", "upper", "fragile", "annotate")

recipes = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(WHEN)), max_size=5)
rows_of = st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(LANGUAGES)), max_size=25)


def build(recipe: list[tuple[str, str | None]]) -> list[Any]:
    made: list[Any] = []
    for number, (kind, when) in enumerate(recipe):
        name = f"s{number}"
        match kind:
            case "bytes":
                made.append(step(name, Bytes(Bounds(least=3, most=60)), when=when))
            case "annotate":
                made.append(step(name, Bytes(Bounds(least=3, most=60)), when=when, mode="annotate"))
            case "mark":
                made.append(step(name, Mark(Word(word="x")), when=when))
            case "choose":
                made.append(step(name, Choose(Modulus()), when=when))
            case "upper":
                made.append(step(name, Upper(Word(word="y")), when=when))
            case "fragile":
                made.append(step(name, Fragile(Word(word="wiki")), when=when))
    return made


class Model:
    """One document through the steps, in plain Python."""

    def __init__(
        self, doc: int, text: str | None, source: str | None, recipe: list[tuple[str, str | None]]
    ) -> None:
        self.doc, self.text, self.source = doc, text, source
        self.fate: str | None = None
        self.why: list[str] | None = None
        self.rewritten: str | None = None
        self.values: dict[str, Any] = {}
        self.entered = ["read"]
        if text is None or not text.strip(" \t\n\u3000"):
            self.fate, self.why = "read", ["no_text"]
        for number, (kind, when) in enumerate(recipe):
            if self.fate is None:
                self.entered.append(f"s{number}")
                if self._inside(when):
                    self._apply(f"s{number}", kind)

    def _inside(self, when: str | None) -> bool:
        assert self.text is not None
        return {
            None: True,
            "doc % 2 = 0": self.doc % 2 == 0,
            "source = 'wiki'": self.source == "wiki",
            "len(text) > 3": len(self.text) > 3,
            "source is null and doc > 3": self.source is None and self.doc > 3,
        }[when]

    def _apply(self, name: str, kind: str) -> None:
        assert self.text is not None
        size = len(self.text.encode())
        if kind in ("bytes", "annotate"):
            reasons = ["short"] * (size < 3) + ["long"] * (size > 60) + ["odd"] * (size < 2)
            self.values |= {f"{name}__text_bytes": size, f"{name}__reasons": reasons}
            if reasons and kind == "bytes":
                self.fate, self.why = name, reasons
        elif kind == "mark":
            self.values[f"{name}__found"] = "x" in self.text
        elif kind == "choose":
            if self.doc % 5 == 0 or self.doc % 3 == 0:
                self.fate, self.why = name, ["null" if self.doc % 5 == 0 else "false"]
        elif kind == "upper":
            if "y" in self.text:
                self.text = self.rewritten = self.text.upper()
        elif kind == "fragile":
            even = self.doc % 2 == 0
            self.values |= {f"{name}__ok_count": 1, f"{name}__reasons": ["even"] if even else []}
            if "wiki" in self.text:
                self.fate, self.why = "quarantine", ["no model for this"]
            elif even:
                self.fate, self.why = name, ["even"]


def source(doc: int) -> str | None:
    return ("wiki", None, "web")[doc % 3]


@settings(deadline=None, max_examples=150)
@given(recipe=recipes, rows=rows_of, cuts=st.lists(st.integers(0, 25), max_size=3))
def test_every_document_has_the_fate_that_its_text_deserves(
    recipe: list[tuple[str, str | None]], rows: list[tuple[str | None, str | None]], cuts: list[int]
) -> None:
    record = documents(
        [t for t, _ in rows], lang=[code for _, code in rows], source=[source(n) for n in range(len(rows))]
    )
    pipeline = passing(*build(recipe), language="lang")
    bounds = [0, *sorted(c for c in cuts if c <= len(rows)), len(rows)]
    found: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    rewritten = 0
    for start, end in itertools.pairwise(bounds):
        outcome = pipeline.run(record.slice(start, end - start))
        assert outcome.overlay.schema.equals(pipeline.schema)
        outcome.overlay.validate(full=True)
        found += outcome.overlay.to_pylist()
        bad += outcome.bad
        rewritten += outcome.rewritten
    models = [Model(doc, text, source(doc), recipe) for doc, (text, _) in enumerate(rows)]
    assert [row["doc"] for row in found] == list(range(len(rows)))
    for row, model in zip(found, models, strict=True):
        assert row["drop"] == model.fate
        assert row["drop_reasons"] == model.why
        assert row["text"] == model.rewritten
        assert row["text_bytes"] == (None if model.text is None else len(model.text.encode()))
        steps = {name: row[name] for name in row if "__" in name}
        assert steps == {name: model.values.get(name) for name in steps}
    assert sorted(b.doc for b in bad) == [m.doc for m in models if m.fate == "quarantine"]
    assert rewritten == sum(m.rewritten is not None for m in models)
    _books_agree([c.ledger for c in pipeline.counters], models, [code for _, code in rows])


def _books_agree(ledgers: list[StepLedger], models: list[Model], languages: list[str | None]) -> None:
    assert imbalances(ledgers) == []
    for ledger in ledgers:
        codes = {code or "und" for m, code in zip(models, languages, strict=True) if ledger.step in m.entered}
        assert set(ledger.by_language) == codes
        for code, tally in ledger.by_language.items():
            mine = [
                m
                for m, c in zip(models, languages, strict=True)
                if (c or "und") == code and ledger.step in m.entered
            ]
            dropped = [m for m in mine if m.fate == ledger.step]
            gone_here = [m for m in mine if m.fate == "quarantine" and m.entered[-1] == ledger.step]
            assert tally.rows_in == len(mine)
            assert tally.rows_quarantined == len(gone_here)
            assert tally.rows_kept == len(mine) - len(dropped) - len(gone_here)
            assert sum(tally.dropped.values()) == len(dropped)
            firsts = [m.why[0] for m in dropped if m.why]
            assert tally.dropped == {reason: firsts.count(reason) for reason in set(firsts)}
            every = [reason for m in dropped for reason in m.why or ()]
            assert tally.reasons == {reason: every.count(reason) for reason in set(every)}


def test_unreadable_records_take_their_place_among_the_others() -> None:
    record = pa.concat_batches([documents(["one", "two"], 2), documents(["three"], 9)])
    pipeline = passing(step("size", Bytes(Bounds())))
    outcome = pipeline.run(record, [BadRow(doc, "read", f"bad {doc}", "f", "row") for doc in (0, 5, 11)])
    rows = outcome.overlay.to_pylist()
    assert [r["doc"] for r in rows] == [0, 2, 3, 5, 9, 11]
    assert [r["drop"] for r in rows] == ["quarantine", None, None, "quarantine", None, "quarantine"]
    assert [r["drop_reasons"] for r in rows if r["drop"]] == [["bad 0"], ["bad 5"], ["bad 11"]]
    assert [r["size__text_bytes"] for r in rows] == [None, 3, 3, None, 5, None]
    read, size = (c.ledger.total() for c in pipeline.counters)
    assert (read.rows_in, read.rows_kept, read.rows_quarantined) == (6, 3, 3)
    assert (size.rows_in, size.rows_kept) == (3, 3)
    assert imbalances([c.ledger for c in pipeline.counters]) == []


def test_a_batch_of_nothing_but_bad_records_is_in_the_books() -> None:
    pipeline = passing(step("size", Bytes(Bounds())))
    outcome = pipeline.run(documents([]), [BadRow(7, "read", "bad")])
    assert outcome.overlay.column("doc").to_pylist() == [7]
    assert pipeline.counters[0].ledger.total().rows_quarantined == 1
    assert imbalances([c.ledger for c in pipeline.counters]) == []


@given(st.lists(st.sampled_from((*TEXTS, " x", "\x7f", "\u00a0", "\u00a0y", "\x1c\x1d", "\n")), max_size=20))
def test_blank_is_what_python_calls_blank(texts: list[str | None]) -> None:
    column = pa.array(["before", None, *texts], pa.string()).slice(2)
    assert blank_rows(column).tolist() == [i for i, text in enumerate(texts) if not (text or "").strip()]


def test_a_pass_without_steps_drops_only_what_has_no_text() -> None:
    pipeline = passing()
    rows = pipeline.run(documents(["a", None, " ", "\u2003\u0085", "\u200b"])).overlay.to_pylist()
    assert [r["drop"] for r in rows] == [None, "read", "read", "read", None]


def test_a_later_pass_does_not_judge_texts_again() -> None:
    pipeline = passing(step("size", Bytes(Bounds())), first=False)
    assert pipeline.names == ["size"]
    outcome = pipeline.run(documents(["", "abc"]))
    assert outcome.overlay.column("drop").to_pylist() == [None, None]


def test_a_language_found_in_the_pass_is_the_ledgers_for_every_step_of_it() -> None:
    class Lid(Mark):
        def writes(self) -> dict[str, pa.DataType]:
            return {"lang": pa.string()}

        def annotate(self, batch: Any) -> dict[str, pa.Array]:
            return {
                "lang": pa.array(
                    ["deu_Latn" if "ß" in t else None for t in batch.text.to_pylist()], pa.string()
                )
            }

    lid = step("lid", Lid(Word()))
    size = step("size", Bytes(Bounds(least=5)))
    pipeline = passing(size, lid, language="lid__lang")
    pipeline.run(documents(["groß und breit", "large and wide", "ß", None]))
    by_step = {
        c.ledger.step: {k: t.rows_in for k, t in c.ledger.by_language.items()} for c in pipeline.counters
    }
    assert by_step == {
        "read": {"deu_Latn": 1, "und": 3},
        "size": {"deu_Latn": 1, "und": 2},
        "lid": {"deu_Latn": 1, "und": 1},
    }
