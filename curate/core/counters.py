"""The counters of a phase's units: a JSON file each while it runs, one line each of a single file when it has ended."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import xxhash

from curate.core.commit import Done, describe, temporary_name, write_merged
from curate.core.errors import CurateError, error
from curate.core.layout import RunFolder
from curate.core.objects import Place, read_all, remove

#: Files that are read at once.
_AT_ONCE: Final = 256
_MERGED_LINE: Final = re.compile(r'\{"unit": (\d+), "counters": (.*)\}\n')


def compact(folder: RunFolder, phase: str, records: Mapping[int, Done]) -> dict[int, Done]:
    """Merge a finished phase's done-files into one, and its counters; returns the records as they now stand.

    Safe to kill anywhere: the merged files are written whole before the single ones go.
    """
    if len(records) < 2:
        return dict(records)
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
        draft = merged
    output = describe(folder, draft, place=merged)
    compacted = {
        unit: dataclasses.replace(done, outputs={**done.outputs, "counters": output})
        if unit in counted
        else done
        for unit, done in records.items()
    }
    write_merged(folder, phase, compacted)
    old = {done.outputs["counters"].path for done in records.values() if "counters" in done.outputs}
    remove({folder.absolute(name) for name in old} - {merged})
    return compacted


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
    counted = [unit for unit in sorted(records) if "counters" in records[unit].outputs]
    single = [unit for unit in counted if records[unit].outputs["counters"].path.endswith(".json")]
    texts = _texts(folder, {unit: records[unit].outputs["counters"].path for unit in single})
    for unit in counted:
        name = records[unit].outputs["counters"].path
        if name.endswith(".json"):
            yield next(texts)
            continue
        lines = merged.setdefault(name, _merged_lines(folder.local(name)))
        text = next((text for number, text in lines if number == unit), None)
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
                raise FileNotFoundError(str(folder.absolute(names[unit])))
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
