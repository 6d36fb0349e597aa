"""Compaction: what a finished phase leaves in few files, however many units it had.

    done/<phase>/<unit>-….json        →  done/<phase>/all.json, written last but before anything is removed
    counters/<phase>/<unit>.….json    →  counters/<phase>/all.<digest>.jsonl, a line a unit: {"unit", "counters"}
    overlays and other outputs        →  packs, where a role has more than `packs.ROLE_FILES` files; not in a store,
                                         where many objects are no burden

Only the holder of the run's lock compacts, and nobody writes to a finished phase. Compacting what is compact does nothing.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import xxhash

from curate.core import packs
from curate.core.commit import Done, Output, describe, temporary_name, write_merged
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder, new_attempt
from curate.core.objects import Place, read_all, remove
from curate.core.store import is_url

_MERGED_LINE: Final = re.compile(r'\{"unit": (\d+), "counters": (.*)\}\n')
_COUNTERS: Final = "counters"
#: Files that are read at once.
_AT_ONCE: Final = 256
#: What a file system says that has no room for a file of that size.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def compact(
    folder: RunFolder, phase: str, records: Mapping[int, Done], *, pack: bool = True
) -> dict[int, Done]:
    """Merge a finished phase's done-files into one, its counters, and files of which there are many; returns the records
    as they now stand.

    pack: whether files may be copied into packs. Safe to kill anywhere: the merged files are written whole before the single
    ones go. R306 if a file is shorter than its record says.
    """
    if len(records) < 2 or _is_compact(folder, phase, records, pack=pack):
        return dict(records)
    compacted = _with_counters(folder, phase, records)
    write_merged(folder, phase, compacted)
    remove(folder.absolute(path) for path in sorted(_paths(records) - _paths(compacted)))
    return _packed(folder, phase, compacted) if pack else compacted


def _is_compact(folder: RunFolder, phase: str, records: Mapping[int, Done], *, pack: bool) -> bool:
    """Whether these records stand in the merged file as they are, and there is nothing to merge or pack."""
    counters = {done.outputs[_COUNTERS].path for done in records.values() if _COUNTERS in done.outputs}
    single = any(path.endswith(".json") for path in counters)
    return (
        folder.all_done(phase).exists()
        and not single
        and len(counters) <= 1
        and not (pack and _scattered(folder, records))
        and not any(folder.done_folder(phase).glob("[0-9]*.json"))
    )


def _paths(records: Mapping[int, Done]) -> set[str]:
    return {output.path for done in records.values() for output in done.outputs.values()}


def _with_counters(folder: RunFolder, phase: str, records: Mapping[int, Done]) -> dict[int, Done]:
    """The records with their counters in one file."""
    counted: set[int] = set()
    digest = xxhash.xxh3_64()
    draft = temporary_name(folder.work / "counters" / phase / "all.new.jsonl")
    draft.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as file:
        for unit, text in _counter_texts(folder, records):
            line = f'{{"unit": {unit}, "counters": {text}}}\n'.encode()
            digest.update(line)
            file.write(line)
            counted.add(unit)
    merged = folder.all_counters(phase, digest.hexdigest())
    if isinstance(merged, Path):
        draft.replace(merged)
        packs.sync_folder(merged.parent)
        draft = merged
    output = describe(folder, draft, place=merged)
    return {
        unit: dataclasses.replace(done, outputs={**done.outputs, _COUNTERS: output})
        if unit in counted
        else done
        for unit, done in records.items()
    }


class _Move(NamedTuple):
    """A file on its way into a pack, and whose it is."""

    unit: int
    role: str
    output: Output


def _scattered(folder: RunFolder, records: Mapping[int, Done]) -> list[tuple[str, list[_Move]]]:
    """Roles with too many files: name, and files by unit. The shards that ingest writes are one role."""
    found: dict[tuple[str, str], list[_Move]] = {}
    if not isinstance(folder.root, Path):
        return []
    for unit in sorted(records):
        for role, output in records[unit].outputs.items():
            if role != _COUNTERS and not output.path.startswith("/") and not is_url(output.path):
                name = "shard" if role.startswith("shard") else role
                found.setdefault((output.path.rpartition("/")[0], name), []).append(_Move(unit, role, output))
    return [
        (name, members)
        for (_, name), members in found.items()
        if len({move.output.path for move in members}) > packs.ROLE_FILES
    ]


def _packed(folder: RunFolder, phase: str, records: dict[int, Done]) -> dict[int, Done]:
    """The records with their files in packs, as far as there are too many of them.

    In rounds, each recorded before its files go: a kill costs one round's work and no more. Where there is no room for
    another, files stay as they are, and the phase is whole all the same.
    """
    plan = [
        (folder.pack(folder.local(share[0].output.path), name, number, attempt), share)
        for name, members in _scattered(folder, records)
        for attempt in [new_attempt()]
        for number, share in enumerate(_shares(members))
    ]
    for some in packs.rounds([sum(move.output.bytes for move in share) for _, share in plan]):
        made = plan[some.start : some.stop]
        moved = _moved(folder, records, made)
        try:
            packs.write_packs([(path, _members(folder, share)) for path, share in made], _cut_short)
            write_merged(folder, phase, moved)
        except OSError as cause:
            if cause.errno not in _NO_ROOM:
                raise
            remove(path for path, _ in made)
            break
        records = moved
        gone = {move.output.path for _, share in made for move in share} - _paths(records)
        remove(folder.absolute(path) for path in sorted(gone))
    return records


def _shares(members: list[_Move]) -> list[list[_Move]]:
    """A role's files that go into new packs, a pack each: those in none, and those of the smallest older packs if else there
    were too many.
    """
    held: dict[str, int] = {}
    for move in members:
        if move.output.offset is not None:
            held[move.output.path] = held.get(move.output.path, 0) + move.output.bytes
    kept = sorted(held, key=lambda path: (held[path], path), reverse=True)
    while True:
        standing = set(kept)
        moving = [move for move in members if move.output.path not in standing]
        shares = packs.shares([move.output.bytes for move in moving], sum(held[path] for path in kept))
        if not kept or len(kept) + len(shares) <= packs.ROLE_FILES:
            return [moving[share.start : share.stop] for share in shares]
        kept.pop()


def _members(folder: RunFolder, share: list[_Move]) -> list[packs.Member]:
    return [packs.Member(move.output.place(folder), move.output.bytes) for move in share]


def _moved(
    folder: RunFolder, records: Mapping[int, Done], made: list[tuple[Path, list[_Move]]]
) -> dict[int, Done]:
    """The records once these packs hold their files."""
    outputs: dict[int, dict[str, Output]] = {}
    for path, share in made:
        offset = 0
        for unit, role, output in share:
            new = dataclasses.replace(output, path=folder.relative(path), offset=offset)
            outputs.setdefault(unit, {})[role] = new
            offset += output.bytes
    return {
        unit: dataclasses.replace(done, outputs={**done.outputs, **outputs[unit]})
        if unit in outputs
        else done
        for unit, done in records.items()
    }


def _cut_short(member: packs.Member) -> CurateError:
    return error(
        "R306",
        f"{member.place} has fewer than the {member.bytes} bytes that its record says",
        help="remove the file and run again: its unit will be computed again",
        file=str(member.place),
    )


def read_counters(
    folder: RunFolder, phase: str, records: Mapping[int, Done]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The counters of each unit, one at a time, from single files or merged ones; R306 if they are damaged."""
    for unit, text in _counter_texts(folder, records):
        try:
            counters: dict[str, Any] = json.loads(text)
            yield unit, counters
        except ValueError as cause:
            raise _damaged_counters(folder.absolute(records[unit].outputs["counters"].path), cause) from cause


