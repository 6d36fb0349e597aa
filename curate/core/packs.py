"""Packs: the files of a finished phase in few files, so that a run of 100,000 shards does not keep 100,000 overlays.

A unit writes files of its own, because a task must be able to die or lose without touching another's. Once the phase is
finished nobody writes any more, and a role of which there are more than `ROLE_FILES` files is copied, unit after unit, into
at most `PACKS` packs of about `PACK_BYTES` or more. The bytes of a file do not change; its record then says where in which
pack they are:

    overlays/<phase>/<role>-<number>.<attempt>.pack      the files of neighbouring units, end to end
    done/<phase>/all.json                                {"path": pack, "offset", "bytes", "checksum"}: the index

So a phase keeps at most `PHASE_FILES` files: four roles (overlay, rows, side, quarantine), the records and the counters.

A kill leaves either files with records that name them and half-written packs that none names, or whole packs with records
that name them and files that none names; `forget` removes what none names. Readers that hold records from before find the
files gone (`FileNotFoundError`) and read the records again.

Files of Parquet and of exchanges carry checksums of their own pages and stretches, so bytes are copied without being looked
at, by the file system itself where it can (`copy_file_range`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final, NamedTuple

from curate.core.runs import even_runs

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Files that a finished phase keeps at most.
PHASE_FILES: Final = 1_000
#: Files of one role that stay as they are; of more, packs are made.
ROLE_FILES: Final = 240
#: Packs of one role at most, and the bytes of a pack as long as they are fewer.
PACKS: Final = 200
PACK_BYTES: Final = 64 * 1024 * 1024
#: Packs written at once. They wait for disks and networks, not for the processor.
WRITERS: Final = 8
#: Bytes after which what has been packed is recorded and its single files go: so much is copied in vain by a kill, unless
#: `WRITERS` packs are more, and so much is on the disk twice. To record it costs seconds in a phase of 100,000 units.
ROUND_BYTES: Final = 4 * 1024 * 1024 * 1024
_BLOCK: Final = 8 * 1024 * 1024
#: Bytes copied before looking whether it is still wanted.
_STEP: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Stretch:
    """A file inside a pack: `bytes` of it from `offset` on."""

    path: Path
    offset: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.path} (bytes {self.offset} to {self.offset + self.bytes})"


class StretchFile(io.RawIOBase):
    """A stretch opened for reading, like a file of its own. FileNotFoundError if its pack is gone."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._at = 0
        self._descriptor = os.open(stretch.path, os.O_RDONLY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._stretch.bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._stretch.bytes - self._at))
        done = 0
        while done < count:
            found = os.preadv(self._descriptor, [view[done:count]], self._stretch.offset + self._at + done)
            if found == 0:
                break  # the pack was cut: whoever reads finds too few bytes and says so
            done += found
        self._at += done
        return done

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def parquet_source(place: str | Path | Stretch) -> str | Path | StretchFile:
    """What Arrow's Parquet readers take for a file or a stretch of one."""
    return StretchFile(place) if isinstance(place, Stretch) else place


class Member(NamedTuple):
    """A file to be packed: where it is and how long its record says it is."""

    place: Path | Stretch
    bytes: int


def shares(sizes: Sequence[int], beside: int = 0) -> list[range]:
    """Files in order, of these bytes, divided into runs of about equal bytes, a pack each; as ranges of indices.

    beside: bytes of packs that stay; the new ones are about as large as `PACKS` packs of all of it would be.
    """
    if not sizes:
        return []
    width = max(PACK_BYTES, -(-(sum(sizes) + beside) // PACKS))
    return even_runs(sizes, max(1, -(-sum(sizes) // width)))


def rounds(sizes: Sequence[int]) -> Iterator[range]:
    """Packs of these bytes in order, as ranges of indices: those after which it is time to record what has been moved."""
    start = held = 0
    for end, size in enumerate(sizes, 1):
        held += size
        if end == len(sizes) or (end - start >= WRITERS and held >= ROUND_BYTES):
            yield range(start, end)
            start, held = end, 0


def write_packs(packs: Iterable[tuple[Path, list[Member]]], damaged: Callable[[Member], Exception]) -> None:
    """Write packs, each whole and durable; none is left if one fails. damaged: what to raise for a file that is shorter
    than its record says.
    """
    made = list(packs)
    for place in {path.parent for path, _ in made}:
        place.mkdir(parents=True, exist_ok=True)
    stopped = Event()
    try:
        with ThreadPoolExecutor(min(WRITERS, max(1, len(made)))) as pool:
            try:
                for _ in pool.map(lambda pack: _write(pack[0], pack[1], damaged, stopped), made):
                    pass
            finally:
                stopped.set()  # after a failure or an interrupt the others are not worth waiting for
    except BaseException:
        for path, _ in made:
            path.unlink(missing_ok=True)
        raise
    for place in {path.parent for path, _ in made}:
        sync_folder(place)


def _write(pack: Path, members: list[Member], damaged: Callable[[Member], Exception], stopped: Event) -> None:
    with pack.open("xb", buffering=0) as target:
        for member in members:
            place = member.place
            path, offset = (place.path, place.offset) if isinstance(place, Stretch) else (place, 0)
            with path.open("rb", buffering=0) as origin:
                done = 0
                while done < member.bytes:
                    if stopped.is_set():
                        return
                    some = min(_STEP, member.bytes - done)
                    if _copy(origin.fileno(), offset + done, target.fileno(), some) < some:
                        raise damaged(member)
                    done += some
        os.fsync(target.fileno())


def _copy(origin: int, offset: int, target: int, count: int) -> int:
    """Append bytes of one file to another; how many there were."""
    done = 0
    with suppress(OSError):  # not between these file systems, or not at all: the bytes are read and written
        while done < count and (moved := os.copy_file_range(origin, target, count - done, offset + done)):
            done += moved
    while done < count and (block := os.pread(origin, min(_BLOCK, count - done), offset + done)):
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
        done += len(block)
    return done


def sync_folder(place: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
