"""Names of columns: which are reserved, what a suffix says, how a step's local names become global ones.

A step writes local names (`prob`); the runner publishes them as `<step>__<local>` (`lid__prob`). Reserved names belong
to the document itself. A suffix carries the unit, so that a reader of a Parquet file need not look anything up.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

RESERVED: Final = ("doc", "id", "text", "url", "source", "date", "dump", "licence")
DOC: Final = "doc"
TEXT: Final = "text"
ID: Final = "id"

#: Columns of the document that every input has or is given, with their types.
RESERVED_TYPES: Final[dict[str, pa.DataType]] = {
    "doc": pa.int64(),
    "id": pa.string(),
    "text": pa.string(),
    "url": pa.string(),
    "source": pa.string(),
    "date": pa.string(),
    "dump": pa.string(),
    "licence": pa.string(),
}

#: Suffix of a step's column → its unit.
SUFFIXES: Final[dict[str, str]] = {
    "_prob": "probability, 0 to 1",
    "_score": "model score on the scale its card states",
    "_count": "count",
    "_frac": "fraction, 0 to 1",
    "_bytes": "bytes",
    "_reasons": "names of the rules that failed",
    "_spans": "list of (start, end) in code points of the text",
}

#: Local names with a meaning of their own: `reasons` makes a step a filter, `failed` quarantines, `text` rewrites.
REASONS: Final = "reasons"
FAILED: Final = "failed"
REWRITE: Final = "text"

#: Language of rows that have none.
UNDETERMINED: Final = "und"


def qualified(step: str, local: str) -> str:
    """The global name of a step's column: `qualified("lid", "prob") == "lid__prob"`."""
    return f"{step}__{local}"


def step_of(column: str) -> str | None:
    """The step that wrote a column, or None for a column of the document: `step_of("lid__prob") == "lid"`."""
    step, separator, _ = column.partition("__")
    return step if separator and step else None
