"""What numba has no word for: sums of matrix rows that stay in registers, and two bit operations.

`add_rows` adds rows of float32 to a vector, row after row, so that every column is summed in the order of the
rows and rounded as the library's own loop rounds it. 16 columns are one vector of LLVM's: one register with
AVX-512, two with AVX2, four with SSE or NEON. In a numba loop over an array the sum would go through memory at
each row, 8 cycles instead of the 3 that an addition waits for the one before.

These functions check nothing: addresses and row numbers must be right.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from curate.core.text.blocks import BYTES, load_block

#: Columns of a block; rows are padded to a multiple of it.
BLOCK: Final = 16
#: Columns that are summed together where there are so many: 4 additions in flight instead of one.
WIDE: Final = 64
#: Beginnings of subwords that are hashed together.
LANES: Final = 16

FNV_START: Final = 2166136261
FNV_PRIME: Final = 16777619


def _copy(context: Any, builder: Any, arguments: Any, count: int) -> Any:
    vector = ir.VectorType(ir.IntType(32), count).as_pointer()
    source, target = (builder.inttoptr(address, vector) for address in arguments)
    builder.store(builder.load(source, align=4), target, align=4)
    return context.get_dummy_value()


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def copy_eight(typing_context: Any, source: Any, target: Any) -> Any:
    """Copies 8 int32 from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _copy(context, builder, arguments, 8)

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def copy_four(typing_context: Any, source: Any, target: Any) -> Any:
    """Copies 4 int32 from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _copy(context, builder, arguments, 4)

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def matches(typing_context: Any, address: Any, tag: Any) -> Any:
    """A bit for each of the 8 uint64 at an address whose upper half is the tag, a uint64 below 2^32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(64), 8)
        eight = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=8)
        wanted = ir.Constant(lanes, ir.Undefined)
        for lane in range(8):
            wanted = builder.insert_element(wanted, arguments[1], ir.IntType(32)(lane))
        equal = builder.icmp_unsigned("==", builder.lshr(eight, ir.Constant(lanes, [32] * 8)), wanted)
        return builder.zext(builder.bitcast(equal, ir.IntType(8)), ir.IntType(64))

    return types.uint64(types.int64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def gaps_in(typing_context: Any, address: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is a control character, a space or `<`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bytes_read = load_block(builder, arguments[0])
        low = builder.icmp_unsigned("<", bytes_read, ir.Constant(BYTES, [0x21] * BYTES.count))
        angle = builder.icmp_unsigned("==", bytes_read, ir.Constant(BYTES, [0x3C] * BYTES.count))
        return builder.bitcast(builder.or_(low, angle), ir.IntType(BYTES.count))

    return types.uint64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def buckets(typing_context: Any, word: Any, steps: Any, skip: Any, bucket: Any, share: Any, out: Any) -> Any:
    """FNV-1a of the bytes word[k:k + j + 1], modulo bucket, to out[j, k] for k < LANES and skip <= j < steps.

    word: address of int8[LANES + steps]; share: 1 / bucket in float64; out: address of int32[steps, LANES]. The
    quotient floor(hash * share) is right or one too small, since hash < 2^32: the remainder may be `bucket`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, steps, skip, bucket, share, out = arguments
        lanes, reals = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.DoubleType(), LANES)
        bytes_at = builder.inttoptr(word, ir.IntType(8).as_pointer())
        out_at = builder.inttoptr(out, ir.IntType(32).as_pointer())
        divisor, shares = ir.Constant(lanes, ir.Undefined), ir.Constant(reals, ir.Undefined)
        for lane in range(LANES):
            number = ir.IntType(32)(lane)
            divisor = builder.insert_element(divisor, builder.trunc(bucket, ir.IntType(32)), number)
            shares = builder.insert_element(shares, share, number)
        running = cgutils.alloca_once(builder, lanes)
        builder.store(ir.Constant(lanes, [FNV_START] * LANES), running)
        with cgutils.for_range(builder, steps) as loop:
            some = ir.VectorType(ir.IntType(8), LANES).as_pointer()
            read = builder.load(builder.bitcast(builder.gep(bytes_at, [loop.index]), some), align=1)
            mixed = builder.xor(builder.load(running), builder.sext(read, lanes))
            hashed = builder.mul(mixed, ir.Constant(lanes, [FNV_PRIME] * LANES))
            builder.store(hashed, running)
            with builder.if_then(builder.icmp_signed(">=", loop.index, skip)):
                quotient = builder.fptoui(builder.fmul(builder.uitofp(hashed, reals), shares), lanes)
                rest = builder.sub(hashed, builder.mul(quotient, divisor))
                less = builder.sub(rest, divisor)
                rest = builder.select(builder.icmp_unsigned("<", less, rest), less, rest)
                row = builder.gep(out_at, [builder.mul(loop.index, ir.IntType(64)(LANES))])
                builder.store(rest, builder.bitcast(row, lanes.as_pointer()), align=4)
        return context.get_dummy_value()

    arguments = (types.int64, types.int64, types.int64, types.int64, types.float64, types.int64)
    return types.void(*arguments), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Asks for the cache line at an address, which may be any number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, int32, int32, int32])
        call = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        builder.call(call, [builder.inttoptr(arguments[0], pointer), int32(0), int32(3), int32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Zero bits below the lowest one bit of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def one_bits(typing_context: Any, word: Any) -> Any:
    """One bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def remainder(typing_context: Any, value: Any, inverse: Any, divisor: Any) -> Any:
    """value % divisor of numbers below 2^32 as uint64, with inverse = (2^64 - 1) // divisor + 1 (mod 2^64).

    Two multiplications instead of a division: Lemire, Kaser and Kurz 2019, arXiv 1902.01961.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, inverse, divisor = arguments
        twice = ir.IntType(128)
        part = builder.zext(builder.mul(value, inverse), twice)
        product = builder.mul(part, builder.zext(divisor, twice))
        return builder.trunc(builder.lshr(product, twice(64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def add_rows(typing_context: Any, total: Any, matrix: Any, rows: Any, count: Any, columns: Any) -> Any:
    """Adds `count` rows of the matrix to the vector `total`; columns: a multiple of BLOCK.

    total, matrix: addresses of float32[columns] and float32[_, columns]; rows: address of int32[count].
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total, matrix, rows, count, columns = arguments
        int64, real = ir.IntType(64), ir.FloatType()
        sum_at = builder.inttoptr(total, real.as_pointer())
        matrix_at = builder.inttoptr(matrix, real.as_pointer())
        rows_at = builder.inttoptr(rows, ir.IntType(32).as_pointer())

        def columns_from(first: Any, width: int) -> None:
            vector = ir.VectorType(real, width)
            kept = builder.bitcast(builder.gep(sum_at, [first]), vector.as_pointer())
            running = cgutils.alloca_once(builder, vector)
            builder.store(builder.load(kept, align=4), running)
            with cgutils.for_range(builder, count) as loop:
                row = builder.sext(builder.load(builder.gep(rows_at, [loop.index])), int64)
                start = builder.add(builder.mul(row, columns), first)
                values = builder.bitcast(builder.gep(matrix_at, [start]), vector.as_pointer())
                added = builder.fadd(builder.load(running), builder.load(values, align=4))
                builder.store(added, running)
            builder.store(builder.load(running), kept, align=4)

        wide = builder.udiv(columns, int64(WIDE))
        with cgutils.for_range(builder, wide) as loop:
            columns_from(builder.mul(loop.index, int64(WIDE)), WIDE)
        done = builder.mul(wide, int64(WIDE))
        left = builder.udiv(builder.sub(columns, done), int64(BLOCK))
        with cgutils.for_range(builder, left) as loop:
            columns_from(builder.add(done, builder.mul(loop.index, int64(BLOCK))), BLOCK)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate
