r"""Go one step of an LSTM backwards, from its two states to its four gates.

An LSTM has two states: h, which others see, and c, the cell, which keeps. Four numbers per unit are
computed from the input and from h of the moment before, as in an RNN, by one product that is cut in
four: a_i, a_f, a_g and a_o, each of shape (N, H). Then, entry by entry,

    i = sigmoid(a_i)     the input gate                c = f * c_prev + i * g
    f = sigmoid(a_f)     the forget gate               h = o * tanh(c)
    g = tanh(a_g)        what may be written
    o = sigmoid(a_o)     the output gate

sigmoid(a) = 1 / (1 + exp(-a)), and its slope can be told by its result, as that of tanh can: for
s = sigmoid(a) it is s * (1 - s).

Both states are used later, so two gradients arrive: dh = dL/dh and dc. Mind what dc is: it is how L
changes with c through what uses c *after* this step. But c is used within this step as well, for h.

Given dh and dc, the four gates and both cells, all of shape (N, H), return the gradients of L with
respect to a_i, a_f, a_g, a_o and c_prev, in this order. (What is before a_i, ..., a_o is a product
with weights, and that you have done in exercise 17.)

For one number each, with i = f = g = o = 0.5, c_prev = 1 and so c = 0.75, and dh = 1, dc = 0: L
changes with c by 0.5 * (1 - tanh(0.75)**2) = 0.29829; da_i is 0.03729, and dc_prev is 0.14915.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise


@exercise(
    19,
    "One step of an LSTM, backwards",
    unit=4,
    returns=["da_i", "da_f", "da_g", "da_o", "dc_prev"],
    hints=[
        "First add up what c gets: total = dc + dh * (how h changes with c). Everything but da_o is made from it.",
        "h = o * tanh(c) changes with c by o * (1 - tanh(c)**2), and with o by tanh(c).",
        "da_i = total * g * i * (1 - i): what i was multiplied by, then its slope. dc_prev = total * f.",
    ],
)
def lstm_step_vjp(
    dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return (da_i, da_f, da_g, da_o, dc_prev) for c = f * c_prev + i * g and h = o * tanh(c)."""
    tc = np.tanh(c)
    total = dc + dh * o * (1 - tc * tc)
    da_i = total * g * i * (1 - i)
    da_f = total * c_prev * f * (1 - f)
    da_g = total * i * (1 - g * g)
    da_o = dh * tc * o * (1 - o)
    return da_i, da_f, da_g, da_o, total * f


Results = tuple[Array, Array, Array, Array, Array]


@lstm_step_vjp.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers, with each of the two gradients alone; then batches."""
    half, one = np.full((1, 1), 0.5), np.ones((1, 1))
    yield one, 0 * one, half, half, half, half, 1.5 * half, one
    yield 0 * one, one, half, half, half, half, 1.5 * half, one
    for n, k in [(1, 1), (1, 2), (2, 2), (3, 4), (5, 3)]:
        i, f, o = (1 / (1 + np.exp(-rng.normal(size=(n, k)))) for _ in "ifo")
        g, c_prev = np.tanh(rng.normal(size=(n, k))), rng.normal(size=(n, k))
        yield rng.normal(size=(n, k)), rng.normal(size=(n, k)), i, f, g, o, f * c_prev + i * g, c_prev


def from_total(total: Array, dh: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """What follows from what c gets in all."""
    da_i, da_f, da_g = total * g * i * (1 - i), total * c_prev * f * (1 - f), total * i * (1 - g * g)
    return da_i, da_f, da_g, dh * np.tanh(c) * o * (1 - o), total * f


@lstm_step_vjp.mistake("what c gets from the later steps is missing")
def no_dc(dh: Array, dc: Array, *more: Array) -> Results:
    """c goes on to the next step as well, and what comes back from there is dc."""
    c, o = more[4], more[3]
    return from_total(dh * o * (1 - np.tanh(c) ** 2), dh, *more)


@lstm_step_vjp.mistake("what c gets through h is missing")
def no_dh(dh: Array, dc: Array, *more: Array) -> Results:
    """c was used for h in this step, and a gradient arrives at h."""
    return from_total(dc, dh, *more)


@lstm_step_vjp.mistake("the slope of tanh(c) is missing")
def no_slope_of_c(dh: Array, dc: Array, *more: Array) -> Results:
    """From h to c the way goes through a tanh."""
    return from_total(dc + dh * more[3], dh, *more)


@lstm_step_vjp.mistake("the output gate is missing on the way from h to c")
def no_output_gate(dh: Array, dc: Array, *more: Array) -> Results:
    """tanh(c) was multiplied by o, so a change of it reaches h by o times as much."""
    return from_total(dc + dh * (1 - np.tanh(more[4]) ** 2), dh, *more)


@lstm_step_vjp.mistake("the slope of tanh(c) is told by h")
def slope_by_h(dh: Array, dc: Array, *more: Array) -> Results:
    """h is o * tanh(c), and no result of a tanh; in an RNN it was one."""
    o, c = more[3], more[4]
    return from_total(dc + dh * o * (1 - (o * np.tanh(c)) ** 2), dh, *more)


@lstm_step_vjp.mistake("the slope of tanh(c) is told by c")
def slope_by_c(dh: Array, dc: Array, *more: Array) -> Results:
    """1 - y * y is the slope if y is the result of the tanh, and c goes into it."""
    o, c = more[3], more[4]
    return from_total(dc + dh * o * (1 - c * c), dh, *more)


@lstm_step_vjp.mistake("c stands where tanh(c) belongs")
def c_for_tanh(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """The output gate was multiplied by tanh(c)."""
    a_i, a_f, a_g, _, before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)
    return a_i, a_f, a_g, dh * c * o * (1 - o), before


@lstm_step_vjp.mistake("c stands where c_prev belongs")
def own_c(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """The forget gate was multiplied by the cell of the moment before."""
    a_i, _, a_g, a_o, before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)
    return a_i, (before / f) * c * f * (1 - f), a_g, a_o, before


@lstm_step_vjp.mistake("the slopes of the gates are missing")
def no_slopes(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """That is how L changes with i, f, g and o, and asked for is what lies before the sigmoids and the tanh."""
    before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)[4]
    total = before / f
    return total * g, total * c_prev, total * i, dh * np.tanh(c), before


@lstm_step_vjp.mistake("g is taken for a sigmoid")
def g_sigmoid(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """g came from a tanh, which has another slope."""
    a_i, a_f, _, a_o, before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)
    return a_i, a_f, (before / f) * i * g * (1 - g), a_o, before


@lstm_step_vjp.mistake("each of i and g is multiplied by itself, not by the other")
def own_factor(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """i * g changes with i by g, and with g by i."""
    _, a_f, _, a_o, before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)
    total = before / f
    return total * i * i * (1 - i), a_f, total * g * (1 - g * g), a_o, before


@lstm_step_vjp.mistake("dc_prev lacks the forget gate")
def no_forgetting(dh: Array, dc: Array, i: Array, f: Array, g: Array, o: Array, c: Array, c_prev: Array) -> Results:
    """c_prev was multiplied by f: what is forgotten on the way forwards is forgotten on the way back."""
    *gates, before = lstm_step_vjp.solution(dh, dc, i, f, g, o, c, c_prev)
    return gates[0], gates[1], gates[2], gates[3], before / f
