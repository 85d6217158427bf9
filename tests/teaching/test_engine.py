"""The engine in a hundred lines computes what the engine does, and each of its mutants does not."""

from __future__ import annotations

import ast
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

import tinygrad_rnn as tg
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.teaching import engine
from tinygrad_rnn.teaching.mutants import MUTANTS, Mutant, gradients
from tinygrad_rnn.testing import Program, programs
from tinygrad_rnn.testing.random_programs.program import Step

NAMES = {"add": "add", "mul": "mul", "matmul": "matvec", "tanh": "tanh", "sigmoid": "sigmoid", "exp": "exp"}
NAMES |= {"log": "log", "sum": "total"}
SHAPES = st.sampled_from([(), (3,), (3, 3)])


def reduced(program: Program) -> Program:
    """The program without the steps that the small engine does not have: other shapes, sums along an axis."""
    arrays: list[Any] = list(program.inputs)
    place: dict[int, int] = {k: k for k in range(len(arrays))}
    steps = []
    for number, step in enumerate(program.steps, len(arrays)):
        if all(k in place for k in step.args):
            args = tuple(place[k] for k in step.args)
            shapes = [np.shape(arrays[k]) for k in args]
            fits = shapes == [(3, 3), (3,)] if step.name == "matmul" else len(set(shapes)) == 1
            if step.name == "sum":
                fits = len(step.params["axes"]) == len(shapes[0]) and not step.params["keepdims"]
            if fits:
                place[number] = len(arrays)
                arrays.append(np.asarray(REGISTRY[step.name].apply(*[arrays[k] for k in args], **step.params)))
                steps.append(Step(step.name, args, step.params))
    return Program(program.inputs, steps)


def in_the_engine(program: Program) -> list[Any]:
    inputs = program.tensors()
    sum((y.sum() for y in program(*inputs)), tg.zeros((), dtype=tg.float64)).backward()
    return [t.grad.numpy() for t in inputs]


def in_a_hundred_lines(program: Program) -> list[Any]:
    values = [engine.Value(a.tolist()) for a in program.inputs]
    leaves = list(values)
    for step in program.steps:
        values.append(getattr(engine, NAMES[step.name])(*[values[k] for k in step.args]))
    y = engine.Value(0.0)
    for k in program.outputs:
        y = engine.add(y, engine.total(values[k]))
    engine.backward(y)
    return [leaf.grad for leaf in leaves]


def agree(program: Program) -> None:
    program = reduced(program)
    for small, large in zip(in_a_hundred_lines(program), in_the_engine(program), strict=True):
        np.testing.assert_allclose(small, large, rtol=1e-12, atol=1e-12)


@given(programs(only=list(NAMES), max_inputs=4, max_steps=20, shape=SHAPES))
def test_random_programs_have_the_same_gradients_in_both_engines(program: Program) -> None:
    agree(program)


@pytest.mark.thorough
@settings(max_examples=2000)
@given(programs(only=list(NAMES), max_inputs=4, max_steps=20, shape=SHAPES))
def test_two_thousand_random_programs_have_the_same_gradients_in_both_engines(program: Program) -> None:
    agree(program)


def test_an_rnn_has_the_same_gradients_in_both_engines() -> None:
    rng = np.random.default_rng(0)
    arrays = {"W": rng.standard_normal((3, 3)), "U": rng.standard_normal((3, 2)), "h": np.zeros(3)}
    xs = rng.standard_normal((50, 2))
    small = {name: engine.Value(a.tolist()) for name, a in arrays.items()}
    h = small["h"]
    for x in xs:
        h = engine.tanh(engine.add(engine.matvec(small["W"], h), engine.matvec(small["U"], engine.Value(x.tolist()))))
    engine.backward(engine.total(h))
    large = {name: tg.tensor(a, requires_grad=True) for name, a in arrays.items()}
    state = large["h"]
    for x in xs:
        state = tg.tanh(large["W"] @ state + large["U"] @ tg.tensor(x))
    state.sum().backward()
    for name in arrays:
        np.testing.assert_allclose(small[name].grad, large[name].grad.numpy(), rtol=1e-12, atol=1e-14)


