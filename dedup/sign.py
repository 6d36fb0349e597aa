"""Sign: the mapper of `dedup.minhash`, in the pass before the job.

In: tokens, and the columns of `scope` and `keep`. Out, for each document that has a word, a record for each band,
and its evidence beside the shard:

    doc    int64
    key    uint64   of the band (`dedup.bands`); its upper bits choose the partition
    rank   int64    who survives (`dedup.survivors`); only with a `keep` that compares values

    doc        int64
    evidence   sketch or list of words (`dedup.evidence`); not with `verify: none`
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.core.batch import DocBatch
from curate.core.columns import DOC
from curate.core.stage import Mapped, Mapper
from dedup.bands import band_keys
from dedup.content import content_keys
from dedup.evidence import Evidence
from dedup.export import side_columns, side_fields
from dedup.scopes import as_text, scope_column
from dedup.shingles import shingles
from dedup.signature import permutations, signatures
from dedup.survivors import Keep, ranks
from dedup.verify import side_schema


class Sign(Mapper):
    """The records at the top of the module. keep: None if no rank is needed; scope: columns.

    evidence: None if nothing will be compared. exported: whether an index needs the keys too (`dedup.export`).
    """

    def __init__(
        self,
        *,
        words: int,
        characters: int,
        bands: int,
        rows: int,
        keep: Keep | None,
        scope: tuple[str, ...],
        evidence: Evidence | None,
        partitions: int,
        exported: bool = False,
    ) -> None:
        self._exported = exported
        self._words, self._characters = words, characters
        self._bands, self._rows = bands, rows
        self._keep, self._scope = keep, scope
        self._evidence = evidence
        self._bits = partitions.bit_length() - 1
        self._permutations = permutations(bands * rows)

    def schema(self) -> pa.Schema:
        fields = [pa.field(DOC, pa.int64(), nullable=False), pa.field("key", pa.uint64(), nullable=False)]
        if self._keep is not None:
            fields.append(pa.field("rank", pa.int64(), nullable=False))
        return pa.schema(fields)

    def side_schema(self) -> pa.Schema | None:
        schema = side_schema(self._evidence)
        if self._exported:
            schema = pa.schema([*schema, *side_fields(self._bands)])
        return schema if len(schema) > 1 else None

    def emit(self, batch: DocBatch) -> Mapped:
        listed = self._evidence is not None and self._evidence.worded
        found = shingles(batch.tokens, words=self._words, characters=self._characters, listed=listed)
        some = np.flatnonzero(np.diff(found.docs) > 0)
        signed = signatures(found, *self._permutations)
        kept = self._evidence.keep(found, signed) if self._evidence is not None else None
        signed = signed[some]
        of_bands = band_keys(signed, self._bands, self._rows, scope_hashes(batch, self._scope)[some])
        keys = of_bands.ravel()
        docs = batch.column(DOC).to_numpy()[some]
        arrays = [pa.array(np.repeat(docs, self._bands)), pa.array(keys)]
        if self._keep is not None:
            arrays.append(pa.array(np.repeat(ranks(self._keep, batch)[some], self._bands)))
        records = pa.RecordBatch.from_arrays(arrays, schema=self.schema())
        # Twice, since a shift by all 64 bits is not defined.
        partition = keys >> np.uint64(63 - self._bits) >> np.uint64(1)
        return Mapped(records, partition.astype(np.int64), self._side(batch, some, kept, of_bands))

    def _side(
        self,
        batch: DocBatch,
        some: npt.NDArray[np.int64],
        kept: pa.Array | None,
        keys: npt.NDArray[np.uint64],
    ) -> pa.RecordBatch | None:
        """The side records of the documents that have a word: rows `some`, whose keys these are."""
        schema = self.side_schema()
        if schema is None:
            return None
        arrays = [pa.array(batch.column(DOC).to_numpy()[some])]
        if kept is not None:
            arrays.append(kept if len(some) == batch.num_rows else kept.take(pa.array(some)))
        if self._exported:
            chosen = np.zeros(batch.num_rows, np.bool_)
            chosen[some] = True
            arrays += side_columns(batch.filter(chosen), keys)
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def scope_hashes(batch: DocBatch, scope: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    """uint64[rows]: equal for rows that agree in all columns of the scope; 0 without a scope."""
    hashes = np.zeros(batch.num_rows, np.uint64)
    for name in scope:
        column = scope_column(batch, name)
        values = content_keys(as_text(column).fill_null(""), whitespace=False)[:, 0]
        missing = column.is_null().to_numpy(zero_copy_only=False).astype(np.uint64)
        # Multiplied in between, so that equal values in two columns do not cancel; null differs from the empty text.
        hashes = (hashes ^ values ^ missing) * np.uint64(0x9E3779B97F4A7C15)
    return hashes
