r"""Mend the equations of the LSTM as they are printed in a set of notes.

The same notes that exercise 27 is about give the equations of an LSTM. Its four products are right,
and they are done for you: `a` has the parts a_i, a_f, a_g and a_o, each (N, H), made of the input
and of h_prev. Then they print

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    g = tanh(a_g)                            the proposal
    c = f * g_prev + i * g                   the new cell
    h = o * tanh(c) + h_prev                 the new state

where g_prev is the proposal of the step before. It looks plausible, and a program that does it runs
and even learns a little. But such a thing has no memory: what was proposed once can be mixed in once
more, one step later, and is gone after that. And the last line keeps the state beside the gate that
was made for letting out only what is wanted.

The function below computes what is printed. Mend both lines so that it is an LSTM, one that keeps its
cell for as long as the forget gate is open, and return h and c.

For one number each, with a_i = a_f = a_g = a_o = 0: the gates are 0.5, the proposal is 0, and with
c_prev = 1 the new cell is 0.5 and the new state 0.5 * tanh(0.5) = 0.23106.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....typing import Array
from ..exercise import exercise

Results = tuple[Array, Array]


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a))."""
    return 1 / (1 + np.exp(-a))


@exercise(
    28,
    "The equations of the LSTM",
    unit=6,
    returns=["h", "c"],
    hints=[
        "What has to be kept over many steps is the cell. To which value of the step before does f belong?",
        "c = f * c_prev + i * g: with f = 1 and i = 0 the cell stays what it was, for ever.",
        "h is nothing but o * tanh(c): with o = 0 nothing of the cell is seen outside.",
    ],
    given=[sigmoid],
)
def lstm_step(a_i: Array, a_f: Array, a_g: Array, a_o: Array, h_prev: Array, c_prev: Array, g_prev: Array) -> Results:
    """Return (h, c), the new state and the new cell of an LSTM."""
    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    g = np.tanh(a_g)
    c = f * c_prev + i * g
    return o * np.tanh(c), c


@lstm_step.begins_with
@lstm_step.mistake("it is as printed: the proposal before in place of the cell, and a state too many")
def printed(a_i: Array, a_f: Array, a_g: Array, a_o: Array, h_prev: Array, c_prev: Array, g_prev: Array) -> Results:
    """Ask of each value of the step before how long it can be kept."""
    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    g = np.tanh(a_g)
    c = f * g_prev + i * g
    h = o * np.tanh(c) + h_prev
    return h, c


@lstm_step.cases
def cases(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Numbers: the example, gates that are open, gates that are shut; then batches."""
    zero, one = np.zeros((1, 1)), np.ones((1, 1))
    yield zero, zero, zero, zero, zero, one, zero
    yield -9 * one, 9 * one, one, 9 * one, 0.5 * one, one, -0.5 * one
    yield 9 * one, -9 * one, one, -9 * one, 0.5 * one, one, -0.5 * one
    for shape in [(1, 2), (2, 2), (3, 4)]:
        yield tuple(np.tanh(v) if k == 6 else v for k, v in enumerate(rng.normal(size=(7, *shape))))


def made(
    a: tuple[Array, ...], h_prev: Array, c_prev: Array, kept: str = "f", new: str = "i", squash: bool = True
) -> Results:
    """The step, with one thing done otherwise: what multiplies the cell, what the proposal, whether c is squashed."""
    i, f, o = sigmoid(a[0]), sigmoid(a[1]), sigmoid(a[3])
    gates = {"i": i, "f": f, "o": o, "1": 1.0, "1-f": 1 - f, "1-i": 1 - i}
    c = gates[kept] * c_prev + gates[new] * np.tanh(a[2])
    return o * (np.tanh(c) if squash else c), c


@lstm_step.mistake("the proposal before stands where the cell before belongs")
def no_memory(a_i: Array, a_f: Array, a_g: Array, a_o: Array, h_prev: Array, c_prev: Array, g_prev: Array) -> Results:
    """What was proposed is gone after one more step; the cell is what is kept."""
    return made((a_i, a_f, a_g, a_o), h_prev, g_prev)


@lstm_step.mistake("the state before is added to the new one")
def adds_state(a_i: Array, a_f: Array, a_g: Array, a_o: Array, h_prev: Array, c_prev: Array, g_prev: Array) -> Results:
    """What is seen outside is what the output gate lets out, and nothing beside it."""
    h, c = made((a_i, a_f, a_g, a_o), h_prev, c_prev)
    return h + h_prev, c


@lstm_step.mistake("the state before stands where the cell before belongs")
def keeps_state(a_i: Array, a_f: Array, a_g: Array, a_o: Array, h_prev: Array, c_prev: Array, g_prev: Array) -> Results:
    """h is what was let out of the cell; what was not let out would be lost."""
    return made((a_i, a_f, a_g, a_o), h_prev, h_prev)


@lstm_step.mistake("the forget gate is missing")
def never_forgets(*a: Array) -> Results:
    """So the LSTM was in 1997; since 2000 it can forget."""
    return made(a[:4], a[4], a[5], kept="1")


@lstm_step.mistake("the proposal is taken 1 - f times, not i times")
def coupled(*a: Array) -> Results:
    """That is an LSTM with coupled gates; here there is an input gate."""
    return made(a[:4], a[4], a[5], new="1-f")


@lstm_step.mistake("the input gate and the forget gate are exchanged")
def exchanged(*a: Array) -> Results:
    """f says what is kept of the cell, i what is written."""
    return made(a[:4], a[4], a[5], kept="i", new="f")


@lstm_step.mistake("the cell is let out without a tanh")
def not_squashed(*a: Array) -> Results:
    """h = o * tanh(c): the cell may grow, and what is seen of it stays between -1 and 1."""
    return made(a[:4], a[4], a[5], squash=False)


@lstm_step.mistake("the cell is squashed where it is kept")
def squashed_cell(*a: Array) -> Results:
    """tanh(c) is for what goes out; a cell that is squashed at every step forgets."""
    h, c = made(a[:4], a[4], a[5])
    return h, np.tanh(c)
