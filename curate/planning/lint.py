"""Rules that decide nothing: those that can never fire, or always do.

Two looks at the rules of a plan's filters:

    lint_plan     by the bounds alone, before a run: a bound at or beyond the range of what it bounds (`never`, `always`)
    lint_counts   by a report's numbers: a rule that failed no document of a language, or every one, among
                  `ENOUGH` or more that entered its step (`none`, `all`); the ledger does not part those inside the
                  step's `when:` from the others, and the message says so

These are warnings: such a rule is often meant, as `min_avg_word_length: 0` is, but mostly it is a threshold that no longer
does anything. Of FineWeb-2's 1,929 published configs (github.com/huggingface/fineweb-2) 1,690 have `line_punct_thr` 0 or
-1, and nothing warns. A rule that is switched off is not warned of: with `null`, or where an option takes none, as `rate` of
`filters.sample`, with the bound that nothing can miss. Nor is one without an option, as `empty`, that failed nothing: there
is nothing to set. One finding stands for all languages that share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from curate.core.errors import CurateError
from curate.core.plan import Plan
from curate.thresholds.rules import DEFAULT, Filter, Side, filters_of

#: Documents from which on it says something that a rule failed none or all of them.
ENOUGH: Final = 1_000
#: Languages named in a message.
_NAMED: Final = 3

Kind = Literal["never", "always", "none", "all"]


@dataclass
class Finding:
    """One rule that decides nothing. languages: language → its bound, or the documents; empty: wherever it is applied.

    when: the step's own condition, where documents were counted.
    """

    kind: Kind
    step: str
    side: Side
    languages: dict[str, float] = field(default_factory=dict)
    bound: float = 0.0
    when: str | None = None

    @property
    def message(self) -> str:
        """What is found, in one sentence."""
        rule = f"{self.step}: the rule {self.side.reason}"
        if self.kind in ("none", "all"):
            of = f"the {sum(self.languages.values()):,} documents in {named(self.languages)}"
            counted = f", those outside `when: {self.when}` too" if self.when is not None else ""
            return f"{rule} failed {self.kind} of {of}{counted}"
        bounds = sorted(set(self.languages.values()) or {self.bound})
        span = f"{bounds[0]:g}" if len(bounds) == 1 else f"{bounds[0]:g} to {bounds[-1]:g}"
        where = f" in {named(self.languages)}" if self.languages else ""
        what = "can never fire" if self.kind == "never" else "always fires"
        beyond = (self.kind == "never") == (self.side.name == "minimum")
        edge = f"at least {self.side.lowest:g}" if beyond else f"at most {self.side.highest:g}"
        option = self.side.option or f"the {self.side.name}"
        return f"{rule} {what}{where}: {option} is {span}, and {self.side.column} is always {edge}"

    @property
    def help(self) -> str:
        """One thing to do next."""
        if not self.side.option:
            return f"correct the step {self.step} or leave it out: nothing passes it"
        option = self.side.option.partition(".")[0]
        if self.kind == "never":
            return f"`{option}: null` switches it off without this warning; `curate thresholds` derives a bound that works"
        if self.kind == "always":
            return f"correct {option}: as it is, every document that is measured is dropped"
        return f"`curate thresholds` shows what other values of {option} would drop"

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "kind": self.kind,
            "step": self.step,
            "reason": self.side.reason,
            "option": self.side.option,
            "languages": dict(self.languages),
            "message": self.message,
            "help": self.help,
        }


def named(languages: Iterable[str]) -> str:
    """`deu_Latn, fra_Latn, ita_Latn and 1,687 more languages`."""
    codes = list(languages)
    if len(codes) == 1:
        return codes[0]
    if len(codes) <= _NAMED:
        return f"{', '.join(codes[:-1])} and {codes[-1]}"
    left = len(codes) - _NAMED
    return f"{', '.join(codes[:_NAMED])} and {left:,} more language" + "s" * (left != 1)


def lint_plan(plan: Plan) -> list[Finding]:
    """Rules whose bounds lie at or beyond the range of what they bound, in the order of steps and rules."""
    return [finding for filter in filters_of(plan) for finding in _idle(filter)]


def _idle(filter: Filter) -> list[Finding]:
    found: dict[tuple[Kind, Side], Finding] = {}
    by_language = {code: filter.bounds(code) for code in filter.languages}
    for side, bound in filter.bounds(DEFAULT).items():
        if (kind := _idle_kind(filter, side, bound)) is not None:
            found[kind, side] = Finding(kind, filter.name, side, bound=bound)
    everywhere = set(found)
    for code, bounds in by_language.items():
        for side, bound in bounds.items():
            if (kind := _idle_kind(filter, side, bound)) is not None:
                found.setdefault((kind, side), Finding(kind, filter.name, side)).languages[code] = bound
    for key in everywhere:
        finding = found[key]
        if all(finding.languages.get(code) == finding.bound for code in by_language):
            finding.languages = {}  # the languages only have what the step has
        else:
            finding.languages = {DEFAULT: finding.bound, **finding.languages}
    return list(found.values())


def _idle_kind(filter: Filter, side: Side, bound: float) -> Kind | None:
    """A bound that can never be missed is how an option without `null` is switched off."""
    kind = side.idle(bound)
    return None if kind == "never" and not filter.takes(side.option, None) else kind


def lint_counts(plan: Plan, steps: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Rules that failed none, or all, of the documents of a language. steps: a report's entries.

    What `lint_plan` says of a rule and language is not said again. Steps that keep what fails have no counts.
    """
    entries = {entry["step"]: entry["by_language"] for entry in steps}
    found: dict[tuple[Kind, Side], Finding] = {}
    for filter in filters_of(plan):
        for language, numbers in (entries.get(filter.name, {}) if filter.plan.filters else {}).items():
            if numbers["rows_in"] < ENOUGH:
                continue
            for side, bound in filter.bounds(language).items():
                failed = numbers["reasons"].get(side.reason, 0)
                kind: Kind | None = {0: "none", numbers["rows_in"]: "all"}.get(failed)  # type: ignore[assignment]
                if kind == "none" and not side.option:
                    continue
                if kind is not None and side.idle(bound) is None:
                    finding = Finding(kind, filter.name, side, when=filter.plan.when)
                    found.setdefault((kind, side), finding).languages[language] = numbers["rows_in"]
    for finding in found.values():
        finding.languages = dict(sorted(finding.languages.items(), key=lambda item: (-item[1], item[0])))
    return list(found.values())


def lint_report(plan: Plan, steps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Both looks, for a report; nothing where a step can no longer be built, as when its threshold files are gone."""
    try:
        return [finding.as_json() for finding in (*lint_plan(plan), *lint_counts(plan, steps))]
    except CurateError as cause:
        [problem, *_] = cause.problems
        return [
            {
                "kind": "unknown",
                "step": None,
                "reason": None,
                "option": None,
                "languages": {},
                "message": f"the rules could not be looked at: {problem.message}",
                "help": problem.help,
            }
        ]
