"""Gopher's quality rules (Rae et al. 2021, arXiv 2112.11446, appendix A1) with FineWeb's thresholds.

In: text, the tokens and lines of the batch, and its languages if a step has identified them. Out, per
document:

    words_count          int32    tokens that are not punctuation only
    mean_word_length     float64  mean code points of these; null without any, or in a script without spaces
    hash_frac            float64  `#` per token
    ellipsis_frac        float64  `...` and `…` per token
    bullet_lines_frac    float64  lines that start with a bullet (`•` or `-`)
    ellipsis_lines_frac  float64  lines that end with an ellipsis
    alpha_words_frac     float64  tokens with a letter
    stop_words_count     int32    different stop words found; null where the language has no list
    reasons              list<string>   every rule that failed, in datatrove's order and by its names

Fractions are null where there is no token or no line. A null never fails a rule.

The rules mean what datatrove 0.10.1's `GopherQualityFilter` means, on the `unicode` tokens of
`curate.core.text` instead of spaCy's. Two are widened for other languages than English. Word length: it says
nothing where ideographs or grapheme clusters are counted as words, so documents in which these are more than
half of the words skip both bounds. Stop words: each language has its own list (`filters.stopwords`), a
language without one skips the rule, and a run that has not identified languages is taken as English, as
datatrove does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, StringConstraints, field_validator

from curate.core.batch import DocBatch
from curate.core.columns import REASONS, TEXT
from curate.core.languages import is_language, suggest
from curate.core.stage import Annotator, Rule, StageConfig
from curate.core.text.codepoints import COUNTED, LETTER, WIDE
from curate.core.text.lines import skip_spaces, trim_spaces
from curate.core.text.memory import address_of, inlined, kernel, view_uint8
from curate.core.text.tokens import CLUSTER, IDEOGRAM, KIND_MASK
from curate.core.text.wordsets import WordSets, find_word
from filters.stopwords import STOP_WORDS

#: Key of `stop_words` for languages that it does not name and for documents whose language is unknown.
DEFAULT: Final = "default"
ENGLISH: Final = "eng_Latn"

#: Kinds of token that are words without spaces around them, as bits.
_UNSPACED: Final = 1 << IDEOGRAM | 1 << CLUSTER

#: Names of the rules in the order in which datatrove applies them.
RULES: Final = (
    "gopher_short_doc",
    "gopher_long_doc",
    "gopher_below_avg_threshold",
    "gopher_above_avg_threshold",
    "gopher_too_many_hashes",
    "gopher_too_many_ellipsis",
    "gopher_too_many_bullets",
    "gopher_too_many_end_ellipsis",
    "gopher_below_alpha_threshold",
    "gopher_enough_stop_words",
)

Word = Annotated[str, StringConstraints(min_length=1)]
Frac = Annotated[float, Field(ge=0, le=1)]


class GopherQualityConfig(StageConfig):
    """Thresholds, at FineWeb's values. `null` switches a rule off."""

    min_words: Annotated[int, Field(ge=0)] | None = Field(50, description="Fewest words of a document.")
    max_words: Annotated[int, Field(ge=1)] | None = Field(100_000, description="Most words of a document.")
    min_avg_word_length: Annotated[float, Field(ge=0)] | None = Field(
        3, description="Least mean word length, in characters; skipped in scripts without spaces."
    )
    max_avg_word_length: Annotated[float, Field(gt=0)] | None = Field(
        10, description="Greatest mean word length, in characters; skipped in scripts without spaces."
    )
    max_symbol_word_ratio: Annotated[float, Field(ge=0)] | None = Field(
        0.1, description="Most `#` per token, and most ellipses (`...`, `…`) per token."
    )
    max_bullet_lines_frac: Frac | None = Field(
        0.9, description="Largest share of lines that start with a bullet."
    )
    max_ellipsis_lines_frac: Frac | None = Field(
        0.3, description="Largest share of lines that end with an ellipsis."
    )
    min_alpha_words_frac: Frac | None = Field(0.8, description="Smallest share of tokens that have a letter.")
    min_stop_words: Annotated[int, Field(ge=0)] | None = Field(2, description="Fewest different stop words.")
    stop_words: Literal["builtin"] | tuple[Word, ...] | Mapping[str, tuple[Word, ...]] = Field(
        "builtin",
        description="Stop words: the `builtin` lists by language, one list for every language, or lists by "
        "language (`deu_Latn`), `default` for those not named. Languages without a list skip the rule.",
    )

    @field_validator("stop_words")
    @classmethod
    def _known_languages(cls, value: object) -> object:
        for language in value if isinstance(value, Mapping) else ():
            if language != DEFAULT and not is_language(language):
                meant = suggest(language)
                raise ValueError(
                    f"'{language}' is not a language" + (f": did you mean '{meant}'?" if meant else "")
                )
        return value


