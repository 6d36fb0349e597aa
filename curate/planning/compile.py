"""From a loaded config to a plan: every check that can be made before work starts, all faults at once.

    config → inputs listed and frozen (manifest) → source schema → steps, column by column → outputs → phases

A column is available to a step if the source has it or an earlier step wrote it. Steps are fused into one pass while they
need the same resources; a pass is cut where GPUs begin or end.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from curate import __version__
from curate.config.environment import expand
from curate.config.load import Loaded
from curate.config.yaml_source import KeyPath
from curate.core.errors import CurateError, Problem
from curate.core.layout import RunFolder
from curate.core.manifest import InputSpec, Manifest
from curate.core.models import models_folder
from curate.core.objects import Place, as_place
from curate.core.overlay import QUARANTINED
from curate.core.plan import Plan, packed_schema
from curate.core.stage import Context
from curate.core.store import is_url
from curate.core.suggest import did_you_mean
from curate.io.listing import build_manifest
from curate.io.source import source_schema
from curate.planning.checked_steps import checked_steps, first_lid
from curate.planning.checking import Checking
from curate.planning.earlier import earlier_plan
from curate.planning.outputs import output_plans
from curate.planning.phases import phases, provenance
from curate.planning.places import place_faults
from curate.planning.snapshots import with_snapshots_of
from curate.running.ledger import READ

_RUN_FOLDER: Final = "the run folder"


@dataclass(frozen=True)
class Compiled:
    """A config that passed every check."""

    plan: Plan
    manifest: Manifest
    schema: pa.Schema


def compile_run(
    loaded: Loaded, folder: RunFolder, *, previous: Manifest | None = None, update: bool = False
) -> Compiled:
    """Check everything and plan the run. Raises all faults at once, in the order of the config's lines.

    previous: the manifest frozen by an earlier run in the same folder; without `update` the inputs must not differ.
    """
    checking = Checking(loaded)
    checking.problems += loaded.unset_variables(os.environ)
    checking.stop()
    specs = _specs(loaded)
    manifest, source = _inputs(checking, specs, previous, update)
    context = Context(
        models=models_folder(),
        scratch=folder.cache,
        offline=_offline(),
        run=loaded.config.name,
        words=loaded.config.words,
        cache=folder.cache,
    )
    _check_names(checking)
    size = sum(s.bytes for s in manifest.shards) if manifest is not None else 0
    before = earlier_plan(folder) if previous is not None else None
    steps, after = checked_steps(checking, source, context, size, before)
    language = _language(checking, after)
    outputs = (
        output_plans(loaded, after, language, [s.plan for s in steps], folder, specs, checking.problems)
        if after is not None
        else ()
    )
    checking.stop()
    assert manifest is not None
    assert source is not None
    assert after is not None
    config = provenance(loaded, [step.plan for step in steps])
    planned = phases(manifest, steps, outputs, language, loaded.config.words, config)
    if previous == manifest:
        planned = with_snapshots_of(planned, folder)
    plan = Plan(
        name=loaded.config.name,
        version=__version__,
        language=language,
        source=packed_schema(source),
        inputs=specs,
        phases=planned,
        outputs=outputs,
        models=str(context.models),
        local_tmp=loaded.config.execution.local_tmp,
        offline=context.offline,
        config=config,
        words=loaded.config.words,
    )
    numbers = {step.name: step.index for step in loaded.config.steps}
    checking.stop()  # a plan of faulty options would find every place outdated
    for name, cause in place_faults(plan, manifest, folder):
        checking.add(cause, ("steps", numbers[name], "index"))
    checking.stop()
    return Compiled(plan, manifest, after)


def _offline() -> bool:
    return os.environ.get("CURATE_OFFLINE", "") not in ("", "0")


def _specs(loaded: Loaded) -> tuple[InputSpec, ...]:
    """Inputs with their environment variables put in."""

    specs = []
    for entry in loaded.config.input:
        spec = entry.spec()
        listed = expand(spec.list_file, os.environ) if spec.list_file is not None else None
        paths = tuple(expand(p, os.environ) for p in spec.paths)
        specs.append(replace(spec, paths=paths, list_file=listed))
    return tuple(specs)


def _inputs(
    checking: Checking, specs: tuple[InputSpec, ...], previous: Manifest | None, update: bool
) -> tuple[Manifest | None, pa.Schema | None]:
    path: KeyPath = ("input",)
    try:
        manifest = build_manifest(specs, previous=previous, update=update)
    except CurateError as cause:
        if cause.exit_code == 1:
            raise
        for problem in cause.problems:
            checking.add(CurateError([problem]), _input_of(problem, specs, checking.loaded))
        return None, None
    try:
        return manifest, source_schema(manifest, specs)
    except CurateError as cause:
        checking.add(cause, path)
        return manifest, None


def _check_names(checking: Checking) -> None:
    """`read` and `quarantine` stand for the reader's own work in ledgers and overlays."""
    for step in checking.loaded.config.steps:
        if step.name in (READ, QUARANTINED):
            message = f"no step can be called '{step.name}': reports use it for the reader's own work"
            checking.fault("C108", message, "give the step another name with `as:`", (*step.path, "as"))


