"""Gradient clipping, written once for PyTorch and for this package.

``clipped`` takes the module to run (torch, or tinygrad_rnn) and gives the total norm and the gradients after.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

INF, NAN = math.inf, math.nan
NORMS = [2.0, 1.0, 3.0, 0.5, 0.0, -1.0, INF, -INF, "inf"]
SETS = ["plain", "missing", "zero", "infinite", "nan", "mixed", "one", "none", "overflow", "half"]

# name: (set of gradients, max_norm, norm_type); and for clipping by value (set, bound)
BY_NORM = {
    **{f"norm-{p}/{limit}": ("plain", limit, p) for p in NORMS for limit in (0.5, 1e4)},
    **{f"of-{s}/{p}": (s, 0.75, p) for s in SETS for p in (2.0, 1.0, INF)},
    "exact": ("one", 5.0, 2.0),
    "negative": ("plain", -1.0, 2.0),
    "nothing-left": ("plain", 0.0, 2.0),
}
BY_VALUE = {f"of-{s}/{bound}": (s, bound) for s in SETS if s not in ("half", "none") for bound in (0.3, 2, 0.0)}


def gradients(name: str) -> list[np.ndarray | None]:
    rng = np.random.RandomState(1)
    grads: list[np.ndarray | None] = [np.asarray(rng.standard_normal(s), "float32") for s in ((3, 4), (5,), (), (2, 1))]
    if name == "missing":
        grads[1] = None
    elif name == "zero":
        grads = [np.zeros((2, 3), "float32"), np.zeros(4, "float32")]
    elif name == "infinite":
        grads[2] = np.array(-INF, "float32")
    elif name == "nan":
        grads[3] = np.array([[NAN], [1.0]], "float32")
    elif name == "mixed":
        grads[0], grads[3] = np.asarray(grads[0], "float64"), np.asarray(grads[3], "float64")
    elif name == "one":
        grads = [np.array([3.0, 4.0], "float32")]
    elif name == "none":
        grads = [None, None]
    elif name == "overflow":
        grads = [np.array([3e19, 4e19], "float32"), np.array([1.0], "float32")]
    elif name == "half":
        grads = [np.asarray(g, "float16") for g in grads]
    return grads


def parameters(lib: Any, grads: list[np.ndarray | None]) -> list[Any]:
    out = []
    for g in grads:
        p = lib.tensor(np.zeros(2, "float32") if g is None else np.zeros_like(g), requires_grad=True)
        if g is not None:
            p.grad = lib.tensor(g)
        out.append(p)
    return out


def values(params: list[Any]) -> dict[str, np.ndarray]:
    return {f"grad/{i}": np.array(p.grad.numpy()) for i, p in enumerate(params) if p.grad is not None}


def clipped(lib: Any, case: tuple[str, float, Any]) -> dict[str, np.ndarray]:
    kind, limit, p = case
    params = parameters(lib, gradients(kind))
    total = lib.nn.utils.clip_grad_norm_(params, limit, norm_type=p)
    return {"total": np.array(total.numpy()), **values(params)}


def clamped(lib: Any, case: tuple[str, float]) -> dict[str, np.ndarray]:
    kind, bound = case
    params = parameters(lib, gradients(kind))
    assert lib.nn.utils.clip_grad_value_(iter(params), bound) is None
    return values(params)
