"""Softmax and its logarithm, safe for large entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import as_dtype, not_implemented
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..typing import Array, V, Value
from .dtypes import cast, in_single
from .elementwise import exp
from .reduce import kept_shape, sum_over
from .shape import axes_of, axis_of, reshape

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _softmax(a: Array, dim: int) -> Array:
    if a.itemsize == 2:  # float16: the sum would lose digits, so only the result is rounded
        return _softmax(a.astype(np.float32), dim).astype(a.dtype)
    if not a.size:  # there is no max of nothing
        return a.copy()
    e: Array = np.exp(a - a.max(axis=dim, keepdims=True))
    e /= e.sum(axis=dim, keepdims=True)  # in place: exp gave new memory
    return e


def _log_softmax(a: Array, dim: int) -> Array:
    if a.itemsize == 2:
        return _log_softmax(a.astype(np.float32), dim).astype(a.dtype)
    if not a.size:
        return a.copy()
    shifted: Array = a - a.max(axis=dim, keepdims=True)
    # not log(softmax): that is -inf where the softmax underflows
    shifted -= np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return shifted


@in_single
def _softmax_vjp(g: Value, y: Value, a: Any, dim: int) -> Value:
    weighted = g * y
    return weighted - y * sum_over(weighted, dim, keepdim=True)  # the Jacobian diag(y) - y y^T, without building it


_softmax_primitive = primitive(
    "softmax",
    _softmax,
    _softmax_vjp,
    "y",
    formula=Formula(
        r"y_{ik} = \frac{\exp(a_{ik})}{\sum_{l} \exp(a_{il})}",
        a=r"\bar{a}_{ik} = y_{ik} (\bar{y}_{ik} - \sum_{l} \bar{y}_{il} y_{il})",
    ),
)
_log_softmax_primitive = primitive(
    "log_softmax",
    _log_softmax,
    in_single(lambda g, y, a, dim: g - exp(y) * sum_over(g, dim, keepdim=True)),
    "y",
    formula=Formula(
        r"y_{ik} = a_{ik} - \log(\sum_{l} \exp(a_{il}))",
        a=r"\bar{a}_{ik} = \bar{y}_{ik} - \exp(y_{ik}) \sum_{l} \bar{y}_{il}",
    ),
)


def softmax(a: V, dim: int, dtype: Any = None) -> V:
    """``exp(a) / sum(exp(a))`` along ``dim``, computed from ``a - max(a)`` so that nothing overflows."""
    return _along("softmax", _softmax_primitive, a, dim, dtype)


def log_softmax(a: V, dim: int, dtype: Any = None) -> V:
    """``a - log(sum(exp(a)))`` along ``dim``, computed from ``a - max(a)`` so that nothing overflows."""
    return _along("log_softmax", _log_softmax_primitive, a, dim, dtype)


def _along(op: str, f: Applied, a: V, dim: int, dtype: Any) -> V:
    a = a if dtype is None else cast(a, dtype=as_dtype(dtype, op))
    dim = axis_of(dim, a.ndim)
    if a.dtype.kind != "f":
        # the kernel that PyTorch's sentence names
        kernel = f"{op}_lastdim_kernel_impl" if dim == a.ndim - 1 else f"{op}_kernel_impl"
        raise not_implemented(kernel, a.dtype, "convert it, x.float()")
    return f(a, dim=dim) if a.ndim else reshape(f(reshape(a, (1,)), dim=0), ())


@in_single
def _logsumexp(a: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    if 0 in a.shape:
        total: Array = np.log(np.exp(a).sum(axis=axes, keepdims=keepdims))
        return total
    peak = a.max(axis=axes, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, np.zeros_like(peak))  # inf - inf would be nan
    total = np.log(np.exp(a - peak).sum(axis=axes, keepdims=True)) + peak
    return total if keepdims else total.reshape([n for k, n in enumerate(a.shape) if k not in axes])


@in_single
def _logsumexp_vjp(g: Value, y: Value, a: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    kept = kept_shape(a.shape, axes)
    return reshape(g, kept) * exp(a - reshape(y, kept))  # g softmax(a), without overflow as a <= y


_logsumexp_primitive = primitive(
    "logsumexp",
    _logsumexp,
    _logsumexp_vjp,
    "ya",
    formula=Formula(r"y_{i} = \log(\sum_{k} \exp(a_{ik}))", a=r"\bar{a}_{ik} = \bar{y}_{i} \exp(a_{ik} - y_{i})"),
    floating=True,
)


def logsumexp(a: V, dim: Any, keepdim: bool = False) -> V:
    """``log(sum(exp(a)))`` over ``dim``, computed from ``a - max(a)``; -inf, with a nan gradient, if all are -inf."""
    return _logsumexp_primitive(a, axes=axes_of(dim, a.ndim), keepdims=keepdim)