def _counter_texts(folder: RunFolder, records: Mapping[int, Done]) -> Iterator[tuple[int, str]]:
    """The counters of each unit as JSON text. A merged file has units in ascending order, so it is read once, along."""
    merged: dict[str, Iterator[tuple[int, str]]] = {}
    counted = {
        unit: records[unit].outputs[_COUNTERS].path
        for unit in sorted(records)
        if _COUNTERS in records[unit].outputs
    }
    single = _texts(folder, {unit: name for unit, name in counted.items() if name.endswith(".json")})
    for unit, name in counted.items():
        if name.endswith(".json"):
            yield next(single)
            continue
        if name not in merged:
            merged[name] = _merged_lines(folder.local(name))
        text = next((text for number, text in merged[name] if number == unit), None)
        if text is None:
            raise _damaged_counters(folder.absolute(name), KeyError(unit))
        yield unit, text


def _texts(folder: RunFolder, names: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """The content of small files, some at a time. FileNotFoundError if one is gone."""
    units = list(names)
    for start in range(0, len(units), _AT_ONCE):
        some = units[start : start + _AT_ONCE]
        for unit, text in zip(some, read_all([folder.absolute(names[u]) for u in some]), strict=True):
            if text is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), names[unit])
            yield unit, text.decode("utf-8")


def _merged_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Unit and counters of each line of a merged file."""
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            found = _MERGED_LINE.fullmatch(line)
            if found is None:
                raise _damaged_counters(path, ValueError(f"not a line of counters: {line[:40]!r}"))
            yield int(found[1]), found[2]


def _damaged_counters(path: Place, cause: Exception) -> CurateError:
    return error(
        "R306",
        f"the counters {path} are damaged: {cause}",
        help="remove the file and run again: its units will be computed again",
        file=str(path),
    )
