"""The columns of a published data set: which, under which names, and the few that are made for it.

`columns:` of an output is a preset, a list of names, or a map from a column to its published name. Without it an output
has the document's own columns and every step's. A published column's source is a global column, or one that is made,
whose name begins with NUL, as no column's can:

    \\0language       `deu` of the language column's `deu_Latn`
    \\0script         `Latn` of it
    \\0top_langs      JSON object `{"deu_Latn_score": 0.98, …}` from the language step's candidates
    \\0file_path      the input file's path as the manifest has it
    \\0null:<type>    a column the preset promises and this run does not have

The preset `fineweb2` gives FineWeb2's columns, in its order (huggingface.co/datasets/HuggingFaceFW/fineweb-2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.columns import UNDETERMINED, step_of
from curate.running.joined import SIZE

#: First character of the sources that are made here.
MADE: Final = "\0"
#: Before the type of a column that is promised and not there.
NULL: Final = "\0null:"
_TYPES: Final = {"int64": pa.int64(), "double": pa.float64(), "string": pa.string()}

#: Published name → source, or the column to take and the type to promise where the run has none.
_FINEWEB2: Final[tuple[tuple[str, str, str], ...]] = (
    ("text", "text", "string"),
    ("id", "id", "string"),
    ("dump", "dump", "string"),
    ("url", "url", "string"),
    ("date", "date", "string"),
    ("file_path", "\0file_path", "string"),
    ("language", "\0language", "string"),
    ("language_score", "{lid}__prob", "double"),
    ("language_script", "\0script", "string"),
    ("minhash_cluster_size", "dedup__cluster_size", "int64"),
    ("top_langs", "\0top_langs", "string"),
)

PRESETS: Final = ("fineweb2",)


def preset_columns(preset: str, available: pa.Schema, language: str | None) -> tuple[tuple[str, str], ...]:
    """(published name, source) of a preset, given the columns there are."""
    if preset not in PRESETS:
        raise KeyError(preset)
    step = step_of(language) if language else None
    result = []
    for name, source, kind in _FINEWEB2:
        column = source.format(lid=step or "")
        if column in ("\0language", "\0script", "\0top_langs"):
            present = language is not None
        else:
            column = "file_path" if column == "\0file_path" and "file_path" in available.names else column
            present = column == "\0file_path" or column in available.names
        result.append((name, column if present else f"\0null:{kind}"))
    return tuple(result)


def needed_columns(
    columns: tuple[tuple[str, str], ...], available: pa.Schema, language: str | None
) -> list[str]:
    """Global columns to read for these published ones."""
    needed: list[str] = []
    for _, source in columns:
        if source in ("\0language", "\0script") and language:
            needed.append(language)
        elif source == "\0top_langs" and language:
            needed += [language, *(c for c in _candidates(language, available) if c)]
        elif not source.startswith(MADE):
            needed.append(source)
    return list(dict.fromkeys(needed))


def _candidates(language: str, available: pa.Schema) -> tuple[str | None, str | None]:
    """The columns with the language step's candidates and its probability, where it has them."""
    step = step_of(language)
    top, prob = f"{step}__top", f"{step}__prob"
    return (top if top in available.names else None), (prob if prob in available.names else None)


def published_schema(
    columns: tuple[tuple[str, str], ...], available: pa.Schema, preset: str | None
) -> pa.Schema:
    """Types of the published columns: a preset's own, else as they are; a step's column keeps its metadata."""
    promised = {name: _TYPES[kind] for name, _, kind in _FINEWEB2} if preset is not None else {}
    fields = []
    for name, source in columns:
        if source.startswith(NULL):
            fields.append(pa.field(name, _TYPES[source.removeprefix(NULL)]))
        elif source.startswith(MADE):
            fields.append(pa.field(name, pa.string()))
        else:
            field = available.field(source).with_name(name)
            fields.append(field.with_type(promised.get(name, field.type)))
    return pa.schema(fields)


def published_batch(
    record: pa.RecordBatch,
    columns: tuple[tuple[str, str], ...],
    schema: pa.Schema,
    language: str | None,
    paths: pa.StringArray,
) -> pa.RecordBatch:
    """The published columns of a batch of living rows. paths: file path of each row."""
    arrays = []
    for (_, source), field in zip(columns, schema, strict=True):
        if source.startswith(NULL):
            arrays.append(pa.nulls(record.num_rows, field.type))
        elif source == "\0file_path":
            arrays.append(paths)
        elif source == "\0top_langs" and language is not None:
            arrays.append(_top_langs(record, language))
        elif source in ("\0language", "\0script") and language is not None:
            code = pc.fill_null(record.column(language), UNDETERMINED)
            arrays.append(_part(code, 0 if source == "\0language" else 1))
        else:
            arrays.append(record.column(source).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _part(codes: pa.StringArray, index: int) -> pa.StringArray:
    """`deu` (0) or `Latn` (1) of `deu_Latn`, split at the first `_`; a code without script gives null for it."""
    found = pc.extract_regex(codes, "(?s)^(?P<language>[^_]*)(?:_(?P<script>.*))?$")
    part = pc.struct_field(found, "language" if index == 0 else "script")
    return part if index == 0 else pc.if_else(pc.equal(part, ""), pa.scalar(None, pa.string()), part)


def _top_langs(record: pa.RecordBatch, language: str) -> pa.StringArray:
    """One JSON object a row, best first; `{}` where no language is known."""
    top, prob = _candidates(language, record.schema)
    if top is not None:
        lists = record.column(top)
        entries = pc.list_flatten(lists)
        names, scores = pc.struct_field(entries, "lang"), pc.struct_field(entries, "prob")
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    else:
        codes = record.column(language)
        known = pc.is_valid(codes)
        names = codes.filter(known)
        scores = (
            record.column(prob).filter(known)
            if prob is not None
            else pa.array(np.ones(len(names), np.float32))
        )
        lengths = known.to_numpy(zero_copy_only=False).astype(np.int64)
    encoded = names.dictionary_encode()
    keys = pa.array([json.dumps(f"{name}_score") for name in encoded.dictionary.to_pylist()], pa.string())
    pairs = pc.binary_join_element_wise(keys.take(encoded.indices), scores.cast(pa.string()), ": ")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), pairs), ", ")
    return pc.binary_join_element_wise("{", joined, "}", "")


def default_columns(available: Mapping[str, pa.DataType] | pa.Schema) -> tuple[tuple[str, str], ...]:
    """Every column there is, under its own name."""
    names = available.names if isinstance(available, pa.Schema) else list(available)
    return tuple((name, name) for name in names if name != SIZE)
