"""Adding into places of an array, where several values may go to one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import array_module
from ...typing import Array

__all__ = ["add_at"]


def add_at(total: Array, index: Any, values: Array) -> None:
    """``total[index] += values`` with every value counted, also where the index names a place twice."""
    if _is_basic(index):
        total[index] += values
    elif isinstance(index, np.ndarray) and index.dtype.kind in "iu" and total.ndim > 1 and type(total) is np.ndarray:
        _add_rows(total, index.reshape(-1), values.reshape(index.size, *total.shape[1:]))
    else:
        array_module(total).add.at(total, index, values)


def _is_basic(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return all(i is None or i is Ellipsis or isinstance(i, (int, slice, np.integer)) for i in items)


def _add_rows(total: Array, rows: Array, values: Array) -> None:
    """Sort by row, sum each run, add once per row: several times faster than ``np.add.at`` on rows."""
    if rows.size == 0:
        return
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_rows[1:] != sorted_rows[:-1])))
    targets = sorted_rows[starts]
    if (targets < 0).any():
        targets = np.where(targets < 0, targets + len(total), targets)
        np.add.at(total, targets, np.add.reduceat(values[order], starts, axis=0))  # -1 and n-1 are one row
    else:
        total[targets] += np.add.reduceat(values[order], starts, axis=0)
