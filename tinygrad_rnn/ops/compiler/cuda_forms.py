"""Operations of one unit in CUDA, for all texts that are generated for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from .units import Unknown

__all__ = ["form"]

FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "reciprocal": "1 / {0}",
    "rsqrt": "1 / square_root({0})",
    "relu": "{0} <= 0 ? real(0) : {0}",  # nan stays nan
    "sign": "{0} > 0 ? real(1) : {0} < 0 ? real(-1) : real(0)",
    "where": "{0} ? {1} : {2}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_not": "!{0}",
    "spread": "{0}",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
    "tanh": "hyperbolic_tangent({0})",
    "sigmoid": "sigmoid({0})",
    "exp": "exponential({0})",
    "abs": "absolute({0})",
    "sqrt": "square_root({0})",
    "isnan": "is_nan({0})",
    "isinf": "is_infinite({0})",
    "isfinite": "is_finite({0})",
    **{name: f"{name}_of({{0}}, {{1}})" for name in ("pow", "arctan2", "hypot", "copysign")},
    **{name: f"{name}_of({{0}})" for name in ("exp2", "expm1", "log", "log1p", "log2", "log10", "erf", "rint")},
    **{name: f"{name}_of({{0}})" for name in ("sin", "cos", "tan", "sinh", "cosh", "arcsin", "arccos", "arctan")},
    **{name: f"{name}_of({{0}})" for name in ("arcsinh", "arccosh", "arctanh", "floor", "ceil", "trunc")},
}
"""Each operation of a unit in CUDA; arguments are names."""


def form(op: str, args: Sequence[str]) -> str:
    """An operation of named arguments.

    Raises:
        Unknown: it has no form.

    >>> form("mul", ["v1", "-v2"])
    'v1 * (-v2)'
    """
    if op not in FORMS:
        raise Unknown(f"{op}() has no form in CUDA")
    return FORMS[op].format(*[f"({a})" if a.startswith("-") else a for a in args])
