"""Functions that are put together of pieces, at and across their seams, and at the ends of the number line.

``evaluated`` gives the value and the first and second derivative at every point, each taken alone: PyTorch's kernels
for vectors treat nan otherwise than those for one number, which do as the formulas say.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

DTYPES = ("float32", "float64")

ACTIVATIONS = """relu(x)|relu6(x)|leaky_relu(x)|leaky_relu(x, 0.5)|hardtanh(x)|hardtanh(x, -2.0, 0.5)|softshrink(x)
softshrink(x, 0.0)|hardshrink(x)|threshold(x, 0.5, 20.0)|elu(x)|elu(x, 2.0)|celu(x)|celu(x, 2.0)|selu(x)|silu(x)|mish(x)
gelu(x)|gelu(x, approximate='tanh')|softsign(x)|tanhshrink(x)|hardsigmoid(x)|hardswish(x)|logsigmoid(x)|softplus(x)
softplus(x, 2.0, 1.0)|prelu(x, t.tensor([0.25], dtype=x.dtype))""".replace("\n", "|").split("|")
OTHERS = """t.abs(x)|t.sign(x)|x.clamp(-1, 1)|x.clamp(min=0.5)|x.clamp(max=0.5)|x.clamp(min=t.full_like(x, 0.5))
x.clamp(t.full_like(x, -1.0), t.full_like(x, 0.5))|x.clamp(min=t.full_like(x, float('nan')))|x.clamp(max=float('nan'))
t.maximum(x, t.full_like(x, 0.5))|t.minimum(x, t.full_like(x, 0.5))|t.square(x)|x ** 0|x ** 1|x ** 2|x ** 3|x * x
t.frac(x)|t.floor(x)|t.sigmoid(x)|t.tanh(x)""".replace("\n", "|").split("|")
LOSSES = """mse_loss(x, y|l1_loss(x, y|smooth_l1_loss(x, y|smooth_l1_loss(x, y, beta=0.5|smooth_l1_loss(x, y, beta=0.0
huber_loss(x, y|huber_loss(x, y, delta=0.5|binary_cross_entropy_with_logits(x, y|kl_div(x, y
kl_div(x, y, log_target=True""".replace("\n", "|").split("|")
CASES = [f"F.{f}" for f in ACTIVATIONS] + [f"F.{f}, reduction='none')" for f in LOSSES] + OTHERS

SEAMS = (0.5, 1.0, 2.0, 3.0, 6.0)


def points(dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).type
    info = np.finfo(kind)
    found = [0.0, np.inf, info.smallest_subnormal, info.tiny, info.max, info.max / 2, np.sqrt(info.max), info.eps]
    found += [1e-3, 0.25, 10, 20, 100, 800]
    for seam in SEAMS:
        at = kind(seam)
        found += [at, np.nextafter(at, kind(np.inf)), np.nextafter(at, kind(0))]
    return np.array([*found, *[-x for x in found], np.nan], dtype)


def pairs(expression: str, dtype: str) -> list[np.ndarray]:
    """The arguments: every point, for a loss with each of some targets."""
    x = points(dtype)
    if "x, y" not in expression:
        return [x]
    targets = np.array([0, 1, 0.5, np.inf, -np.inf, np.nan, np.finfo(dtype).max], dtype)
    return [a.reshape(-1).copy() for a in np.meshgrid(x, targets)]


def derivatives(t: Any, expression: str, arrays: list[np.ndarray]) -> np.ndarray:
    """(3, inputs, entries): the value, its derivatives, those of the sum of these; 0 where there are none."""
    inputs = [t.tensor(a, requires_grad=True) for a in arrays]
    names = {"t": t, "F": t.nn.functional, **dict(zip("xy", inputs, strict=False))}
    found = np.zeros((3, len(arrays), *arrays[0].shape), arrays[0].dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [eval(expression, names)]
        found[0] = results[0].detach().numpy()
        for order in (1, 2):
            results = [y for y in results if y is not None and y.requires_grad]
            if not results or (order == 2 and "hardsigmoid" in expression):  # of which PyTorch has no second one
                break
            seeds = [t.ones_like(y) for y in results]
            results = list(t.autograd.grad(results, inputs, seeds, create_graph=order == 1, allow_unused=True))
            for k, y in enumerate(results):
                if y is not None:
                    found[order, k] = (y.detach() + 0).numpy()  # PyTorch's zeros may have no memory
    return found


def evaluated(t: Any, expression: str, dtype: str, *, alone: bool) -> np.ndarray:
    """What ``t`` makes of a case; ``alone``: each entry in a tensor of its own."""
    arrays = pairs(expression, dtype)
    if not alone:
        return derivatives(t, expression, arrays)
    each = [derivatives(t, expression, [a[k : k + 1] for a in arrays]) for k in range(len(arrays[0]))]
    return np.concatenate(each, axis=-1)