class GopherQuality(Annotator[GopherQualityConfig]):
    """Drops documents that are too short or long, or look like lists, symbols, fragments or no language."""

    Config = GopherQualityConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: GopherQualityConfig) -> None:
        self.config = config
        words = config.stop_words
        if words == "builtin":
            self._stop_words = WordSets.build(STOP_WORDS)
        else:
            self._stop_words = WordSets.build(words if isinstance(words, Mapping) else {DEFAULT: words})
        self._numbers = {name: number for number, name in enumerate(self._stop_words.names)}

    def reads(self) -> frozenset[str]:
        return frozenset({TEXT})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            "words_count": pa.int32(),
            "mean_word_length": pa.float64(),
            "hash_frac": pa.float64(),
            "ellipsis_frac": pa.float64(),
            "bullet_lines_frac": pa.float64(),
            "ellipsis_lines_frac": pa.float64(),
            "alpha_words_frac": pa.float64(),
            "stop_words_count": pa.int32(),
            REASONS: pa.list_(pa.string()),
        }

    def _rules(self) -> tuple[Rule, ...]:
        """All ten in datatrove's order; one that is switched off has no bound."""
        c = self.config
        bounds: tuple[tuple[str, float | None, float | None], ...] = (
            ("words_count", c.min_words, None),
            ("words_count", None, c.max_words),
            ("mean_word_length", c.min_avg_word_length, None),
            ("mean_word_length", None, c.max_avg_word_length),
            ("hash_frac", None, c.max_symbol_word_ratio),
            ("ellipsis_frac", None, c.max_symbol_word_ratio),
            ("bullet_lines_frac", None, c.max_bullet_lines_frac),
            ("ellipsis_lines_frac", None, c.max_ellipsis_lines_frac),
            ("alpha_words_frac", c.min_alpha_words_frac, None),
            ("stop_words_count", c.min_stop_words, None),
        )
        return tuple(Rule(reason, *bound) for reason, bound in zip(RULES, bounds, strict=True))

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        """The rules that are on; a language without a stop-word list has no rule for stop words."""
        listed = (language or ENGLISH) in self._numbers or DEFAULT in self._numbers
        return tuple(
            rule
            for rule in self._rules()
            if (rule.minimum is not None or rule.maximum is not None)
            and (listed or rule.column != "stop_words_count")
        )

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        sets = self._sets_of(batch)
        counts = self._count(batch, sets)
        (
            tokens,
            words,
            characters,
            unspaced,
            alpha,
            hashes,
            ellipses,
            stops,
            lines,
            bullets,
            line_ellipses,
        ) = counts.T
        length = _ratio(characters, np.where(2 * unspaced > words, 0, words))
        hash_frac, ellipsis_frac = _ratio(hashes, tokens), _ratio(ellipses, tokens)
        bullet_frac, line_ellipsis_frac = _ratio(bullets, lines), _ratio(line_ellipses, lines)
        alpha_frac = _ratio(alpha, tokens)
        measured = {
            "words_count": words,
            "mean_word_length": length,
            "hash_frac": hash_frac,
            "ellipsis_frac": ellipsis_frac,
            "bullet_lines_frac": bullet_frac,
            "ellipsis_lines_frac": line_ellipsis_frac,
            "alpha_words_frac": alpha_frac,
            "stop_words_count": np.where(sets < 0, np.nan, stops),
        }
        failed = np.zeros((len(counts), len(RULES)), np.bool_)
        for number, rule in enumerate(self._rules()):
            # A comparison with nan (which becomes null) is false.
            if rule.minimum is not None:
                failed[:, number] = measured[rule.column] < rule.minimum
            if rule.maximum is not None:
                failed[:, number] = measured[rule.column] > rule.maximum
        return {
            "words_count": pa.array(words, pa.int32()),
            "mean_word_length": pa.array(length, from_pandas=True),
            "hash_frac": pa.array(hash_frac, from_pandas=True),
            "ellipsis_frac": pa.array(ellipsis_frac, from_pandas=True),
            "bullet_lines_frac": pa.array(bullet_frac, from_pandas=True),
            "ellipsis_lines_frac": pa.array(line_ellipsis_frac, from_pandas=True),
            "alpha_words_frac": pa.array(alpha_frac, from_pandas=True),
            "stop_words_count": pa.array(stops, pa.int32(), mask=sets < 0),
            REASONS: _reasons(failed),
        }

    def _sets_of(self, batch: DocBatch) -> npt.NDArray[np.int32]:
        """int32[rows]: the number of each document's stop-word set, -1 for none."""
        unknown = self._numbers.get(DEFAULT, -1)
        languages = batch.languages
        if languages is None:
            number = unknown if DEFAULT in self._numbers else self._numbers.get(ENGLISH, -1)
            return np.full(batch.num_rows, number, np.int32)
        codes = languages.dictionary_encode()
        numbers = np.array(
            [self._numbers.get(code, unknown) for code in codes.dictionary.to_pylist()] + [unknown], np.int32
        )
        return numbers[pc.fill_null(codes.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]

    def _count(self, batch: DocBatch, sets: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """int64[rows, 11]: what `_count` of this module counts."""
        tokens, lines, stop = batch.tokens, batch.lines, self._stop_words
        out = np.zeros((batch.num_rows, 11), np.int64)
        _count(
            address_of(tokens.data), tokens.data.size,
            tokens.starts, tokens.ends, tokens.classes, tokens.docs, lines.starts, lines.ends, lines.docs,
            sets, stop.data, stop.starts, stop.sets, stop.maybe, stop.slots,
            np.full(len(stop), -1, np.int64), out,
        )  # fmt: skip
        return out


STAGE = GopherQuality


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """part / whole, nan where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _reasons(failed: npt.NDArray[np.bool_]) -> pa.ListArray:
    """list<string>: the names of the rules each row failed, from bool[rows, rules]."""
    ends = np.zeros(len(failed) + 1, np.int32)
    np.cumsum(failed.sum(axis=1), out=ends[1:])
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(RULES).take(pa.array(np.nonzero(failed)[1])))


@kernel
def _count(  # type: ignore[no-untyped-def]  # numba infers
    address, size, starts, ends, classes, docs, line_starts, line_ends, line_docs,
    sets, stop_data, stop_starts, stop_sets, stop_maybe, stop_slots, seen, out,
):  # fmt: skip
    """out[row] = tokens, words, their characters, unspaced words, tokens with a letter, `#`, ellipses,
    different stop words, lines, bullet lines, lines that end in an ellipsis.

    seen: int64[stop words], -1 at first: the row that last had each.
    """
    data = view_uint8(address, size)
    for row in range(docs.size - 1):
        words, unspaced, alpha, hashes, ellipses, stops = 0, 0, 0, 0, 0, 0
        characters = np.int64(0)
        for i in range(docs[row], docs[row + 1]):
            start, end, flags = np.int64(starts[i]), np.int64(ends[i]), np.int64(classes[i])
            if flags & COUNTED:
                words += 1
                characters += end - start
                if flags & WIDE:
                    for k in range(start, end):  # continuation bytes are no characters of their own
                        characters -= data[k] & 0xC0 == 0x80
                    unspaced += 1 << (flags & KIND_MASK) & _UNSPACED != 0
            alpha += flags & LETTER != 0
            # `#`, `.` and `…` start tokens of their own, so a run of them is at the head of one token.
            head = data[start]
            if head == 0x23:
                hashes += _run_of(data, start, end)
            elif head == 0x2E:
                ellipses += _run_of(data, start, end) // 3
            elif head == 0xE2:
                ellipses += _ellipses(data, start, end)
            if sets[row] >= 0:
                word = find_word(
                    data, start, end, sets[row], stop_data, stop_starts, stop_sets, stop_maybe, stop_slots
                )
                if word >= 0 and seen[word] != row:
                    seen[word] = row
                    stops += 1
        bullets, line_ellipses = 0, 0
        for i in range(line_docs[row], line_docs[row + 1]):
            end = np.int64(line_ends[i])
            start = skip_spaces(data, np.int64(line_starts[i]), end)
            bullets += start < end and (data[start] == 0x2D or _is(data, start, end, 0xE2, 0x80, 0xA2))
            last = trim_spaces(data, start, end) - 3
            line_ellipses += last >= start and (
                _is(data, last, end, 0x2E, 0x2E, 0x2E) or _is(data, last, end, 0xE2, 0x80, 0xA6)
            )
        out[row, 0], out[row, 1], out[row, 2] = docs[row + 1] - docs[row], words, characters
        out[row, 3], out[row, 4], out[row, 5], out[row, 6] = unspaced, alpha, hashes, ellipses
        out[row, 7], out[row, 8] = stops, line_docs[row + 1] - line_docs[row]
        out[row, 9], out[row, 10] = bullets, line_ellipses


@inlined
def _run_of(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """How often the byte at `start` is repeated from there."""
    at = start + 1
    while at < end and data[at] == data[start]:
        at += 1
    return at - start


@inlined
def _ellipses(data, start, end):  # type: ignore[no-untyped-def]  # numba infers
    """How many `…` stand at `start`."""
    at = start
    while _is(data, at, end, 0xE2, 0x80, 0xA6):
        at += 3
    return (at - start) // 3


@inlined
def _is(data, at, end, first, second, third):  # type: ignore[no-untyped-def]  # numba infers
    """Whether three bytes stand at `at`."""
    return at + 3 <= end and data[at] == first and data[at + 1] == second and data[at + 2] == third
