"""Ten programs for the debugger, each on two tapes: one to be shown, and one that knows every sum."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence


class Watched(NamedTuple):
    """A program's tapes.

    Attributes:
        shown: for the page.
        exact: of the same run, with the sum at each contribution as the engine formed it.
        error: what ended the program.
    """

    shown: tg.Tape
    exact: tg.Tape
    error: BaseException | None


def watched(program: Callable[[], None], **options: Any) -> Watched:
    """Run a program under two tapes."""
    error = None
    with tg.Tape(**options) as shown, tg.Tape(totals=True) as exact:
        try:
            program()
        except Exception as raised:
            error = raised
    return Watched(shown, exact, error)


def leaf(rng: np.random.Generator, *shape: int, kind: Any = np.float32, scale: float = 1.0) -> tg.Tensor:
    """A tensor that requires grad."""
    return tg.tensor((scale * rng.standard_normal(shape)).astype(kind), requires_grad=True)


def rnn() -> None:
    """A tanh RNN of thirty steps."""
    rng = np.random.default_rng(0)
    W, U, b = leaf(rng, 4, 4, scale=0.5), leaf(rng, 4, 3), leaf(rng, 4)
    x = tg.tensor(rng.standard_normal((30, 3)).astype(np.float32))
    h = tg.zeros(4)
    for t in range(30):
        h = tg.tanh(W @ h + U @ x[t] + b)
    loss = (h * h).sum()
    loss.backward()


def diamond() -> None:
    """A value that is used twice."""
    w = leaf(np.random.default_rng(1), 3, kind=np.float64)
    a = tg.tanh(w)
    b, c = a * 2, a * a
    d = b + c
    d.sum().backward()


def twice() -> None:
    """A weight that one record uses twice, and others again."""
    rng = np.random.default_rng(2)
    W = leaf(rng, 3, 3, kind=np.float64)
    h = W @ W
    h = h * h + W.T @ h
    h.sum().backward()


def fused() -> None:
    """A fused layer of two stacked LSTMs."""
    tg.manual_seed(3)
    lstm = tg.nn.LSTM(2, 3, num_layers=2)
    x = tg.randn(5, 2, 2)
    out, (h, c) = lstm(x)
    (out.sum() + (h * c).sum()).backward()


def accumulating() -> None:
    """Two backward passes, whose gradients add up."""
    rng = np.random.default_rng(4)
    W, x = leaf(rng, 2, 2), leaf(rng, 2)
    for _ in range(2):
        h = tg.sigmoid(W @ x)
        (h * h).sum().backward()
        with tg.no_grad():
            W -= 0.1


def differentiated_twice() -> None:
    """The norm of a gradient, differentiated."""
    rng = np.random.default_rng(5)
    W, x = leaf(rng, 2, 3, kind=np.float64), leaf(rng, 3, kind=np.float64)
    loss = tg.tanh(W @ x).sum()
    (g,) = tg.autograd.grad(loss, x, create_graph=True)
    penalty = (g * g).sum()
    (loss + penalty).backward()


def packed() -> None:
    """An LSTM that reads packed sequences in both directions, step by step."""
    tg.manual_seed(6)
    lstm = tg.nn.LSTM(2, 2, bidirectional=True, impl="composed")
    x = tg.randn(3, 2, 2)
    out, (h, c) = lstm(pack_padded_sequence(x, tg.tensor([3, 2])))
    (out.data.sum() + (h * h).sum() + c.sum()).backward()


def written() -> None:
    """Writes in place: to results, through a view, and to leaves between their uses."""
    rng = np.random.default_rng(7)
    w, v = leaf(rng, 4), leaf(rng, 2, 2)
    y = w * 3 + 1
    y.mul_(10.0)
    y[1:3] = v[0]
    with tg.no_grad():
        v += 1.0
    z = y.view(2, 2)
    z.add_(v)
    (y * y).sum().backward()


def stopping() -> None:
    """A program that stops in the middle: of a sweep, and then of the forward pass."""
    rng = np.random.default_rng(8)
    W, h = leaf(rng, 2, 2), tg.ones(2)
    for _ in range(3):
        h = tg.tanh(W @ h)
    loss = (h * h).sum()
    loss.backward()
    with contextlib.suppress(tg.errors.GraphError):
        (loss * 2).backward()
    h = tg.exp(W @ tg.ones(2))
    h @ tg.ones(3, 3)


def odd() -> None:
    """float16, empty, 0-d, integers, bools, and what is no number."""
    rng = np.random.default_rng(9)
    half, none = leaf(rng, 2, 3, kind=np.float16), tg.ones(0, 3, requires_grad=True)
    wild = tg.tensor(np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38], np.float32), requires_grad=True)
    point, field = tg.tensor(2.5, dtype=tg.float64, requires_grad=True), leaf(rng, 2, kind=np.float64)
    both = tg.cat([half.float(), none])
    a = (half * half).sum().float() + both.mean() + none.sum()
    b = (wild * 2 - wild * wild).abs().sum()
    c = (tg.tensor([1, 2**40]) * point).sum() + tg.where(tg.tensor([True, False]), field, -field).sum()
    (a + b + c).backward()


TAPES = {
    program.__name__: program
    for program in (*(rnn, diamond, twice, fused, accumulating, differentiated_twice, packed, written, stopping, odd),)
}
