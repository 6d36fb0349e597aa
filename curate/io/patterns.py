"""From what a user writes under `path:` to the files it means.

    a.parquet                a file; what exists under this very name comes before its reading as a pattern
    data/                    a folder: every file below it that ends in .parquet, or in .jsonl .json .ndjson
                             alone or with .gz or .zst. Names that begin with `.` or `_` are left out
                             here, and only here
    data/*/[0-9]*.parquet    a pattern: * ? [] within a name, ** across folders; none of
                             them matches a leading dot. A folder that it matches is read as a folder
    s3://bucket/data/*.zst   the same three, in any store that fsspec reaches

Links are followed. Every real folder is visited once, so loops end; every real file is taken once, under the
name that sorts first.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from curate.core.errors import error
from curate.core.store import filesystem, is_url, local_or_url, reaching, shown, unreadable

#: What a folder is searched for.
SUFFIXES: Final = (
    ".parquet",
    *(stem + pack for stem in (".jsonl", ".json", ".ndjson") for pack in ("", ".gz", ".zst")),
)


#: (device, inode) of a folder.
Inode = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """base: the fixed part of the pattern, a folder. locations: sorted, without repeats. facts: what a store's list said of
    them, so that none has to be asked about alone."""

    base: str
    locations: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def expand(pattern: str) -> Found:
    """The files that one path, folder or pattern means. C203 if there are none."""
    location = local_or_url(pattern)
    found = _expand_url(location) if is_url(location) else _expand_local(location)
    if not found.locations:
        nearest = found.base if is_url(location) else _nearest_folder(found.base)
        what = "folder has no file to read" if os.path.isdir(location) else "nothing matches"
        raise error(
            "C203",
            f"{what}: {shown(pattern)}",
            help=f"the nearest folder that exists is {shown(nearest)}",
            pattern=shown(pattern),
        )
    return found


def _expand_local(location: str) -> Found:
    if os.path.isdir(location):
        return Found(location, tuple(sorted(_walk(location, set()))))
    if _exists(location):
        return Found(os.path.dirname(location), (location,))
    if not glob.has_magic(location):
        return Found(os.path.dirname(location), ())
    base = _fixed_part(location)
    files: set[str] = set()
    seen: set[Inode] = set()
    if not _exists(base):
        return Found(base, ())
    for match in _matches(base, location[len(base) :].strip("/").split("/")):
        files.update(_walk(match, seen) if os.path.isdir(match) else (match,))
    return Found(base, tuple(sorted(files)))


def _exists(path: str) -> bool:
    """True for broken links too. E506 where that cannot be told."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as fault:
        raise unreadable(path, fault) from fault
    return True


def _matches(folder: str, parts: list[str]) -> Iterator[str]:
    """`glob.glob`, but it raises where a folder may not be listed, and `**` visits each real folder once."""
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        for below in _folders(folder, set()):
            yield from _matches(below, rest or ["*"])
    elif glob.has_magic(part):
        for name in _names(folder):
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                path = os.path.join(folder, name)
                if not rest or os.path.isdir(path):
                    yield from _matches(path, rest)
    elif _exists(os.path.join(folder, part)):
        yield from _matches(os.path.join(folder, part), rest)


def _folders(folder: str, seen: set[Inode]) -> Iterator[str]:
    """The folder and those below it, hidden ones left out, each real folder once."""
    if _visited(folder, seen):
        return
    yield folder
    for name in _names(folder):
        path = os.path.join(folder, name)
        if not name.startswith(".") and os.path.isdir(path):
            yield from _folders(path, seen)


def _walk(folder: str, seen: set[Inode]) -> Iterator[str]:
    """The files to read in a folder and below it, `.` and `_` names left out, each real folder once."""
    if _visited(folder, seen):
        return
    for name in _names(folder):
        path = os.path.join(folder, name)
        if name.startswith((".", "_")):
            continue
        if os.path.isdir(path):
            yield from _walk(path, seen)
        elif name.endswith(SUFFIXES):
            yield path


def _visited(folder: str, seen: set[Inode]) -> bool:
    facts = os.stat(folder)
    inode = (facts.st_dev, facts.st_ino)
    if inode in seen:
        return True
    seen.add(inode)
    return False


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as fault:
        raise unreadable(folder, fault) from fault


def _expand_url(url: str) -> Found:
    """One request for 1,000 objects below the fixed part of the pattern, and two or three more."""
    fs, path = filesystem(url)
    with reaching(url):
        base, matches = _fixed_part(path), {}
        try:
            matches = {path: fs.info(path)}
            base = posixpath.dirname(path) if matches[path]["type"] == "file" else path
        except FileNotFoundError:
            if glob.has_magic(path):
                matches = _matching(fs, base, path)
        found: dict[str, Any] = {}
        for name, facts in matches.items():
            found.update(_find(fs, name) if facts["type"] == "directory" else {name: facts})
    facts = {_url(fs, name): facts for name, facts in sorted(found.items())}
    return Found(_url(fs, base).rstrip("/"), tuple(facts), facts)


def _matching(fs: Any, base: str, pattern: str) -> dict[str, Any]:
    """What fits a pattern, files and folders. fs.glob lists everything twice, so a folder's own names are looked at here."""
    last = pattern[len(base) :].strip("/")
    if "/" in last or "**" in last:
        return dict(fs.glob(pattern, detail=True))
    found = {}
    for facts in fs.ls(base, detail=True):
        name = posixpath.basename(facts["name"].rstrip("/"))
        if fnmatch.fnmatchcase(name, last) and (last.startswith(".") or not name.startswith(".")):
            found[facts["name"]] = facts
    return found


def _find(fs: Any, folder: str) -> dict[str, Any]:
    """The files to read in a folder and below it, with what the store says of each."""
    return {
        name: facts
        for name, facts in fs.find(folder, detail=True).items()
        if _is_read(name[len(folder.rstrip("/")) :].strip("/").split("/"))
    }


def _is_read(below: list[str]) -> bool:
    return below[-1].endswith(SUFFIXES) and not any(part.startswith((".", "_")) for part in below)


def _url(fs: Any, path: str) -> str:
    return str(fs.unstrip_protocol(path))


def _fixed_part(pattern: str) -> str:
    """The folders before the first part that has a wildcard."""
    parts = pattern.split("/")
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or "/"


def _nearest_folder(path: str) -> str:
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path
