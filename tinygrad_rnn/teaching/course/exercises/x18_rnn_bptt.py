r"""Backpropagation through time: the whole way back through an RNN.

The step of exercise 17, done T times with the same weights:

    h[t] = tanh(x[t] @ W.T + h[t-1] @ U.T + b)          t = 0, ..., T-1; before the first step stands h0

    xs   (T, N, I)    all inputs             h0   (N, H)
    hs   (T, N, H)    all states: hs[t] is h[t], so hs[-1] is the last; h0 is not among them

Something is computed from every state (a prediction at each moment, say), and from that L. So a
gradient arrives at *every* h[t] from outside: gs, of shape (T, N, H), where gs[t] is how L changes
with h[t] through what was computed from it at time t alone.

But h[t] is used a second time: by the next step. So what it gets in all is a sum of two:

    dL/dh[t] = gs[t] + what comes back from step t + 1

After the last step nothing comes back. And the weights are used in every step: their gradients are
sums over t. You have `rnn_step_vjp`, one step backwards. Return

    dxs (T, N, I),   dh0 (N, H),   dW (H, I),   dU (H, H),   db (H,)

That is all. Backpropagation through time is a loop, a sum over uses of the state, and a sum over
uses of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise
from . import x17_rnn_step

rnn_step_vjp = x17_rnn_step.rnn_step_vjp.solution


@exercise(
    18,
    "Backpropagation through time",
    unit=4,
    returns=["dxs", "dh0", "dW", "dU", "db"],
    hints=[
        "Begin with a carry of zeros of shape (N, H), and go from t = T-1 down to 0.",
        "At each step the cotangent is gs[t] + carry; the step's dh_prev is the next carry; h_prev is hs[t-1], or h0.",
        "dxs[t] = dx; dW += the step's dW, the same for dU and db; after step 0 the carry is dh0.",
    ],
    given=[rnn_step_vjp],
)
def rnn_bptt(
    gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (dxs, dh0, dW, dU, db) for h[t] = tanh(x[t] @ W.T + h[t-1] @ U.T + b), gs arriving at the states."""
    return swept(gs, hs, xs, h0, W, U)


Results = tuple[Array, Array, Array, Array, Array]


def swept(
    gs: Array,
    hs: Array,
    xs: Array,
    h0: Array,
    W: Array,
    U: Array,
    carries: bool = True,
    adds: bool = True,
    before: bool = True,
    own: bool = False,
    start: bool = True,
) -> Results:
    """The way back, with one thing done otherwise.

    Args:
        gs, hs, xs, h0, W, U: as above.
        carries: whether what comes back from the next step counts.
        adds: whether weights' gradients are added, and not overwritten.
        before: whether what arrives from outside is added before the step.
        own: whether h[t] stands for h[t-1].
        start: whether the first step knows h0, and not zeros.
    """
    carry = np.zeros_like(h0)
    dxs = np.zeros_like(xs)
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
    for t in reversed(range(len(xs))):
        h_prev = hs[t - 1] if t else (h0 if start else np.zeros_like(h0))
        g = (gs[t] if before else 0.0) + carry * carries
        dx, carry, *more = rnn_step_vjp(g, hs[t], xs[t], hs[t] if own else h_prev, W, U)
        carry = carry if before else carry + gs[t]
        dxs[t] = dx
        dW, dU, db = (a * adds + b for a, b in zip((dW, dU, db), more, strict=True))
    return dxs, carry, dW, dU, db


@rnn_bptt.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One step, two, more; a gradient at the last state only; states that begin at 0."""
    for steps, n, i, k in [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 2, 2), (3, 1, 2, 3), (4, 3, 2, 3), (6, 2, 3, 4)]:
        xs, h = rng.normal(size=(steps, n, i)), rng.normal(size=(n, k))
        W, U, b = rng.normal(size=(k, i)), rng.normal(size=(k, k)) / np.sqrt(k), rng.normal(size=k)
        for last_alone in (False, True):
            hs, h0 = [], h * (not last_alone)
            now = h0
            for x in xs:
                now = np.tanh(x @ W.T + now @ U.T + b)
                hs.append(now)
            gs = rng.normal(size=(steps, n, k))
            gs[:-1] *= not last_alone
            yield gs, np.array(hs), xs, h0, W, U


@rnn_bptt.mistake("nothing is carried back from the next step")
def no_carry(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """Each step is treated as if its state were used at time t alone, and the next step uses it as well."""
    return swept(gs, hs, xs, h0, W, U, carries=False)


@rnn_bptt.mistake("the weights' gradients are overwritten, not added")
def overwritten(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """What is left is the contribution of one step, the first, which is visited last."""
    return swept(gs, hs, xs, h0, W, U, adds=False)


@rnn_bptt.mistake("what arrives at h[t] is added after the step, not before")
def too_late(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """gs[t] belongs to h[t], so it goes through the step that made h[t]; here it skips it."""
    return swept(gs, hs, xs, h0, W, U, before=False)


@rnn_bptt.mistake("h[t] stands where h[t-1] belongs")
def own_h(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """hs[t] is what step t made; what went into it is the state before."""
    return swept(gs, hs, xs, h0, W, U, own=True)


@rnn_bptt.mistake("the first step does not know h0")
def no_h0(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """Before step 0 stands h0, which is not among hs; zeros were taken instead."""
    return swept(gs, hs, xs, h0, W, U, start=False)


@rnn_bptt.mistake("the first step takes the last state for the one before")
def wraps_round(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """hs[t-1] at t = 0 is hs[-1], which in Python is the last; before step 0 stands h0."""
    return swept(gs, hs, xs, hs[-1], W, U)


@rnn_bptt.mistake("only the gradient that arrives at the last state is used")
def last_alone(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """A gradient arrives at every state, and what comes back is added to it."""
    alone = np.zeros_like(gs)
    alone[-1] = gs[-1]
    return swept(alone, hs, xs, h0, W, U)


@rnn_bptt.mistake("the loop runs forwards")
def forwards(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """What comes back to step t comes from step t + 1, which has to be visited before."""
    carry = np.zeros_like(h0)
    dxs, sums = np.zeros_like(xs), [np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))]
    for t in range(len(xs)):
        dx, carry, *more = rnn_step_vjp(gs[t] + carry, hs[t], xs[t], hs[t - 1] if t else h0, W, U)
        dxs[t] = dx
        sums = [a + b for a, b in zip(sums, more, strict=True)]
    return dxs, carry, sums[0], sums[1], sums[2]


@rnn_bptt.mistake("the weights' gradients are averaged over time")
def mean(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """A weight that is used T times gets the sum of T contributions."""
    dxs, dh0, dW, dU, db = swept(gs, hs, xs, h0, W, U)
    return dxs, dh0, dW / len(xs), dU / len(xs), db / len(xs)


@rnn_bptt.mistake("what is carried back is not replaced but added up")
def carry_grows(gs: Array, hs: Array, xs: Array, h0: Array, W: Array, U: Array) -> Results:
    """What step t + 1 gives back goes to h[t]; h[t-1] gets what step t gives, and nothing of the steps after."""
    carry = np.zeros_like(h0)
    dxs, sums = np.zeros_like(xs), [np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))]
    for t in reversed(range(len(xs))):
        dx, back, *more = rnn_step_vjp(gs[t] + carry, hs[t], xs[t], hs[t - 1] if t else h0, W, U)
        carry = carry + back
        dxs[t] = dx
        sums = [a + b for a, b in zip(sums, more, strict=True)]
    return dxs, carry, sums[0], sums[1], sums[2]
