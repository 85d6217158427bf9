r"""Special functions: error, gamma, zeta and Bessel functions, and what is made of them; all of PyTorch's but few.

Loaded at its first use.  The values are computed by ``kernels/special`` in float64, and rounded once.

>>> import tinygrad_rnn as tg
>>> x = tg.tensor([0.5, 1.5], dtype=tg.float64, requires_grad=True)
>>> tg.lgamma(x).sum().backward()
>>> x.grad.tolist() == tg.digamma(x).tolist()               # the derivative of log Gamma
True
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backend import array_module, not_implemented, only
from ..errors import ArgumentRuntimeError
from ..kernels.special import bessel, error_functions, gamma_functions
from ..tape.apply import primitive
from ..tape.formula import Formula
from ..tape.tensor import wrap
from ..typing import Array
from . import elementwise, reduce, rounding, shape, transcendental
from .dtypes import in_single
from .elementwise import both_floating, exp, log, promote_floating, where
from .nondifferentiable import without_derivative
from .shape import sum_to

__all__ = ["digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "i0", "i0e", "i1", "i1e", "igamma", "igammac", "lgamma"]
__all__ += ["log_ndtr", "logit", "mvlgamma", "nan_to_num", "ndtr", "ndtri", "polygamma", "sinc", "xlog1py", "xlogy"]
__all__ += ["zeta"]

ROOT_PI = math.sqrt(math.pi)
ROOT_2 = math.sqrt(2)
_reals = functools.partial(only, "f")


# error functions -----------------------------------------------------------------------------------------------------

erf = primitive(
    "erf",
    _reals("erf_vml_cpu", error_functions.erf),
    in_single(lambda g, y, a: g * (2 / ROOT_PI * exp(-(a * a)))),
    "a",
    formula=Formula(r"\operatorname{erf}(a)", a=r"\frac{2}{\sqrt{\pi}} \bar{y} \odot \exp(-a^2)"),
    floating=True,
    doc="""2/sqrt(pi) int_0^a exp(-t^2) dt.

    >>> import tinygrad_rnn as tg
    >>> tg.erf(tg.tensor([0.5]))
    tensor([0.5205])
    """,
)
erfc = primitive(
    "erfc",
    _reals("erfc_vml_cpu", error_functions.erfc),
    in_single(lambda g, y, a: g * (-2 / ROOT_PI * exp(-(a * a)))),
    "a",
    formula=Formula(r"\operatorname{erfc}(a)", a=r"-\frac{2}{\sqrt{\pi}} \bar{y} \odot \exp(-a^2)"),
    floating=True,
    doc="1 - erf(a), with all digits where that is small.",
)
erfcx = primitive(
    "erfcx",
    _reals("erfcx_cpu", error_functions.erfcx),
    lambda g, y, a: g * (2 * a * y - 2 / ROOT_PI),
    "ya",
    formula=Formula(r"\operatorname{erfcx}(a)", a=r"\bar{y} \odot (2 a \odot y - \frac{2}{\sqrt{\pi}})"),
    floating=True,
    doc="exp(a^2) erfc(a), which neither overflows nor vanishes for large a.",
)
erfinv = primitive(
    "erfinv",
    _reals("erfinv_vml_cpu", error_functions.erfinv),
    in_single(lambda g, y, a: g * (ROOT_PI / 2 * exp(y * y))),
    "y",
    formula=Formula(r"\operatorname{erfinv}(a)", a=r"\frac{1}{2} \sqrt{\pi} \bar{y} \odot \exp(y^2)"),
    floating=True,
    doc="The number whose erf is a: infinite at -1 and 1, nan beyond.",
)
ndtri = primitive(
    "ndtri",
    _reals("ndtri_cpu", error_functions.ndtri),
    lambda g, y, a: g * (math.sqrt(2 * math.pi) * exp(y * y * 0.5)),
    "y",
    formula=Formula(r"\operatorname{ndtri}(a)", a=r"\sqrt{2 \pi} \bar{y} \odot \exp(\frac{1}{2} y^2)"),
    floating=True,
    doc="The number below which a standard normal variable is with probability a.",
)


@in_single
def ndtr(input: Any) -> Any:
    """The probability that a standard normal variable is below x: erfc(-x / sqrt(2)) / 2."""
    return erfc(input * (-1 / ROOT_2)) * 0.5


def log_ndtr(input: Any) -> Any:
    """log(ndtr(x)), with all digits where that is very negative: log(erfcx(-x / sqrt(2)) / 2) - x^2 / 2 below -1."""
    low = input < -1
    below, above = where(low, input, -1), where(low, 0, input)
    tail = log(erfcx(below * (-1 / ROOT_2)) * 0.5) - below * below * 0.5
    tail = where(below == -math.inf, below, tail)
    return where(low, tail, transcendental.log1p(erfc(above * (1 / ROOT_2)) * -0.5))


# gamma functions -----------------------------------------------------------------------------------------------------

lgamma = primitive(
    "lgamma",
    _reals("lgamma_vml_cpu", gamma_functions.lgamma),
    in_single(lambda g, y, a: g * digamma(a)),
    "a",
    formula=Formula(r"\operatorname{lgamma}(a)", a=r"\bar{y} \odot \operatorname{digamma}(a)"),
    floating=True,
    doc="log |Gamma(a)|: infinite at 0, -1, -2, ...",
)
digamma: Any = primitive(
    "digamma",
    _reals("digamma", gamma_functions.digamma),
    in_single(lambda g, y, a: g * _polygamma(a, n=1)),
    "a",
    formula=Formula(r"\operatorname{digamma}(a)", a=r"\bar{y} \odot \operatorname{polygamma}(1, a)"),
    floating=True,
    doc="The derivative of log Gamma(a); nan at -1, -2, ...",
)
_polygamma: Any = primitive(
    "polygamma",
    _reals("polygamma", gamma_functions.polygamma),
    in_single(lambda g, y, a, n: g * _polygamma(a, n=n + 1)),
    "a",
    formula=Formula(r"\operatorname{polygamma}(n, a)", a=r"\bar{y} \odot \operatorname{polygamma}(n + 1, a)"),
    floating=True,
)


def polygamma(n: int, input: Any) -> Any:
    """The n-th derivative of digamma: (-1)^(n+1) n! sum_k (x + k)^-(n+1).

    Raises:
        ArgumentRuntimeError: n is negative.

    >>> import tinygrad_rnn as tg
    >>> tg.polygamma(1, tg.ones(1))                             # pi^2 / 6
    tensor([1.6449])
    """
    if n < 0:
        raise ArgumentRuntimeError(f"polygamma(n, x) does not support negative n. Got n={n}")
    return _polygamma(input, n=n)


def mvlgamma(input: Any, p: int) -> Any:
    """log of the multivariate gamma function: p (p - 1) / 4 log(pi) + sum_j log Gamma(x - j/2), j = 0 ... p - 1.

    Raises:
        ArgumentRuntimeError: p < 1.

    Source: T. W. Anderson, "An introduction to multivariate statistical analysis" (2003), section 7.2.
    """
    if p < 1:
        raise ArgumentRuntimeError(f"p has to be greater than or equal to 1, got {p}")
    halves = array_module(_array(input)).arange(p) * 0.5
    if input.dtype.kind != "f":
        input = elementwise.mul(input, 1.0)
    shifted = shape.unsqueeze(input, -1) - _beside(halves.astype(input.dtype), input)
    return reduce.sum_over(lgamma(shifted), -1) + p * (p - 1) * 0.25 * math.log(math.pi)


def _array(x: Any) -> Any:
    return getattr(x, "_data", x)


def _beside(array: Array, x: Any) -> Any:
    return wrap(array) if hasattr(x, "_data") else array


def _refusing(name: str, p: Any, a: Any, b: Any) -> Any:
    """``p(a, b)``; a backward pass is refused if it would need the gradient by a."""
    if not getattr(a, "requires_grad", False):
        return p(a, b)
    sentence = f"the derivative for '{name}' is not implemented. Detach it, and gradients flow to the other argument"
    return without_derivative(p.__name__, sentence)(p(a.detach(), b).detach(), a)


_zeta: Any = primitive(
    "zeta",
    lambda a, b: _pair("zeta_cpu", gamma_functions.zeta, a, b),
    (None, lambda g, y, a, b: sum_to(g * (-a * _zeta(a + 1, b)), b.shape)),
    ("", "ab"),
    formula=Formula(
        r"\operatorname{zeta}(a, b)",
        a=None,
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot a \odot \operatorname{zeta}(a + 1, b))",
    ),
    promote=promote_floating,
)


def _density(a: Any, x: Any) -> Any:
    """x^(a-1) exp(-x) / Gamma(a)."""
    return exp(xlogy(a - 1, x) - x - lgamma(a))


_igamma: Any = primitive(
    "igamma",
    lambda a, b: _pair("igamma_cpu", gamma_functions.gammainc, a, b),
    (None, in_single(lambda g, y, a, b: sum_to(g * _density(a, b), b.shape))),
    ("", "ab"),
    formula=Formula(
        r"\operatorname{gammainc}(a, b)",
        a=None,
        b=r"\operatorname{sum}_{b}(\bar{y} \odot \exp((a - 1) \odot \log(b) - b - \operatorname{lgamma}(a)))",
    ),
    promote=promote_floating,
)
_igammac: Any = primitive(
    "igammac",
    lambda a, b: _pair("igammac_cpu", gamma_functions.gammaincc, a, b),
    (None, in_single(lambda g, y, a, b: sum_to(-g * _density(a, b), b.shape))),
    ("", "ab"),
    formula=Formula(
        r"\operatorname{gammaincc}(a, b)",
        a=None,
        b=r"-\operatorname{sum}_{b}(\bar{y} \odot \exp((a - 1) \odot \log(b) - b - \operatorname{lgamma}(a)))",
    ),
    promote=promote_floating,
)


def _pair(name: str, kernel: Any, a: Any, b: Any) -> Array:
    kinds = [x.dtype for x in (a, b) if hasattr(x, "dtype")]
    if all(dtype.kind != "f" for dtype in kinds):
        raise not_implemented(name, kinds[0])
    found: Array = kernel(a, b)
    return found


def zeta(input: Any, other: Any) -> Any:
    """Hurwitz's zeta function: sum_k (q + k)^-x for x > 1, and q = ``other``; no gradient by x.

    Raises:
        NoDerivative: a gradient by x is wanted.
    """
    found: Any = both_floating(functools.partial(_refusing, "zeta: self", _zeta), input, other)
    return found


def igamma(input: Any, other: Any) -> Any:
    """The regularised incomplete gamma function P(a, x) = 1/Gamma(a) int_0^x t^(a-1) exp(-t) dt, by x alone.

    Raises:
        NoDerivative: a gradient by a is wanted.
    """
    return _refusing("igamma: input", _igamma, input, other)


def igammac(input: Any, other: Any) -> Any:
    """1 - P(a, x), with all digits where that is small; see ``igamma``."""
    return _refusing("igammac: input", _igammac, input, other)


# Bessel functions ----------------------------------------------------------------------------------------------------


@in_single
def _i1_vjp(g: Any, y: Any, a: Any) -> Any:
    """I_1' = I_0 - I_1 / a: at 0, 1/2."""
    far = a != 0
    return g * where(far, i0(a) - y / where(far, a, 1), 0.5 + 0 * a)


