"""C4's heuristics (Raffel et al. 2020, JMLR 21/140), by lines: what is no sentence goes, what is left must have some.

In: text, and the lines and tokens of the batch. Out, per document:

    text                      string   the lines that were kept, without inline citations such as `[1]`, joined by \\n and
                                       stripped; null where nothing changes and where the document fails a rule
    lines_count               int32    lines read
    lines_kept_count          int32    lines kept
    too_long_word_count       int32    lines dropped, each by the first of these causes: a word that is too long,
    no_terminal_punct_count   int32    no mark at the end that ends a sentence, or an ellipsis,
    too_few_words_count       int32
    javascript_count          int32    the word,
    policy_count              int32    a phrase about cookies, privacy or terms of use
    lorem_ipsum_count         int32    1 if a line has `lorem ipsum`, 0 otherwise
    curly_bracket_count       int32    1 if a line has `{`, 0 otherwise
    sentences_count           int32    sentences of the kept lines; null where the rule is off or one of the two before fails
    reasons                   list<string>   `lorem_ipsum`, `curly_bracket` or `too_few_sentences`

The rules mean what datatrove 0.10.1's `C4QualityFilter` means when it is given the same sentences (`filters.c4_lines`
has the order of the checks). As there, a line that other rules drop is not looked at for `lorem ipsum` and `{`, and a
document ends at the first line that has one: it has one reason at most. Documents that are split into sentences instead of
lines (`split_paragraph=False`) are left to `filters.datatrove`. With `min_num_sentences` off, a text of which no line is
left is kept, as an empty text.

FineWeb runs this with `filter_no_terminal_punct: false`. FineWeb-2 leaves C4 out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from curate.core.batch import DocBatch, text_buffers
from curate.core.columns import DOC, REASONS, REWRITE, TEXT
from curate.core.stage import Rule
from curate.core.text.sentences import count_sentences
from filters import c4_lines
from filters.c4_lines import COUNTS, NO_LEAST, NO_MOST, Reading, read_lines
from filters.rules import MOST, RuleConfig, RuleFilter

#: datatrove's value for a rule that is off.
_OFF: Final = -1

Count = Annotated[int, Field(ge=_OFF, le=MOST)]


class C4Config(RuleConfig):
    """Rules, at C4's values. For numbers, `null` and -1 switch a rule off."""

    GLOBAL: ClassVar[frozenset[str]] = frozenset(
        {
            "remove_citations",
            "filter_no_terminal_punct",
            "filter_lorem_ipsum",
            "filter_javascript",
            "filter_curly_bracket",
            "filter_policy",
        }
    )

    remove_citations: bool = Field(
        True, description="Remove `[1]`, `[]`, `[edit]` and `[citation needed]` from lines."
    )
    filter_no_terminal_punct: bool = Field(
        True, description="Drop lines that do not end in one of . ? ! \" ' or that end in an ellipsis."
    )
    min_num_sentences: Count | None = Field(
        5, description="Fewest sentences of a document, in the lines that were kept; null or -1: off."
    )
    min_words_per_line: Count | None = Field(
        3, description="Drop lines of fewer words, as spaces separate them; null or -1: off."
    )
    max_word_length: Count | None = Field(
        1000, description="Drop lines with a word of more characters; null or -1: off."
    )
    filter_lorem_ipsum: bool = Field(True, description="Drop documents with `lorem ipsum`, in any case.")
    filter_javascript: bool = Field(True, description="Drop lines with `javascript`, in any case.")
    filter_curly_bracket: bool = Field(True, description="Drop documents with `{`.")
    filter_policy: bool = Field(
        True, description="Drop lines about cookies, privacy policies or terms of use, by six phrases."
    )


