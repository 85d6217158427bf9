"""Special functions: values of mpmath, PyTorch's values, gradients and refusals, and what happens at the edges.

``special_values.txt`` has in each line an expression of x, x, and the value that mpmath gives with 80 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together

VALUES = [line.split(" | ") for line in Path(__file__).with_name("special_values.txt").read_text().splitlines()]


@together
@pytest.mark.parametrize(("expression", "x", "value"), VALUES)
def test_values_are_those_of_mpmath(expression: str, x: str, value: str) -> None:
    tg.set_default_dtype(tg.float64)
    try:
        found = eval("tg." + expression.replace("(tensor", "(tg.tensor"), {"tg": tg, "x": tg.tensor(float(x))})
    finally:
        tg.set_default_dtype(tg.float32)
    # up to 30 roundings; where a reflection or a logarithm passes through 0, of numbers of order 1
    np.testing.assert_allclose(found.item(), float(value), rtol=2e-13, atol=2e-15)


def uniform(low: float, high: float) -> Callable[[np.random.Generator, Any], Any]:
    return lambda rng, shape: rng.uniform(low, high, shape)


RANGES: dict[str, tuple[Callable[[Any, Any], Any], Callable[..., Any]]] = {
    "erf": (lambda t, x: t.erf(x), uniform(-4, 4)),
    "erfc": (lambda t, x: x.erfc(), uniform(-4, 8)),
    "erfinv": (lambda t, x: t.special.erfinv(x), uniform(-1, 1)),
    "erfcx": (lambda t, x: t.special.erfcx(x), uniform(-4, 4)),
    "ndtr": (lambda t, x: t.special.ndtr(x), uniform(-3, 6)),  # PyTorch's has few digits further down
    "ndtri": (lambda t, x: t.special.ndtri(x), uniform(0, 1)),
    "log_ndtr": (lambda t, x: t.special.log_ndtr(x), uniform(-8, 6)),
    "sinc": (lambda t, x: t.sinc(x), uniform(0.2, 4)),  # nearer to 0 PyTorch loses digits
    "logit": (lambda t, x: t.logit(x), uniform(0, 1)),
    "logit with eps": (lambda t, x: x.logit(0.2), uniform(0, 1)),
    "entr": (lambda t, x: t.special.entr(x), uniform(0, 3)),
    "expit": (lambda t, x: t.special.expit(x), uniform(-9, 9)),
    "lgamma": (lambda t, x: t.lgamma(x), uniform(-4, 20)),
    "digamma": (lambda t, x: t.special.psi(x), uniform(-4, 20)),
    "polygamma": (lambda t, x: t.polygamma(3, x), uniform(0.1, 9)),
    "polygamma as a method": (lambda t, x: x.polygamma(2), uniform(0.1, 9)),
    "mvlgamma": (lambda t, x: t.mvlgamma(x, 4), uniform(2, 9)),
    "i0": (lambda t, x: t.i0(x), uniform(-20, 20)),
    "i0e": (lambda t, x: t.special.i0e(x), uniform(-20, 20)),
    "i1": (lambda t, x: t.special.i1(x), uniform(-20, 20)),
    "i1e": (lambda t, x: t.special.i1e(x), uniform(-20, 20)),
    "zeta": (lambda t, x: t.special.zeta(3, x), uniform(0.2, 9)),
    "gammainc": (
        lambda t, x: t.special.gammainc(t.tensor([0.7, 5.0])[:, None].double(), x[..., None, :1]),
        uniform(0.1, 9),
    ),
    "gammaincc": (lambda t, x: t.igammac(t.tensor(9.0).double(), x), uniform(0.1, 20)),
    "xlogy": (lambda t, x: t.xlogy(x, x + 0.1), uniform(0, 4)),
    "xlogy of a number": (lambda t, x: t.xlogy(2.5, x), uniform(0.1, 4)),
    "xlog1py": (lambda t, x: t.special.xlog1py(x, x), uniform(0, 4)),
    "nan_to_num": (lambda t, x: t.nan_to_num(1 / (x.round() * x), posinf=2.0), uniform(-1, 3)),
}
LOOSE = {"lgamma": 1e-9, "digamma": 1e-9, "mvlgamma": 1e-9}
"""PyTorch's trigamma has nine digits; what is ours is compared with mpmath above, as the polygamma of order 1."""


