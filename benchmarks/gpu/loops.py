"""Family ``loops``: a tanh-RNN written step by step, forward and backward, recorded by us and by PyTorch."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from .clock import milliseconds
from .places import Places
from .reference import host
from .rows import Rows

__all__ = ["loops"]


def loops(rows: Rows, places: Places) -> None:
    """h_t = tanh(x_t W_x + h_{t-1} W_h + b); the loss is sum(h_T^2)."""
    for T, N, H in places.sizes([(64, 1, 8), (64, 32, 64), (200, 32, 128)], [(64, 32, 64)], [(3, 2, 4)]):
        key = f"composed loop H={H} N={N} T={T}"
        rows.attempt(key, partial(_one, rows, places, key, T, N, H))


def _one(rows: Rows, places: Places, key: str, T: int, N: int, H: int) -> None:
    rng = np.random.default_rng(0)
    values = [(rng.standard_normal(s) * H**-0.5).astype(np.float32) for s in [(T, N, H), (H, H), (H, H), (H,)]]
    ours = _job(tg, places.ours, values)
    mine = milliseconds(tg, places.ours, ours, repetitions=15, budget=1.0)
    rows.add(key, both=mine, T=T, **{"us per step": mine * 1e3 / T})
    torch = places.torch()
    if torch is not None:
        job = _job(torch, places.theirs, values)
        theirs = milliseconds(torch, places.theirs, job, repetitions=15, budget=1.0)
        left, right = host(ours()), host(job())
        error = float(np.abs(left - right).max() / np.abs(right).max())
        rows.add(key, **{"torch both": theirs, "ratio": mine / theirs, "goal": 1.0, "error": error})


def _job(lib: Any, device: str, values: list[Any]) -> Any:
    x, Wx, Wh, b = [lib.tensor(v).to(device).requires_grad_(k > 0) for k, v in enumerate(values)]
    T, N, H = values[0].shape
    h0 = lib.zeros(N, H).to(device)

    def run() -> Any:
        Wx.grad = Wh.grad = b.grad = None
        h = h0
        for t in range(T):
            h = lib.tanh(x[t] @ Wx + h @ Wh + b)
        (h * h).sum().backward()
        return Wh.grad

    return run
