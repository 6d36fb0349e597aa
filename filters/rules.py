"""What every rule filter shares: bounds on measurements, by language, and the reasons that follow from them.

A rule filter measures documents (float64[rows] or integers, nan where there is nothing to measure) and states its rules
as `Rule`s: a column, a least and a greatest value, a reason. This module looks up the bounds that hold for each
document's language and lists the rules that it fails.

Bounds come from these places, each over the ones before it; an option that is a mapping is merged, not replaced:

1. the step's options;
2. `default` in the `thresholds:` files (`filters.thresholds`), such as FineWeb-2 publishes and `curate thresholds` writes;
3. `default` in the step's `languages:`;
4. the language's own thresholds in the files;
5. the language's own options in `languages:`, `{deu_Latn: {max_avg_word_length: 15}}`.

A language that nothing names, a document whose language is unknown and a run without language identification end at 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

from curate.core.batch import DocBatch
from curate.core.columns import TEXT
from curate.core.errors import CurateError, Problem
from curate.core.languages import is_language, suggest
from curate.core.stage import Annotator, Context, Rule, StageConfig
from curate.core.suggest import did_you_mean, or_list
from filters.thresholds import DEFAULT, Table, check_keys, read_thresholds, threshold_files

_SHARED: Final = frozenset({"languages", "thresholds"})
#: pydantic's context while one language's options are validated: parts of a config, not all of one.
_PART: Final = "one language"
_PYDANTICS: Final = frozenset(get_args(core_schema.ErrorType))


#: The most that an option of whole numbers takes: beyond what any text has, within what kernels count with.
MOST: Final = 2**31 - 1


class RuleConfig(StageConfig):
    """Options of every rule filter."""

    #: Names that threshold files may use for options: FineWeb-2's and datatrove's, where ours say more.
    ALIASES: ClassVar[Mapping[str, str]] = {}
    #: Options that a language may not set for itself.
    GLOBAL: ClassVar[frozenset[str]] = frozenset()

    thresholds: str | None = Field(
        None,
        description="Bounds by language from files: a folder of `deu_Latn.yaml`, a path with `{language}` in it, or one "
        "file with a key per language; `default` is for the languages not named.",
    )
    languages: Mapping[str, Mapping[str, Any]] = Field(
        {},
        description="Options of this step by language: `{deu_Latn: {…}}`; `default` is for languages not named here or "
        "in `thresholds`.",
    )

    @field_validator("languages")
    @classmethod
    def _as_in_a_plan(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options by language as JSON has them, with strings for keys: plans are JSON."""
        try:
            return dict(json.loads(json.dumps(value)))
        except TypeError as fault:
            raise ValueError(f"what a language has must be plain data: {fault}") from fault

    @model_validator(mode="after")
    def _languages_are_known_and_their_options_valid(self, info: ValidationInfo) -> Self:
        if info.context == _PART:
            return self
        faults: list[InitErrorDetails] = []
        for language, options in self.languages.items():
            place = ("languages", language)
            if not _known(language):
                faults.append(_custom("C107", *_unknown(language), place, language))
                continue
            for key in sorted(options.keys() & (_SHARED | self.GLOBAL)):
                message = f"{language}: '{key}' cannot differ between languages"
                faults.append(_custom("C102", message, "set it for the step", (*place, key), options[key]))
            try:
                self.overridden({k: v for k, v in options.items() if k not in _SHARED | self.GLOBAL})
            except ValidationError as fault:
                faults += [self._placed(detail, language) for detail in fault.errors(include_url=False)]
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        self.check_whole()
        return self

    def check_whole(self) -> None:
        """ValueError if the options do not make a step together; a single language's are not held to it."""

    def overridden(self, options: Mapping[str, Any]) -> Self:
        """These options with others put over them; mappings are merged. Raises pydantic's ValidationError.

        Values are held to what a config is held to: no text is taken for a number.
        """
        merged = self.model_dump(mode="json", exclude=set(_SHARED))
        for key, given in json.loads(json.dumps(options)).items():
            value, before = given, merged.get(key)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                value = {**before, **value}
            merged[key] = value
        return type(self).model_validate_json(json.dumps(merged), strict=True, context=_PART)

    @classmethod
    def own_options(cls) -> list[str]:
        """Names of the options that can differ between languages."""
        return [name for name in cls.model_fields if name not in _SHARED | cls.GLOBAL]

    @classmethod
    def _placed(cls, detail: ErrorDetails, language: str) -> InitErrorDetails:
        """An error of one language's options as one of the whole config's."""
        place, context = ("languages", language, *detail["loc"]), detail.get("ctx", {})
        if detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            near = did_you_mean(name, cls.own_options())
            help = f"did you mean '{near}'?" if near else f"it takes {or_list(cls.own_options(), 20)}"
            return _custom(
                "C103", f"unknown option '{name[:80]}' for {language}", help, place, detail["input"]
            )
        if detail["type"] in _PYDANTICS:
            return InitErrorDetails(type=detail["type"], loc=place, input=detail["input"], ctx=context)
        kind = PydanticCustomError(detail["type"], "{message}", {"message": detail["msg"], **context})
        return InitErrorDetails(type=kind, loc=place, input=detail["input"])