@pytest.mark.parametrize("name", RANGES)
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    """200 random calls: shapes of up to two axes, empty ones too; values, first and second derivatives."""
    torch: Any = pytest.importorskip("torch")
    f, draw = RANGES[name]
    rng = np.random.default_rng(0)
    compared = 0.0
    for _ in range(200):
        shape = tuple(rng.integers(0, 4, rng.integers(0, 3)))
        x, v = draw(rng, shape), rng.standard_normal(shape)
        if name == "gammainc" and not x.shape:
            continue
        ours, theirs = derivatives(tg, f, x, v), derivatives(torch, f, x, v)
        for order, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            rtol = LOOSE.get(name, 1e-10) if order else 1e-10
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-10, equal_nan=True)
            compared = max(compared, float(np.abs(b[np.isfinite(b)]).max(initial=0)))
    assert compared > 0.1


def derivatives(library: Any, f: Any, x: Any, v: Any) -> list[Any]:
    leaf = library.tensor(x, requires_grad=True)
    y = f(library, leaf)
    (g,) = library.autograd.grad(y.sum(), leaf, create_graph=True)
    h = library.zeros_like(leaf)
    if g.requires_grad:
        (h,) = library.autograd.grad((g * library.tensor(v)).sum(), leaf)
    return [t.detach().numpy() for t in (y, g, h)]


EDGES = """
t.erf(t.tensor([0., -0., t.inf, -t.inf, t.nan]))
t.erfc(t.tensor([0., -0., t.inf, -t.inf, t.nan, 30.]))
t.special.erfcx(t.tensor([0., t.inf, -t.inf, t.nan, -30., 1e30]))
t.erfinv(t.tensor([1., -1., 2., -3., 0., -0., t.nan]))
t.special.ndtri(t.tensor([0., 1., 2., -1., .5, t.nan]))
t.special.log_ndtr(t.tensor([-t.inf, t.inf, t.nan, -1., 0.]))
t.special.ndtr(t.tensor([-t.inf, t.inf, t.nan]))
t.lgamma(t.tensor([0., -0., -1., 1., 2., t.inf, -t.inf, t.nan]))
t.digamma(t.tensor([0., -0., -1., t.inf, -t.inf, t.nan]))
t.polygamma(0, t.tensor([1, 2]))
t.polygamma(1, t.tensor([0., t.inf, t.nan, 1e8]))
t.polygamma(-1, t.ones(1))
t.polygamma(t.ones(1), t.ones(1))
t.polygamma(1.5, t.ones(1))
t.mvlgamma(t.tensor([3, 4]), 2)
t.mvlgamma(t.tensor([.5, 1.]), 2)
t.mvlgamma(t.ones(2), 0)
t.special.zeta(t.tensor([1., .5, 2., 3., t.nan]), t.tensor([1., 1., 0., -2., 1.]))
t.special.zeta(t.tensor([2., 3.]), t.tensor([-.5, -2.5]))
t.igamma(t.tensor([0., 1., -1., 1., 1., t.inf, t.nan]), t.tensor([1., 0., 1., -1., t.inf, 1., 1.]))
t.igammac(t.tensor([0., 1., -1., 1., 1., t.inf, t.nan]), t.tensor([1., 0., 1., -1., t.inf, 1., 1.]))
t.igamma(t.tensor([1]), t.tensor([1]))
t.xlogy(t.tensor([0., 0., 0., 1., 1.]), t.tensor([0., -1., t.nan, 0., t.inf]))
t.xlogy(2, 3)
t.xlogy(t.tensor([2]), t.tensor([3]))
t.xlogy(t.zeros(2, dtype=t.float16), 0)
t.special.xlog1py(t.tensor([0., 0., 1.]), t.tensor([-1., -2., -1.]))
t.special.entr(t.tensor([0., -1., 1., t.nan, t.inf]))
t.logit(t.tensor([0., 1., 2., -1., t.nan]))
t.logit(t.tensor([0., 1., 2., -1.]), .1)
t.logit(t.tensor([0, 1]))
t.sinc(t.tensor([0, 1]))
t.nan_to_num(t.tensor([t.nan, t.inf, -t.inf, 1.]))
t.nan_to_num(t.tensor([t.nan, t.inf, -t.inf, 1.]), 1, 2, 3)
t.nan_to_num(t.tensor([1, 2])), t.nan_to_num(t.tensor([True]))
t.i0(t.tensor([0., t.nan])), t.special.i1(t.tensor([0., -0., t.nan]))
t.special.i0e(t.tensor([0., 1e30, t.nan])), t.special.i1e(t.tensor([0., -1e30, t.nan]))
t.erf(t.tensor([True])), t.erf(t.tensor([1, 2])), t.lgamma(t.tensor([3]))
t.erf(t.ones(2, dtype=t.float16)), t.i0(t.ones(1, dtype=t.float16)), t.digamma(t.ones(2, dtype=t.float16))
t.erf(t.ones(2, dtype=t.complex64))
t.lgamma(t.ones(2, dtype=t.complex64))
t.xlogy(t.ones(2, dtype=t.complex64), t.ones(2))
t.erf(1.0)
t.lgamma([1.0])
t.erf(input=t.ones(2), out=t.zeros(2))
t.ones(2).erf_(), t.ones(2).lgamma_(), t.ones(2).xlogy_(t.ones(2)), t.ones(2).sinc_(), t.zeros(2).erfinv_()
t.tensor([t.nan, 2.]).nan_to_num_(), t.tensor([.3]).logit_(), t.ones(1).digamma_(), t.ones(1).erfc_(), t.ones(1).i0_()
t.ones(2, dtype=t.int64).erf_()
""".strip().splitlines()


