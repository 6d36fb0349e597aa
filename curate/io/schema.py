"""One schema for everything a run reads: which column of a file is which global column, and of what type.

    doc, id, text            always, in this order: int64, string, string
    url source date dump licence     string, where some file has them or `set:` gives them; always with JSONL
    anything else            in the file's own type, nested too; string-like and dictionary types become plain

`columns:` maps a global name to the input's field and may give its type; the field's own name is then gone.
`set:` wins over a column of that name. An input's `name` is the `source` of rows that have none. A file's own
`doc` is not read, unless `columns:` gives it another name.

Parquet inputs are unified over all footers, and a conflict is an error; a column that a file lacks is null
there. A JSONL input has its reserved and declared columns (`string` if no type is given), and the rest of
each record in `extra`: one JSON object, values exactly as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from curate.core.columns import DOC, ID, RESERVED, RESERVED_TYPES, TEXT
from curate.core.errors import CurateError, Problem, error
from curate.core.manifest import InputSpec, Manifest, SourceFile
from curate.core.store import each
from curate.io.json_keys import first_keys
from curate.io.parquet import read_facts

#: What `type:` may say.
COLUMN_TYPES: Final[Mapping[str, pa.DataType]] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "list<string>": pa.list_(pa.string()),
}
#: Column of a JSONL input with the keys that nobody declared.
EXTRA: Final = "extra"
_NAME_TEXT: Final = "say which column is the text: `columns: {text: body}`"


@dataclass(frozen=True)
class FileColumns:
    """fields: global name → the file's field. types: global name → type."""

    fields: Mapping[str, str]
    types: Mapping[str, pa.DataType]


def source_schema(manifest: Manifest, specs: Sequence[InputSpec]) -> pa.Schema:
    """The schema of every batch that `read_shard` gives, before `columns` narrows it.

    Raises all of these at once: D402 a file without text or without a declared field, D403 a column of a type
    that cannot be read as it should, C204 a column with two types.
    """
    problems: list[Problem] = []
    seen: dict[str, list[tuple[pa.DataType, str]]] = {}
    for (index, _), (schema, paths) in _distinct_schemas(manifest).items():
        faults = parquet_faults(schema, specs[index], _several(paths))
        problems += faults
        if not faults:
            _collect(seen, parquet_columns(schema, specs[index]).types, paths[0])
    lines = [file for file in manifest.files if file.format == "jsonl" and file.bad is None]
    for faults in each(lambda file: jsonl_faults(file, specs[file.input]), lines):
        problems += faults
    for index, file in _first_of_inputs(file for file in manifest.files if file.format == "jsonl"):
        _collect(seen, jsonl_columns(specs[index]).types, file.path)
    for index, file in _first_of_inputs(manifest.files):
        _collect(seen, constant_types(specs[index]), file.path)
    types: dict[str, pa.DataType] = {DOC: RESERVED_TYPES[DOC]}
    for name, kinds in seen.items():
        if (kind := _unified([kind for kind, _ in kinds])) is None:
            problems.append(_conflict(name, kinds))
        else:
            types[name] = kind
    if problems:
        raise CurateError(problems)
    order = [name for name in RESERVED if name in types] + [name for name in types if name not in RESERVED]
    return pa.schema([(name, types[name]) for name in order])


def parquet_columns(schema: pa.Schema, spec: InputSpec) -> FileColumns:
    """How the columns of a Parquet file become global ones."""
    fields = {name: column.field for name, column in spec.columns.items()}
    renamed = {column.field for column in spec.columns.values()}
    for name in schema.names:
        if name not in renamed and name not in fields and name != DOC:
            fields[name] = name
    fields = {name: field for name, field in fields.items() if name not in spec.constants}
    types = {name: _type(name, schema.field(field).type, spec) for name, field in fields.items()}
    return FileColumns(fields, types)


def jsonl_columns(spec: InputSpec) -> FileColumns:
    """The columns of a JSONL input, `extra` last; fields are the keys of a record."""
    if EXTRA in spec.columns:
        help = "give the column another name; `extra` holds what no column was declared for"
        raise error("C102", f"a JSONL input cannot declare the column '{EXTRA}'", help=help)
    declared = {name: column.field for name, column in spec.columns.items()}
    taken = set(declared.values())
    reserved = {name: name for name in RESERVED if name != DOC and name not in declared and name not in taken}
    fields = {**reserved, **declared}
    types = {
        name: RESERVED_TYPES.get(name) or COLUMN_TYPES[spec.columns[name].type or "string"] for name in fields
    }
    types |= {name: pa.string() for name in RESERVED if name != DOC} | {EXTRA: pa.string()}
    return FileColumns(fields, types)


def constant_types(spec: InputSpec) -> dict[str, pa.DataType]:
    """Types of the columns that no file has to have: `set:`, and `source` where the input has a name."""
    types: dict[str, pa.DataType] = {ID: pa.string(), TEXT: pa.string()}
    if spec.name is not None:
        types["source"] = pa.string()
    for name, value in spec.constants.items():
        types[name] = RESERVED_TYPES[name] if name in RESERVED else pa.scalar(value).type
    return types


