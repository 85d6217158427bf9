"""Element-wise operations: one line each, the function and its derivative.

Every vjp multiplies the cotangent ``g`` with the local derivative; for two arguments the result is summed over
axes that were broadcast.  ``y`` is the output, ``a`` and ``b`` are the arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import array_module
from ..tape.primitive import binary, primitive, unary
from ..tape.tensor import Tensor
from ..typing import Array, Value
from .dtypes import get_default_dtype, promote, result_type
from .shape import sum_to

__all__ = ["abs", "add", "clone", "div", "exp", "log", "maximum", "minimum", "mul", "neg"]
__all__ += ["pow", "reciprocal", "relu", "rsqrt", "sigmoid", "sqrt", "square", "sub", "tanh", "where"]


def _quiet(ufunc: Any) -> Any:
    """A ufunc whose infinities and nans are results, as in PyTorch, not warnings."""

    def forward(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return ufunc(*arrays)

    return forward


def _sigmoid(a: Array) -> Array:
    e = np.exp(-np.abs(a))  # never overflows; both branches keep full relative precision
    return np.where(a >= 0, 1, e).astype(a.dtype, copy=False) / (1 + e)


# one argument ----------------------------------------------------------------------------------------------------

neg = unary("neg", np.negative, lambda g, y, a: -g, doc="-a")
exp = unary("exp", _quiet(np.exp), lambda g, y, a: g * y, "y", floating=True, doc="e to the power a.")
log = unary("log", _quiet(np.log), lambda g, y, a: g / a, "a", floating=True, doc="The natural logarithm.")
tanh = unary("tanh", np.tanh, lambda g, y, a: g - g * y * y, "y", floating=True, doc="The hyperbolic tangent.")
sigmoid = unary("sigmoid", _sigmoid, lambda g, y, a: g * (y * (1 - y)), "y", floating=True, doc="1 / (1 + exp(-a))")
sqrt = unary("sqrt", _quiet(np.sqrt), lambda g, y, a: g / (2 * y), "y", floating=True, doc="The square root.")
square = unary("square", np.square, lambda g, y, a: g * (2 * a), "a", doc="a * a")
abs = unary("abs", np.abs, lambda g, y, a: g * sign(a), "a", doc="|a|; its derivative at 0 is 0.")
sign = unary("sign", np.sign, lambda g, y, a: g * 0, doc="-1, 0 or 1; its derivative is 0.")
relu = unary(
    "relu",
    lambda a: np.maximum(a, 0),
    lambda g, y, a: where(y > 0, g, 0),
    "y",
    doc="max(a, 0); its derivative at 0 is 0.",
)
clone = unary("clone", np.copy, lambda g, y, a: g, doc="A copy that gradients flow through.")
reciprocal = unary(
    "reciprocal", _quiet(np.reciprocal), lambda g, y, a: -g * (y * y), "y", floating=True, doc="1 / a"
)
rsqrt = unary(
    "rsqrt",
    _quiet(lambda a: 1 / np.sqrt(a)),
    lambda g, y, a: g * (-0.5 * y**3),
    "y",
    floating=True,
    doc="1 / sqrt(a)",
)

# two arguments ---------------------------------------------------------------------------------------------------

add = binary(
    "add",
    np.add,
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(g, b.shape)),
    ("", ""),
    promote=promote,
    doc="a + b",
)
sub = binary(
    "sub",
    np.subtract,
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(-g, b.shape)),
    ("", ""),
    promote=promote,
    doc="a - b",
)
mul = binary(
    "mul",
    np.multiply,
    (lambda g, y, a, b: sum_to(g * b, a.shape), lambda g, y, a, b: sum_to(g * a, b.shape)),
    ("b", "a"),
    promote=promote,
    doc="a * b",
)


def _promote_floating(a: Any, b: Any) -> tuple[Value, Value]:
    """As ``promote``, but two integers become the default float: division is true division."""
    a, b = promote(a, b)
    if a._data.dtype.kind not in "fc":
        a, b = a.to(get_default_dtype()), b.to(get_default_dtype())
    return a, b


_true_divide = binary(
    "div",
    _quiet(np.true_divide),
    (lambda g, y, a, b: sum_to(g / b, a.shape), lambda g, y, a, b: sum_to(-g * y / b, b.shape)),
    ("b", "yb"),
    promote=_promote_floating,
)


def div(a: Value, b: Value) -> Value:
    """a / b, in floating point also for integers."""
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a._data.dtype.kind in "biu" and b._data.dtype.kind in "biu":
        a = a.to(get_default_dtype())
    elif isinstance(a, Tensor) and a._data.dtype.kind in "biu" and not isinstance(b, Tensor):
        a = a.to(get_default_dtype())
    elif isinstance(b, Tensor) and b._data.dtype.kind in "biu" and not isinstance(a, Tensor):
        b = b.to(get_default_dtype())
    return _true_divide(a, b)


def _pow_vjp_base(g: Value, y: Value, a: Value, b: Value) -> Value:
    return sum_to(g * where(b == 0, 0, b * a ** where(b == 0, 1, b - 1)), a.shape)


def _pow_vjp_exponent(g: Value, y: Value, a: Value, b: Value) -> Value:
    return sum_to(g * where((a == 0) & (b >= 0), 0, y * log(where((a == 0) & (b >= 0), 1, a))), b.shape)


_pow = binary("pow", _quiet(np.power), (_pow_vjp_base, _pow_vjp_exponent), ("ab", "yab"), promote=promote)


def pow(a: Value, b: Value) -> Value:
    """a to the power b; the derivative by the exponent at a = 0, b >= 0 is 0."""
    if isinstance(a, Tensor) and not isinstance(b, Tensor):
        if isinstance(b, float) and a._data.dtype.kind not in "fc":
            a = a.to(get_default_dtype())
        return _pow_number(a, exponent=b)
    return _pow(a, b)


def _pow_number_vjp(g: Value, y: Any, a: Value, exponent: Any) -> Value:
    if exponent == 0:
        return g * 0
    if exponent == 1:
        return g
    return g * (exponent * (a if exponent == 2 else a ** (exponent - 1)))


_pow_number = primitive(
    "pow_number", lambda a, exponent: _quiet(np.power)(a, exponent), (_pow_number_vjp,), ("a",)
)


def _extremum(name: str, ufunc: Any) -> Any:
    def vjp_a(g: Value, y: Value, a: Value, b: Value) -> Value:
        return sum_to(where(a == b, 0.5, where(y == a, 1.0, 0.0)) * g, a.shape)

    def vjp_b(g: Value, y: Value, a: Value, b: Value) -> Value:
        return sum_to(where(a == b, 0.5, where(y == b, 1.0, 0.0)) * g, b.shape)

    return binary(
        name,
        ufunc,
        (vjp_a, vjp_b),
        ("yab", "yab"),
        promote=promote,
        doc=f"The {name} of a and b, entry by entry; at a tie each gets half of the gradient.",
    )


maximum = _extremum("maximum", np.maximum)
minimum = _extremum("minimum", np.minimum)

# choice ----------------------------------------------------------------------------------------------------------


_where = primitive(
    "where",
    np.where,
    (
        None,
        lambda g, y, condition, a, b: sum_to(where(condition, g, 0), a.shape),
        lambda g, y, condition, a, b: sum_to(where(condition, 0, g), b.shape),
    ),
    ("", "a", "a"),
)


def where(condition: Value, a: Value, b: Value) -> Value:
    """``a`` where the condition holds, else ``b``; each gets the gradient only where it was chosen.

    A value that was not chosen still must have a finite derivative of its own: ``where(x > 0, log(x), 0)`` has
    a nan gradient at 0, because 0 * inf is nan; write ``log(where(x > 0, x, 1))``.
    """
    if isinstance(condition, Tensor) or isinstance(a, Tensor) or isinstance(b, Tensor):
        dtype = result_type(a, b)
        a, b = _typed(a, dtype), _typed(b, dtype)
    elif not hasattr(a, "dtype") and hasattr(b, "dtype"):
        a = array_module(b).asarray(a, dtype=b.dtype)
    elif not hasattr(b, "dtype") and hasattr(a, "dtype"):
        b = array_module(a).asarray(b, dtype=a.dtype)
    return _where(condition, a, b)


def _typed(value: Any, dtype: Any) -> Value:
    if isinstance(value, Tensor):
        return value if value._data.dtype == dtype else value.to(dtype)
    return np.asarray(value, dtype) if not hasattr(value, "dtype") or value.dtype != dtype else value
