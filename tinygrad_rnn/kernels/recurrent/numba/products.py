"""Products of the compiled kernels: the recurrent one, inside of the time loop, and those before and after the loop.

The recurrent product is OpenBLAS's, called by its address from compiled code, on a weight that is cut into strips.

Handed a few rows and a whole weight, OpenBLAS copies the weight into its own order at every call, so at every step
of a sequence, and reaches less than half of the processor's speed.  Below about a million multiplications and
additions it multiplies without copying.  Hence strips: the weight (K, M) is kept as strips of 64 columns, one after
the other, each of them contiguous (K, 64) and aligned (otherwise it takes a third longer), and what is multiplied at a
time is as many rows, and as much of K, as stay below that number.

The address comes as an argument, because compiled code that has one inside cannot be kept on disk.  Where NumPy's BLAS
is not an OpenBLAS, it is 0, and plain loops do the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backend import aligned_empty
from ....backend.cpu.blas import address_of, multiplies_unpacked
from ....typing import Array
from ..threads import evenly, share
from .jit import compiled, intrinsic, ir, types
from .schedule import NEAR, Division, plain

__all__ = ["gemm_address", "multiply", "strips", "times_weight", "weight_gradients"]

WIDTH = 64
"""Columns of a strip.  Measured at 16 rows, K = 256: 150 GFLOP/s with 32, 180 with 64, 120 with 128 at K = 128."""

TILE = 16
"""Rows and columns that are transposed at a time."""

DEPTH = 256
"""Rows of a strip that are multiplied at a time: with twice as many, 131 GFLOP/s instead of 180."""

TALL, DEEP = 96, 128
"""Rows of a piece of a weight's gradient, and of the operands that are multiplied at a time for it."""

SMALL = 1_000_000
"""The most multiplications and additions of one call (OpenBLAS: 100 cubed)."""

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # of CBLAS


def gemm_address(dtype: Any) -> int:
    """Where ``cblas_sgemm`` or ``cblas_dgemm`` is, with 64-bit integers; 0 if NumPy's BLAS has none of that kind."""
    return address_of("cblas_sgemm" if dtype.itemsize == 4 else "cblas_dgemm")


def _call_gemm(
    typing_context: Any,
    address: Any,
    form: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    beta: Any,
    c: Any,
    ldc: Any,
) -> Any:
    """C (m, n) = A @ B (k, n) + beta C: ``a``, ``b``, ``c`` are addresses, ``ld*`` the lengths of whole rows.

    ``form`` tells whether there is A (m, k) or its transpose.
    """
    whole = types.int64
    signature = types.void(whole, whole, whole, whole, whole, whole, whole, whole, whole, beta, whole, whole)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, form, m, n, k, a, lda, b, ldb, beta, c, ldc = arguments
        enum, long, pointer, number = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer(), beta.type
        takes = [enum, enum, enum, long, long, long, number, pointer, long, pointer, long, number, pointer, long]
        function = builder.inttoptr(address, ir.FunctionType(ir.VoidType(), takes).as_pointer())
        a, b, c = (builder.inttoptr(array, pointer) for array in (a, b, c))
        flags = [ir.Constant(enum, ROW_MAJOR), builder.trunc(form, enum), ir.Constant(enum, AS_IT_IS)]
        builder.call(function, [*flags, m, n, k, ir.Constant(number, 1.0), a, lda, b, ldb, beta, c, ldc])
        return context.get_dummy_value()

    return signature, generate


_gemm: Any = intrinsic(_call_gemm)  # in compiled code, without the first argument


