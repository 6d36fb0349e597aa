"""Checking `publish:`: which columns, which rows, and that the folder can be written, before any work starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pyarrow as pa

from curate.config.environment import expand
from curate.config.load import Loaded
from curate.config.model import Publish
from curate.config.yaml_source import KeyPath
from curate.core.errors import CurateError, Position, Problem
from curate.core.layout import RunFolder
from curate.core.lease import probe
from curate.core.manifest import InputSpec
from curate.core.objects import ObjectPath, Place, as_place
from curate.core.passages import Beside
from curate.core.plan import OutputPlan, StepPlan
from curate.core.store import is_url
from curate.core.suggest import did_you_mean
from curate.io.passages import passage_columns
from curate.io.published import default_columns, preset_columns
from curate.planning.passages import spans_problems
from curate.running.finish import foreign_files

#: `unit:` of an output whose rows are documents.
DOCUMENTS: Final = "documents"
#: How the name of an object ends that is a file to read and no folder.
_FILES: Final = (".parquet", ".jsonl", ".json", ".ndjson", ".gz", ".zst")


def output_plans(
    loaded: Loaded,
    schema: pa.Schema,
    language: str | None,
    steps: Sequence[StepPlan],
    folder: RunFolder,
    specs: Sequence[InputSpec],
    problems: list[Problem],
) -> tuple[OutputPlan, ...]:
    """The outputs of a config, for the columns there are after the last of the steps; faults are added to `problems`."""
    plans = []
    documents, document_language = schema, language
    for index, entry in enumerate(loaded.config.publish):
        path: KeyPath = ("publish", index)
        root = as_place(expand(entry.path, os.environ))
        schema, language, beside = documents, document_language, None
        if entry.unit != DOCUMENTS:
            found = spans_problems(loaded, (*path, "unit"), entry.unit, documents)
            problems += found
            if found:
                continue
            beside = Beside.of(steps, entry.unit)
            schema, language = beside.fields(documents), beside.language or document_language
        if entry.where is not None:
            problems += loaded.condition_problems((*path, "where"), schema, language)
        partition = _partition(loaded, entry, path, schema, language, problems)
        columns = _columns(loaded, entry, path, schema, language, beside, problems)
        plan = OutputPlan(
            name=entry.name,
            path=str(root),
            where=entry.where,
            partition_by=partition,
            shard_bytes=entry.shard,
            row_group_bytes=entry.row_group,
            seed=entry.shuffle,
            preset=entry.columns if isinstance(entry.columns, str) else None,
            columns=columns,
            licence=entry.licence,
            title=entry.title,
            unit=entry.unit if entry.unit != DOCUMENTS else None,
        )
        plans.append(plan)
        problems += _place_problems(loaded, plan, path, folder, specs)
    problems += _overlapping(loaded, plans)
    return tuple(plans)


def _partition(
    loaded: Loaded,
    entry: Publish,
    path: KeyPath,
    schema: pa.Schema,
    language: str | None,
    problems: list[Problem],
) -> str | None:
    column = entry.partition_by
    if column is None:
        return None
    place = loaded.source.value((*path, "partition_by"))
    if column == "language":
        if language is None and column not in schema.names:
            help = "add a step such as `use: lid.fasttext`, or name the column with `language:`"
            problems.append(Problem("C201", "no step or column gives the language", help, place))
        return language or column
    if column not in schema.names:
        near = did_you_mean(column, [*schema.names, "language"])
        help = f"did you mean '{near}'?" if near else f"columns: {', '.join(schema.names[:12])}"
        problems.append(Problem("C201", f"there is no column '{column}' to partition by", help, place))
    elif not _names_folders(schema.field(column).type):
        kind = schema.field(column).type
        problems.append(
            Problem("C206", f"'{column}' is {kind}; it names no folders", "name a column of values", place)
        )
    return column


def _names_folders(kind: pa.DataType) -> bool:
    """Whether values of a type can be written as text."""
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return False
    try:
        pa.nulls(1, kind).cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, NotImplementedError):
        return False
    return not pa.types.is_fixed_size_binary(kind)


def _columns(
    loaded: Loaded,
    entry: Publish,
    path: KeyPath,
    schema: pa.Schema,
    language: str | None,
    beside: Beside | None,
    problems: list[Problem],
) -> tuple[tuple[str, str], ...]:
    """(published name, source) of every published column. beside: of an output of passages."""
    wanted = entry.columns
    if wanted is None:
        return default_columns(schema) if beside is None else passage_columns(schema, beside, language)
    if isinstance(wanted, str):
        return preset_columns(wanted, schema, language)
    pairs = [(v, k) for k, v in wanted.items()] if isinstance(wanted, dict) else [(c, c) for c in wanted]
    if beside is not None and language is not None and "language" not in schema.names:
        pairs = [(name, language if column == "language" else column) for name, column in pairs]
    for index, (_, column) in enumerate(pairs):
        if column not in schema.names:
            near = did_you_mean(column, schema.names)
            help = f"did you mean '{near}'?" if near else f"columns: {', '.join(schema.names[:12])}"
            at = (*path, "columns", column) if isinstance(wanted, dict) else (*path, "columns", index)
            place = loaded.source.key(at)
            problems.append(Problem("C201", f"there is no column '{column}' to publish", help, place))
    return tuple(pairs)


def _place_problems(
    loaded: Loaded, plan: OutputPlan, path: KeyPath, folder: RunFolder, specs: Sequence[InputSpec]
) -> list[Problem]:
    """Whether the folder can be written, and holds nothing of anybody else's."""
    place = loaded.source.value((*path, "path"))
    root = as_place(plan.path)
    if _inside(root, folder.root) or _inside(folder.root, root):
        message = f"output '{plan.name}' and the run folder {folder.root} lie in each other"
        return [Problem("C202", message, "give it a folder of its own", place)]
    for spec in specs:
        for pattern in spec.paths:
            if (how := _touches(root, pattern)) is not None:
                message = f"output '{plan.name}' would be {how} the input {pattern}"
                help = "write somewhere else: the next run would read its own output"
                return [Problem("C202", message, help, place)]
    problems = _unwritable(root, place) if isinstance(root, Path) else _unreachable(root, place)
    if problems:
        return problems
    strange = foreign_files(folder, plan, loaded.config.name)
    return [Problem(strange.code, strange.message, strange.help, place)] if strange is not None else []


