"""`use: filters.top`: of each language, the k documents or passages with the largest values, whatever the number of tasks.

    keep      bool           whether it is among them
    rank      int32          its place among those of its language, from 1; null for the others
    reasons   list<string>   `not_in_top` for the others

FiNERweb (arXiv 2512.13884) takes the first 2,500 passages of a language that pass a threshold; these are the best ones:

    {use: filters.top, over: passages__spans, by: ner__score, k: 2500, per_document: 1, per_host: 50, floor: 2}

What has no value, or one below `floor`, is not taken. Of the rest the largest are taken one by one, as long as the document,
the host and the language have room. Ties go to the earlier one, or with `seed` by lot. These quotas lie in one another, so
what falls out of the best of a part of the records is not among the best of all, and a reducer holds no more than the
best so far and the records it has just read: memory is k × languages, whatever the size of the corpus. The report has the
numbers: `candidates`, `missing` a value, `below_floor`, `kept`, and for a language with fewer than k `short_deu_Latn`.

Where scores are dear, a pool of candidates by a cheap column comes first, bounded by language and host:

    {use: filters.top, as: pool, over: passages__spans, by: surface__score, k: 20000, per_host: 100, seed: 1}
    {use: filters.ner_relevance, as: ner, over: passages__spans}
    {use: filters.top, over: passages__spans, by: ner__score, k: 2500, pool: pool__rank}

`pool` names the places of that pool, and the report says how large it need have been: `kept_of_pool_10`, `…_25`, `…_50` of
`kept` were among the first 10, 25, 50 % of their language's pool. If the first of these is near `kept`, a smaller pool does.

Quotas are a language's own: a host that writes in two may have `per_host` in each. What has no address is a host alone. With
`per_host`, a document whose passages have several hosts, as none has that was cut here, is one for each: else quotas would
not lie in one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field, StringConstraints

from curate.core.batch import DocBatch
from curate.core.columns import DOC, REASONS, UNDETERMINED
from curate.core.errors import error
from curate.core.passages import SOURCE_DOC
from curate.core.stage import Context, Job, Mapped, Mapper, Reduce, Resources, StageConfig
from filters.rules import listed

LANGUAGE: Final = "language"
URL: Final = "url"
#: Records that a reducer reads before it looks for the best of them.
_BUFFER: Final = 1 << 20
_PARTITIONS: Final = 16
#: Per cent of a pool of which the report says how many of the kept it held.
_SHARES: Final = (10, 25, 50)
#: Bytes of input to a partition.
_PARTITION_BYTES: Final = 16 << 30

Name = Annotated[str, StringConstraints(min_length=1)]
Quota = Annotated[int, Field(ge=1, le=2**31 - 1)]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class TopConfig(StageConfig):
    """Options of `filters.top`."""

    by: Name = Field(description="A column of numbers, the largest are best: `ner__score`.")
    k: Quota = Field(description="How many of each language are kept at most.")
    per: Name = Field(
        LANGUAGE,
        description="What each k is of: `language`, or a column of text. Null is `und`, a value like any other.",
    )
    floor: float | None = Field(None, allow_inf_nan=False, description="Least value that is kept.")
    per_document: Quota | None = Field(None, description="Most passages of one document; only over passages.")
    per_host: Quota | None = Field(None, description="Most of one host, by the column `url`.")
    pool: Name | None = Field(
        None,
        description="Places in a pool of candidates, `pool__rank`: the report says what smaller pools would have held.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="Ties are decided by lot; without it the earlier ones are kept."
    )


class Top(Job[TopConfig]):
    """Keeps the k best of each language."""

    Config = TopConfig
    VERSION: ClassVar[int] = 2

    def __init__(self, config: TopConfig) -> None:
        self.config = config

    def resources(self) -> Resources:
        return Resources(memory_gb=0.5)

    def reads(self) -> frozenset[str]:
        config = self.config
        named = {config.by, config.per} - {LANGUAGE}
        optional = {URL: config.per_host, SOURCE_DOC: config.per_document, config.pool or "": config.pool}
        return frozenset(named | {name for name, quota in optional.items() if quota is not None})

    def writes(self) -> Mapping[str, pa.DataType]:
        return {"keep": pa.bool_(), "rank": pa.int32(), REASONS: pa.list_(pa.string())}

    def check(self, schema: pa.Schema, language: str | None) -> None:
        kind = schema.field(self.config.by).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise error(
                "C206",
                f"'{self.config.by}' is {kind}, not a number",
                help="name a column of numbers",
                option="by",
            )
        if self.config.pool is not None and not pa.types.is_integer(schema.field(self.config.pool).type):
            raise error(
                "C206",
                f"'{self.config.pool}' is {schema.field(self.config.pool).type}, no place in a pool",
                help="name the `rank` of an earlier `filters.top`",
                option="pool",
            )
        if self.config.per == LANGUAGE and language is None:
            raise error(
                "C201",
                "`per: language` needs languages, and no step before has identified them",
                help="put a `lid` step before this one, or name the column with `language:`",
                option="use",
            )

    def open(self, context: Context) -> None:
        pass

    def partitions(self, size: int) -> int:
        return min(_PARTITIONS, 1 << int(size // _PARTITION_BYTES).bit_length())

    def mapper(self, partitions: int) -> Mapper:
        return Candidates(self.config, partitions)

    def reduces(self, partitions: int) -> tuple[Reduce, ...]:
        return (Best(self.config),)

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        rank = found.column("rank")
        kept = rank.is_valid()
        lost = pc.invert(kept).to_numpy(zero_copy_only=False)
        return {"keep": kept, "rank": rank, REASONS: listed(["not_in_top"], lost[:, None])}


STAGE = Top


class Candidates(Mapper):
    """A record for each document or passage; value is nan without one."""

    def __init__(self, config: TopConfig, partitions: int) -> None:
        self._config = config
        self._partitions = partitions

    def schema(self) -> pa.Schema:
        kinds = (
            (DOC, pa.int64()), ("group", pa.string()), ("value", pa.float64()), ("parent", pa.int64()),
            ("host", pa.int64()), ("pool", pa.int64()),
        )  # fmt: skip
        return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds])

    def emit(self, batch: DocBatch) -> Mapped:
        config = self._config
        column = batch.languages if config.per == LANGUAGE else batch.column(config.per).cast(pa.string())
        assert column is not None  # `check` has seen it
        groups = pc.fill_null(column, UNDETERMINED)
        codes = groups.dictionary_encode()
        table = [
            xxhash.xxh3_64_intdigest(name.encode()) % self._partitions
            for name in codes.dictionary.to_pylist()
        ]
        partitions = np.array([*table, 0], np.int64)[codes.indices.to_numpy()]
        values = pc.cast(batch.column(config.by), pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        nothing = pa.array(np.zeros(batch.num_rows, np.int64))
        parents = batch.column(SOURCE_DOC) if config.per_document is not None else nothing
        hosts = pa.array(_hosts(batch.column(URL))) if config.per_host is not None else nothing
        pool = nothing
        if config.pool is not None:
            pool = pc.fill_null(batch.column(config.pool).cast(pa.int64()), 0)
        arrays = [batch.column(DOC), groups, pa.array(values.astype(np.float64)), parents, hosts, pool]
        return Mapped(pa.RecordBatch.from_arrays(arrays, schema=self.schema()), partitions)


def _hosts(urls: pa.Array) -> Int64s:
    """int64[rows]: equal for addresses of one host; 0 without one."""
    found = pc.extract_regex(
        urls.cast(pa.string()), r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/@]*@)?(?P<host>[^/:?#]+)"
    )
    hosts = pc.utf8_lower(pc.struct_field(found, "host")).dictionary_encode()
    table = [xxhash.xxh3_64_intdigest(name.encode()) >> 1 | 1 for name in hosts.dictionary.to_pylist()]
    return np.array([*table, 0], np.int64)[hosts.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)]


class Best(Reduce):
    """Keeps the best of each language while records go by."""

    name = "best"

    def __init__(self, config: TopConfig) -> None:
        self._config = config

    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(DOC, pa.int64(), nullable=False), pa.field("rank", pa.int32())])

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, Int64s]]:
        groups: dict[str, int] = {}
        pool = _Pool.empty()
        waiting: list[_Pool] = []
        counts = {"candidates": 0, "missing": 0, "below_floor": 0}
        last = np.zeros(0, np.int64)  # place in each language's pool
        for record in records:
            part = _Pool.of(record, groups, self._config)
            counts["candidates"] += len(part.doc)
            last = np.concatenate([last, np.zeros(len(groups) - len(last), np.int64)])
            np.maximum.at(last, part.group, part.place)
            missing = np.isnan(part.value)
            low = part.value < (-np.inf if self._config.floor is None else self._config.floor)
            counts["missing"] += int(missing.sum())
            counts["below_floor"] += int(low.sum())
            waiting.append(part.take(np.flatnonzero(~missing & ~low)))
            if sum(len(p.doc) for p in waiting) >= _BUFFER:
                pool, waiting = self._best(_Pool.joined([pool, *waiting])), []
        pool = self._best(_Pool.joined([pool, *waiting]))
        if context.unit is not None:
            for name, count in counts.items():
                context.unit.count(name, count)
            context.unit.count("kept", len(pool.doc))
            for share in _SHARES if self._config.pool is not None else ():
                inside = (pool.place > 0) & (pool.place * 100 <= last[pool.group] * share)
                context.unit.count(f"kept_of_pool_{share}", int(inside.sum()))
            held = np.bincount(pool.group, minlength=len(groups))
            for name, number in sorted(groups.items()):
                if held[number] < self._config.k:
                    context.unit.count(f"short_{name}", self._config.k - int(held[number]))
        if len(pool.doc):
            ranks = _places(pool.group) + 1
            arrays = [pa.array(pool.doc), pa.array(ranks.astype(np.int32))]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema()), pool.doc >> 32

    def _best(self, pool: _Pool) -> _Pool:
        """Those that the quotas leave, by language and from the best on."""
        pool = pool.take(np.lexsort((pool.doc, pool.tie, -pool.value, pool.group)))
        if self._config.per_document is not None:
            before = _counted(pool.group, pool.parent, pool.host)
            pool = pool.take(np.flatnonzero(before < self._config.per_document))
        if self._config.per_host is not None:
            room = _counted(pool.group, pool.host) < self._config.per_host
            pool = pool.take(np.flatnonzero(room | (pool.host == 0)))
        return pool.take(np.flatnonzero(_places(pool.group) < self._config.k))


class _Pool:
    """Records, column by column. place: in the pool of candidates, 0 without one. tie: what decides between equal values,
    before doc."""

    def __init__(self, *columns: npt.NDArray[Any]) -> None:
        self.columns = columns
        self.doc, self.group, self.value, self.parent, self.host, self.place, self.tie = columns

    @staticmethod
    def empty() -> _Pool:
        kinds = (np.int64, np.int64, np.float64, np.int64, np.int64, np.int64, np.uint64)
        return _Pool(*(np.zeros(0, kind) for kind in kinds))

    @staticmethod
    def of(record: pa.RecordBatch, groups: dict[str, int], config: TopConfig) -> _Pool:
        codes = record.column("group").dictionary_encode()
        numbers = [groups.setdefault(name, len(groups)) for name in codes.dictionary.to_pylist()]
        group = np.array([*numbers, 0], np.int64)[codes.indices.to_numpy()]
        names = (DOC, "value", "parent", "host", "pool")
        doc, value, parent, host, place = (record.column(name).to_numpy() for name in names)
        tie = np.zeros(len(doc), np.uint64) if config.seed is None else _lots(doc, config.seed)
        return _Pool(doc, group, value, parent, host, place, tie)

    @staticmethod
    def joined(pools: list[_Pool]) -> _Pool:
        return _Pool(*(np.concatenate(columns) for columns in zip(*(p.columns for p in pools), strict=True)))

    def take(self, rows: Int64s) -> _Pool:
        return _Pool(*(column[rows] for column in self.columns))


def _places(group: Int64s) -> Int64s:
    """int64[rows]: how many rows of the same group stand before; groups stand together."""
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))


def _counted(*keys: Int64s) -> Int64s:
    """int64[rows]: how many rows with the same keys stand before."""
    rows = len(keys[0])
    order = np.lexsort((np.arange(rows), *reversed(keys)))
    other = np.zeros(rows, np.bool_)
    other[:1] = True
    for key in keys:
        other[1:] |= np.diff(key[order]) != 0
    first = np.flatnonzero(other)
    out = np.empty(rows, np.int64)
    out[order] = np.arange(rows) - np.repeat(first, np.diff(np.append(first, rows)))
    return out


def _lots(doc: Int64s, seed: int) -> npt.NDArray[np.uint64]:
    """uint64[rows] by doc and seed: splitmix64's finalizer (Steele et al. 2014)."""
    mixed = doc.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15) * np.array([2 * seed + 1], np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
