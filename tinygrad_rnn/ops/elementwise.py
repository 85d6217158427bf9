"""Elementwise operations: arithmetic, activations and choice, a row each: the function and its vjp.

Every vjp multiplies the cotangent ``g`` by the local derivative; for two arguments the result is summed over axes
that were broadcast.  ``y`` is the output, ``a`` and ``b`` are the arguments; the letters say which of them the vjp
reads.  What needs more than one operation is computed in float32 for float16 (``in_single``).
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from ..backend import array_module, scalar_name
from ..backend.quiet import converted
from ..errors import ArgumentTypeError, DtypeError, UnsupportedDtype
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.modes import defaults
from ..tape.tensor import Tensor
from ..typing import Array, Number, Shape, V, Value
from .dtypes import cast, fitting, in_single, mixed_type, promote
from .nondifferentiable import constant, raw
from .shape import sum_to

__all__ = ["clone", "exp", "log", "maximum", "minimum", "mul", "neg", "positive", "reciprocal", "relu"]
__all__ += ["rsqrt", "sigmoid", "sign", "sqrt", "square", "tanh", "where"]


def zeros_of(g: V, shape: Shape | None = None) -> V:
    """A cotangent of zeros, also where ``g * 0`` would be nan; of the shape of ``g``, or of another one."""
    array = raw(g)
    return constant(array_module(array).zeros(array.shape if shape is None else shape, array.dtype), g)


_constant_in = primitive(
    "constant_in",
    lambda g, a: g.copy(),
    (lambda h, y, g, a: constant_in(h, a), lambda h, y, g, a: zeros_of(h, a.shape)),
    ("b", ""),
    formula=Formula("g", g=r"\bar{y}", a="0"),
    doc="g, which does not vary with a, recorded as a function of both.",
)


def constant_in(g: V, a: V) -> V:
    """The result ``g`` of a vjp in which the saved value ``a`` only chose a branch, as a function of ``a`` too.

    Only where it is recorded, so that a next derivative by ``a`` is 0, and not the error that ``a`` was not used.  So
    does PyTorch with its kernels of polynomials and piecewise linear functions, whose vjps are functions of what they
    saved, but not with functions that it composes of a mask (clamp, maximum).
    """
    return _constant_in(g, a) if isinstance(g, Tensor) else g  # type: ignore[return-value]  # V is Tensor there


def _sigmoid(a: Array) -> Array:
    if a.dtype.itemsize == 2:  # exp of a float16 is infinite where the result is not yet 0
        return _sigmoid(a.astype(np.float32)).astype(a.dtype)
    y: Array = np.reciprocal(np.exp(-a) + 1)  # exp may be infinite: then this is 0
    return y


def _direction(a: V) -> V:
    return a if a.dtype.kind == "c" else sign(a)  # a complex a was cast from a real one, and that vjp refuses


def _relu(a: Array) -> Array:
    if a.dtype.kind in "cb":
        if a.dtype.kind == "b":
            raise DtypeError("Boolean inputs not supported for relu")
        raise UnsupportedDtype("clamp is not supported for complex types")
    return np.maximum(a, 0)  # which keeps a nan, unlike fmax


def _sign(a: Array) -> Array:
    if a.dtype.kind == "c":
        raise UnsupportedDtype(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead."
        )
    if a.dtype.kind == "b":
        return a.copy()
    return np.where(a != a, np.zeros_like(a), np.sign(a)) if a.dtype.kind == "f" else np.sign(a)


def _square(a: Array) -> Array:
    return np.square(a) if a.dtype.kind != "b" else a.astype(np.int64)  # NumPy's square of bools is an int8


# one argument ----------------------------------------------------------------------------------------------------

neg = primitive("neg", np.negative, lambda g, y, a: -g, formula=Formula("-a", a=r"-\bar{y}"), doc="-a")
exp = primitive(
    "exp",
    np.exp,
    lambda g, y, a: g * y,
    "y",
    formula=Formula(r"\exp(a)", a=r"\bar{y} \odot y"),
    floating=True,
    doc="e to the power a.",
)
log = primitive(
    "log",
    np.log,
    lambda g, y, a: g / a,
    "a",
    formula=Formula(r"\log(a)", a=r"\frac{\bar{y}}{a}"),
    floating=True,
    doc="The natural logarithm.",
)
tanh = primitive(
    "tanh",
    np.tanh,
    in_single(lambda g, y, a: g * (1 - y * y)),
    "y",
    formula=Formula(r"\tanh(a)", a=r"\bar{y} \odot (1 - y^2)"),
    floating=True,
    doc="The hyperbolic tangent.",
)
sigmoid = primitive(
    "sigmoid",
    _sigmoid,
    in_single(lambda g, y, a: g * (y * (1 - y))),
    "y",
    formula=Formula(r"\frac{1}{1 + \exp(-a)}", a=r"\bar{y} \odot y \odot (1 - y)"),
    floating=True,
    doc="1 / (1 + exp(-a))",
)
sqrt = primitive(
    "sqrt",
    np.sqrt,
    lambda g, y, a: g / (2 * y),
    "y",
    formula=Formula(r"\sqrt{a}", a=r"\frac{\bar{y}}{2 y}"),
    floating=True,
    doc="The square root.",
)
# a**1, not a: as in PyTorch, the second derivative still depends on a, so that the third is 0 and no error.
square = primitive(
    "square", _square, lambda g, y, a: g * (2 * a**1), "a", formula=Formula("a^2", a=r"2 \bar{y} \odot a"), doc="a * a"
)
sign = primitive(
    "sign",
    _sign,
    lambda g, y, a: zeros_of(g),
    formula=Formula(r"\operatorname{sign}(a)", a="0"),
    doc="-1, 0 or 1, and 0 for nan; its derivative is 0.",
)
absolute = primitive(
    "abs",
    np.abs,
    lambda g, y, a: g * _direction(a),
    "a",
    formula=Formula("|a|", a=r"\bar{y} \odot \operatorname{sign}(a)"),
    doc="|a|; its derivative at 0 is 0.",
)
clone = primitive(
    "clone",
    lambda a: a.copy("K"),
    lambda g, y, a: g,
    formula=Formula("a", a=r"\bar{y}"),
    doc="A copy that gradients flow through.",
)
reciprocal = primitive(
    "reciprocal",
    np.reciprocal,
    lambda g, y, a: -g * (y * y),
    "y",
    formula=Formula(r"\frac{1}{a}", a=r"-\bar{y} \odot y^2"),
    floating=True,
    doc="1 / a",
)
rsqrt = primitive(
    "rsqrt",
    in_single(lambda a: 1 / np.sqrt(a)),
    in_single(lambda g, y, a: g * (-0.5 * y**3)),
    "y",
    formula=Formula(r"\frac{1}{\sqrt{a}}", a=r"-\frac{1}{2} \bar{y} \odot y^3"),
    floating=True,
    doc="1 / sqrt(a)",
)
relu = primitive(
    "relu",
    _relu,
    lambda g, y, a: constant_in(where(y <= 0, 0, g), y),  # not y > 0: the gradient of a nan is passed on
    "y",
    formula=Formula(r"\max(a, 0)", a=r"\bar{y} \odot [y > 0]"),
    doc="max(a, 0); its derivative at 0 is 0.",
)


def positive(a: V) -> V:
    """``+a``: a itself."""
    if a.dtype.kind == "b":
        raise DtypeError("The `+` operator, on a bool tensor is not supported. Convert it: mask.int()")
    return a


# two arguments ---------------------------------------------------------------------------------------------------


def _not_two_masks(a: Any, b: Any) -> Exception | None:
    # called after the ufunc has failed, to say why
    if all(getattr(x, "dtype", None) == np.bool_ or isinstance(x, bool) for x in (a, b)):
        return DtypeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    return None


add = primitive(
    "add",
    np.add,
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(g, b.shape)),
    formula=Formula("a + b", a=r"\operatorname{sum}_{a}(\bar{y})", b=r"\operatorname{sum}_{b}(\bar{y})"),
    promote=promote,
    doc="a + b",
)


def _promote_no_masks(a: Any, b: Any) -> tuple[Value, Value]:
    """As ``promote``, but masks take no part in a subtraction."""
    if any(hasattr(x, "dtype") and x.dtype.kind == "b" for x in (a, b)) and not _not_two_masks(a, b):
        raise DtypeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead. To count with it, convert it: mask.int()"
        )
    return promote(a, b)


sub = primitive(
    "sub",
    np.subtract,
    (lambda g, y, a, b: sum_to(g, a.shape), lambda g, y, a, b: sum_to(-g, b.shape)),
    formula=Formula("a - b", a=r"\operatorname{sum}_{a}(\bar{y})", b=r"-\operatorname{sum}_{b}(\bar{y})"),
    promote=_promote_no_masks,
    mismatch=_not_two_masks,
    doc="a - b",
)
mul = primitive(
    "mul",
    np.multiply,
    (lambda g, y, a, b: sum_to(g * b, a.shape), lambda g, y, a, b: sum_to(g * a, b.shape)),
    ("b", "a"),
    formula=Formula(
        r"a \odot b", a=r"\operatorname{sum}_{a}(\bar{y} \odot b)", b=r"\operatorname{sum}_{b}(\bar{y} \odot a)"
    ),
    promote=promote,
    scales=True,
    doc="a * b",
)


def promote_floating(a: Any, b: Any) -> tuple[Value, Value]:
    """As ``promote``, but two integers become the default float."""
    a, b = promote(a, b)
    return floating(a), floating(b)


def floating(a: Any) -> Any:
    """``a``, in the default float if it is a Tensor of integers or bools."""
    return cast(a, dtype=defaults.dtype) if isinstance(a, Tensor) and a._data.dtype.kind in "biu" else a


@in_single
def _to_divisor(g: Value, y: Any, a: Value, b: Value) -> Value:
    return sum_to(-g * (a / b) / b, b.shape)  # a / b**2 would overflow, or vanish, where this does not


_true_divide = primitive(
    "div",
    np.true_divide,
    (lambda g, y, a, b: sum_to(g / b, a.shape), lambda g, y, a, b: _to_divisor(g, y, a, b)),
    ("b", "ab"),  # not y, so that the quotient may be written to in place
    formula=Formula(
        r"\frac{a}{b}",
        a=r"\operatorname{sum}_{a}(\frac{\bar{y}}{b})",
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot \frac{a}{b^2})",
    ),
    promote=promote_floating,
    scales=True,
)


def both_floating(f: Any, a: Any, b: Any) -> Any:
    """``f(a, b)``, computed in the default float where neither is floating."""
    if not isinstance(a, Tensor) or a._data.dtype.kind in "biu":
        if not isinstance(b, Tensor) or b._data.dtype.kind in "biu":  # nor is the other
            return f(floating(a), floating(b))  # NumPy would give float64 for int64
    return f(a, b)


def div(a: V, b: V | Number) -> V:
    """a / b, in floating point also for integers."""
    quotient: V = both_floating(_true_divide, a, b)
    return quotient


@in_single
def _pow_vjp_base(g: Value, y: Value, a: Value, b: Value) -> Value:
    """At b = 0 it is 0 only as a value: its own derivative by b is 1/a there, so b stays in the formula."""
    least = 1 / float(np.finfo(a.dtype).max)  # smaller bases, 0 and nan have no 1/a
    still = (b == 0) & ~((a >= least) | (a <= -least))
    return sum_to(g * where(still, 0, b * a ** where(still, 1, b - 1)), a.shape)


@in_single
def _pow_vjp_exponent(g: Value, y: Value, a: Value, b: Value) -> Value:
    fixed = (a == 0) & (b >= 0)  # there log(a) is infinite, and the derivative counts as 0
    return sum_to(where(fixed, 0, g * (y * log(where(fixed, 1, a)))), b.shape)


def _whole_powers(a: Any, b: Any) -> Exception | None:
    if any(np.asarray(x).dtype.kind not in "biu" for x in (a, b)) or (b >= 0 if isinstance(b, int) else (b >= 0).all()):
        return None
    return DtypeError("Integers to negative integer powers are not allowed. Convert the base: x.float() ** n")


_pow = primitive(
    "pow",
    np.power,
    (_pow_vjp_base, _pow_vjp_exponent),
    ("ab", "yab"),
    formula=Formula(
        "a^{b}",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot "
        r"\begin{cases} 0 & b = 0 \\ b \odot a^{b - 1} & \text{otherwise} \end{cases})",
        b=r"\operatorname{sum}_{b}(\bar{y} \odot "
        r"\begin{cases} 0 & a = 0 \land b \ge 0 \\ y \odot \log(a) & \text{otherwise} \end{cases})",
    ),
    promote=promote,
    mismatch=_whole_powers,
)


def power(a: Any, b: Any) -> Any:
    """a to the power b; the derivative by the exponent at a = 0, b >= 0 is 0."""
    if not isinstance(a, Tensor) or not isinstance(b, (int, float, np.generic)):
        return _pow(*promote(a, b)) if isinstance(b, Tensor) else _pow(a, b)  # a number as base needs a dtype, too
    exponent = b.item() if isinstance(b, np.generic) else b
    if a._data.dtype.kind in "biu":
        dtype = mixed_type(a, exponent)
        error = _whole_powers(a._data, exponent)
        if error is not None:
            try:
                raise error
            finally:
                del error  # which holds this frame
        if dtype.kind == "b":
            return cast(_pow_number(cast(a, dtype=np.dtype(np.int64)), exponent=int(exponent)), dtype=dtype)
        a = a if a._data.dtype == dtype else cast(a, dtype=dtype)
    return _pow_number(a, exponent=exponent)


@in_single
def _pow_number_vjp(g: Value, y: Any, a: Value, exponent: Any) -> Value:
    return zeros_of(g) if exponent == 0 else g * (exponent * a ** (exponent - 1))  # 0 * a**-1 is nan at 0


_pow_number = primitive(
    "pow_number",
    lambda a, exponent: a**exponent,
    _pow_number_vjp,
    "a",
    formula=Formula("a^{n}", a=r"\begin{cases} 0 & n = 0 \\ n \bar{y} \odot a^{n - 1} & \text{otherwise} \end{cases}"),
)


def _extremum(name: str, ufunc: Any, worse: Any, better: str) -> Any:
    def forward(a: Array, b: Array) -> Array:
        y: Array = ufunc(a, b)
        if y.dtype.kind == "c":
            raise DtypeError(f"{name} not implemented for complex tensors.")
        return y

    def to_first(g: Value, a: Value, b: Value) -> Value:
        # worse, not better: beside a nan neither holds, so that its gradient is not lost
        return where(a == b, g * 0.5, where(worse(a, b), 0, g))

    return primitive(
        name,
        forward,
        (lambda g, y, a, b: sum_to(to_first(g, a, b), a.shape), lambda g, y, a, b: sum_to(to_first(g, b, a), b.shape)),
        ("ab", "ab"),
        formula=Formula(
            rf"\{name[:3]}(a, b)",
            a=rf"\operatorname{{sum}}_{{a}}(\bar{{y}} \odot ([a {better} b] + \frac{{1}}{{2}} [a = b]))",
            b=rf"\operatorname{{sum}}_{{b}}(\bar{{y}} \odot ([b {better} a] + \frac{{1}}{{2}} [a = b]))",
        ),
        promote=promote,
        binds=False,
        doc=f"The {name} of a and b, entry by entry; at a tie each gets half of the gradient.",
    )


maximum = _extremum("maximum", np.maximum, lambda a, b: a < b, ">")
minimum = _extremum("minimum", np.minimum, lambda a, b: a > b, "<")

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
    formula=Formula(
        r"\begin{cases} a & c \\ b & \text{otherwise} \end{cases}",
        condition=None,
        a=r"\operatorname{sum}_{a}(\bar{y} \odot [c])",
        b=r"\operatorname{sum}_{b}(\bar{y} \odot [\lnot c])",
    ),
)


@overload
def where(condition: V) -> tuple[V, ...]: ...
@overload
def where(condition: V, a: Number, b: Number) -> V: ...
@overload
def where(condition: Value, a: V | Number, b: V | Number) -> V: ...
def where(condition: Any, a: Any = None, b: Any = None) -> Any:
    """``a`` where the condition holds, else ``b``; each gets the gradient only where it was chosen.

    With the condition alone: the places where it holds, as ``nonzero(condition, as_tuple=True)``.

    The derivative of a value that was not chosen must be finite all the same: ``where(x > 0, log(x), 0)`` has
    a nan gradient at 0, because 0 * inf is nan; write ``log(where(x > 0, x, 1))``.

    Raises:
        DtypeError: the condition is not of bools.
        ShapeRuntimeError: the three do not broadcast.
    """
    if isinstance(condition, Tensor) or isinstance(a, Tensor) or isinstance(b, Tensor):
        if a is None and b is None:
            return condition.nonzero(as_tuple=True)
        # bytes were PyTorch's masks before it had bools
        if getattr(condition, "dtype", np.bool_) not in (np.bool_, np.uint8):
            raise DtypeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{scalar_name(condition.dtype)}. Compare it: condition != 0"
            )
        if a is None or b is None:
            raise ArgumentTypeError("where(): give both values, or the condition alone")
        dtype = mixed_type(a, b)
        a, b = _typed(a, dtype, condition), _typed(b, dtype, condition)
        if not isinstance(condition, Tensor) and hasattr(condition, "copy"):
            condition = condition.copy()  # it is read again by the vjp
    elif not hasattr(a, "dtype") and hasattr(b, "dtype"):
        a = array_module(b).asarray(a, dtype=b.dtype)
    elif not hasattr(b, "dtype") and hasattr(a, "dtype"):
        b = array_module(a).asarray(b, dtype=a.dtype)
    return _where(condition, a, b)


def _typed(value: Any, dtype: Any, like: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value._data.dtype == dtype else cast(value, dtype=dtype)
    if isinstance(value, int) and dtype.kind in "iu":
        value = fitting(value, dtype, "where")
    elif isinstance(value, float):
        fitting(value, np.promote_types(dtype, np.float32), "where")  # PyTorch makes a tensor of it first
    return converted(value, dtype, like._data if isinstance(like, Tensor) else like)
