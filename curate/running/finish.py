"""The end of a publish: staged files become the output folder's files, all of them or, after a kill, at the next run.

    1. `published/<output>.json` in the run folder names every file of the new set (not complete)
    2. files of the set before are removed, staged files are renamed to their places; in a store they are copied there, by
       the store itself, and the staged ones are removed when all have been
    3. the card `README.md` and the marker `.curate.json` (which files of this folder are curate's) are written
    4. `published/<output>.json` is marked complete; the staging folder goes

Each step can be done again. A folder that holds Parquet files which neither this run nor the marker knows is never
written to (C205): a loader would read both sets as one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.commit import Done, write_atomically
from curate.core.errors import Problem, error
from curate.core.layout import RunFolder
from curate.core.lease import confirm
from curate.core.objects import ObjectPath, Place, Sizes, as_place, copy, remove
from curate.core.plan import OutputPlan, digest
from curate.core.store import each
from curate.io.publish import FileLayout, file_name
from curate.running.locks import OUTPUT_LEASE

MARKER = ".curate.json"


@dataclass(frozen=True)
class PublishedFile:
    """A file of an output. name: below the output's folder; attempt: whose work it is; bytes: on disk."""

    unit: int
    name: str
    attempt: str
    rows: int
    bytes: int
    partition: str


def staging_folder(folder: RunFolder, output: OutputPlan) -> Place:
    """Where a run's files wait, hidden, on the output's own file system or in its own store."""
    return as_place(output.path) / f".{output.name}.{digest(str(folder.root))[:8]}.staging"


def read_published(folder: RunFolder, output: OutputPlan) -> tuple[list[PublishedFile], bool]:
    """What stands in the output's folder by our own record, and whether that set is complete.

    A record of another folder, from before the config's `path` was changed, says nothing about this one; neither does a
    damaged one, and then the output is made again.
    """
    path = folder.published(output.name)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        files = [PublishedFile(**f) for f in raw["files"]]
        return (files, bool(raw["complete"])) if raw["path"] == output.path else ([], False)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return [], False


def in_place(folder: RunFolder, output: OutputPlan) -> Callable[[Done], bool]:
    """A test whether a written file counts: still staged, or already in its place, with its recorded size."""
    names = {(f.unit, f.attempt): f.name for f in read_published(folder, output)[0]}
    root = as_place(output.path)
    sizes = Sizes(root)

    def there(done: Done) -> bool:
        staged = done.outputs["file"]
        if sizes(as_place(staged.path)) == staged.bytes:
            return True
        name = names.get((done.unit, done.attempt))
        return name is not None and sizes(root / name) == staged.bytes

    return there


def finish(
    folder: RunFolder,
    output: OutputPlan,
    layout: FileLayout,
    done: Mapping[int, Done],
    card: str,
    run: str,
) -> list[PublishedFile]:
    """Move a complete set of staged files into place; returns them. Does nothing that is already done."""
    root = as_place(output.path)
    confirm(folder.lock)
    confirm(root / OUTPUT_LEASE)
    files = [
        PublishedFile(
            unit=unit,
            name=file_name(output, layout, unit),
            attempt=done[unit].attempt,
            rows=done[unit].rows,
            bytes=done[unit].outputs["file"].bytes,
            partition=layout.partition_of_file(unit).value,
        )
        for unit in sorted(done)
    ]
    before, complete = read_published(folder, output)
    described = _text(root / "README.md") == card and (root / MARKER).exists()
    if complete and described and before == files and not _missing(root, files):
        return files
    old = {f.name for f in before} | set(_marked(root, run))
    new = {f.name for f in files}
    # The marker knows the old set and the new one before a file moves: whatever happens then, they are known as ours.
    write_atomically(root / MARKER, _marker(run, output, [(name, 0) for name in sorted(old | new)]))
    _record(folder, output, files, complete=False, superseded=sorted(old - new))
    _remove_superseded(folder, output)
    _move(root, {f.name: as_place(done[f.unit].outputs["file"].path) for f in files})
    if missing := _missing(root, files):
        raise error(
            "R306",
            f"{root / missing[0]} is missing or has another size than was written",
            help="run again: its unit is computed again",
            file=missing[0],
        )
    write_atomically(root / "README.md", card)
    write_atomically(root / MARKER, _marker(run, output, [(f.name, f.bytes) for f in files]))
    _record(folder, output, files, complete=True, superseded=[])
    sweep_staging(folder, output, set())
    return files


