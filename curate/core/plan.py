"""The plan: what a run does, as JSON that any worker can read. No code and no pickles are in it.

A config compiles to phases in order. A phase is a set of independent units; a unit is done when a done-file says so.

    ingest               unit = ingest unit     JSONL files → Parquet shards
    pass1, pass2, …      unit = shard           steps, fused while they need the same resources → overlays; the last of
                                                them may be a job's mapper → exchange
    <job>.<reduce>       unit = partition       records of a job, by hash of their key; the last one's are by shard, for
                                                the pass after, which begins with the job's marks
    <job>.check          unit = shard           what the job would remove, by source and language, against its ceilings
    <output>.count       unit = shard           rows and bytes per partition
    <output>.exchange    unit = shard           (a run of shards, where there are over 500) kept rows, sorted by the row
                                                group they will stand in; left out where rows keep their order, in one
                                                partition
    <output>.write       unit = output file     the published Parquet file

Fingerprints decide what must be computed again. A unit's fingerprint is the phase's (steps' options and versions, and
everything upstream) with the identity of its own shard; the units of `exchange` and `write` depend on all shards. Paths,
executor, tasks, workers and times are in none of them.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import heapq
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final, Literal

import pyarrow as pa

from curate.core.batch import UNICODE, Words
from curate.core.ceilings import GUARDS
from curate.core.manifest import ColumnSpec, InputSpec

PhaseKind = Literal["ingest", "pass", "reduce", "check", "count", "exchange", "write"]

#: Raised when the files in a run folder change their form; older folders are then refused or computed anew.
FORMAT = 1

#: Options of jobs that only their marks follow, so that another value costs no more than the pass after the job.
_MARKING: Final = ("rehydrate",)
#: Options of jobs that say where something is put: whether it is made decides, not where.
_PLACES: Final = ("index",)
#: Options of jobs that name indexes to read, or the runs that wrote them.
_HELD_AGAINST: Final = ("against",)
#: Options of annotators that say where something is kept which can be made again, how a server is asked, and how much may
#: go wrong before the run stops.
_APART: Final = ("cache", "server", "max_invalid_frac")


@dataclass(frozen=True)
class StepPlan:
    """A configured step.

    writes: global column → Arrow type as text. artifacts: role → checksum of the file. snapshot: what it may look up in a
    cache (`curate.core.stage.Caching`). over: the column of spans whose passages it is given in the place of documents
    (`curate.core.passages`).
    """

    name: str
    use: str
    options: Mapping[str, Any]
    version: int
    kind: Literal["annotator", "selector", "job"]
    when: str | None
    filters: bool
    reads: tuple[str, ...]
    writes: Mapping[str, str]
    title: str
    artifacts: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    snapshot: tuple[str, ...] = ()
    over: str | None = None

    @property
    def portable_options(self) -> dict[str, Any]:
        """The options with a file's or folder's name in place of its path: where a model lies decides nothing, its
        checksum does. The files of a folder have roles like `thresholds/deu_Latn.yaml`. An index that the step is held
        against is its checksum alone, since it can be named by the run that wrote it too. Ceilings are left out: they
        decide whether a run goes on, not what comes out, and so are caches. Of an index that is written it says that there
        is one."""
        files = {role.partition("/")[0] for role in self.artifacts}
        portable = {
            key: self._portable(key, value) if key in files else value
            for key, value in self.options.items()
            if key not in (GUARDS if self.kind == "job" else _APART)
        }
        places = {key for key in _PLACES if self.kind == "job" and key in portable}
        return portable | {key: portable[key] is not None for key in places}

    def _portable(self, key: str, value: Any) -> Any:
        if self.kind == "job" and key in _HELD_AGAINST:
            return [self.artifacts[role] for role in sorted(self.artifacts) if role.startswith(f"{key}/")]
        return _name_alone(value)

    def identity(self) -> list[Any]:
        """What decides this step's output."""
        return [
            self.name,
            self.use,
            self.portable_options,
            self.version,
            self.when,
            self.filters,
            dict(self.artifacts),
            *self._over,
        ]

    def decides(self) -> list[Any]:
        """What decides about documents, of a job: its identity without that by which it marks them afterwards."""
        options = {k: v for k, v in self.portable_options.items() if k not in _MARKING}
        return [self.name, self.use, options, self.version, self.when, dict(self.artifacts), *self._over]

    def maps(self, mapping: Mapping[str, Any] | None) -> list[Any]:
        """What decides the records of a job's mapper. mapping: as in `Job.mapping`."""
        if mapping is None:
            return self.decides()
        return [self.name, self.use, dict(mapping), self.version, self.when, *self._over]

    @property
    def _over(self) -> list[Any]:
        """Nothing for a step over documents, whose identity is older than `over:`."""
        return [] if self.over is None else [{"over": self.over}]