C = TypeVar("C", bound=RuleConfig)


def _custom(
    code: str, message: str, help: str, place: tuple[int | str, ...], given: object
) -> InitErrorDetails:
    """A fault with a code and a help of our own."""
    context = {"code": code, "message": message, "help": help}
    return InitErrorDetails(
        type=PydanticCustomError("rule_option", "{message}", context), loc=place, input=given
    )


def _known(language: str) -> bool:
    return language == DEFAULT or is_language(language)


def _unknown(language: str) -> tuple[str, str]:
    meant = suggest(language)
    help = f"did you mean '{meant}'?" if meant else "write it like deu_Latn, or `default` for all others"
    return f"'{language[:80]}' is not a language", help


def check_language(language: str) -> None:
    """ValueError for what is neither a language as written here (`deu_Latn`) nor `default`."""
    if not _known(language):
        message, help = _unknown(language)
        raise ValueError(f"{message}: {help}")


class RuleFilter(Annotator[C]):
    """A filter by rules. A subclass measures (`annotate`) and states its rules (`every_rule`)."""

    def __init__(self, config: C) -> None:
        self.config = config

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def every_rule(self, config: C) -> tuple[Rule, ...]:
        """All rules in the order of their verdicts, for one language's options; one that is off has no bound.

        Their number, reasons and columns must be the same for every language.
        """
        raise NotImplementedError

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        if self.config.thresholds is None:
            return {}
        files = threshold_files(self.config.thresholds)
        _ = self.by_language  # every fault in them is found at check
        return {f"thresholds/{file.name}": file for file in files}

    def open(self, context: Context) -> None:
        _ = self._bounds

    @cached_property
    def by_language(self) -> dict[str, C]:
        """Options of every language that has its own, and `default` for all others.

        Raises `CurateError` C111 for threshold files that do not fit: every fault, with file and line.
        """
        own: dict[str, C] = {DEFAULT: self.config}
        problems: list[Problem] = []
        tables = read_thresholds(self.config.thresholds) if self.config.thresholds is not None else {}
        for language in dict.fromkeys((DEFAULT, *tables, *self.config.languages)):
            options = own[DEFAULT]
            if language in tables:
                options = self._from_file(options, tables[language], language, problems)
            if language in self.config.languages:
                options = options.overridden(self.config.languages[language])
            own[language] = options
        if problems:
            raise CurateError(problems)
        return own

    def _from_file(self, base: C, table: Table, language: str, problems: list[Problem]) -> C:
        """The options with those of a file over them; what is wrong with these is added to `problems`."""
        problems += check_keys(table, self.more_keys())
        options: dict[str, Any] = {}
        keys: dict[str, str] = {}
        for key, value in table.values.items():
            try:
                found = self.options_of(key, value)
            except ValueError as fault:
                message = f"{table.file}: {language}: '{key}': {fault}"
                problems.append(Problem("C111", message, "correct the value", table.position(key)))
                continue
            if twice := sorted(found.keys() & keys.keys()):
                message = f"{table.file}: {language}: '{keys[twice[0]]}' and '{key}' are the same threshold"
                problems.append(Problem("C111", message, "remove one of the two", table.position(key)))
            options.update(found)
            keys.update(dict.fromkeys(found, key))
        try:
            return base.overridden(options)
        except ValidationError as fault:
            seen: set[str] = set()
            for detail in fault.errors(include_url=False):
                option = str(detail["loc"][0]) if detail["loc"] else ""
                if option in seen:  # the branches of a union
                    continue
                seen.add(option)
                key = keys.get(option, option)
                reason = detail["msg"].removeprefix("Value error, ")
                message = f"{table.file}: {language}: '{key}' cannot be {_shown(detail['input'])}: {reason}"
                help = "correct the value or remove the key"
                problems.append(Problem("C111", message, help, table.position(key)))
            return base

    def more_keys(self) -> tuple[str, ...]:
        """Keys of threshold files that this step knows and `filters.thresholds.KEYS` does not."""
        return ()

    def option_of(self, key: str) -> str | None:
        """The option that a key of threshold files stands for; None if it is another filter's."""
        option = self.config.ALIASES.get(key, key)
        return option if option in self.config.own_options() else None

    def options_of(self, key: str, value: Any) -> Mapping[str, Any]:
        """The options that a key of a file sets, with their values; none if it is another filter's. ValueError as below."""
        option = self.option_of(key)
        return {} if option is None else {option: self.from_file(option, value)}

    def from_file(self, option: str, value: Any) -> Any:
        """The value of an option as a threshold file writes it (FineWeb-2: pairs for n-grams).

        Raises ValueError, in words for a user, for a value that no such option can have.
        """
        return value

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        """The rules that are on for that language (None: documents whose language is unknown)."""
        config = self.by_language.get(language or DEFAULT, self.by_language[DEFAULT])
        return tuple(r for r in self.every_rule(config) if r.minimum is not None or r.maximum is not None)

    def tables_of(self, batch: DocBatch) -> npt.NDArray[np.int32]:
        """int32[rows]: the position in `by_language` of the options that hold for each document."""
        return positions(list(self.by_language), batch.languages, batch.num_rows)

    @cached_property
    def _bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """float64[languages, rules] each: least and greatest values, nan where there is no bound."""
        every = [self.every_rule(config) for config in self.by_language.values()]
        low = [[np.nan if r.minimum is None else r.minimum for r in rules] for rules in every]
        high = [[np.nan if r.maximum is None else r.maximum for r in rules] for rules in every]
        return np.array(low, np.float64), np.array(high, np.float64)

    def reasons(
        self,
        tables: npt.NDArray[np.int32],
        measured: Mapping[str, npt.NDArray[Any]],
        skipped: Mapping[str, npt.NDArray[np.bool_]] | None = None,
    ) -> pa.ListArray:
        """list<string>[rows]: the rules each document fails, in order.

        tables: int32[rows] of `tables_of`. measured: column → float64 or int[rows]; nan fails nothing. skipped: reason →
        bool[rows] where the rule does not apply.
        """
        low, high = self._bounds
        whose = tables if len(low) > 1 else 0
        rules = self.every_rule(self.config)
        failed = np.zeros((len(tables), len(rules)), np.bool_)
        for number, rule in enumerate(rules):
            values = measured[rule.column]
            # A comparison with nan (nothing measured, no bound) is false.
            if not np.isnan(low[:, number]).all():
                failed[:, number] = values < low[whose, number]
            if not np.isnan(high[:, number]).all():
                failed[:, number] |= values > high[whose, number]
            if skipped is not None and rule.reason in skipped:
                failed[:, number] &= ~skipped[rule.reason]
        return listed([rule.reason for rule in rules], failed)


