"""Plan and manifest of a run folder, read back by whoever works in it or looks at it."""

from __future__ import annotations

import json

from curate import __version__
from curate.core.errors import error
from curate.core.layout import RunFolder
from curate.core.manifest import Manifest
from curate.core.objects import Place
from curate.core.plan import FORMAT, Plan


def load_run(root: Place) -> tuple[Plan, Manifest]:
    """Plan and manifest of a run folder; R309 if it is none, or of another version."""
    folder = RunFolder(root)
    texts = {}
    for path in (folder.plan, folder.manifest):
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
        except FileNotFoundError as cause:
            message = f"{root} is not a run folder: it has no {path.name}"
            raise error("R307", message, help="give the config file") from cause
    plan_text, manifest_text = texts.values()
    try:
        if (found := dict(json.loads(plan_text)).get("format")) != FORMAT:
            raise error(
                "R309",
                f"{root} was made by another version of curate (form {found}, this one reads {FORMAT})",
                help="use that version, or start anew with --force",
            )
        return Plan.from_json(plan_text), Manifest.from_json(manifest_text)
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
