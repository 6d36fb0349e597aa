"""Precision, recall and F1 of predicted spans against gold ones, per type and language.

In: two tables of sentences with `text`, `spans: list<struct<start, end, label …>>` and, in gold, `language`. Out:

    strict    a predicted span counts if a gold span has the same start, end and type
    relaxed   if a gold span of the same type shares a character with it; each span counts once (from left to right, the
              gold span that ends first)

    micro     over all spans; macro: the mean over types that gold or predictions have (0 where a ratio has no
              denominator). Both as `seqeval` computes them in its default mode, to which strict scores are equal

`by` chooses the types: `label` as they are, `standard` or `core` by the type map. Spans without such a type are left out
on both sides, and counted (`left_out`).

Sentences are paired by their text, equal ones in order. A gold sentence that has no prediction counts as one in which
nothing was found, and a prediction for a text that gold has not is left out; both are counted. A span that occurs twice
in a sentence counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from curate.core.columns import UNDETERMINED
from filters.ner import tables
from filters.ner.types import TypeMap

By = Literal["label", "standard", "core"]
Span = tuple[int, int, str]

STRICT: Final = "strict"
RELAXED: Final = "relaxed"
MATCHES: Final = (STRICT, RELAXED)


@dataclass
class Tally:
    """Spans of one type: gold, predicted, and those that agree."""

    gold: int = 0
    predicted: int = 0
    strict: int = 0
    relaxed: int = 0

    def add(self, other: Tally) -> None:
        self.gold += other.gold
        self.predicted += other.predicted
        self.strict += other.strict
        self.relaxed += other.relaxed

    def ratios(self, match: str) -> dict[str, float]:
        """precision, recall, f1; 0 where the denominator is."""
        correct = getattr(self, match)
        precision = correct / self.predicted if self.predicted else 0.0
        recall = correct / self.gold if self.gold else 0.0
        total = precision + recall
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / total if total else 0.0,
        }


@dataclass
class Scores:
    """tallies: language → type → tally. The counts say what was not compared."""

    by: By
    tallies: dict[str, dict[str, Tally]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Tally))
    )
    sentences: int = 0
    without_prediction: int = 0
    without_gold: int = 0
    left_out_gold: int = 0
    left_out_predicted: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints: all languages together, then each."""
        together: dict[str, Tally] = defaultdict(Tally)
        for types in self.tallies.values():
            for name, tally in types.items():
                together[name].add(tally)
        return {
            "by": self.by,
            "sentences": {
                "gold": self.sentences,
                "without_prediction": self.without_prediction,
                "prediction_without_gold": self.without_gold,
            },
            "left_out": {"gold": self.left_out_gold, "predicted": self.left_out_predicted},
            "all": _summary(together),
            "languages": {language: _summary(self.tallies[language]) for language in sorted(self.tallies)},
        }


def _summary(types: Mapping[str, Tally]) -> dict[str, Any]:
    total = Tally()
    for tally in types.values():
        total.add(tally)
    kept = {name: types[name] for name in sorted(types) if types[name].gold or types[name].predicted}
    result: dict[str, Any] = {"gold": total.gold, "predicted": total.predicted}
    for match in MATCHES:
        each = {name: tally.ratios(match) for name, tally in kept.items()}
        macro = {
            ratio: sum(ratios[ratio] for ratios in each.values()) / len(each) if each else 0.0
            for ratio in ("precision", "recall", "f1")
        }
        result[match] = {"micro": total.ratios(match), "macro": macro, "types": each}
    result["types"] = {
        name: {"gold": tally.gold, "predicted": tally.predicted} for name, tally in kept.items()
    }
    return result


def compare(gold: Iterable[Span], predicted: Iterable[Span]) -> dict[str, Tally]:
    """Tallies by type of one sentence; spans are (start, end, type)."""
    wanted, found = set(gold), set(predicted)
    tallies: dict[str, Tally] = defaultdict(Tally)
    for _, _, name in wanted:
        tallies[name].gold += 1
    for _, _, name in found:
        tallies[name].predicted += 1
    for _, _, name in wanted & found:
        tallies[name].strict += 1
    for name, tally in tallies.items():
        if tally.gold and tally.predicted:
            tally.relaxed = _overlapping(
                [(end, start) for start, end, other in wanted if other == name],
                [(end, start) for start, end, other in found if other == name],
            )
    return tallies


def _overlapping(gold: list[tuple[int, int]], predicted: list[tuple[int, int]]) -> int:
    """Pairs that share a character, each span in one at most; spans are (end, start)."""
    free = sorted(gold)
    pairs = 0
    for end, start in sorted(predicted):
        for i, (other_end, other_start) in enumerate(free):
            if other_start < end and start < other_end:
                del free[i]
                pairs += 1
                break
    return pairs


def score(gold: pa.Table, predicted: pa.Table, by: By, types: TypeMap) -> Scores:
    """Scores of the predictions; both tables as `read_annotated` gives them."""
    scores = Scores(by)
    waiting: dict[str, list[Sequence[Mapping[str, Any]]]] = defaultdict(list)
    for text, spans in zip(predicted["text"].to_pylist(), predicted["spans"].to_pylist(), strict=True):
        waiting[text].append(spans or [])
    seen: Counter[str] = Counter()
    columns = (gold[name].to_pylist() for name in ("text", "spans", "language"))
    for text, spans, language in zip(*columns, strict=True):
        scores.sentences += 1
        number, candidates = seen[text], waiting.get(text, [])
        seen[text] += 1
        if number >= len(candidates):
            scores.without_prediction += 1
        wanted, out = _typed(spans or [], by, types)
        scores.left_out_gold += out
        found, out = _typed(candidates[number] if number < len(candidates) else [], by, types)
        scores.left_out_predicted += out
        for name, tally in compare(wanted, found).items():
            scores.tallies[language or UNDETERMINED][name].add(tally)
    scores.without_gold = sum(max(0, len(rows) - seen[text]) for text, rows in waiting.items())
    return scores


def _typed(spans: Sequence[Mapping[str, Any]], by: By, types: TypeMap) -> tuple[list[Span], int]:
    """Spans with the type to compare, and how many have none."""
    typed = []
    for span in spans:
        name = span["label"] if by == "label" else getattr(types, by)(span["label"] or "")
        if name:
            typed.append((span["start"], span["end"], name))
    return typed, len(spans) - len(typed)


def read_annotated(path: Path) -> pa.Table:
    """`text`, `spans`, `language` of a Parquet file, or of a folder of an import or a run. D401, D402, D403, D410."""
    help = "give the folder of `curate ner import` or of a run, or a Parquet file with text and spans"
    found = []
    for file in tables.files_of(path, help):
        table = tables.read(file, ("text", "spans"), help)
        tables.check(table, file, {"spans": ("label",)})
        if "language" not in table.column_names:
            table = table.append_column("language", pa.nulls(len(table), pa.string()))
        found.append(table.select(["text", "spans", "language"]))
    return tables.joined(found, path, help)
