r"""Train a GRU by hand: forwards through all steps, and the whole way back.

This time nothing of the forward pass is given but the equations of exercise 21, done T times with
the same weights:

    p = x[t] @ W.T + b               r = sigmoid(p_r + q_r)        n = tanh(p_n + r * q_n)
    q = h[t-1] @ U.T + d             z = sigmoid(p_z + q_z)        h[t] = (1 - z) * n + z * h[t-1]

    xs (T, N, I),  h0 (N, H),  W (3H, I),  U (3H, H),  b and d (3H,); rows in the order r, z, n

and L = sum over t of gs[t] * h[t], all entries added up, with gs of shape (T, N, H) given. So gs[t]
is what arrives at h[t] from outside.

Compute the states, keep of each step what the way back needs, and go back. You have `gru_step_vjp`
of exercise 21, and `sigmoid`. Return

    hs (T, N, H),  dxs (T, N, I),  dh0 (N, H),  dW (3H, I),  dU (3H, H),  db (3H,),  dd (3H,)

It is the last of this unit: what you write here is a training step of a recurrent network, without
any library for gradients. Nothing in the way back is new after exercise 18: a loop, a sum over uses
of the state, sums over uses of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise
from . import x21_gru_step


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a))."""
    return 1 / (1 + np.exp(-a))


gru_step_vjp = x21_gru_step.gru_step_vjp.solution


Results = tuple[Array, Array, Array, Array, Array, Array, Array]


@exercise(
    22,
    "A GRU by hand, forwards and back",
    unit=4,
    returns=["hs", "dxs", "dh0", "dW", "dU", "db", "dd"],
    hints=[
        "Forwards: np.split(p, 3, axis=1) gives p_r, p_z, p_n. Keep (r, z, n, q_n, x, h_prev) of each step in a list.",
        "Back: carry = zeros (N, H); for t from T-1 to 0: call gru_step_vjp(gs[t] + carry, *kept[t], W, U).",
        "Its dx is dxs[t], its dh_prev is the next carry, and the four others are added to dW, dU, db and dd.",
    ],
    given=[sigmoid, gru_step_vjp],
)
def gru_bptt(gs: Array, xs: Array, h0: Array, W: Array, U: Array, b: Array, d: Array) -> Results:
    """Return (hs, dxs, dh0, dW, dU, db, dd) of a GRU over all steps, with gs arriving at the states."""
    return trained(gs, xs, h0, W, U, b, d)


def trained(
    gs: Array,
    xs: Array,
    h0: Array,
    W: Array,
    U: Array,
    b: Array,
    d: Array,
    *,
    exchanged: bool = False,
    before: bool = False,
    bias_outside: bool = False,
    sees_start: bool = False,
    carries: bool = True,
    adds: bool = True,
    late: bool = False,
    forwards: bool = False,
    own: bool = False,
) -> Results:
    """Forwards and back, with one thing done otherwise.

    Args:
        gs, xs, h0, W, U, b, d: as above.
        exchanged: whether z and 1 - z are, forwards.
        before: whether r multiplies h[t-1] before the product, forwards.
        bias_outside: whether d is added without r, forwards.
        sees_start: whether every step sees h0.
        carries: whether what comes back from the next step counts.
        adds: whether weights' gradients are added, and not overwritten.
        late: whether what arrives from outside is added after the step.
        forwards: whether the way back runs from the first step.
        own: whether h[t] stands for h[t-1] on the way back.
    """
    k, h, hs, kept = h0.shape[1], h0, [], []
    for x in xs:
        h = h0 if sees_start else h
        p_r, p_z, p_n = np.split(x @ W.T + b, 3, axis=1)
        q_r, q_z, q_n = np.split(h @ U.T + d, 3, axis=1)
        r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
        seen = r * q_n
        if before:
            seen = (r * h) @ U[2 * k :].T + d[2 * k :]
        elif bias_outside:
            seen = r * (q_n - d[2 * k :]) + d[2 * k :]
        n, kept_part = np.tanh(p_n + seen), 1 - z if exchanged else z
        new = (1 - kept_part) * n + kept_part * h
        kept.append((r, z, n, q_n, x, new if own else h))
        h = new
        hs.append(h)
    carry, dxs = np.zeros_like(h0), np.zeros_like(xs)
    sums = [np.zeros_like(v) for v in (W, U, b, d)]
    for t in range(len(xs)) if forwards else reversed(range(len(xs))):
        g = (0 if late else gs[t]) + carry * carries
        dx, carry, *parts = gru_step_vjp(g, *kept[t], W, U)
        carry = carry + gs[t] * late
        dxs[t] = dx
        sums = [a * adds + part for a, part in zip(sums, parts, strict=True)]
    return np.array(hs), dxs, carry, sums[0], sums[1], sums[2], sums[3]


@gru_bptt.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One step, two, more; a gradient at the last state only."""
    for steps, n, i, k in [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 2, 2), (3, 1, 2, 3), (4, 3, 2, 3), (6, 2, 3, 4)]:
        gs, xs, h0 = rng.normal(size=(steps, n, k)), rng.normal(size=(steps, n, i)), rng.normal(size=(n, k))
        W, U = rng.normal(size=(3 * k, i)), rng.normal(size=(3 * k, k)) / np.sqrt(k)
        if steps == 3:
            gs[:-1] = 0
        yield gs, xs, h0, W, U, rng.normal(size=3 * k), rng.normal(size=3 * k)


@gru_bptt.mistake("z and 1 - z are exchanged on the way forwards")
def exchanged(*case: Array) -> Results:
    """Here z is what is kept of the state before."""
    return trained(*case, exchanged=True)


@gru_bptt.mistake("r is put before the product on the way forwards")
def reset_before(*case: Array) -> Results:
    """That is the GRU of the paper; here r multiplies what the product with U has given."""
    return trained(*case, before=True)


@gru_bptt.mistake("the second bias is added without r")
def bias_outside(*case: Array) -> Results:
    """d is a part of q, and r multiplies q_n as a whole."""
    return trained(*case, bias_outside=True)


@gru_bptt.mistake("every step sees h0")
def always_the_first(*case: Array) -> Results:
    """The state that a step has made is the one that the next step sees."""
    return trained(*case, sees_start=True)


@gru_bptt.mistake("nothing is carried back from the next step")
def no_carry(*case: Array) -> Results:
    """Each step is treated as if its state were used at time t alone, and the next step uses it as well."""
    return trained(*case, carries=False)


@gru_bptt.mistake("the weights' gradients are overwritten, not added")
def overwritten(*case: Array) -> Results:
    """What is left is the contribution of one step, the first, which is visited last."""
    return trained(*case, adds=False)


@gru_bptt.mistake("what arrives at h[t] is added after the step, not before")
def too_late(*case: Array) -> Results:
    """gs[t] belongs to h[t], so it goes through the step that made h[t]; here it skips it."""
    return trained(*case, late=True)


@gru_bptt.mistake("the way back begins at the first step")
def from_the_first(*case: Array) -> Results:
    """What comes back to step t comes from step t + 1, which has to be visited before."""
    return trained(*case, forwards=True)


@gru_bptt.mistake("h[t] is kept where h[t-1] belongs")
def own_state(*case: Array) -> Results:
    """The way back of step t needs the state that went into it."""
    return trained(*case, own=True)


@gru_bptt.mistake("only the gradient that arrives at the last state is used")
def last_alone(gs: Array, *case: Array) -> Results:
    """A gradient arrives at every h[t], and what comes back is added to it."""
    alone = np.zeros_like(gs)
    alone[-1] = gs[-1]
    return trained(alone, *case)
