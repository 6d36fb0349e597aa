"""Which rows of an Arrow array hold bytes that are not UTF-8, nested strings included.

Arrow never checks what it reads. The whole array is validated at once (about 1 GB/s); only an array that
fails is halved until the rows are found.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def holds_text(kind: pa.DataType) -> bool:
    """True for strings and for anything that nests them."""
    if isinstance(kind, pa.BaseExtensionType):
        return holds_text(kind.storage_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return True
    if pa.types.is_dictionary(kind):
        return holds_text(kind.value_type)
    return any(holds_text(kind.field(i).type) for i in range(kind.num_fields))


def invalid_rows(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """bool[rows], true where a row holds invalid UTF-8; None if all rows are valid."""
    if not holds_text(array.type) or _is_valid(array):
        return None
    found = np.zeros(len(array), np.bool_)
    waiting = [(0, len(array))]
    while waiting:
        start, stop = waiting.pop()
        # A slice of a list keeps all its values, a `take` only its own.
        part = (
            array.slice(start, stop - start)
            if array.type.num_fields == 0
            else array.take(pa.array(range(start, stop)))
        )
        if _is_valid(part):
            continue
        if stop - start == 1:
            found[start] = True
        else:
            middle = (start + stop) // 2
            waiting += [(start, middle), (middle, stop)]
    return found if found.any() else None


def _is_valid(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def first_invalid_byte(value: bytes) -> int | None:
    """Index of the first byte that is not part of valid UTF-8."""
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as fault:
        return fault.start
    return None
