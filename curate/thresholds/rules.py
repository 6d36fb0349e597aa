"""The rules of a run's filters as single bounds, by language.

A `Rule` says which column of its step is bounded, by what and by which option. Here each bound is a `Side`, so that
bounds can be compared and derived one by one. The threshold of the language's probability is one too, with the key
`language_score`, whether a filter has it or a condition says `lid__prob >= 0.65`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Literal

import pyarrow as pa
from pydantic import ValidationError

from curate.core.columns import UNDETERMINED, qualified, step_of
from curate.core.errors import error
from curate.core.expression import parse
from curate.core.expression.tree import Column, Compare, Logic, Node
from curate.core.expression.tree import Literal as Constant
from curate.core.plan import Plan, StepPlan
from curate.core.stage import Annotator, Rule
from curate.running.steps import build_step

#: Key of options for languages that have none of their own, and of documents whose language nobody asked for.
DEFAULT: Final = "default"
LANGUAGE_SCORE: Final = "language_score"

SideName = Literal["minimum", "maximum"]


@dataclass(frozen=True)
class Side:
    """One bound of one rule. column: global name. whole: whether it bounds whole numbers.

    The range may differ between languages, as that of found stop words does with the list's length.
    """

    reason: str
    column: str
    name: SideName
    option: str
    lowest: float | None = field(default=None, compare=False)
    highest: float | None = field(default=None, compare=False)
    whole: bool = False

    def idle(self, bound: float) -> Literal["never", "always"] | None:
        """Whether a rule with this bound can never fire, or always fires, whatever is measured."""
        if self.name == "minimum":
            if self.lowest is not None and bound <= self.lowest:
                return "never"
            return "always" if self.highest is not None and bound > self.highest else None
        if self.highest is not None and bound >= self.highest:
            return "never"
        return "always" if self.lowest is not None and bound < self.lowest else None

    def shown(self, bound: float) -> str:
        """`≥ 3`."""
        return f"{'≥' if self.name == 'minimum' else '≤'} {bound:g}"


Bounds = Mapping[Side, float]


class Filter:
    """A step with rules. options: as configured, for checking others; languages: those that have options of their own."""

    def __init__(self, plan: StepPlan, step: Annotator[Any], *, knows_language: bool) -> None:
        self.name, self.use, self.plan = plan.name, plan.use, plan
        self.knows_language = knows_language
        self.languages: tuple[str, ...] = tuple(
            language for language in getattr(step, "by_language", {}) if language != DEFAULT
        )
        self._step = step
        self._known: dict[str | None, Bounds] = {}
        #: What it measures, and what its rules bound.
        self.columns: tuple[str, ...] = tuple(
            dict.fromkeys([*plan.writes, *(side.column for side in self.sides())])
        )

    def bounds(self, language: str) -> Bounds:
        """Bounds that hold for documents in that language (`und`, `default`: unknown), in the order of the rules."""
        known = self.knows_language and language not in (UNDETERMINED, DEFAULT)
        key = language if known else None
        if key not in self._known:
            self._known[key] = {
                side: bound for rule in self._step.rules(key) for side, bound in self._sides(rule)
            }
        return self._known[key]

    def _sides(self, rule: Rule) -> Iterator[tuple[Side, float]]:
        column = rule.column if "__" in rule.column else qualified(self.name, rule.column)
        whole = pa.types.is_integer(self._step.writes().get(rule.column, pa.float64()))
        for name, bound in (("minimum", rule.minimum), ("maximum", rule.maximum)):
            if bound is not None:
                yield (
                    Side(rule.reason, column, name, rule.option, rule.lowest, rule.highest, whole),  # type: ignore[arg-type]
                    float(bound),
                )

    def sides(self, language: str | None = None) -> list[Side]:
        """The rules that are on for a language, or for any that has options of its own."""
        codes = (DEFAULT, *self.languages) if language is None else (language,)
        return list(dict.fromkeys(side for code in codes for side in self.bounds(code)))

    def key(self, side: Side) -> str | None:
        """The key of a rule's bound in files of thresholds, with the entry's if it is a mapping; None if it has none.

        It is the option's own name, `top_n_grams.2`, or another that the step reads as that option: `filters.threshold`
        reads `language_score`, a mapping with `minimum`.
        """
        option, _, _ = side.option.partition(".")
        known: Mapping[str, str] = import_module("filters.thresholds").KEYS
        if option in known:
            return side.option
        step: Any = self._step
        for key in step.more_keys() if option and hasattr(step, "more_keys") else ():
            try:
                found = step.options_of(key, {option: 1.0})
            except ValueError:
                continue
            if option in found:
                return f"{key}.{option}"
        return None

    def is_set_for(self, side: Side, language: str) -> bool:
        """Whether `languages:` of the step sets a rule's bound in a language: it stands over files of thresholds."""
        option, _, entry = side.option.partition(".")
        own = self.plan.options.get("languages")
        options = own.get(language, {}) if isinstance(own, Mapping) else {}
        if option not in options:
            return False
        return entry in options[option] if entry and isinstance(options[option], Mapping) else True

    def is_language_score(self, side: Side) -> bool:
        """Whether it is the threshold of the language's probability."""
        return self.key(side) == f"{LANGUAGE_SCORE}.minimum"

    def takes(self, option: str, value: float | None) -> bool:
        """Whether an option (`top_n_grams.2` too) can have that value; None: be switched off."""
        options = dict(self.plan.options)
        key, _, entry = option.partition(".")
        before = options.get(key)
        if entry:
            options[key] = {**before, entry: value} if isinstance(before, Mapping) else {entry: value}
        else:
            options[key] = value
        try:
            type(self._step).Config.model_validate(options)
        except ValidationError:
            return False
        return True


