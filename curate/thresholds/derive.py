"""From what a run has measured to bounds by language, and what they would drop: the table of `curate thresholds`.

In: a finished or unfinished run, a method, perhaps a run over a reference corpus. Out, ready for JSON:

    languages  language → documents, filters → rules: documents measured, bound now, how many fail it, bound derived, how
               many would fail that, and a note where a bound is kept or does not do what one might think
    left_out   language → why nothing was derived for it
    stop_words language → documents and words that were counted, and the list, if stop words are asked for
    no_stop_words  language → why it has none
    values     language → option → value, as a file of thresholds has them

A rule counts alone, whatever the others drop; `any` counts documents that fail at least one rule of the filter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import cache
from typing import Any, Final, Literal

from curate.core.columns import UNDETERMINED
from curate.core.errors import error
from curate.thresholds.distribution import Distribution
from curate.thresholds.rules import (
    DEFAULT,
    Bounds,
    Filter,
    Side,
    filters_of,
    language_score,
)
from curate.thresholds.scan import Measured, Measurements, measured_columns, scan, totals
from curate.thresholds.stop_words import stop_word_lists
from curate.views.documents import Documents

Method = Literal["quantile", "meanstd", "tail10"]

#: The option that lists of stop words are written for.
STOP_WORDS: Final = "stop_words"

#: Digits of a derived bound.
_DIGITS: Final = 4

#: FineWeb-2's range for the threshold of the language's probability.
_SCORE_RANGE: Final = (0.3, 0.9)


@dataclass(frozen=True)
class Request:
    """What is asked for. languages, options: only these, or all. tail: share that `tail10` drops.

    stop_words: count words too.
    """

    method: Method = "quantile"
    reference_language: str = "eng_Latn"
    tail: float = 0.1
    min_docs: int = 100
    languages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stop_words: bool = False


@dataclass(frozen=True)
class _Derived:
    """A bound, or None: the present one is kept. note: why, or what is particular about it."""

    bound: float | None
    note: str = ""


def derive(documents: Documents, request: Request, reference: Documents | None = None) -> dict[str, Any]:
    """The whole table. C201 if the run has no rules, or the reference run not the same measurements."""
    return _Derivation(documents, request, reference).table()


class _Derivation:
    """One run, one method. `there`: measurements of the reference corpus, which is the run itself unless one is given."""

    def __init__(self, documents: Documents, request: Request, reference: Documents | None) -> None:
        self.documents, self.request = documents, request
        self.filters = _filters(documents)
        self.here = scan(documents, self.filters, _bounds_now, distributions=True)
        self.totals = totals(self.here)
        self.corpus = reference if reference is not None else documents
        self.there = self.here if reference is None else self._reference(reference)
        self.reference_language = DEFAULT if self.corpus.plan.language is None else request.reference_language
        self.left_out: dict[str, str] = {}

    def _reference(self, reference: Documents) -> Measurements:
        """The reference run's measurements under this run's names, against this run's bounds."""
        sides = [(filter, side) for filter in self.filters for side in filter.sides()]
        columns = {side.column for filter, side in sides if not filter.is_language_score(side)}
        missing = sorted(columns - measured_columns(reference, self.filters))
        if missing:
            raise error(
                "C201",
                f"the reference run {reference.plan.name} has not measured {', '.join(missing[:5])}",
                help="run the same filters under the same names over the reference corpus",
            )
        return scan(reference, self.filters, _bounds_now, distributions=True)

    def table(self) -> dict[str, Any]:
        derived = {
            language: {filter.name: self._bounds(filter, language) for filter in self.filters}
            for language in sorted(self.totals)
            if self._is_derived(language)
        }
        self._reconcile(derived)

        @cache
        def bounds_after(filter: Filter, language: str) -> Bounds:
            found = derived.get(language, {}).get(filter.name, {})
            kept = filter.bounds(language)
            return {**kept, **{side: d.bound for side, d in found.items() if d.bound is not None}}

        after = scan(self.documents, self.filters, bounds_after) if derived else self.here
        shown = [c for c in self.totals if not self.request.languages or c in self.request.languages]
        run = self.documents.run
        lists, without = self._stop_words(shown)
        values = {code: values for code in derived if (values := self._values(derived[code]))}
        for code, found in lists.items():
            values.setdefault(code, {})[STOP_WORDS] = found["list"]
        return {
            "run": run.plan.name,
            "state": run.state,
            "shards": {
                "done": min((len(p.done) for p in run.passes), default=0),
                "total": len(self.documents.manifest.shards),
            },
            "method": self.request.method,
            "tail": self.request.tail if self.request.method == "tail10" else None,
            "reference": self._reference_entry(),
            "languages": {
                code: {
                    "documents": self.totals[code],
                    "filters": [self._entry(f, code, derived, after) for f in self.filters],
                }
                for code in sorted(shown, key=lambda c: (-self.totals[c], c))
            },
            "left_out": dict(sorted(self.left_out.items())),
            "notes": self._notes(),
            "stop_words": lists,
            "no_stop_words": without,
            "values": {code: dict(sorted(values[code].items())) for code in sorted(values)},
        }

    def _stop_words(self, languages: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Lists of stop words, and why languages have none; nothing if they were not asked for."""
        if not self.request.stop_words:
            return {}, {}
        counts = {code: self.totals[code] for code in languages}
        return stop_word_lists(self.corpus, self.documents.plan.words, counts, self.request.min_docs)

    def _notes(self) -> list[str]:
        """What concerns the whole table."""
        notes = []
        run = self.documents.run
        if run.state != "done":
            notes.append(f"the run is {run.state}: only what it has measured so far counts")
        entry = self._reference_entry()
        if entry["language"] is not None and entry["documents"] < self.request.min_docs:
            notes.append(
                f"the reference run {entry['run']} has {_documents(entry['documents'])} of {entry['language']}: "
                "no rule can be derived; give another --reference or --reference-language, or use --method tail10"
            )
        if self.request.stop_words:
            notes.append(
                "found stop words were counted by the present lists; the derived ones count in the next run"
            )
        there = measured_columns(self.documents, self.filters)
        for column in sorted({s.column for f in self.filters for s in f.sides()} - there):
            notes.append(f"{column} is not a number that this run has measured: its rules are not shown")
        return notes

    def _reference_entry(self) -> dict[str, Any]:
        language = None if self.request.method == "tail10" else self.reference_language
        count = (
            totals(self.there).get(language, 0) if language is not None else sum(totals(self.there).values())
        )
        return {"run": self.corpus.plan.name, "language": language, "documents": count}

    def _is_derived(self, language: str) -> bool:
        """Whether bounds are derived for a language; if not, the reason is noted."""
        request = self.request
        if request.languages and language not in request.languages:
            return False
        count, least = self.totals[language], request.min_docs
        if language == UNDETERMINED:
            why = "no language is known when the rules are applied"
        elif count < least:
            why = f"{_documents(count)}, fewer than {least:,}"
        elif request.method == "tail10" and (there := totals(self.there).get(language, 0)) < least:
            why = f"{_documents(there)} in the reference run, fewer than {least:,}"
        else:
            return True
        self.left_out[language] = why
        return False

    def _bounds(self, filter: Filter, language: str) -> dict[Side, _Derived]:
        """Derived bounds of a filter's rules in a language."""
        measured = self.here[filter.name].get(language, Measured())
        found = {}
        for side in filter.sides(language):
            names = {name.partition(".")[0] for name in (side.option, filter.key(side) or "")}
            if self.request.options and not names & set(self.request.options):
                continue
            found[side] = self._bound(filter, side, language, measured)
        return found

    def _bound(self, filter: Filter, side: Side, language: str, measured: Measured) -> _Derived:
        distribution = measured.distributions.get(side.column, Distribution())
        if not side.option:
            return _Derived(None, "kept: its step does not say which option it is")
        if filter.key(side) is None:
            return _Derived(None, "kept: files of thresholds have no such option")
        if filter.is_set_for(side, language):
            return _Derived(None, "kept: `languages:` of the step sets it, whatever a file says")
        if distribution.count < self.request.min_docs:
            return _Derived(None, f"kept: measured in {_documents(distribution.count)}")
        if filter.is_language_score(side):
            low, high = _SCORE_RANGE
            return self._checked(
                filter, side, max(low, min(high, distribution.median - distribution.deviation))
            )
        if self.request.method == "tail10":
            there = self.there[filter.name].get(language, Measured()).distributions.get(side.column)
            return self._tail(filter, side, there if there is not None else Distribution(), self.request.tail)
        if language == self.reference_language:
            return _Derived(None, "kept: it is the reference")
        reference = self.there[filter.name].get(self.reference_language, Measured())
        configured = filter.bounds(self.reference_language).get(side)
        known = reference.distributions.get(side.column, Distribution())
        if configured is None:
            return _Derived(None, f"kept: it is off in {self.reference_language}")
        if known.count < self.request.min_docs:
            return _Derived(None, f"kept: measured in {_documents(known.count)} of {self.reference_language}")
        if self.request.method == "meanstd":
            if known.deviation == 0:
                return _Derived(None, f"kept: all documents of {self.reference_language} have one value")
            distance = (configured - known.mean) / known.deviation
            return self._checked(filter, side, distribution.mean + distance * distribution.deviation)
        share = reference.failed.get(side, 0) / known.count
        if share in (0, 1):
            return _Derived(None, f"kept: it drops {'all' if share else 'none'} of {self.reference_language}")
        return self._tail(filter, side, distribution, share)

    def _tail(self, filter: Filter, side: Side, distribution: Distribution, share: float) -> _Derived:
        """The strictest bound that drops no more than `share` of a distribution."""
        allowed = math.floor(share * distribution.count + 1e-9)
        if allowed < 1:
            return _Derived(None, f"kept: {share:.2g} of {_documents(distribution.count)} is less than one")
        find = distribution.minimum_for if side.name == "minimum" else distribution.maximum_for
        return self._checked(filter, side, find(allowed))

    def _checked(self, filter: Filter, side: Side, value: float) -> _Derived:
        """A bound rounded and put where its measurement and its option can be."""
        notes = []
        bound = rounded(value, side)
        if side.lowest is not None and bound < side.lowest:
            bound, notes = side.lowest, [f"{bound:g} is below the least value"]
        elif side.highest is not None and bound > side.highest:
            bound, notes = side.highest, [f"{bound:g} is above the greatest value"]
        if not filter.takes(side.option, bound):
            return _Derived(None, f"kept: the option cannot be {bound:g}")
        if (idle := side.idle(bound)) is not None:
            notes.append(f"{idle} fires" if idle == "always" else "can never fire")
        return _Derived(bound, ", ".join(notes))

    def _reconcile(self, derived: Mapping[str, Mapping[str, dict[Side, _Derived]]]) -> None:
        """Rules that share an option get the laxest bound of them, so that none drops more than it should."""
        for language, by_filter in derived.items():
            sharing: dict[str, list[tuple[Filter, Side]]] = {}
            for filter in self.filters:
                for side in by_filter[filter.name]:
                    if filter.is_set_for(side, language):
                        continue
                    sharing.setdefault(filter.key(side) or side.option, []).append((filter, side))
            for option, places in sharing.items():
                found = [by_filter[filter.name][side] for filter, side in places]
                if len(places) == 1 or all(d.bound is None for d in found):
                    continue
                if len({side.name for _, side in places}) > 1:
                    shared = _Derived(None, f"kept: {option} is both a least and a greatest value")
                else:
                    now = [filter.bounds(language).get(side) for filter, side in places]
                    bounds = [n if d.bound is None else d.bound for d, n in zip(found, now, strict=True)]
                    pick = min if places[0][1].name == "minimum" else max
                    note = f"the laxest for {len(places)} rules with {option}"
                    shared = _Derived(pick(b for b in bounds if b is not None), note)
                for filter, side in places:
                    by_filter[filter.name][side] = shared

    def _entry(
        self,
        filter: Filter,
        language: str,
        derived: Mapping[str, Mapping[str, Mapping[Side, _Derived]]],
        after: Measurements,
    ) -> dict[str, Any]:
        """A filter in a language, for the table. after: what its documents are under the derived bounds."""
        now = self.here[filter.name].get(language, Measured())
        then = after[filter.name].get(language, Measured())
        found: Mapping[Side, _Derived] = derived.get(language, {}).get(filter.name, {})
        bounds = filter.bounds(language)
        return {
            "step": filter.name,
            "use": filter.use,
            "documents": now.documents,
            "fail_now": now.any_failed,
            "fail_derived": then.any_failed if found else None,
            "rules": [
                {
                    "rule": side.reason,
                    "column": side.column,
                    "side": side.name,
                    "option": side.option,
                    "measured": now.measured.get(side.column, 0),
                    "now": bounds.get(side),
                    "set_by_step": filter.is_set_for(side, language),
                    "fail_now": now.failed.get(side, 0),
                    "derived": found[side].bound if side in found else None,
                    "fail_derived": then.failed.get(side, 0)
                    if side in found and found[side].bound is not None
                    else None,
                    "note": found[side].note if side in found else "",
                }
                for side in {**bounds, **found}
            ],
        }

    def _values(self, by_filter: Mapping[str, Mapping[Side, _Derived]]) -> dict[str, Any]:
        """Key → value: n-grams as pairs, in order; a minimum alone as a number."""
        values: dict[str, Any] = {}
        for filter in self.filters:
            for side, found in by_filter[filter.name].items():
                if found.bound is None:
                    continue
                number = int(found.bound) if side.whole else found.bound
                key, _, entry = (filter.key(side) or "").partition(".")
                if entry:
                    values.setdefault(key, {})[int(entry) if entry.isdecimal() else entry] = number
                else:
                    values[key] = number
        return {key: _as_written(value) for key, value in sorted(values.items())}


def _as_written(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(isinstance(entry, int) for entry in value):
        return [list(pair) for pair in sorted(value.items())]
    return value["minimum"] if set(value) == {"minimum"} else dict(sorted(value.items()))


def _bounds_now(filter: Filter, language: str) -> Bounds:
    return filter.bounds(language)


def _filters(documents: Documents) -> list[Filter]:
    """The rule filters of a run, and its condition on the language's probability; C201 if it has neither."""
    filters = filters_of(documents.plan)
    score = language_score(documents.plan)
    if score is not None and not any(f.is_language_score(s) for f in filters for s in f.sides()):
        filters = [score, *filters]
    if not filters:
        raise error(
            "C201",
            f"the run {documents.plan.name} has no step with rules and identifies no language",
            help="add a rule filter, such as `{use: filters.gopher_quality}`, and run it",
        )
    return filters


def rounded(value: float, side: Side) -> float:
    """To whole numbers, or four digits, towards dropping less."""
    way = ROUND_FLOOR if side.name == "minimum" else ROUND_CEILING
    number = Decimal(repr(value))
    if side.whole:
        return float(number.to_integral_value(way))
    if not number:
        return 0.0
    return float(number.quantize(Decimal(1).scaleb(number.adjusted() + 1 - _DIGITS), way))


def _documents(count: int) -> str:
    return f"{count:,} document" + "s" * (count != 1)
