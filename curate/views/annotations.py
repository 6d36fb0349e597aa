"""The labels that a run's judges gave, by judge and language."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.columns import UNDETERMINED, qualified
from curate.views.documents import Documents

_JUDGE: Final = "filters.llm_judge"


@dataclass(frozen=True)
class Row:
    """counts: documents with each of the judge's whole values; between: with a mean of votes that is none of them; none:
    without a label."""

    documents: int
    counts: tuple[int, ...]
    between: int
    none: int
    mean: float | None


@dataclass(frozen=True)
class Judge:
    """values: the whole labels that were given."""

    name: str
    values: tuple[float, ...]
    languages: dict[str, Row]


@dataclass(frozen=True)
class Annotations:
    """agreement: two judges, the share of documents to which both gave a label and the same one, and how many those are."""

    judges: tuple[Judge, ...]
    agreement: tuple[tuple[str, str, float, int], ...]
    outputs: tuple[str, ...]


def read_annotations(documents: Documents) -> Annotations:
    """From the documents that are left in a finished run."""
    plan = documents.plan
    names = [step.name for step in plan.steps if step.use == _JUDGE]
    columns = [qualified(name, "score") for name in names]
    language = plan.language
    read = columns if language is None else [*columns, language]
    found: list[npt.NDArray[np.float64]] = []
    languages: list[str | None] = []
    for shard in documents.manifest.shards:
        for record in documents.space.view(shard.number).batches(read):
            if language is not None:
                languages += record.column(language).to_pylist()
            else:
                languages += [None] * record.num_rows
            labels = [record.column(c).cast(pa.float64()).to_numpy(zero_copy_only=False) for c in columns]
            found.append(np.stack(labels))
    scores = np.concatenate(found, axis=1) if found else np.empty((len(names), 0))
    known = np.array([code or UNDETERMINED for code in languages], object)
    judges = tuple(_judge(name, row, known) for name, row in zip(names, scores, strict=True))
    agreement = []
    for (one, first), (other, second) in combinations(zip(names, scores, strict=True), 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        if both.any():
            agreement.append((one, other, float((first == second)[both].mean()), int(both.sum())))
    return Annotations(judges, tuple(agreement), tuple(output.path for output in plan.outputs))


def _judge(name: str, scores: npt.NDArray[np.float64], languages: npt.NDArray[np.object_]) -> Judge:
    whole = tuple(np.unique(scores[scores == np.rint(scores)]).tolist())
    rows = {}
    codes, counts = np.unique(languages.astype(str), return_counts=True)
    for code in codes[np.lexsort((codes, -counts))].tolist():
        part = scores[languages == code]
        labelled = part[~np.isnan(part)]
        given = tuple(int((labelled == value).sum()) for value in whole)
        mean = float(labelled.mean()) if len(labelled) else None
        rows[code] = Row(len(part), given, len(labelled) - sum(given), len(part) - len(labelled), mean)
    return Judge(name, whole, rows)
