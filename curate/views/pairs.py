"""Pairs of a deduplication: which documents it compared, what came of it, and by which chain a document was removed.

Read from what the job's phases left in the run folder, so it works on a finished run and on one that a ceiling stopped:

    <job>.link          candidates: documents that share a bucket
    <job>.verify        those at or over the bound, with their similarity, and pairs that were found among the rejected
    <job>.group         of `dedup.exact`: documents that are equal
    the last phase      cluster, survivor
    the mapper's pass   keys of the bands, and the evidence by which a rejected pair is compared once more

A verdict is `verified`, `rejected` (under the bound), `restarred` (rejected around one document, verified around
another), `believed` (`verify: none`) or `equal`. A published document of `against:` has a number below 0.

Numbers: 16 to 24 bytes of memory for each pair that fits the request; a rejected pair's similarity is computed when it is
shown, or for all of them if similarities are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.errors import CurateError
from curate.core.exchange import ExchangeReader
from curate.core.manifest import shard_of
from curate.core.plan import StepPlan
from curate.core.stage import Job
from curate.running.steps import build_job
from curate.views.documents import Document, Documents, published_document, raise_if_another
from curate.views.explain import first_line
from curate.views.run_state import PhaseState

Int64s = npt.NDArray[np.int64]
Verdict = Literal["verified", "rejected", "restarred", "believed", "equal"]

_VERDICTS: Final[tuple[Verdict, ...]] = ("verified", "rejected", "restarred", "believed", "equal")
_VERIFIED, _REJECTED, _RESTARRED, _BELIEVED, _EQUAL = range(5)


class Edges(NamedTuple):
    """Pairs: int64[pairs] each, similarity float32 with NaN where it is unknown, verdict int8 into `_VERDICTS`."""

    doc: Int64s
    other: Int64s
    similarity: npt.NDArray[np.float32]
    verdict: npt.NDArray[np.int8]

    def at(self, chosen: npt.NDArray[Any]) -> Edges:
        return Edges(*(column[chosen] for column in self))


@dataclass(frozen=True)
class Wanted:
    """What is asked for. docs: pairs with one of these, None for all; similarities are those of the pairs."""

    docs: tuple[int, ...] | None = None
    limit: int = 20
    minimum: float | None = None
    maximum: float | None = None


def deduplications(documents: Documents) -> list[StepPlan]:
    """The jobs of a run whose pairs can be shown, in order."""
    return [
        s for s in documents.plan.steps if s.kind == "job" and "survivor" in {_local(c) for c in s.writes}
    ]


def _local(column: str) -> str:
    return column.partition("__")[2]


class Pairs:
    """The pairs of one job of a run."""

    def __init__(self, documents: Documents, step: StepPlan) -> None:
        self._documents, self._step = documents, step
        self._phases = {
            p.phase.name.removeprefix(f"{step.name}."): p
            for p in documents.run.phases
            if p.phase.kind == "reduce" and p.phase.makes is None
            if p.phase.job is not None and p.phase.job.name == step.name
        }
        self._job = build_job(step)
        self._mapping = documents.run.phase(documents.plan.mapping(step.name).name)

    @property
    def pending(self) -> str | None:
        """The first phase of the job that is not finished; None if all are."""
        return next((p.phase.name for p in self._phases.values() if not p.complete), None)

    def show(self, wanted: Wanted) -> dict[str, Any]:
        """`step pending found pairs[]`, and `documents[]` about each document that was asked for."""
        edges = self._chosen(wanted)
        order = np.lexsort((edges.other, edges.doc))[: wanted.limit]
        shown = self._measured(edges.at(order))
        lives = [self._life(doc, wanted.limit) for doc in wanted.docs or ()]
        mentioned = {int(d) for d in (*shown.doc, *shown.other)}
        mentioned |= {link["doc"] for life in lives for link in (*life["chain"], *life["members"])}
        mentioned |= set(wanted.docs or ())
        numbers = sorted(number for number in mentioned if number >= 0)
        known = dict(zip(numbers, self._documents.fetch(numbers), strict=True))
        known |= {number: published_document(self._job, number) for number in mentioned if number < 0}
        found = self._found(numbers)
        keys = self._keys(numbers)

        def described(doc: int) -> dict[str, Any]:
            return _described(known[doc], found.get(doc), complete=self.pending is None)

        pairs = []
        for doc, other, similarity, verdict in zip(*(c.tolist() for c in shown), strict=True):
            shared = len(keys[doc] & keys[other]) if doc in keys and other in keys else None
            pairs.append(
                {
                    "verdict": _VERDICTS[verdict],
                    "similarity": None if np.isnan(similarity) else similarity,
                    "shared_bands": shared,
                    "cluster": found.get(doc, {}).get("cluster"),
                    "same_cluster": _same(found.get(doc), found.get(other)),
                    "documents": [described(doc), described(other)],
                }
            )
        for life in lives:
            life["document"] = described(life.pop("doc"))
            for link in (*life["chain"], *life["members"]):
                link.update(described(link["doc"]))
        return {
            "step": self._step.name,
            "pending": self.pending,
            "found": len(edges.doc),
            "pairs": pairs,
            "documents": lives,
        }

    def _chosen(self, wanted: Wanted) -> Edges:
        """All pairs that fit."""
        docs = np.array(wanted.docs, np.int64) if wanted.docs is not None else None
        edges = self._edges(docs)
        if wanted.minimum is None and wanted.maximum is None:
            return edges
        edges = self._measured(edges)
        low, high = wanted.minimum or 0.0, wanted.maximum if wanted.maximum is not None else 1.0
        known = ~np.isnan(edges.similarity)
        return edges.at(
            known & (edges.similarity >= np.float32(low)) & (edges.similarity <= np.float32(high))
        )

    def _edges(self, docs: Int64s | None) -> Edges:
        if "group" in self._phases:
            return self._read("group", "survivor", docs, _EQUAL)
        if "verify" not in self._phases:
            return _once(self._read("link", "other", docs, _BELIEVED))
        candidates = _once(self._read("link", "other", docs, _REJECTED))
        # Two published documents both stay, however alike they are.
        candidates = candidates.at((candidates.doc >= 0) | (candidates.other >= 0))
        verified = _once(self._read("verify", "other", docs, _VERIFIED))
        again = ~_among(verified, candidates)
        verified.verdict[again] = _RESTARRED
        if not self._phases["verify"].complete:
            return verified
        return _joined([verified, candidates.at(~_among(candidates, verified))])

    def _read(self, phase: str, other: str, docs: Int64s | None, verdict: int) -> Edges:
        parts = []
        for batch in self._batches(phase):
            if other == "survivor":
                batch = batch.filter(batch.column(other).is_valid())  # noqa: PLW2901  # the survivor's own record
            shards = len(self._documents.manifest.shards)
            ones, others = (self._job.named(batch.column(n), shards).to_numpy() for n in ("doc", other))
            alike = np.full(len(ones), np.nan, np.float32)
            if "similarity" in batch.schema.names and verdict == _VERIFIED:
                alike = batch.column("similarity").to_numpy()
            edges = Edges(ones, others, alike, np.full(len(ones), verdict, np.int8))
            parts.append(edges if docs is None else edges.at(np.isin(ones, docs) | np.isin(others, docs)))
        return _joined(parts)

    def _batches(self, phase: str, partition: int | None = None) -> Iterator[pa.RecordBatch]:
        """What a phase of the job left, all of it or one partition."""
        for unit in sorted(self._phases[phase].done):
            yield from self._in_file(self._phases[phase], unit, "rows", partition)

    def _in_file(
        self, phase: PhaseState, unit: int, role: str, partition: int | None
    ) -> Iterator[pa.RecordBatch]:
        place = self._documents.run.place(phase, unit, role)
        reader = ExchangeReader(place, phase.done[unit].outputs[role].checksum)
        for wanted in reader.partitions() if partition is None else (partition,):
            yield from reader.batches(wanted)

    def _found(self, docs: Iterable[int]) -> dict[int, dict[str, Any]]:
        """What the last phase says about these documents: `cluster cluster_size survivor partner similarity`."""
        last = list(self._phases)[-1]
        rows: dict[int, dict[str, Any]] = {}
        shards: dict[int, list[int]] = {}
        for doc in docs:
            shards.setdefault(shard_of(doc), []).append(doc)
        for shard, members in shards.items():
            for batch in self._batches(last, shard):
                for row in batch.filter(_isin(batch.column("doc"), members)).to_pylist():
                    rows[row["doc"]] = row
        return rows

    def _keys(self, docs: Iterable[int]) -> dict[int, set[int]]:
        """The keys of the bands of these documents; nothing for a job without bands."""
        keys: dict[int, set[int]] = {}
        shards: dict[int, list[int]] = {}
        for doc in docs:
            shards.setdefault(shard_of(doc), []).append(doc)
        for shard, members in shards.items():
            if shard not in self._mapping.done:
                continue
            for batch in self._in_file(self._mapping, shard, "rows", None):
                if "key" not in batch.schema.names:
                    return {}
                here = batch.filter(_isin(batch.column("doc"), members))
                for doc, key in zip(*(here.column(n).to_pylist() for n in ("doc", "key")), strict=True):
                    keys.setdefault(doc, set()).add(key)
        return keys

    def _measured(self, edges: Edges) -> Edges:
        """With the similarity of rejected pairs, by the evidence that the mapper kept, or that is in an index."""
        unmeasured = np.isnan(edges.similarity) & (edges.verdict == _REJECTED)
        published = _published_side(self._job, edges, unmeasured)
        if published is None:
            unmeasured &= (edges.doc >= 0) & (edges.other >= 0)
        unknown = np.flatnonzero(unmeasured)
        if len(unknown) == 0:
            return edges
        docs = np.unique(np.concatenate([edges.doc[unknown], edges.other[unknown]]))
        parts = [published] if published is not None else []
        for shard in np.unique(docs[docs >= 0] >> 32).tolist():
            for batch in self._in_file(self._mapping, shard, "side", 0):
                mine = batch.select(published.schema.names) if published is not None else batch
                parts.append(mine.filter(_isin(batch.column("doc"), docs)))
        side = pa.concat_batches(parts)
        order = np.argsort(side.column("doc").to_numpy(), kind="stable")
        places = [
            order[np.searchsorted(side.column("doc").to_numpy()[order], ends[unknown])]
            for ends in (edges.doc, edges.other)
        ]
        alike = self._job.compare(*(side.take(pa.array(at)) for at in places))
        if alike is not None:
            edges.similarity[unknown] = alike
        return edges

    def _life(self, doc: int, limit: int) -> dict[str, Any]:
        """`doc cluster_size survivor chain[] members[]` of one document: how it came to its survivor, and who else did."""
        mine = self._found([doc]).get(doc)
        empty: dict[str, Any] = {
            "doc": doc,
            "cluster": None,
            "cluster_size": 1,
            "survivor": None,
            "chain": [],
            "members": [],
        }
        if mine is None or mine["cluster"] is None:
            return empty
        members = []
        for batch in self._batches(list(self._phases)[-1]):
            same = pa.array(batch.column("cluster").to_numpy(zero_copy_only=False) == mine["cluster"])
            members.append(batch.column("doc").filter(same).to_numpy())
        cluster = np.sort(np.concatenate(members))
        survivor = mine["survivor"]
        chain = self._chain(doc, survivor, cluster) if survivor is not None else []
        return {
            **empty,
            "cluster": mine["cluster"],
            "cluster_size": mine["cluster_size"],
            "survivor": survivor,
            "chain": chain,
            "members": [{"doc": other} for other in cluster[:limit].tolist()],
        }

    def _chain(self, doc: int, survivor: int, cluster: Int64s) -> list[dict[str, Any]]:
        """The shortest way from a document to its survivor along pairs that count; the smallest documents of equals."""
        cluster = np.union1d(cluster, [survivor])  # which may be a published one
        edges = self._edges(cluster)
        edges = edges.at(
            (edges.verdict != _REJECTED) & np.isin(edges.doc, cluster) & np.isin(edges.other, cluster)
        )
        near: dict[int, list[tuple[int, float]]] = {}
        for one, other, alike in zip(
            edges.doc.tolist(), edges.other.tolist(), edges.similarity.tolist(), strict=True
        ):
            near.setdefault(one, []).append((other, alike))
            near.setdefault(other, []).append((one, alike))
        came: dict[int, tuple[int, float]] = {doc: (doc, np.nan)}
        waiting = deque([doc])
        while waiting and survivor not in came:
            here = waiting.popleft()
            for there, alike in sorted(near.get(here, ())):
                if there not in came:
                    came[there] = (here, alike)
                    waiting.append(there)
        chain: list[dict[str, Any]] = []
        at = survivor
        while at in came and at != doc:
            before, alike = came[at]
            chain.append({"doc": at, "similarity": None if np.isnan(alike) else alike})
            at = before
        return chain[::-1]


def _published_side(job: Job[Any], edges: Edges, rows: npt.NDArray[np.bool_]) -> pa.RecordBatch | None:
    """The evidence of the published documents in these pairs; None if there are none, or their index cannot be read."""
    numbers = np.concatenate([edges.doc[rows], edges.other[rows]])
    numbers = np.unique(numbers[numbers < 0])
    try:
        return job.evidence_of(numbers.tolist()) if len(numbers) else None
    except CurateError as cause:
        raise_if_another(cause)
        return None


def _described(document: Document, found: Mapping[str, Any] | None, *, complete: bool) -> dict[str, Any]:
    """keep: whether it survives this job; null before that is decided."""
    keep = None
    if complete:
        keep = found is None or found["survivor"] is None
    return {
        "doc": document.doc,
        "id": document.id,
        "source": document.own.get("source"),
        "language": document.language,
        "keep": keep,
        "first_line": first_line(document.text),
    }


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool | None:
    if one is None or other is None:
        return None
    return bool(one["cluster"] == other["cluster"])


def _isin(column: pa.Array, docs: Sequence[int] | Int64s) -> pa.Array:
    return pa.array(np.isin(column.to_numpy(), np.asarray(docs, np.int64)))


def _joined(parts: Sequence[Edges]) -> Edges:
    if not parts:
        return Edges(
            np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int8)
        )
    return Edges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _once(edges: Edges) -> Edges:
    """Each pair once, ascending; of equal ones the most similar."""
    order = np.lexsort((-edges.similarity, edges.other, edges.doc))
    edges = edges.at(order)
    same = (edges.doc[1:] == edges.doc[:-1]) & (edges.other[1:] == edges.other[:-1])
    return edges.at(np.concatenate(([True], ~same))[: len(edges.doc)])


def _among(edges: Edges, others: Edges) -> npt.NDArray[np.bool_]:
    """bool[edges]: whether a pair is among the others, which are ascending."""
    pair = np.dtype([("doc", np.int64), ("other", np.int64)])
    ours, theirs = (np.empty(len(e.doc), pair) for e in (edges, others))
    for array, of in ((ours, edges), (theirs, others)):
        array["doc"], array["other"] = of.doc, of.other
    return np.isin(ours, theirs)
