"""Variance and norms, with derivatives that are finite where PyTorch's are: 0 at a zero deviation or norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import as_dtype, scalar_name
from ..errors import ArgumentError, DtypeError, ShapeRuntimeError
from ..source_line import warn_user
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..typing import Array, DType, Shape, V, Value
from .dtypes import cast, in_single, single
from .elementwise import absolute, sign, where
from .reduce import count, kept_shape, mean, spread, sum_over
from .shape import axes_of, reshape

__all__ = ["dist", "norm", "std", "std_mean", "var", "var_mean"]

Dim = int | Sequence[int] | None


root = primitive(
    "root",
    np.sqrt,
    lambda g, y, a: where(y == 0, 0, g) / (2 * where(y == 0, 1, y)),
    "y",
    formula=Formula(r"\sqrt{a}", a=r"\begin{cases} 0 & y = 0 \\ \frac{\bar{y}}{2 y} & \text{otherwise} \end{cases}"),
    doc="The square root of a sum of squares: its derivative at 0 is 0, as every square's is.",
)


def _variance(a: Array, axes: tuple[int, ...], keepdims: bool, correction: float) -> Array:
    wide = a.astype(np.float32) if a.dtype == np.float16 else a  # squares of float16 overflow from 256 on
    centre = wide.sum(axis=axes, keepdims=True) / wide.dtype.type(count(a.shape, axes))
    deviation = np.abs(wide - centre)  # from the mean, not E[x^2] - E[x]^2, which cancels; abs for complex numbers
    total = np.square(deviation).sum(axis=axes, keepdims=keepdims)
    variance: Array = (total * _inverse_freedom(a.shape, axes, correction)).astype(a.real.dtype)
    return variance


def _inverse_freedom(shape: Shape, axes: tuple[int, ...], correction: float) -> float:
    """1 over the degrees of freedom; nan where there are none."""
    freedom = count(shape, axes) - correction
    return 1 / freedom if freedom > 0 else math.nan


@in_single
def _variance_vjp(g: Value, y: Any, a: Value, axes: tuple[int, ...], keepdims: bool, correction: float) -> Value:
    deviation = a - mean(a, axes, keepdim=True)  # the contributions through the mean sum to 0
    return spread(g * (2 * _inverse_freedom(a.shape, axes, correction)), a.shape, axes) * deviation


_var = primitive(
    "var",
    _variance,
    _variance_vjp,
    "a",
    formula=Formula(
        r"y_{i} = \frac{1}{n - c} \sum_{k} (a_{ik} - \frac{1}{n} \sum_{l} a_{il})^2",
        a=r"\bar{a}_{ik} = \frac{2}{n - c} \bar{y}_{i} (a_{ik} - \frac{1}{n} \sum_{l} a_{il})",
    ),
)


def _narrowed(found: V, a: V) -> V:
    """What was computed from ``single(a)``, in the dtype of a; squares are rounded after their root is taken."""
    return cast(found, dtype=a.dtype) if a.dtype.itemsize == 2 else found


def _named(name: str, a: V, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> V:
    """The variance, with the arguments of both of PyTorch's forms."""
    if isinstance(dim, bool):  # var(unbiased): PyTorch's older form has it in this place
        dim, unbiased = None, dim
    if a.dtype.kind not in "fc":
        raise DtypeError(f"{name}(): std and var only support floating point and complex dtypes, got {a.dtype}")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    axes = axes_of(dim, a.ndim)
    if not count(a.shape, axes) > correction:  # not <=: over no entries count is nan
        warn_user(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
            f"(input numel divided by output numel): {correction} and shape {list(a.shape)} over {list(axes)} give nan",
        )
    return _var(a, axes=axes, keepdims=keepdim, correction=correction)