@dataclass(frozen=True)
class OutputPlan:
    """One published data set. columns: published name → global name; path is absolute. seed: of the shuffle, or None. unit:
    the column of spans whose passages are its rows; None: its rows are documents."""

    name: str
    path: str
    where: str | None
    partition_by: str | None
    shard_bytes: int
    row_group_bytes: int
    seed: int | None
    preset: str | None
    columns: tuple[tuple[str, str], ...]
    licence: str | None = None
    title: str | None = None
    unit: str | None = None

    def selection(self) -> list[Any]:
        """What decides which rows are published and how they are counted."""
        return [self.name, self.where, self.partition_by, *([self.unit] if self.unit is not None else [])]

    def provenance(self) -> dict[str, Any]:
        """What its files say about how it was arranged: everything but the path."""
        return {
            "name": self.name,
            "where": self.where,
            "partition_by": self.partition_by,
            "shard": self.shard_bytes,
            "row_group": self.row_group_bytes,
            "shuffle": self.seed,
            "columns": self.preset or [list(c) for c in self.columns],
            **({"unit": self.unit} if self.unit is not None else {}),
        }

    @property
    def exchanged(self) -> bool:
        """Whether rows change places on the way: with a shuffle or partitions, an exchange comes before the writing."""
        return self.seed is not None or self.partition_by is not None

    def arrangement(self) -> list[Any]:
        """What decides in which file and order they stand, and as what."""
        return [
            self.shard_bytes,
            self.row_group_bytes,
            self.seed,
            self.preset,
            [list(c) for c in self.columns],
        ]


@dataclass(frozen=True)
class Phase:
    """Independent units of one kind.

    steps: of a pass; output: the name of the output a publish phase works for; corpus: whether each unit depends on the
    whole input. job: the one whose mapper ends a pass, or whose reduce phase this is; partitions: of its records. source:
    the phase whose exchange files a reduce phase, or the marks at the head of a pass, read. makes: a folder outside the run
    folder that a reduce phase makes, absolute. passing: whether a reduce phase's records go once the next phase is done.
    """

    name: str
    kind: PhaseKind
    fingerprint: str
    steps: tuple[StepPlan, ...] = ()
    output: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    corpus: bool = False
    job: StepPlan | None = None
    partitions: int = 0
    source: str | None = None
    makes: str | None = None
    passing: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything a worker needs besides the manifest. source: the schema of the documents as read, serialised, base64."""

    name: str
    version: str
    language: str | None
    source: str
    inputs: tuple[InputSpec, ...]
    phases: tuple[Phase, ...]
    outputs: tuple[OutputPlan, ...]
    models: str
    local_tmp: str | None
    offline: bool
    config: Mapping[str, Any]
    words: Words = UNICODE
    format: int = FORMAT

    def phase(self, name: str) -> Phase:
        return next(p for p in self.phases if p.name == name)

    def output(self, name: str) -> OutputPlan:
        return next(o for o in self.outputs if o.name == name)

    @cached_property
    def source_schema(self) -> pa.Schema:
        """Columns of the documents as they are read."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.source)))

    @property
    def passes(self) -> tuple[Phase, ...]:
        return tuple(p for p in self.phases if p.kind == "pass")

    def mapping(self, job: str) -> Phase:
        """The pass that ends with the mapper of the job of that name."""
        return next(p for p in self.passes if p.job is not None and p.job.name == job)

    @property
    def steps(self) -> tuple[StepPlan, ...]:
        return tuple(s for p in self.passes for s in p.steps)

    @property
    def passages(self) -> bool:
        """Whether a step or an output looks at passages."""
        return any(s.over is not None for s in self.steps) or any(o.unit is not None for o in self.outputs)

    def steps_before(self, name: str) -> tuple[StepPlan, ...]:
        """The steps before the one of that name."""
        names = [s.name for s in self.steps]
        return self.steps[: names.index(name)]

    def places(self) -> dict[str, str]:
        """Of each step that comes after one which wrote places in the text (spans), the first such column."""
        found: dict[str, str] = {}
        first = None
        for step in self.steps:
            if first is not None:
                found[step.name] = first
            if first is None:
                first = next((c for c, kind in step.writes.items() if "struct<start: " in kind), None)
        return found

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Plan:
        raw = json.loads(text)
        return Plan(
            **{
                **raw,
                "inputs": tuple(_input(i) for i in raw["inputs"]),
                "phases": tuple(_phase(p) for p in raw["phases"]),
                "outputs": tuple(
                    OutputPlan(**{**o, "columns": tuple((a, b) for a, b in o["columns"])})
                    for o in raw["outputs"]
                ),
            }
        )


