"""A tree's value for every row of a record batch, with `pyarrow.compute`, never row by row.

Logic is three-valued (Kleene): null is unknown, so `null and false` is false and `null or true` is true. A
comparison with null is null. NaN compares false, with `!=` too. `/` gives float64. Division by zero, and an
integer result beyond 64 bits, is null. `%` has the sign of the divisor, as in Python.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from curate.core.expression import tree

_COMPARE: Final = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_ARITHMETIC: Final = {"+": pc.add, "-": pc.subtract, "*": pc.multiply}
_SEARCH: Final = {
    "starts_with": pc.starts_with,
    "ends_with": pc.ends_with,
    "contains": pc.match_substring,
    "matches": pc.match_substring_regex,
}
#: float64 of the first integers that int64 cannot hold.
_BEYOND: Final = float(2**63)


def evaluate(node: tree.Node, record: pa.RecordBatch) -> pa.BooleanArray:
    """true, false or null for each row."""
    value = _value(node, record)
    if isinstance(value, pa.Scalar):
        return pa.repeat(value.cast(pa.bool_()), record.num_rows)
    return value.cast(pa.bool_())


def _value(node: tree.Node, record: pa.RecordBatch) -> Any:
    """An array as long as the record, or a scalar."""
    match node:
        case tree.Literal():
            return pa.scalar(node.value)
        case tree.Column():
            return _plain(record.column(node.name))
        case tree.Logic():
            join = pc.and_kleene if node.operator == "and" else pc.or_kleene
            value = _truth(node.parts[0], record)
            for part in node.parts[1:]:
                value = join(value, _truth(part, record))
            return value
        case tree.Not():
            return pc.invert(_truth(node.part, record))
        case tree.Compare():
            return _compare(node.operator, _value(node.left, record), _value(node.right, record))
        case tree.In():
            return _in(node, record)
        case tree.Between():
            return _between(node, record)
        case tree.IsNull():
            value = _value(node.value, record)
            return pc.is_valid(value) if node.negated else pc.is_null(value)
        case tree.Arithmetic():
            return _arithmetic(node.operator, _value(node.left, record), _value(node.right, record))
        case tree.Negate():
            return _arithmetic("-", pa.scalar(0), _value(node.part, record))
        case tree.Call():
            return _call(node, record)
    raise TypeError(type(node))


def _truth(node: tree.Node, record: pa.RecordBatch) -> Any:
    value = _value(node, record)
    return value.cast(pa.bool_()) if pat.is_null(value.type) else value


def _plain(array: pa.Array) -> pa.Array:
    """The same values in a type that every kernel takes."""
    kind = array.type
    if pat.is_dictionary(kind) or pat.is_run_end_encoded(kind):
        decoded = array.dictionary_decode() if pat.is_dictionary(kind) else pc.run_end_decode(array)
        return _plain(decoded)
    if pat.is_large_string(kind) or pat.is_string_view(kind):
        return array.cast(pa.large_string())
    if pat.is_integer(kind) and kind != pa.uint64():
        return array.cast(pa.int64())
    if pat.is_floating(kind) or pat.is_decimal(kind):
        return array.cast(pa.float64())
    return array


def _compare(operator: str, left: Any, right: Any) -> Any:
    left, right = _aligned(left, right)
    value = _COMPARE[operator](left, right)
    if operator == "!=" and pat.is_floating(left.type):
        value = pc.and_(value, pc.invert(pc.or_(pc.is_nan(left), pc.is_nan(right))))
    return value


def _aligned(left: Any, right: Any) -> tuple[Any, Any]:
    """Both in one type. Unsigned 64-bit integers meet signed ones as decimals, so that none is rounded."""
    if pat.is_null(left.type) and pat.is_null(right.type):
        return left.cast(pa.int64()), right.cast(
            pa.int64()
        )  # null whatever is asked, but kernels want a type
    if pat.is_null(left.type) or pat.is_null(right.type):
        kind = right.type if pat.is_null(left.type) else left.type
        return left.cast(kind), right.cast(kind)
    kinds = {left.type, right.type}
    if kinds == {pa.uint64(), pa.int64()}:
        return left.cast(pa.decimal128(20)), right.cast(pa.decimal128(20))
    if any(pat.is_floating(kind) for kind in kinds):
        return left.cast(pa.float64(), safe=False), right.cast(pa.float64(), safe=False)
    for kind in kinds:
        if pat.is_temporal(kind):
            return left.cast(kind), right.cast(kind)
    if pa.large_string() in kinds:
        return left.cast(pa.large_string()), right.cast(pa.large_string())
    return left, right


def _in(node: tree.In, record: pa.RecordBatch) -> Any:
    value = _value(node.value, record)
    if isinstance(value, pa.Array) and (_is_text(value.type) or value.type == pa.int64()):
        # Many options of one type: a hash table instead of a comparison each.
        options = [option.value for option in node.options]
        if all(type(option) is (str if _is_text(value.type) else int) for option in options):
            found = pc.is_in(value, pa.array(options, value.type))
            found = pc.if_else(pc.is_valid(value), found, None)
            return pc.invert(found) if node.negated else found
    results = [
        _compare("!=" if node.negated else "=", value, pa.scalar(option.value)) for option in node.options
    ]
    found = results[0]
    for result in results[1:]:
        found = (pc.and_kleene if node.negated else pc.or_kleene)(found, result)
    return found


def _between(node: tree.Between, record: pa.RecordBatch) -> Any:
    value, low, high = (_value(part, record) for part in (node.value, node.low, node.high))
    if node.negated:
        return pc.or_kleene(_compare("<", value, low), _compare(">", value, high))
    return pc.and_kleene(_compare(">=", value, low), _compare("<=", value, high))


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    whole = left.type == right.type == pa.int64()
    doubles = [side.cast(pa.float64(), safe=False) for side in (left, right)]
    if operator == "/":
        return pc.divide(doubles[0], _nonzero(doubles[1]))
    if operator == "%":
        return _modulo(left, _nonzero(right)) if whole else _modulo(doubles[0], _nonzero(doubles[1]))
    approximate = _ARITHMETIC[operator](*doubles)
    if not whole:
        return approximate
    wrapped = _ARITHMETIC[operator](left, right)
    size = pc.abs(approximate)
    # Near the limit the estimate cannot tell, but a result beyond it has wrapped around to the other sign.
    signs = pc.equal(pc.less(wrapped, 0), pc.less(approximate, 0.0))
    fits = pc.and_(pc.less(size, 1.001 * _BEYOND), pc.or_(pc.less(size, 0.5 * _BEYOND), signs))
    return pc.if_else(fits, wrapped, pa.scalar(None, pa.int64()))


def _nonzero(value: Any) -> Any:
    return pc.if_else(pc.equal(value, pa.scalar(0, value.type)), pa.scalar(None, value.type), value)


def _modulo(left: Any, right: Any) -> Any:
    """The remainder that has the sign of `right`."""
    if pat.is_floating(left.type):
        return pc.subtract(left, pc.multiply(pc.floor(pc.divide(left, right)), right))
    # The least int64 divided by -1 has no int64; by 1 the remainder is the same.
    right = pc.if_else(pc.equal(right, -1), pa.scalar(1, pa.int64()), right)
    rest = pc.subtract(left, pc.multiply(pc.divide(left, right), right))
    opposite = pc.and_(pc.not_equal(rest, 0), pc.not_equal(pc.less(rest, 0), pc.less(right, 0)))
    return pc.if_else(opposite, pc.add(rest, right), rest)


def _call(node: tree.Call, record: pa.RecordBatch) -> Any:
    value = _value(node.arguments[0], record)
    if node.function == "len":
        if pat.is_null(value.type):
            return value.cast(pa.int64())
        measured = pc.utf8_length(value) if _is_text(value.type) else pc.list_value_length(value)
        return measured.cast(pa.int64())
    if node.function == "abs":
        value = value.cast(pa.float64()) if value.type == pa.uint64() else value
        negative = _arithmetic("-", pa.scalar(0), value)
        return (
            value
            if pat.is_null(value.type)
            else pc.if_else(pc.less(value, pa.scalar(0, value.type)), negative, value)
        )
    if pat.is_null(value.type):
        value = value.cast(pa.string())
    if node.function == "lower":
        return pc.utf8_lower(value)
    pattern = node.arguments[1]
    assert isinstance(pattern, tree.Literal)
    return _SEARCH[node.function](value, str(pattern.value))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind))