def parquet_faults(schema: pa.Schema, spec: InputSpec, files: str) -> list[Problem]:
    """What keeps a Parquet file with this schema from being read; `files` is how the message names it."""
    problems = []
    has = f"it has {', '.join(schema.names) or 'no columns'}"
    for name, column in spec.columns.items():
        if column.field not in schema.names:
            message = f"{files}: no column {column.field!r}, which is declared as {name!r}; {has}"
            problems.append(
                Problem("D402", message, f"correct `columns: {{{name}: …}}`", context={"file": files})
            )
    if TEXT not in spec.columns and TEXT not in spec.constants and TEXT not in schema.names:
        message = f"{files}: no column 'text'; {has}"
        problems.append(
            Problem(
                "D402",
                message,
                _NAME_TEXT,
                context={"file": files},
            )
        )
    if problems:
        return problems
    for name, field in parquet_columns(schema, spec).fields.items():
        kind = schema.field(field).type
        target = _type(name, kind, spec)
        if not (_is_texty(kind) or pa.types.is_null(kind)) if name == TEXT else not _casts(kind, target):
            message = f"{files}: column {field!r} is {kind} and cannot be read as {name}: {target}"
            problems.append(
                Problem(
                    "D403", message, f"name another column: `columns: {{{name}: …}}`", context={"file": files}
                )
            )
    return problems


def jsonl_faults(file: SourceFile, spec: InputSpec) -> list[Problem]:
    """Of the first hundred records: D401 if none is an object, D402 if none has the text."""
    field = spec.columns[TEXT].field if TEXT in spec.columns else TEXT
    keys, lines = first_keys(file.location)
    if lines and not keys:
        return [_no_json_lines(file, lines)] if spec.on_error == "fail" else []
    if not keys or field in keys or TEXT in spec.constants:
        return []
    message = f"{file.path}: no field {field!r} in its first records; they have {', '.join(keys)}"
    return [Problem("D402", message, _NAME_TEXT, context={"file": file.path})]


def _no_json_lines(file: SourceFile, lines: int) -> Problem:
    message = f"{file.path} is no JSON Lines file: none of its first {lines} lines is a JSON object"
    help = "write one object a line, in UTF-8; or set `on_error: quarantine`"
    return Problem("D401", message, help, context={"file": file.path})


def _distinct_schemas(manifest: Manifest) -> dict[tuple[int, bytes], tuple[pa.Schema, list[str]]]:
    """Schemas with the paths of the files that have them; thousands of files of an input share a few."""
    files = [file for file in manifest.files if file.format == "parquet" and file.bad is None]
    found: dict[tuple[int, bytes], tuple[pa.Schema, list[str]]] = {}
    for file, packed in zip(files, each(lambda file: _packed(file.location), files), strict=True):
        schema = pa.ipc.read_schema(pa.py_buffer(packed))
        found.setdefault((file.input, packed), (schema, []))[1].append(file.path)
    return found


def _packed(location: str) -> bytes:
    schema = read_facts(location).schema
    return bytes(pa.schema([pa.field(field.name, field.type) for field in schema]).serialize())


def _first_of_inputs(files: Iterable[SourceFile]) -> list[tuple[int, SourceFile]]:
    """Each input's first file."""
    first: dict[int, SourceFile] = {}
    for file in files:
        first.setdefault(file.input, file)
    return sorted(first.items())


def _several(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _collect(
    seen: dict[str, list[tuple[pa.DataType, str]]], found: Mapping[str, pa.DataType], path: str
) -> None:
    for name, kind in found.items():
        kinds = seen.setdefault(name, [])
        if not any(kind.equals(other, check_metadata=True) for other, _ in kinds):
            kinds.append((kind, path))


def _type(name: str, kind: pa.DataType, spec: InputSpec) -> pa.DataType:
    """The global type of a file's column."""
    if name in RESERVED:
        return RESERVED_TYPES[name]
    declared = spec.columns[name].type if name in spec.columns else None
    if declared is not None:
        return COLUMN_TYPES[declared]
    if pa.types.is_dictionary(kind):
        return _type(name, kind.value_type, spec)
    return pa.string() if pa.types.is_large_string(kind) else _without_views(kind)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type with its views and extensions, at any depth, made plain: Arrow's kernels cannot take rows of them."""
    if isinstance(kind, pa.BaseExtensionType):
        return _without_views(kind.storage_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_views(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(
            _without_views(kind.key_type), _without_views(kind.item_type), keys_sorted=kind.keys_sorted
        )
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)), kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    if pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind):
        return pa.large_list(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind


def _is_texty(kind: pa.DataType) -> bool:
    """Strings and bytes, and dictionaries of them."""
    if pa.types.is_dictionary(kind):
        return _is_texty(kind.value_type)
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
        )
    )


def _casts(kind: pa.DataType, target: pa.DataType) -> bool:
    if kind == target:
        return True
    try:
        pa.nulls(0, kind).cast(target)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return False
    return True


def _unified(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    """The one type, or None. Nulls take the others' type, structs the fields of all; numbers do not widen."""
    try:
        schemas = [pa.schema([("x", kind)]) for kind in kinds]
        return pa.unify_schemas(schemas, promote_options="default").field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def _conflict(name: str, kinds: Sequence[tuple[pa.DataType, str]]) -> Problem:
    real = [f"{kind} in {path}" for kind, path in kinds if not pa.types.is_null(kind)]
    help = f"give it one type: `columns: {{{name}: {{field: {name}, type: string}}}}`, or two names"
    return Problem("C204", f"column {name!r} is " + " but ".join(real), help, context={"column": name})
