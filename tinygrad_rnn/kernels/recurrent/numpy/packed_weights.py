"""Weights laid out for products with few rows at a time.

A recurrent step multiplies a few rows h (n, K) by the same weight (K, H) again and again.  A BLAS copies ("packs")
the weight into an order of its own at every product, which takes as long as the multiplications when n is 32.
OpenBLAS's AVX-512 kernels leave that out for products of at most about 10^6 multiplications.  So a larger weight is
cut into blocks of 64 columns (32 where that is needed), each contiguous:

    out[:, 64 j : 64 (j + 1)] = h @ block[j]          block (H / 64, K, 64)

as one call of ``matmul`` for all blocks of all gates.  On one core, in float32, (32, 256) by (256, 1024) ran at 180
GFLOP/s so and at 106 as a plain product; (32, 512) by (512, 2048) at 140 and 93.  Blocks must begin at a cache line
(125 instead of 180).  Small weights are not cut, and where there is no such BLAS none is.

K rows and H columns of a weight, G gates, n rows of the left operand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ....backend import aligned_empty, array_module
from ....backend.cpu.blas import blas_threads, multiplies_unpacked
from ....typing import Array
from .helper_thread import Beside, Task
from .schedule import Part

__all__ = ["Columns", "Projection", "gate_blocks", "projections"]

UNPACKED = 10**6
"""Multiplications in a product, up to which OpenBLAS leaves out the packing."""

WIDTHS = (64, 32)

FEW = 4
"""Below this number of products, copying the weight into a better order costs more than it saves."""

ROWS = 32
"""Rows of the input that are projected in one product without packing: 16 and 64 were measured to be no faster."""

ROWS_OF_A_PRODUCT = 512
"""With packing, projections of fewer rows lose speed; of many more, their results leave the cache before use."""

WORTH_THREADS = 100 * 100
"""Elements of a weight from which on a product of many rows is faster on two threads with packing than on one."""


def gate_blocks(w: Array, order: Sequence[int]) -> list[Array]:
    """The gates of a weight (G*H, K) in another order: views (H, K)."""
    gates = max(order) + 1
    blocks = w.reshape(gates, w.shape[0] // gates, w.shape[1])
    return [blocks[gate] for gate in order]


class Columns:
    """The right-hand operands ``blocks``, G of (K, H), laid out for left operands of ``rows`` rows.

    Args:
        blocks: one per gate, views in any order; they are copied.
        rows: of the left operands.
        scales: what each is multiplied by; None for 1.
        products: how many there will be.  If few, transposed ``blocks`` stay so: another order costs more to make.

    Attributes:
        main: (G, K, H); or, cut into blocks, (G, whole / width, K, width).
        rest: (G, K, H - whole), the columns that fill no block; None if there are none.
    """

    def __init__(
        self, blocks: Sequence[Array], rows: int, scales: Sequence[float] | None = None, products: int = FEW
    ) -> None:
        height, columns = blocks[0].shape
        if products < FEW:
            self._width = self._whole = columns
            self.main = _filled([b.T for b in blocks], scales).swapaxes(1, 2)
            self.rest: Array = None
            return
        self._width = width = _width(rows, height, columns, array_module(blocks[0]))
        self._whole = whole = columns // width * width
        cut = [b[:, :whole].reshape(height, -1, width).swapaxes(0, 1) for b in blocks]
        self.main = _filled(cut if width < columns else blocks, scales)
        self.rest = _filled([b[:, whole:] for b in blocks], scales) if whole < columns else None

    def left(self, a: Array) -> Array:
        """The left operands ``a`` (G, ..., n, K), one per gate, as ``matmul`` wants them beside ``main``."""
        return a[:, None] if self.main.ndim == 4 else a

    def seen(self, out: Array) -> Array:
        """A view of ``out`` (..., n, H), shaped as what ``matmul`` with ``main`` gives: (..., blocks, n, width)."""
        if self.main.ndim == 3:
            return out
        return out[..., : self._whole].reshape(*out.shape[:-1], -1, self._width).swapaxes(-3, -2)

    def rest_of(self, out: Array) -> Array:
        """A view of ``out`` (..., n, H): what ``matmul`` with ``rest`` gives; None if there is none."""
        return None if self.rest is None else out[..., self._whole :]


def _width(rows: int, height: int, columns: int, xp: Any) -> int:
    """How wide to make the blocks: all ``columns`` if nothing is gained by cutting."""
    if xp.__name__ == "numpy" and rows * height * columns > UNPACKED and multiplies_unpacked():
        for width in WIDTHS:
            if rows * height * width <= UNPACKED:
                return min(width, columns)
    return columns


def _filled(views: Sequence[Array], scales: Sequence[float] | None) -> Array:
    """The ``views``, each times its scale, one after the other in new memory."""
    out = aligned_empty((len(views), *views[0].shape), views[0])
    if scales is None:
        for place, view in zip(out, views, strict=True):
            place[...] = view
        return out
    xp = array_module(out)
    for place, view, scale in zip(out, views, scales, strict=True):
        xp.multiply(view, scale, out=place)
    return out


class Projection:
    """``x @ w[g].T + bias[g]`` for all gates g, of many rows: without packing where that is the faster way.

    Args:
        x: the rows (S, I) that will be asked for, a part at a time.
        w: (G, H, I), one block of the weight per gate, and ``scales`` for each.
        bias: (G, 1, H), scaled, or None.

    Attributes:
        rows: how many rows make a good part.
    """

    def __init__(self, x: Array, w: Sequence[Array], scales: Sequence[float], bias: Array | None) -> None:
        self._bias = bias
        xp = self._xp = array_module(x)
        unpacked = xp.__name__ == "numpy" and multiplies_unpacked() and len(x) >= 2 * ROWS
        if unpacked and ((blas_threads() or 1) == 1 or w[0].size < WORTH_THREADS):
            self._columns: Columns | None = Columns([block.T for block in w], ROWS, scales)
            self.rows = ROWS
        else:  # transposed views of a scaled copy
            self._columns = None
            self._weights = _filled(w, scales).swapaxes(1, 2)  # (G, I, H)
            self.rows = ROWS_OF_A_PRODUCT

    def __call__(self, x: Array, out: Array) -> None:
        """Write into ``out`` (G, n, H) for rows ``x`` (n, I)."""
        if self._columns is None:
            for z, weight in zip(out, self._weights, strict=True):
                self._xp.matmul(x, weight, out=z)
        else:
            _by_rows(x, self._columns, out)
        if self._bias is not None:
            self._xp.add(out, self._bias, out=out)


def projections(
    beside: Beside, project: Projection, x: Array, parts: Sequence[Part], rooms: Sequence[Array]
) -> Iterator[Array]:
    """For each of ``parts`` in turn its rows projected, (G, n, H); with two ``rooms``, the next ones meanwhile.

    Args:
        rooms: where they are written, by turns: (G, rows of the largest part, H) each.
    """
    begun: list[tuple[Task | None, Array]] = []
    for k in range(len(parts)):
        for part in parts[len(begun) : k + len(rooms)]:
            out = rooms[len(begun) % len(rooms)][:, : part.size]
            begun.append((beside.give(project, x[part.rows], out), out))
        task, projected = begun[k]
        beside.wait(task)
        yield projected


def _by_rows(x: Array, columns: Columns, out: Array) -> None:
    """``out[g] = x @ w[g]``, ``ROWS`` rows at a time: (S, I), (G, S, H)."""
    xp = array_module(x)
    whole = len(x) // ROWS * ROWS
    for rows, n in ((slice(0, whole), ROWS), (slice(whole, len(x)), len(x) - whole)):
        if rows.stop > rows.start:
            left = x[rows].reshape(1, -1, 1, n, x.shape[1])  # (1, chunks, 1, n, I)
            place = out[:, rows].reshape(len(out), -1, n, out.shape[2])  # (G, chunks, n, H)
            seen = columns.seen(place)
            main = columns.main[:, None]
            xp.matmul(left if seen.ndim == 5 else left[:, :, 0], main, out=seen)
            if columns.rest is not None:
                xp.matmul(left[:, :, 0], columns.rest[:, None], out=columns.rest_of(place))