@compiled
def fill_strips(low: int, high: int, weight: Array, transposed: bool, result: Array) -> None:
    """Fill strips ``low`` to ``high`` of ``weight`` (K, M), or of the transpose of ``weight`` (M, K)."""
    depth, width = (weight.shape[1], weight.shape[0]) if transposed else weight.shape
    for start in range(low * WIDTH, min(high * WIDTH, width), WIDTH):
        size = min(WIDTH, width - start)
        strip = result[depth * start : depth * (start + size)].reshape((depth, size))
        # the strip's rows are contiguous in the weight: plain copies
        if not transposed:
            for k in range(depth):
                row, given = strip[k], weight[k, start : start + size]
                for j in range(size):
                    row[j] = given[j]
            continue
        for top in range(0, depth, TILE):  # a line of the cache of each row at a time
            for first in range(0, size, TILE):
                for k in range(top, min(top + TILE, depth)):
                    row, given = strip[k, first : first + TILE], weight[start + first : start + size, k]
                    # a loop of constant length is unrolled and vectorised
                    if len(row) == TILE:
                        for j in range(TILE):
                            row[j] = given[j]
                    else:
                        for j in range(len(row)):
                            row[j] = given[j]


@compiled
def multiply(
    address: int,
    left: Array,
    top: int,
    first: int,
    count: int,
    weight: Array,
    width: int,
    result: Array,
    row: int,
    column: int,
    add: bool,
) -> None:
    """``result[row : row + count, column : column + width] = left[top : top + count, first : first + K] @ W``.

    With ``add``, ``+=``.  The strips of W (K, width) are ``weight``.
    """
    depth = weight.size // width
    one, zero = weight.dtype.type(1), weight.dtype.type(0)
    item = weight.itemsize
    ld_left, ld_result = left.shape[1], result.shape[1]
    from_left = left.ctypes.data + (top * ld_left + first) * item
    to_result = result.ctypes.data + (row * ld_result + column) * item
    from_weight = weight.ctypes.data
    for start in range(0, width, WIDTH):
        size = min(WIDTH, width - start)
        # no OpenBLAS: loops that LLVM vectorises over the columns of a strip
        if address == 0:
            strip = weight[depth * start : depth * (start + size)].reshape((depth, size))
            here = column + start
            _multiply_by_loops(left, top, first, count, strip, result, row, here, add)
            continue
        for k in range(0, depth, DEPTH):
            deep = min(DEPTH, depth - k)
            # rows per call: beyond SMALL multiplications OpenBLAS would pack its operands
            most = max(SMALL // (size * deep), 1)
            for n in range(0, count, most):
                _gemm(
                    address,
                    AS_IT_IS,
                    min(most, count - n),
                    size,
                    deep,
                    from_left + (n * ld_left + k) * item,
                    ld_left,
                    from_weight + (depth * start + k * size) * item,
                    size,
                    one if add or k > 0 else zero,
                    to_result + (n * ld_result + start) * item,
                    ld_result,
                )


@compiled
def _multiply_by_loops(
    left: Array, top: int, first: int, count: int, strip: Array, result: Array, row: int, column: int, add: bool
) -> None:
    depth, size = strip.shape
    for n in range(count):
        out = result[row + n, column : column + size]
        if not add:
            out[:] = 0
        for k in range(depth):
            factor = left[top + n, first + k]
            for j in range(size):
                out[j] += factor * strip[k, j]


@compiled
def multiply_transposed(
    low: int, high: int, address: int, left: Array, first: int, right: Array, result: Array
) -> None:
    """``result[low:high] = left[:, first + low : first + high].T @ right``, with OpenBLAS only."""
    item = right.itemsize
    ld_left, ld_right, width = left.shape[1], right.shape[1], result.shape[1]
    pieces = max(-(-(high - low) // TALL), 1)
    tall = max(-(-(high - low) // pieces), 1)
    # the loop below would leave the result uninitialised
    if len(right) == 0:
        result[low:high] = 0
    for k in range(0, len(right), DEEP):
        deep = min(DEEP, len(right) - k)
        beta = right.dtype.type(1 if k > 0 else 0)
        for i in range(low, high, tall):
            for j in range(0, width, WIDTH):
                _gemm(
                    address,
                    TRANSPOSED,
                    min(tall, high - i),
                    min(WIDTH, width - j),
                    deep,
                    left.ctypes.data + (k * ld_left + first + i) * item,
                    ld_left,
                    right.ctypes.data + (k * ld_right + j) * item,
                    ld_right,
                    beta,
                    result.ctypes.data + (i * width + j) * item,
                    width,
                )


# before and after the loop --------------------------------------------------------------------------------------------


def strips(division: Division, *weights: Array | None, transposed: bool = False) -> list[Any]:
    """The strips of each weight, or of its transpose, as :func:`multiply` takes them; None for None."""
    results: list[Array | None] = []
    work = []
    for weight in weights:
        if weight is None:
            results.append(weight)
            continue
        # a view of a weight the other way round is read where it is
        flags = weight.flags
        turned = transposed
        if flags.f_contiguous and not flags.c_contiguous:
            weight, turned = weight.T, not transposed
        # nothing to rearrange
        if not turned and weight.shape[1] <= WIDTH:
            results.append(plain(weight).reshape(-1))  # it is its only strip
        else:
            result = aligned_empty((weight.size,), weight)
            work.append((plain(weight), turned, result))
            results.append(result)
    # waking a thread takes longer than copying what fits into a cache
    if division.threads == 1 or sum([weight.nbytes for weight, _, _ in work]) <= NEAR:
        for weight, turned, result in work:
            fill_strips(0, weight.size, weight, turned, result)  # as many as there are
    else:
        share(_strips, [(k, k + 1) for k in range(division.threads)], division.threads, work)
    return results


def _strips(part: int, after: int, parts: int, work: list[tuple[Array, bool, Array]]) -> None:
    for weight, transposed, result in work:
        count = -(-weight.shape[0 if transposed else 1] // WIDTH)
        fill_strips(count * part // parts, count * after // parts, weight, transposed, result)


def times_weight(
    division: Division, x: Array, first: int, weight: Array, out: Array, column: int, *, transposed: bool = False
) -> None:
    """``out[:, column : column + M] = x[:, first : first + K] @ W``, with W (K, M) a weight or its transpose.

    The rows of x in shares.
    """
    depth, width = weight.shape[::-1] if transposed else weight.shape
    gemm = gemm_address(weight.dtype) if division.threads == 1 and multiplies_unpacked() else 0
    # on a BLAS that multiplies small blocks without packing, our blocks are faster than one large product
    if gemm:
        (w,) = strips(division, weight, transposed=transposed)
        multiply(gemm, x, 0, first, len(x), w, width, out, 0, column, False)
    else:
        w = weight.T if transposed else weight
        share(_rows, evenly(len(x), division.threads), x[:, first : first + depth], w, out[:, column : column + width])


def _rows(low: int, high: int, x: Array, w: Array, out: Array) -> None:
    np.matmul(x[low:high], w, out=out[low:high])


def weight_gradients(division: Division, *work: tuple[Array, int, Array, Array | None]) -> None:
    """For each (table, first, x, result) ``result = table[:, first : first + M].T @ x``: (S, M).T @ (S, K) -> (M, K).

    The rows of every result in shares; a result of None is not wanted.
    """
    gemm = gemm_address(work[0][0].dtype) if multiplies_unpacked() else 0
    # no ranges to share: one call per result
    if gemm and division.threads == 1:
        for table, first, x, result in work:
            if result is not None:
                multiply_transposed(0, len(result), gemm, table, first, x, result)
        return
    wanted = [item for item in work if item[3] is not None]
    if wanted:
        share(_columns, [(k, k + 1) for k in range(division.threads)], division.threads, gemm, wanted)


def _columns(part: int, after: int, parts: int, gemm: int, work: list[tuple[Array, int, Array, Array]]) -> None:
    for table, first, x, result in work:
        low, high = len(result) * part // parts, len(result) * after // parts
        if gemm:
            multiply_transposed(low, high, gemm, table, first, x, result)
        else:
            np.matmul(table[:, first + low : first + high].T, x, out=result[low:high])
