"""64 bytes at once: looked through, copied.

Lines are rarely longer, and few branches depend on how long they are: one that is guessed wrong costs as much as ten looks
at a block. Numba has no words for vectors; LLVM makes of these what the machine has, one register with
AVX-512, four with SSE or NEON.

Nothing is checked: 64 bytes at the address must be readable. `readable` sees to that at the end of a buffer.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curate.core.text.memory import inlined, view_uint8

BLOCK: Final = 64
#: The type of a block.
BYTES: Final = ir.VectorType(ir.IntType(8), BLOCK)


def load_block(builder: Any, address: Any) -> Any:
    """<64 x i8> at an address."""
    return builder.load(builder.inttoptr(address, BYTES.as_pointer()), align=1)


def inside_block(builder: Any, length: Any) -> Any:
    """<64 x i1>: the first `length` ≤ 64."""
    every = _every(builder, builder.trunc(length, ir.IntType(8)))
    return builder.icmp_unsigned("<", ir.Constant(BYTES, list(range(BLOCK))), every)


def _every(builder: Any, byte: Any) -> Any:
    """<64 x i8> of one byte."""
    one = builder.insert_element(ir.Constant(BYTES, ir.Undefined), byte, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK))


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def at_least(typing_context: Any, address: Any, least: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is `least`, uint8, or more."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, least = arguments
        enough = builder.icmp_unsigned(">=", load_block(builder, address), _every(builder, least))
        return builder.bitcast(enough, ir.IntType(BLOCK))

    return types.uint64(types.int64, types.uint8), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def equal_to(typing_context: Any, address: Any, byte: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is `byte`, uint8."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, byte = arguments
        equal = builder.icmp_unsigned("==", load_block(builder, address), _every(builder, byte))
        return builder.bitcast(equal, ir.IntType(BLOCK))

    return types.uint64(types.int64, types.uint8), generate


def _ranges(builder: Any, every: Any, ranges: tuple[tuple[int, int], ...]) -> Any:
    """<64 x i1>: which bytes are in one of the ranges, both ends included."""
    found = ir.Constant(ir.VectorType(ir.IntType(1), BLOCK), [0] * BLOCK)
    for low, high in ranges:
        above = builder.sub(every, ir.Constant(BYTES, [low] * BLOCK))
        found = builder.or_(
            found, builder.icmp_unsigned("<=", above, ir.Constant(BYTES, [high - low] * BLOCK))
        )
    return found


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def spaces_in(typing_context: Any, address: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is whitespace of ASCII, as `str.isspace` has it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = _ranges(
            builder, load_block(builder, arguments[0]), ((0x20, 0x20), (0x09, 0x0D), (0x1C, 0x1F))
        )
        return builder.bitcast(found, ir.IntType(BLOCK))

    return types.uint64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def marks_in(typing_context: Any, address: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is `.`, `!` or `?`, or no ASCII."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ranges = ((0x2E, 0x2E), (0x21, 0x21), (0x3F, 0x3F), (0x80, 0xFF))
        return builder.bitcast(_ranges(builder, load_block(builder, arguments[0]), ranges), ir.IntType(BLOCK))

    return types.uint64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def letters_in(typing_context: Any, address: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is a letter of ASCII."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lower = builder.or_(load_block(builder, arguments[0]), ir.Constant(BYTES, [0x20] * BLOCK))
        return builder.bitcast(_ranges(builder, lower, ((0x61, 0x7A),)), ir.IntType(BLOCK))

    return types.uint64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def copy_block(typing_context: Any, source: Any, target: Any) -> Any:
    """Copies 64 bytes from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = builder.inttoptr(arguments[1], BYTES.as_pointer())
        builder.store(load_block(builder, arguments[0]), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@inlined
def readable(address, size, at, wanted, scratch):  # type: ignore[no-untyped-def]  # numba infers
    """Where `wanted` bytes can be read that begin as the buffer of `size` bytes does at `at`: there, or in a copy.

    scratch: address of uint8[wanted]. What follows the end of the buffer is anything.
    """
    if at + wanted <= size:
        return address + at
    left, copy = view_uint8(address + at, size - at), view_uint8(scratch, wanted)
    for k in range(size - at):
        copy[k] = left[k]
    return scratch


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def one_bits(typing_context: Any, word: Any) -> Any:
    """One bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Zero bits below the lowest one bit of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate
