"""At infinities, nan, zeros, +-800, subnormals and ties: PyTorch's value and gradient, and no warning of NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

VALUES = np.array([0.0, -0.0, 1, -1, 0.5, 800, -800, 1e-310, 1e200, -1e200, np.inf, -np.inf, np.nan])

UNARY = """abs neg exp log tanh sigmoid sqrt square sign relu reciprocal rsqrt sin cos tan asin acos atan sinh
cosh asinh acosh atanh exp2 expm1 log1p log2 log10 floor ceil round trunc frac softplus""".split()
UNARY += ["x ** 2", "x ** 0", "x ** 1", "x ** 3", "x ** 0.5", "x ** -1", "x ** -0.5", "2 ** x", "0 ** x"]
UNARY += ["x.clamp(-1, 1)"]
UNARY += ["x.clamp(min=0)", "1 / x", "x / 0", "x * 0", "x % 3", "x.logsumexp(0)", "x.softmax(0)", "x.log_softmax(0)"]
UNARY += ["x.sum()", "x.max()", "x.min()", "x.amax(0)", "x.max(0)", "x.cummax(0)", "x.sort()", "x.median()", "x.norm()"]
UNARY += ["x.mean()", "x.var()", "x.prod()", "x.cumsum(0)", "x.cumprod(0)"]

SOFT = VALUES[[0, 2, 3, 5, 6]]  # what is left when infinities and nan are taken out, for the sums
ROWS = [SOFT, SOFT * 0 - np.inf, np.array([np.inf, 1, 2]), np.array([np.nan, 1, 2]), np.array([1e200, 1e200]), SOFT[:2]]

BINARY = ["x + y", "x - y", "x * y", "x / y", "x ** y", "t.maximum(x, y)", "t.minimum(x, y)", "t.logaddexp(x, y)"]
BINARY += ["t.atan2(x, y)", "t.hypot(x, y)", "t.where(x > 0, x, y)", "t.fmod(x, y)"]

LEFT_OUT = {
    "x ** 0.5": [-0.0, -np.inf],  # PyTorch's derivative is by way of 1 / sqrt(x), the power function says inf and 0
    "x ** -0.5": [-0.0, -np.inf],
    "t.fmod(x, y)": [1e-310],  # PyTorch gives nan for a remainder that can be computed
}


def evaluate(t: Any, expression: str, arrays: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Values, and gradients of their sum."""
    inputs = [t.tensor(a, requires_grad=True) for a in arrays]
    if expression.isidentifier():
        expression = "t.nn.functional.softplus(x)" if expression == "softplus" else f"t.{expression}(x)"
    result = eval(expression, {"t": t, **dict(zip("xy", inputs, strict=False))})
    values = list(result) if isinstance(result, tuple) else [result]
    grads = t.autograd.grad(values[0], inputs, t.ones_like(values[0]), allow_unused=True)
    return [v.detach().numpy() for v in values], [np.zeros(1) if g is None else g.numpy() for g in grads]


def compare(expression: str, arrays: list[np.ndarray]) -> None:
    ours, theirs = evaluate(tg, expression, arrays), evaluate(torch, expression, arrays)
    for word, got, expected in zip(["value", "gradient"], ours, theirs, strict=True):
        for a, b in zip(got, expected, strict=True):
            near = np.isclose(a, b, 1e-12, 1e-300, equal_nan=True)  # a few roundings apart
            if near.all():
                continue
            at = [x[~near] if x.shape == near.shape else x for x in arrays]
            raise AssertionError(f"{word} of {expression} at {at}: {a[~near]}, PyTorch's {b[~near]}")


def kept(expression: str) -> np.ndarray:
    out = {(float(x), bool(np.signbit(x))) for x in LEFT_OUT.get(expression, [])}
    return np.array([x for x in VALUES.tolist() if (x, bool(np.signbit(x))) not in out])


@together
@pytest.mark.parametrize("expression", UNARY)
def test_one_argument(expression: str) -> None:
    whole = expression.startswith("x.") and "clamp" not in expression
    for row in ROWS if whole else [kept(expression)]:
        compare(expression, [row])


@pytest.mark.parametrize("expression", BINARY)
def test_two_arguments(expression: str) -> None:
    x, y = (a.reshape(-1) for a in np.meshgrid(kept(expression), kept(expression)))
    compare(expression, [x, y])
