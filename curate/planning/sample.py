"""A part of a manifest that is quick to run and as the whole is: what `curate calibrate` measures on.

In go a manifest and a number of bytes; out comes another manifest of about that size. Of Parquet shards, some that lie
evenly among all are taken, each from its first row group on. Of files that are ingested first, some are taken whole where
they are small, and the beginning of the others is copied, as plain text, to a folder for scratch files. A part is never
less than one row group, or one line, of each file taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import pyarrow.parquet as pq

from curate.core.manifest import IngestUnit, Manifest, Shard, SourceFile
from curate.core.store import open_binary
from curate.io.storage import state
from curate.io.text_blocks import TornFileError, read_blocks

#: Shards, and as many ingest units, that a sample has parts of.
PLACES: Final = 8

T = TypeVar("T")


def sample(manifest: Manifest, size: int, scratch: Path) -> Manifest:
    """About `size` bytes of a manifest; all of it if that is less. scratch: a folder for beginnings of text files."""
    whole = sum(s.bytes for s in manifest.shards)
    if whole <= size:
        return manifest
    made = _Sample(manifest, scratch)
    in_place = [s for s in manifest.shards if s.ingest is None]
    share = size * sum(s.bytes for s in in_place) // max(1, whole)
    shards = _spread([s for s in in_place if s.rows])
    for shard in shards:
        made.take_row_groups(shard, share // len(shards))
    units = _spread([u for u in manifest.ingest if _bytes(manifest, u)])
    for unit in units:
        made.take_unit(unit, (size - share) // len(units))
    return Manifest(
        manifest.files if not made.copies else made.files(), tuple(made.shards), tuple(made.units)
    )


class _Sample:
    """Shards and ingest units of a sample, numbered anew. copies: files whose beginning was copied."""

    def __init__(self, manifest: Manifest, scratch: Path) -> None:
        self._manifest = manifest
        self._scratch = scratch
        self.shards: list[Shard] = []
        self.units: list[IngestUnit] = []
        self.copies: dict[int, SourceFile] = {}

    def files(self) -> tuple[SourceFile, ...]:
        return tuple(self.copies.get(number, file) for number, file in enumerate(self._manifest.files))

    def take_row_groups(self, shard: Shard, size: int) -> None:
        """The first row groups of a Parquet shard, until they have `size` bytes."""
        file = self._manifest.files[shard.files[0]]
        with open_binary(file.location) as opened:
            footer = pq.ParquetFile(opened).metadata
        first, last = shard.row_groups or (0, footer.num_row_groups)
        end, rows, found = first, 0, 0
        while end < last and (found < size or rows == 0):
            group = footer.row_group(end)
            end, rows, found = end + 1, rows + group.num_rows, found + group.total_byte_size
        found = shard.bytes if end == last else min(found, shard.bytes)
        self.shards.append(
            replace(shard, number=len(self.shards), row_groups=(first, end), rows=rows, bytes=found)
        )

    def take_unit(self, unit: IngestUnit, size: int) -> None:
        """Files of an ingest unit until they have `size` bytes; the beginning of one that has more than that alone."""
        whole = _bytes(self._manifest, unit)
        stored = sum(self._manifest.files[n].size for n in unit.files)
        taken, found = [], 0
        for number in unit.files:
            if found >= size:
                break
            file = self._manifest.files[number]
            part = whole * file.size // max(1, stored)
            if part > 2 * (size - found) and file.bad is None:
                part = self._copy_beginning(number, size - found)
            taken.append(number)
            found += part
        shard = self._manifest.shards[unit.shards[0]]
        number = len(self.shards)
        self.shards.append(
            replace(shard, number=number, files=tuple(taken), bytes=found, ingest=len(self.units))
        )
        self.units.append(IngestUnit(len(self.units), tuple(taken), (number,)))

    def _copy_beginning(self, number: int, size: int) -> int:
        """Put the first lines of a file into the scratch folder; returns their bytes. A line is never cut."""
        file = self._manifest.files[number]
        target = self._scratch / f"{number:06d}.jsonl"
        written = 0
        with open_binary(file.location) as opened, target.open("wb") as out:
            try:
                for block in read_blocks(opened):
                    end = block.data.find(b"\n", max(0, size - written)) + 1
                    written += out.write(block.data[: end or len(block.data)])
                    if end:
                        break
            except TornFileError:
                pass  # the run itself will say so; here its readable part is enough
        now = state(str(target))
        self.copies[number] = replace(
            file, location=str(target), size=now.size, stamp=now.stamp, edges=now.edges
        )
        return written


def _bytes(manifest: Manifest, unit: IngestUnit) -> int:
    return sum(manifest.shards[s].bytes for s in unit.shards)


def _spread(items: list[T]) -> list[T]:
    """At most `PLACES` of them, evenly."""
    if len(items) <= PLACES:
        return items
    return [items[(2 * i + 1) * len(items) // (2 * PLACES)] for i in range(PLACES)]
