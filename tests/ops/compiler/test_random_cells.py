"""Random cells: equations drawn from elementwise operations, products, slices and joins; programs equal the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.ops.compiler.cells import Cell, weights
from tests.ops.compiler.test_program import ROWS, compiled, composed
from tests.support.profiles import examples
from tinygrad_rnn.ops.compiler.replay import backward, forward
from tinygrad_rnn.ops.linalg import linear

SIZE, HIDDEN = 3, 4
ONE: dict[str, Callable[[Any], Any]] = {
    "tanh": tg.tanh,
    "sigmoid": tg.sigmoid,
    "complement": lambda a: 1 - a,
    "scaled": lambda a: 0.5 * a,
    "negated": lambda a: -a,
    "squared": lambda a: a * a,
    "swish": lambda a: a * tg.sigmoid(a),
    "bounded": lambda a: a / (1 + a * a),
    "bell": lambda a: tg.exp(-a * a),
    "centred": lambda a: a - a.mean(1, keepdim=True),
    "softmax": lambda a: tg.softmax(a, 1),
    "scaled by its norm": lambda a: a / (1 + a.norm(dim=1, keepdim=True)),
    "less its maximum": lambda a: a - a.amax(1, keepdim=True),
    "a column": lambda a: a * a[:, 1][:, None],
    "shifted": lambda a: tg.cat([a[:, 1:], a[:, :1]], 1),
    "rectified": tg.relu,
    "halves exchanged": lambda a: tg.cat([a[:, HIDDEN // 2 :], a[:, : HIDDEN // 2]], 1),
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "mixture": lambda a, b: (1 - tg.sigmoid(a)) * b + tg.sigmoid(a) * a,
    "quotient": lambda a, b: a / (1 + b * b),
    "joined halves": lambda a, b: tg.cat([a[:, : HIDDEN // 2], b[:, HIDDEN // 2 :]], -1),
}
WITH = {
    "vector": lambda a, p: a * p["v"],
    "function of a vector": lambda a, p: a + tg.tanh(p["v"]),
    "gate of a row": lambda a, p: a * tg.sigmoid(a @ p["v"])[:, None],
    "linear": lambda a, p: linear(a, p["W"], p["v"]),
    "matmul": lambda a, p: a @ p["W"],
    "two gates": lambda a, p: (lambda both: both[:, :HIDDEN].sigmoid() * both[:, HIDDEN:])(linear(a, p["two"])),
    "joined product": lambda a, p: linear(tg.cat([a, tg.tanh(a)], 1), p["wide"]),
}
MOVES = st.tuples(st.sampled_from([*ONE, *TWO, *WITH]), st.integers(0, 99), st.integers(0, 99))


@settings(max_examples=examples(40, 2000), deadline=None)
@given(moves=st.lists(MOVES, min_size=1, max_size=12), ends=st.tuples(st.integers(0, 99), st.integers(0, 99)))
def test_a_program_of_a_random_step_is_that_step(moves: list[tuple[str, int, int]], ends: tuple[int, int]) -> None:
    p = weights(V=(HIDDEN, SIZE), W=(HIDDEN, HIDDEN), v=(HIDDEN,), two=(2 * HIDDEN, HIDDEN), wide=(HIDDEN, 2 * HIDDEN))

    def step(x: Any, s: Any) -> Any:
        known = [linear(x, p["V"]), *s]
        for name, i, j in moves:
            a, b = known[-1 - i % len(known)], known[-1 - j % len(known)]
            known.append(ONE[name](a) if name in ONE else TWO[name](a, b) if name in TWO else WITH[name](a, p))
        return tuple([tg.tanh(known[-1 - k % len(known)]) for k in ends])

    c = Cell(p, step, (HIDDEN, HIDDEN))
    program = compiled(c, SIZE)
    random = np.random.default_rng(1)
    x = random.normal(size=(3, ROWS, SIZE))
    states = [random.normal(size=(ROWS, HIDDEN)) for _ in range(2)]
    gs = [random.normal(size=(3, ROWS, HIDDEN)) for _ in range(2)]
    expected, gradients = composed(c, x, states, gs)
    after, kept = forward(program, x, states, p)
    dx, of_states, of_parameters = backward(program, kept, gs, p)
    for one, other in zip([*after, dx, *of_states, *map(of_parameters.get, p)], [*expected, *gradients], strict=True):
        if other is None or one is None:
            assert one is None or not one.any()
            assert other is None or not other.any()
        else:
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(other).max()))
