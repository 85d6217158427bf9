"""Element-wise CUDA kernels over many arrays in one launch: a step of an optimiser, the clipping of gradients.

An update of a model is a dozen small passes over each of its parameters; launched one by one they cost a GPU, and
Python, far more than the arithmetic.  Here one kernel does all passes of all parameters.  The arrays stay where they
are, so that every array that shares memory with them sees the update: their addresses are arguments of the launch, as
many as its 4 KB hold.

    rows      one per parameter: the arrays that belong together, of one shape   ("value", "gradient", ...)
    columns   the arrays of one kind, over all parameters

What Python asks about a column, address by address, is kept for as long as its arrays live: parameters and states
are asked once, gradients once per step, for clipping and the update together.

The arithmetic is a piece of C++ in which every column is a variable of its name, as is every number and switch.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import chain
from operator import is_, le
from typing import Any, NamedTuple

import numpy as np

from ...backend import array_module, on_gpu
from ...backend.gpu.kernels import REALS, Kernel, KernelError, Launch, gpu, kernel
from ...source_line import warn_user
from ...typing import Array

__all__ = ["ARRAYS", "OverMany", "Placed", "norm", "placed"]

ARRAYS = 64
"""Parameters per launch: with five columns 3 KB of addresses and sizes."""
LAUNCH = Launch(threads=256)
EACH = 4
"""Elements per thread, where there are enough."""
MOST_BLOCKS = 4096

Column = Sequence[Any]

SOURCE = """
struct Table {{ long long sizes[{arrays}]; REAL* at[{count}][{arrays}]; }};

extern "C" __global__ void {name}(const Table table, int parts{arguments})
{{
    const int row = blockIdx.x / parts;
    const long long size = table.sizes[row], step = (long long)parts * blockDim.x;
    for (long long i = (long long)(blockIdx.x % parts) * blockDim.x + threadIdx.x; i < size; i += step) {{
{loads}
{body}
{stores}
    }}
}}
"""


class OverMany:
    """One element-wise kernel.

    Args:
        name: of the kernel.
        columns: names of the arrays of a row; one that a row lacks (None) reads as 0 and is not written.
        body: C++ statements on the columns, numbers and switches; ``REAL`` is the type of the elements.
        numbers: names of its arguments of that type.
        switches: names of its whole-number arguments.
        shared: names of 0-d arrays that all elements read, as pointers.
        reads: the columns that it leaves as they are.
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        body: str,
        *,
        numbers: Sequence[str] = (),
        switches: Sequence[str] = (),
        shared: Sequence[str] = (),
        reads: Sequence[str] = (),
    ) -> None:
        self.name, self.columns, self.numbers, self.switches = name, tuple(columns), tuple(numbers), tuple(switches)
        arguments = [f"const REAL* {x}" for x in shared] + [f"REAL {x}" for x in numbers]
        arguments += [f"int {x}" for x in switches]
        place = [f"table.at[{k}][row]" for k in range(len(columns))]
        loads = [f"REAL {c} = {at} ? {at}[i] : (REAL)0;" for c, at in zip(columns, place, strict=True)]
        stores = [f"if ({at}) {at}[i] = {c};" for c, at in zip(columns, place, strict=True) if c not in reads]
        self.source = SOURCE.format(
            name=name,
            arrays=ARRAYS,
            count=len(columns),
            arguments="".join(f", {a}" for a in arguments),
            loads="\n".join(" " * 8 + line for line in loads),
            body="\n".join(" " * 8 + line for line in body.strip().splitlines()),
            stores="\n".join(" " * 8 + line for line in stores),
        )
        self._kind = np.dtype((np.void, 8 * ARRAYS * (1 + len(columns))))
        self._broken = False

    def __call__(
        self,
        placed: Placed,
        numbers: Sequence[float] = (),
        switches: Sequence[bool] = (),
        shared: Sequence[Array] = (),
    ) -> bool:
        """Run over the rows that are :func:`placed` so.

        Returns:
            False if the kernel cannot be used here: then nothing was changed.  Says why, once, in a warning.
        """
        run = self.compiled(placed.dtype)
        if run is None:
            return False
        real = placed.dtype.type
        given = [*shared, *[real(x) for x in numbers], *[np.int32(x) for x in switches]]
        for start, count, parts in placed.launches:
            run(count * parts, self.table(placed, start, count), np.int32(parts), *given)
        return True

    def compiled(self, dtype: Any) -> Kernel | None:
        """The kernel for arrays of a dtype; None, after a warning, if there is none."""
        if self._broken:
            return None
        try:
            return kernel(self.source, self.name, REALS[dtype], LAUNCH)
        except KernelError as error:
            self._broken = True
            warn_user(f"updates on the GPU go array by array from now on: {error}", RuntimeWarning)
            return None

    def table(self, placed: Placed, start: int, count: int) -> Any:
        """What a launch over ``count`` rows gets: their sizes, then column by column the addresses of their arrays."""
        table = np.zeros((1 + len(self.columns), ARRAYS), np.uint64)
        table[0, :count] = placed.sizes[start : start + count]
        for line, addresses in zip(table[1:], placed.addresses, strict=True):
            if addresses is not None:
                line[:count] = addresses[start : start + count]
        return table.reshape(-1).view(self._kind)