@in_single
def _i1e_vjp(g: Any, y: Any, a: Any) -> Any:
    far = a != 0
    return g * where(far, i0e(a) - y * (elementwise.sign(a) + 1 / where(far, a, 1)), 0.5 + 0 * a)


i0: Any = primitive(
    "i0",
    _reals("i0_cpu", bessel.i0),
    in_single(lambda g, y, a: g * i1(a)),
    "a",
    formula=Formula(r"\operatorname{bessel}(0, a)", a=r"\bar{y} \odot \operatorname{bessel}(1, a)"),
    floating=True,
    doc="The modified Bessel function of the first kind, of order 0.",
)
i1: Any = primitive(
    "i1",
    _reals("i1_cpu", bessel.i1),
    _i1_vjp,
    "ya",
    formula=Formula(r"\operatorname{bessel}(1, a)", a=r"\bar{y} \odot (\operatorname{bessel}(0, a) - \frac{y}{a})"),
    floating=True,
    doc="The modified Bessel function of the first kind, of order 1.",
)
i0e: Any = primitive(
    "i0e",
    _reals("i0e_cpu", bessel.i0e),
    in_single(lambda g, y, a: g * (i1e(a) - elementwise.sign(a) * y)),
    "ya",
    formula=Formula(
        r"\exp(-|a|) \odot \operatorname{bessel}(0, a)",
        a=r"\bar{y} \odot (\exp(-|a|) \odot \operatorname{bessel}(1, a) - \operatorname{sign}(a) \odot y)",
    ),
    floating=True,
    doc="exp(-|a|) i0(a), which does not overflow.",
)
i1e: Any = primitive(
    "i1e",
    _reals("i1e_cpu", bessel.i1e),
    _i1e_vjp,
    "ya",
    formula=Formula(
        r"\exp(-|a|) \odot \operatorname{bessel}(1, a)",
        a=r"\bar{y} \odot (\exp(-|a|) \odot \operatorname{bessel}(0, a) "
        r"- y \odot (\operatorname{sign}(a) + \frac{1}{a}))",
    ),
    floating=True,
    doc="exp(-|a|) i1(a), which does not overflow.",
)

