"""Unrolling: a cell applied step by step over a sequence, every step on the tape; the composed form of a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...tape.modes import state
from ...tape.node import now
from ...tape.observe.scopes import restored, timed
from ...typing import V
from ..shape import cat, stack

__all__ = ["Loop", "unroll"]

States = tuple[V, ...]


@dataclass(eq=False)
class Loop:
    """A step that runs over a sequence, as those see it who watch (``Watcher.unrolls``).

    Attributes:
        step, x, states, sizes, reverse, step_masks, sequence_masks: as of :func:`unroll`.
        series, finals: what it gives, as soon as it is there.
        ended: the number of the last node that it recorded.
    """

    step: Callable[..., Any]
    x: Any
    states: tuple[Any, ...]
    sizes: Sequence[int] | None
    reverse: bool
    step_masks: Sequence[Any]
    sequence_masks: Sequence[Any]
    series: tuple[Any, ...] = ()
    finals: tuple[Any, ...] = ()
    ended: int = 0


@restored
def unroll(
    step: Callable[..., States[V]],
    x: V,
    states: States[V],
    *,
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
    emit: Sequence[int] = (0,),
    step_masks: Sequence[V] = (),
    sequence_masks: Sequence[V] = (),
) -> tuple[tuple[V, ...], States[V]]:
    """Run ``states = step(x_t, states, *masks)`` over a sequence.

    Args:
        step: gives the new states, and after them whatever else is to be collected (gates).
        x: (T, N, I), or packed rows (S, I).
        states: the initial ones, each (N, ...).
        sizes: of packed rows, how many sequences run at each step (the longest come first): at step t only the
            first ``sizes[t]`` rows of the states are read and written.
        reverse: from the last step to the first.
        emit: which of the values that ``step`` gives to collect.
        step_masks: what a step reads beside x, in the layout of x.
        sequence_masks: what all steps of a sequence read, (N, ...) each; the step gets them after the others.

    Returns:
        what was collected, each in the layout of x, and the states after the last step of each sequence.

    >>> import numpy as np
    >>> (y,), _ = unroll(lambda x, s: (s[0] + x,), np.ones((3, 1, 1)), (np.zeros((1, 1)),))
    >>> y.ravel()
    array([1., 2., 3.])
    """
    count = len(states)
    steps: list[States[V]] = []
    watchers, loop = state.here.watchers, None
    if watchers:
        loop = Loop(step, x, states, sizes, reverse, step_masks, sequence_masks)
        for watcher in watchers:
            watcher.unrolls(loop)
    if sizes is None:
        for t in timed(_order(x.shape[0], reverse)):
            values = step(x[t], states, *[mask[t] for mask in step_masks], *sequence_masks)
            states = values[:count]
            steps.append(tuple(values[k] for k in emit))
        join = stack
    else:
        ends = [0]
        for size in sizes:
            ends.append(ends[-1] + int(size))
        for t in timed(_order(len(sizes), reverse)):
            # at this step the first n sequences run; the states of the others stay as they are
            rows, n = slice(ends[t], ends[t + 1]), ends[t + 1] - ends[t]
            masks = [*[mask[rows] for mask in step_masks], *[mask[:n] for mask in sequence_masks]]
            values = step(x[rows], tuple(s[:n] for s in states), *masks)
            states = tuple(
                new if n == len(old) else cat([new, old[n:]]) for new, old in zip(values[:count], states, strict=True)
            )
            steps.append(tuple(values[k] for k in emit))
        join = cat
    # collected in the order of the visits, given in the order of the steps
    if reverse:
        steps.reverse()
    collected = tuple(join(series) for series in zip(*steps, strict=True))
    if loop is not None:
        loop.series, loop.finals, loop.ended = collected, states, now()
    return collected, states


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)
