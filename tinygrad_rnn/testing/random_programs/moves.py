"""Moves of random programs: for each primitive, which values it fits and where its derivative exists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from ...ops.index import places
from ..sample_calls.building_blocks import any_axes

__all__ = ["MOVES", "Move"]

Arrays = Sequence[Any]
SAFE = 0.05  # the distance to keep from kinks, ties and poles


def _always(args: Arrays, params: dict[str, Any]) -> bool:
    return True


def _anything(position: int, value: Any, before: Arrays) -> bool:
    return True


def _no_params(draw: Any, args: Arrays) -> dict[str, Any] | None:
    return {}


class Move(NamedTuple):
    """How a primitive can be applied.

    Attributes:
        arity: the number of arguments, or the smallest and the largest number.
        params: draws the keyword parameters for the arguments; None if none fit.
        fits: whether a value can be the argument at a position, after those before it.
        allowed: whether the derivative exists at these arguments, with room to spare.
    """

    arity: int | tuple[int, int] = 1
    params: Callable[[Any, Arrays], dict[str, Any] | None] = _no_params
    fits: Callable[[int, Any, Arrays], bool] = _anything
    allowed: Callable[[Arrays, dict[str, Any]], bool] = _always


# where derivatives exist -------------------------------------------------------------------------------------------


def within(low: float, high: float) -> Callable[[Arrays, dict[str, Any]], bool]:
    return lambda args, params: bool(((args[0] >= low) & (args[0] <= high)).all())


def off(*kinks: float, which: int = 0, gap: float = SAFE) -> Callable[[Arrays, dict[str, Any]], bool]:
    return lambda args, params: all(bool((np.abs(args[which] - kink) >= gap).all()) for kink in kinks)


def _untied(args: Arrays, params: dict[str, Any]) -> bool:
    """No two entries that are reduced together are close."""
    a, reduced = args[0], params["axes"]
    rest = [k for k in range(a.ndim) if k not in reduced]
    rows = np.sort(a.transpose(*rest, *reduced).reshape(*[a.shape[k] for k in rest], -1), axis=-1)
    return rows.shape[-1] < 2 or bool((np.diff(rows, axis=-1) >= SAFE).all())


def _all_untied(args: Arrays, params: dict[str, Any]) -> bool:
    line = np.sort(args[0], axis=None)
    return line.size < 2 or bool((np.diff(line) >= SAFE).all())


# which values fit --------------------------------------------------------------------------------------------------


def broadcasts(position: int, value: Any, before: Arrays) -> bool:
    try:
        np.broadcast_shapes(value.shape, *[b.shape for b in before])
    except ValueError:
        return False
    return True


def _same_shape(position: int, value: Any, before: Arrays) -> bool:
    return all(b.shape == value.shape for b in before)


def has_axes(least: int) -> Callable[[int, Any, Arrays], bool]:
    return lambda position, value, before: value.ndim >= least


def _product(position: int, value: Any, before: Arrays) -> bool:
    if value.ndim < 1:
        return False
    if not before:
        return True
    (a,) = before
    # A vector on the right has its inner axis first, a matrix its last but one.
    inner = value.shape[-2] if value.ndim > 1 else value.shape[0]
    batch = broadcasts(0, np.empty(value.shape[:-2]), [np.empty(a.shape[:-2])])
    return bool(a.shape[-1] == inner) and batch


def _affine(position: int, value: Any, before: Arrays) -> bool:
    if position == 0:
        return bool(value.ndim >= 1)
    if position == 1:
        return bool(value.ndim == 2 and value.shape[1] == before[0].shape[-1])
    return bool(value.shape == (before[1].shape[0],))


def _joins(position: int, value: Any, before: Arrays) -> bool:
    return bool(value.ndim >= 1) and all(b.ndim == value.ndim and b.shape[1:] == value.shape[1:] for b in before)


def _same_shape_with_axes(position: int, value: Any, before: Arrays) -> bool:
    return bool(value.ndim >= 1) and all(b.shape == value.shape for b in before)


def _writes(position: int, value: Any, before: Arrays) -> bool:
    if position == 0:
        return bool(value.ndim >= 1)
    return value.shape in (before[0].shape, before[0].shape[1:])


# parameters --------------------------------------------------------------------------------------------------------


def axes(draw: Any, args: Arrays) -> dict[str, Any]:
    ndim = args[0].ndim
    return {"axes": draw(any_axes(ndim, min(1, ndim))), "keepdims": draw(st.booleans())}


def _dim(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"dim": draw(st.integers(0, args[0].ndim - 1))}


def _wider(draw: Any, args: Arrays) -> dict[str, Any]:
    sides = st.integers(1, 3)
    shape = tuple(draw(sides) if n == 1 else n for n in args[0].shape)
    return {"shape": (draw(sides), *shape) if draw(st.booleans()) else shape}


def _narrower(draw: Any, args: Arrays) -> dict[str, Any]:
    shape = args[0].shape
    dropped = draw(st.integers(0, len(shape)))
    return {"shape": tuple(1 if draw(st.booleans()) else n for n in shape[dropped:])}


def _other_shape(draw: Any, args: Arrays) -> dict[str, Any]:
    a = args[0]
    return {"shape": draw(st.sampled_from([(a.size,), a.shape[::-1], (1, *a.shape), (*a.shape, 1)]))}


def _two_axes(draw: Any, args: Arrays) -> dict[str, Any]:
    axis = st.integers(0, args[0].ndim - 1)
    return {"axis1": draw(axis), "axis2": draw(axis)}


def _order(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"dims": tuple(draw(st.permutations(range(args[0].ndim))))}


def _index(draw: Any, args: Arrays) -> dict[str, Any]:
    n = args[0].shape[0]
    number = st.integers(-n, n - 1)
    rows = st.lists(number, min_size=1, max_size=3).map(np.array)
    return {"index": draw(number | st.sampled_from([slice(None, None, -1), slice(1, None), None, ...]) | rows)}


def _gathered(draw: Any, args: Arrays) -> dict[str, Any]:
    a = args[0]
    dim = draw(st.integers(0, a.ndim - 1))
    # From one drawn seed, since shrinking gains nothing from single indices.
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return {"index": places(rng.integers(0, a.shape[dim], a.shape), dim)}


def _added_rows(draw: Any, args: Arrays) -> dict[str, Any]:
    """Where to add the second argument to the first, along the first axis, places repeated."""
    a, source = args
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return {"index": places(rng.integers(0, a.shape[0], source.shape), 0)}


def _placed(draw: Any, args: Arrays) -> dict[str, Any]:
    # Into three rows: fewer places than rows, so that some are added up.
    n = args[0].shape[0]
    rows = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return {"index": np.array(rows), "shape": (3, *args[0].shape[1:])}


def _rows(draw: Any, args: Arrays) -> dict[str, Any]:
    rows = st.lists(st.integers(0, args[0].shape[0] - 1), min_size=1, max_size=4)
    # No padding row: its gradient is 0 on purpose, and no derivative.
    return {"index": np.array(draw(rows)), "padding_idx": None}


def _along(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"dim": draw(st.integers(0, args[0].ndim - 1)), "reverse": draw(st.booleans())}


def _reduced_axis(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"dim": draw(st.integers(0, args[0].ndim - 1)), "keepdims": draw(st.booleans())}


def _one_axis(name: str, low: int, high: int) -> Callable[[Any, Arrays], dict[str, Any]]:
    def params(draw: Any, args: Arrays) -> dict[str, Any]:
        dim = draw(st.integers(0, args[0].ndim - 1))
        return {"dims": (dim,), **({name: (draw(st.integers(low, high)),)} if name else {})}

    return params


def _copies(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"repeats": tuple(draw(st.integers(1, 2)) for _ in args[0].shape)}


def _windows(draw: Any, args: Arrays) -> dict[str, Any]:
    dim = draw(st.integers(0, args[0].ndim - 1))
    return {"dim": dim, "size": draw(st.integers(1, args[0].shape[dim])), "step": draw(st.integers(1, 2))}


def _diagonal(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"offset": draw(st.integers(-1, 1)), "dim1": 0, "dim2": 1}


def _written(draw: Any, args: Arrays) -> dict[str, Any]:
    a, v = args
    n = a.shape[0]
    return {"index": draw(st.integers(-n, n - 1)) if v.shape == a.shape[1:] else slice(None, None, -1), "last": None}


def _contracted(draw: Any, args: Arrays) -> dict[str, Any]:
    """Letters for two operands of one shape: the first axis summed, the others a batch."""
    letters = "abcd"[: args[0].ndim]
    return {"left": letters, "right": letters, "out": letters[1:]}


# For larger arguments exp and similar functions leave the range of moderate values.
SMOOTH = Move(allowed=within(-3, 3))
POSITIVE = Move(allowed=within(0.1, 30))
KINK_AT_0 = Move(allowed=off(0.0))
PAIR = Move(2, fits=broadcasts)

MOVES: dict[str, Move] = {
    **dict.fromkeys(("neg", "square", "clone", "tanh", "sigmoid", "exp"), SMOOTH),
    **dict.fromkeys(("log", "sqrt", "rsqrt"), POSITIVE),
    **dict.fromkeys(("abs", "relu", "sign"), KINK_AT_0),
    "reciprocal": Move(allowed=off(0.0, gap=0.2)),
    **dict.fromkeys(("add", "sub", "mul"), PAIR),
    "div": Move(2, fits=broadcasts, allowed=off(0.0, which=1, gap=0.2)),
    "pow": Move(2, fits=broadcasts, allowed=within(0.2, 5)),
    "pow_number": Move(
        params=lambda draw, args: {"exponent": draw(st.sampled_from([2, 3, 0.5, -1, -1.5]))}, allowed=within(0.2, 5)
    ),
    **dict.fromkeys(
        ("maximum", "minimum"),
        Move(2, fits=broadcasts, allowed=lambda args, params: bool((np.abs(args[0] - args[1]) >= SAFE).all())),
    ),
    **dict.fromkeys(("sum", "mean"), Move(params=axes)),
    **dict.fromkeys(("amax", "amin"), Move(params=axes, allowed=_untied)),
    **dict.fromkeys(("softmax", "log_softmax"), Move(params=_dim, fits=has_axes(1))),
    "broadcast_to": Move(params=_wider),
    "sum_to": Move(params=_narrower),
    "reshape": Move(params=_other_shape),
    "transpose": Move(params=_two_axes, fits=has_axes(1)),
    "permute": Move(params=_order),
    "cat": Move((1, 3), params=lambda draw, args: {"dim": 0, "sizes": tuple(len(a) for a in args)}, fits=_joins),
    "stack": Move((1, 3), params=lambda draw, args: {"dim": draw(st.integers(0, args[0].ndim))}, fits=_same_shape),
    "getitem": Move(params=_index, fits=has_axes(1)),
    "place": Move(params=_placed, fits=has_axes(1)),
    "gather": Move(params=_gathered, fits=has_axes(1)),
    "scatter_add": Move(2, params=_added_rows, fits=lambda k, v, before: v.ndim >= 1 and _joins(k, v, before)),
    "embedding": Move(params=_rows, fits=lambda k, v, before: bool(v.ndim == 2)),
    "matmul": Move(2, fits=_product),
    "linear": Move(3, fits=_affine),
    **dict.fromkeys(("sin", "cos", "sinh", "cosh", "asinh", "atan", "exp2", "expm1", "silu", "log_sigmoid"), SMOOTH),
    **dict.fromkeys(("log1p", "log2", "log10", "root"), POSITIVE),
    **dict.fromkeys(("asin", "acos", "atanh"), Move(allowed=within(-0.9, 0.9))),
    "acosh": Move(allowed=within(1.2, 30)),
    "tan": Move(allowed=within(-1.2, 1.2)),
    "logaddexp": PAIR,
    "atan2": Move(2, fits=broadcasts, allowed=lambda args, params: bool((args[1] >= 0.2).all())),
    "hypot": Move(2, fits=broadcasts, allowed=off(0.0, which=1, gap=0.2)),
    "clamp_number": Move(params=lambda draw, args: {"low": -1.0, "high": 0.5}, allowed=off(-1.0, 0.5)),
    "leaky_relu": Move(params=lambda draw, args: {"slope": 0.1}, allowed=off(0.0)),
    "elu": Move(params=lambda draw, args: {"alpha": 1.5, "scale": 0.5, "rate": 0.7}, allowed=off(0.0)),
    # Short of the threshold (1.5 * 9 < 20), beyond which softplus is linear and its complex form is not.
    "softplus": Move(params=lambda draw, args: {"beta": 1.5, "threshold": 20.0}, allowed=within(-9, 9)),
    **dict.fromkeys(("cumsum", "cumprod"), Move(params=_along, fits=has_axes(1))),
    "linear_recurrence": Move(2, params=_along, fits=_same_shape_with_axes),
    "prod": Move(params=_reduced_axis, fits=has_axes(1)),
    "logsumexp": Move(params=axes),
    "var": Move(
        params=lambda draw, args: {**axes(draw, args), "correction": 0}, fits=has_axes(1), allowed=within(-30, 30)
    ),
    "median": Move(allowed=_all_untied),
    "flip": Move(params=_one_axis("", 0, 0), fits=has_axes(1)),
    "roll": Move(params=_one_axis("shifts", -2, 2), fits=has_axes(1)),
    "repeat": Move(params=_copies),
    "unfold": Move(params=_windows, fits=has_axes(1)),
    "diagonal": Move(params=_diagonal, fits=has_axes(2)),
    "contract": Move(2, params=_contracted, fits=_same_shape_with_axes),
    "setitem": Move(2, params=_written, fits=_writes),
    "contiguous": Move(),
}
"""Primitive name -> how a program may apply it."""
