"""Variance and norms, with derivatives that are finite where PyTorch's are: 0 at a zero deviation or norm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import as_dtype, scalar_name
from ..errors import ArgumentError, DtypeError
from ..tape.primitive import primitive, unary
from ..typing import Array, DType, Shape, Value
from .dtypes import cast
from .elementwise import abs, square, where
from .reduce import amax, amin, count, mean, spread, sum
from .shape import axes_of

__all__ = ["dist", "norm", "std", "std_mean", "var", "var_mean"]

Dim = int | Sequence[int] | None


root = unary(
    "root",
    np.sqrt,
    lambda g, y, a: where(y == 0, 0, g) / (2 * where(y == 0, 1, y)),
    "y",
    doc="The square root of a sum of squares: its derivative at 0 is 0, as every square's is.",
)


def _variance(a: Array, axes: tuple[int, ...], keepdims: bool, correction: float) -> Array:
    wide = a.astype(np.float32) if a.dtype == np.float16 else a
    centre = wide.sum(axis=axes, keepdims=True) / wide.dtype.type(count(a.shape, axes))
    deviation = np.abs(wide - centre)
    total = np.square(deviation).sum(axis=axes, keepdims=keepdims)
    return (total * _share(a.shape, axes, correction)).astype(a.real.dtype)


def _share(shape: Shape, axes: tuple[int, ...], correction: float) -> float:
    """1 over the degrees of freedom; nan where there are none."""
    freedom = count(shape, axes) - correction
    return 1 / freedom if freedom > 0 else math.nan


def _variance_vjp(g: Value, y: Any, a: Value, axes: tuple[int, ...], keepdims: bool, correction: float) -> Value:
    deviation = a - mean(a, axes, keepdim=True)  # its own derivative by the mean sums up to 0
    return spread(g * (2 * _share(a.shape, axes, correction)), a.shape, axes) * deviation


_var = primitive("var", _variance, (_variance_vjp,), ("a",))


def _named(name: str, a: Value, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Value:
    """The variance, in both of PyTorch's ways to name the arguments."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if a.dtype.kind not in "fc":
        raise DtypeError(f"{name}(): std and var only support floating point and complex dtypes, got {a.dtype}")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    axes = axes_of(dim, a.ndim)
    if not count(a.shape, axes) > correction:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
            f"(input numel divided by output numel): {correction} and shape {list(a.shape)} over {list(axes)} give nan",
            UserWarning,
            stacklevel=3,
        )
    return _var(a, axes=axes, keepdims=keepdim, correction=correction)


def var(a: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Value:
    """The variance over ``dim``: the sum of squared deviations from the mean, over n - ``correction`` (1).

    ``unbiased=False`` is ``correction=0``.

    >>> import tinygrad_rnn as tg
    >>> tg.var(tg.tensor([1.0, 2.0, 4.0]))
    tensor(2.3333)
    """
    return _named("var", a, dim, unbiased, keepdim, correction)


def std(a: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Value:
    """The square root of the variance; its derivative where that is 0 is 0."""
    return root(_named("std", a, dim, unbiased, keepdim, correction))


def var_mean(
    a: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Value, Value]:
    """The variance and the mean."""
    variance = _named("var_mean", a, dim, unbiased, keepdim, correction)
    return variance, mean(a, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    a: Value, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[Value, Value]:
    """The standard deviation and the mean."""
    variance = _named("std_mean", a, dim, unbiased, keepdim, correction)
    return root(variance), mean(a, None if isinstance(dim, bool) else dim, keepdim)


_count = primitive(
    "norm_of_order_0",
    lambda a, axes, keepdims: (a != 0).sum(axis=axes, keepdims=keepdims).astype(a.dtype),
    (lambda g, y, a, axes, keepdims: None,),
    ("",),
    doc="How many entries are not 0; it has no gradient, though it requires one, as PyTorch's.",
)


def _wider(chosen: DType, dtype: DType) -> DType:
    """The type that a norm is computed in: of the kind of the input, and not narrower."""
    wrong = None
    if chosen.kind not in "fc":
        wrong = f"dtype should be floating point or complex, but got {scalar_name(chosen)}"
    elif chosen.kind != dtype.kind:
        kind = "complex" if dtype.kind == "c" else "real"
        wrong = f"dtype should be {kind} for {kind} inputs, but got {scalar_name(chosen)}"
    elif chosen.itemsize < dtype.itemsize:
        wrong = (
            f"the dtype of the input ({scalar_name(dtype)}) should be convertible without narrowing to the specified "
            f"dtype ({scalar_name(chosen)})"
        )
    if wrong:
        raise DtypeError(f"linalg.vector_norm: {wrong}")
    return chosen


def norm(a: Value, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """The p-norm over ``dim``, all axes together: ``sum(|a|**p) ** (1/p)``; its derivative at 0 is 0.

    Args:
        p: a number; 2 (also ``"fro"``) by default; ``inf`` the largest and ``-inf`` the smallest magnitude; 0 how
            many entries are not zero.

    >>> import tinygrad_rnn as tg
    >>> tg.norm(tg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if a.dtype.kind not in "fc":
        raise DtypeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. "
            f"Got {scalar_name(a.dtype)}. Convert it: x.float()"
        )
    if dtype is not None:
        a = cast(a, dtype=_wider(as_dtype(dtype, "norm"), a.dtype))
    p = 2.0 if p in ("fro", None) else p
    if isinstance(p, str):
        raise ArgumentError(f"norm(): p must be a number or 'fro', got {p!r}")
    axes = axes_of(dim, a.ndim)
    if p == 2:
        return root(sum(square(a) if a.dtype.kind != "c" else square(abs(a)), axes, keepdim))
    size = abs(a)
    if p in (math.inf, -math.inf):
        return (amax if p > 0 else amin)(size, axes, keepdim)
    if p == 1:
        return sum(size, axes, keepdim)
    if p == 0:
        return _count(a, axes=axes, keepdims=keepdim)
    if p < 0:
        return sum(size**p, axes, keepdim) ** (1 / p)
    zero = size == 0  # kept away from powers, whose derivative there is 0 * inf
    total = sum(where(zero, 0, where(zero, 1, size) ** p), axes, keepdim)
    nothing = total == 0
    return where(nothing, 0, where(nothing, 1, total) ** (1 / p))


def dist(a: Value, b: Value, p: float = 2) -> Value:
    """The p-norm of a - b."""
    return norm(a - b, p)
