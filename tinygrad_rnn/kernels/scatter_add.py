"""Scatter-add: values added into places of an array, where several may go to one place.

On the CPU the values are added in their order.  NumPy's ``add.at`` is fast for one index array into a vector (3 ns a
value), and seven times slower for anything else, so other indices become places in the flattened array first; except
where many values share few rows: then they are sorted by row and summed in runs.

On a GPU one kernel adds, whose threads do so in any order.  The deterministic form sorts the values by place and
sums each run by doubling: after the step of width w, an entry holds the sum of the last 2w values of its place up to
it.  That is log2(n) passes, without a look at any value by the host.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import array_module
from ..backend.determinism import are_deterministic_algorithms_enabled
from ..typing import Array

__all__ = ["add_at"]

RUNS = 8
"""From so many values per row on, sorting beats adding one by one (measured for rows of 64 float32)."""
WIDE = 32
"""... if a row has at least so many entries."""
SPARSE = 20
"""Where so many times fewer values than entries are added, NumPy's slow way beats numbering all entries."""


def add_at(total: Array, index: Any, values: Array) -> None:
    """``total[index] += values`` with every value counted, also where the index names a place twice.

    Args:
        index: as it reads ``total``; whole numbers inside their axes (it did read it).
        values: of the shape of ``total[index]``.
    """
    xp = array_module(total)
    if _is_basic(index):
        if xp is np:
            total[index] += values
        else:
            there = total[index]  # a view also of one entry; writing the sum back would be one more kernel
            there += values
    elif xp is np:
        _add_on_host(total, index, values)
    elif are_deterministic_algorithms_enabled():
        _by_flat_places(xp, total, index, values, _add_sorted)
    else:
        from .cuda_elementwise.embedding import add_rows

        if not add_rows(total, index, values):
            xp.add.at(total, index, values)


def _is_basic(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in items)


def _add_on_host(total: Array, index: Any, values: Array) -> None:
    if total.dtype.char == "e":  # whose sum of ones stays at 2048
        wide = total.astype(np.float32)
        _add_on_host(wide, index, values.astype(np.float32))
        total[...] = wide
        return
    rows = None if values.dtype != total.dtype else _leading(np, total.shape, index)
    if rows is None and total.size > SPARSE * values.size:
        np.add.at(total, index, values)
        return
    entries = total.size // len(total) if rows is not None and _one(index) and len(total) else 0
    if rows is not None and entries >= WIDE and rows.size >= RUNS * len(total):
        _add_runs(total, rows, values.reshape(rows.size, *total.shape[1:]))
    else:
        _by_flat_places(np, total, index, values, lambda xp, flat, places, added: np.add.at(flat, places, added))


def _one(index: Any) -> bool:
    return not isinstance(index, tuple) or len(index) == 1


def _leading(xp: Any, shape: tuple[int, ...], index: Any) -> Array | None:
    """The numbers of the rows that index arrays of the first axes name, counted over these axes; None for others.

    >>> _leading(np, (2, 3, 5), (np.array([1, -1]), np.array([0, 2]))).tolist()
    [3, 5]
    """
    items = index if isinstance(index, tuple) else (index,)
    if not items or not all(getattr(i, "ndim", 0) and i.dtype.kind in "iu" for i in items):
        return None
    rows: Any = 0
    for i, length in zip(items, shape, strict=False):
        i = i.astype(np.int64, copy=False)
        rows = rows * length + xp.where(i < 0, i + length, i)
    flat: Array = rows.reshape(-1)
    return flat


def _by_flat_places(xp: Any, total: Array, index: Any, values: Array, add: Any) -> None:
    """``add(xp, flat, places, values)`` with all three as vectors."""
    if not total.flags.c_contiguous:
        fresh = xp.zeros(total.shape, total.dtype)
        _by_flat_places(xp, fresh, index, values, add)
        total += fresh
        return
    rows = _leading(xp, total.shape, index)
    if rows is None:
        places = xp.arange(total.size).reshape(total.shape)[index].reshape(-1)
    else:
        entries = math.prod(total.shape[len(index) if isinstance(index, tuple) else 1 :])
        places = rows if entries == 1 else (rows[:, None] * entries + xp.arange(entries)).reshape(-1)
    add(xp, total.reshape(-1), places, values.astype(total.dtype, copy=False).reshape(-1))


def _add_runs(total: Array, rows: Array, values: Array) -> None:
    """Sort by row, sum each run, add once per row."""
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_rows[1:] != sorted_rows[:-1])))
    total[sorted_rows[starts]] += np.add.reduceat(values[order], starts, axis=0)


def _add_sorted(xp: Any, flat: Array, places: Array, values: Array) -> None:
    """The same sums in the same order in every run, on any array module."""
    if not places.size:
        return
    order = xp.argsort(places, kind="stable")
    sorted_places, sums = places[order], values[order]
    width = 1
    while width < places.size:
        same = sorted_places[width:] == sorted_places[:-width]
        sums[width:] = sums[width:] + xp.where(same, sums[:-width], xp.zeros((), sums.dtype))
        width *= 2
    numbers = xp.arange(flat.size)
    begin = xp.searchsorted(sorted_places, numbers, side="left")
    end = xp.searchsorted(sorted_places, numbers, side="right")
    flat += xp.where(end > begin, sums[xp.maximum(end, 1) - 1], xp.zeros((), sums.dtype))
