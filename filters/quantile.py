"""`use: filters.quantile`: keep the best share of the documents, in each language or other group, by one score or several.

    keep      bool           whether the document is among the best
    ranks     list<double>   for each of `columns` the share of its group that is below it, 0 to 1; null without a value
    reasons   list<string>   `below_quantile`, `missing`

By default a quantile is exact (`method: sketched` is `filters.sketch`): all documents of a group are sorted, by value, then
by `doc`, of which the smaller one ranks higher. A document's rank is the weight before it over the weight of all, and it
passes the quantile q if its rank is at least q; so with `weight: documents` of n documents n - ceil(q n) stay, ties or not.
`keep:` says how several columns decide together:

    {all: 0.6}         every rank is at least 0.6 (JQL, arXiv 2505.22232, section 4)
    {any: 0.6}         one of them is
    {mean_rank: 0.6}   the mean of the ranks, ranked once more, is
    {max_rank: 0.6}    the greatest of the ranks, ranked once more, is (Nemotron-CC, arXiv 2412.02595)
    {k_of_n: 0.6, k: 2}        two of them are
    {softmax: 0.6, tau: 0.5}   0.4 of the documents are drawn without replacement, with chances that go with
                               exp(score / tau) (QuRating, arXiv 2402.09739): the best by score / tau + Gumbel noise, which
                               follows from `seed` and the document's id. QuRating's tau = 2 is in standard deviations

The population is what reaches the step: documents that an earlier step dropped are in no quantile. JQL takes quantiles of
what is deduplicated but not filtered, and after filters the same q keeps far less. With `over: entering` documents count
too that entered the pass and were dropped in it, by a filter or by the job before, if they had a value by then: score after
deduplication, filter, and the population is JQL's. A document without a value (null or nan) in a column is not in that
column's population; it is judged by its other columns, and `missing` says what becomes of it if it has none: languages that
an encoder does not know stay by default.

Numbers: a document costs 24 bytes on disk and 8 for each column. An exact quantile sorts a group in memory in one unit, at
about 80 bytes a document: 8 GB for 100 million documents of one language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field, StringConstraints, model_validator

from curate.core.batch import DocBatch
from curate.core.columns import DOC, ID, REASONS, TEXT
from curate.core.errors import error
from curate.core.overlay import DROP
from curate.core.stage import Context, Job, Mapped, Mapper, Reduce, Resources, StageConfig
from filters.ranks import Float64s, Int64s, Rank, Rule
from filters.rules import listed
from filters.sample import units
from filters.sketch import Combine, Decide, Sketch

Name = Annotated[str, StringConstraints(min_length=1)]
Quantile = Annotated[float, Field(ge=0, le=1)]

LANGUAGE: Final = "language"
DOCUMENTS: Final = "documents"
BYTES: Final = "bytes"
RULES: Final = ("all", "any", "mean_rank", "max_rank", "k_of_n", "softmax")
#: Bytes of input to a document, guessed low, and documents that one partition may have.
_DOCUMENT_BYTES: Final = 500
_PARTITION_DOCS: Final = 8_000_000
_MOST_PARTITIONS: Final = 1024
_NULL: Final = np.uint64(0x9E3779B97F4A7C15)


class KeepConfig(StageConfig):
    """How the columns decide together: one of these, with its quantile."""

    all: Quantile | None = Field(None, description="Every rank must reach it.")
    any: Quantile | None = Field(None, description="One rank must reach it.")
    mean_rank: Quantile | None = Field(None, description="The mean of the ranks must, ranked once more.")
    max_rank: Quantile | None = Field(None, description="The greatest of the ranks must, ranked once more.")
    k_of_n: Quantile | None = Field(None, description="So many of the ranks as `k` says must reach it.")
    softmax: Quantile | None = Field(
        None,
        description="Drawn instead of cut: the chance to stay goes with softmax(score / `tau`); for one column.",
    )
    k: int | None = Field(None, ge=1, le=1000, description="Columns that must reach it, for `k_of_n`.")
    tau: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Temperature of `softmax`, in the units of the score."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Another number draws anew, for `softmax`.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [rule for rule in RULES if getattr(self, rule) is not None]
        if len(given) != 1:
            raise ValueError("say one of `all`, `any`, `mean_rank`, `max_rank`, `k_of_n`, `softmax`")
        for option, rule in (("k", "k_of_n"), ("tau", "softmax")):
            if (getattr(self, option) is not None) != (given == [rule]):
                raise ValueError(f"`{option}` goes with `{rule}`, and `{rule}` with it")
        if self.seed and given != ["softmax"]:
            raise ValueError("`seed` goes with `softmax`")
        return self

    def chosen(self) -> tuple[str, float]:
        """The rule and its quantile."""
        return next((rule, quantile) for rule in RULES if (quantile := getattr(self, rule)) is not None)


class QuantileConfig(StageConfig):
    """Options of `filters.quantile`."""

    columns: tuple[Name, ...] = Field(min_length=1, description="Columns of numbers: `[edu__score]`.")
    keep: KeepConfig = Field(
        description="How they decide: `{all: 0.6}`, `{any: 0.6}`, `{mean_rank: 0.6}`, `{max_rank: 0.6}`, "
        "`{k_of_n: 0.6, k: 2}` or `{softmax: 0.6, tau: 0.5}`."
    )
    over: Literal["reaching", "entering"] = Field(
        "reaching",
        description="Whose quantiles: of the documents that reach the step, or of all that entered its pass and had a value "
        "before they were dropped; a pass begins with the run or after a deduplication or other job.",
    )
    by: Name | tuple[Name, ...] = Field(
        (),
        description="Columns whose values make a group with quantiles of its own; `language` is the run's language column. "
        "Null is a value like any other.",
    )
    method: Literal["exact", "sketched"] = Field(
        "exact",
        description="`exact` sorts each group in memory; `sketched` counts values by 4,096 buckets to a power of two and "
        "keeps or drops a bucket as a whole, in memory that does not grow with the documents.",
    )
    weight: Name = Field(
        DOCUMENTS,
        description="What a share is a share of: `documents`, `bytes` of text, or a column of integers such as "
        "`edu__n_tokens`, where null and negative numbers count nothing.",
    )
    missing: Literal["keep", "drop"] = Field(
        "keep", description="What becomes of documents that have a value in none of the columns."
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.keep.k is not None and self.keep.k > len(self.columns):
            raise ValueError(f"`k` is {self.keep.k}, of {len(self.columns)} columns")
        if self.keep.softmax is not None and len(self.columns) > 1:
            raise ValueError("`softmax` draws by one column")
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.by,) if isinstance(self.by, str) else self.by

    @property
    def rule(self) -> Rule:
        name, quantile = self.keep.chosen()
        return Rule(name, quantile, self.keep.k or 0, self.missing == "drop")


class QuantileJob(Job[QuantileConfig]):
    """Keeps the best share of the documents of each group."""

    Config = QuantileConfig
    VERSION: ClassVar[int] = 1

    def __init__(self, config: QuantileConfig) -> None:
        self.config = config

    def resources(self) -> Resources:
        return Resources(memory_gb=1.0)

    def reads(self) -> frozenset[str]:
        weight = {TEXT if self.config.weight == BYTES else self.config.weight} - {DOCUMENTS}
        drawn = {ID} if self.config.keep.softmax is not None else set()
        return frozenset({*self.config.columns, *self.config.groups, *weight, *drawn} - {LANGUAGE})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "ranks": pa.list_(pa.float64()), REASONS: pa.list_(pa.string())}

    def check(self, schema: pa.Schema, language: str | None) -> None:
        for name in self.config.columns:
            _check_number(name, schema.field(name).type, "columns")
        if self.config.weight not in (DOCUMENTS, BYTES):
            _check_integer(self.config.weight, schema.field(self.config.weight).type, "weight")
        for name in self.config.groups:
            if name == LANGUAGE:
                _check_languages(known=language is not None)
            elif pa.types.is_nested(schema.field(name).type):
                kind = schema.field(name).type
                raise error(
                    "C206",
                    f"'{name}' is {kind}, which makes no groups",
                    help="name a column of single values",
                    option="by",
                )

    def open(self, context: Context) -> None:
        pass

    def partitions(self, size: int) -> int:
        parts = size // (_DOCUMENT_BYTES * _PARTITION_DOCS)
        return min(_MOST_PARTITIONS, 1 << int(parts).bit_length())

    def mapper(self, partitions: int) -> Mapper:
        return Values(self.config, partitions)

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        rule, columns = self.config.rule, len(self.config.columns)
        if self.config.method == "exact":
            return (Rank(rule, columns),)
        again: tuple[Reduce, ...] = ()
        if rule.name in ("mean_rank", "max_rank"):
            again = (Combine(rule, columns, partitions),)
        return (Sketch(rule, columns, partitions), *again, Decide(rule, columns, partitions))

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        verdict = found.column("verdict").fill_null(0).to_numpy(zero_copy_only=False)
        failed = np.stack([verdict == 1, verdict == 2], axis=1)
        return {
            "keep": pa.array(verdict == 0),
            "ranks": found.column("ranks"),
            REASONS: listed(["below_quantile", "missing"], failed),
        }


STAGE = QuantileJob


class Values(Mapper):
    """A record for each document: its group, its weight, its values (nan where there is none)."""

    def __init__(self, config: QuantileConfig, partitions: int) -> None:
        self._config = config
        self.entering = config.over == "entering"
        self._shift = np.uint64(64 - (partitions.bit_length() - 1))
        self._whole = partitions == 1
        self._sketched = config.method == "sketched"

    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(DOC, pa.int64(), nullable=False)]) if self._sketched else self._documents()

    def side_schema(self) -> pa.Schema | None:
        return self._documents() if self._sketched else None

    def _documents(self) -> pa.Schema:
        fixed = [(DOC, pa.int64()), ("group", pa.uint64()), ("weight", pa.int64())]
        values = [(f"value{i}", pa.float64()) for i in range(len(self._config.columns))]
        return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fixed + values])

    def emit(self, batch: DocBatch) -> Mapped:
        if self.entering:
            valued = np.logical_or.reduce([~np.isnan(_numbers(batch, c)) for c in self._config.columns])
            batch = batch.filter(valued | ~batch.column(DROP).to_numpy(zero_copy_only=False))
        group = np.zeros(batch.num_rows, np.uint64)
        for name in self._config.groups:
            group = _turned(group) ^ _hashes(_group_column(batch, name))
        arrays = [batch.column(DOC), pa.array(group), pa.array(self._weights(batch))]
        arrays += [pa.array(self._values(batch, name)) for name in self._config.columns]
        record = pa.RecordBatch.from_arrays(arrays, schema=self._documents())
        if self._sketched:
            return Mapped(pa.RecordBatch.from_pylist([], self.schema()), np.zeros(0, np.int64), record)
        partition = np.zeros(len(group), np.int64) if self._whole else (group >> self._shift).astype(np.int64)
        return Mapped(record, partition)

    def _values(self, batch: DocBatch, name: str) -> Float64s:
        """A column; drawn by softmax, as Gumbel noise added to it, of which the greatest are such a draw."""
        values = _numbers(batch, name)
        if self._config.keep.tau is None:
            return values
        drawn = units(batch.column(ID), self._config.keep.seed) - 2.0**-54  # between 0 and 1
        noisy: Float64s = values / self._config.keep.tau - np.log(-np.log(drawn))
        return noisy

    def _weights(self, batch: DocBatch) -> Int64s:
        if self._config.weight == DOCUMENTS:
            return np.ones(batch.num_rows, np.int64)
        if self._config.weight == BYTES:
            return batch.text_bytes
        column = batch.column(self._config.weight)
        _check_integer(self._config.weight, column.type, "weight")
        return np.maximum(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), 0)


def _group_column(batch: DocBatch, name: str) -> pa.Array:
    if name != LANGUAGE:
        return batch.column(name)
    _check_languages(known=batch.languages is not None)
    return batch.languages


def _numbers(batch: DocBatch, name: str) -> Float64s:
    column = batch.column(name)
    _check_number(name, column.type, "columns")
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def _check_number(name: str, kind: pa.DataType, option: str) -> None:
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise error(
            "C206", f"'{name}' is {kind}, not a number", help="name a column of numbers", option=option
        )


def _check_integer(name: str, kind: pa.DataType, option: str) -> None:
    if not pa.types.is_integer(kind):
        raise error(
            "C206",
            f"'{name}' is {kind}, no column of integers",
            help="weigh by `documents`, `bytes` or a column of integers",
            option=option,
        )


def _check_languages(*, known: bool) -> None:
    if not known:
        raise error(
            "C201",
            "`by: language` needs languages, and no step before has identified them",
            help="put a `lid` step before this one, or name the column with `language:`",
            option="by",
        )


def _hashes(column: pa.Array) -> npt.NDArray[np.uint64]:
    """uint64[rows]: equal for equal values; computed once for each value of the batch."""
    codes = column.cast(pa.string()).dictionary_encode()
    values = [xxhash.xxh3_64_intdigest(value.encode()) for value in codes.dictionary.to_pylist()]
    table = np.array([*values, int(_NULL)], np.uint64)
    return table[codes.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]


def _turned(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """So that equal hashes in two columns do not cancel."""
    return (keys << np.uint64(23) | keys >> np.uint64(41)) * _NULL
