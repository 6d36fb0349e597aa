"""Commit: how a unit becomes done, once, whoever tries.

A task writes the outputs of a unit under its attempt's own names, makes them durable, and then creates the done-file
with `link`, which fails if another attempt was first. The winner's outputs count; the loser removes its own and goes on.
So a kill at any moment leaves either no done-file (the unit is pending) or a whole one. In a store, to make an output
durable is to upload it, and the done-file is a PUT that fails if the object exists (`curate.core.objects`).

    done/<phase>/<unit>-<fingerprint>.json = {"unit", "fingerprint", "task", "attempt", "rows", "bytes",
                                              "outputs": {role: {"path", "bytes", "checksum"}}, "facts": {…}}

`facts` is what the next phases need without opening the outputs (such as how many rows there are to write). When a
phase ends its done-files are merged into `all.json`, its counters into one `.jsonl`, and other files, if they are many,
into packs (`curate.core.compaction`); an output in a pack has an `offset` too.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.lease import confirm
from curate.core.objects import (
    ObjectPath,
    Place,
    Sizes,
    create_exclusively,
    put_file,
    put_whole,
    read_all,
    remove,
    size_of,
)
from curate.core.packs import Stretch, sync_folder

#: The role of an exchange file among the outputs of a unit.
ROWS = "rows"
_CONSUMED = "consumed"
#: Times that records are read while files that they name go: once a phase is compacted.
_LOOKS = 3


@dataclass(frozen=True)
class Output:
    """A file that a done-file vouches for. path: below the run folder, or absolute; checksum: XXH3-128, hex.

    An exchange file's checksum is its seal: its parts have digests of their own, checked when they are read. offset: where
    it begins in a pack.
    """

    path: str
    bytes: int
    checksum: str
    offset: int | None = None

    def place(self, folder: RunFolder) -> Path | Stretch:
        """Where it is, for those who read or map all of it; of a store, a local copy."""
        path = folder.local(self.path)
        return path if self.offset is None else Stretch(path, self.offset, self.bytes)

    def ranges(self, folder: RunFolder) -> Place | Stretch:
        """Where it is, for those who read a small part of it."""
        path = folder.absolute(self.path)
        return path if isinstance(path, ObjectPath) else self.place(folder)


@dataclass(frozen=True)
class Done:
    """One finished unit. rows: rows that entered it; bytes: bytes it wrote."""

    unit: int
    fingerprint: str
    task: int
    attempt: str
    rows: int
    bytes: int
    outputs: Mapping[str, Output]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        # `asdict` copies every part, which took most of the time of merging 100,000 records.
        outputs = {role: _without_none(vars(output)) for role, output in self.outputs.items()}
        return json.dumps({**vars(self), "outputs": outputs}, ensure_ascii=True)

    @staticmethod
    def from_dict(raw: Any) -> Done:
        """TypeError, KeyError or AttributeError if it is no record."""
        return Done(**{**raw, "outputs": {k: Output(**v) for k, v in raw["outputs"].items()}})


def _without_none(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if value is not None}


def describe(folder: RunFolder, path: Path, seal: str | None = None, place: Place | None = None) -> Output:
    """Make a finished file durable, and say its size and checksum. seal: what an exchange file has for one.

    place: where it is to stand, if it was written elsewhere; a file for a store is uploaded and removed here.
    """
    size = path.stat().st_size
    name = folder.relative(path if place is None else place)
    target = folder.absolute(name)
    if isinstance(target, ObjectPath):
        checksum = seal or checksum_of(path)
        put_file(path, target)
        path.unlink()
        return Output(name, size, checksum)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return Output(name, size, seal or checksum_of(path))


def checksum_of(path: Place) -> str:
    """XXH3-128 of a file's bytes, hex."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Place, text: str) -> None:
    """Replace a small file as a whole: readers see the old text or the new one.

    Only the holder of the run's lock writes such files, so the temporary name is fixed: what a kill leaves behind is
    overwritten and renamed by the next run.
    """
    if isinstance(path, ObjectPath):
        put_whole(path, text.encode())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:  # a full disk: leave no half-written file
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """Where a file that is replaced as a whole is written first."""
    return path.with_name(f".{path.name}.tmp")


def write_done(folder: RunFolder, phase: str, done: Done) -> bool:
    """Create the done-file exclusively. False if another attempt was first; its outputs count, not ours."""
    final = folder.done(phase, done.unit, done.fingerprint)
    if isinstance(final, ObjectPath):
        return create_exclusively(final, done.to_json().encode())
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.stem}.{done.attempt}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(done.to_json())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def remove_outputs(folder: RunFolder, done: Done) -> None:
    """Remove what an attempt wrote, after it lost or when its phase is out of date."""
    remove(folder.absolute(output.path) for output in done.outputs.values())


def read_done(folder: RunFolder, phase: str) -> dict[int, list[Done]]:
    """Every done record of a phase by unit, whatever its fingerprint."""
    # Single files first: when they vanish under a reader's eyes, the merged file already has them.
    single: list[Done] = []
    place = folder.done_folder(phase)
    paths = sorted(_single_files(place))
    for path, text in zip(paths, read_all(paths), strict=True):
        single += _records(path, text, dict) if text is not None else []
    merged = folder.all_done(phase)
    found: dict[int, list[Done]] = {}
    (text,) = read_all([merged])
    for done in (*(_records(merged, text, list) if text is not None else ()), *single):
        if all(done.fingerprint != other.fingerprint for other in found.get(done.unit, [])):
            found.setdefault(done.unit, []).append(done)
    return found


def _single_files(place: Place) -> list[Place]:
    """Done-files of a phase that are not merged."""
    return list(place.glob("[0-9]*.json")) if isinstance(place, ObjectPath) or place.exists() else []


