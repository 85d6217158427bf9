"""Sums of contributions: what has arrived so far at each node that the sweep will come to.

A value that is used many times gets a contribution from each use, and its cotangent is their sum:

* Only arrays made here are added into: a contribution may be another node's cotangent, or a user's array.  The first
  sum of two makes a new array, and later contributions are added into that one.
* A contribution to a part of a value, as from ``x[i]``, is a ``Part``, which adds itself to the total: T reads of T
  rows cost T rows, not T arrays.
* In a sweep that is recorded nothing is added in place: see ``recorded_sums.py``.

The sweep keeps two tables: ``totals`` holds ``[node, sum so far, may_write]`` by the node's index, where ``may_write``
says that the sum is an array made here, which nothing else holds; ``heap`` holds the negative indices.  The functions
that add to them are closures, because looking up the attributes of an object for every contribution would take a
twentieth of a sweep over small arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

import numpy as np

from ..typing import Value
from .node import Leaf, Node
from .partial_gradient import Part
from .tensor import Tensor, as_array, wrap

__all__ = ["Add", "Totals", "accumulate", "adding_arrays", "private"]

ndarray = np.ndarray
Totals = dict[int, list[Any]]
Add = Callable[..., None]
"""``add(node, contribution, may_write, is_new=False)`` adds to what has arrived at ``node``.

``may_write``: so may the cotangent that the contribution was made from: a part may be written into it.
``is_new``: so may the contribution, which nothing else holds: later ones may be added into it.
"""


def adding_arrays(heap: list[int], totals: Totals) -> Add:
    """Sums of raw arrays: in place, wherever the total is an array that was made here."""

    def add(node: Leaf | Node, contribution: Any, may_write: bool, is_new: bool = False) -> None:
        total = totals.get(node.index)
        if type(contribution) is not ndarray:  # the usual case, a raw array, skips the tests below
            if contribution is None:  # as vjps may say; no heap entry, so the parent may never be visited
                return
            if isinstance(contribution, Part):
                if total is not None:
                    if not total[2] or isinstance(total[1], np.generic):  # NumPy's 0-d sums are numbers, not memory
                        total[1:] = as_array(total[1]).copy(), True
                    contribution.add_to(total[1])
                    return
                contribution, is_new = contribution.take() if may_write else contribution.start(), True
        if total is None:
            heappush(heap, -node.index)  # at the first contribution only; heapq gives the least, so -index the latest
            totals[node.index] = [node, contribution, is_new]
        elif total[2]:  # then += changes no cotangent and no user's array
            total[1] += contribution
        else:
            total[1:] = total[1] + contribution, True  # the one new array: later contributions are added into it

    return add


def accumulate(t: Tensor, total: Any, may_write: bool, recorded: bool) -> None:
    """``t.grad += total``, without keeping an array that others may write to."""
    before = getattr(t, "_grad", None)
    if recorded:
        if before is None:  # the same tensor may be another leaf's gradient, or the seed, or a broadcast view
            kept = total.contiguous()
            t._grad = kept if kept is not total else total.clone()
        else:
            t._grad = before + total
    elif before is None:
        t._grad = private(total, may_write)
    elif before._node is not None:  # recorded (create_graph): a write would break a backward through it
        t._grad = wrap(before._data + total)
    else:
        before._data += total  # in place: what holds the same .grad, as a bucket of gradients does, sees the sum
        before._touch()  # a graph may have saved .grad, and must notice


def private(total: Value, may_write: bool) -> Tensor:
    """A complete sum as a tensor that shares no memory with a seed, a saved value or another result."""
    array = as_array(total)  # copied below also if it is expanded: many of its entries are one place in memory
    return wrap(array if may_write and array.flags.c_contiguous else array.copy("C"))
