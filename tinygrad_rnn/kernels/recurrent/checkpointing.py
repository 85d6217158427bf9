"""Checkpointing of a fused recurrent layer: long sequences in little memory, by running forward twice.

Forward, the kernel runs over one segment of the steps after the other and leaves nothing but the states at their
borders.  Backward goes from the last visited segment to the first: the kernel runs forward over it again, from the
states at its border, this time with everything that its own backward run needs; then that runs.

Memory of a layer, in numbers, with T steps in K segments, N sequences, states of S and residuals of R numbers per
sequence (LSTM: S = 2H, R about 11H with the room of the backward run):

    K N S + (T / K) N R          least at K = sqrt(T R / S), and within 1.5 times of it at K = sqrt(T)

to which come what the caller sees, as without segments: the input, the output and their gradients.  Time: one more
run forward over all segments but the last visited, whose residual is kept.  That makes (2 F + B) / (F + B) of a
forward run of time F and a backward run of time B.  It becomes less in two cases.  A compiled kernel has one thread
for one sequence; then a second one computes a segment ahead (and R counts twice).  Of the plain RNN, on the CPU, the
output is all that the backward run needs: it is kept, and nothing is computed twice.  Measured with T = 100,000,
N = 1, H = 128, compiled: 1.0 to 1.3.

Numbers: the same operations as without segments, step by step, so outputs, states and their gradients are the same
bit for bit, unless the BLAS rounds a product of fewer rows in another way (seen where H is no multiple of 16).
Gradients of weights and biases are sums over segments of sums over rows: another order of adding, another rounding.

Rules: cuts are between steps, never inside one.  A packed sequence is cut at steps too: of the states, all N rows
travel along, and each segment reads and writes those that still run.

Known limit: a backward run that is itself recorded (``create_graph=True``) is that of the composed form, which keeps
every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ...backend import array_module
from ...backend.cpu.threads import get_num_threads
from ...errors import ArgumentError
from ...typing import Array
from . import dispatch
from .interface import Cell, Cotangents, Gradients, Needs, Options, Run
from .prefetch import Prefetch

__all__ = ["Segment", "backward", "check_segments", "cut", "forward"]

WORTHWHILE = 1024
"""Rows (steps times sequences) of a segment: with fewer, what a run of a kernel costs at its beginning, weights to be
arranged and arrays to be made, adds a tenth or more to its time."""


class Segment(NamedTuple):
    """Consecutive steps, and their rows."""

    rows: slice  # of the input and the output: steps, or packed rows
    sizes: tuple[int, ...] | None  # of packed rows: how many sequences run at each step


class Checkpoints(NamedTuple):
    """Residual of a forward run in segments."""

    segments: list[Segment]  # in the order of their visits
    borders: list[tuple[Array, ...]]  # the states before each
    last: tuple[str, Cell, Any]  # the name of the kernel, the cell, and the kernel's own residual of the last one
    output: Array | None  # y, if that is all that it takes to make the residual of a segment


def check_segments(requested: Any) -> None:
    """Refuse what is not a number of segments, ``"auto"`` or None.

    Raises:
        ArgumentError: says what is accepted.
    """
    whole = isinstance(requested, int) and not isinstance(requested, bool) and requested >= 0
    if not (requested is None or requested == "auto" or whole):
        raise ArgumentError(
            f"checkpoint_segments must be a number of segments (None or 0: keep everything) or 'auto', "
            f"got {requested!r}"
        )


def cut(
    shape: tuple[int, ...], sizes: Sequence[int] | None, reverse: bool, requested: int | str | None
) -> list[Segment]:
    """The segments of a sequence in the order of their visits, as equal in steps as can be.

    Args:
        shape: of the input, (T, N, I) or packed (S, I).
        requested: how many (at most one per step); ``"auto"``: about sqrt(steps), but none of less than ``WORTHWHILE``
            rows; None or 0: one.

    >>> [segment.rows for segment in cut((5, 1, 3), None, True, 2)]
    [slice(2, 5, None), slice(0, 2, None)]
    """
    steps = shape[0] if sizes is None else len(sizes)
    # of ``auto``: as many segments as have rows enough
    enough = math.prod(shape[:-1]) // WORTHWHILE
    count = min(round(math.sqrt(steps)), enough) if requested == "auto" else int(requested or 1)
    count = max(1, min(count, steps))
    ends = [k * steps // count for k in range(count + 1)]
    if sizes is None:
        segments = [Segment(slice(*pair), None) for pair in pairwise(ends)]
    else:
        row = [0, *accumulate(sizes)]
        segments = [Segment(slice(row[a], row[b]), tuple(sizes[a:b])) for a, b in pairwise(ends)]
    return segments[::-1] if reverse else segments


def forward(
    cell: Cell,
    x: Array,
    states: tuple[Array, ...],
    weights: tuple[Any, ...],
    options: Options,
    segments: int | str | None,
) -> Run:
    """The forward run of the kernel that is chosen, in segments."""
    parts = cut(x.shape, options.sizes, options.reverse, segments) if options.save else []
    if len(parts) < 2:
        return dispatch.forward(cell, x, states, weights, options)
    borders: list[tuple[Array, ...]] = []
    series: tuple[Array, ...] = ()
    left: Any = None
    for part in parts:
        borders.append(states)
        # the last visited segment is the first of the backward run, so its residual is worth keeping
        here = _within(part, options, save=part is parts[-1])
        pieces, states, left = dispatch.forward(cell, x[part.rows], states, weights, here)
        series = series or tuple(
            [array_module(x).empty((*x.shape[:-1], piece.shape[-1]), piece.dtype) for piece in pieces]
        )
        for whole, piece in zip(series, pieces, strict=True):
            whole[part.rows] = piece
    # kept although it is an output: the user may hold it anyway, and it saves the second forward run
    y = series[0] if dispatch.restorable(left) else None
    return Run(series, states, Checkpoints(parts, borders, left, y))


def backward(
    x: Array,
    states: tuple[Array, ...],
    weights: tuple[Any, ...],
    options: Options,
    residual: Any,
    cotangents: Cotangents,
    needs: Needs,
) -> Gradients:
    """The backward run of :func:`forward`: the same kernel's, segment by segment."""
    if not isinstance(residual, Checkpoints):
        return dispatch.backward(x, states, weights, options, residual, cotangents, needs)
    kernel, cell, _ = residual.last
    y = residual.output

    def computed_again(part: Segment, before: tuple[Array, ...]) -> Any:
        here = _within(part, options, save=True)
        # no forward run: the residual follows from the output
        if y is not None:
            return dispatch.restore(x[part.rows], before, weights, here, residual.last, y[part.rows])
        with dispatch.only(kernel):  # the one that ran forward
            return dispatch.forward(cell, x[part.rows], before, weights, here).residual

    dx = array_module(x).empty(x.shape, x.dtype) if needs.x else None
    dstates = cotangents.states
    totals: list[Array | None] = []
    inner = needs._replace(states=(True,) * len(states))  # every segment but the first hands them on
    tasks = list(zip(reversed(residual.segments), reversed(residual.borders), strict=True))
    alone = kernel == "numba" and len(states[0]) == 1 and y is None  # one sequence leaves other threads idle
    with Prefetch(computed_again, tasks[1:], alone and get_num_threads() > 1) as prefetch:
        left: Any = residual.last
        for part, before in tasks:
            if left is None:
                left = prefetch.next()
            here = _within(part, options)
            given = Cotangents(tuple([None if g is None else g[part.rows] for g in cotangents.series]), dstates)
            found = dispatch.backward(x[part.rows], before, weights, here, left, given, inner)
            left = None  # its memory serves the next one
            if dx is not None:
                dx[part.rows] = found.x
            dstates = found.states
            new = found.weights
            totals = [_sum(*pair) for pair in zip(totals, new, strict=True)] if totals else list(new)
    wanted = tuple([d if need else None for d, need in zip(dstates, needs.states, strict=True)])
    return Gradients(dx, wanted, tuple(totals))


def _within(part: Segment, options: Options, **changes: Any) -> Options:
    """The options of a run over one segment."""
    masks = tuple([mask[part.rows] for mask in options.step_masks])
    return options._replace(sizes=part.sizes, step_masks=masks, **changes)


def _sum(total: Array | None, new: Array | None) -> Array | None:
    if total is None or new is None:
        return new
    total += new
    return total