# logarithms ----------------------------------------------------------------------------------------------------------


def _times_log(name: str, logarithm: Any, inner: Any, lowest: float, written: str) -> Any:
    """a log(b), and 0 where a is 0, unless b is nan; the derivative by a is 0 there where log(b) is none."""

    def forward(a: Any, b: Any) -> Array:
        if any(getattr(x, "dtype", np.dtype(float)).kind == "c" for x in (a, b)):
            raise not_implemented(f"{name}_cpu", np.dtype(np.complex64))
        y: Array = np.where((a == 0) & (b == b), 0, a * logarithm(b))
        return y.astype(next(x.dtype for x in (a, b) if hasattr(x, "dtype")), copy=False)

    def by_factor(g: Any, y: Any, a: Any, b: Any) -> Any:
        still = (a == 0) & (b <= lowest)
        return sum_to(where(still, 0, g * inner(where(still, 1, b))), a.shape)

    return primitive(
        name,
        forward,
        (
            in_single(by_factor),
            in_single(lambda g, y, a, b: sum_to(g * (a / (b - lowest)), b.shape)),
        ),
        ("ab", "ab"),
        formula=Formula(
            rf"\begin{{cases}} 0 & a = 0 \\ a \odot \log({written}) & \text{{otherwise}} \end{{cases}}",
            a=rf"\operatorname{{sum}}_{{a}}(\bar{{y}} \odot \begin{{cases}} 0 & a = 0 \land {written} \le 0 \\ "
            rf"\log({written}) & \text{{otherwise}} \end{{cases}})",
            b=rf"\operatorname{{sum}}_{{b}}(\bar{{y}} \odot \frac{{a}}{{{written}}})",
        ),
        promote=promote_floating,
    )


