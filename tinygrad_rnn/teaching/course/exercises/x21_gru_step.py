r"""Go one step of a GRU backwards, as PyTorch and cuDNN compute it.

A GRU has one state and two gates: r, how much of the state before a new proposal sees, and z, how
much of it is kept. Two products, each cut in three:

    p = x @ W.T + b                  (N, 3H): p_r, p_z, p_n side by side
    q = h_prev @ U.T + d             (N, 3H): q_r, q_z, q_n side by side

    r = sigmoid(p_r + q_r)           n = tanh(p_n + r * q_n)
    z = sigmoid(p_z + q_z)           h = (1 - z) * n + z * h_prev

(In the paper of Cho and others, 2014, r multiplies h_prev *before* the product with U. Here it
multiplies q_n, after it.)

h_prev is used four times: in r, in z, in n, and directly in the last line. So its gradient is a sum
of four. And q_n, unlike q_r and q_z, does not get the same gradient as its partner in p.

    W (3H, I),  U (3H, H),  b and d (3H,)

Given g = dL/dh (N, H), the values r, z, n and q_n of the forward pass, x, h_prev, W and U, return

    dx (N, I),   dh_prev (N, H),   dW (3H, I),   dU (3H, H),   db (3H,),   dd (3H,)

`np.concatenate([...], axis=1)` puts three arrays (N, H) side by side, in the order r, z, n.

For one number each, with r = z = n = 0.5, q_n = 1, h_prev = 1, x = 1, all weights 1 and g = 1: n
gets 0.5, and what is inside its tanh 0.375; r gets 0.375 * q_n. dh_prev is 0.90625: 0.5 directly,
and 0.09375, 0.125 and 0.1875 through r, z and n.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise

Results = tuple[Array, Array, Array, Array, Array, Array]


@exercise(
    21,
    "One step of a GRU, backwards",
    unit=4,
    returns=["dx", "dh_prev", "dW", "dU", "db", "dd"],
    hints=[
        "From the last line: n gets g * (1 - z), z gets g * (h_prev - n), h_prev gets g * z as one of its four parts.",
        "Inside of the tanh: dn = g * (1 - z) * (1 - n * n). p_n gets it; q_n gets dn * r, and r gets dn * q_n. "
        "Through the sigmoids r and z pass on their gradients times r * (1 - r) and z * (1 - z).",
        "dp = [dr, dz, dn] and dq = [dr, dz, dn * r], side by side. dx = dp @ W, dW = dp.T @ x, db = dp.sum(0); with "
        "dq, h_prev and U likewise, and g * z is added to dq @ U.",
    ],
)
def gru_step_vjp(
    g: Array, r: Array, z: Array, n: Array, q_n: Array, x: Array, h_prev: Array, W: Array, U: Array
) -> Results:
    """Return (dx, dh_prev, dW, dU, db, dd) for h = (1 - z) * n + z * h_prev, where g = dL/dh."""
    dn = g * (1 - z) * (1 - n * n)
    dz = g * (h_prev - n) * z * (1 - z)
    dr = dn * q_n * r * (1 - r)
    dp = np.concatenate([dr, dz, dn], axis=1)
    dq = np.concatenate([dr, dz, dn * r], axis=1)
    return dp @ W, dq @ U + g * z, dp.T @ x, dq.T @ h_prev, dp.sum(0), dq.sum(0)


@gru_step_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers, then batches, where the forward pass is the real one."""
    half, one = np.full((1, 1), 0.5), np.ones((1, 1))
    yield one, half, half, half, one, one, one, np.ones((3, 1)), np.ones((3, 1))
    for rows, i, k in [(1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 2, 1), (3, 2, 4), (5, 4, 3)]:
        x, h_prev = rng.normal(size=(rows, i)), rng.normal(size=(rows, k))
        W, U = rng.normal(size=(3 * k, i)), rng.normal(size=(3 * k, k))
        p, q = x @ W.T + rng.normal(size=3 * k), h_prev @ U.T + rng.normal(size=3 * k)
        r, z = np.split(1 / (1 + np.exp(-(p + q)[:, : 2 * k])), 2, axis=1)
        q_n = q[:, 2 * k :]
        yield rng.normal(size=(rows, k)), r, z, np.tanh(p[:, 2 * k :] + r * q_n), q_n, x, h_prev, W, U


