"""Products of NumPy's recurrent kernels: those of a few rows at every step, and those of all rows at once.

A recurrent step multiplies a few rows h (n, K) by the same weight (K, H) again and again.  A BLAS copies ("packs")
the weight into an order of its own at every product, which takes as long as the multiplications when n is 32.
OpenBLAS's AVX-512 kernels leave that out for products of at most about 10^6 multiplications.  So a larger weight is
cut into blocks of 64 columns (32 where that is needed), each contiguous:

    out[:, 64 j : 64 (j + 1)] = h @ block[j]          block (H / 64, K, 64)

as one call of ``matmul`` for all blocks of all gates.  On one core, in float32, (32, 256) by (256, 1024) ran at 180
GFLOP/s so and at 106 as a plain product; (32, 512) by (512, 2048) at 140 and 93.  Blocks must begin at a cache line
(125 instead of 180).  Small weights are not cut, and where there is no such BLAS none is.

Inside the kernels the gates are contiguous blocks: an element-wise operation on one gate of a row (4H) of all takes
several times as long.  Weights and biases come and go in PyTorch's layout (G*H, K).

A sigmoid is computed as ``0.5 * tanh(0.5 * z) + 0.5``, which cannot overflow and is one fast function for all
gates; the inner factor is folded into the rows of its weights (a power of two: nothing is lost).

K rows and H columns of a weight, G gates, n rows of the left operand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from ....backend import aligned_empty, array_module
from ....backend.cpu.blas import blas_threads, multiplies_unpacked
from ....backend.cpu.threads import one_blas_thread
from ....typing import Array
from .. import threads
from ..interface import DTYPES
from ..threads import Helper, Task, helper_for
from .schedule import Part

__all__ = ["Functions", "PackedWeights", "Projection", "RowGradients", "added", "bias_gradient", "functions"]
__all__ += [
    "input_gradient",
    "most_rows",
    "pack_bias",
    "projections",
    "scratch_for",
    "second_thread",
    "to_operand",
    "weight_gradient",
]

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

ELEMENTS_IN_CACHE = 1 << 16
"""Elements of one table in float32 or float64 of which a handful stay in the nearer caches.  On a Zen 4 with 1 MiB of
second-level cache, half as many took 1.07 (RNN) and 1.05 (GRU) of the time at (T, N, H) = (64, 32, 256), and as long in
an LSTM; half as many again took it 1.05 to 1.07 of its time."""


SHARED = 9216
"""Elements of a matrix from which on OpenBLAS shares its product with a vector among its threads, too early."""

WORTH_WAKING = 10_000_000
"""Multiplications that one thread does in about 200 us."""

JOINED = 1 << 16
"""Elements of all weights of one row up to which they are multiplied as one."""


# products of a step ---------------------------------------------------------------------------------------------------


class PackedWeights:
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
        self._rows = rows if products >= FEW else 0
        # a copy in another order would cost more than it saves: BLAS takes transposed operands as they are
        if products < FEW:
            self._width = self._whole = columns
            self.main = _filled([b.T for b in blocks], scales).swapaxes(1, 2)
            self.rest = None
            return
        self._width = width = _width(rows, height, columns, array_module(blocks[0]))
        self._whole = whole = columns // width * width
        cut = [b[:, :whole].reshape(height, -1, width).swapaxes(0, 1) for b in blocks]
        self.main = _filled(cut if width < columns else blocks, scales)
        self.rest = _filled([b[:, whole:] for b in blocks], scales) if whole < columns else None

    def operands(self, out: Array, each: bool = False) -> tuple[Any, ...]:
        """What a step calls to multiply: ``multiply(left, main, out=into)``, and ``matmul(left, rest, out=into_rest)``.

        Args:
            out: where the products go, (G, n, H), or (n, H) of one gate.
            each: every gate has a left operand of its own, see ``lefts``.

        Returns:
            ``multiply, main, into, rest, into_rest``; the last two are None where nothing is left over.
        """
        main, rest = self.main, self.rest
        if len(main) == 1:
            out = out if out.ndim == 2 else out[0]
            main, rest = main[0], None if rest is None else rest[0]
        elif not each and out.shape[1] == 1 and self._joined is not None:  # the result of all gates is one row
            main, out = self._joined, out.reshape(1, -1)
            return (np.dot if array_module(out) is np else array_module(out).matmul), main, out, None, None
        into, into_rest = self.seen(out), self.rest_of(out)
        if each and rest is not None and rest.ndim == 3:  # beside the left operand of ``main``, with an axis of blocks
            assert into_rest is not None
            rest, into_rest = rest[:, None], into_rest[:, None]
        # which takes two thirds of the time of ``matmul`` for small matrices
        plain = main.ndim == into.ndim == 2 and type(out) is np.ndarray and into.flags.c_contiguous
        return (np.dot if plain else array_module(out).matmul), main, into, rest, into_rest

    def lefts(self, views: list[Array]) -> list[Array]:
        """Left operands (G, n, K), one per gate, as they are wanted beside ``main``; one (n, K) stays as it is."""
        return [view[:, None] for view in views] if self.main.ndim == 4 and len(self.main) > 1 else views

    @functools.cached_property
    def _joined(self) -> Array | None:
        """The weights of one row side by side, (K, G*H)."""
        main = self.main
        if self._rows != 1 or main.ndim == 4 or main.size > JOINED or self.rest is not None:
            return None
        joined: Array = array_module(main).ascontiguousarray(main.swapaxes(0, 1)).reshape(main.shape[1], -1)
        return joined

    def seen(self, out: Array) -> Array:
        """A view of ``out`` (..., n, H), shaped as what ``matmul`` with ``main`` gives: (..., blocks, n, width)."""
        if self.main.ndim == 3:
            return out
        return out[..., : self._whole].reshape(*out.shape[:-1], -1, self._width).swapaxes(-3, -2)

    def rest_of(self, out: Array) -> Array | None:
        """A view of ``out`` (..., n, H): what ``matmul`` with ``rest`` gives; None if there is none."""
        return None if self.rest is None else out[..., self._whole :]


def _width(rows: int, height: int, columns: int, xp: Any) -> int:
    """How wide to make the blocks: all ``columns`` if nothing is gained by cutting."""
    # cutting pays only where BLAS would pack the whole weight but not its blocks
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
        if unpacked and (w[0].size < WORTH_THREADS or (blas_threads() or 1) == 1):
            self._columns: PackedWeights | None = PackedWeights([block.T for block in w], ROWS, scales)
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
    helper: Helper | None, project: Projection, x: Array, parts: Sequence[Part], rooms: Sequence[Array]
) -> Iterator[Array]:
    """For each of ``parts`` in turn its rows projected, (G, n, H); with a ``helper``, the next ones meanwhile.

    Args:
        rooms: where they are written, by turns: (G, rows of the largest part, H) each; two with a ``helper``.
    """
    # a part just before the steps that read it, while its rows are in the cache
    if helper is None:
        for part in parts:
            out = rooms[0][:, : part.size]
            project(x[part.rows], out)
            yield out
        return
    begun: list[tuple[Task, Array]] = []
    for k in range(len(parts)):
        # as many parts ahead as there are rooms; a room is free when its part has been read
        for part in parts[len(begun) : k + len(rooms)]:
            out = rooms[len(begun) % len(rooms)][:, : part.size]
            begun.append((helper.give(project, x[part.rows], out), out))
        task, projected = begun[k]
        helper.wait(task)
        yield projected


def added(project: Projection, x: Array, out: Array) -> None:
    """Add a projection of rows to what is there."""
    more = array_module(x).empty(out.shape, out.dtype)
    project(x, more)
    out += more


def _by_rows(x: Array, columns: PackedWeights, out: Array) -> None:
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


# products of all rows -------------------------------------------------------------------------------------------------


def pack_bias(biases: Sequence[Array | None], scales: Sequence[float]) -> Array:
    """The bias of each gate, (H,) or None, scaled as its weights are: (G, 1, H)."""
    given = next(bias for bias in biases if bias is not None)
    if len(scales) == 1 and scales[0] == 1:
        return given[None, None]
    xp = array_module(given)
    packed: Array = xp.empty((len(scales), 1, len(given)), given.dtype)
    for out, bias, scale in zip(packed, biases, scales, strict=True):
        if bias is None:
            out[...] = 0
        else:
            xp.multiply(bias, scale, out=out[0])
    return packed


def most_rows(size: int, least: int = 1) -> int:
    """How many rows of ``size`` elements to treat at a time, so that a handful of such tables stay in cache."""
    return max(ELEMENTS_IN_CACHE // max(size, 1), least)


def scratch_for(x: Array, gates: int, rows: int, size: int) -> Array:
    """Room (G, rows, H) for pre-activations of the dtype of ``x``.

    There is a padding row between the gates: pieces that are a power of two apart map to the same cache sets, and
    reading all gates of a step then takes twice as long.
    """
    return aligned_empty((gates, rows + 1, size), x)[:, :rows]


def weight_gradient(dz: Array, x: Array) -> Array:
    """``sum_s dz[s, :]^T x[s, :]``: (S, G*H), (S, K) -> (G*H, K)."""
    return _product(dz.T, x, aligned_empty((dz.shape[1], x.shape[1]), dz))


def bias_gradient(dz: Array) -> Array:
    """``sum_s dz[s, :]``: (S, G*H) -> (G*H)."""
    total: Array
    if type(dz) is np.ndarray and dz.dtype in DTYPES:  # by BLAS in a third of the time, and with smaller errors
        ones = np.ones(len(dz), dz.dtype)
        if dz.size < SHARED:
            total = ones @ dz
            return total
        with one_blas_thread:
            total = ones @ dz
    else:
        total = dz.sum(axis=0)
    return total


def input_gradient(dz: Array, w: Array, out: Array | None = None) -> Array:
    """``dz @ w``: (S, G*H), (G*H, I) -> (S, I)."""
    return _product(dz, w, aligned_empty((dz.shape[0], w.shape[1]), dz) if out is None else out)


def _product(left: Array, right: Array, out: Array) -> Array:
    """``left @ right``; by one thread where to wake a second takes longer than the product.

    For that OpenBLAS took 100 us instead of 20 at (256, 128) @ (128, 32), its threads being asleep; smaller ones it
    gives to one thread itself.
    """
    if type(left) is np.ndarray and UNPACKED < left.size * right.shape[1] < WORTH_WAKING:
        with one_blas_thread:
            np.matmul(left, right, out=out)
            return out
    array_module(left).matmul(left, right, out=out)
    return out


def second_thread(multiplications: int, like: Array) -> Helper | None:
    """A thread for so many multiplications beside a loop; None where it would not pay."""
    return helper_for(multiplications, like) if multiplications >= 2 * threads.WORTHWHILE else None  # most are few


def to_operand(weights: Array, dz: Array, out: Array) -> None:
    """``sum_g dz[g] @ weights[g]`` for many rows: (G, n, W), (G, W, K) -> (..., K)."""
    flat, xp = out.reshape(-1, out.shape[-1]), array_module(dz)
    xp.matmul(dz[0], weights[0], out=flat)
    for block, weight in zip(dz[1:], weights[1:], strict=True):
        flat += xp.matmul(block, weight)


class RowGradients:
    """The gradients that are products over all rows: of the weights, of the biases, and of the input.

    Where a second thread helps, they grow during the loop, a part of the rows at a time, as soon as the cotangents of
    the part are known; else they are one product each when the loop is through.  A context around the loop.

    Args:
        rows: S.
        products: cotangents of pre-activations (S, G*H), each with what their weight was multiplied by, (S, K), or None
            where the gradient is not wanted.
        sums: (S, G*H) those that are added up, or None.
        x: (S, I), the gradient of the input, if it is wanted.
        into_x: cotangents (S, G*H) and the weights (G*H, I) by which they come to x.
        add: something is in ``x`` already.

    Attributes:
        products: (G*H, K), those that are wanted; these and what follows are there once the block is left.
        sums: (G*H).
    """

    def __init__(
        self,
        rows: int,
        products: Sequence[tuple[Array, Array | None]],
        sums: Sequence[Array | None],
        x: Array | None = None,
        into_x: Sequence[tuple[Array, Array]] = (),
        add: bool = False,
    ) -> None:
        self._rows = self._missing = rows
        self._pairs, self._sums, self._x, self._into_x, self._add_to_x = products, sums, x, into_x, add
        self._last: Task | None = None
        self.products: list[Array | None] = [None] * len(products)
        self.sums: list[Array | None] = [None] * len(sums)
        wanted = [(dz, table.shape[1]) for dz, table in products if table is not None]
        if x is not None:
            wanted += [(dz, x.shape[1]) for dz, _ in into_x]
        self._helper: Helper | None = None
        if wanted:
            self._helper = second_thread(sum([dz.size * columns for dz, columns in wanted]), wanted[0][0])

    def __enter__(self) -> RowGradients:
        if self._helper is not None:
            self._helper.__enter__()
        if not self._rows:  # the loop will never be done with one, so the zeros are made here
            self._give(slice(0, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._helper is not None:
            self._helper.__exit__(kind, error, trace)

    def ready(self, rows: slice) -> None:
        """The loop is through with these rows of all cotangents."""
        first, last = rows.start, rows.stop
        self._missing -= last - first
        if self._helper is None:
            if self._missing == 0:  # one product of all rows takes less time than several
                self._give(slice(0, self._rows))
        elif self._missing == 0:  # the loop is over: something for both threads
            middle = (first + last) // 2
            self._give(slice(first, middle))
            self._give(slice(middle, last))
        else:
            self._give(rows)

    def _give(self, rows: slice) -> None:
        give = _at_once if self._helper is None else self._helper.give
        if any(table is not None for _, table in self._pairs) or any(dz is not None for dz in self._sums):
            self._last = give(self._add, rows, self._last)
        if self._x is not None and self._into_x:
            give(self._to_x, rows)

    def _add(self, rows: slice, before: Task | None) -> None:
        """Add the terms of some rows, after those of ``before``: in the same order in every run."""
        products = [None if table is None else weight_gradient(dz[rows], table[rows]) for dz, table in self._pairs]
        sums = [None if dz is None else bias_gradient(dz[rows]) for dz in self._sums]
        if before is None:
            self.products, self.sums = products, sums
            return
        # sums over parts in a fixed order: the same bits in every run, whichever thread computes them
        before.wait()
        for total, more in zip((*self.products, *self.sums), (*products, *sums), strict=True):
            if total is not None:
                total += more

    def _to_x(self, rows: slice) -> None:
        assert self._x is not None
        add = self._add_to_x
        for dz, weight in self._into_x:
            if add:
                self._x[rows] += input_gradient(dz[rows], weight)
            else:
                input_gradient(dz[rows], weight, self._x[rows])
            add = True


def _at_once(function: Callable[..., object], *arguments: Any) -> None:
    function(*arguments)


# functions of a step --------------------------------------------------------------------------------------------------


class Functions:
    """What generated steps call, of one array module: its functions, and sums that each module names differently."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self.row_sum: Callable[..., Array] = np.add.reduce if xp is np else xp.sum
        self.row_max: Callable[..., Array] = np.maximum.reduce if xp is np else xp.amax

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    @staticmethod
    def column_sum(a: Array) -> Array:
        """The sum of all rows (..., W), of any number of steps."""
        total: Array = a.reshape(-1, a.shape[-1]).sum(axis=0)
        return total


functions = functools.lru_cache(maxsize=4)(Functions)
