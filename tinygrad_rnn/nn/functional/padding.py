"""Padding of axes: entries added at their ends, or removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import ArgumentError, ShapeRuntimeError
from ...ops import cat, clone, full, index_select, narrow, tensor
from ...tape.tensor import Tensor

__all__ = ["pad"]

MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
LIMITS = {"reflect": 1, "circular": 0}
"""Modes that read each entry once at most on each side, and by how much less than the size the widths must be."""


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` with entries before and after it along its last axes.

    Args:
        input: (*).
        pad: how many before and after along the last axis, then along the one before it, and so on; negative
            numbers remove entries.
        mode: ``"constant"``; ``"reflect"`` (the inner entries mirrored at the edge), ``"replicate"`` (the edge again
            and again), ``"circular"`` (from the other end).
        value: of the constant; None: 0.

    Raises:
        ArgumentError: an unknown mode.
        ShapeRuntimeError: an odd number of widths, more than two for each axis, or more removed than there is.

    >>> import tinygrad_rnn as tg
    >>> pad(tg.tensor([[1.0, 2.0]]), (1, 2))
    tensor([[0., 1., 2., 0., 0.]])
    >>> pad(tg.tensor([1.0, 2.0, 3.0]), (2, -1), mode="circular")
    tensor([2., 3., 1., 2.])
    """
    if len(pad) % 2:
        raise ShapeRuntimeError(f"Padding length must be divisible by 2, got {len(pad)} widths")
    if len(pad) > 2 * input.ndim:
        raise ShapeRuntimeError(
            "Padding length should be less than or equal to two times the input dimension, "
            f"but got padding length {len(pad)} and input of dimension {input.ndim}"
        )
    if mode != "constant" and mode not in MODES:
        raise ArgumentError(f"Unrecognised padding mode {mode}: one of constant, {', '.join(MODES)}")
    unpadded = True
    for k in range(len(pad) // 2):
        axis, before, after = input.ndim - 1 - k, int(pad[2 * k]), int(pad[2 * k + 1])
        if input.shape[axis] + before + after < 0:
            raise ShapeRuntimeError(
                f"The input size {input.shape[axis]}, plus negative padding {before} and {after}, resulted in a "
                f"negative output size, which is invalid. Check dimension {axis} of your input."
            )
        if mode in LIMITS and max(before, after) > input.shape[axis] - LIMITS[mode]:
            raise ShapeRuntimeError(
                f"Padding size should be less than the corresponding input dimension, but got: padding ({before}, "
                f"{after}) at dimension {axis} of input {list(input.shape)}"
                if mode == "reflect"
                else "Padding value causes wrapping around more than once."
                f" It is ({before}, {after}) at dimension {axis} of input {list(input.shape)}"
            )
        unpadded = unpadded and before <= 0 and after <= 0 and (mode == "constant" or before == after == 0)
        if mode == "constant":
            input = _constant(input, axis, before, after, 0.0 if value is None else value)
        elif before or after:
            # NumPy pads the numbers of the entries: they say where each comes from, so that the gradient is that of a
            # selection.
            index = np.pad(np.arange(input.shape[axis]), (max(before, 0), max(after, 0)), mode=MODES[mode])  # type: ignore
            index = index[max(-before, 0) : len(index) - max(-after, 0)]
            input = index_select(input, axis, tensor(index, device=input.device))
    return clone(input) if unpadded else input  # never a view of the input


def _constant(input: Tensor, axis: int, before: int, after: int, value: float) -> Tensor:
    start, stop = max(-before, 0), input.shape[axis] - max(-after, 0)
    if (start, stop) != (0, input.shape[axis]):
        input = narrow(input, axis, start, max(stop - start, 0))

    def block(width: int) -> Tensor:
        shape = (*input.shape[:axis], width, *input.shape[axis + 1 :])
        return full(shape, value, dtype=input.dtype, device=input.device)

    parts = [*([block(before)] if before > 0 else []), input, *([block(after)] if after > 0 else [])]
    return cat(parts, axis) if len(parts) > 1 else input
