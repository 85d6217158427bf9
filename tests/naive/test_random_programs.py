"""Random programs: the engine's gradients against a naive tape, entry by entry, and against exact directional steps."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

import tinygrad_rnn as tg
from tests.naive.naive_tape import FORWARD, NaiveTape
from tests.support.measured import measured
from tests.support.profiles import examples
from tests.support.wrong import times
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing import CheckFailed, Program, assert_gradients, assert_program, programs
from tinygrad_rnn.testing.random_programs.moves import MOVES

TITLE = "random programs"
KNOWN = sorted(set(MOVES) & set(FORWARD))


def naive_gradients(program: Program, seeds: list[np.ndarray]) -> list[np.ndarray]:
    tape = NaiveTape()
    numbers = [tape.leaf(a) for a in program.inputs]
    for step in program.steps:
        numbers.append(tape.apply(step.name, *[numbers[k] for k in step.args], **step.params))
    totals = [np.zeros(a.shape) for a in program.inputs]
    for output, seed in zip(program.outputs, seeds, strict=True):
        found = tape.gradients(numbers[output], seed)
        totals = [total + found.get(n, 0.0) for total, n in zip(totals, numbers, strict=False)]
    return totals


def test_engine_and_naive_tape_agree_on_every_entry(record_property: Callable[[str, Any], None]) -> None:
    """Both sum the same products in another order: 1e-12 of the largest, times what cancels in 30 steps."""
    ran, steps, longest, worst = 0, 0, 0, 0.0

    @settings(max_examples=examples(150, 10_000))
    @given(programs(only=KNOWN))
    def race(program: Program) -> None:
        nonlocal ran, steps, longest, worst
        leaves = program.tensors()
        rng = np.random.default_rng(0)
        outputs = program(*leaves)
        seeds = [rng.standard_normal(y.shape) for y in outputs]
        tg.autograd.backward(list(outputs), [tg.tensor(s, dtype=tg.float64) for s in seeds])
        for leaf, expected in zip(leaves, naive_gradients(program, seeds), strict=True):
            found = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            scale = np.abs(expected).max(initial=1.0)
            worst = max(worst, float(np.abs(found - expected).max(initial=0.0) / scale))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * scale)
        ran, steps, longest = ran + 1, steps + len(program.steps), max(longest, len(program.steps))

    race()
    measured(record_property, TITLE, _row("the naive tape, every entry", ran, steps, longest, worst))
    assert longest >= 15


def test_directional_derivatives_are_exact(record_property: Callable[[str, Any], None]) -> None:
    """Against complex steps through formulas of their own, exact to rounding."""
    ran, steps, longest, worst = 0, 0, 0, 0.0

    @settings(max_examples=examples(150, 10_000))
    @given(programs())
    def check(program: Program) -> None:
        nonlocal ran, steps, longest, worst
        worst = max(worst, assert_program(program).worst)
        ran, steps, longest = ran + 1, steps + len(program.steps), max(longest, len(program.steps))

    check()
    measured(record_property, TITLE, _row("complex steps, a random direction", ran, steps, longest, worst))
    assert longest >= 15


def _row(against: str, ran: int, steps: int, longest: int, worst: float) -> dict[str, Any]:
    row = {"against": against, "programs": ran, "mean steps": f"{steps / ran:.1f}", "most steps": longest}
    return {**row, "worst relative error": worst}


SMOOTH = ["neg", "exp", "tanh", "square", "add", "sub", "mul", "div", "log", "sqrt", "sum", "mean", "matmul", "softmax"]
SMOOTH += ["reshape", "permute", "getitem", "gather", "place", "cat", "stack", "broadcast_to", "sum_to", "linear"]


@settings(max_examples=examples(25, 1000))
@given(programs(only=SMOOTH, max_steps=8))
def test_second_order_gradients_of_programs_are_right(program: Program) -> None:
    assert_gradients(program, program.tensors(), order=2, rtol=1e-6)


@settings(max_examples=examples(25, 500))
@given(programs(max_steps=12))
def test_a_program_prints_as_python_that_computes_the_same(program: Program) -> None:
    def tensor(values: Any, **_: Any) -> np.ndarray:
        return np.array(values)

    names: dict[str, Any] = {name: REGISTRY[name].apply for name in MOVES if name in REGISTRY}
    names.update(tensor=tensor, array=np.array, float64=np.float64)
    header, *lines, footer = repr(program).splitlines()
    assert header == f"Program of {len(program.steps)} steps" and footer == f"outputs: {program.outputs}"
    exec("\n".join(lines), names)
    for k, value in enumerate(program.values(*program.inputs)):
        np.testing.assert_array_equal(names[f"v{k}"], value)


@pytest.mark.parametrize(
    "name",
    ["tanh", "mul", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("amax", "getitem", "softmax"))],
)
def test_a_failing_program_shrinks_to_the_one_step_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = REGISTRY[name].vjps
    monkeypatch.setattr(REGISTRY[name], "vjps", tuple(times(vjp, 1.001) for vjp in right))

    def fails(program: Program) -> bool:
        try:
            assert_program(program)
        except CheckFailed:
            return True
        return False

    quiet = settings(
        max_examples=1000,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    for seed in range(5):  # what is drawn, and so the way down, depends on the modules that are loaded
        smallest = find(programs(), fails, settings=quiet, random=Random(seed))
        if len(smallest.steps) == 1:
            break
    assert [step.name for step in smallest.steps] == [name]
    with pytest.raises(CheckFailed, match=rf"the error first appears in record 0 of 1, {name}\("):
        assert_program(smallest)
