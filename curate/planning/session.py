"""From a config on the command line to a compiled run: what `run`, `check` and `plan` have in common."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from curate.config.environment import expand
from curate.config.load import Loaded, load
from curate.core.errors import CurateError, error
from curate.core.layout import RUN_NAMES, RunFolder
from curate.core.lease import probe
from curate.core.manifest import Manifest
from curate.core.objects import ObjectPath, Place, as_place
from curate.core.plan import Plan
from curate.planning.compile import Compiled, compile_run
from curate.planning.preview import files_at_once


@dataclass(frozen=True)
class Request:
    """What the command line says about a run. here: whether the work is done on this machine."""

    config: Path
    overrides: tuple[str, ...] = ()
    run_dir: Place | None = None
    update: bool = False
    force: bool = False
    here: bool = True


@dataclass(frozen=True)
class Session:
    """A config that passed every check, with its run folder. previous: the manifest the folder had, if any."""

    loaded: Loaded
    folder: RunFolder
    compiled: Compiled
    previous: Manifest | None


def prepare(request: Request) -> Session:
    """Load, check and compile; raises every fault there is at once."""
    loaded = load(request.config, request.overrides)
    folder = RunFolder(run_folder(loaded, request.run_dir))
    _check_folder(folder)
    if request.force:
        _check_forgettable(folder)
    previous = None if request.force else read_manifest(folder)
    compiled = compile_run(loaded, folder, previous=previous, update=request.update)
    if request.here:
        _check_scratch(compiled.plan)
    _check_files(loaded, compiled)
    return Session(loaded, folder, compiled, previous)


def folder_of(request: Request) -> RunFolder:
    """Where a request's run stands."""
    return RunFolder(run_folder(load(request.config, request.overrides), request.run_dir))


def run_folder(loaded: Loaded, given: Place | None) -> Place:
    """`--run-dir`, else the config's `run_dir`, else `runs/<name>`; absolute, or in a store."""
    if given is not None:
        return given.absolute() if isinstance(given, Path) else given
    return as_place(expand(loaded.config.run_dir, os.environ))


def _check_folder(folder: RunFolder) -> None:
    """E506 if the run folder can neither be written nor made, E511 if its store is not fit for one."""
    if isinstance(folder.root, ObjectPath):
        probe(folder.root, exclusive=True)
        return
    existing = folder.root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "cannot be written" if existing.is_dir() else "is not a folder"
        message = f"the run folder {folder.root} cannot be used: {existing} {what}"
        raise error("E506", message, help="choose another --run-dir")


def _check_forgettable(folder: RunFolder) -> None:
    """`--force` empties a run folder, whatever state it is in, and nothing else: R309 for any other folder."""
    strange = _not_ours(folder)
    if strange:
        raise _no_run_folder(folder, strange)


def _not_ours(folder: RunFolder) -> list[str]:
    """Names in a folder that no run makes."""
    ours = {"lock", "cache", *RUN_NAMES}
    names = sorted(p.name for p in folder.root.iterdir()) if folder.root.is_dir() else []
    return [n for n in names if n not in ours and not n.startswith(".")]


def _no_run_folder(folder: RunFolder, strange: list[str]) -> CurateError:
    return error(
        "R309",
        f"{folder.root} is not a run folder: it holds {', '.join(strange[:3])}",
        help="choose an empty or new folder with --run-dir",
    )


def read_manifest(folder: RunFolder) -> Manifest | None:
    """The frozen manifest of a run folder; None if nothing was run there. R309 if the folder is something else."""
    if not folder.root.exists() or not any(folder.root.iterdir()):
        return None
    if not folder.manifest.exists():
        if strange := _not_ours(folder):
            raise _no_run_folder(folder, strange)
        return None
    try:
        return Manifest.from_json(folder.manifest.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as cause:
        raise error(
            "R309", f"the manifest {folder.manifest} is damaged: {cause}", help="start anew with --force"
        ) from cause


def _check_scratch(plan: Plan) -> None:
    """E506 if the folder for scratch files is not there."""
    if plan.local_tmp is None:
        return
    scratch = Path(expand(plan.local_tmp, os.environ))
    if not scratch.is_dir() or not os.access(scratch, os.W_OK):
        raise error(
            "E506",
            f"{scratch} cannot be used for scratch files",
            help="correct execution.local_tmp",
            exit_code=2,
        )


def _check_files(loaded: Loaded, compiled: Compiled) -> None:
    """C220 if the run folder would come to hold more files than the config allows."""
    needed, allowed = (
        files_at_once(compiled.plan, compiled.manifest),
        loaded.config.execution.max_files,
    )
    if needed <= allowed:
        return
    at = ("execution", "max_files")
    raise error(
        "C220",
        f"the run folder would hold {needed:,} files, and {allowed:,} are allowed",
        help="raise execution.max_files, or put the input into fewer and larger files",
        position=loaded.source.value(at) if loaded.source.at(at) is not None else None,
    )
