"""Element-wise CUDA kernels over many arrays in one launch: a step of an optimiser, the clipping of gradients.

An update of a model is a dozen small passes over each of its parameters; launched one by one they cost a GPU, and
Python, far more than the arithmetic.  Here one kernel does all passes of all parameters.  The arrays stay where they
are, so that whoever shares memory with them sees the update: their addresses are arguments of the launch, as many as
its 4 KB hold.

    rows      one per parameter: the arrays that belong together, of one shape   ("value", "gradient", ...)
    columns   the arrays of one kind, over all parameters

The arithmetic is a piece of C++ in which every column is a variable of its name, as is every number and switch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...backend import on_gpu
from ...backend.kernels import KernelError, Launch, gpu, kernel
from ...typing import Array

__all__ = ["ARRAYS", "OverMany", "Placed", "placed"]

ARRAYS = 64
"""Parameters per launch: with five columns 3 KB of addresses and sizes."""
LAUNCH = Launch(threads=256)
EACH = 4
"""Elements per thread, where there are enough."""
MOST_BLOCKS = 4096
REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}

Row = Sequence["Array | None"]

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
        self._table = np.dtype([("sizes", np.int64, (ARRAYS,)), ("at", np.uint64, (len(columns), ARRAYS))])
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
        if self._broken:
            return False
        try:
            run = kernel(self.source, self.name, (f"-DREAL={REALS[placed.dtype]}",), LAUNCH)
        except KernelError as error:
            self._broken = True
            warnings.warn(f"updates on the GPU go array by array from now on: {error}", RuntimeWarning, stacklevel=3)
            return False
        real = placed.dtype.type
        given = [*shared, *[real(x) for x in numbers], *[np.int32(x) for x in switches]]
        for start in range(0, len(placed.sizes), ARRAYS):
            sizes = placed.sizes[start : start + ARRAYS]
            table = np.zeros(1, self._table)
            table["sizes"][0, : len(sizes)] = sizes
            table["at"][0, :, : len(sizes)] = np.array(placed.addresses[start : start + ARRAYS], np.uint64).T
            parts = max(1, min(-(-max(sizes) // (LAUNCH.threads * EACH)), MOST_BLOCKS // len(sizes)))
            run(len(sizes) * parts, table, np.int32(parts), *given)
        return True


class Placed(NamedTuple):
    """Where rows lie: their sizes, and for each the addresses of its arrays (0 for none)."""

    dtype: Any
    sizes: list[int]
    addresses: list[list[int]]


def placed(rows: Sequence[Row]) -> Placed | None:
    """Where ``rows`` lie, if one kernel can run over them; None otherwise.

    That takes a GPU for which there are kernels, one dtype, one device, rows whose arrays lie in memory alike and
    without gaps, and no memory that is met twice.
    """
    first: Any = rows[0][0] if rows else None
    if not on_gpu(first) or first.dtype not in REALS or not gpu().capability:
        return None
    kind, dtype, device = type(first), first.dtype, gpu().number
    sizes, addresses, met = [], [], []
    for row in rows:
        value: Any = row[0]
        if value.device.id != device:
            return None
        in_rows = in_columns = True
        line = []
        for a in row:
            if a is None:
                line.append(0)
                continue
            if type(a) is not kind or a.dtype != dtype or a.shape != value.shape:
                return None
            flags, begin = a.flags, a.data.ptr
            in_rows, in_columns = in_rows and flags.c_contiguous, in_columns and flags.f_contiguous
            line.append(begin)
            met.append((begin, begin + a.nbytes))
        if not (in_rows or in_columns):
            return None
        sizes.append(value.size)
        addresses.append(line)
    met.sort()
    if any(end > begin for (_, end), (begin, _) in zip(met, met[1:], strict=False)):
        return None
    return Placed(dtype, sizes, addresses)
