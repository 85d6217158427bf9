"""Random cells: equations drawn from the primitives, with masks and emitted values; compiled, they are the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.ops.compiler.cells import Cell, weights
from tests.ops.compiler.sequences import MODES, check, numba_kernel, numpy_kernel
from tests.ops.compiler.test_program import ROWS, compiled, composed
from tests.ops.compiler.test_reference import of_program, second_order
from tests.support.profiles import examples
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.ops.compiler.replay import backward, forward
from tinygrad_rnn.ops.compiler.trace import Mask
from tinygrad_rnn.ops.linalg import linear
from tinygrad_rnn.tape.primitive import REGISTRY

SIZE, HIDDEN, STEPS = 3, 4, 3


def inner(a: Any) -> Any:
    """Between 0.15 and 0.95, where every function of ``FUNCTIONS`` is smooth."""
    return 0.55 + 0.4 * tg.tanh(a)


FUNCTIONS = list("sigmoid tanh exp exp2 expm1 log log10 log1p log2 sqrt rsqrt reciprocal square".split())
FUNCTIONS += "sin cos tan sinh cosh asin acos atan asinh atanh abs neg relu sign floor ceil trunc frac clone".split()
PAIRS = ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "atan2", "hypot", "logaddexp"]


def _of(name: str) -> Callable[..., Any]:
    return lambda *args: REGISTRY[name].apply(*[inner(a) for a in args])


ONE: dict[str, Callable[[Any], Any]] = {
    **{name: _of(name) for name in FUNCTIONS},
    "plain tanh": tg.tanh,
    "squared": lambda a: a * a,
    "complement": lambda a: 1 - a,
    "scaled": lambda a: 0.5 * a,
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
    "without history": lambda a: 0.5 * a.detach() * a,
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    **{name: _of(name) for name in PAIRS},
    "sum": lambda a, b: a + b,
    "difference": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "mixture": lambda a, b: (1 - tg.sigmoid(a)) * b + tg.sigmoid(a) * a,
    "quotient": lambda a, b: a / (1 + b * b),
    "joined halves": lambda a, b: tg.cat([a[:, : HIDDEN // 2], b[:, HIDDEN // 2 :]], -1),
}
WITH: dict[str, Callable[[Any, Any], Any]] = {
    "vector": lambda a, p: a * p["v"],
    "function of a vector": lambda a, p: a + tg.tanh(p["v"]),
    "gate of a row": lambda a, p: a * tg.sigmoid(a @ p["v"])[:, None],
    "linear": lambda a, p: linear(a, p["W"], p["v"]),
    "matmul": lambda a, p: a @ p["W"],
    "two gates": lambda a, p: (lambda both: both[:, :HIDDEN].sigmoid() * both[:, HIDDEN:])(linear(a, p["two"])),
    "joined product": lambda a, p: linear(tg.cat([a, tg.tanh(a)], 1), p["wide"]),
}
MASKED: dict[str, Callable[..., Any]] = {
    "dropped": lambda a, b, drop, keep, noise, row: a * drop,
    "kept": lambda a, b, drop, keep, noise, row: tg.where(keep, a, b),
    "noise of a sequence": lambda a, b, drop, keep, noise, row: a * noise,
    "a number of a sequence": lambda a, b, drop, keep, noise, row: a + 0.3 * row * b,
}
MASKS: dict[str, Any] = {
    "step_masks": (Mask(HIDDEN), Mask(HIDDEN, True)),
    "sequence_masks": (Mask(HIDDEN), Mask(1)),
}
Move = tuple[str, int, int]
MOVES = st.tuples(st.sampled_from([*ONE, *TWO, *[*WITH, *MASKED] * 3]), st.integers(0, 99), st.integers(0, 99))


def cell_of(moves: list[Move], ends: tuple[int, int], emitted: Sequence[int] = (), frozen: Sequence[str] = ()) -> Cell:
    """The cell that makes these moves, each of values that are there, and ends with two of them."""
    p = weights(V=(HIDDEN, SIZE), W=(HIDDEN, HIDDEN), v=(HIDDEN,), two=(2 * HIDDEN, HIDDEN), wide=(HIDDEN, 2 * HIDDEN))
    for name in frozen:
        p[name].requires_grad = False

    def step(x: Any, s: Any, *masks: Any) -> Any:
        known = [linear(x, p["V"]), *s]
        for name, i, j in moves:
            a, b = known[-1 - i % len(known)], known[-1 - j % len(known)]
            if name in MASKED:
                known.append(MASKED[name](a, b, *masks))
            else:
                known.append(ONE[name](a) if name in ONE else TWO[name](a, b) if name in TWO else WITH[name](a, p))
        return (*[tg.tanh(known[-1 - k % len(known)]) for k in ends], *[known[-1 - k % len(known)] for k in emitted])

    return Cell(p, step, (HIDDEN, HIDDEN), (HIDDEN,) * len(emitted), **MASKS)


@st.composite
def cells(draw: st.DrawFn, most: int = 12) -> Cell:
    """A cell of two states that emits up to two values."""
    moves: list[Move] = draw(st.lists(MOVES, min_size=1, max_size=most))
    ends = draw(st.tuples(st.integers(0, 99), st.integers(0, 99)))
    emitted = draw(st.lists(st.integers(0, 99), max_size=2))
    names = sorted(["V", "W", "v", "two", "wide"])
    return cell_of(moves, ends, emitted, draw(st.lists(st.sampled_from(names), max_size=2)))


def agree(found: list[Any], expected: list[Any], rtol: float = 1e-11, atol: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        if other is None or one is None:
            assert one is None or not one.any()
            assert other is None or not other.any()
        else:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol * max(1.0, np.abs(other).max()))


@settings(max_examples=examples(40, 2000), deadline=None)
@given(c=cells())
def test_a_program_of_a_random_step_is_that_step(c: Cell) -> None:
    program = compiled(c, SIZE)
    random = np.random.default_rng(1)
    x = random.normal(size=(STEPS, ROWS, SIZE))
    states = [random.normal(size=(ROWS, HIDDEN)) for _ in range(2)]
    gs = [random.normal(size=(STEPS, ROWS, w)) for w in (*c.widths, *c.emitted)]
    of_steps, of_sequences = c.masks(random, STEPS * ROWS, ROWS)
    masks = {"step_masks": [m.reshape(STEPS, ROWS, -1) for m in of_steps], "sequence_masks": of_sequences}
    expected, gradients = composed(c, x, states, gs, **masks)
    assume(all(np.abs(a).max() < 1e3 for a in [*expected, *[g for g in gradients if g is not None]]))
    after, kept = forward(program, x, states, c.parameters, **masks)
    dx, of_states, of_parameters = backward(program, kept, gs, c.parameters)
    wanted = [of_parameters.get(name) for name, p in c.parameters.items() if p.requires_grad]
    agree([*after, dx, *of_states, *wanted], [*expected, *gradients])


@settings(max_examples=examples(20, 2000), deadline=None)
@given(c=cells(), rows=st.integers(1, 3))
def test_the_reference_of_a_random_step_is_that_step_at_two_orders(c: Cell, rows: int) -> None:
    expected = second_order(c, c.step, rows, SIZE)
    assume(all(np.abs(a).max() < 1e3 for a in expected if a is not None))
    agree(second_order(c, of_program(c, compiled(c, SIZE)), rows, SIZE), expected, 1e-12)


@settings(max_examples=examples(20, 2000), deadline=None)
@given(c=cells(), mode=st.sampled_from(sorted(MODES)))
def test_the_kernel_of_a_random_step_in_calls_of_numpy_is_that_step(c: Cell, mode: str) -> None:
    check(numpy_kernel, c, SIZE, MODES[mode])


BEFORE = [("function of a vector", 45, 63), ("rectified", 19, 12), ("halves exchanged", 99, 41)]
OVERWRITTEN = [("rectified", 0, 22), ("halves exchanged", 40, 64), ("two gates", 83, 56), ("joined product", 87, 81)]
COLUMN = [("a column", 50, 37), ("two gates", 12, 10), ("vector", 20, 90), ("softmax", 46, 72), ("a column", 90, 48)]
COLUMN += [("scaled", 48, 6), ("a column", 77, 25), ("scaled", 29, 88), ("rectified", 49, 22), ("quotient", 17, 28)]
COLUMN += [("product", 12, 88), ("scaled by its norm", 41, 64)]
TWICE = [("plain tanh", 13, 31), ("function of a vector", 2, 27), ("product", 23, 7), ("a column", 28, 43)]
TWICE += [("shifted", 28, 76), ("two gates", 35, 5), ("plain tanh", 63, 46), ("halves exchanged", 1, 76)]
TWICE += [("a column", 39, 1), ("two gates", 43, 60)]
NUMBER = [("less its maximum", 47, 14), ("difference", 74, 40), ("vector", 65, 40), ("joined halves", 70, 9)]
NUMBER += [("mixture", 16, 58), ("linear", 11, 61), ("squared", 6, 37), ("sum", 67, 33)]
NUMBER += [("function of a vector", 25, 96), ("joined halves", 37, 68), ("sum", 41, 31)]
WRONG_ONCE: dict[str, tuple[list[Move], tuple[int, int], str]] = {
    "states that depend on x alone, packed": (BEFORE, (19, 18), "packed"),
    "blocks of a cotangent that is overwritten as a whole": (OVERWRITTEN, (93, 28), "reverse"),
    "one column of a state that is read after the loop": (COLUMN, (56, 98), "reverse"),
    "the adjoint of two products that is read twice": (TWICE, (3, 0), "forward"),
    "a row of one number, in a cell without vectors": (NUMBER, (95, 57), "packed, reverse"),
}


@pytest.mark.parametrize("what", WRONG_ONCE)
def test_what_was_wrong_once_in_calls_of_numpy_is_right(what: str) -> None:
    moves, ends, mode = WRONG_ONCE[what]
    check(numpy_kernel, cell_of(moves, ends), SIZE, MODES[mode])


@pytest.mark.skipif(not dispatch.numba_installed(), reason="Numba is not installed")
@settings(max_examples=examples(2, 60), deadline=None)
@given(c=cells(most=8), mode=st.sampled_from(sorted(MODES)))
def test_the_compiled_kernel_of_a_random_step_is_that_step(c: Cell, mode: str) -> None:
    check(numba_kernel, c, SIZE, MODES[mode])
