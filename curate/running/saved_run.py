"""Plan and manifest of a run folder, read back by whoever works in it or looks at it."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager

from curate import __version__
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.objects import Place
from curate.core.plan import FORMAT, Plan


def load_run(root: Place) -> tuple[Plan, Manifest]:
    """Plan and manifest of a run folder; R309 if it is none, or of another version."""
    with without_collector():
        return _load(root)


@contextmanager
def without_collector() -> Iterator[None]:
    """Python looks for garbage again and again while many records are read, and there is none: half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def load_plan(root: Place) -> Plan:
    """The plan of a run folder; R309 if it is none, or of another version."""
    with _explained(root, RunFolder(root).plan):
        text = RunFolder(root).plan.read_text(encoding="utf-8")
        if (found := dict(json.loads(text)).get("format")) != FORMAT:
            raise error(
                "R309",
                f"{root} was made by another version of curate (form {found}, this one reads {FORMAT})",
                help="use that version, or start anew with --force",
            )
        return Plan.from_json(text)


def _load(root: Place) -> tuple[Plan, Manifest]:
    plan = load_plan(root)
    with _explained(root, RunFolder(root).manifest):
        return plan, Manifest.from_json(RunFolder(root).manifest.read_text(encoding="utf-8"))


@contextmanager
def _explained(root: Place, file: Place) -> Iterator[None]:
    """What goes wrong while a file of the run folder is read."""
    try:
        yield
    except FileNotFoundError as cause:
        raise error(
            "R307", f"{root} is not a run folder: it has no {file.name}", help="give the config file"
        ) from cause
    except (ValueError, TypeError, KeyError) as cause:
        raise error(
            "R309", f"{root} holds a damaged plan or manifest: {cause}", help="start anew with --force"
        ) from cause


def check_version(plan: Plan, root: Place) -> None:
    """R309 if another version of curate made the plan: for those who work by it, not for those who only look."""
    if plan.version != __version__:
        raise error(
            "R309",
            f"{root} was planned by curate {plan.version}, and this is {__version__}",
            help=f"work with curate {plan.version} on every node, or run again with this one",
        )
