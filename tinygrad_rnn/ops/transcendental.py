"""Trigonometric, hyperbolic, exponential and logarithmic functions: a row each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import only
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..typing import Array, V, Value
from .dtypes import in_single
from .elementwise import both_floating, promote_floating, sigmoid, where
from .shape import sum_to

__all__ = ["acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh"]
__all__ += ["atan", "atan2", "atanh", "cos", "cosh", "exp2", "expm1", "hypot", "log1p", "log2", "log10", "logaddexp"]
__all__ += ["sin", "sinh", "softplus", "tan"]

LN2, LN10 = math.log(2), math.log(10)

Function = Callable[[Value], Value]

sin = primitive(
    "sin",
    np.sin,
    lambda g, y, a: g * cos(a),
    "a",
    formula=Formula(r"\sin(a)", a=r"\bar{y} \odot \cos(a)"),
    floating=True,
    doc="The sine.",
)
cos: Function = primitive(
    "cos",
    np.cos,
    lambda g, y, a: -g * sin(a),
    "a",
    formula=Formula(r"\cos(a)", a=r"-\bar{y} \odot \sin(a)"),
    floating=True,
    doc="The cosine.",
)
tan = primitive(
    "tan",
    np.tan,
    in_single(lambda g, y, a: g * (1 + y * y)),
    "y",
    formula=Formula(r"\tan(a)", a=r"\bar{y} \odot (1 + y^2)"),
    floating=True,
    doc="The tangent.",
)
asin = primitive(
    "asin",
    np.arcsin,
    in_single(lambda g, y, a: g / (1 - a * a) ** 0.5),
    "a",
    formula=Formula(r"\arcsin(a)", a=r"\frac{\bar{y}}{\sqrt{1 - a^2}}"),
    floating=True,
    doc="The arc sine.",
)
acos = primitive(
    "acos",
    np.arccos,
    in_single(lambda g, y, a: -g / (1 - a * a) ** 0.5),
    "a",
    formula=Formula(r"\arccos(a)", a=r"-\frac{\bar{y}}{\sqrt{1 - a^2}}"),
    floating=True,
    doc="The arc cosine.",
)
atan = primitive(
    "atan",
    np.arctan,
    in_single(lambda g, y, a: g / (1 + a * a)),
    "a",
    formula=Formula(r"\arctan(a)", a=r"\frac{\bar{y}}{1 + a^2}"),
    floating=True,
    doc="The arc tangent.",
)
sinh = primitive(
    "sinh",
    np.sinh,
    lambda g, y, a: g * cosh(a),
    "a",
    formula=Formula(r"\sinh(a)", a=r"\bar{y} \odot \cosh(a)"),
    floating=True,
    doc="The hyperbolic sine.",
)
cosh: Function = primitive(
    "cosh",
    np.cosh,
    lambda g, y, a: g * sinh(a),
    "a",
    formula=Formula(r"\cosh(a)", a=r"\bar{y} \odot \sinh(a)"),
    floating=True,
    doc="The hyperbolic cosine.",
)
asinh = primitive(
    "asinh",
    np.arcsinh,
    in_single(lambda g, y, a: g / (a * a + 1) ** 0.5),
    "a",
    formula=Formula(r"\operatorname{arsinh}(a)", a=r"\frac{\bar{y}}{\sqrt{a^2 + 1}}"),
    floating=True,
    doc="Inverse of sinh.",
)
acosh = primitive(
    "acosh",
    np.arccosh,
    in_single(lambda g, y, a: g / (a * a - 1) ** 0.5),
    "a",
    formula=Formula(r"\operatorname{arcosh}(a)", a=r"\frac{\bar{y}}{\sqrt{a^2 - 1}}"),
    floating=True,
    doc="Inverse of cosh.",
)
atanh = primitive(
    "atanh",
    np.arctanh,
    in_single(lambda g, y, a: g / (1 - a * a)),
    "a",
    formula=Formula(r"\operatorname{artanh}(a)", a=r"\frac{\bar{y}}{1 - a^2}"),
    floating=True,
    doc="Inverse of tanh.",
)
exp2 = primitive(
    "exp2",
    np.exp2,
    in_single(lambda g, y, a: g * y * LN2),
    "y",
    formula=Formula("2^{a}", a=r"\log(2) \bar{y} \odot y"),
    floating=True,
    doc="2 to the power a.",
)
# y + 1, not exp(a): what was computed is used again
expm1 = primitive(
    "expm1",
    np.expm1,
    lambda g, y, a: g * (y + 1),
    "y",
    formula=Formula(r"\exp(a) - 1", a=r"\bar{y} \odot (y + 1)"),
    floating=True,
    doc="exp(a) - 1, exact for small a.",
)
log1p = primitive(
    "log1p",
    np.log1p,
    lambda g, y, a: g / (a + 1),
    "a",
    formula=Formula(r"\log(1 + a)", a=r"\frac{\bar{y}}{1 + a}"),
    floating=True,
    doc="log(1 + a), exact for small a.",
)
log2 = primitive(
    "log2",
    np.log2,
    in_single(lambda g, y, a: g / (a * LN2)),
    "a",
    formula=Formula(r"\frac{\log(a)}{\log(2)}", a=r"\frac{\bar{y}}{\log(2) a}"),
    floating=True,
    doc="The logarithm to base 2.",
)
log10 = primitive(
    "log10",
    np.log10,
    in_single(lambda g, y, a: g / (a * LN10)),
    "a",
    formula=Formula(r"\frac{\log(a)}{\log(10)}", a=r"\frac{\bar{y}}{\log(10) a}"),
    floating=True,
    doc="The logarithm to base 10.",
)


def _over_square(c: Value, a: Value, b: Value) -> Value:
    """``c / (a a + b b)``, and 0 at the origin."""
    r = a * a + b * b
    return where(r == 0, 0, c) / where(r == 0, 1, r)  # both: 0 / 0 in the branch not taken would be nan in the gradient


_atan2 = primitive(
    "atan2",
    np.arctan2,
    (
        in_single(lambda g, y, a, b: sum_to(g * _over_square(b, a, b), a.shape)),
        in_single(lambda g, y, a, b: sum_to(-g * _over_square(a, a, b), b.shape)),
    ),
    ("ab", "ab"),
    formula=Formula(
        r"\operatorname{atan2}(a, b)",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot \frac{b}{a^2 + b^2})",
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot \frac{a}{a^2 + b^2})",
    ),
    promote=promote_floating,
)
_logaddexp = primitive(
    "logaddexp",
    np.logaddexp,
    (
        # exp(a - y) would have the rounding of a large y
        in_single(lambda g, y, a, b: sum_to(g * sigmoid(a - b), a.shape)),
        in_single(lambda g, y, a, b: sum_to(g * sigmoid(b - a), b.shape)),
    ),
    ("ab", "ab"),
    formula=Formula(
        r"\log(\exp(a) + \exp(b))",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot \sigma(a - b))",
        b=r"\operatorname{sum}_{b}(\bar{y} \odot \sigma(b - a))",
    ),
    promote=promote_floating,
)
_hypot = primitive(
    "hypot",
    np.hypot,
    (
        in_single(lambda g, y, a, b: sum_to(g * (a / y), a.shape)),
        in_single(lambda g, y, a, b: sum_to(g * (b / y), b.shape)),
    ),
    ("ya", "yb"),
    formula=Formula(
        r"\sqrt{a^2 + b^2}",
        a=r"\operatorname{sum}_{a}(\bar{y} \odot \frac{a}{y})",
        b=r"\operatorname{sum}_{b}(\bar{y} \odot \frac{b}{y})",
    ),
    promote=promote_floating,
)


def atan2(a: V, b: V) -> V:
    """The angle of the point (b, a), between -pi and pi."""
    angle: V = both_floating(_atan2, a, b)
    return angle


def logaddexp(a: V, b: V) -> V:
    """log(exp(a) + exp(b)) without overflow."""
    result: V = both_floating(_logaddexp, a, b)
    return result


def hypot(a: V, b: V) -> V:
    """sqrt(a*a + b*b) without overflow."""
    length: V = both_floating(_hypot, a, b)
    return length


@in_single
def _softplus(a: Array, beta: float, threshold: float) -> Array:
    scaled = a * beta
    # log(1 + exp(x)), from exp(-|x|), which cannot overflow
    return np.where(scaled > threshold, a, (np.log1p(np.exp(-np.abs(scaled))) + np.maximum(scaled, 0)) / beta)


@in_single
def _softplus_vjp(g: Value, y: Any, a: Value, beta: float, threshold: float) -> Value:
    scaled = a * beta
    below = where(scaled >= threshold, threshold, scaled)  # so that the second derivative at the seam is 0
    return where(scaled > threshold, g, g * sigmoid(below))


_softplus_primitive = primitive(
    "softplus",
    only("f", "softplus_cpu", _softplus),
    _softplus_vjp,
    "a",
    formula=Formula(
        r"\begin{cases} a & \beta a > \theta \\ \frac{1}{\beta} \log(1 + \exp(\beta a)) & \text{otherwise} \end{cases}",
        a=r"\bar{y} \odot \begin{cases} 1 & \beta a > \theta \\ \sigma(\beta a) & \text{otherwise} \end{cases}",
    ),
)


def softplus(a: V, beta: float = 1.0, threshold: float = 20.0) -> V:
    """log(1 + exp(beta a)) / beta; above ``beta a > threshold`` simply a."""
    return _softplus_primitive(a, beta=beta, threshold=threshold)


arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