def _records(path: Place, text: bytes, form: type) -> list[Done]:
    """The records of a done-file: one object (`dict`) or a list of them."""
    try:
        raw = json.loads(text.decode("utf-8"))
        if not isinstance(raw, form):
            raise TypeError(f"it holds {type(raw).__name__}, not {form.__name__}")
        return [Done.from_dict(r) for r in (raw if isinstance(raw, list) else [raw])]
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise error(
            "R306",
            f"the done-file {path} is damaged: {cause}",
            help="remove the file: its units will be computed again",
            file=str(path),
        ) from cause


def finished(
    folder: RunFolder,
    phase: str,
    fingerprints: Mapping[int, str],
    present: Callable[[Done], bool] | None = None,
) -> dict[int, Done]:
    """Done records that count: right fingerprint, every output in place with its recorded size.

    present: another way to tell whether the outputs are in place, for outputs that are moved after the commit.
    """
    records = read_done(folder, phase)
    for _ in range(_LOOKS):
        there = present or partial(outputs_present, folder, sizes=Sizes())
        matching = [
            d for found in records.values() for d in found if fingerprints.get(d.unit) == d.fingerprint
        ]
        result = {done.unit: done for done in matching if there(done)}
        if len(result) == len(matching):
            break
        before, records = records, read_done(folder, phase)
        if records == before:
            break  # else the phase was compacted meanwhile, and the files are elsewhere
    return result


def is_finished(
    folder: RunFolder, phase: str, unit: int, fingerprint: str, present: Callable[[Done], bool] | None = None
) -> bool:
    """Whether a unit's own done-file counts. Merged ones are not looked at: they are written when a phase ends."""
    there = present or partial(outputs_present, folder)
    path = folder.done(phase, unit, fingerprint)
    (text,) = read_all([path])
    return text is not None and any(
        d.fingerprint == fingerprint and there(d) for d in _records(path, text, dict)
    )


def consume(folder: RunFolder, phase: str, records: Mapping[int, Done]) -> None:
    """Remove the exchange files of a finished phase, whose records say so from then on (`is_consumed`).

    A kill leaves them with nobody to vouch for them, and the next run removes them.
    """
    left = {unit: done for unit, done in records.items() if not is_consumed(done)}
    gone = {
        unit: dataclasses.replace(
            done,
            outputs={role: output for role, output in done.outputs.items() if role != ROWS},
            facts={**done.facts, _CONSUMED: True},
        )
        for unit, done in left.items()
    }
    if left:
        write_merged(folder, phase, {**records, **gone})
    remove(folder.absolute(done.outputs[ROWS].path) for done in left.values())
    with suppress(OSError):
        (folder.root / "exchange" / phase).rmdir()


def is_consumed(done: Done) -> bool:
    """Whether the unit's exchange file was removed after everything was read from it."""
    return bool(done.facts.get(_CONSUMED))


def outputs_present(folder: RunFolder, done: Done, sizes: Sizes | None = None) -> bool:
    """Every output of the record is where it should be and as long as it was. sizes: what is known of files already."""
    known = sizes if sizes is not None else Sizes()
    return all(_fits(output, known.named(output.path, folder.absolute)) for output in done.outputs.values())


def _fits(output: Output, size: int | None) -> bool:
    if output.offset is None:
        return size == output.bytes
    return size is not None and size >= output.offset + output.bytes


def made_files(place: Path) -> dict[str, int]:
    """The files of a folder that a phase made outside the run folder: path below it → bytes."""
    return {
        path.relative_to(place).as_posix(): path.stat().st_size
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def still_made(folder: RunFolder, place: Path, done: Done) -> bool:
    """`outputs_present`, and so is every file that the unit made at `place`."""
    made: Mapping[str, int] = done.facts.get("made", {})
    there = bool(made) and all(size_of(place / name) == size for name, size in made.items())
    return there and outputs_present(folder, done)


def forget(folder: RunFolder, phase: str, keep: Mapping[int, Done]) -> None:
    """Remove the done records of a phase that no longer count, with their outputs, and attempts nobody vouches for.

    keep: the records that count. Only one process may do this at a time: the one that holds the run's lock.
    """
    confirm(folder.lock)
    kept_files = {folder.absolute(o.path) for done in keep.values() for o in done.outputs.values()}
    stale = [
        done
        for records in read_done(folder, phase).values()
        for done in records
        if keep.get(done.unit) is None or keep[done.unit].attempt != done.attempt
    ]
    if stale:
        write_merged(folder, phase, keep)
    gone = {folder.absolute(output.path) for done in stale for output in done.outputs.values()}
    remove(gone - kept_files)
    for kind in ("overlays", "exchange", "quarantine", "counters"):
        _sweep(folder.root / kind / phase, kept_files)
    place = folder.done_folder(phase)
    if isinstance(place, Path) and place.exists():
        remove(place.glob(".*.tmp"))


def _sweep(place: Place, kept: set[Place]) -> None:
    if isinstance(place, ObjectPath):
        remove(sorted(place.sizes().keys() - kept))
    elif place.exists():
        remove([path for path in place.iterdir() if path not in kept])


def write_merged(folder: RunFolder, phase: str, records: Mapping[int, Done]) -> None:
    """Make these the records of a phase, in one file; what single done-files said is gone."""
    confirm(folder.lock)
    text = "[" + ",\n".join(records[u].to_json() for u in sorted(records)) + "]\n"
    write_atomically(folder.all_done(phase), text)
    place = folder.done_folder(phase)
    if isinstance(place, Path):
        sync_folder(place)
    remove(_single_files(place))