@together
@pytest.mark.parametrize("expression", EDGES)
def test_edges_and_refusals_are_those_of_pytorch(expression: str) -> None:
    torch: Any = pytest.importorskip("torch")
    ours, theirs = outcome(tg, expression), outcome(torch, expression)
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"{ours!r}, PyTorch: {theirs!r}"
        return
    assert not isinstance(ours, Exception), f"{ours!r}, PyTorch: {theirs!r}"
    for a, b in zip(*[x if isinstance(x, tuple) else (x,) for x in (ours, theirs)], strict=True):
        assert str(a.dtype) == str(b.dtype)
        half = a.dtype == tg.float16
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3 if half else 2e-6, atol=1e-7)


def outcome(library: Any, expression: str) -> Any:
    try:
        return eval(expression, {"t": library})
    except Exception as error:
        return error


def test_bessel_functions_grow_without_bound() -> None:
    """PyTorch's are nan there."""
    x = tg.tensor([tg.inf, -tg.inf, 800.0])
    assert tg.i0(x).tolist() == [math.inf] * 3 and tg.special.i1(x).tolist() == [math.inf, -math.inf, math.inf]
    assert tg.i0(tg.tensor(713.0, dtype=tg.float64)).isfinite()  # where exp is not


def test_gradients_at_the_edges() -> None:
    def slope(f: Any, *at: float) -> list[float]:
        x = tg.tensor(at, dtype=tg.float64, requires_grad=True)
        f(x).sum().backward()
        return x.grad.tolist()  # type: ignore[no-any-return]

    assert slope(tg.nan_to_num, math.nan, math.inf, 2.0) == [0, 0, 1]
    assert slope(lambda x: tg.xlogy(x, 0.0), 0.0) == [0]
    assert slope(lambda x: tg.xlogy(0.0, x), 3.0) == [0]
    assert slope(tg.special.i1, 0.0) == slope(tg.special.i1e, 0.0) == [0.5]
    assert slope(tg.sinc, 0.0) == [0]
    assert slope(tg.logit, 0.0, 1.0) == [math.inf, math.inf]
    x = tg.zeros(1, dtype=tg.float64, requires_grad=True)
    (g,) = tg.autograd.grad(tg.sinc(x), x, create_graph=True)
    (h,) = tg.autograd.grad(g, x)
    np.testing.assert_allclose(h.item(), -(math.pi**2) / 3, rtol=1e-15)


@pytest.mark.parametrize("f", [tg.igamma, tg.igammac, tg.special.zeta])
def test_no_gradient_flows_to_the_first_argument_and_that_is_said(f: Any) -> None:
    a, x = tg.tensor([2.0], requires_grad=True), tg.tensor([1.5], requires_grad=True)
    y = f(a, x)
    assert y.requires_grad
    with pytest.raises(NotImplementedError, match=r"the derivative for '.*' is not implemented\. Detach it"):
        y.backward()
    f(a.detach(), x).backward()
    assert abs(x.grad.item()) > 0.1
