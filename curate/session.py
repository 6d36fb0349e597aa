"""From a config on the command line to a compiled run: what `run`, `check` and `plan` have in common."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from curate.compile import Compiled, compile_run
from curate.config import Loaded, load
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest


@dataclass(frozen=True)
class Request:
    """What the command line says about a run."""

    config: Path
    overrides: tuple[str, ...] = ()
    run_dir: Path | None = None
    update: bool = False
    force: bool = False


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
    previous = None if request.force else read_manifest(folder)
    compiled = compile_run(loaded, folder, previous=previous, update=request.update)
    return Session(loaded, folder, compiled, previous)


def run_folder(loaded: Loaded, given: Path | None) -> Path:
    """`--run-dir`, else the config's `run_dir`, else `runs/<name>`; absolute."""
    if given is not None:
        return given.absolute()
    from curate.environment import expand

    return Path(expand(loaded.config.run_dir, os.environ)).absolute()


def _check_folder(folder: RunFolder) -> None:
    """E506 if the run folder can neither be written nor made."""
    existing = folder.root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "cannot be written" if existing.is_dir() else "is not a folder"
        message = f"the run folder {folder.root} cannot be used: {existing} {what}"
        raise error("E506", message, help="choose another --run-dir")


def read_manifest(folder: RunFolder) -> Manifest | None:
    """The frozen manifest of a run folder; None if nothing was run there. R309 if the folder is something else."""
    if not folder.root.exists() or not any(folder.root.iterdir()):
        return None
    if not folder.manifest.exists():
        ours = {"lock", "logs", "cache", "failure.json", "plan.json"}
        strange = sorted(
            p.name for p in folder.root.iterdir() if p.name not in ours and not p.name.startswith(".")
        )
        if strange:
            raise error(
                "R309",
                f"{folder.root} is not a run folder: it holds {', '.join(strange[:3])}",
                help="choose an empty or new folder with --run-dir",
            )
        return None
    try:
        return Manifest.from_json(folder.manifest.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as cause:
        raise error(
            "R309", f"the manifest {folder.manifest} is damaged: {cause}", help="start anew with --force"
        ) from cause
