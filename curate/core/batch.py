"""`DocBatch`: a `pyarrow.RecordBatch` of documents with what every step of a pass shares, computed once.

In: a record batch with `doc: int64`, `text: string` (never null, never larger than 2 GB in all) and whatever
columns the steps ask for. Tokens and lines are computed on first use, straight from the offset and data
buffers, and are carried along when columns are appended or rows are filtered, so that a pass tokenises a text
once. Of a batch in which texts were rewritten only those are cut anew.

What a word is, the run says (`words:` in the config):

    unicode      Unicode word boundaries, the same for every language (`curate.core.text.tokens`)
    spacy-like   the rules of spaCy's tokenizers, by language (`curate.core.text.spacy_like`), which datatrove
                 uses; a document whose language is unknown is taken as English where no step identifies
                 languages
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import TEXT, UNDETERMINED
from curate.core.computed import computed

#: Word definitions.
Words = Literal["unicode", "spacy-like"]
UNICODE: Final = "unicode"
SPACY_LIKE: Final = "spacy-like"

if TYPE_CHECKING:
    from curate.core.text.lines import Lines
    from curate.core.text.tokens import Tokens


class DocBatch:
    """Documents, row for row. Immutable: `filter` gives a new batch.

    record: columns by global name; `text` is `string` without nulls.
    language: name of the column that holds the language (`deu_Latn`), or None before one is known.
    words: the word definition of `tokens`.
    """

    def __init__(
        self, record: pa.RecordBatch, *, language: str | None = None, words: Words = UNICODE
    ) -> None:
        self.record = record
        self.language = language
        self.words = words

    @property
    def num_rows(self) -> int:
        return int(self.record.num_rows)

    def column(self, name: str) -> pa.Array:
        """The column of that global name; KeyError if the batch lacks it."""
        return self.record.column(name)

    def has(self, name: str) -> bool:
        return name in self.record.schema.names

    @property
    def text(self) -> pa.StringArray:
        return self.record.column(TEXT)

    @computed
    def text_bytes(self) -> npt.NDArray[np.int64]:
        """Length of each text in bytes of UTF-8: int64[rows]."""
        offsets, _ = text_buffers(self.text)
        return np.diff(offsets).astype(np.int64)

    @computed
    def tokens(self) -> Tokens:
        """Words, numbers, punctuation of every text, as spans of its bytes; see `curate.core.text.tokens`."""
        if self.words == SPACY_LIKE:
            from curate.core.text.spacy_like import tokenize_spacy_like

            return tokenize_spacy_like(*text_buffers(self.text), self._rule_sets())
        from curate.core.text.tokens import tokenize  # kernels are loaded by the steps that need them

        return tokenize(*text_buffers(self.text))

    @computed
    def lines(self) -> Lines:
        """Lines of every text, as spans of its bytes; see `curate.core.text.lines`."""
        from curate.core.text.lines import split_lines

        return split_lines(*text_buffers(self.text))

    @property
    def languages(self) -> pa.StringArray | None:
        """Language of each row (`deu_Latn`, null where unknown), or None if no step has identified it yet."""
        if self.language is None or not self.has(self.language):
            return None
        return self.record.column(self.language)

    def _rule_sets(self) -> npt.NDArray[np.int32]:
        """int32[rows]: which tokenizer's rules hold for each row; see `curate.core.text.spacy_like`."""
        from curate.core.text.spacy_like import rule_set_of

        if self.languages is None:
            return np.full(self.num_rows, rule_set_of(None), np.int32)
        codes = self.languages.dictionary_encode()
        numbers = [rule_set_of(code) for code in codes.dictionary.to_pylist()] + [rule_set_of(UNDETERMINED)]
        rows = codes.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)
        return np.array(numbers, np.int32)[rows]

    def append(self, columns: dict[str, pa.Array]) -> DocBatch:
        """The same rows with more columns (a column of the same name is replaced); shared work is kept."""
        arrays = {name: self.record.column(name) for name in self.record.schema.names}
        arrays.update(columns)
        batch = DocBatch(pa.RecordBatch.from_pydict(arrays), language=self.language, words=self.words)
        if TEXT not in columns:
            self._share_with(batch)
        if self.language in columns and self.words == SPACY_LIKE:
            batch.__dict__.pop("tokens", None)  # its words depend on the language
        return batch

    def rewritten(self, text: pa.StringArray) -> DocBatch:
        """The same rows with other texts, string[rows], null where a text stays as it is.

        A step may call it to see the words of the text it is about to return; the runner, which calls it again with what the
        step returned, then finds them made.
        """
        changed = text.is_valid().to_numpy(zero_copy_only=False)
        batch = self.append({TEXT: text if changed.all() else pc.coalesce(text, self.text)})
        for name in ("tokens", "lines"):
            if name in self.__dict__:
                batch.__dict__[name] = self._spliced(name, batch, text, changed)
        self.__dict__["last"] = batch
        return batch

    def _spliced(
        self, name: str, batch: DocBatch, text: pa.StringArray, changed: npt.NDArray[np.bool_]
    ) -> Any:
        """Tokens or lines of `batch`: of the rows that did not change from here, of the others from the last rewriting if it
        has the same texts there, else cut anew."""
        from curate.core.text.splice import Splice

        made, at = self._cut_before(name, text, changed)
        if made is None:
            record = batch.record.filter(pa.array(changed))
            made = DocBatch(record, language=self.language, words=self.words)
            at = np.arange(made.num_rows)
        splice = Splice.between(
            changed, text_buffers(self.text)[0], text_buffers(made.text)[0], *text_buffers(batch.text), at
        )
        return getattr(splice, name)(getattr(self, name), getattr(made, name))

    def _cut_before(
        self, name: str, text: pa.StringArray, changed: npt.NDArray[np.bool_]
    ) -> tuple[DocBatch | None, npt.NDArray[np.int64]]:
        """The batch of the last rewriting and the rows of `changed` in it, if their texts are the same and were cut."""
        at = np.flatnonzero(changed)
        last: DocBatch | None = self.__dict__.get("last")
        if last is None or name not in last.__dict__:
            return None, at
        # Null, which does not count, where the text is not changed now.
        same = pc.all(pc.equal(text, last.text)).as_py()
        return (last if same is not False else None), at

    def filter(self, mask: npt.NDArray[np.bool_]) -> DocBatch:
        """The rows where mask: bool[rows] is true, in order; shared work is carried along."""
        if mask.all():
            return self
        batch = DocBatch(self.record.filter(pa.array(mask)), language=self.language, words=self.words)
        known = self.__dict__
        if "text_bytes" in known:
            batch.__dict__["text_bytes"] = self.text_bytes[mask]
        if "tokens" in known or "lines" in known:
            from curate.core.text.carry import Move

            move = Move.between(mask, text_buffers(self.text)[0], *text_buffers(batch.text))
            if "tokens" in known:
                batch.__dict__["tokens"] = move.tokens(self.tokens)
            if "lines" in known:
                batch.__dict__["lines"] = move.lines(self.lines)
        return batch

    def _share_with(self, other: DocBatch) -> None:
        for name in ("text_bytes", "tokens", "lines", "last"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]


def text_buffers(text: pa.StringArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets int32[rows + 1] into data uint8[bytes]: views of the array's own buffers, its slice applied."""
    _, offsets, data = text.buffers()
    if offsets is None or len(text) == 0:  # Arrow allows an empty array to have no offsets at all
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    return ends, np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