def var(a: V, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> V:
    """The variance over ``dim``: the sum of squared deviations from the mean, over n - ``correction`` (1).

    ``unbiased=False`` is ``correction=0``.

    >>> import tinygrad_rnn as tg
    >>> tg.var(tg.tensor([1.0, 2.0, 4.0]))
    tensor(2.3333)
    """
    return _named("var", a, dim, unbiased, keepdim, correction)


def std(a: V, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> V:
    """The square root of the variance; its derivative where that is 0 is 0."""
    variance: V = _named("std", single(a), dim, unbiased, keepdim, correction)
    return _narrowed(root(variance), a)


def var_mean(
    a: V, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[V, V]:
    """The variance and the mean."""
    variance = _named("var_mean", a, dim, unbiased, keepdim, correction)
    return variance, mean(a, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    a: V, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> tuple[V, V]:
    """The standard deviation and the mean."""
    variance = _named("std_mean", single(a), dim, unbiased, keepdim, correction)
    return _narrowed(root(variance), a), mean(a, None if isinstance(dim, bool) else dim, keepdim)


@in_single
def _norm_of(a: Array, p: float, axes: tuple[int, ...], keepdims: bool) -> Array:
    over: Any = {"axis": axes, "keepdims": keepdims}
    norm: Array
    if p == 0:
        norm = (a != 0).sum(**over).astype(a.dtype)  # no power: 0 ** 0 is 1
    elif p == 2:
        norm = np.sqrt(np.square(a).sum(**over))
    else:
        size = np.abs(a)
        if p in (math.inf, -math.inf):
            norm = size.max(**over) if p > 0 else size.min(**over)
        else:
            # without the powers, which cost more than the sum
            norm = size.sum(**over) if p == 1 else (size**p).sum(**over) ** (1 / p)
    return norm


@in_single
def _norm_vjp(g: Value, y: Value, a: Value, p: float, axes: tuple[int, ...], keepdims: bool) -> Value | None:
    """``g sign(a) (|a| / y)**(p - 1)``, in the order of PyTorch's; 0 where the norm is 0, none for a count."""
    if p == 0:  # a count does not change with its entries
        return None
    kept = kept_shape(a.shape, axes)
    g, y = reshape(g, kept), reshape(y, kept)
    if p == 1:
        return g * sign(a)
    if p in (math.inf, -math.inf):  # ties share evenly, and nans, which have no sign, get 0
        size = absolute(a)
        top: Value = cast((size == y) | (size != size), dtype=g.dtype)
        return sign(a) * (g / sum_over(top, axes, keepdim=True) * top)
    nothing = y == 0
    if p == 2:
        return g * where(nothing, 0, a / where(nothing, 1, y))  # a / y first: g / y could overflow where y is small
    zero = a == 0  # kept out of the power, whose derivative at 0 is 0 * inf
    steep = where(zero, 0, absolute(where(zero, 1, a)) ** (p - 1)) * sign(a)
    if p < 1:
        return g * steep * y ** (1 - p)  # finite at y = 0, as 1 - p is positive
    return steep * where(nothing, 0, g / where(nothing, 1, y) ** (p - 1))


_norm = primitive(
    "norm",
    _norm_of,
    _norm_vjp,
    "ya",
    formula=Formula(
        r"y_{i} = (\sum_{k} |a_{ik}|^{p})^{\frac{1}{p}}",
        a=r"\bar{a}_{ik} = \bar{y}_{i} \operatorname{sign}(a_{ik}) (\frac{|a_{ik}|}{y_{i}})^{p - 1}",
    ),
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


def norm(a: V, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> V:
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
    p = 2.0 if p in ("fro", None) else p  # the Frobenius norm is the 2-norm of all entries
    if isinstance(p, str):
        raise ArgumentError(f"norm(): p must be a number or 'fro', got {p!r}")
    axes = axes_of(dim, a.ndim)
    # sums over nothing are 0, an extremum over nothing is none
    if (p < 0 or p == math.inf) and 0 in [a.shape[k] for k in axes]:
        raise ShapeRuntimeError(
            f"linalg.vector_norm cannot compute the {p:g} norm on an empty tensor because the operation does not have "
            f"an identity. The shape is {list(a.shape)}"
        )
    # a norm is real, and so is what its vjp reads
    return _norm(absolute(a) if a.dtype.kind == "c" else a, p=float(p), axes=axes, keepdims=keepdim)


def dist(a: V, b: V, p: float = 2) -> V:
    """The p-norm of a - b."""
    return norm(a - b, p)
