"""What a step is. A step file (`filters/length.py`) defines one class and ends in `STAGE = ThatClass`.

There are three kinds. None of them can touch rows; the runner alone appends columns and filters:

    Annotator   a batch in, new columns out, row for row
    Selector    a batch in, a mask out
    Job         a decision that needs many shards: a mapper in the streaming pass, then reduce phases

An annotator that writes the local column `reasons: list<string>` is a filter: rows with reasons are dropped, unless the
config says `mode: annotate`. The reserved local columns `failed: string` (quarantine the row, with this reason) and
`text: string` (the rewritten text) may be returned without being declared in `writes()`.

Classes may inherit from these protocols to get the defaults of the optional methods, or just have the methods.

`open` is called once. After it several threads of a worker may be in `annotate`, `keep`, `mark_texts` or a mapper's `emit`
at the same time, each with a batch of its own. So what these change must be the call's own, the thread's own
(`threading.local`), or taken from a list and put back (`list.pop` and `append` cannot be interrupted); results must not
depend on the order of batches. An annotator or selector that cannot be like that says `SERIAL = True`: its calls come one at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from curate.core.batch import UNICODE, DocBatch, Words
from curate.core.ceilings import Ceilings

C = TypeVar("C", bound=BaseModel)


class StageConfig(BaseModel):
    """Base of a step's options: unknown keys are errors, values cannot change, every field has a description.

    LOCATIONS: names of options that are paths, or lists of them. In a plan they are absolute, with variables put in.
    """

    LOCATIONS: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(extra="forbid", frozen=True)

    def settled(self, schema: pa.Schema) -> Self:
        """The options as a plan has them. schema: of the input, or of its passages for a step over these. An option that is
        left out may depend on the columns there are. `CurateError` with `option=` where one does not fit them."""
        return self


@dataclass(frozen=True)
class Resources:
    """What one worker of a step needs: memory in GB beside the batch, GPUs."""

    memory_gb: float = 0.5
    gpus: int = 0


@dataclass(frozen=True)
class ReduceUnit:
    """What a unit of a reduce phase may look at beside its records.

    number: of the unit. shards: of the input, ascending. documents: how many the job's mapper was given. side: the mapper's
    side records of a shard, ascending by doc. count: adds to a named count of the unit, which its done-file keeps. drops:
    whether documents that the job gives reasons are dropped, as the config's `mode:` says.
    """

    number: int
    shards: Sequence[int]
    documents: int
    side: Callable[[int], Iterator[pa.RecordBatch]]
    count: Callable[[str, int], None]
    drops: bool = True


@dataclass(frozen=True)
class Context:
    """What a step may use when it is opened, once per process.

    models: the folder that `curate models pull` fills. scratch: node-local, emptied afterwards. threads: threads that this
    process may use. offline: nothing may be fetched. unit: in a reduce phase, what the unit may look at. run: the run's
    name; words: what a word is in it. artifacts: role → checksum of the files that decide a job's output, as they were when
    the run was planned; empty while it is. cache: the run's folder for what is cached by content, None for none; snapshot:
    names of what the step found there when the run was planned (`Caching`).
    """

    models: Path
    scratch: Path
    threads: int = 1
    offline: bool = False
    unit: ReduceUnit | None = None
    run: str = ""
    words: Words = UNICODE
    artifacts: Mapping[str, str] = field(default_factory=dict)
    cache: Path | None = None
    snapshot: tuple[str, ...] = ()


class Work(NamedTuple):
    """What encoders did. tokens: that they read; busy: seconds in which they computed; seconds: of the wall's clock in which
    they could have, units at work only; both of one worker, or added up over several.
    """

    tokens: int = 0
    busy: float = 0.0
    seconds: float = 0.0

    def plus(self, other: Work) -> Work:
        return Work(self.tokens + other.tokens, self.busy + other.busy, self.seconds + other.seconds)

    def minus(self, other: Work) -> Work:
        return Work(self.tokens - other.tokens, self.busy - other.busy, self.seconds - other.seconds)


#: Where no encoder is at work.
NO_WORK: Final = Work()


@dataclass(frozen=True)
class Rule:
    """One rule of a filter, for `explain` and the linter: a row fails it with `reason` unless `column` is within bounds.

    column: local name. A row passes if its value is >= minimum and <= maximum (None: no such bound). lowest, highest: the
    range of the values that the column can have (None: unlimited), by which a rule that can never fire is found. option: the
    key of the step's config that holds the bound, `top_n_grams.2` for an entry of a mapping.
    """

    reason: str
    column: str
    minimum: float | None = None
    maximum: float | None = None
    lowest: float | None = None
    highest: float | None = None
    option: str = ""


@runtime_checkable
class Annotator(Protocol[C]):
    """Adds columns. `Config` holds its options, `VERSION` is raised when the meaning of an output changes.

    A step may have `SERIAL: ClassVar[bool] = True` besides: its batches then come one at a time. With `WARM:
    ClassVar[bool] = False` it is not run on a few made-up texts before the first run, where kernels are compiled for
    all workers.
    """

    Config: type[C]
    VERSION: ClassVar[int]

    def __init__(self, config: C) -> None:
        """Cheap: no model is loaded and no file opened here."""
        ...

    def resources(self) -> Resources:
        """What one process needs; may depend on the config."""
        return Resources()

    def reads(self) -> frozenset[str]:
        """Global names of the columns it needs, `text` included."""
        ...

    def writes(self) -> Mapping[str, pa.DataType]:
        """Local names and types of the columns it returns."""
        ...

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        """Files that decide the output (models, word lists), by role; their content enters the fingerprint.

        Raises `CurateError` if one cannot be found; `curate check` calls this before any work starts.
        """
        return {}

    def provenance(self) -> Mapping[str, str]:
        """Facts for the metadata of its columns, such as the model's name."""
        return {}

    def rules(self, language: str | None) -> tuple[Rule, ...]:
        """The rules of a filter as they stand for documents in that language."""
        return ()

    def open(self, context: Context) -> None:
        """Load models; once per process."""

    def annotate(self, batch: DocBatch) -> Mapping[str, pa.Array]:
        """New columns by local name, each as long as the batch."""
        ...


