"""The ledger: rows in = kept + dropped + quarantined, for every phase, step and language.

Counters are gathered per unit while it runs (`StepCounter`), written beside its outputs as JSON, and added up here. A row
has one language for a whole phase, the one known when the phase ends (`und` before any is), so the books balance per
language as well as in all. Every dropped row is counted once in `dropped`, under the first of its reasons; `reasons`
counts each rule that failed, so its sum may be larger.

    {"steps": [{"step": "lid", "by_language": {"deu_Latn": {"rows_in": 9, "rows_kept": 8, "rows_quarantined": 0,
      "bytes_in": 900, "bytes_kept": 850, "dropped": {"reason": 1}, "reasons": {"reason": 1}}}}]}

Encoders have lines of their own, which are of times and so another time others: in the done-file of each unit

    "encoders": {"usem3": {"tokens": 81204, "busy_seconds": 3.1, "seconds": 3.4}}

tokens that it read in the unit, seconds in which it computed, and seconds that the unit took.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import UNDETERMINED
from curate.core.stage import Work

#: The step's name under which the reader's own work stands: bad records and documents without text.
READ = "read"


@dataclass
class Tally:
    """Numbers of one step and language. bytes: UTF-8 bytes of text."""

    rows_in: int = 0
    rows_kept: int = 0
    rows_quarantined: int = 0
    bytes_in: int = 0
    bytes_kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, other: Mapping[str, Any]) -> None:
        self.rows_in += other["rows_in"]
        self.rows_kept += other["rows_kept"]
        self.rows_quarantined += other["rows_quarantined"]
        self.bytes_in += other["bytes_in"]
        self.bytes_kept += other["bytes_kept"]
        for mine, theirs in ((self.dropped, other["dropped"]), (self.reasons, other["reasons"])):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count

    @property
    def rows_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        return self.rows_in == self.rows_kept + self.rows_dropped + self.rows_quarantined

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows_in": self.rows_in,
            "rows_kept": self.rows_kept,
            "rows_quarantined": self.rows_quarantined,
            "bytes_in": self.bytes_in,
            "bytes_kept": self.bytes_kept,
            "dropped": dict(sorted(self.dropped.items())),
            "reasons": dict(sorted(self.reasons.items())),
        }


@dataclass
class StepLedger:
    """One step's numbers by language."""

    step: str
    by_language: dict[str, Tally] = field(default_factory=dict)

    def total(self) -> Tally:
        total = Tally()
        for tally in self.by_language.values():
            total.add(tally.as_dict())
        return total

    @property
    def balanced(self) -> bool:
        return all(t.balanced for t in self.by_language.values())


class StepCounter:
    """Counts what one step did to the rows of a unit, batch by batch."""

    def __init__(self, step: str) -> None:
        self.ledger = StepLedger(step)

    def count(
        self,
        languages: tuple[str, ...],
        codes: npt.NDArray[np.int64],
        bytes_in: npt.NDArray[np.int64],
        bytes_kept: npt.NDArray[np.int64],
        kept: npt.NDArray[np.bool_],
        quarantined: npt.NDArray[np.bool_],
        dropped: npt.NDArray[np.int64],
        reasons: pa.ListArray,
    ) -> None:
        """One batch: `codes` index `languages`, all arrays are int64/bool[rows that entered the step].

        dropped: positions (ascending) of the dropped rows; reasons: list<string>[dropped], never empty lists.
        """
        size = len(languages)
        rows_in = np.bincount(codes, minlength=size)
        rows_kept = np.bincount(codes[kept], minlength=size)
        rows_bad = np.bincount(codes[quarantined], minlength=size)
        volume_in = np.bincount(codes, weights=bytes_in, minlength=size)
        volume_kept = np.bincount(codes[kept], weights=bytes_kept[kept], minlength=size)
        first = _count_by(languages, codes[dropped], pc.list_element(reasons, 0)) if len(dropped) else {}
        every = _count_reasons(languages, codes[dropped], reasons) if len(dropped) else {}
        for index in np.flatnonzero(rows_in):
            language = languages[index]
            self.ledger.by_language.setdefault(language, Tally()).add(
                {
                    "rows_in": int(rows_in[index]),
                    "rows_kept": int(rows_kept[index]),
                    "rows_quarantined": int(rows_bad[index]),
                    "bytes_in": int(volume_in[index]),
                    "bytes_kept": int(volume_kept[index]),
                    "dropped": first.get(language, {}),
                    "reasons": every.get(language, {}),
                }
            )

    def add(self, other: StepCounter) -> None:
        """Add what was counted elsewhere."""
        for language, tally in other.ledger.by_language.items():
            self.ledger.by_language.setdefault(language, Tally()).add(tally.as_dict())

    def count_unreadable(self, rows: int) -> None:
        """Records that could not be read: they entered and went to the quarantine, without language or size."""
        self.ledger.by_language.setdefault(UNDETERMINED, Tally()).add(
            {**Tally().as_dict(), "rows_in": rows, "rows_quarantined": rows}
        )


