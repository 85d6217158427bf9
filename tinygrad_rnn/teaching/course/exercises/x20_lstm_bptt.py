r"""Backpropagation through time for an LSTM, which carries two gradients back, da and dc.

All steps of an LSTM, with the same weights in each:

    a = x[t] @ W.T + h[t-1] @ U.T + b                 (N, 4H): a_i, a_f, a_g, a_o side by side
    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of these
    c[t] = f * c[t-1] + i * g
    h[t] = o * tanh(c[t])

    W (4H, I),  U (4H, H),  b (4H,)       h0, c0 (N, H) stand before the first step
    xs (T, N, I),  hs, cs (T, N, H): hs[t] is h[t], cs[t] is c[t]; h0 and c0 are not among them
    gates (T, N, 4H): i, f, g and o of step t side by side in gates[t]

`np.split(gates[t], 4, axis=1)` cuts such an array in four, `np.concatenate([...], axis=1)` puts
four together.

From outside a gradient arrives at every h[t], gs[t] of gs (T, N, H), and at the last cell alone one
more, gc (N, H). From step t + 1 *two* things come back to step t: what h[t] gets, through the four
gates and U, and what c[t] gets, through the forget gate. In most texts they are called da_next and
dc_next. The second way has no matrix on it: that is what an LSTM was invented for.

You have `lstm_step_vjp` of exercise 19. Return

    dxs (T, N, I),   dh0 (N, H),   dc0 (N, H),   dW (4H, I),   dU (4H, H),   db (4H,)

There is no new idea in it after exercise 18, but one more thing to carry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise
from . import x19_lstm_step

lstm_step_vjp = x19_lstm_step.lstm_step_vjp.solution


Results = tuple[Array, Array, Array, Array, Array, Array]


@exercise(
    20,
    "Backpropagation through time for an LSTM",
    unit=4,
    returns=["dxs", "dh0", "dc0", "dW", "dU", "db"],
    hints=[
        "Carry two arrays (N, H) back: one for h, of zeros at the end, one for c, which begins as gc.",
        "At step t: dh = gs[t] + the one; dc = the other; lstm_step_vjp gives four da's and the next dc. Put the da's "
        "side by side: da (N, 4H) is to a what dz was to z in exercise 17.",
        "dxs[t] = da @ W, the next carry for h is da @ U, dW += da.T @ xs[t], dU += da.T @ h[t-1], db += da.sum(0).",
    ],
    given=[lstm_step_vjp],
)
def lstm_bptt(
    gs: Array, gc: Array, gates: Array, cs: Array, hs: Array, xs: Array, h0: Array, c0: Array, W: Array, U: Array
) -> Results:
    """Return (dxs, dh0, dc0, dW, dU, db), with gs arriving at all h, and gc at the last c."""
    return swept(gs, gc, gates, cs, hs, xs, h0, c0, W, U)


def swept(
    gs: Array,
    gc: Array,
    gates: Array,
    cs: Array,
    hs: Array,
    xs: Array,
    h0: Array,
    c0: Array,
    W: Array,
    U: Array,
    *,
    h_carried: bool = True,
    c_carried: bool = True,
    adds: bool = True,
    c_grows: bool = False,
    own_c: bool = False,
    own_h: bool = False,
    order: str = "ifgo",
    forwards: bool = False,
) -> Results:
    """The way back, with one thing done otherwise.

    Args:
        gs, gc, gates, cs, hs, xs, h0, c0, W, U: as above.
        h_carried, c_carried: whether what comes back to h, and to c, from the next step counts.
        adds: whether weights' gradients are added, and not overwritten.
        c_grows: whether what comes back to c is added to what came before.
        own_c, own_h: whether c[t] stands for c[t-1], and h[t] for h[t-1].
        order: in which the four are put side by side.
        forwards: whether the loop runs from the first step.
    """
    T, dh, dc = len(xs), np.zeros_like(h0), gc
    dxs, dW, dU, db = np.zeros_like(xs), np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
    for t in range(T) if forwards else reversed(range(T)):
        h_prev, c_prev = (hs[t - 1], cs[t - 1]) if t else (h0, c0)
        i, f, g, o = np.split(gates[t], 4, axis=1)
        came = dc
        *parts, back_c = lstm_step_vjp(gs[t] + dh, dc, i, f, g, o, cs[t], cs[t] if own_c else c_prev)
        back_c = back_c + came * c_grows
        da = np.concatenate([parts["ifgo".index(name)] for name in order], axis=1)
        dxs[t], back_h = da @ W, da @ U
        dh, dc = back_h * h_carried, back_c * c_carried
        dW, dU = dW * adds + da.T @ xs[t], dU * adds + da.T @ (hs[t] if own_h else h_prev)
        db = db * adds + da.sum(0)
    return dxs, back_h, back_c, dW, dU, db


@lstm_bptt.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """One step, two, more; a gradient at the last cell alone, at the last state alone, everywhere."""
    for steps, n, i, k in [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 2, 2), (3, 1, 2, 3), (4, 3, 2, 3), (6, 2, 3, 4)]:
        xs, h0, c0 = rng.normal(size=(steps, n, i)), rng.normal(size=(n, k)), rng.normal(size=(n, k))
        W, U, b = rng.normal(size=(4 * k, i)), rng.normal(size=(4 * k, k)) / np.sqrt(k), rng.normal(size=4 * k)
        gates, cs, hs, h, c = [], [], [], h0, c0
        for x in xs:
            a = np.split(x @ W.T + h @ U.T + b, 4, axis=1)
            i_, f, g, o = (np.tanh(v) if m == 2 else 1 / (1 + np.exp(-v)) for m, v in enumerate(a))
            c = f * c + i_ * g
            h = o * np.tanh(c)
            gates.append(np.concatenate([i_, f, g, o], axis=1))
            cs.append(c)
            hs.append(h)
        gs, gc = rng.normal(size=(steps, n, k)), rng.normal(size=(n, k))
        whole = np.array(gates), np.array(cs), np.array(hs), xs, h0, c0, W, U
        if steps == 2:
            yield 0 * gs, gc, *whole
            yield gs * np.arange(steps)[:, None, None], 0 * gc, *whole
        yield gs, gc, *whole


@lstm_bptt.mistake("da is carried back, but dc is not")
def no_dc(*case: Array) -> Results:
    """c[t] is used by the next step as well, through its forget gate, and this way was made to reach far."""
    return swept(*case, c_carried=False)


@lstm_bptt.mistake("dc is carried back, but da is not")
def no_dh(*case: Array) -> Results:
    """h[t] is used by the next step as well, in all four of its gates."""
    return swept(*case, h_carried=False)


@lstm_bptt.mistake("neither da nor dc is carried back")
def neither(*case: Array) -> Results:
    """Each step is treated as if it were the last; the next one uses both of its states."""
    return swept(*case, c_carried=False, h_carried=False)


@lstm_bptt.mistake("what arrives at the last cell is left out")
def no_gc(gs: Array, gc: Array, *case: Array) -> Results:
    """Nothing comes back from a step after the last, but from outside gc arrives at c[T-1]."""
    return swept(gs, 0 * gc, *case)


@lstm_bptt.mistake("the weights' gradients are overwritten, not added")
def overwritten(*case: Array) -> Results:
    """What is left is the contribution of one step, the first, which is visited last."""
    return swept(*case, adds=False)


@lstm_bptt.mistake("c[t] stands where c[t-1] belongs")
def own_cell(*case: Array) -> Results:
    """Into step t goes the cell of the step before, and into the first c0."""
    return swept(*case, own_c=True)


@lstm_bptt.mistake("h[t] stands where h[t-1] belongs")
def own_state(*case: Array) -> Results:
    """Into step t goes the state of the step before, and into the first h0."""
    return swept(*case, own_h=True)


@lstm_bptt.mistake("the first step takes the last states for those before")
def wraps_round(gs: Array, gc: Array, gates: Array, cs: Array, hs: Array, xs: Array, *more: Array) -> Results:
    """hs[t-1] at t = 0 is hs[-1], which in Python is the last, and so it is with cs; before stand h0 and c0."""
    return swept(gs, gc, gates, cs, hs, xs, hs[-1], cs[-1], more[2], more[3])


@lstm_bptt.mistake("the first step knows neither h0 nor c0")
def no_start(gs: Array, gc: Array, gates: Array, cs: Array, hs: Array, xs: Array, *more: Array) -> Results:
    """Before step 0 stand h0 and c0; zeros were taken instead."""
    return swept(gs, gc, gates, cs, hs, xs, 0 * more[0], 0 * more[1], more[2], more[3])


@lstm_bptt.mistake("what comes back to the cell is added up over the steps")
def dc_grows(*case: Array) -> Results:
    """What c[t] gets is what step t + 1 gives back, and that has everything later in it already."""
    return swept(*case, c_grows=True)


@lstm_bptt.mistake("the four are put side by side in the order i, f, o, g")
def other_order(*case: Array) -> Results:
    """In a they stand as i, f, g, o; libraries differ in this, and weights of one are nonsense in another."""
    return swept(*case, order="ifog")


@lstm_bptt.mistake("the loop runs forwards")
def from_the_first(*case: Array) -> Results:
    """What comes back to step t comes from step t + 1, which has to be visited before."""
    return swept(*case, forwards=True)


@lstm_bptt.mistake("only the gradient that arrives at the last state is used")
def last_alone(gs: Array, *case: Array) -> Results:
    """A gradient arrives at every h[t], and what comes back is added to it."""
    alone = np.zeros_like(gs)
    alone[-1] = gs[-1]
    return swept(alone, *case)
