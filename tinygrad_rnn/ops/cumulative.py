"""Running sums, products and extrema along an axis, and the linear recurrence that their derivatives need.

With ``P`` the running product and zeros allowed anywhere, the derivative of ``sum_j g[j] P[j]`` by ``a[k]`` is

    P[k-1] * S[k],    S[k] = g[k] + a[k+1] S[k+1],

which divides by nothing.  ``S`` is a linear recurrence, whose adjoint is the same recurrence run the other way;
so the family is closed under differentiation.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..backend import array_module, as_dtype, not_implemented, to_numpy
from ..errors import ShapeRuntimeError
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, V, Value
from .dtypes import cast, in_single
from .elementwise import clone, constant_in
from .index import gather
from .named_results import results
from .nondifferentiable import constant, raw
from .reduce import kept_shape, narrowed, spread
from .shape import axis_of, cat, reshape

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "prod"]


def _along(dim: int, *index: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * dim, *index)


def _run(f: Any, a: Array, dim: int, reverse: bool) -> Array:
    return np.flip(f(np.flip(a, dim), dim), dim) if reverse else f(a, dim)


def _summed(a: V, dtype: Any, op: str) -> tuple[V, np.dtype[Any]]:
    """``a`` in the dtype in which sums and products of it are formed, and that: whole numbers in int64."""
    given = (a._data if isinstance(a, Tensor) else a).dtype
    if dtype is None and given.kind in "fc":
        return a, given
    chosen = np.dtype(np.int64) if dtype is None else as_dtype(dtype, op)
    return (a if given == chosen else cast(a, dtype=chosen)), chosen


_cumsum: Applied = primitive(
    "cumsum",
    in_single(lambda a, dim, reverse: _run(np.cumsum, a, dim, reverse)),
    lambda g, y, a, dim, reverse: _cumsum(g, dim=dim, reverse=not reverse),
    formula=Formula(r"y_{ik} = \sum_{l \le k} a_{il}", a=r"\bar{a}_{ik} = \sum_{l \ge k} \bar{y}_{il}"),
)


def cumsum(a: V, dim: int, *, dtype: Any = None) -> V:
    """The sums of the first 1, 2, ... entries along an axis."""
    (a, chosen), dim = _summed(a, dtype, "cumsum"), axis_of(dim, a.ndim)
    if chosen.kind == "b":
        raise not_implemented("cumsum_out_cpu", chosen)
    # PyTorch gives a 0-d tensor a dim of 0
    return narrowed(_cumsum(a, dim=dim, reverse=False), chosen) if a.ndim else clone(a)


# the linear recurrence ---------------------------------------------------------------------------------------------


def _recur(x: Array, c: Array, dim: int, reverse: bool) -> Array:
    h = x.copy()
    steps = range(x.shape[dim])
    order = list(reversed(steps)) if reverse else list(steps)
    for before, k in itertools.pairwise(order):
        h[_along(dim, k)] += c[_along(dim, k)] * h[_along(dim, before)]
    return h


def _shifted(a: V, dim: int, by: int) -> V:
    """Entries moved by one place along an axis, a zero coming in."""
    kept = a[_along(dim, slice(None, -1) if by > 0 else slice(1, None))]
    # the zeros of a slice have its dtype and device
    edge = constant(np.zeros_like(raw(a)[_along(dim, slice(0, 1))]), a)
    return cat([edge, kept] if by > 0 else [kept, edge], dim)


def _flow(g: Value, c: Value, dim: int, reverse: bool) -> Value:
    """The cotangents of the x[k]: what reaches h[k] directly, and through the h after it."""
    return _linear_recurrence(g, _shifted(c, dim, 1 if reverse else -1), dim=dim, reverse=not reverse)


_linear_recurrence = primitive(
    "linear_recurrence",
    _recur,
    (
        # dL/dx[k] = s[k], where s[k] = g[k] + c[k+1] s[k+1]; and c[k] multiplies h[k-1], so dL/dc[k] = s[k] h[k-1].
        lambda g, h, x, c, dim, reverse: _flow(g, c, dim, reverse),
        lambda g, h, x, c, dim, reverse: _flow(g, c, dim, reverse) * _shifted(h, dim, -1 if reverse else 1),
    ),
    ("b", "yb"),
    formula=Formula(
        "y_{ik} = x_{ik} + c_{ik} y_{i,k-1}",
        x=r"\bar{x}_{ik} = \bar{y}_{ik} + c_{i,k+1} \bar{x}_{i,k+1}",
        c=r"\bar{c}_{ik} = \bar{x}_{ik} y_{i,k-1}",
    ),
    doc="h[k] = x[k] + c[k] h[k-1] along an axis (h[k+1] if ``reverse``), starting from x.",
)


# products ----------------------------------------------------------------------------------------------------------


def _products_before(a: V, dim: int, reverse: bool = False) -> V:
    """For each entry the product of those before it (after it if ``reverse``)."""
    edge = constant(np.ones_like(raw(a)[_along(dim, slice(0, 1))]), a)
    kept = a[_along(dim, slice(1, None) if reverse else slice(None, -1))]
    return _cumprod(cat([kept, edge] if reverse else [edge, kept], dim), dim=dim, reverse=reverse)


@in_single
def _cumprod_vjp(g: Value, y: Value, a: Value, dim: int, reverse: bool) -> Value:
    if a.shape[dim] == 1:  # the products are the entries themselves
        return g
    return _products_before(a, dim, reverse) * _flow(g, a, dim, reverse)


_cumprod = primitive(
    "cumprod",
    in_single(lambda a, dim, reverse: _run(np.cumprod, a, dim, reverse)),
    _cumprod_vjp,
    "ya",
    formula=Formula(
        r"y_{ik} = \prod_{l \le k} a_{il}",
        a=r"\bar{a}_{ik} = \sum_{l \ge k} \bar{y}_{il} \prod_{m \le l, m \ne k} a_{im}",
    ),
)


def cumprod(a: V, dim: int, *, dtype: Any = None) -> V:
    """The products of the first 1, 2, ... entries along an axis; the derivative is exact at zeros."""
    (a, chosen), dim = _summed(a, dtype, "cumprod"), axis_of(dim, a.ndim)
    if chosen.kind == "b":
        raise not_implemented("cumprod_out_cpu", chosen)
    return narrowed(_cumprod(a, dim=dim, reverse=False), chosen) if a.ndim else clone(a)


@in_single
def _prod_vjp(g: Value, y: Value, a: Value, dim: int, keepdims: bool) -> Value:
    others = _products_before(a, dim) * _products_before(a, dim, reverse=True)
    return spread(constant_in(g, y), a.shape, (dim,)) * others


_prod = primitive(
    "prod",
    in_single(lambda a, dim, keepdims: a.prod(axis=dim, keepdims=keepdims)),
    _prod_vjp,
    "ya",
    formula=Formula(r"y_{i} = \prod_{k} a_{ik}", a=r"\bar{a}_{ik} = \bar{y}_{i} \prod_{l \ne k} a_{il}"),
)


def prod(a: V, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> V:
    """The product over an axis, or of all entries; the derivative is exact at zeros.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([2.0, 0.0, 3.0], requires_grad=True)
    >>> tg.prod(x).backward()
    >>> x.grad
    tensor([0., 6., 0.])
    """
    a, chosen = _summed(a, dtype, "prod")
    if a.ndim == 0:
        return clone(a)
    if dim is None:
        out = narrowed(_prod(reshape(a, (-1,)), dim=0, keepdims=False), chosen)
        return reshape(out, kept_shape(a.shape, tuple(range(a.ndim)))) if keepdim else out
    return narrowed(_prod(a, dim=axis_of(dim, a.ndim), keepdims=keepdim), chosen)


# extrema -----------------------------------------------------------------------------------------------------------


def _latest(a: Array, dim: int, ufunc: Any) -> Array:
    """The index of the running extremum: the last of equal ones; a nan, once met, stays."""
    host = to_numpy(a)  # CuPy's ufuncs have no accumulate
    running = ufunc.accumulate(host, axis=dim)
    number = np.arange(host.shape[dim]).reshape((-1,) + (1,) * (host.ndim - dim - 1))
    hit = (host == running) | (host != host)  # a nan equals nothing, and is hit where it stands
    place: Array = array_module(a).asarray(np.maximum.accumulate(np.where(hit, number, 0), axis=dim))
    return place


def _running(name: str, ufunc: Any, word: str) -> Any:
    def apply(a: Value, dim: int) -> Any:
        result = results(name, "values", "indices")
        dim = axis_of(dim, a.ndim)
        if a.dtype.kind == "c":
            raise not_implemented(f"{name}_cpu", a.dtype)
        if a.ndim == 0:
            return result(clone(a), wrap(array_module(raw(a)).zeros((), np.int64)))
        indices = wrap(as_array(_latest(raw(a), dim, ufunc)))
        return result(gather(a, dim, indices), indices)  # not the accumulated values, which have no history

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"The {word} of the first 1, 2, ... entries along an axis, and where it stands: the last of equals."
    return apply


cummax = _running("cummax", np.maximum, "largest")
cummin = _running("cummin", np.minimum, "smallest")


def diff(a: V, n: int = 1, dim: int = -1, prepend: V | None = None, append: V | None = None) -> V:
    """The differences of neighbours along an axis, taken ``n`` times.

    Args:
        prepend, append: entries that are put before and after those of ``a`` first.
    """
    if a.ndim == 0:
        raise ShapeRuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise ShapeRuntimeError(f"order must be non-negative but got {n}: diff()")
    dim = axis_of(dim, a.ndim)
    if n and not (prepend is None and append is None):  # n = 0 gives a alone, without the ends, as in PyTorch
        a = cat([part for part in (prepend, a, append) if part is not None], dim)
    if n == 0:
        return clone(a)
    for _ in range(n):
        later, earlier = a[_along(dim, slice(1, None))], a[_along(dim, slice(None, -1))]
        # bools have no difference; PyTorch's is where they change
        a = later != earlier if a.dtype.kind == "b" else later - earlier
    return a
