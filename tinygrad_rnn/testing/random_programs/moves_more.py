"""Moves of random programs for the wider set of operations, and their forms for complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from .moves import (
    COMPLEX_FORMS,
    MOVES,
    PAIR,
    POSITIVE,
    SAFE,
    SMOOTH,
    Arrays,
    Move,
    axes,
    broadcasts,
    has_axes,
    off,
    within,
)

__all__: list[str] = []


def _along(draw: Any, args: Arrays) -> dict[str, Any]:
    return {"dim": draw(st.integers(0, args[0].ndim - 1)), "reverse": draw(st.booleans())}


def _product(draw: Any, args: Arrays) -> dict[str, Any]:
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


def _writes(position: int, value: Any, before: Arrays) -> bool:
    if position == 0:
        return bool(value.ndim >= 1)
    return value.shape in (before[0].shape, before[0].shape[1:])


def _contracted(draw: Any, args: Arrays) -> dict[str, Any]:
    """Letters for two operands of one shape: the first axis summed, the others a batch."""
    letters = "abcd"[: args[0].ndim]
    return {"left": letters, "right": letters, "out": letters[1:]}


def _same_shape(position: int, value: Any, before: Arrays) -> bool:
    return bool(value.ndim >= 1) and all(b.shape == value.shape for b in before)


def _untied(args: Arrays, params: dict[str, Any]) -> bool:
    line = np.sort(args[0], axis=None)
    return line.size < 2 or bool((np.diff(line) >= SAFE).all())


MOVES.update(
    {
        **dict.fromkeys(
            ("sin", "cos", "sinh", "cosh", "asinh", "atan", "exp2", "expm1", "silu", "log_sigmoid"), SMOOTH
        ),
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
        "softplus": Move(params=lambda draw, args: {"beta": 1.5, "threshold": 20.0}, allowed=within(-9, 9)),
        **dict.fromkeys(("cumsum", "cumprod"), Move(params=_along, fits=has_axes(1))),
        "linear_recurrence": Move(2, params=_along, fits=_same_shape),
        "prod": Move(params=_product, fits=has_axes(1)),
        "logsumexp": Move(params=axes),
        "var": Move(
            params=lambda draw, args: {**axes(draw, args), "correction": 0}, fits=has_axes(1), allowed=within(-30, 30)
        ),
        "median": Move(allowed=_untied),
        "flip": Move(params=_one_axis("", 0, 0), fits=has_axes(1)),
        "roll": Move(params=_one_axis("shifts", -2, 2), fits=has_axes(1)),
        "repeat": Move(params=_copies),
        "unfold": Move(params=_windows, fits=has_axes(1)),
        "diagonal": Move(params=_diagonal, fits=has_axes(2)),
        "contract": Move(2, params=_contracted, fits=_same_shape),
        "setitem": Move(2, params=_written, fits=_writes),
        "contiguous": Move(),
    }
)

COMPLEX_FORMS.update(
    {
        "exp2": lambda a: 2.0**a,
        "silu": lambda a: a / (1 + np.exp(-a)),
        "log_sigmoid": lambda a: -np.log(1 + np.exp(-a)),
        "root": np.sqrt,
        "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b)),
        "atan2": lambda a, b: np.arctan(a / b),
        "hypot": lambda a, b: np.sqrt(a * a + b * b),
        "clamp_number": lambda a, low, high: np.where(a.real < low, low, np.where(a.real > high, high, a)),
        "leaky_relu": lambda a, slope: np.where(a.real > 0, a, a * slope),
        "elu": lambda a, alpha, scale, rate: scale * np.where(a.real > 0, a, alpha * (np.exp(rate * a) - 1)),
        "softplus": lambda a, beta, threshold: np.log(1 + np.exp(beta * a)) / beta,
        "logsumexp": lambda a, axes, keepdims: np.log(np.exp(a).sum(axis=axes, keepdims=keepdims)),
        "var": lambda a, axes, keepdims, correction: np.mean(
            (a - a.mean(axis=axes, keepdims=True)) ** 2, axis=axes, keepdims=keepdims
        ),
        "median": lambda a: a.reshape(-1)[np.argsort(a.real, axis=None)[(a.size - 1) // 2]],
        "setitem": lambda a, v, index, last: _with(a, v, index),
    }
)


def _with(a: Any, v: Any, index: Any) -> Any:
    out = np.array(a, complex)
    out[index] = v
    return out