def varied(
    g: Array,
    r: Array,
    z: Array,
    n: Array,
    q_n: Array,
    x: Array,
    h_prev: Array,
    W: Array,
    U: Array,
    *,
    direct: float = 1.0,
    exchanged: bool = False,
    reset_q: bool = True,
    reset_bias: bool = True,
    through_r: bool = True,
    minus_n: bool = True,
    slopes: bool = True,
    before: bool = False,
) -> Results:
    """The step backwards, with one thing done otherwise.

    Args:
        g, r, z, n, q_n, x, h_prev, W, U: as above.
        direct: how much of the direct way to h_prev counts.
        exchanged: whether z and 1 - z are.
        reset_q: whether q_n gets r times what p_n gets.
        reset_bias: the same for its bias alone.
        through_r: whether r gets q_n times, and not h_prev times.
        minus_n: whether z gets its part by n.
        slopes: whether those of the sigmoids count.
        before: whether r stands before the product with U, as in the paper.
    """
    kept = 1 - z if exchanged else z
    dn = g * (1 - kept) * (1 - n * n)
    dz = g * (h_prev - n * minus_n) * (z * (1 - z) if slopes else 1.0)
    dr = dn * (q_n if through_r else h_prev) * (r * (1 - r) if slopes else 1.0)
    if exchanged:
        dz = -dz
    dp = np.concatenate([dr, dz, dn], axis=1)
    dq = np.concatenate([dr, dz, dn * r if reset_q else dn], axis=1)
    dd = dq.sum(0) if reset_bias else dp.sum(0)
    if before:  # n = tanh(p_n + (r * h_prev) @ U_n.T)
        k = len(U) // 3
        into = dn @ U[2 * k :]
        dr = into * h_prev * r * (1 - r)
        dp = dq = np.concatenate([dr, dz, dn], axis=1)
        dU = np.concatenate([dr.T @ h_prev, dz.T @ h_prev, dn.T @ (r * h_prev)])
        return dp @ W, dp[:, : 2 * k] @ U[: 2 * k] + into * r + g * z, dp.T @ x, dU, dp.sum(0), dp.sum(0)
    return dp @ W, dq @ U + g * kept * direct, dp.T @ x, dq.T @ h_prev, dp.sum(0), dd


@gru_step_vjp.mistake("the direct way to h_prev is missing")
def no_direct_way(*case: Array) -> Results:
    """h_prev stands in the last line itself, and this way passes through no matrix: it is what makes a GRU remember."""
    return varied(*case, direct=0.0)


@gru_step_vjp.mistake("z and 1 - z are exchanged")
def exchanged(*case: Array) -> Results:
    """Here z is what is kept of the state before; in other texts it is what is replaced."""
    return varied(*case, exchanged=True)


@gru_step_vjp.mistake("q_n gets the same as p_n")
def no_reset(*case: Array) -> Results:
    """q_n was multiplied by r before it was added to p_n."""
    return varied(*case, reset_q=False)


@gru_step_vjp.mistake("the second bias gets the same as the first")
def one_bias(*case: Array) -> Results:
    """In the third part d is multiplied by r, and b is not: a GRU of this kind cannot do with one bias."""
    return varied(*case, reset_bias=False)


@gru_step_vjp.mistake("r gets its gradient by h_prev, not by q_n")
def r_by_h(*case: Array) -> Results:
    """r was multiplied by q_n, and how a product changes with one factor is told by the other."""
    return varied(*case, through_r=False)


@gru_step_vjp.mistake("z gets no part by n")
def z_without_n(*case: Array) -> Results:
    """z stands in the last line twice: beside h_prev, and in 1 - z beside n."""
    return varied(*case, minus_n=False)


@gru_step_vjp.mistake("the slopes of the sigmoids are missing")
def no_slopes(*case: Array) -> Results:
    """Between r, z and what lies inside of them is a sigmoid."""
    return varied(*case, slopes=False)


@gru_step_vjp.mistake("r is put before the product, as in the paper")
def reset_before(*case: Array) -> Results:
    """That is another network: here the product with U comes first, and r multiplies its result."""
    return varied(*case, before=True)


@gru_step_vjp.mistake("the gradient through r is missing")
def nothing_through_r(
    g: Array, r: Array, z: Array, n: Array, q_n: Array, x: Array, h_prev: Array, W: Array, U: Array
) -> Results:
    """r was used in n, so a gradient arrives at it, and goes on to x, h_prev and the weights."""
    return varied(g, r, z, n, 0 * q_n, x, h_prev, W, U)


@gru_step_vjp.mistake("the slope of tanh is missing")
def no_tanh(g: Array, r: Array, z: Array, n: Array, q_n: Array, x: Array, h_prev: Array, W: Array, U: Array) -> Results:
    """n is the result of a tanh, and asked for is what lies inside."""
    dn, dz = g * (1 - z), g * (h_prev - n) * z * (1 - z)
    dr = dn * q_n * r * (1 - r)
    dp, dq = np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, dn * r], axis=1)
    return dp @ W, dq @ U + g * z, dp.T @ x, dq.T @ h_prev, dp.sum(0), dq.sum(0)
