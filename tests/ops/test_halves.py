"""float16: what is made of several operations is computed in float32 and rounded once, as PyTorch does on the CPU.

Squares of float16 overflow from 256 on and vanish below 2e-4; sums of thousands lose their digits.  Values and
gradients are held against the same function in float64, and against PyTorch's where it is installed.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.support.rows import together

RNG = np.random.default_rng(0)
INPUTS = {
    "large": [[300.0, 200.0, -250.0, 100.0], [1.0, 2.0, 3.0, 4.5]],
    "largest": [[60000.0, 50000.0, -40000.0, 100.0], [3e4, 2e4, 3e4, 1.0]],
    "small": [[1e-4, 2e-4, -1e-4, 3e-4], [1e-2, 2e-3, -3e-3, 5e-4]],
    "mixed": [[6e4, 1e-4, 2.0, -3e-3], [0.01, 0.02, 400.0, -0.3]],
    "ones": RNG.uniform(-2, 2, (2, 4)),
    "long": RNG.uniform(-2, 2, (2, 3000)),
    "equal": np.full((2, 3000), 1.1),
}
INPUTS = {name: np.array(values).astype(np.float16) for name, values in INPUTS.items()}

NORMS = [f"x.norm({p})" for p in ("", "1", "3", "0.5", "1.5", "-1", "float('inf')", "0", "2, 1", "3, 1", "1, 0")]
EXPRESSIONS = NORMS + [
    *("x.sum()", "x.sum(0)", "x.mean()", "x.mean(1)", "x.var(1)", "x.std()", "x.std(1)", "t.std_mean(x, 1)[0]"),
    *("x.prod(1)", "x.cumsum(1)", "x.cumsum(0)", "x.cumprod(0)", "x.softmax(1)", "x.log_softmax(1)", "x.logsumexp(1)"),
    *("t.dist(x, y)", "t.lerp(x, y, 0.3)", "t.addcmul(x, x, y)", "x.tanh()", "x.sigmoid()", "x.rsqrt()"),
    *(
        "F.layer_norm(x, x.shape[1:])",
        "F.layer_norm(x, x.shape[1:], y[0], y[1])",
        "F.rms_norm(x, x.shape[1:], eps=1e-6)",
    ),
    *("F.rms_norm(x, x.shape[1:], y[0], eps=1e-6)", "F.normalize(x, dim=1)", "F.normalize(x, 3.0, dim=1)"),
    *("F.cosine_similarity(x, y, 1)", "F.pairwise_distance(x, y)", "F.pairwise_distance(x, y, 1.0)"),
    *("F.mse_loss(x, y)", "F.mse_loss(x, y, reduction='none')", "F.huber_loss(x, y)", "F.smooth_l1_loss(x, y)"),
    *("F.cross_entropy(x, t.tensor([1, 0]))", "F.cross_entropy(x, t.tensor([1, 0]), label_smoothing=0.1)"),
    *("F.binary_cross_entropy_with_logits(x, t.full_like(y, 0.25))", "F.gelu(x)", "F.gelu(x, approximate='tanh')"),
    *("F.silu(x)", "F.mish(x)", "F.softplus(x)", "F.elu(x)", "F.selu(x)", "F.hardswish(x)", "F.softsign(x)"),
    *("F.logsigmoid(x)", "F.tanhshrink(x)"),
    *("x * 0.1", "1e5 * x", "x / 0.3", "x / 1e5", "0.1 / x", "1e5 / x", "x * 70000", "x / 100001", "x.mul(1e-8)"),
    *("(x + 0).mul_(0.1)", "(x + 0).div_(1e5)", "F.leaky_relu(x)", "F.leaky_relu(x, 1e-5)", "F.softshrink(x, 0.1)"),
    *("F.glu(x, 1)", "F.glu(x, 0)", "F.cross_entropy(x, t.tensor([1, 0]), x[0].detach().abs())"),
    *("F.nll_loss(x, t.tensor([1, 0]), x[0].detach().abs())", "F.nll_loss(x, t.tensor([1, 0]))"),
    "F.binary_cross_entropy(x.abs().clamp(0.125, 0.875), t.full_like(y, 0.25), y.detach())",
    "F.binary_cross_entropy_with_logits(x, t.full_like(y, 0.25), y.detach())",
    "F.huber_loss(x, y, delta=0.3, reduction='none')",
]

# One unit in the last place: the result is rounded once, and float64's is rounded to compare.  More where a derivative
# is made of the result, which was rounded, as PyTorch's is: that of exp(a - y) by y is |y| 2**-11 times it.  Near a
# result that is not finite or has lost its digits, or where 1 - y is what counts, such a derivative means nothing.
ULPS = 1
OF_THE_RESULT = {"x.logsumexp(1)": 10, "x.log_softmax(1)": 10, "x.cumprod(0)": 4, "x.prod(1)": 4, "x.rsqrt()": 4}
OF_THE_RESULT |= dict.fromkeys((*NORMS, "t.dist(x, y)", "F.pairwise_distance(x, y)", "x.std()", "x.std(1)"), 3)
OF_THE_RESULT |= {"t.std_mean(x, 1)[0]": 3, "x.softmax(1)": 2, "x.tanh()": 1, "x.sigmoid()": 1}
CANCELLING = {"x.logsumexp(1)", "x.log_softmax(1)", "x.softmax(1)", "x.tanh()", "x.sigmoid()"}
DIFFERENCES = {"F.mse_loss(x, y)", "F.mse_loss(x, y, reduction='none')"}  # x - y is rounded first, as PyTorch's
DIFFERENCES |= {"F.huber_loss(x, y)", "F.smooth_l1_loss(x, y)"}
OF_THE_RESULT |= {"F.layer_norm(x, x.shape[1:])": 2}  # the mean of equal entries leaves a remainder

cases = pytest.mark.parametrize("name", INPUTS)
expressions = pytest.mark.parametrize("expression", EXPRESSIONS)


def evaluated(t: Any, expression: str, x: np.ndarray, dtype: Any) -> list[np.ndarray]:
    """The value, and the gradients of a weighted sum of it."""
    tensors = [t.tensor(a.astype(dtype), requires_grad=True) for a in (x, np.roll(x, 1, -1) * np.float16(0.75))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"t": t, "F": t.nn.functional, **dict(zip("xy", tensors, strict=True))})
        value = result.detach().numpy()
        seed = np.linspace(0.5, 1.5, value.size).reshape(value.shape).astype(np.float16).astype(dtype)
        grads = t.autograd.grad(result, tensors, t.tensor(seed), allow_unused=True)
    return [value, *(np.zeros_like(x, dtype) if g is None else (g + 0).numpy() for g in grads)]


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many numbers of float16 lie between, entry by entry; infinities and nan are far from all but themselves."""
    with np.errstate(over="ignore"):
        orders = [np.ascontiguousarray(v, np.float16).view(np.int16).astype(np.int64) for v in (a, b)]
    first, second = (np.where(v < 0, -(v & 0x7FFF), v) for v in orders)
    apart = np.where(np.isnan(a) != np.isnan(b), 1 << 20, np.abs(first - second))
    return np.where(np.isnan(a) & np.isnan(b), 0, apart)


def precise(value: np.ndarray) -> np.ndarray:
    """Whether a number of float16 has its 11 bits: neither subnormal nor infinite."""
    size = np.abs(value)
    return (size >= np.finfo(np.float16).tiny) & np.isfinite(value)


@together(by="name")
@cases
@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if e not in DIFFERENCES])
def test_it_is_that_of_double_precision_rounded(expression: str, name: str) -> None:
    found, exact = (evaluated(tg, expression, INPUTS[name], dtype) for dtype in (np.float16, np.float64))
    allowed = [ULPS, *[OF_THE_RESULT.get(expression, ULPS)] * 2]
    for word, got, expected, ulps in zip(("value", "by x", "by y"), found, exact, allowed, strict=True):
        assert got.dtype == np.float16
        if word != "value" and expression in CANCELLING:
            continue
        if word != "value" and not precise(found[0]).all() and expression in OF_THE_RESULT:
            continue  # made of a result that is not there, or has lost its digits
        scale = np.abs(expected).max(initial=0, where=np.isfinite(expected))
        far = (distance(got, expected) > ulps) & ~(np.abs(got - expected) <= scale * 2.0**-11)
        assert not far.any(), f"{expression}, {word}: {got}, float64's {expected}, at {far}"


@together(by="name")
@cases
@expressions
def test_it_is_pytorchs_or_nearer(expression: str, name: str) -> None:
    torch = pytest.importorskip("torch")
    x = INPUTS[name]
    found, theirs = (evaluated(t, expression, x, np.float16) for t in (tg, torch))
    exact = evaluated(torch, expression, x, np.float64)
    for word, got, expected, right in zip(("value", "by x", "by y"), found, theirs, exact, strict=True):
        allowed = ULPS if word == "value" else OF_THE_RESULT.get(expression, ULPS)
        if word != "value" and not precise(found[0]).all() and expression in OF_THE_RESULT:
            continue
        with np.errstate(invalid="ignore"):
            nearer = np.abs(got - right) <= np.abs(expected - right)
        far = (distance(got, expected) > allowed) & (distance(got, right) > allowed) & ~nearer
        assert not far.any(), f"{expression}, {word}: {got}, PyTorch's {expected}, float64's {right}, at {far}"