_xlogy = _times_log("xlogy", np.log, log, 0.0, "b")
_xlog1py = _times_log("xlog1py", np.log1p, transcendental.log1p, -1.0, "1 + b")


def xlogy(input: Any, other: Any) -> Any:
    """x log(y): 0 where x is 0, whatever y is, but for nan.

    >>> import tinygrad_rnn as tg
    >>> tg.xlogy(tg.tensor([0.0, 2.0]), tg.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return both_floating(_xlogy, input, other)


def xlog1py(input: Any, other: Any) -> Any:
    """x log(1 + y): 0 where x is 0, whatever y is, but for nan."""
    return both_floating(_xlog1py, input, other)


@in_single
def entr(input: Any) -> Any:
    """-x log(x), 0 at 0 and -inf below: the terms of an entropy."""
    x = input if input.dtype.kind == "f" else elementwise.mul(input, 1.0)
    return where(x < 0, -math.inf, elementwise.neg(xlogy(x, where(x < 0, 1, x))))


@in_single
def logit(input: Any, eps: float | None = None) -> Any:
    """log(x / (1 - x)), the inverse of sigmoid; nan outside of [0, 1].

    Args:
        eps: x is first brought into [eps, 1 - eps].
    """
    x = input if input.dtype.kind == "f" else elementwise.mul(input, 1.0)
    if eps is not None and eps >= 0:
        x = rounding.clamp(x, eps, 1 - eps)
    return log(x) - transcendental.log1p(-x)


# others --------------------------------------------------------------------------------------------------------------


@in_single
def sinc(input: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0; near 0 by its series, so that every derivative there is right."""
    y = input * math.pi
    near = elementwise.absolute(y) < 0.5
    square = where(near, y, 0) ** 2
    series = functools.reduce(
        lambda total, k: total * square + (-1) ** k / math.factorial(2 * k + 1), range(8, -1, -1), 0 * square
    )
    away = where(near, 1, y)  # of y = 0 the quotient is nan, and so would be the gradient that where() leaves out
    return where(near, series, transcendental.sin(away) / away)


def nan_to_num(input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Numbers in place of nan and of the infinities; no gradient flows where there was one.

    Args:
        nan: 0 by default. posinf, neginf: by default the greatest and the least number of the dtype.

    >>> import tinygrad_rnn as tg
    >>> tg.nan_to_num(tg.tensor([tg.nan, tg.inf, 2.0]), posinf=1.0)
    tensor([0., 1., 2.])
    """
    if input.dtype.kind not in "fc":
        return elementwise.clone(input)
    if input.dtype.kind == "c":
        found = np.nan_to_num(_array(input), nan=nan or 0.0, posinf=posinf, neginf=neginf)
        return _beside(found, input)
    top = float(np.finfo(input.dtype).max)
    y = where(input != input, 0.0 if nan is None else nan, input)
    y = where(input == math.inf, top if posinf is None else posinf, y)
    return where(input == -math.inf, -top if neginf is None else neginf, y)


METHODS = {"polygamma": lambda self, n: polygamma(n, self)}
"""Methods that take their arguments in another order."""