@runtime_checkable
class Caching(Protocol):
    """An annotator that keeps by content what it makes, for this run and others.

    Its option `cache` says where and is in no fingerprint: what is found must be what would be made. Of what is there only
    the snapshot counts, which the plan freezes, so a unit that is done twice finds the same.
    """

    def snapshot(self, context: Context) -> tuple[str, ...]:
        """Names of what it may look up, as the cache stands now; before `open`, whose context then has them."""
        ...

    def begin(self) -> None:
        """A unit begins: forget what another one left unfinished."""
        ...

    def finish(self) -> Mapping[str, int]:
        """Every document of the unit was annotated: commit what is to be kept. Its counts by name, for the report."""
        ...


@runtime_checkable
class Encoding(Protocol):
    """An annotator with an encoder, whose speed is worth to be seen."""

    def worked(self) -> Mapping[str, Work]:
        """Encoder → tokens and busy seconds since this was asked last. Of steps that share an encoder one tells of it."""
        ...


@runtime_checkable
class Selector(Protocol[C]):
    """Chooses rows: `keep` is true, false, or null (which counts as false, reason `null`) for every row."""

    Config: type[C]
    VERSION: ClassVar[int]

    def __init__(self, config: C) -> None: ...

    def resources(self) -> Resources:
        return Resources()

    def reads(self) -> frozenset[str]: ...

    def open(self, context: Context) -> None: ...

    def keep(self, batch: DocBatch) -> pa.BooleanArray: ...


class Mapped(NamedTuple):
    """What a mapper makes of a batch.

    records: the first column is `doc: int64`. partitions: int64[records], from 0 to the job's `partitions` - 1.
    side: records that stay with the shard, where reduce phases can look them up. documents: how many were looked
    at; the runner fills it in. So it does passages: how many passages the batch's documents have, for a job over passages,
    whose `doc` then counts these from 0.
    """

    records: pa.RecordBatch
    partitions: npt.NDArray[np.int64]
    side: pa.RecordBatch | None = None
    documents: int = 0
    passages: int | None = None


class Mapper(Protocol):
    """The part of a job in the pass before it: documents in, records out, each for one partition.

    entering: whether it is given every document that entered the pass, not only those that are left, with a column `drop:
    bool` that says which are gone. Columns that these were dropped too early to have are null; nothing is marked on them.
    """

    entering: bool = False

    def schema(self) -> pa.Schema:
        """Of the records; the first field is `doc: int64`."""
        ...

    def side_schema(self) -> pa.Schema | None:
        """Of the side records, ascending by their first field `doc: int64`; None if there are none."""
        return None

    def emit(self, batch: DocBatch) -> Mapped:
        """What the reduce phases need of a batch."""
        ...


