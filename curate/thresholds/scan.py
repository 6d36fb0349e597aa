"""What the rules of a run measured: distributions, and documents that fail bounds, by language.

Overlays are read a stretch of rows at a time, only the columns of the rules, shard by shard; shards that a pass has not
finished are left out. A row counts for a filter if one of the filter's columns has a value: rows dropped before it, and
rows outside its `when:`, have none. A row's language is the one that the filter knew; before any is identified it is `und`,
and in a run that identifies none, `default`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import UNDETERMINED
from curate.core.overlay import OverlayReader, doc_numbers
from curate.core.plan import Phase
from curate.running.ledger import language_codes
from curate.thresholds.distribution import Distribution
from curate.thresholds.rules import DEFAULT, Bounds, Filter, Side
from curate.views.documents import Documents

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

#: The bounds that a filter's documents in a language are held against.
BoundsOf = Callable[[Filter, str], Bounds]

#: Types of columns that can be measurements, as a plan writes them.
NUMBERS: Final = frozenset(
    {*(f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64)), "float", "double", "bool"}
)


@dataclass
class Measured:
    """One filter in one language. failed: documents by the rule's side, `any_failed`: that fail one or more.

    measured: documents that have a value, by column.
    """

    documents: int = 0
    any_failed: int = 0
    measured: dict[str, int] = field(default_factory=dict)
    failed: dict[Side, int] = field(default_factory=dict)
    distributions: dict[str, Distribution] = field(default_factory=dict)


#: Filter's name → language → what it measured.
Measurements = dict[str, dict[str, Measured]]


@dataclass(frozen=True)
class _Part:
    """What one pass measured of one filter. columns: global names, in order."""

    filter: Filter
    columns: tuple[str, ...]


def scan(
    documents: Documents,
    filters: Sequence[Filter],
    bounds: BoundsOf,
    *,
    distributions: bool = False,
    languages: frozenset[str] | None = None,
) -> Measurements:
    """Counts against `bounds`, and the distributions if asked for; of these languages only, or all."""
    found: Measurements = {filter.name: {} for filter in filters}
    parts = {phase.phase.name: _parts(phase.phase, filters) for phase in documents.run.passes}
    for shard in documents.manifest.shards:
        for phase, path in documents.overlays(shard.number):
            if parts[phase.name]:
                reader = OverlayReader(path, _columns(documents, phase, parts[phase.name]))
                look_up = language_of(documents, phase, shard.number)
                for record in reader:
                    names, codes = look_up(record)
                    for part in parts[phase.name]:
                        target = found[part.filter.name]
                        _count(part, record, names, codes, bounds, target, distributions, languages)
    return found


def measured_columns(documents: Documents, filters: Sequence[Filter]) -> set[str]:
    """The rules' columns that are in the run's overlays."""
    parts = (part for phase in documents.run.passes for part in _parts(phase.phase, filters))
    return {column for part in parts for column in part.columns}


def _parts(phase: Phase, filters: Sequence[Filter]) -> list[_Part]:
    numbers = {name for step in phase.steps for name, kind in step.writes.items() if kind in NUMBERS}
    parts = [_Part(filter, tuple(c for c in filter.columns if c in numbers)) for filter in filters]
    return [part for part in parts if part.columns]


def _columns(documents: Documents, phase: Phase, parts: Sequence[_Part]) -> list[str]:
    columns = {column for part in parts for column in part.columns}
    language = documents.plan.language
    if language is not None and any(language in step.writes for step in phase.steps):
        columns.add(language)
    return sorted(columns)


def language_of(
    documents: Documents, phase: Phase, shard: int
) -> Callable[[pa.RecordBatch], tuple[tuple[str, ...], Codes]]:
    """From rows of the pass's overlay to their languages: the different ones, and each row's index into them."""
    language = documents.plan.language
    if language is None:
        return lambda record: ((DEFAULT,), np.zeros(record.num_rows, np.int64))
    if any(language in step.writes for step in phase.steps):
        return lambda record: language_codes(record.column(language), record.num_rows)
    known = documents.languages(shard)
    if known is None:
        return lambda record: ((UNDETERMINED,), np.zeros(record.num_rows, np.int64))
    docs, column = known
    names, codes = language_codes(column, len(docs))

    def joined(record: pa.RecordBatch) -> tuple[tuple[str, ...], Codes]:
        return names, codes[np.searchsorted(docs, doc_numbers(record))]

    return joined


def _count(
    part: _Part,
    record: pa.RecordBatch,
    names: tuple[str, ...],
    codes: Codes,
    bounds: BoundsOf,
    target: dict[str, Measured],
    distributions: bool,
    wanted: frozenset[str] | None,
) -> None:
    """One stretch of rows of one filter. names, codes: int64[rows], the rows' languages."""
    if not part.filter.knows_language and names != (DEFAULT,):
        names, codes = (UNDETERMINED,), np.zeros(record.num_rows, np.int64)
    values = {column: floats(record.column(column)) for column in part.columns}
    reached = ~np.logical_and.reduce([np.isnan(v) for v in values.values()])
    for rows, language in by_language(names, codes, reached):
        if wanted is not None and language not in wanted:
            continue
        measured = target.setdefault(language, Measured())
        here = {column: column_values[rows] for column, column_values in values.items()}
        measured.documents += len(rows)
        for column, column_values in here.items():
            present = int(np.count_nonzero(~np.isnan(column_values)))
            measured.measured[column] = measured.measured.get(column, 0) + present
            if distributions:
                measured.distributions.setdefault(column, Distribution()).add(column_values)
        any_failed = np.zeros(len(rows), np.bool_)
        for side, bound in bounds(part.filter, language).items():
            if side.column in here:
                # A comparison with nan, which is nothing measured, is false.
                below = side.name == "minimum"
                failed = here[side.column] < bound if below else here[side.column] > bound
                measured.failed[side] = measured.failed.get(side, 0) + int(np.count_nonzero(failed))
                any_failed |= failed
        measured.any_failed += int(np.count_nonzero(any_failed))


def floats(column: pa.Array) -> Floats:
    """float64[rows], nan for null."""
    values: Floats = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def by_language(
    names: tuple[str, ...], codes: Codes, reached: npt.NDArray[np.bool_]
) -> Iterator[tuple[Codes, str]]:
    """The positions of the rows of each language that has some."""
    rows = np.flatnonzero(reached)
    order = rows[np.argsort(codes[rows], kind="stable")]
    present, starts = np.unique(codes[order], return_index=True)
    for code, part in zip(present, np.split(order, starts[1:]) if len(order) else (), strict=True):
        yield part, names[code]


def totals(measurements: Measurements) -> Mapping[str, int]:
    """Language → documents, by the filter that most of them reached."""
    found: dict[str, int] = {}
    for by_language in measurements.values():
        for language, measured in by_language.items():
            found[language] = max(found.get(language, 0), measured.documents)
    return found