def _name_alone(value: Any) -> Any:
    """A path's name, or the names of several; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [_name_alone(part) for part in value]
    return PurePath(value).name if isinstance(value, str) else value


def _input(raw: dict[str, Any]) -> InputSpec:
    columns = {name: ColumnSpec(**spec) for name, spec in raw["columns"].items()}
    return InputSpec(**{**raw, "paths": tuple(raw["paths"]), "columns": columns})


def _phase(raw: dict[str, Any]) -> Phase:
    job = _step(raw["job"]) if raw.get("job") is not None else None
    return Phase(**{**raw, "steps": tuple(_step(s) for s in raw["steps"]), "job": job})


def _step(raw: dict[str, Any]) -> StepPlan:
    return StepPlan(**{**raw, "reads": tuple(raw["reads"]), "snapshot": tuple(raw.get("snapshot", ()))})


def packed_schema(schema: pa.Schema) -> str:
    """A schema as text for a plan."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


#: `json.dumps` with options makes one for each call, which was half the time of 100,000 digests.
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=True)


def digest(*parts: Any) -> str:
    """SHA-256 of parts as canonical JSON, hex."""
    return hashlib.sha256(_CANONICAL.encode(parts).encode()).hexdigest()


def even_tasks(sizes: Mapping[int, int]) -> int:
    """How many tasks so that the longest takes no more than twice the median: one for each unit, if units are so already;
    else fewer, with small units together, as no number makes the longest unit shorter.

    By `pack`, the lightest task is behind the longest by no more than what was put into that one last: by half of it, if
    that was not all. One unit that is the longest task alone is no longer than the mean, so all are equal.
    """
    if not sizes:
        return 1
    longest = max(sizes.values())
    if longest <= 2 * statistics.median(sizes.values()):
        return len(sizes)
    return max(1, min(len(sizes), sum(sizes.values()) // longest))


def pack(sizes: Mapping[int, int], tasks: int) -> list[list[int]]:
    """Divide units into at most `tasks` tasks of about equal size, each with at least one unit.

    sizes: unit → bytes. Longest first onto the lightest task; deterministic. Units within a task are in order.
    """
    count = max(1, min(tasks, len(sizes)))
    heap = [(0, 0, index) for index in range(count)]
    members: list[list[int]] = [[] for _ in range(count)]
    for unit in sorted(sizes, key=lambda u: (-sizes[u], u)):
        load, held, index = heapq.heappop(heap)
        members[index].append(unit)
        heapq.heappush(heap, (load + sizes[unit], held + 1, index))
    return [sorted(m) for m in members if m]