class C4(RuleFilter[C4Config]):
    """Drops lines that are no sentences and documents that have few, placeholders or code; removes citations."""

    Config = C4Config
    VERSION: ClassVar[int] = 1

    def writes(self) -> Mapping[str, pa.DataType]:
        names = [f"{name}_count" for name in COUNTS]
        return {**dict.fromkeys([*names, "sentences_count"], pa.int32()), REASONS: pa.list_(pa.string())}

    def every_rule(self, config: C4Config) -> tuple[Rule, ...]:
        sentences = config.min_num_sentences if config.min_num_sentences != _OFF else None
        return (
            Rule(
                "lorem_ipsum", "lorem_ipsum_count", maximum=0 if config.filter_lorem_ipsum else None,
                lowest=0, highest=1, option="filter_lorem_ipsum",
            ),
            Rule(
                "curly_bracket", "curly_bracket_count", maximum=0 if config.filter_curly_bracket else None,
                lowest=0, highest=1, option="filter_curly_bracket",
            ),
            Rule(
                "too_few_sentences", "sentences_count", minimum=sentences, lowest=0, option="min_num_sentences"
            ),
        )  # fmt: skip

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        tables = self.tables_of(batch)
        configs = list(self.by_language.values())
        least = np.array([_or(c.min_words_per_line, NO_LEAST) for c in configs], np.int64)
        most = np.array([_or(c.max_word_length, NO_MOST) for c in configs], np.int64)
        offsets, _ = text_buffers(batch.text)
        reading = read_lines(offsets, batch.lines, self._switches(), least[tables], most[tables])
        counts = {f"{name}_count": reading.counts[:, number] for number, name in enumerate(COUNTS)}
        asked = np.array([_or(c.min_num_sentences, _OFF) != _OFF for c in configs])[tables]
        asked &= (counts["lorem_ipsum_count"] == 0) & (counts["curly_bracket_count"] == 0)
        sentences = _sentences(batch, reading) if asked.any() else np.zeros(batch.num_rows, np.int64)
        reasons = self.reasons(tables, {**counts, "sentences_count": np.where(asked, sentences, np.nan)})
        kept = np.diff(reasons.offsets.to_numpy()) == 0
        return {
            **{name: pa.array(values, pa.int32()) for name, values in counts.items()},
            "sentences_count": pa.array(sentences, pa.int32(), mask=~asked),
            REASONS: reasons,
            REWRITE: _new_texts(reading, reading.changed & kept),
        }

    def _switches(self) -> int:
        c = self.config
        return (
            c4_lines.CITATIONS * c.remove_citations
            | c4_lines.TERMINAL_PUNCT * c.filter_no_terminal_punct
            | c4_lines.LOREM_IPSUM * c.filter_lorem_ipsum
            | c4_lines.JAVASCRIPT * c.filter_javascript
            | c4_lines.CURLY_BRACKET * c.filter_curly_bracket
            | c4_lines.POLICY * c.filter_policy
        )


def _or(value: int | None, off: int) -> int:
    return off if value is None or value == _OFF else value


def _sentences(batch: DocBatch, reading: Reading) -> npt.NDArray[np.int64]:
    """int64[rows]: sentences of the kept lines.

    No token reaches over the end of a line, so a line that is kept as it is has the tokens that it had in its text. Lines
    that had citations are tokenised anew.
    """
    counts = count_sentences(batch.tokens, reading.starts, reading.ends)
    total = reading.plain.astype(np.float64)
    total += np.bincount(reading.rows, counts, batch.num_rows)
    if len(reading.cited_rows):
        ends = np.concatenate([[0], reading.cited_ends]).astype(np.int32)
        lines = pa.StringArray.from_buffers(
            len(reading.cited_rows), pa.py_buffer(ends), pa.py_buffer(reading.cited)
        )
        columns = {DOC: pa.array(reading.cited_rows, pa.int64()), TEXT: lines}
        if batch.language is not None and batch.languages is not None:
            columns[batch.language] = batch.languages.take(pa.array(reading.cited_rows))
        cited = DocBatch(pa.RecordBatch.from_pydict(columns), language=batch.language, words=batch.words)
        counts = count_sentences(cited.tokens, ends[:-1], ends[1:])
        total += np.bincount(reading.cited_rows, counts, batch.num_rows)
    return total.astype(np.int64)


def _new_texts(reading: Reading, valid: npt.NDArray[np.bool_]) -> pa.StringArray:
    """string[rows], null where not valid: bool[rows]."""
    offsets = np.concatenate([[0], reading.text_ends]).astype(np.int32)
    bits = np.packbits(valid, bitorder="little")
    return pa.StringArray.from_buffers(
        len(valid), pa.py_buffer(offsets), pa.py_buffer(reading.text), pa.py_buffer(bits)
    )


STAGE = C4
