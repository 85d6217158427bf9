"""Raw forms of vjps: what an unrecorded sweep calls in their place, faster than the mathematics on plain arrays.

The mathematics is declared beside each primitive; nothing here is needed to understand it.  A form gives the same
numbers (checked by tests/registry/test_raw_forms.py).  Its docstring says what it spares, and which fraction of the
mathematics' time it takes: on one core, in float32, as benchmarks/raw_forms.py measures it.  On a GPU the arrays of a
loop over time are small and the time is that of the launches, so there the number of launches counts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import ref

import numpy as np

from ..backend import on_gpu
from ..tape.inplace.writes import Erased
from ..tape.modes import state
from ..tape.partial_gradient import Part
from ..tape.primitive import REGISTRY
from ..tape.tensor import as_array
from ..typing import Array, Shape, Value
from . import transcendental  # noqa: F401  (it declares softplus)
from .assign import written_vjp
from .cumulative import _cumsum
from .dtypes import in_single
from .elementwise import sigmoid, zeros_of
from .linalg import gemm, matrix_product, over_rows, rows_of
from .reduce import count, spread
from .shape import sum_to

ndarray, dot = np.ndarray, np.ndarray.dot
multiply, subtract, where = np.multiply, np.subtract, np.where

Form = TypeVar("Form", bound=Callable[..., Any])


def raw_form(name: str, position: int | None = 0) -> Callable[[Form], Form]:
    """Let unrecorded sweeps call the decorated function as the vjp of an argument of the primitive ``name``.

    With None for the position, as the one function that gives the cotangents of all arguments.
    """

    def register(form: Form) -> Form:
        REGISTRY[name].add_raw_form(position, form)
        return form

    return register


def mathematics(name: str, position: int = 0) -> Callable[..., Array]:
    """The declared vjp, for the arrays that a raw form does not take."""
    vjp: Callable[..., Any] | None = REGISTRY[name].vjps[position]
    assert vjp is not None
    return vjp


# activations -------------------------------------------------------------------------------------------------------


@functools.cache
def _kernels() -> Any:
    """The CUDA kernels of activations, loaded where there is a GPU."""
    from ..kernels.cuda_elementwise import activation_gradients

    return activation_gradients


_tanh_vjp, _sigmoid_vjp, _relu_vjp = mathematics("tanh"), mathematics("sigmoid"), mathematics("relu")


@raw_form("tanh")
def _tanh(g: Array, y: Array, a: Any) -> Array:
    """In one piece of memory: 0.83 of the time at (8, 64), 0.80 at (32, 128).  On a GPU one launch instead of three."""
    if type(g) is ndarray and g.itemsize != 2:  # float16 goes through in_single
        t = g * y
        if type(t) is ndarray:  # not a number, as it is of 0-d arrays
            subtract(g, multiply(t, y, t), t)
            return t
    elif on_gpu(g):
        found: Array | None = _kernels().slope("tanh", g, y)
        if found is not None:
            return found
    return _tanh_vjp(g, y, a)


@raw_form("sigmoid")
def _sigmoid(g: Array, y: Array, a: Any) -> Array:
    """In one piece of memory: 0.86 of the time at (8, 64), 0.82 at (32, 128).  On a GPU one launch instead of three."""
    if type(g) is ndarray and g.itemsize != 2:
        t = 1 - y
        if type(t) is ndarray:
            multiply(g, multiply(y, t, t), t)
            return t
    elif on_gpu(g):
        found: Array | None = _kernels().slope("sigmoid", g, y)
        if found is not None:
            return found
    return _sigmoid_vjp(g, y, a)


@raw_form("relu")
def _relu(g: Array, y: Array, a: Any) -> Array:
    """Without what ``where`` asks of its arguments: 0.80 of the time at (8, 64), 0.90 at (32, 128)."""
    return where(y <= 0, 0, g) if type(g) is ndarray else _relu_vjp(g, y, a)


@raw_form("softplus")
@in_single
def _softplus(g: Array, y: Any, a: Array, beta: float, threshold: float) -> Array:
    """Without the limit that only a second derivative needs: 0.65 of the time at (8, 64), 0.68 at (32, 128)."""
    scaled = a * beta
    return where(scaled > threshold, g, g * sigmoid(scaled))


# powers and products -------------------------------------------------------------------------------------------------


@raw_form("square")
def _square(g: Array, y: Any, a: Array) -> Array:
    """The power 1 of an array is itself: 0.64 of the time at (8, 64), 0.54 at (32, 128)."""
    contribution: Array = g * (2 * a)
    return contribution


@raw_form("pow_number")
@in_single
def _pow_number(g: Array, y: Any, a: Array, exponent: Any) -> Value:
    """So for an exponent of 2: 0.69 and 0.59 of the time.  For one of 1 nothing is computed: 0.19 and 0.12."""
    if exponent == 0:
        return zeros_of(g)
    if exponent == 1:
        return g
    contribution: Array = g * (exponent * (a if exponent == 2 else a ** (exponent - 1)))
    return contribution


_prod_vjp, _cumprod_vjp = mathematics("prod"), mathematics("cumprod")

# Where no entry is zero, y / a is the product of the others, in one pass.  That is no mathematics to be recorded: the
# quotient is accurate, but its derivatives subtract terms as large as y / a^2 that cancel; those of the products are
# polynomials, right at zeros and beside them.


@raw_form("prod")
@in_single
def _prod(g: Array, y: Array, a: Array, dim: int, keepdims: bool) -> Array:
    """0.30 of the time at 64 entries, 0.11 at 4096."""
    if (a == 0).any():
        return _prod_vjp(g, y, a, dim=dim, keepdims=keepdims)
    contribution: Array = spread(g * y, a.shape, (dim,)) / a
    return contribution


@raw_form("cumprod")
@in_single
def _cumprod(g: Array, y: Array, a: Array, dim: int, reverse: bool) -> Array:
    """0.09 of the time at 64 entries, 0.01 at 4096."""
    if a.shape[dim] == 1 or (a == 0).any():
        return _cumprod_vjp(g, y, a, dim=dim, reverse=reverse)
    contribution: Array = _cumsum(g * y, dim=dim, reverse=not reverse) / a
    return contribution


# sums ----------------------------------------------------------------------------------------------------------------


def _spread(g: Array, shape: Shape, axes: tuple[int, ...]) -> Value:
    if len(axes) == len(shape) and g.size == 1 and isinstance(g, (ndarray, np.generic)):
        repeated: Array = ndarray(shape, g.dtype, g, 0, (0,) * len(shape))  # one number under every index
        repeated.flags.writeable = False  # a write to one entry would be one to all
        return repeated
    return spread(g, shape, axes)


@raw_form("sum")
def _sum(g: Array, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    """Over all axes without ``reshape`` and ``broadcast_to``: 0.25 of the time at any size."""
    return _spread(g, a.shape, axes)


@raw_form("mean")
@in_single
def _mean(g: Array, y: Any, a: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    """As for ``sum``: 0.40 of the time."""
    return _spread(g * (1.0 / count(a.shape, axes)), a.shape, axes)


# contributions to weights and biases ----------------------------------------------------------------------------------

# On a GPU each use of a weight contributes a partial gradient, which cuBLAS adds to the sum of those before it: no new
# memory, and one launch instead of two.


class ProductPart(Part):
    """``a^T @ g``."""

    __slots__ = ("a", "g")

    def __init__(self, a: Array, g: Array) -> None:
        self.a, self.g = a, g

    def start(self) -> Array:
        found: Array = gemm().product(self.a.T, self.g)
        return found

    def add_to(self, total: Array) -> None:
        gemm().product(self.a.T, self.g, onto=total)


class SumPart(Part):
    """The sum of the rows of ``g``."""

    __slots__ = ("g", "shape")

    def __init__(self, g: Array, shape: Shape) -> None:
        self.g, self.shape = g, shape

    def start(self) -> Array:
        found: Array = gemm().sum_of_rows(self.g, self.shape)
        return found

    def add_to(self, total: Array) -> None:
        if total.flags.c_contiguous and total.dtype == self.g.dtype:  # cuBLAS adds to rows of one type
            gemm().sum_of_rows(self.g, self.shape, onto=total)
        else:
            total += self.start()


def _weight_contribution(g: Array, a: Array) -> Any:
    """``a^T @ g`` of two matrices."""
    if type(g) is ndarray and type(a) is ndarray:
        return dot(a.T, g)
    return ProductPart(a, g) if on_gpu(g) and on_gpu(a) else a.T @ g


def _bias_contribution(g: Array, shape: Shape) -> Any:
    """:func:`.shape.sum_to`, for an argument of ``shape`` that was broadcast to that of ``g``."""
    if type(g) is not ndarray and len(shape) == 1 and g.ndim > 1 and g.shape[-1:] == shape:
        if on_gpu(g) and gemm().readable(g):
            return SumPart(g, shape)
    return sum_to(g, shape)


@raw_form("add", 0)
def _add_left(g: Array, y: Any, a: Any, b: Any) -> Any:
    """On a GPU one launch for a sum over rows and its addition.  On the CPU 0.90 of the time; of a bias 1.05."""
    if g.shape == a.shape:
        return g
    return sum_to(g, a.shape) if type(g) is ndarray else _bias_contribution(g, a.shape)


@raw_form("add", 1)
def _add_right(g: Array, y: Any, a: Any, b: Any) -> Any:
    """As on the left."""
    if g.shape == b.shape:
        return g
    return sum_to(g, b.shape) if type(g) is ndarray else _bias_contribution(g, b.shape)


LEAST_COPIED = 512
"""Entries of a weight of which a transposed copy is worth its making."""


def _transposed(b: Array) -> Array:
    """``b^T``; for a weight that is used again and again in one sweep, as a contiguous copy after its first use.

    By a transposed view of a 64 x 64 weight OpenBLAS multiplies at two fifths of the speed.
    """
    memo = None if b.size < LEAST_COPIED else state.here.memo
    if memo is None:
        return b.T
    place = id(b)
    seen = memo.get(place)
    if seen is None or seen[0]() is not b:  # an id may have been that of an array that died meanwhile
        memo[place] = [ref(b), None]
        return b.T
    copy: Array | None = seen[1]
    if copy is None:
        seen[1] = copy = np.ascontiguousarray(b.T)  # at the second use: a weight that is used once is not worth a copy
    return copy


_matmul_left_vjp, _matmul_right_vjp = mathematics("matmul", 0), mathematics("matmul", 1)


@raw_form("matmul", 0)
def _matmul_left(g: Array, y: Any, a: Any, b: Array) -> Array:
    """By ``dot`` and a copied transpose: 0.67 of the time for 8 rows at width 64, 0.53 for 32 at 128."""
    if g.ndim == b.ndim == 2:
        return dot(g, _transposed(b)) if type(g) is ndarray else matrix_product(g, b.T)
    return _matmul_left_vjp(g, y, a, b)


@raw_form("matmul", 1)
def _matmul_right(g: Array, y: Any, a: Array, b: Any) -> Any:
    """By ``dot``: 0.72 of the time for 8 rows at width 64, 0.98 for 32 at 128.  On a GPU a partial gradient."""
    if g.ndim == a.ndim == 2:
        return _weight_contribution(g, a)
    return _matmul_right_vjp(g, y, a, b)


# Of linear() every contribution is an array that nothing else holds (it is declared so), also that of one row.


@raw_form("linear", 0)
def _linear_input(g: Array, y: Any, x: Any, weight: Array, bias: Any) -> Array:
    """One product over all leading axes, by ``dot``: 0.79 of the time for 8 rows at width 64, 0.97 for 32 at 128."""
    return over_rows(g, weight)


@raw_form("linear", 1)
def _linear_weight(g: Array, y: Any, x: Array, weight: Any, bias: Any) -> Any:
    """By ``dot``: 0.57 of the time for 8 rows at width 64, 0.93 for 32 at 128.  On a GPU a partial gradient."""
    if x.ndim != 2:
        x, g = rows_of(x), rows_of(g)
    return _weight_contribution(x, g)


@raw_form("linear", 2)
def _linear_bias(g: Array, y: Any, x: Any, weight: Any, bias: Any) -> Any:
    """By a product with ones: 0.62 of the time for 8 rows at width 64, 0.52 for 32 at 128.  On a GPU it is partial."""
    found = _bias_contribution(g, bias.shape)
    if isinstance(found, Part) or found.size < g.size:  # a sum, so new memory
        return found
    return found.copy()  # of one row the sum is g itself, and gives_new promises what nothing else holds


# writing to places ---------------------------------------------------------------------------------------------------


@raw_form("setitem", None)
def _setitem(g: Array, y: Any, a: Any, v: Any, needs: Sequence[bool], index: Any, last: Array | None) -> list[Any]:
    """Zeros written into ``g`` where the sweep owns it: the way back of T writes to slices costs T slices."""
    of_v = None
    if needs[1]:
        at_place = as_array(g[index])
        of_v = written_vjp(at_place.copy() if last is None else at_place, v.shape, last)  # g may change below
    return [Erased(g, lambda total: total.__setitem__(index, 0)) if needs[0] else None, of_v]
