"""The error function and GELU: gelu(x) = x P(a standard normal number < x).

erf(x) = 2/sqrt(pi) int_0^x exp(-t^2) dt by the rational approximations of Cody, in float64 (maximal relative error
6e-19 in exact arithmetic), rounded to the dtype of x.

Source: W. Cody, "Rational Chebyshev approximations for the error function" (1969), tables I to III;
D. Hendrycks and K. Gimpel, "Gaussian error linear units" (2016), section 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...backend import not_implemented, only
from ...errors import ArgumentRuntimeError
from ...ops import exp, tanh
from ...ops.dtypes import in_single
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...typing import Array, Value

__all__ = ["gelu"]

NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
FAR = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e0,
        1.87295284992346725e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


def _ratio(tables: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    above, below = (np.zeros_like(x) for _ in range(2))
    # By Horner's rule.
    for p, q in zip(*tables, strict=True):
        above, below = above * x + p, below * x + q
    return above / below


def _erf(x: Array) -> Array:
    size = np.minimum(np.abs(x.astype(np.float64)), 6.0)  # beyond 6, erf is 1 to all digits
    squared = size * size
    near = size * _ratio(NEAR, squared)
    bell = np.exp(-squared)
    middle = 1 - bell * _ratio(MIDDLE, size)
    # np.where below takes it for large |x| alone; the maximum keeps the division finite elsewhere.
    inverse = 1 / np.maximum(squared, 1)
    far = 1 - bell / np.maximum(size, 1) * (1 / math.sqrt(math.pi) - inverse * _ratio(FAR, inverse))
    value = np.where(size <= 0.46875, near, np.where(size <= 4, middle, far))
    # erf is odd; copysign keeps -0.0 as well.
    return np.copysign(np.where(np.isnan(x), x, value), x).astype(x.dtype)


erf = primitive(
    "erf",
    _erf,
    in_single(lambda g, y, a: g * (2 / math.sqrt(math.pi) * exp(-(a * a)))),
    "a",
    formula=Formula(r"\operatorname{erf}(a)", a=r"\frac{2}{\sqrt{\pi}} \bar{y} \odot \exp(-a^2)"),
    floating=True,
    doc="""The error function.

    >>> import tinygrad_rnn as tg
    >>> erf(tg.tensor([0.5]))
    tensor([0.5205])
    """,
)


def _cdf(a: Value) -> Value:
    return 0.5 * (1 + erf(a * math.sqrt(0.5)))


_gelu = primitive(
    "gelu",
    only("f", "GeluKernelImpl", in_single(lambda a: a * _cdf(a))),
    in_single(lambda g, y, a: g * (_cdf(a) + a * exp(-0.5 * (a * a)) * (1 / math.sqrt(2 * math.pi)))),
    "a",
    formula=Formula(
        r"\frac{1}{2} a \odot (1 + \operatorname{erf}(\frac{a}{\sqrt{2}}))",
        a=r"\bar{y} \odot (\frac{1}{2} (1 + \operatorname{erf}(\frac{a}{\sqrt{2}})) "
        r"+ \frac{1}{\sqrt{2 \pi}} a \odot \exp(-\frac{1}{2} a^2))",
    ),
)


def gelu(input: Value, approximate: str = "none") -> Any:
    """x times the normal distribution function at x; or by tanh(sqrt(2/pi) (x + 0.044715 x**3)).

    Args:
        approximate: "none" or "tanh".

    Raises:
        ArgumentRuntimeError: another name.
    """
    if approximate == "none":
        return _gelu(input)
    if approximate != "tanh":
        raise ArgumentRuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    if input.dtype.kind != "f":
        raise not_implemented("GeluKernelImpl", input.dtype)
    return _gelu_by_tanh(input)


@in_single
def _gelu_by_tanh(x: Value) -> Value:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + tanh(inner))