class LanguageScore(Filter):
    """The probability of the language as a filter, where the run has no filter with that option."""

    def __init__(self, plan: StepPlan, column: str, bound: float | None) -> None:
        self.name, self.use, self.plan = plan.name, plan.use, plan
        self.knows_language, self.languages = True, ()
        self.side = Side(LANGUAGE_SCORE, column, "minimum", LANGUAGE_SCORE, 0.0)
        self.columns = (column,)
        self.bound = bound

    def bounds(self, language: str) -> Bounds:
        return {} if self.bound is None else {self.side: self.bound}

    def sides(self, language: str | None = None) -> list[Side]:
        return [self.side]

    def key(self, side: Side) -> str | None:
        return f"{LANGUAGE_SCORE}.minimum"

    def takes(self, option: str, value: float | None) -> bool:
        return value is not None and 0 <= value <= 1


def filters_of(plan: Plan) -> list[Filter]:
    """Every step of a plan that has rules, in order. R309 for options that a step no longer takes."""
    found = []
    for step_plan in plan.steps:
        if step_plan.kind != "annotator" or step_plan.over is not None:
            continue
        try:
            step = build_step(step_plan.use, step_plan.options)
        except ValidationError as cause:  # the options of a run that another version made
            first = cause.errors()[0]["msg"]
            message = f"the step {step_plan.name} cannot be made from the options in the plan: {first}"
            raise error("R309", message, help="use the version that made the run, or run again") from cause
        if not isinstance(step, Annotator):
            continue
        filter = Filter(step_plan, step, knows_language=_knows_language(plan, step_plan.name))
        if filter.bounds(UNDETERMINED) or any(filter.bounds(code) for code in filter.languages):
            found.append(filter)
    return found


def language_score(plan: Plan) -> LanguageScore | None:
    """The language's probability and the condition on it, if a step of the run identifies languages."""
    writer = step_of(plan.language) if plan.language is not None else None
    step = next((s for s in plan.steps if s.name == writer), None)
    column = qualified(step.name, "prob") if step is not None else ""
    if step is None or column not in step.writes:
        return None
    found = [
        bound for s in plan.steps if s.kind == "selector" and s.over is None for bound in _least(s, column)
    ]
    return LanguageScore(step, column, max(found, default=None))


def _least(step: StepPlan, column: str) -> Iterator[float]:
    """The numbers that a selector wants a column to reach: of `lid__prob >= 0.5 and …`, 0.5."""
    text = step.options.get("expression")
    pending: list[Node] = [parse(text).root] if isinstance(text, str) else []
    while pending:
        node = pending.pop()
        if isinstance(node, Logic) and node.operator == "and":
            pending += node.parts
        elif isinstance(node, Compare) and node.operator in (">", ">=", "<", "<="):
            left, right = (node.left, node.right) if node.operator[0] == ">" else (node.right, node.left)
            if isinstance(left, Column) and left.name == column and isinstance(right, Constant):
                yield float(right.value)  # type: ignore[arg-type]  # a column of numbers is compared with one


def _knows_language(plan: Plan, step: str) -> bool:
    """Whether the language is known when the step is reached."""
    if plan.language is None:
        return False
    names = [s.name for s in plan.steps]
    writer = step_of(plan.language)
    return writer not in names or names.index(writer) < names.index(step)
