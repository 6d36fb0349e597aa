"""When a job would remove more than its ceilings allow: the run stops, with pairs to look at.

`<run>/ceilings/<job>.txt` has ten pairs for each ceiling that is passed, each with its similarity and the beginning of both
texts; the error names the first of them. They are taken from up to ten shards spread over the input, by a hash of `doc`, so
that they show what is typical, whatever the tasks and workers. Raise the ceiling and run again: the job's phases are done
and stay.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from curate.core.ceilings import Excess, added_up, exceeded
from curate.core.commit import Done, write_atomically
from curate.core.compaction import read_counters
from curate.core.errors import CurateError, Problem
from curate.core.exchange import ExchangeReader
from curate.core.layout import RunFolder
from curate.core.objects import Place
from curate.core.plan import Phase, Plan
from curate.core.stage import Job
from curate.running.checks import Looked, looked_at
from curate.running.jobs import found_records
from curate.running.steps import build_job
from curate.views.documents import Document, Documents, excerpt, published_document
from curate.views.run_state import read_run

#: Pairs for each ceiling, those that the message names, and characters of their texts.
PAIRS: Final = 10
_NAMED: Final = 2
EXCERPT: Final = 200
_NAMED_EXCERPT: Final = 40


class Pair(NamedTuple):
    """A document that would be removed, and the one that would survive it. similarity: None if nobody measured it."""

    doc: int
    survivor: int
    similarity: float | None


def check_ceilings(plan: Plan, folder: RunFolder, phase: Phase, done: Mapping[int, Done]) -> None:
    """R311 for every ceiling that the job would pass."""
    assert phase.job is not None
    job = build_job(phase.job)
    units = {unit: c["removals"] for unit, c in read_counters(folder, phase.name, done)}
    ceilings = job.ceilings()
    found = exceeded(ceilings, added_up(units.values())) if ceilings is not None else []
    if not found:
        return
    path = folder.evidence(phase.job.name)
    documents = Documents(read_run(folder.root))
    sections, problems = [], []
    for excess in found:
        pairs = list(_shown(documents, job, _pairs(documents, phase, job, excess, units)))
        message = f"{phase.job.name}: {excess.message}"
        sections.append(f"{message}\n\n" + "\n".join(_lines(pairs)))
        examples = "; ".join(_example(*pair) for pair in pairs[:_NAMED])
        help = (
            f"look at {path} and at `curate dedup pairs {shlex.quote(_called(folder.root))}`; if these are duplicates, "
            f"set `{excess.option}: {excess.raised:g}` and run again: what is done stays"
        )
        problems.append(Problem("R311", f"{message}. {examples}", help, context={"phase": phase.name}))
    write_atomically(path, "\n".join(sections))
    raise CurateError(problems)


def _called(root: Place) -> str:
    return root.name if root == Path("runs", root.name).absolute() else str(root)


def _pairs(
    documents: Documents, phase: Phase, job: Job[Any], excess: Excess, units: Mapping[int, Mapping[str, Any]]
) -> list[Pair]:
    """Pairs that show what a ceiling was passed by."""

    def removed(unit: int) -> int:
        counts = units[unit]
        if excess.kind is None:
            return int(counts["removed"])
        return int(counts["groups"].get(excess.kind, {}).get(excess.group, (0, 0))[1])

    having = [unit for unit in sorted(units) if removed(unit)]
    spread = dict.fromkeys(having[i * len(having) // PAIRS] for i in range(PAIRS)) if having else {}
    found: list[list[Pair]] = []
    # A cluster may lie in a few shards only.
    for unit in having if excess.cluster is not None else spread:
        found.append(_pairs_in(documents, phase, job, excess, unit))
        if excess.cluster is not None and sum(map(len, found)) >= PAIRS:
            break
    pairs: list[Pair] = []
    for place in range(PAIRS):
        pairs += [some[place] for some in found if place < len(some)]
    return sorted(pairs[:PAIRS])


def _pairs_in(documents: Documents, phase: Phase, job: Job[Any], excess: Excess, unit: int) -> list[Pair]:
    """At most `PAIRS` of one shard, by a hash of `doc`."""
    assert phase.source is not None
    source = documents.run.phase(phase.source).done
    readers = [
        ExchangeReader(d.outputs["rows"].ranges(documents.folder), d.outputs["rows"].checksum)
        for _, d in sorted(source.items())
    ]
    best: list[tuple[int, Pair]] = []
    for part in looked_at(documents.space, phase, job, found_records(readers, unit), unit):
        rows = np.flatnonzero(_asked_for(part, excess))
        docs = part.docs.to_numpy()[rows]
        order = _scattered(docs)
        for at in np.argsort(order, kind="stable")[:PAIRS].tolist():
            row = int(rows[at])
            survivor = part.marks["survivor"][row].as_py()
            similarity = part.marks["similarity"][row].as_py() if "similarity" in part.marks else None
            best.append((int(order[at]), Pair(int(docs[at]), survivor, similarity)))
        best = sorted(best)[:PAIRS]
    return [pair for _, pair in best]


def _asked_for(part: Looked, excess: Excess) -> npt.NDArray[np.bool_]:
    """The removed documents that a ceiling is about."""
    mask = part.removed & part.marks["survivor"].is_valid().to_numpy(zero_copy_only=False)
    for column, value in (
        (part.groups.get(excess.kind or ""), excess.group),
        (part.marks.get("cluster"), excess.cluster),
    ):
        if value is not None and column is not None:
            same = pc.fill_null(pc.equal(column, value), False)
            mask = mask & same.to_numpy(zero_copy_only=False)
    return mask


def _scattered(docs: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """A hash, so that pairs are not all from the beginning of a file."""
    mixed = docs.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)


def _shown(
    documents: Documents, job: Job[Any], pairs: Sequence[Pair]
) -> Iterator[tuple[Pair, Document, Document]]:
    wanted = sorted({doc for pair in pairs for doc in (pair.doc, pair.survivor) if doc >= 0})
    known = dict(zip(wanted, documents.fetch(wanted), strict=True))
    for pair in pairs:
        survivor = known[pair.survivor] if pair.survivor >= 0 else published_document(job, pair.survivor)
        yield pair, known[pair.doc], survivor


def _example(pair: Pair, removed: Document, survivor: Document) -> str:
    texts = [f"{d.id} “{excerpt((d.text or '').strip(), _NAMED_EXCERPT)}”" for d in (removed, survivor)]
    return f"{texts[0]} would go for {texts[1]}{_alike(pair)}"


def _alike(pair: Pair) -> str:
    return f", similarity {pair.similarity:.2f}" if pair.similarity is not None else ""


def _lines(pairs: Sequence[tuple[Pair, Document, Document]]) -> Iterator[str]:
    for number, (pair, removed, survivor) in enumerate(pairs, start=1):
        yield f"{number}{_alike(pair)}"
        for role, document in (("removed", removed), ("survivor", survivor)):
            source = document.own.get("source")
            facts = [f"doc:{document.doc}", *([f"source {source}"] if source else []), document.language]
            yield f"   {role:<8} {document.id} ({', '.join(facts)})"
            yield f"            {excerpt(document.text or '', EXCERPT)}"
        yield ""
