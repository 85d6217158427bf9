"""Activations and losses at their seams, at nan, at infinities, and at the smallest and largest numbers.

Value, first and second derivative are those that PyTorch gave, from stored numbers always, live too.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.golden import packed, seam_cases
from tests.support.rows import together

GOLDEN = packed.read(pathlib.Path(__file__).parents[1] / "golden" / "seams.npz")

# A dozen roundings of numbers of the size of the result, or of 1; float32: exp, log and tanh differ in the last places.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
COARSER = {"F.hardsigmoid(x)": 1e-7}  # PyTorch multiplies by 1/6 in float32, whatever the dtype
# Where PyTorch overflows on the way (mish, gelu: in the second derivative; hardswish: x times x), or gives nan for
# 0 log 0 in kl_div, what is finite here is right.
BETTER = {"F.mish(x)", "F.gelu(x)", "F.hardswish(x)", "F.kl_div(x, y, reduction='none')"}

# What PyTorch takes from a library of vector functions (SLEEF, MKL) that has other code for other processors: exp, log,
# tanh and erf end in another last place. The stored numbers are those of one processor; all other cases are sums,
# products and comparisons, the same on each.
OF_LIBRARY = "elu celu selu silu mish gelu tanhshrink logsigmoid softplus tanh sigmoid".split()
OF_LIBRARY += ["binary_cross_entropy_with_logits", "kl_div"]
LAST_PLACES = 4  # two functions, an ulp each, and what is computed with them
SUBTRACTED = {"F.tanhshrink(x)"}  # from x: an ulp of tanh(x) is many of a small difference

every = pytest.mark.parametrize("dtype", seam_cases.DTYPES)
cases = pytest.mark.parametrize("expression", seam_cases.CASES)


def assert_same(expression: str, dtype: str, found: np.ndarray, expected: np.ndarray) -> None:
    tolerance = max(TOLERANCE[dtype], COARSER.get(expression, 0))
    near = np.isclose(found, expected, tolerance, tolerance, equal_nan=True)
    if expression in BETTER:
        near |= ~np.isfinite(expected) & ~np.isnan(found)
    arrays = seam_cases.pairs(expression, dtype)
    wrong = [
        f"order {order} by input {k} at {[float(a[entry]) for a in arrays]}: {found[order, k, entry]}, "
        f"PyTorch's {expected[order, k, entry]}"
        for order, k, entry in np.argwhere(~near)
    ]
    assert not wrong, f"{expression} in {dtype}: {wrong[:5]} and {len(wrong)} in all"


@together
@every
@cases
def test_value_and_derivatives_are_those_that_pytorch_gave(expression: str, dtype: str) -> None:
    with np.errstate(all="raise"):  # a warning of NumPy's would be an error
        found = seam_cases.evaluated(tg, expression, dtype, alone=False)
    assert_same(expression, dtype, found, GOLDEN[f"{expression}: {dtype}"])


@together
@every
@cases
def test_pytorch_still_gives_them(expression: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    found = seam_cases.evaluated(torch, expression, dtype, alone=True)
    stored = GOLDEN[f"{expression}: {dtype}"]
    if expression[2:].partition("(")[0] not in OF_LIBRARY:
        np.testing.assert_array_equal(found, stored)
        return
    finite = np.isfinite(stored)
    np.testing.assert_array_equal(found[~finite], stored[~finite])
    size = np.abs(stored)
    if expression in SUBTRACTED:
        size = np.maximum(size, np.abs(seam_cases.pairs(expression, dtype)[0]))
    ulp = np.spacing(np.minimum(size[finite], np.finfo(dtype).max / 2))  # of the largest number there is none
    off = np.abs(found[finite] - stored[finite]) / ulp
    assert off.max() <= LAST_PLACES, f"{expression} in {dtype}: {off.max()} last places"


def test_the_losses_of_huge_residuals_have_bounded_slopes() -> None:
    for loss, slope in ((tg.nn.functional.huber_loss, 1.0), (tg.nn.functional.smooth_l1_loss, 1.0)):
        for residual in (np.inf, 3e38, 2e38, 1e30):
            x = tg.tensor([residual, -residual], requires_grad=True)
            loss(x, tg.zeros(2), reduction="sum").backward()
            assert x.grad is not None and x.grad.tolist() == [slope, -slope]


def test_the_hessian_of_a_huber_loss_is_1_at_residual_0() -> None:
    w = tg.tensor([0.0, 0.5])
    for loss in (tg.nn.functional.huber_loss, tg.nn.functional.smooth_l1_loss):
        hessian = tg.autograd.functional.hessian(lambda w: loss(w, tg.zeros(2), reduction="sum"), w)  # noqa: B023
        assert hessian.tolist() == [[1.0, 0.0], [0.0, 1.0]]
