"""Checkpointing of layers whose every step is on the tape: each segment is a checkpoint.

Fused layers do the same inside of their one record (``kernels/recurrent/checkpointing.py``), at less cost: here the
records of all steps stay, some hundred bytes each, and only their values are computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from ...autograd.checkpoint import checkpoint
from ...kernels.recurrent.checkpointing import cut
from ...ops import cat, split
from ...tape.modes import is_grad_enabled
from ...tape.observe.scopes import inside
from ...tape.tensor import Tensor
from .options import Sizes, States

__all__ = ["in_segments"]

Run = Callable[[Tensor, States, Sizes], tuple[tuple[Tensor, ...], States]]


def in_segments(
    run: Run, x: Tensor, states: States, sizes: Sizes, reverse: bool, requested: int | str | None
) -> tuple[tuple[Tensor, ...], States]:
    """``run(x, states, sizes)``, which gives (what it collects, states), cut along time into checkpoints.

    Args:
        run: runs over a sequence, in its direction.
        requested: how many; see :func:`~tinygrad_rnn.kernels.recurrent.checkpointing.cut`.
    """
    segments = cut(x.shape, sizes, reverse, requested)
    # Without recording nothing is kept for a backward pass, and there is nothing to save.
    if len(segments) < 2 or not is_grad_enabled():
        return run(x, states, sizes)
    count = len(states)
    order = -1 if reverse else 1
    # Segments come in the order of computation, memory has that of time: a reversed layer turns them twice.
    steps = [s.rows.stop - s.rows.start if s.sizes is None else len(s.sizes) for s in segments[::order]]
    begins = [0, *accumulate(steps)][:-1][::order]
    pieces = split(x, [s.rows.stop - s.rows.start for s in segments[::order]], 0)[::order]
    collected: list[tuple[Tensor, ...]] = []
    for segment, piece, begin in zip(segments, pieces, begins, strict=True):
        # As a default: a closure would see the sizes of the last segment.
        def again(piece: Tensor, *states: Tensor, sizes: Sizes = segment.sizes) -> tuple[Tensor, ...]:
            emitted, after = run(piece, states, sizes)
            return (*after, *emitted)

        results = inside(checkpoint, again, piece, *states, scope={"origin": begin})  # where its steps count from
        states = results[:count]
        collected.append(results[count:])
    return tuple(cat(list(series[::order]), 0) for series in zip(*collected, strict=True)), states
