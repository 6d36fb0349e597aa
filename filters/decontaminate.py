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

import gzip
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pydantic import Field, field_validator, model_validator

from curate.core.batch import SPACY_LIKE, DocBatch, Words
from curate.core.columns import REASONS
from curate.core.errors import error
from curate.core.languages import canonical, is_language, suggest
from curate.core.stage import Annotator, Context, Rule, StageConfig
from curate.core.text.codepoints import COUNTED
from curate.core.text.hashing import P0, P1
from curate.core.text.memory import inlined, kernel
from filters.rules import MOST, listed

#: The file of an import that holds its texts.
_SENTENCES: Final = "sentences.parquet"
_LANGUAGE: Final = "language"
_COUNT: Final = "ngrams_count"
_FRAC: Final = "ngrams_frac"
#: Letters of a script's code, by which it is told from a country's.
_SCRIPT: Final = 4
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


def set_files(sets: Sequence[str]) -> list[tuple[str, Path]]:
    """(name, file) of every file of the sets; `$VAR` and `~` are expanded. D401 if there is none."""
    found: list[tuple[str, Path]] = []
    for place in sets:
        path = Path(os.path.expandvars(place)).expanduser()
        files = [path]
        if path.is_dir():
            files = [path / _SENTENCES] if (path / _SENTENCES).is_file() else sorted(path.glob("*.parquet"))
        if not files or not files[0].is_file():
            raise error(
                "D401", f"there is no test set at {path}", help="correct `sets` of filters.decontaminate"
            )
        found += [(path.name if len(files) == 1 else f"{path.name}/{file.name}", file) for file in files]
    return found


def read_texts(file: Path, column: str, splits: Sequence[str] | None) -> pa.RecordBatch:
    """`text` and `language` (null where the file has none) of a set's rows. D401, D402, D403."""
    wanted = [column] if splits is None else [column, "split"]
    rows = _parquet(file, wanted) if file.suffix == ".parquet" else _json_lines(file, wanted)
    if splits is not None:
        rows = [row for row in rows if row["split"] in splits]
    texts = [row[column] for row in rows if row[column] is not None]
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise error("D403", f"'{column}' of {file} is no text: {wrong!r}", help="name another `column`")
    languages = [row.get(_LANGUAGE) for row in rows if row[column] is not None]
    return pa.RecordBatch.from_pydict(
        {
            "doc": pa.array(range(len(texts)), pa.int64()),
            "text": pa.array(texts, pa.string()),
            _LANGUAGE: pa.array([code if isinstance(code, str) else None for code in languages], pa.string()),
        }
    )


def _parquet(file: Path, wanted: list[str]) -> list[dict[str, Any]]:
    try:
        parquet = pq.ParquetFile(file)
    except pa.ArrowInvalid as cause:
        raise error(
            "D401", f"{file} cannot be read as Parquet: {cause}", help="give a Parquet file"
        ) from cause
    for name in wanted:
        if name not in parquet.schema_arrow.names:
            raise _missing(file, name)
    more = [_LANGUAGE] if _LANGUAGE in parquet.schema_arrow.names and _LANGUAGE not in wanted else []
    rows: list[dict[str, Any]] = parquet.read(columns=[*wanted, *more]).to_pylist()
    return rows


def _json_lines(file: Path, wanted: list[str]) -> list[dict[str, Any]]:
    opener = {".gz": gzip.open, ".zst": zstandard.open}.get(file.suffix, open)
    rows = []
    decoder = msgspec.json.Decoder()
    number = 0
    try:
        with opener(file, "rb") as lines:  # type: ignore[operator]
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = decoder.decode(line)
                for name in wanted:
                    if not isinstance(row, dict) or name not in row:
                        raise _missing(file, name, number)
                rows.append(row)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        gzip.BadGzipFile,
        zstandard.ZstdError,
        EOFError,
    ) as cause:
        raise error("D401", f"{file}, line {number}: {cause}", help="give Parquet or JSON Lines") from cause
    return rows


def _missing(file: Path, name: str, line: int | None = None) -> Exception:
    where = f"line {line} of {file}" if line is not None else str(file)
    return error(
        "D402", f"{where} has no '{name}'", help="correct `column` or `splits` of filters.decontaminate"
    )


def our_code(code: str) -> str | None:
    """A language as we write it: `eng_Latn` for `en`, `eng`, `en-US`; None if it is none."""
    if is_language(code):
        return code
    head, *rest = code.replace("-", "_").split("_")
    script = next((part.title() for part in rest if len(part) == _SCRIPT), None)
    try:
        return canonical(head.lower(), script)
    except KeyError:
        return None


def in_our_codes(name: str, record: pa.RecordBatch, language: str | None) -> pa.RecordBatch:
    """A set's rows with their languages as we write them. language: of rows without one. D402, D403."""
    codes = record.column(_LANGUAGE).dictionary_encode()
    ours = []
    for code in codes.dictionary.to_pylist():
        if code.strip() and our_code(code) is None:
            near = suggest(code)
            help = f"did you mean '{near}'?" if near else "write it like deu_Latn"
            raise error(
                "D403", f"'{_LANGUAGE}' of the test set {name} is no language: '{code[:80]}'", help=help
            )
        ours.append(our_code(code) if code.strip() else None)
    found = pa.array(ours, pa.string()).take(codes.indices)
    if found.null_count and language is None:
        raise error(
            "D402",
            f"nothing says which language {found.null_count:,} texts of the test set {name} are in",
            help=f"add `{_LANGUAGE}: eng_Latn` to filters.decontaminate, or a column '{_LANGUAGE}' to the set",
        )
    filled = found if language is None else found.fill_null(language)
    return record.set_column(record.schema.get_field_index(_LANGUAGE), _LANGUAGE, filled)


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
        tokens = DocBatch(rows, language=_LANGUAGE if by_language else None, words=words).tokens
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
