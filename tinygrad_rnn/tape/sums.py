"""Sums of contributions: what has arrived so far at each node that the sweep will come to.

A value that is used many times gets a contribution from each use, and its cotangent is their sum.  Three rules keep
that right and cheap:

* Nobody's array is changed: a contribution may be another node's cotangent, or a user's array.  The first sum of two
  makes a new array, and later contributions are added into that one.
* A contribution to a part of a value, as from ``x[i]``, is a ``Part``, which adds itself to the total: T reads of T
  rows cost T rows, not T arrays.
* In a sweep that is recorded nothing is added in place: there the parts of a value are kept until it is visited, and
  put together by one recorded operation.

``totals`` holds ``[node, sum so far, whether that is an array made here]`` by the node's index, and ``heap`` the
negative indices.  Both belong to the sweep; the functions here add to them.  They are closures, because looking up the
attributes of an object for every contribution would take a twentieth of a sweep over small arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

import numpy as np

from ..backend import array_module
from ..typing import Value
from .node import Leaf, Node
from .partial_gradient import Part
from .tensor import Tensor, as_array, wrap

__all__ = ["Add", "Parts", "Totals", "accumulate", "adding_arrays", "adding_tensors"]

ndarray = np.ndarray
Totals = dict[int, list[Any]]
Add = Callable[..., None]
"""``add(node, contribution, may_write, is_new=False)`` adds to what has arrived at ``node``.

``may_write``: nobody else needs the cotangent that a part was made from, so the part may be written into it.
``is_new``: nobody else has the contribution, so later ones may be added into it.
"""


def adding_arrays(heap: list[int], totals: Totals) -> Add:
    """Sums of raw arrays: in place, wherever the total is an array that was made here."""

    def add(node: Leaf | Node, contribution: Any, may_write: bool, is_new: bool = False) -> None:
        total = totals.get(node.index)
        if type(contribution) is not ndarray:
            if contribution is None:
                return
            if isinstance(contribution, Part):
                if total is not None:
                    if not total[2] or isinstance(total[1], np.generic):  # NumPy's 0-d sums are numbers, not memory
                        total[1:] = as_array(total[1]).copy(), True
                    contribution.add_to(total[1])
                    return
                contribution, is_new = contribution.take() if may_write else contribution.start(), True
        if total is None:
            heappush(heap, -node.index)
            totals[node.index] = [node, contribution, is_new]
        elif total[2]:
            total[1] += contribution
        else:
            total[1:] = total[1] + contribution, True

    return add


class Parts(list[Any]):
    """The parts of one value in a recorded sweep, beside the sum of its whole contributions, if it has any."""

    whole: Value = None

    def sum(self) -> Value:
        """All of them, by one recorded operation."""
        together = self[0].together(self)
        return together if self.whole is None else self.whole + together


def adding_tensors(heap: list[int], totals: Totals) -> Add:
    """Sums of Tensors, recorded; the parts of a value wait in :class:`Parts` until it is visited."""

    def add(node: Leaf | Node, contribution: Any, may_write: bool, is_new: bool = False) -> None:
        total = totals.get(node.index)
        if total is None:
            heappush(heap, -node.index)
            total = totals[node.index] = [node, None, False]
        before = total[1]
        if isinstance(contribution, Part) and contribution.together is not None:
            if type(before) is not Parts:
                total[1] = Parts()
                total[1].whole = before
            total[1].append(contribution)
        elif type(before) is Parts:
            before.whole = contribution if before.whole is None else before.whole + contribution
        elif before is None:
            total[1] = contribution.start() if isinstance(contribution, Part) else contribution
        elif isinstance(contribution, Part):  # of a fused primitive: into the list of its outputs' cotangents
            contribution.add_to(before)
        else:
            total[1:] = before + contribution, True

    return add


def accumulate(t: Tensor, total: Value, may_write: bool, recorded: bool) -> None:
    """``t.grad += total``, without keeping an array that others may write to."""
    before = getattr(t, "_grad", None)
    if recorded:
        if before is None:  # one cotangent may be that of several leaves, or the seed, or expanded
            kept = total.contiguous()
            t._grad = kept if kept is not total else total.clone()
        else:
            t._grad = before + total
    elif before is None:
        array = as_array(total)
        if not may_write or not array.flags.c_contiguous:
            array = array_module(array).array(array, order="C")
        t._grad = wrap(array)
    elif before._node is not None:
        t._grad = wrap(before._data + total)
    else:
        before._data += total
        before._touch()
