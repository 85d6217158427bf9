"""Packing: rows of sequences moved between the padded and the packed layout, as one gather or one scatter.

Packed rows are time-major: all first elements, then all second ones, and so on; the longest sequences come first,
so at step t the rows are those of the first ``sizes[t]`` sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...backend import array_module
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...typing import Array, Shape, V

__all__ = ["gather_rows", "packed_places", "scatter_rows", "sizes_of_lengths"]


def sizes_of_lengths(lengths: Array) -> Array:
    """For each step, how many sequences are longer: ``sizes[t] = sum_n [lengths[n] > t]``.

    >>> sizes_of_lengths(np.array([3, 1])).tolist()
    [2, 1, 1]
    """
    steps = int(lengths.max(initial=0))
    # counting instead of comparing all lengths with all steps
    ended = np.bincount(lengths, minlength=steps + 1)[: steps + 1].cumsum()  # sequences of length <= t
    sizes: Array = len(lengths) - ended[:steps]
    return sizes.astype(np.int64)


def packed_places(sizes: Sequence[int] | Array) -> tuple[Array, Array]:
    """The step and the (sorted) sequence of every packed row, two index arrays (S,).

    >>> [a.tolist() for a in packed_places(np.array([2, 1]))]
    [[0, 0, 1], [0, 1, 0]]
    """
    steps = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    return steps, np.arange(len(steps)) - starts[steps]


def _index(a: Array, index: tuple[Array, ...]) -> tuple[Array, ...]:
    """The index arrays where ``a`` lives."""
    xp = array_module(a)
    return tuple(xp.asarray(i) for i in index)


def _placed(a: Array, index: tuple[Array, ...], shape: Shape, fill: float) -> Array:
    out: Array = array_module(a).full(shape, fill, a.dtype)
    out[_index(a, index)] = a
    return out


_gather_rows = primitive(
    "gather_rows",
    lambda a, index: a[_index(a, index)],
    (lambda g, y, a, index: scatter_rows(g, index, a.shape),),
    ("",),
    formula=Formula(r"y_{i} = a_{\iota(i)}", a=r"\bar{a}_{j} = \sum_{i} \bar{y}_{i} [\iota(i) = j]"),
    doc="``a[index]``, where no place is named twice.",
)

_scatter_rows = primitive(
    "scatter_rows",
    _placed,
    (lambda g, y, a, index, shape, fill: gather_rows(g, index),),
    ("",),
    formula=Formula(
        r"y_{j} = \begin{cases} a_{i} & j = \iota(i) \\ f & \text{otherwise} \end{cases}",
        a=r"\bar{a}_{i} = \bar{y}_{\iota(i)}",
    ),
    doc="``out[index] = a`` and ``fill`` elsewhere: with fill 0 the adjoint of ``gather_rows``.",
)


def gather_rows(a: V, index: tuple[Array, Array]) -> V:
    """``a[index]``, the index arrays naming no place twice."""
    return _gather_rows(a, index=index)


def scatter_rows(a: V, index: tuple[Array, Array], shape: Shape, fill: float = 0.0) -> V:
    """A new array of ``shape`` with ``out[index] = a`` and ``fill`` everywhere else; no place is named twice."""
    return _scatter_rows(a, index=index, shape=tuple(shape), fill=fill)
