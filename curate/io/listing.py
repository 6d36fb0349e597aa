"""The manifest of a run: find the files of every input, compare them with what an earlier run froze, cut them
into shards.

Within an input a file is read once, however many patterns match it or links lead to it; two inputs may read
the same file. Files are sorted by `path`, their name below the fixed part of the pattern (several patterns:
below the folder that all share), after the input's name if it has one. A known file keeps its path and its
shards' numbers for the life of the run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from curate.core.errors import CurateError, error
from curate.core.manifest import Format, InputSpec, Manifest, SourceFile
from curate.core.store import each, is_url, local_or_url, open_binary, raise_all, shown
from curate.io.patterns import Found, expand
from curate.io.sharding import cut
from curate.io.storage import State, magic, state

#: Files that a message about changed inputs names.
NAMED_FILES: Final = 10


@dataclass(frozen=True)
class Changes:
    """What differs from the earlier manifest. changed: (before, now)."""

    added: tuple[SourceFile, ...]
    removed: tuple[SourceFile, ...]
    changed: tuple[tuple[SourceFile, SourceFile], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def list_input(spec: InputSpec, index: int) -> list[SourceFile]:
    """The files of one input, sorted by path; `rows` is not known yet.

    Raises C203 nothing matches, E506 not readable, D401 a broken link or a file of an unknown format.
    """
    found = _expand_all(spec)
    base = _shared_folder([each_found.base for each_found in found])
    locations: dict[str, str] = {}
    for location in sorted({location for each_found in found for location in each_found.locations}):
        locations.setdefault(location if is_url(location) else os.path.realpath(location), location)
    prefix = f"{spec.name}/" if spec.name else ""
    facts = {location: facts for each_found in found for location, facts in each_found.facts.items()}
    files = each(
        lambda location: _source_file(
            spec, index, prefix + shown(_below(base, location)), location, facts.get(location)
        ),
        list(locations.values()),
    )
    files.sort(key=lambda file: file.path)
    for one, other in itertools.pairwise(files):
        if one.path == other.path:
            message = f"{shown(one.location)} and {shown(other.location)} would both be called {one.path!r}"
            raise error("C203", message, help="make them two inputs, each with a `name`", file=one.path)
    return files


def build_manifest(specs: Sequence[InputSpec], *, previous: Manifest | None, update: bool) -> Manifest:
    """The manifest of these inputs. With `previous`, known files keep their shards and new ones (`update`)
    are appended.

    Raises what `list_input` raises, for all inputs at once; D401 for a Parquet file that cannot be opened,
    unless its input says `on_error: quarantine` (then `bad` says why); R301 if inputs changed and `update`
    does not allow it.
    """
    listed: list[SourceFile] = []
    faults: list[CurateError] = []
    for index, spec in enumerate(specs):
        try:
            listed += list_input(spec, index)
        except CurateError as fault:
            faults.append(fault)
    raise_all(faults)
    if previous is None:
        return cut(Manifest((), (), ()), listed, specs)
    changes = compare(previous, listed)
    if changes.removed or changes.changed or (changes.added and not update):
        raise _changed(changes, update)
    now = {id(old): new for old, new in _pairs(previous, listed)[0]}
    known = tuple(
        replace(old, input=now[id(old)].input, location=now[id(old)].location, stamp=now[id(old)].stamp)
        for old in previous.files
    )
    for file in known:
        if file.bad is not None and specs[file.input].on_error == "fail":
            raise error(
                "D401",
                f"{file.path}: {file.bad}",
                help="set `on_error: quarantine` again, or `--force`",
                file=file.path,
            )
    return cut(replace(previous, files=known), list(changes.added), specs)


def compare(previous: Manifest, now: Sequence[SourceFile]) -> Changes:
    """What happened to the inputs. Files are known by path, else by location; a new mtime is no change."""
    pairs, removed, added = _pairs(previous, now)
    changed = tuple((old, new) for old, new in pairs if _difference(old, new))
    return Changes(tuple(added), tuple(removed), changed)


def _pairs(
    previous: Manifest, now: Sequence[SourceFile]
) -> tuple[list[tuple[SourceFile, SourceFile]], list[SourceFile], list[SourceFile]]:
    """(known pairs, gone, new): paired by input and path first, what is left by location."""
    pairs: list[tuple[SourceFile, SourceFile]] = []
    old, new = list(previous.files), list(now)
    for key in (lambda file: (file.input, file.path), lambda file: file.location):
        waiting: dict[object, list[SourceFile]] = {}
        for file in new:
            waiting.setdefault(key(file), []).append(file)
        left = []
        for file in old:
            matches = waiting.get(key(file))
            if matches:
                pairs.append((file, matches.pop(0)))
            else:
                left.append(file)
        taken = {id(file) for _, file in pairs}
        old, new = left, [file for file in new if id(file) not in taken]
    return pairs, old, new


def _difference(old: SourceFile, new: SourceFile) -> str:
    """What changed, in words; empty if nothing did."""
    if old.format != new.format:
        return f"was read as {old.format}, now {new.format}"
    if old.size != new.size:
        return f"was {old.size} bytes, now {new.size}"
    return "other content, same size" if old.edges != new.edges else ""


def _changed(changes: Changes, update: bool) -> CurateError:
    lines = [f"{old.path}: {_difference(old, new)}" for old, new in changes.changed]
    lines += [f"{file.path}: gone" for file in changes.removed]
    if not update or not lines:
        lines += [f"{file.path}: new" for file in changes.added]
    counts = ", ".join(
        f"{len(files)} {what}"
        for files, what in ((changes.changed, "changed"), (changes.removed, "gone"), (changes.added, "new"))
        if files
    )
    shown_lines = lines[:NAMED_FILES] + (
        [f"and {len(lines) - NAMED_FILES} more"] if len(lines) > NAMED_FILES else []
    )
    only_new = not changes.changed and not changes.removed
    return error(
        "R301",
        f"the input files changed since the run was planned ({counts}):\n  " + "\n  ".join(shown_lines),
        help="`--update` takes the new files in"
        if only_new
        else "put them back, or start anew with `--force`; `--update` only adds files",
    )


def _expand_all(spec: InputSpec) -> list[Found]:
    if spec.list_file is None:
        return [expand(pattern) for pattern in spec.paths]
    found, faults = [expand(pattern) for pattern in spec.paths], []
    for number, line in _list_lines(spec.list_file):
        try:
            found.append(expand(line))
        except CurateError as fault:
            problem = fault.problems[0]
            message = f"{shown(spec.list_file)}, line {number}: {problem.message}"
            faults.append(
                error(problem.code, message, help=problem.help, file=shown(spec.list_file), line=number)
            )
    raise_all(faults)
    if not found:
        raise error(
            "C203",
            f"{shown(spec.list_file)} lists no file",
            help="write one path a line",
            pattern=shown(spec.list_file),
        )
    return found


def _list_lines(location: str) -> list[tuple[int, str]]:
    with open_binary(local_or_url(location)) as file:
        lines = file.read().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if any(b"\0" in line for line in lines):
        number = next(i for i, line in enumerate(lines, start=1) if b"\0" in line)
        message = f"{shown(location)}, line {number}: no path holds a NUL; this is no list of paths in UTF-8"
        raise error(
            "D401", message, help="write one path a line, or give the file as `path:`", file=shown(location)
        )
    stripped = [(i, os.fsdecode(line.strip())) for i, line in enumerate(lines, start=1)]
    return [(i, line) for i, line in stripped if line and not line.startswith("#")]


def _shared_folder(bases: list[str]) -> str:
    """The longest folder that all bases lie in; empty if they share none (a local folder and a bucket)."""
    split = [base.rstrip("/").split("/") for base in bases]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared)


def _below(base: str, location: str) -> str:
    if base and location.startswith(base + "/"):
        return location[len(base) + 1 :]
    return location.partition("://")[2].lstrip("/") if is_url(location) else location.lstrip("/")


def _source_file(
    spec: InputSpec, index: int, path: str, location: str, facts: Mapping[str, Any] | None
) -> SourceFile:
    now = state(location, facts)
    format = spec.format or _format(location, now)
    bad = None
    if format == "jsonl" and magic(now.head) == "parquet":
        bad = f"{shown(location)} is named as JSON Lines and is a Parquet file"
        if spec.on_error == "fail":
            raise error("D401", bad, help="say `format: parquet` for this input", file=path)
    return SourceFile(index, path, location, format, now.size, now.stamp, now.edges, bad=bad)


def _format(location: str, now: State) -> Format:
    """By suffix; a file of another name that was asked for explicitly, by its content."""
    name = location.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith((".jsonl", ".json", ".ndjson")):
        return "jsonl"
    kind = magic(now.head)
    if kind == "parquet":
        return "parquet"
    if kind in ("gzip", "zstd") or now.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        return "jsonl"
    raise error(
        "D401",
        f"{shown(location)} is neither Parquet nor JSON Lines, as far as its name and its first bytes tell",
        help="narrow the pattern, such as `*.parquet`, or say `format: jsonl`",
        file=shown(location),
    )
