"""Lines of JSON to columns: the one place where Python looks at every record.

msgspec checks a line's grammar and cuts it at the top-level keys, without making objects of the values (about
700 MB/s); strings are then unescaped together, and what nobody declared is put into `extra` as it stood. A
string column takes values that are no strings as their JSON text; only `text` and the typed columns refuse
what is not theirs.

No record: a line of white space. A bad record: no JSON object, invalid UTF-8, a lone surrogate, `text` that
is neither a string nor null, a value that is not of its column's declared type. Of repeated keys the last
counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from curate.core.columns import TEXT
from curate.core.utf8 import first_invalid_byte
from curate.io.json_strings import NULL, STRING, strings
from curate.io.lines import Run
from curate.io.records import RAW_BYTES
from curate.io.schema import EXTRA, FileColumns

_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: Decoders of the typed columns.
_TYPED: Final[Mapping[pa.DataType, Callable[[Any], Any]]] = {
    pa.int64(): msgspec.json.Decoder(_INT64 | None).decode,
    pa.float64(): msgspec.json.Decoder(float | None).decode,
    pa.bool_(): msgspec.json.Decoder(bool | None).decode,
    pa.list_(pa.string()): msgspec.json.Decoder(list[str | None] | None).decode,
}
_NULL: Final = msgspec.Raw(b"null")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@dataclass(frozen=True)
class BadLine:
    """record: its number among the run's records. line, byte: where it stands, counted within the run."""

    record: int
    line: int
    byte: int
    raw: bytes
    reason: str


@dataclass(frozen=True)
class Records:
    """columns: of the good records. numbers: int64, theirs among all `count` records of the run."""

    columns: dict[str, pa.Array]
    numbers: np.ndarray[Any, np.dtype[np.int64]]
    bad: list[BadLine]
    count: int


class RecordReader:
    """Reads runs of lines of one input. columns: what `jsonl_columns` says, `extra` among them."""

    def __init__(self, columns: FileColumns) -> None:
        self.columns = columns
        self.decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def read(self, run: Run) -> Records:
        """The records of a run, columns by global name in the order of `columns.types`."""
        lines = run.data.split(b"\n")
        check = None if _is_utf8(run.data) else first_invalid_byte
        rows: list[dict[str, Any]] = []
        kept: list[tuple[int, int]] = []  # (record, line)
        reasons: dict[tuple[int, int], str] = {}
        count = 0
        for index, line in enumerate(lines):
            if not line or line.isspace():
                continue
            try:
                if check is not None and (place := check(line)) is not None:
                    reasons[count, index] = f"invalid UTF-8 at byte {place} of the line"
                else:
                    rows.append(self.decode(line))
                    kept.append((count, index))
            except (msgspec.MsgspecError, RecursionError) as fault:
                reasons[count, index] = _reason(line, fault)
            count += 1
        columns, faults = self._columns(rows)
        if faults:
            reasons |= {kept[row]: reason for row, reason in faults.items()}
            keep = pa.array([row not in faults for row in range(len(rows))])
            columns = {name: array.filter(keep) for name, array in columns.items()}
            kept = [place for row, place in enumerate(kept) if row not in faults]
        numbers = np.fromiter((record for record, _ in kept), np.int64, len(kept))
        return Records(columns, numbers, _bad_lines(lines, reasons), count)

    def _columns(self, rows: list[dict[str, Any]]) -> tuple[dict[str, pa.Array], dict[int, str]]:
        tokens = {
            field: [row.pop(field, _NULL) for row in rows]
            for field in dict.fromkeys(self.columns.fields.values())
        }
        made: dict[str, pa.Array] = {}
        faults: dict[int, str] = {}
        for name, kind in self.columns.types.items():
            if name == EXTRA:
                made[name] = _extra(rows)
            elif name not in self.columns.fields:
                made[name] = pa.nulls(len(rows), kind)
            elif pa.types.is_string(kind):
                field = self.columns.fields[name]
                made[name], kinds = strings(tokens[field])
                if name == TEXT:
                    for row in np.flatnonzero((kinds != STRING) & (kinds != NULL)):
                        faults.setdefault(
                            int(row), f"{field!r} is {_described(tokens[field][row])}, not a string"
                        )
            else:
                made[name] = _typed(
                    self.columns.fields[name], kind, tokens[self.columns.fields[name]], faults
                )
        return made, faults


def _bad_lines(lines: list[bytes], reasons: Mapping[tuple[int, int], str]) -> list[BadLine]:
    if not reasons:
        return []
    starts = np.cumsum([0] + [len(line) + 1 for line in lines])
    return [
        BadLine(record, index, int(starts[index]), lines[index][:RAW_BYTES], reason)
        for (record, index), reason in sorted(reasons.items())
    ]


def _is_utf8(data: bytes) -> bool:
    whole = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, len(data)], np.int64)), pa.py_buffer(data)]
    )
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _reason(line: bytes, fault: Exception) -> str:
    if isinstance(fault, RecursionError):
        return "nested too deeply"
    message = str(fault)
    if ("truncated" in message or "surrogate" in message or "escape" in message) and (
        lone := _SURROGATE.search(line)
    ):
        return f"lone surrogate {lone.group().decode()}"
    if isinstance(fault, msgspec.ValidationError):
        return f"not a JSON object ({message[0].lower()}{message[1:]})"
    return f"broken JSON: {message.removeprefix('JSON is malformed: ')}"


def _described(token: Any) -> str:
    first = bytes(token)[:1]
    return {b"[": "a list", b"{": "an object", b"t": "true", b"f": "false"}.get(first, "a number")


def _extra(rows: list[dict[str, Any]]) -> pa.Array:
    """`{"key":value,…}` of what is left of each row, values untouched; null where nothing is."""
    objects = [msgspec.json.encode(row) if row else b"" for row in rows]
    ends = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, objects), np.int64, len(objects)), out=ends[1:])
    valid = np.packbits(np.diff(ends) > 0, bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(ends), pa.py_buffer(b"".join(objects))]
    return pa.Array.from_buffers(pa.string(), len(rows), buffers)


def _typed(field: str, kind: pa.DataType, tokens: list[Any], faults: dict[int, str]) -> pa.Array:
    decode = _TYPED[kind]
    values = []
    for row, token in enumerate(tokens):
        try:
            values.append(decode(token))
        except msgspec.MsgspecError:
            values.append(None)
            faults.setdefault(row, f"{field!r} is not {kind}: {bytes(token)[:100].decode(errors='replace')}")
    return pa.array(values, kind)
