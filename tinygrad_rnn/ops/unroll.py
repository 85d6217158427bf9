"""A cell applied step by step over a sequence, every step on the tape: the composed form of a recurrent layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..typing import Value
from .shape import cat, stack

__all__ = ["unroll"]

States = tuple[Value, ...]


def unroll(
    step: Callable[[Value, States], States],
    x: Value,
    states: States,
    *,
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Value, States]:
    """Run ``states = step(x_t, states)`` over a sequence.

    Args:
        step: gives the new states; the first one is also the output.
        x: (T, N, I), or packed rows (S, I).
        states: the initial ones, each (N, ...).
        sizes: of packed rows, how many sequences run at each step (the longest come first): at step t only the
            first ``sizes[t]`` rows of the states are read and written.
        reverse: from the last step to the first.

    Returns:
        outputs in the layout of x, and the states after the last step of each sequence.

    >>> import numpy as np
    >>> unroll(lambda x, s: (s[0] + x,), np.ones((3, 1, 1)), (np.zeros((1, 1)),))[0].ravel()
    array([1., 2., 3.])
    """
    outputs: list[Value] = []
    if sizes is None:
        for t in _order(x.shape[0], reverse):
            states = step(x[t], states)
            outputs.append(states[0])
        return stack(outputs[::-1] if reverse else outputs), states
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + int(size))
    for t in _order(len(sizes), reverse):
        n = ends[t + 1] - ends[t]
        new = step(x[ends[t] : ends[t + 1]], tuple(s[:n] for s in states))
        outputs.append(new[0])
        states = tuple(s if n == len(b) else cat([s, b[n:]]) for s, b in zip(new, states, strict=True))
    return cat(outputs[::-1] if reverse else outputs), states


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)
