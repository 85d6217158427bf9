"""Formulas of primitives for complex numbers: what complex steps differentiate.

Most primitives compute on complex arrays as they are.  The forms below are for those that leave the complex numbers;
they are written independently, so that they share nothing with the vjps that are being checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...tape.primitive import REGISTRY

__all__ = ["COMPLEX_FORMS", "analytic"]


def _with(a: Any, v: Any, index: Any) -> Any:
    out = np.array(a, complex)
    out[index] = v
    return out


COMPLEX_FORMS: dict[str, Callable[..., Any]] = {
    # Branches by the real part alone: it is the number, the imaginary part the step. NumPy compares complex numbers by
    # both.
    "abs": lambda a: np.where(a.real < 0, -a, a),
    "sign": lambda a: np.sign(a.real) + 0j,
    "relu": lambda a: np.where(a.real > 0, a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "maximum": lambda a, b: np.where(a.real > b.real, a, b),
    "minimum": lambda a, b: np.where(a.real < b.real, a, b),
    "mean": lambda a, axes, keepdims: np.mean(a, axis=axes, keepdims=keepdims),
    "softmax": lambda a, dim: np.exp(a) / np.exp(a).sum(dim, keepdims=True),
    "log_softmax": lambda a, dim: a - np.log(np.exp(a).sum(dim, keepdims=True)),
    "rsqrt": lambda a: a**-0.5,
    "exp2": lambda a: 2.0**a,
    "silu": lambda a: a / (1 + np.exp(-a)),
    "log_sigmoid": lambda a: -np.log(1 + np.exp(-a)),
    "root": np.sqrt,
    "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b)),
    # Without the quadrants of atan2: a constant that no derivative sees.
    "atan2": lambda a, b: np.arctan(a / b),
    "hypot": lambda a, b: np.sqrt(a * a + b * b),
    "clamp_number": lambda a, low, high: np.where(a.real < low, low, np.where(a.real > high, high, a)),
    "leaky_relu": lambda a, slope: np.where(a.real > 0, a, a * slope),
    "elu": lambda a, alpha, scale, rate: scale * np.where(a.real > 0, a, alpha * (np.exp(rate * a) - 1)),
    "softplus": lambda a, beta, threshold: np.log(1 + np.exp(beta * a)) / beta,
    "logsumexp": lambda a, axes, keepdims: np.log(np.exp(a).sum(axis=axes, keepdims=keepdims)),
    # NumPy's own var takes absolute squares, which is not analytic.
    "var": lambda a, axes, keepdims, correction: np.mean(
        (a - a.mean(axis=axes, keepdims=True)) ** 2, axis=axes, keepdims=keepdims
    ),
    "median": lambda a: a.reshape(-1)[np.argsort(a.real, axis=None)[(a.size - 1) // 2]],
    "setitem": lambda a, v, index, last: _with(a, v, index),
}
"""Primitive name -> its value for complex arrays."""


def analytic(name: str, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """A primitive's value for complex arrays, where the real parts decide every branch."""
    form = COMPLEX_FORMS.get(name)
    return form(*args, **params) if form else REGISTRY[name].apply(*args, **params)