NORM = """
struct Table {{ long long sizes[{arrays}]; const REAL* at[{arrays}]; }};

// The sum over the threads of a block, always in the same order; the last thread has it.
__device__ REAL over_threads(REAL mine)
{{
    __shared__ REAL of[{threads}];
    of[threadIdx.x] = mine;
    __syncthreads();
    REAL sums[8] = {{0, 0, 0, 0, 0, 0, 0, 0}};
    if (threadIdx.x == {threads} - 1)
        for (int k = 0; k < {threads}; k += 8)
            for (int lane = 0; lane < 8; lane++) sums[lane] += of[k + lane];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}}

extern "C" __global__ void squares(const Table table, int parts, REAL* of_block)
{{
    const int row = blockIdx.x / parts;
    const long long size = table.sizes[row], step = (long long)parts * {threads};
    REAL sum = 0;
    for (long long i = (long long)(blockIdx.x % parts) * {threads} + threadIdx.x; i < size; i += step)
        sum += table.at[row][i] * table.at[row][i];
    sum = over_threads(sum);
    if (threadIdx.x == {threads} - 1) of_block[blockIdx.x] = sum;
}}

extern "C" __global__ void root_of_sum(const REAL* of_block, int count, REAL* total)
{{
    REAL sum = 0;
    for (int k = threadIdx.x; k < count; k += {threads}) sum += of_block[k];
    sum = over_threads(sum);
    if (threadIdx.x == {threads} - 1) *total = sqrt(sum);
}}
"""


class Norm(OverMany):
    """The Euclidean norm of all arrays of one column: a kernel for the sums of blocks, and one for their sum."""

    def __init__(self) -> None:
        super().__init__("squares", ("g",), "", reads=("g",))
        self.source = NORM.format(arrays=ARRAYS, threads=LAUNCH.threads)

    def of(self, column: Column) -> Array | None:
        """A new 0-d array, the same bits in every run; None if the kernels cannot be used here."""
        where = placed([column])
        run = None if where is None else self.compiled(where.dtype)
        if where is None or run is None:
            return None
        xp: Any = array_module(column[0])
        of_block = xp.empty(sum([count * parts for _, count, parts in where.launches]), where.dtype)
        total: Array = xp.empty((), where.dtype)
        first = 0
        for start, count, parts in where.launches:
            here = of_block if first == 0 else of_block[first:]
            run(count * parts, self.table(where, start, count), np.int32(parts), here)
            first += count * parts
        kernel(self.source, "root_of_sum", REALS[where.dtype], LAUNCH)(1, of_block, np.int32(of_block.size), total)
        return total


norm = Norm()