def _move(root: Place, staged: Mapping[str, Place]) -> None:
    """Bring staged files to their places below `root`; those that are there already are no longer staged."""
    if isinstance(root, ObjectPath):
        waiting = Sizes()
        each(
            lambda item: copy(item[1], root / item[0]),
            [(name, place) for name, place in staged.items() if waiting(place) is not None],
        )
        return
    for name, place in staged.items():
        if isinstance(place, Path) and place.exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            place.replace(root / name)


def _missing(root: Place, files: Sequence[PublishedFile]) -> list[str]:
    """Files that do not stand in their places with their sizes."""
    sizes = Sizes(root)
    return [f.name for f in files if sizes(root / f.name) != f.bytes]


def _record(
    folder: RunFolder,
    output: OutputPlan,
    files: list[PublishedFile],
    *,
    complete: bool,
    superseded: list[str],
) -> None:
    """Write what stands, or is about to stand, in the output folder."""
    raw = {
        "path": output.path,
        "complete": complete,
        "superseded": superseded,
        "files": [vars(f) for f in files],
    }
    write_atomically(folder.published(output.name), json.dumps(raw, indent=0, ensure_ascii=True) + "\n")


def _remove_superseded(folder: RunFolder, output: OutputPlan) -> None:
    root = as_place(output.path)
    raw = json.loads(folder.published(output.name).read_text(encoding="utf-8"))
    remove(root / name for name in raw["superseded"])
    for path in (root / name for name in raw["superseded"]):
        if path.parent != root and path.parent.exists() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def sweep_staging(folder: RunFolder, output: OutputPlan, keep: set[Place]) -> None:
    """Remove staged files nobody vouches for, and the folder when it is empty."""
    staging = staging_folder(folder, output)
    if not staging.exists():
        return
    remove([path for path in staging.iterdir() if path not in keep])
    if not any(staging.iterdir()):
        staging.rmdir()


def _marker(run: str, output: OutputPlan, files: list[tuple[str, int]]) -> str:
    raw: dict[str, Any] = {"run": run, "output": output.name, "files": files}
    return json.dumps(raw, indent=0, ensure_ascii=True) + "\n"


def _marked(root: Place, run: str) -> list[str]:
    """Files in the folder that an earlier run of the same name published there."""
    path = root / MARKER
    if not path.exists():
        return []
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name, _ in raw["files"]] if raw["run"] == run else []
        return [n for n in names if _stays_inside(n)]
    except (ValueError, KeyError, TypeError):
        return []


def _stays_inside(name: str) -> bool:
    """Whether a name from a marker is one that curate gives: a Parquet file in the folder, at most one level down."""
    parts = Path(name).parts
    return (
        name.endswith(".parquet") and len(parts) <= 2 and ".." not in parts and not Path(name).is_absolute()
    )


def foreign_files(folder: RunFolder, output: OutputPlan, run: str) -> Problem | None:
    """C205 if the output folder holds Parquet files, or a `README.md`, that are not ours to replace."""
    root = as_place(output.path)
    if not root.is_dir():
        return None
    files, _ = read_published(folder, output)
    ours = {root / f.name for f in files} | {root / name for name in _marked(root, run)}
    strange = [p for p in sorted(root.rglob("*.parquet")) if p not in ours]
    card = root / "README.md"
    if not strange and (ours or not card.exists()):
        return None
    if not strange:
        message = f"the folder of output '{output.name}' holds {card}, which this run did not write"
        return Problem(
            "C205", message, "choose another `path`, or move that file away: the data card is written there"
        )
    return Problem(
        "C205",
        f"the folder of output '{output.name}' holds Parquet files that this run did not write ({len(strange)}), "
        f"such as {strange[0]}",
        "choose another `path`, or move those files away: a loader would read both sets as one",
    )


def _text(path: Place) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
