"""Up to 64 bytes at once: hashed, compared, picked.

n-grams of words are rarely longer, and no branch depends on how long they are: one that is guessed wrong costs as much as
hashing ten of them. Numba has no words for vectors; LLVM makes of these what the machine has, one register with AVX-512,
four with SSE or NEON.

Nothing is checked: 64 bytes at the address must be readable.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curate.core.text.blocks import BLOCK, BYTES, at_least, inside_block, load_block, trailing_zeros
from curate.core.text.memory import inlined

_LANES: Final = 8
_WORDS: Final = ir.VectorType(ir.IntType(64), _LANES)
#: Odd numbers, one for each lane: powers of P0 of `curate.core.text.hashing`.
_FACTORS: Final = [pow(0x9E3779B97F4A7C15, k + 1, 1 << 64) for k in range(_LANES)]


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def hash_block(typing_context: Any, address: Any, length: Any) -> Any:
    """uint64 of `length` bytes, 0 to 64, at an address: a hash for tables that are thrown away; its high bits are the best.

    Words of 8 bytes, padded with zeros, are folded and multiplied each by a number of its own, and added.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, length = arguments
        some = builder.select(
            inside_block(builder, length), load_block(builder, address), ir.Constant(BYTES, [0] * BLOCK)
        )
        words = builder.bitcast(some, _WORDS)
        words = builder.xor(words, builder.lshr(words, ir.Constant(_WORDS, [32] * _LANES)))
        words = builder.mul(words, ir.Constant(_WORDS, _FACTORS))
        width = _LANES
        while width > 1:
            width //= 2
            halves = [
                builder.shuffle_vector(
                    words, words, ir.Constant(ir.VectorType(ir.IntType(32), width), [*range(at, at + width)])
                )
                for at in (0, width)
            ]
            words = builder.add(*halves)
        return builder.extract_element(words, ir.IntType(32)(0))

    return types.uint64(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def same_block(typing_context: Any, one: Any, other: Any, length: Any) -> Any:
    """Whether `length` bytes, 0 to 64, at two addresses are the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one, other, length = arguments
        differ = builder.icmp_unsigned("!=", load_block(builder, one), load_block(builder, other))
        differ = builder.and_(differ, inside_block(builder, length))
        every = ir.IntType(BLOCK)
        return builder.icmp_unsigned("==", builder.bitcast(differ, every), every(0))

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def same_until(typing_context: Any, one: Any, other: Any) -> Any:
    """How many bytes at two addresses are the same, up to 64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        differ = builder.icmp_unsigned("!=", *(load_block(builder, address) for address in arguments))
        return builder.cttz(builder.bitcast(differ, ir.IntType(BLOCK)), ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64, types.int64), generate


@inlined
def numbers_of(flags, count, least, chosen):  # type: ignore[no-untyped-def]  # numba infers
    """Writes to chosen: int32[count] which of the first `count` flags, uint8, are `least` or more; returns how many.

    flags: address of uint8[count + BLOCK]. It takes a step for each that is chosen and for each 64 that are not.
    """
    picked = np.int64(0)
    for start in range(0, count, BLOCK):
        bits = at_least(flags + start, np.uint8(least))
        if start + BLOCK > count:
            bits &= (np.uint64(1) << np.uint64(count - start)) - np.uint64(1)
        while bits != 0:
            chosen[picked] = start + trailing_zeros(bits)
            picked += 1
            bits &= bits - np.uint64(1)
    return picked