def positions(names: list[str], languages: pa.StringArray | None, rows: int) -> npt.NDArray[np.int32]:
    """int32[rows]: the position of each language in `names`, of `default` for others and unknown ones.

    languages: string[rows], null where unknown, or None if none was identified. `names` holds `default`.
    """
    fallback = names.index(DEFAULT)
    if languages is None or len(names) == 1:
        return np.full(rows, fallback, np.int32)
    codes = languages.dictionary_encode()
    by_name = {name: number for number, name in enumerate(names)}
    numbers = np.array(
        [by_name.get(code, fallback) for code in codes.dictionary.to_pylist()] + [fallback], np.int32
    )
    return numbers[pc.fill_null(codes.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]


def listed(names: list[str], failed: npt.NDArray[np.bool_]) -> pa.ListArray:
    """list<string>[rows]: the names where bool[rows, names] is true, in order."""
    ends = np.zeros(len(failed) + 1, np.int32)
    np.cumsum(failed.sum(axis=1), out=ends[1:])
    values = pa.array(names, pa.string()).take(pa.array(np.nonzero(failed)[1]))
    return pa.ListArray.from_arrays(pa.array(ends), values)


def measured_array(values: npt.NDArray[np.float64]) -> pa.Array:
    """float64 with null for nan."""
    return pa.array(values, from_pandas=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """part / whole, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
