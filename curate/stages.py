"""Steps by name: `use: filters.gopher_quality` is `filters/gopher_quality.py`, which ends in `STAGE = …`.

Names are listed without importing anything: a file of the packages `lid`, `filters`, `dedup` counts if one
of its lines starts with `STAGE =`. Outside packages add steps by the entry-point group `curate.stages`,
name → class, or module with a `STAGE`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Any, Final, Literal

from curate.core.errors import CurateError, error
from curate.core.suggest import did_you_mean

PACKAGES: Final = ("lid", "filters", "dedup")
GROUP: Final = "curate.stages"

Kind = Literal["annotator", "selector", "job"]

_DEFINES_STAGE: Final = re.compile(rb"^STAGE\b[^=\n]*=", re.MULTILINE)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?:\.[A-Za-z_][A-Za-z0-9_\-]*)*", re.ASCII)


def names(*, outside: bool = True) -> list[str]:
    """The names that `use:` accepts, in alphabetical order. outside: those of other packages too."""
    return sorted({*_own(), *(_outside() if outside else ())})


def load(name: str) -> type[Any]:
    """The step's class. C105 if there is none of that name, E502 if its module cannot be imported."""
    if name in _own():
        return _stage_of(name, name)
    outside = _outside().get(name)
    if outside is not None:
        return _stage_of(name, outside.value)
    raise _unknown(name)


def kind(stage: type[Any]) -> Kind:
    """What a step is, by what it can do: jobs have a mapper, annotators annotate, selectors keep."""
    if hasattr(stage, "mapper"):
        return "job"
    if hasattr(stage, "annotate"):
        return "annotator"
    if hasattr(stage, "keep"):
        return "selector"
    raise TypeError(f"{stage.__module__}.{stage.__qualname__} has none of mapper, annotate, keep")


@functools.cache
def _own() -> frozenset[str]:
    """Names of the steps in our packages, from the folders."""
    found: set[str] = set()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in sorted(Path(folder).rglob("*.py")):
                if _DEFINES_STAGE.search(file.read_bytes()):
                    found.add(".".join((package, *file.relative_to(folder).with_suffix("").parts)))
    return frozenset(name.removesuffix(".__init__") for name in found)


@functools.cache
def _outside() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of other packages; our own names win."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _stage_of(name: str, target: str) -> type[Any]:
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
        stage = getattr(found, "STAGE", found)
    except CurateError:
        raise
    except Exception as cause:
        missing = isinstance(cause, ModuleNotFoundError) and cause.name is not None
        raise error(
            "E502",
            f"the step {name} cannot be imported: {type(cause).__name__}: {cause}",
            help=f"install the package that provides '{cause.name}'"  # type: ignore[attr-defined]
            if missing
            else f"`python -c 'import {module_name}'` shows where it fails",
        ) from cause
    if not isinstance(stage, type) or not hasattr(stage, "Config"):
        raise error(
            "E502",
            f"the step {name} cannot be used: {target} defines no STAGE class with a Config",
            help="end the module in `STAGE = YourStep`",
        )
    try:
        kind(stage)
    except TypeError as cause:
        raise error("E502", f"the step {name} cannot be used: {cause}", help="give it one of them") from cause
    return stage


def _unknown(name: str) -> CurateError:
    known = names()
    near = did_you_mean(name, known) if _NAME.fullmatch(name) else None
    if near is not None:
        help = f"did you mean '{near}'?"
    elif known:
        help = "`curate stages` lists the steps there are"
    else:
        help = "no package with steps is installed"
    return error("C105", f"there is no step '{name}'", help=help)