def test_the_numbers_that_used_to_be_infinite_or_zero() -> None:
    h = tg.tensor([300.0, 200.0, -250.0, 100.0], dtype=tg.float16)
    F = tg.nn.functional
    assert h.norm().item() == 450 and round(h.norm(3).item(), 1) == 372.2
    assert F.layer_norm(h, (4,)).tolist() == pytest.approx([1.025, 0.5425, -1.628, 0.0603], rel=1e-3)
    assert F.normalize(h, dim=0).tolist() == pytest.approx([0.6665, 0.4443, -0.5557, 0.2222], rel=1e-3)
    assert F.cosine_similarity(h, 2 * h, dim=0).item() == 1
    small = tg.tensor([1e-4, 2e-4, -1e-4, 3e-4], dtype=tg.float16)
    assert small.std().item() == pytest.approx(1.7e-4, rel=0.01) and small.norm(3).item() == pytest.approx(
        3.3e-4, rel=0.02
    )


def test_python_numbers_that_it_does_not_hold_are_not_rounded() -> None:
    x = tg.tensor([1e-3, 2.0], dtype=tg.float16, requires_grad=True)
    y = x * 1e5
    assert y.dtype == tg.float16 and y.tolist() == [100.0625, math.inf]
    assert (x // 0.1).tolist() == [0.0, 19.0] and tg.div(x, 1e-5, rounding_mode="trunc").tolist() == [100.0, math.inf]
    (x / 70000).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [float(np.float16(1 / 70000))] * 2
    assert (x * np.float64(0.1)).tolist() == (x * 0.1).tolist() == [float(np.float16(v * 0.1)) for v in x.tolist()]
    assert (x.detach() * 0.5 + x * 2).grad_fn.name() == "AddBackward0", "nothing is converted where nothing is lost"
    assert str((x * 0.5).grad_fn).startswith("<MulBackward0")


def test_sums_over_many_that_float16_cannot_count() -> None:
    """Ones are added up to 2048, where the next number is 2050; the sum of the weights ends at 65504."""
    F = tg.nn.functional
    x = tg.tensor([1.0, 2.0], dtype=tg.float16, requires_grad=True)
    places = tg.zeros(3900, dtype=tg.int64)
    x[places].sum().backward()
    assert x.grad is not None and x.grad.tolist() == [3900.0, 0.0]
    ones = tg.ones(3900, dtype=tg.float16)
    assert tg.zeros(1, dtype=tg.float16).scatter_add(0, places, ones).item() == 3900
    assert tg.zeros(1, dtype=tg.float16).index_add(0, places, ones).item() == 3900
    bag = F.embedding_bag(places.reshape(1, -1), tg.ones(1, 1, dtype=tg.float16), mode="sum")
    assert bag.item() == 3900
    logits = tg.zeros(80000, 2, dtype=tg.float16, requires_grad=True)
    targets = tg.cat([tg.full((1,), -100), tg.zeros(79999, dtype=tg.int64)])
    for weight in (None, tg.full((2,), 3.0, dtype=tg.float16)):
        for smoothing in (0.0, 0.1):
            loss = F.cross_entropy(logits, targets, weight, label_smoothing=smoothing)
            assert loss.dtype == tg.float16 and loss.item() == float(np.float16(np.log(2)))
        assert F.nll_loss(logits - 1, targets, weight).item() == 1
