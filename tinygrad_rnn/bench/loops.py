"""The composed loop: a tanh-RNN written step by step, forward and backward, in every library that records it.

h_t = tanh(x_t W_x + h_{t-1} W_h + b) for t = 1..T, the loss is sum(h_T^2), and the gradients are those of W_x, W_h
and b.  All start from the same numbers; each adapter returns the gradient of W_h, by which they are compared.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..typing import Array
from .agreement import agree
from .measure import OURS

__all__ = ["ADAPTERS", "loop_jobs"]

Run = Callable[[], Any]


def _inputs(T: int, N: int, H: int) -> list[Array]:
    rng = np.random.default_rng(0)
    shapes = [(T, N, H), (H, H), (H, H), (H,)]
    return [(rng.standard_normal(s) * H**-0.5).astype(np.float32) for s in shapes]


def _ours(values: list[Array]) -> Run:
    x, Wx, Wh, b = [tg.tensor(v, requires_grad=k > 0) for k, v in enumerate(values)]
    T, N, H = values[0].shape

    def run() -> Any:
        # Set to None: every library would add to the gradients of the run before.
        Wx.grad = Wh.grad = b.grad = None
        h = tg.zeros(N, H)
        for t in range(T):
            h = tg.tanh(x[t] @ Wx + h @ Wh + b)
        (h * h).sum().backward()
        return Wh.grad.numpy() if Wh.grad is not None else None

    return run


def _torch(values: list[Array]) -> Run:
    torch: Any = importlib.import_module("torch")
    x, Wx, Wh, b = [torch.tensor(v, requires_grad=k > 0) for k, v in enumerate(values)]
    T, N, H = values[0].shape

    def run() -> Any:
        Wx.grad = Wh.grad = b.grad = None
        h = torch.zeros(N, H)
        for t in range(T):
            h = torch.tanh(x[t] @ Wx + h @ Wh + b)
        (h * h).sum().backward()
        return Wh.grad.numpy()

    return run


def _autograd(values: list[Array]) -> Run:
    anp: Any = importlib.import_module("autograd.numpy")
    grad: Any = importlib.import_module("autograd").grad
    x, *weights = values
    T, N, H = x.shape

    def loss(weights: Any) -> Any:
        Wx, Wh, b = weights
        h = np.zeros((N, H), np.float32)
        for t in range(T):
            h = anp.tanh(x[t] @ Wx + h @ Wh + b)
        return anp.sum(h * h)

    gradient = grad(loss)
    return lambda: gradient(tuple(weights))[1]


def _mygrad(values: list[Array]) -> Run:
    mg: Any = importlib.import_module("mygrad")
    x, Wx, Wh, b = values[0], *[mg.tensor(v) for v in values[1:]]
    T, N, H = x.shape

    def run() -> Any:
        for p in (Wx, Wh, b):
            p.null_grad()
        h = np.zeros((N, H), np.float32)
        for t in range(T):
            h = mg.tanh(mg.matmul(x[t], Wx) + mg.matmul(h, Wh) + b)
        mg.sum(h * h).backward()
        return Wh.grad

    return run


def _jax(values: list[Array]) -> Run:
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")
    x, *weights = [jnp.asarray(v) for v in values]

    def loss(weights: Any) -> Any:
        Wx, Wh, b = weights

        def step(h: Any, x_t: Any) -> Any:
            return jnp.tanh(x_t @ Wx + h @ Wh + b), None

        # A Python loop would be unrolled into T copies of its body, and take minutes to compile.
        h, _ = jax.lax.scan(step, jnp.zeros(x.shape[1:], x.dtype), x)
        return (h * h).sum()

    # Compiled, as JAX is meant to be used; the time of the first run is reported apart.
    gradient = jax.jit(jax.grad(loss))
    # JAX returns before the result is there.
    return lambda: np.asarray(jax.block_until_ready(gradient(tuple(weights)))[1])


def _by_hand(values: list[Array]) -> Run:
    x, Wx, Wh, b = values
    T, N, H = x.shape

    def run() -> Any:
        h = np.zeros((N, H), np.float32)
        states = [h]
        for t in range(T):
            h = np.tanh(x[t] @ Wx + h @ Wh + b)
            states.append(h)
        dWx, dWh, db, dh = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b), 2 * h
        for t in range(T - 1, -1, -1):
            dz = dh * (1 - states[t + 1] ** 2)
            dWx += x[t].T @ dz
            dWh += states[t].T @ dz
            db += dz.sum(axis=0)
            dh = dz @ Wh.T
        return dWh

    return run


ADAPTERS: dict[str, Callable[[list[Array]], Run]] = {
    "tinygrad_rnn": _ours,
    "torch": _torch,
    "autograd": _autograd,
    "mygrad": _mygrad,
    "jax": _jax,
    "numpy": _by_hand,
}


def loop_jobs(T: int, N: int, H: int, peers: list[str]) -> dict[str, Run]:
    """The same loop for us and each of the ``peers``, checked to give the same gradient.

    Raises:
        AssertionError: a gradient differs by more than float32 rounding over T steps explains.
    """
    values = _inputs(T, N, H)
    # Copies: an adapter that shares memory and writes into it would change the others' numbers.
    jobs = {name: ADAPTERS[name]([v.copy() for v in values]) for name in [OURS, *peers]}
    agree("composed loop", jobs, 1e-4)
    return jobs