def _unreachable(root: ObjectPath, place: Position) -> list[Problem]:
    """Why nothing can be written to a store, in its own words; found by writing something."""
    try:
        probe(root, exclusive=False)
    except CurateError as cause:
        return [Problem(p.code, p.message, p.help, place) for p in cause.problems]
    return []


def _unwritable(root: Path, place: Position) -> list[Problem]:
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return [Problem("C205", f"{existing} is not a folder", "choose another `path`", place)]
    if not os.access(existing, os.W_OK | os.X_OK):
        return [
            Problem(
                "C205",
                f"{existing} cannot be written",
                "choose another `path`, or change its permissions",
                place,
            )
        ]
    return []


def _overlapping(loaded: Loaded, plans: Sequence[OutputPlan]) -> list[Problem]:
    """C202 for outputs that lie in each other."""
    problems = []
    for index, plan in enumerate(plans):
        for other in plans[:index]:
            if _inside(as_place(plan.path), as_place(other.path)) or _inside(
                as_place(other.path), as_place(plan.path)
            ):
                place = loaded.source.value(("publish", index, "path"))
                message = f"outputs '{other.name}' and '{plan.name}' lie in each other"
                problems.append(Problem("C202", message, "give each a folder of its own", place))
    return problems


def _inside(path: Place, folder: Place) -> bool:
    if isinstance(path, Path) and isinstance(folder, Path):
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    return isinstance(path, ObjectPath) and isinstance(folder, ObjectPath) and path.is_relative_to(folder)


def _touches(root: Place, pattern: str) -> str | None:
    """How an output would get among the files of an input; None if it would not."""
    if is_url(pattern) == isinstance(root, Path):
        return None
    wanted = as_place(pattern)
    if any(_matches(_parts(root / name), _parts(wanted)) for name in ("x.parquet", "x/x.parquet")):
        return "matched by"
    if _inside(as_place(_fixed_part(pattern)), root):
        return "written around"
    plain = not any(c in pattern for c in "*?[")
    folder = wanted.is_dir() if isinstance(wanted, Path) else plain and not pattern.endswith(_FILES)
    return "written into" if folder and _inside(root, wanted) else None


def _parts(place: Place) -> Sequence[str]:
    return place.parts if isinstance(place, Path) else str(place).split("/")


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a pattern, part by part; `**` stands for any number of folders."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _fixed_part(pattern: str) -> str:
    """The folders of a pattern before its first wildcard."""
    url = is_url(pattern)
    fixed = []
    for part in pattern.split("/") if url else Path(pattern).parts:
        if any(c in part for c in "*?["):
            break
        fixed.append(part)
    if url:
        return "/".join(fixed)
    return str(Path(*fixed)) if fixed else "."
