"""GELU: gelu(x) = x P(a standard normal number < x) = x (1 + erf(x / sqrt(2))) / 2.

Source: D. Hendrycks and K. Gimpel, "Gaussian error linear units" (2016), section 2.
"""

from __future__ import annotations

import math
from typing import Any

from ...backend import not_implemented, only
from ...errors import ArgumentRuntimeError
from ...ops import exp, tanh
from ...ops.dtypes import in_single
from ...ops.special_functions import erf
from ...tape.apply import primitive
from ...tape.formula import Formula
from ...typing import Value

__all__ = ["gelu"]


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
