"""Hypothesis strategies for shapes, arrays and tensors.

Values are multiples of ``step`` (1/256 by default), which print exactly and exclude subnormals and other oddities that
have nothing to do with a gradient.  A failing example shrinks to 1, to other integers, to halves, quarters, and so on:
to readable numbers at which a wrong gradient is far from the right one (at 0 many agree, and many functions have a kink
there).  It is printed as a line that can be pasted; hypothesis does so for any Tensor once this module is loaded.

``away_from`` avoids kinks, ``distinct`` avoids ties.

>>> from hypothesis import given
>>> @given(tensors(shape=shapes(min_dims=1), away_from=(0.0,), requires_grad=True))
... def test_abs_has_slope_one_or_minus_one(x):
...     x.abs().sum().backward()
...     assert x.grad.abs().sum().item() == x.numel()
>>> test_abs_has_slope_one_or_minus_one()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.vendor.pretty import for_type_by_name

from ..errors import ArgumentError
from ..tape.tensor import Tensor, wrap
from ..typing import Shape
from .untraced import untraced

__all__ = ["Sequences", "arrays", "broadcastable_shapes", "laid_out", "layouts", "sequences", "shapes", "tensors"]

T = TypeVar("T")
Draw = Any
Strategy = st.SearchStrategy

LAYOUTS = ("contiguous", "fortran", "strided", "reversed", "offset")


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes: 0-d, size-1 axes, and with ``min_side=0`` empty ones."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def broadcastable_shapes(
    count: int = 2, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """``count`` shapes that broadcast against each other."""
    return hnp.mutually_broadcastable_shapes(
        num_shapes=count, max_dims=max_dims, min_side=min_side, max_side=max_side
    ).map(lambda found: found.input_shapes)


@st.composite
def arrays(
    draw: Draw,
    /,
    shape: Shape | Strategy[Shape] | None = None,
    *,
    dtype: Any = np.float64,
    low: float = -2.0,
    high: float = 2.0,
    away_from: Sequence[float] = (),
    gap: float = 0.05,
    distinct: bool = False,
    step: float | None = None,
    layout: str | None = None,
) -> Any:
    """NumPy arrays of finite values.

    Args:
        shape: a shape, or a strategy of shapes (by default :func:`shapes`).
        dtype: floating, integer or bool.
        low, high: the range, bounds included.
        away_from: no value within ``gap`` of any of these (kinks, poles).
        distinct: no value twice; the step is then 1/32, so that values are well separated.
        step: values are multiples of it.
        layout: the memory layout: ``contiguous``, ``fortran``, ``strided``, ``reversed``, ``offset``, or None for
            any of them.

    Raises:
        ArgumentError: the range holds no multiple of ``step``.
    """
    with untraced():
        return _drawn(draw, shape, np.dtype(dtype), low, high, away_from, gap, distinct, step, layout)


def _drawn(
    draw: Draw,
    shape: Any,
    dtype: np.dtype[Any],
    low: float,
    high: float,
    away_from: Sequence[float],
    gap: float,
    distinct: bool,
    step: float | None,
    layout: str | None,
) -> Any:
    shape = draw(shapes() if shape is None else shape) if not isinstance(shape, tuple) else shape
    if dtype.kind == "b":
        array = draw(hnp.arrays(bool, shape))
    else:
        if dtype.kind in "iu":
            step = 1
        elif step is None:
            step = 1 / 32 if distinct else 1 / 256
        lowest, highest = math.ceil(low / step), math.floor(high / step)
        if lowest > highest:
            raise ArgumentError(f"arrays(): there is no multiple of {step} between {low} and {high}")
        if dtype.kind in "iu":
            ticks = st.integers(lowest, highest)
        else:
            ticks = _readable(lowest, highest, step)
        if away_from:
            ticks = ticks.filter(lambda k: all(abs(k * step - kink) >= gap for kink in away_from))
        whole = draw(hnp.arrays(np.int64, shape, elements=ticks, unique=distinct))
        array = (whole * step).astype(dtype)
    array = np.asarray(array)
    if layout is None:
        layout = draw(layouts()) if array.ndim and array.size > 1 else "contiguous"
    return laid_out(array, layout)


def _readable(lowest: int, highest: int, step: float) -> Strategy[int]:
    """Numbers of steps that shrink to simple values: to 1, then to other integers, to halves, quarters, and so on.

    A distance from 1 and a rounding of the result are drawn.  Hypothesis shrinks both, the rounding towards integers,
    so that an example becomes readable before it becomes simple.  Most draws are not rounded.
    """
    per = round(1 / step)
    spacings = [per if per >= 1 and abs(per * step - 1) < 1e-9 else 1]  # 1 if 1.0 is not a multiple of step
    # A step whose reciprocal is not a power of two jumps from its last odd spacing to 1.
    while spacings[-1] > 1:
        spacings.append(spacings[-1] // 2 if spacings[-1] % 2 == 0 else 1)
    # The value 1.0, or the end of the range that is nearer to it.
    start = min(max(spacings[0], lowest), highest)

    def tick(drawn: tuple[int, int]) -> int:
        found = start + drawn[1]
        for spacing in spacings[drawn[0] :]:
            rounded = round(found / spacing) * spacing
            # Rounding may leave the range, by one spacing at most.
            rounded += spacing * ((rounded < lowest) - (rounded > highest))
            if lowest <= rounded <= highest:
                return rounded
        return found

    # Two draws of three are beyond the list of spacings, and round nothing.
    rounding = st.integers(0, 3 * len(spacings))
    return st.tuples(rounding, st.integers(lowest - start, highest - start)).map(tick)


def laid_out(array: Any, layout: str) -> Any:
    """An equal array or tensor with the memory layout ``layout``.

    Args:
        layout: ``contiguous``; ``fortran``, the first axis contiguous in memory; ``strided``, every second
            entry of a wider array; ``reversed``, the first axis backwards; ``offset``, a part of a larger array.

    >>> laid_out(np.eye(3), "reversed").strides
    (-24, 8)
    """
    if isinstance(array, Tensor):
        return wrap(laid_out(array._data, layout))
    if array.ndim == 0:
        return array
    if layout == "contiguous":
        return np.ascontiguousarray(array)
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "strided":
        wider = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        view = wider[..., ::2]
    elif layout == "reversed":
        view = np.zeros_like(array)[::-1]
    else:
        view = np.zeros(tuple(n + 1 for n in array.shape), array.dtype)[(slice(1, None),) * array.ndim]
    view[...] = array
    return view


def layouts() -> st.SearchStrategy[str]:
    """Names of memory layouts, for ``arrays(layout=...)`` and ``laid_out``."""
    return st.sampled_from(LAYOUTS)


def _print(t: Tensor, printer: Any, cycle: bool) -> None:
    """A tensor of a failing example as Python code that reproduces it to the last bit."""
    # No single line makes such a tensor.
    if not t.is_leaf or t.device.type != "cpu":
        printer.text(repr(t))
        return
    data = t._data
    grad = ", requires_grad=True" if t.requires_grad else ""
    text = f"tg.tensor({_spelled(data)}, dtype=tg.{data.dtype.name}"
    layout = next((name for name in LAYOUTS if laid_out(data, name).strides == data.strides), None)
    # None: a layout that no strategy made.
    if layout in (None, "contiguous") or data.size < 2:
        printer.text(f"{text}{grad})")
    else:
        printer.text(f'laid_out({text}), "{layout}"){".requires_grad_()" if grad else ""}')


def _spelled(data: Any) -> str:
    """The entries as nested lists: inf and nan by name, shapes that a list cannot express by ``np.empty``."""
    if 0 in data.shape[:-1]:
        # Nested lists lose the axes behind an empty one.
        return f"np.empty({data.shape})"
    return repr(data.tolist()).replace("inf", "tg.inf").replace("nan", "tg.nan")


# By name, as hypothesis registers printers of libraries that may not be loaded.
for_type_by_name(Tensor.__module__, Tensor.__name__, _print)


@st.composite
def tensors(
    draw: Draw,
    /,
    shape: Shape | Strategy[Shape] | None = None,
    *,
    requires_grad: bool | None = None,
    **kwargs: Any,
) -> Tensor:
    """Tensors; arguments as for :func:`arrays`.

    Args:
        requires_grad: by default True for floating types.
    """
    array = draw(arrays(shape, **kwargs))
    t = wrap(array)
    floating = array.dtype.kind == "f"
    if floating if requires_grad is None else requires_grad:
        t.requires_grad_()
    return t


class Sequences(NamedTuple):
    """A padded batch of sequences.

    Attributes:
        values: ``(T, N, I)``, or ``(N, T, I)`` with ``batch_first``; zeros behind each sequence's end.
        lengths: how many steps each sequence has; the longest has T.
    """

    values: Tensor
    lengths: list[int]


@st.composite
def sequences(
    draw: Draw,
    /,
    *,
    steps: int = 5,
    batch: int = 3,
    features: int | None = None,
    batch_first: bool = False,
    min_length: int = 1,
    sorted_lengths: bool = False,
    **kwargs: Any,
) -> Sequences:
    """Batches of sequences of differing lengths.

    Args:
        steps, batch: the largest T and N.
        features: I; by default drawn from 1 to 3.
        batch_first: the layout of ``values``.
        min_length: the shortest sequence allowed.
        sorted_lengths: longest first, as ``pack_padded_sequence`` requires by default.

    Others as for :func:`tensors`.
    """
    lengths = draw(st.lists(st.integers(min_length, steps), min_size=1, max_size=batch))
    if sorted_lengths:
        lengths.sort(reverse=True)
    size = draw(st.integers(1, 3)) if features is None else features
    longest = max(lengths)
    requires_grad = kwargs.pop("requires_grad", True)
    values = draw(arrays((longest, len(lengths), size), **kwargs))
    for n, length in enumerate(lengths):
        values[length:, n] = 0
    t = wrap(np.ascontiguousarray(values.swapaxes(0, 1)) if batch_first else values)
    return Sequences(t.requires_grad_() if requires_grad else t, lengths)