def test_a_sweep_frees_what_it_used_and_says_so() -> None:
    a = engine.Value(2.0)
    y = engine.mul(a, a)
    engine.backward(y, retain=True)
    engine.backward(y)
    assert a.grad == 8.0
    with pytest.raises(RuntimeError, match=r"say backward\(y, retain=True\)"):
        engine.backward(y)


def test_it_has_a_hundred_lines() -> None:
    path = pathlib.Path(engine.__file__)
    text = path.read_text(encoding="utf-8")
    head = ast.parse(text).body[0].end_lineno or 0
    code = [line for line in text.splitlines()[head:] if line.strip() and not line.lstrip().startswith("#")]
    assert len(code) <= 100


# mutants -------------------------------------------------------------------------------------------------------------


class Story(NamedTuple):
    """A program for mutants: a leaf or two, steps, and what happens besides."""

    vectors: bool
    steps: list[tuple[str, int, int]]
    rewritten: bool
    twice: bool

    @property
    def text(self) -> str:
        leaf = "Value([1.0])" if self.vectors else "Value(1.0)"
        lines = [f"v0 = {leaf}", f"v1 = {leaf}"]
        for number, (name, i, j) in enumerate(self.steps, 2):
            i, j = min(i, number - 1), min(j, number - 1)
            lines.append(f"v{number} = {name}(v{i}{f', v{j}' if name in ('add', 'mul') else ''})")
        last = f"v{len(self.steps) + 1}"
        if self.rewritten:
            lines.append("v0.data = " + ("[2.0]" if self.vectors else "2.0"))
        lines.append(f"y = total({last})" if self.vectors else f"y = {last}")
        lines += [*["backward(y, retain=True)"] * self.twice, "backward(y)"]
        return "\n".join(lines)


STORIES = st.builds(
    Story,
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["add", "mul", "tanh"]), st.integers(0, 4), st.integers(0, 4)), max_size=4),
    st.booleans(),
    st.booleans(),
)


def differ(wrong: dict[str, Any], right: dict[str, Any]) -> bool:
    """By more than rounding, as sums are made in another order."""
    if wrong.keys() != right.keys():
        return True
    pairs = [(wrong[name], right[name]) for name in right]
    return not all(a == b or (a and b and np.allclose(a, b, rtol=1e-9, atol=0)) for a, b in pairs)


def smallest(mutant: Mutant) -> Story:
    wrong = mutant.engine
    return find(
        STORIES,
        lambda story: differ(gradients(story.text, wrong), gradients(story.text)),
        settings=settings(max_examples=500, derandomize=True, database=None),
    )


each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])


@each_mutant
def test_a_mutant_gets_its_smallest_program_wrong(mutant: Mutant) -> None:
    assert differ(gradients(mutant.smallest, mutant.engine), gradients(mutant.smallest))
    assert "error" not in gradients(mutant.smallest)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name != "recursive"], ids=lambda mutant: mutant.name)
def test_hypothesis_finds_no_smaller_program(mutant: Mutant) -> None:
    found = smallest(mutant)
    steps = [word for word in ("add(", "mul(", "tanh(", "total(") for _ in range(mutant.smallest.count(word))]
    assert (found.rewritten, found.twice) == (".data = " in mutant.smallest, "retain" in mutant.smallest), found.text
    assert len(found.steps) + found.vectors == len(steps), found.text


def test_the_recursive_one_is_wrong_about_long_programs_alone() -> None:
    mutant = next(m for m in MUTANTS if m.name == "recursive")
    short = mutant.smallest.replace("1000", "100")
    assert not differ(gradients(short, mutant.engine), gradients(short))
    with pytest.raises(NoSuchExample):
        smallest(mutant)


def test_nothing_smaller_is_wrong_in_the_engine_itself() -> None:
    with pytest.raises(NoSuchExample):
        find(
            STORIES,
            lambda story: "error" in gradients(story.text),
            settings=settings(max_examples=300, derandomize=True, database=None),
        )