class Reduce(Protocol):
    """One reduce phase of a job: it reads one partition of what came before, and writes records for the next.

    The records of the last one are for shards: their partition is the shard of a `doc`, and the columns are `doc` and what
    the job's `mark` needs, at most one record a document.

    makes: a folder outside the run folder that it makes, complete or not at all; its files then count as its output, but
    nobody else removes them. Such a phase comes last, after the job's ceilings, and decides nothing: it reads all records
    that there are for shards, and writes none. follows_mode: whether it looks at `ReduceUnit.drops`. passing: its records
    are for the next phase alone, and are removed when that is done.
    """

    name: str
    makes: str | None = None
    follows_mode: bool = False
    passing: bool = False

    def units(self, partitions: int) -> int:
        """How many units it has, each of which reads the partition of its own number."""
        return partitions

    def schema(self) -> pa.Schema: ...

    def reduce(
        self, records: Iterator[pa.RecordBatch], context: Context
    ) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
        """records: of one partition, in no order that may be relied on; out: records and the partition of each."""
        ...


@runtime_checkable
class Job(Protocol[C]):
    """Decides about documents by looking at many shards: mapper, reduce phases, and marks on the documents.

    pass → `mapper` → records by partition → `reduces` → records by shard → next pass begins with `mark`
    """

    Config: type[C]
    VERSION: ClassVar[int]

    def __init__(self, config: C) -> None: ...

    def resources(self) -> Resources:
        return Resources()

    def reads(self) -> frozenset[str]:
        """Global names of the columns that the mapper needs."""
        ...

    def writes(self) -> Mapping[str, pa.DataType]:
        """Local names and types of the columns that `mark` returns."""
        ...

    def artifacts(self, context: Context) -> Mapping[str, Path]:
        return {}

    def provenance(self) -> Mapping[str, str]:
        return {}

    def check(self, schema: pa.Schema, language: str | None) -> None:
        """Raises what cannot work with these columns, before any work starts; `option=` in the context of an error names
        the option it is about. schema: what a document has where the job stands; language: the name of the run's
        language column if it is among them.
        """

    def ceilings(self) -> Ceilings | None:
        """What it may remove, or None. The options of these names are in no fingerprint."""
        return None

    def open(self, context: Context) -> None:
        """Once per process, before `mapper`, `reduces` or `mark`."""

    def expect(self, artifacts: Mapping[str, str]) -> None:
        """Role → checksum of `artifacts` when the run was planned: R301 from `describe` and `evidence_of` for others."""

    def describe(self, number: int) -> Mapping[str, Any] | None:
        """A document of another run that a mark names by a number below 0: `id doc run index first_line`, or None."""
        return None

    def evidence_of(self, numbers: Sequence[int]) -> pa.RecordBatch | None:
        """Side records, as far as `compare` looks at them, of documents that marks name by these numbers below 0."""
        return None

    def named(self, docs: pa.Array, shards: int) -> pa.Array:
        """int64 numbers in the records of its phases, as its marks name them; shards: of the run's input."""
        return docs

    def compile(self) -> None:
        """Run its kernels once on something tiny, so that the parent of many workers compiles and they only load."""

    def compare(self, one: pa.RecordBatch, other: pa.RecordBatch) -> npt.NDArray[np.float32] | None:
        """Similarity of documents, row for row, by the mapper's side records; None if these are no evidence."""
        return None

    def partitions(self, size: int) -> int:
        """Into how many partitions the records go, for so many bytes of input; a power of two, at most 1,024."""
        ...

    def mapping(self) -> Mapping[str, Any] | None:
        """What of the options decides the mapper's records, as values for JSON; None for all of them and the artifacts.

        With another value, the pass that ends with the mapper is done again, with all its steps; with another value of
        any other option only the reduce phases. What is left out here although it decides gives wrong results.
        """
        return None

    def reduce_resources(self, size: int, partitions: int) -> Resources:
        """What a unit of its reduce phases needs, for so many bytes of input in so many partitions."""
        return self.resources()

    def mapper(self, partitions: int) -> Mapper: ...

    def reduces(self, partitions: int) -> tuple[Reduce, ...]: ...

    def mark(self, found: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """Columns by local name. found: the records of the last reduce for these documents, row for row; null in every
        column but `doc` for a document that the job was not asked about or has nothing to say about."""
        ...

    def mark_texts(self, found: pa.RecordBatch, batch: DocBatch) -> Mapping[str, pa.Array]:
        """Like `mark`, for a job that looks at the texts again; it may return `text`, the rewritten texts. batch: the same
        documents, with no more columns than `doc` and `text` to rely on."""
        return self.mark(found)