def _check_inputs_apart(
    checking: Checking, manifest: Manifest, specs: Sequence[InputSpec], folder: RunFolder
) -> None:
    """C202 if the run folder lies where inputs are looked for, or inputs lie in it or in an output."""
    outputs = {
        f"output '{p.name}'": _real(as_place(expand(p.path, os.environ)))
        for p in checking.loaded.config.publish
    }
    places = {_RUN_FOLDER: _real(folder.root), **outputs}
    several = isinstance(checking.loaded.source.at(("input",)), list)
    for index, spec in enumerate(specs):
        path: KeyPath = ("input", index) if several else ("input",)
        folders = [
            p.rstrip("/") if is_url(p) else os.path.realpath(p)
            for p in spec.paths
            if is_url(p) or os.path.isdir(p)
        ]
        if any(f"{places[_RUN_FOLDER]}/".startswith(f"{f}/") for f in folders):
            help = "read a folder of its own: the next run would read what this one writes"
            checking.fault("C202", f"{_RUN_FOLDER} lies in the input {spec.paths[0]}", help, path)
    real: dict[str, str] = {}
    for file in manifest.files:
        location = file.location
        if not is_url(location):
            parent, name = os.path.split(location)
            location = os.path.join(real.setdefault(parent, os.path.realpath(parent)), name)
        for what, place in places.items():
            if location.startswith(f"{place}/"):
                path = ("input", file.input) if several else ("input",)
                checking.fault(
                    "C202", f"the input {file.path} lies in {what}", "read from another folder", path
                )
                return


def _real(place: Place) -> str:
    """A folder's name by which others can be compared with it: links are followed."""
    return os.path.realpath(place) if isinstance(place, Path) else str(place)


def _input_of(problem: Problem, specs: Sequence[InputSpec], loaded: Loaded) -> KeyPath:
    """The input that a problem of listing is about: the one whose path it names, else all of them."""
    several = isinstance(loaded.source.at(("input",)), list)
    for index, spec in enumerate(specs):
        for name in (*spec.paths, *([spec.list_file] if spec.list_file is not None else [])):
            if name in problem.message:
                base: KeyPath = ("input", index) if several else ("input",)
                return (*base, "list" if name == spec.list_file else "path")
    return ("input",)


def _language(checking: Checking, schema: pa.Schema | None) -> str | None:
    """The ledger's language column: the config's, else the first LID step's, else none."""
    config = checking.loaded.config
    column = config.language or first_lid(config.steps)
    if schema is None or column is None:
        return column
    if column not in schema.names:
        near = did_you_mean(column, schema.names)
        help = f"did you mean '{near}'?" if near else "name a column of the input or of a LID step"
        checking.fault("C201", f"there is no column '{column}'", help, ("language",))
    elif schema.field(column).type != pa.string():
        kind = schema.field(column).type
        checking.fault(
            "C206", f"the language column '{column}' is {kind}", "name a column of strings", ("language",)
        )
    return column
