"""Drop documents that share thirteen words in a row with a test set.

In: the tokens of the text; the texts of the test sets. Out, per document:

    ngrams_count   int32          places where n words in a row stand in a test set too
    test_set       string         the first of the sets that the first such place is from; null if there is none
    ngrams_frac    float32        share of its n-grams that do; 0 where it has none
    reasons        list<string>   `contaminated`: more places than `max_ngrams` or, if that is given, a larger share than
                                  `max_frac`

Words are the run's tokens without those that are punctuation only; case counts. Where they depend on the language
(`words: spacy-like`, once a step has identified languages), so do a set's: its column `language` says it, or the option of
that name for rows without; codes such as `en` and `zho_Hans` will do. A text in the rules of another language than its copy
would be missed, so a set that says nothing is an error there.

Thirteen is GPT-3's choice (Brown et al. 2020, arXiv 2005.14165, appendix C): shorter n-grams are phrases of the language. A
copy of which every thirteenth word was changed is not found: near duplicates are found by a second step with short n-grams
and a share, `n: 5, max_frac: 0.5`. Where one word in k was changed, at random, about (1 - 1/k)^5 of the 5-grams are left:
half of them for one in eight. A test text of fewer words than n has no n-gram and protects nothing; a set that has only such
is an error.

Sets are Parquet files or JSON Lines (plain, .gz, .zst) with a column of texts, or folders: of `curate ner import`, or of
Parquet files. `splits` takes only rows whose `split` is one of them: an import holds the training part of a corpus too.

Kept are 64-bit hashes: with ten million n-grams in the sets and a billion words in the corpus, one wrong hit is expected in
two thousand such corpora. Memory: 10 bytes a slot, at least two slots an n-gram. Work: a token costs two multiplications and
one probe of the table.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.core.batch import SPACY_LIKE, DocBatch, Words
from curate.core.columns import REASONS
from curate.core.errors import error
from curate.core.languages import suggest
from curate.core.stage import Annotator, Context, Rule, StageConfig
from curate.core.text.codepoints import COUNTED
from curate.core.text.hashing import P0, P1
from curate.core.text.memory import inlined, kernel
from filters.rules import MOST, listed
from filters.sets import LANGUAGE, in_our_codes, our_code, read_texts, set_files

_COUNT: Final = "ngrams_count"
_FRAC: Final = "ngrams_frac"
_MAX_SETS: Final = 30_000


class DecontaminateConfig(StageConfig):
    """The test sets, and what counts as shared."""

    sets: Annotated[list[str], Field(min_length=1, max_length=_MAX_SETS)] = Field(
        description="Paths of the test sets: Parquet, JSON Lines, or folders of an import or of Parquet files."
    )
    column: str = Field("text", min_length=1, description="Column of the texts in the sets.")
    splits: list[str] | None = Field(
        None, description="Take only rows of the sets whose `split` is one of these, such as `[dev, test]`."
    )
    language: str | None = Field(
        None,
        description="Language of texts whose row has no `language`; `words: spacy-like` needs it where languages are known.",
    )
    n: int = Field(13, ge=2, le=1000, description="Words in a row that must be equal.")
    max_ngrams: int = Field(0, ge=0, le=MOST, description="Most places that a document may share.")
    max_frac: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Instead of `max_ngrams`: the largest share of its n-grams that a document may share.",
    )

    @model_validator(mode="after")
    def _one_bound(self) -> DecontaminateConfig:
        if self.max_frac is not None and self.max_ngrams:
            raise ValueError("`max_frac` stands instead of `max_ngrams`; leave one out")
        return self

    @field_validator("language")
    @classmethod
    def _is_a_language(cls, value: str | None) -> str | None:
        if value is not None and our_code(value) is None:
            near = suggest(value)
            raise ValueError(f"'{value[:80]}' is no language" + (f"; did you mean '{near}'?" if near else ""))
        return value


class Decontaminate(Annotator[DecontaminateConfig]):
    """Drops documents that share n words in a row with a test set."""

    Config = DecontaminateConfig
    VERSION: ClassVar[int] = 3

    def __init__(self, config: DecontaminateConfig) -> None:
        self.config = config
        self._texts: list[tuple[str, pa.RecordBatch]] = []
        self._tables: dict[tuple[Words, bool], Table] = {}
        self._turn = threading.Lock()

    def reads(self) -> frozenset[str]:
        return frozenset({"text"})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {
            _COUNT: pa.int32(),
            _FRAC: pa.float32(),
            "test_set": pa.string(),
            REASONS: pa.list_(pa.string()),
        }

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        return {f"set {i}": file for i, file in enumerate(f for _, f in set_files(self.config.sets))}

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        share = self.config.max_frac
        if share is not None:
            return (Rule("contaminated", _FRAC, maximum=share, lowest=0, highest=1, option="max_frac"),)
        most = self.config.max_ngrams
        return (Rule("contaminated", _COUNT, maximum=most, lowest=0, option="max_ngrams"),)

    def open(self, context: Context) -> None:
        self._texts = [
            (name, read_texts(file, self.config.column, self.config.splits))
            for name, file in set_files(self.config.sets)
        ]

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        # What a word is, only the batch knows.
        key = batch.words, batch.words == SPACY_LIKE and batch.languages is not None
        with self._turn:
            if key not in self._tables:
                language = our_code(self.config.language) if self.config.language is not None else None
                self._tables[key] = build_table(
                    self._texts, self.config.n, batch.words, by_language=key[1], language=language
                )
            table = self._tables[key]
        counts, owners = shared(batch, table, self.config.n)
        fractions = counts / np.maximum(ngrams_in(batch, self.config.n), 1)
        fractions = fractions.astype(np.float32)
        share = self.config.max_frac
        failed = counts > self.config.max_ngrams if share is None else fractions > np.float32(share)
        reasons = listed(["contaminated"], np.atleast_2d(failed).T)
        names = pa.array([name for name, _ in self._texts], pa.string())
        where = pa.array(owners, pa.int32(), mask=owners < 0)
        return {
            _COUNT: pa.array(counts),
            _FRAC: pa.array(fractions),
            "test_set": names.take(where),
            REASONS: reasons,
        }


class Table:
    """n-grams of the sets: hashes uint64[slots] (0: free), owners int16[slots], the number of the first set that has it."""

    def __init__(self, ngrams: int) -> None:
        size = 1 << max(10, (2 * ngrams).bit_length())
        self.hashes = np.zeros(size, np.uint64)
        self.owners = np.zeros(size, np.int16)


def build_table(
    sets: Sequence[tuple[str, pa.RecordBatch]],
    n: int,
    words: Words,
    *,
    by_language: bool = False,
    language: str | None = None,
) -> Table:
    """The n-grams of the sets. by_language: whether the documents' words depend on their languages; language: of texts
    whose row names none. D402 or D403 if that is missing or none, D410 if a set has no n-gram."""
    found = []
    for name, record in sets:
        rows = in_our_codes(name, record, language) if by_language else record
        tokens = DocBatch(rows, language=LANGUAGE if by_language else None, words=words).tokens
        hashes = np.empty(len(tokens), np.uint64)
        count = _ngrams(tokens.hashes, tokens.classes, tokens.docs, np.uint64(n), hashes)
        if not count:
            help = "leave the set out, or set a smaller `n` in filters.decontaminate"
            raise error("D410", f"no text of the test set {name} has {n} words", help=help)
        found.append(hashes[:count])
    table = Table(sum(map(len, found)))
    for number, hashes in enumerate(found):
        _insert(hashes, np.int16(number), table.hashes, table.owners)
    return table


def shared(batch: DocBatch, table: Table, n: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Per row: places whose n words are in the table: int32[rows]; owner of the first one, -1: none: int32[rows]."""
    counts, owners = np.zeros(batch.num_rows, np.int32), np.full(batch.num_rows, -1, np.int32)
    tokens = batch.tokens
    _shared(
        tokens.hashes, tokens.classes, tokens.docs, np.uint64(n), table.hashes, table.owners, counts, owners
    )
    return counts, owners