class Placed(NamedTuple):
    """Layout of the rows: sizes, for each column the addresses of its arrays (None: it has none), launches."""

    dtype: Any
    sizes: Any  # (rows,) uint64
    addresses: Sequence[Any]  # (rows,) uint64 each
    launches: Sequence[tuple[int, int, int]]  # first row, number of rows, blocks per row


class _Lines(NamedTuple):
    """What is known of a column."""

    arrays: list[Any]  # weak references to them
    dtype: Any
    shapes: list[Any]
    sizes: Any
    addresses: Any
    starts: list[int]
    ends: list[int]
    in_rows: list[bool]
    in_columns: list[bool]
    launches: list[tuple[int, int, int]]


_known: dict[tuple[int, int, int], _Lines] = {}
KNOWN = 64
"""For so many columns the layout is cached."""


def placed(columns: Sequence[Column | None]) -> Placed | None:
    """The layout of the arrays of ``columns`` if one kernel can run over them; None otherwise.

    That takes a GPU for which there are kernels, one dtype, one device, rows whose arrays have the same memory layout
    without gaps, and no memory that is met twice.

    Args:
        columns: of as many arrays each; None for one that is not there.  The first is there.
    """
    first: Any = columns[0][0] if columns and columns[0] else None
    if not on_gpu(first) or first.dtype not in REALS or not gpu().capability:
        return None
    dtype, device = first.dtype, gpu().number
    if first.device.id != device:
        return None
    found: list[_Lines | None] = []
    for column in columns:
        lines = None if column is None else _lines(column, device)
        if lines is None and column is not None:
            return None
        found.append(lines)
    there = [lines for lines in found if lines is not None]
    one = there[0]
    for lines in there[1:]:
        if lines.dtype != dtype or lines.shapes != one.shapes:
            return None
    if not all(all(lines.in_rows) for lines in there):
        for ways in zip(*[zip(lines.in_rows, lines.in_columns, strict=True) for lines in there], strict=True):
            if not any(map(all, zip(*ways, strict=True))):
                return None
    starts = sorted(chain.from_iterable([lines.starts for lines in there]))
    ends = sorted(chain.from_iterable([lines.ends for lines in there]))
    if not all(map(le, ends, starts[1:])):
        return None
    addresses = [None if lines is None else lines.addresses for lines in found]
    return Placed(dtype, one.sizes, addresses, one.launches)


def _lines(column: Column, device: int) -> _Lines | None:
    """What is known of a column of arrays of one dtype on one device, without gaps; None if it is not that."""
    key = (id(column[0]), id(column[-1]), len(column))
    known = _known.get(key)
    if known is not None and all(map(is_, [a() for a in known.arrays], column)):
        return known
    kind, dtype = type(column[0]), getattr(column[0], "dtype", None)
    shapes, sizes, starts, ends, in_rows, in_columns = [], [], [], [], [], []
    for a in column:
        if type(a) is not kind or not on_gpu(a) or a.dtype != dtype or a.device.id != device:
            return None
        flags, begin = a.flags, a.data.ptr
        in_rows.append(flags.c_contiguous)
        in_columns.append(flags.f_contiguous)
        if not (in_rows[-1] or in_columns[-1]):
            return None
        shapes.append(a.shape)
        sizes.append(a.size)
        starts.append(begin)
        ends.append(begin + a.nbytes)
    if len(_known) >= KNOWN:
        _known.clear()
    lines = _known[key] = _Lines(
        [weakref.ref(a) for a in column],
        dtype,
        shapes,
        np.array(sizes, np.uint64),
        np.array(starts, np.uint64),
        starts,
        ends,
        in_rows,
        in_columns,
        [_launch(start, sizes[start : start + ARRAYS]) for start in range(0, len(sizes), ARRAYS)],
    )
    return lines


def _launch(start: int, sizes: list[int]) -> tuple[int, int, int]:
    """First row, number of rows, blocks for each of them."""
    most = min(-(-max(sizes) // (LAUNCH.threads * EACH)), MOST_BLOCKS // len(sizes))
    return start, len(sizes), max(1, most)
