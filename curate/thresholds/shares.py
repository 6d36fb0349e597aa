"""What thresholds on a score would keep, by language: the table of `curate thresholds --quantiles`.

In: the overlays of a run, finished or not. A score column is one that a step wrote and whose name ends in `score`, or any
column of numbers that is asked for. Out, ready for JSON:

    columns    column → language → documents and bytes with a value, and for each of ten quantiles the threshold, and the
               documents and bytes whose value reaches it
    left_out   column → languages with too few documents → how many

The documents are those that have a value, whether a later step dropped them or not (`over: entering` of
`filters.quantile`). A threshold is the greatest value that at most that share of the documents is below, so of equal values
all or none are kept, where `filters.quantile` goes by `doc`. Bytes are those of the text as it left the pass.

The overlays are read twice, only these columns: for the thresholds, of which those of more than 8,192 different values are
known to a relative 2⁻¹⁰ or better (`curate.thresholds.distribution`), and for exact counts at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curate.core.errors import error
from curate.core.overlay import TEXT_BYTES, OverlayReader
from curate.core.plan import Phase
from curate.core.suggest import did_you_mean
from curate.thresholds.distribution import Distribution
from curate.thresholds.scan import NUMBERS, by_language, floats, language_of
from curate.views.documents import Documents

#: Shares of the documents below a threshold.
QUANTILES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_SCORE: Final = "score"

Floats = npt.NDArray[np.float64]


def score_columns(documents: Documents, wanted: Sequence[str] = ()) -> list[str]:
    """Those asked for, or all that the run's steps have scores in; C201 if there is none of that name, or none at all."""
    kinds = {name: kind for step in documents.plan.steps for name, kind in step.writes.items()}
    numbers = [name for name, kind in kinds.items() if kind in NUMBERS]
    for name in wanted:
        if name not in numbers:
            near = did_you_mean(name, numbers)
            raise error(
                "C201",
                f"no step of the run wrote a column of numbers '{name}'",
                help=f"did you mean '{near}'?" if near else f"columns of numbers: {', '.join(numbers[:12])}",
            )
    found = list(dict.fromkeys(wanted)) or [name for name in numbers if name.endswith(_SCORE)]
    if not found:
        raise error(
            "C201",
            "no step of the run wrote a score",
            help="name columns of numbers with --columns, or score with filters.quality",
        )
    return found


def shares(
    documents: Documents,
    columns: Sequence[str],
    *,
    min_docs: int = 1,
    languages: frozenset[str] | None = None,
) -> dict[str, Any]:
    """The table. languages: only these, or all; those with fewer than `min_docs` documents are left out."""
    distributions: dict[str, dict[str, Distribution]] = {column: {} for column in columns}
    for column, language, values, _ in _values(documents, columns, languages):
        distributions[column].setdefault(language, Distribution()).add(values)
    table: dict[str, Any] = {"run": documents.plan.name, "columns": {}, "left_out": {}}
    limits: dict[tuple[str, str], Floats] = {}
    for column, found in distributions.items():
        ordered = sorted(found.items(), key=lambda item: (-item[1].count, item[0]))
        table["left_out"][column] = {name: d.count for name, d in ordered if d.count < min_docs}
        table["columns"][column] = {}
        for language, distribution in ordered:
            if distribution.count >= min_docs:
                at = [distribution.minimum_for(q * distribution.count) for q in QUANTILES]
                limits[column, language] = np.array(at)
                table["columns"][column][language] = _entry(at)
    for column, language, values, sizes in _values(documents, columns, languages):
        if (column, language) in limits:
            _count(table["columns"][column][language], limits[column, language], values, sizes)
    return table


def _entry(limits: Sequence[float]) -> dict[str, Any]:
    thresholds = [
        {"quantile": quantile, "threshold": limit, "documents": 0, "bytes": 0}
        for quantile, limit in zip(QUANTILES, limits, strict=True)
    ]
    return {"documents": 0, "bytes": 0, "thresholds": thresholds}


def _count(entry: dict[str, Any], limits: Floats, values: Floats, sizes: npt.NDArray[np.int64]) -> None:
    """Add rows. A value passes the first so many thresholds, since they ascend."""
    passed = np.searchsorted(limits, values, side="right")
    rows = np.bincount(passed, minlength=len(limits) + 1)
    size = np.zeros(len(limits) + 1, np.int64)
    np.add.at(size, passed, sizes)
    entry["documents"] += len(values)
    entry["bytes"] += int(size.sum())
    for number, threshold in enumerate(entry["thresholds"], start=1):
        threshold["documents"] += int(rows[number:].sum())
        threshold["bytes"] += int(size[number:].sum())


def _values(
    documents: Documents, columns: Sequence[str], wanted: frozenset[str] | None
) -> Iterator[tuple[str, str, Floats, npt.NDArray[np.int64]]]:
    """Column, language, values without nan, and the bytes of their texts; a stretch of rows at a time."""
    for shard in documents.manifest.shards:
        for phase, path in documents.overlays(shard.number):
            here = [c for c in columns if any(c in step.writes for step in phase.steps)]
            if not here:
                continue
            look_up = language_of(documents, phase, shard.number)
            for record in OverlayReader(path, [*here, TEXT_BYTES, *_language(documents, phase)]):
                names, codes = look_up(record)
                sizes = record.column(TEXT_BYTES).fill_null(0).to_numpy(zero_copy_only=False)
                for column in here:
                    values = floats(record.column(column))
                    for rows, language in by_language(names, codes, ~np.isnan(values)):
                        if wanted is None or language in wanted:
                            yield column, language, values[rows], sizes[rows]


def _language(documents: Documents, phase: Phase) -> list[str]:
    name = documents.plan.language
    return [name] if name is not None and any(name in step.writes for step in phase.steps) else []