def _count_reasons(
    languages: tuple[str, ...], codes: npt.NDArray[np.int64], reasons: pa.ListArray
) -> dict[str, dict[str, int]]:
    parents = pc.list_parent_indices(reasons).to_numpy()
    return _count_by(languages, codes[parents], pc.list_flatten(reasons))


def _count_by(
    languages: tuple[str, ...], codes: npt.NDArray[np.int64], reasons: pa.StringArray
) -> dict[str, dict[str, int]]:
    """language → reason → rows."""
    encoded = reasons.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    pairs = codes * len(names) + encoded.indices.to_numpy()
    result: dict[str, dict[str, int]] = {}
    for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
        result.setdefault(languages[pair // len(names)], {})[names[pair % len(names)]] = int(count)
    return result


def language_codes(column: pa.StringArray | None, rows: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Distinct languages and each row's index into them; null, or no column at all, is `und`."""
    if column is None:
        return (UNDETERMINED,), np.zeros(rows, np.int64)
    encoded = pc.fill_null(column, UNDETERMINED).dictionary_encode()
    return tuple(encoded.dictionary.to_pylist()), encoded.indices.to_numpy().astype(np.int64)


def counters_json(counters: Iterable[StepCounter]) -> dict[str, Any]:
    """What a unit writes down."""
    return {
        "steps": [
            {
                "step": c.ledger.step,
                "by_language": {k: t.as_dict() for k, t in sorted(c.ledger.by_language.items())},
            }
            for c in counters
        ]
    }


def add_up(steps: Iterable[str], units: Iterable[Mapping[str, Any]]) -> list[StepLedger]:
    """The ledger of a phase: its steps in order, summed over units."""
    ledgers = {name: StepLedger(name) for name in steps}
    for unit in units:
        for step in unit["steps"]:
            ledger = ledgers[step["step"]]
            for language, numbers in step["by_language"].items():
                ledger.by_language.setdefault(language, Tally()).add(numbers)
    return list(ledgers.values())


def encoders(facts: Iterable[Mapping[str, Any]]) -> dict[str, Work]:
    """Encoder → what it did in the units of a phase, added up. facts: of their done-files."""
    found: dict[str, Work] = {}
    for unit in facts:
        for name, did in unit.get("encoders", {}).items():
            work = Work(did["tokens"], did["busy_seconds"], did["seconds"])
            found[name] = found.get(name, Work()).plus(work)
    return dict(sorted(found.items()))


def all_encoders(facts: Iterable[Mapping[str, Any]]) -> Work:
    """What the encoders of a phase did together; the seconds of a unit with two of them count once."""
    total = Work()
    for unit in facts:
        works = encoders([unit]).values()
        tokens, busy = sum(w.tokens for w in works), sum(w.busy for w in works)
        total = total.plus(Work(tokens, busy, max((w.seconds for w in works), default=0.0)))
    return total


def imbalances(ledgers: list[StepLedger]) -> list[str]:
    """What does not add up in a phase, in words; empty when the books balance.

    Within a step, per language; and from each step to the next, where rows in must be the rows the one before kept.
    """
    found = []
    for ledger in ledgers:
        for language, tally in sorted(ledger.by_language.items()):
            if not tally.balanced:
                found.append(
                    f"{ledger.step}, {language}: {tally.rows_in} rows in, {tally.rows_kept} kept, "
                    f"{tally.rows_dropped} dropped, {tally.rows_quarantined} quarantined"
                )
    for before, after in pairwise(ledgers):
        for language in sorted(before.by_language.keys() | after.by_language.keys()):
            kept = before.by_language.get(language, Tally()).rows_kept
            entered = after.by_language.get(language, Tally()).rows_in
            if kept != entered:
                found.append(f"{language}: {before.step} kept {kept} rows, {after.step} received {entered}")
    return found