def ngrams_in(batch: DocBatch, n: int) -> npt.NDArray[np.int64]:
    """How many n-grams each row has: int64[rows]."""
    tokens = batch.tokens
    words = np.concatenate([[0], np.cumsum((tokens.classes & COUNTED) != 0)])
    return np.maximum(words[tokens.docs[1:]] - words[tokens.docs[:-1]] - n + 1, 0)


@inlined
def _first_power(n):  # type: ignore[no-untyped-def]  # numba infers
    """P0 to the power n: what the word that leaves the window weighs."""
    power = np.uint64(1)
    for _ in range(n):
        power *= P0
    return power


@inlined
def _mixed(rolling):  # type: ignore[no-untyped-def]  # numba infers
    """The hash of a window from its polynomial; never 0, which is a free slot."""
    h = (rolling ^ (rolling >> np.uint64(32))) * P1
    h ^= h >> np.uint64(29)
    return h if h else np.uint64(1)


@kernel
def _ngrams(hashes, classes, docs, n, out):  # type: ignore[no-untyped-def]  # numba infers
    """Writes the hash of every n-gram to out, which has room for one a token; returns how many."""
    size = np.int64(n)
    window = np.zeros(size, np.uint64)
    power = _first_power(size)
    count = np.int64(0)
    for row in range(docs.size - 1):
        rolling, seen, slot = np.uint64(0), 0, 0
        window[:] = 0
        for i in range(docs[row], docs[row + 1]):
            if classes[i] & COUNTED:
                rolling = rolling * P0 + hashes[i] - window[slot] * power
                window[slot] = hashes[i]
                slot = slot + 1 if slot + 1 < size else 0
                seen += 1
                if seen >= size:
                    out[count] = _mixed(rolling)
                    count += 1
    return count


@kernel
def _insert(ngrams, owner, table, owners):  # type: ignore[no-untyped-def]  # numba infers
    """Enters hashes; the table has more than twice as many slots as all of them."""
    mask = np.uint64(table.size - 1)
    for k in range(ngrams.size):
        at = np.int64(ngrams[k] & mask)
        while table[at] != 0 and table[at] != ngrams[k]:
            at = (at + 1) & (table.size - 1)
        if table[at] == 0:
            table[at] = ngrams[k]
            owners[at] = owner


@kernel
def _shared(hashes, classes, docs, n, table, owners, counts, first_owner):  # type: ignore[no-untyped-def]  # numba infers
    """Counts the n-grams of each row that are in the table."""
    size = np.int64(n)
    window = np.zeros(size, np.uint64)
    power = _first_power(size)
    mask = np.uint64(table.size - 1)
    for row in range(docs.size - 1):
        rolling, seen, slot = np.uint64(0), 0, 0
        window[:] = 0
        for i in range(docs[row], docs[row + 1]):
            if classes[i] & COUNTED:
                rolling = rolling * P0 + hashes[i] - window[slot] * power
                window[slot] = hashes[i]
                slot = slot + 1 if slot + 1 < size else 0
                seen += 1
                if seen >= size:
                    wanted = _mixed(rolling)
                    at = np.int64(wanted & mask)
                    while table[at] != 0 and table[at] != wanted:
                        at = (at + 1) & (table.size - 1)
                    if table[at] != 0:
                        if counts[row] == 0:
                            first_owner[row] = owners[at]
                        counts[row] += 1


STAGE = Decontaminate
