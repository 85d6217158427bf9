"""Softmax and its logarithm, safe for large entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape.primitive import primitive
from ..typing import Array, Value
from .dtypes import as_dtype, cast
from .elementwise import exp, log
from .reduce import amax, sum
from .shape import axes_of, axis_of, reshape

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _softmax(a: Array, dim: int) -> Array:
    with np.errstate(invalid="ignore"):
        e = np.exp(a - a.max(axis=dim, keepdims=True))
    e /= e.sum(axis=dim, keepdims=True)
    return e


def _log_softmax(a: Array, dim: int) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = a - a.max(axis=dim, keepdims=True)
        shifted -= np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return shifted


def _softmax_vjp(g: Value, y: Value, a: Any, dim: int) -> Value:
    weighted = g * y
    return weighted - y * sum(weighted, dim, keepdim=True)


_softmax_primitive = primitive("softmax", _softmax, (_softmax_vjp,), ("y",), floating=True)
_log_softmax_primitive = primitive(
    "log_softmax",
    _log_softmax,
    (lambda g, y, a, dim: g - exp(y) * sum(g, dim, keepdim=True),),
    ("y",),
    floating=True,
)


def softmax(a: Value, dim: int, dtype: Any = None) -> Value:
    """``exp(a) / sum(exp(a))`` along ``dim``, computed from ``a - max(a)`` so that nothing overflows."""
    a = a if dtype is None else cast(a, dtype=as_dtype(dtype))
    return _softmax_primitive(a, dim=axis_of(dim, a.ndim)) if a.shape and 0 not in a.shape else exp(a * 0)


def log_softmax(a: Value, dim: int, dtype: Any = None) -> Value:
    """``a - log(sum(exp(a)))`` along ``dim``, computed from ``a - max(a)`` so that nothing overflows."""
    a = a if dtype is None else cast(a, dtype=as_dtype(dtype))
    return _log_softmax_primitive(a, dim=axis_of(dim, a.ndim)) if a.shape and 0 not in a.shape else a * 0


def logsumexp(a: Value, dim: Any, keepdim: bool = False) -> Value:
    """``log(sum(exp(a)))`` over ``dim``, computed from ``a - max(a)``."""
    axes = axes_of(dim, a.ndim)
    peak = amax(a, axes, keepdim=True)
    peak = peak.detach() if hasattr(peak, "detach") else peak
    result = log(sum(exp(a - peak), axes, keepdim=True)) + peak
    shape = tuple(n for k, n in enumerate(a.shape) if k not in axes)
    return result if keepdim else reshape(result, shape)


