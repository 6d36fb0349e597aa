"""A random sample of a run's documents, chosen by what became of them, with their values and the beginning of
the text.

Which documents are shown depends on the seed and the documents alone: those with the smallest hash(seed, doc)
of the ones that qualify, whatever the number of tasks that made them. Fates are read from the overlays, three
narrow columns of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.core.columns import DOC, UNDETERMINED
from curate.core.overlay import DROP, DROP_REASONS, QUARANTINED
from curate.core.packs import parquet_source
from curate.io.publish import shuffle_key
from curate.running.ledger import READ
from curate.views.documents import Docs, Document, Documents

FateFilter = Literal["kept", "dropped", "quarantined"]

#: A step's number that is beyond the last: nothing has taken the document out.
_NEVER: Final = 1_000_000

_FATES: Final = pa.schema(
    [
        pa.field(DOC, pa.int64()),
        pa.field("exit", pa.int64()),
        pa.field("seen", pa.int64()),
        pa.field("bad", pa.bool_()),
        pa.field("reasons", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Wanted:
    """Which documents qualify. With a step: those it kept, dropped or quarantined; without a fate, those that
    entered it.

    reason: one of the rules that failed, or part of why a record is bad. language: as in the ledger, `und`
    for none.
    """

    fate: FateFilter | None = None
    step: str | None = None
    reason: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Sample:
    """documents: as many as were asked for, or all that there are; found: how many qualify."""

    documents: list[Document]
    found: int


def sample(documents: Documents, wanted: Wanted, count: int, seed: int) -> Sample:
    """A random sample of the documents that qualify, in the order of their numbers."""
    best_docs, best_keys = np.empty(0, np.int64), np.empty(0, np.uint64)
    found = 0
    for shard in range(len(documents.manifest.shards)):
        docs = _qualifying(documents, shard, wanted)
        found += len(docs)
        docs = np.concatenate([best_docs, docs])
        keys = np.concatenate([best_keys, shuffle_key(seed, docs[len(best_docs) :])])
        order = np.argsort(keys)[:count]
        best_docs, best_keys = docs[order], keys[order]
    return Sample(documents.fetch(np.sort(best_docs).tolist()), found)


def reasons_of(documents: Documents, step: str | None) -> list[str]:
    """Reasons for which documents were dropped, in a run or in one of its steps."""
    found: set[str] = set()
    for shard in range(len(documents.manifest.shards)):
        fates = _fates(documents, shard)
        fates = fates.filter(pc.invert(fates["bad"]))
        if step is not None:
            fates = fates.filter(pc.equal(fates["exit"], documents.step_names.index(step)))
        found |= set(pc.list_flatten(fates["reasons"]).unique().to_pylist())
    return sorted(found)


def _qualifying(documents: Documents, shard: int, wanted: Wanted) -> Docs:
    """Documents of one shard that qualify: int64, ascending."""
    fates = _fates(documents, shard)
    exit_step, bad = fates["exit"].to_numpy(), fates["bad"].to_numpy()
    mask = np.ones(len(fates), np.bool_)
    if wanted.step is None:
        alive = exit_step == _NEVER
        by_fate = {
            "kept": alive & (fates["seen"].to_numpy() == len(documents.run.passes)),
            "dropped": ~alive & ~bad,
        }
    else:
        step = documents.step_names.index(wanted.step)
        reached = (exit_step >= step) & (fates["seen"].to_numpy() >= _pass_of(documents, wanted.step))
        mask &= reached
        by_fate = {"kept": exit_step > step, "dropped": (exit_step == step) & ~bad}
        bad = bad & (exit_step == step)
    by_fate["quarantined"] = bad
    if wanted.fate is not None:
        mask &= by_fate[wanted.fate]
    if wanted.reason is not None:
        mask &= _has_reason(fates, wanted.reason)
    docs: Docs = fates[DOC].to_numpy()[mask]
    return docs if wanted.language is None else docs[_in_language(documents, shard, docs, wanted.language)]


def _pass_of(documents: Documents, step: str) -> int:
    """How many passes must have seen a shard for that step to have seen it."""
    if step == READ:
        return 0
    return next(
        i + 1 for i, p in enumerate(documents.run.passes) if any(s.name == step for s in p.phase.steps)
    )


def _has_reason(fates: pa.Table, reason: str) -> npt.NDArray[np.bool_]:
    """Rows that failed that rule; a bad record's reason is a sentence, of which a part is enough."""
    lists = fates["reasons"].combine_chunks()
    values, parents = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    bad = fates["bad"].to_numpy()[parents]
    equal = pc.equal(values, reason).to_numpy(zero_copy_only=False)
    part = pc.match_substring(values, reason).to_numpy(zero_copy_only=False)
    mask = np.zeros(len(fates), np.bool_)
    mask[parents[equal | (bad & part)]] = True
    return mask


def _in_language(documents: Documents, shard: int, docs: Docs, language: str) -> npt.NDArray[np.bool_]:
    known = documents.languages(shard)
    if known is None or not len(known[0]):
        return np.full(len(docs), language == UNDETERMINED)
    have, codes = known
    places = np.minimum(np.searchsorted(have, docs), len(have) - 1)
    present = have[places] == docs
    named = pc.equal(codes.take(pa.array(places)), language).to_numpy(zero_copy_only=False)
    return np.where(present, named, language == UNDETERMINED)


def _fates(documents: Documents, shard: int) -> pa.Table:
    """Every record of a shard once, ascending by doc. exit: number of the step that took it out; seen: passes
    that saw it.
    """
    overlays = documents.overlays(shard)
    numbers = pa.array(documents.step_names)
    parts = [_bad_records(documents, shard)]
    for index, (_, path) in enumerate(overlays):
        table = pq.read_table(parquet_source(path), columns=[DOC, DROP, DROP_REASONS])
        leaves = pc.is_valid(table[DROP]) if index + 1 < len(overlays) else pc.is_in(table[DOC], table[DOC])
        table = table.filter(pc.and_(leaves, pc.fill_null(pc.not_equal(table[DROP], QUARANTINED), True)))
        exit_step = pc.fill_null(pc.index_in(table[DROP], value_set=numbers), _NEVER).cast(pa.int64())
        rows = len(table)
        columns = [table[DOC], exit_step, pa.repeat(pa.scalar(index + 1, pa.int64()), rows)]
        columns += [pa.repeat(pa.scalar(False), rows), table[DROP_REASONS]]
        parts.append(pa.table(columns, schema=_FATES))
    return pa.concat_tables(parts).sort_by(DOC).combine_chunks()


def _bad_records(documents: Documents, shard: int) -> pa.Table:
    """The quarantine's records of a shard, in the same form."""
    if documents.quarantine is None:
        return _FATES.empty_table()
    rows = documents.quarantine.filter(pc.equal(documents.quarantine["shard"], shard)).to_pylist()
    entries = []
    for row in rows:
        step = row["step"]
        number, seen = documents.step_names.index(step), _pass_of(documents, step)
        entries.append({DOC: row[DOC], "exit": number, "seen": seen, "bad": True, "reasons": [row["reason"]]})
    return pa.Table.from_pylist(entries, schema=_FATES)
