"""The formulas that primitives declare: one for each, written alike, and saying what the code does.

An evaluator (``tests/support/formulas``) parses them, and compares both sides of every equation with what the primitive
and its sweep computed for sample calls, and for calls at kinks, ties and bounds.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.support.formulas.agreement import agreement, parsed
from tests.support.formulas.evaluate import Disagreement
from tests.support.formulas.latex import COMMANDS, Unreadable, tokens
from tests.support.formulas.layouts import Run, run
from tests.support.formulas.mutants import mutants
from tests.support.primitives import CHECKED, PARTS, REGISTRY, SAMPLED
from tests.support.profiles import examples
from tinygrad_rnn.kernels.recurrent.interface import Options
from tinygrad_rnn.ops.recurrent import cells, sequence
from tinygrad_rnn.tape.formula import SYMBOLS, Formula, bar, sides, symbol
from tinygrad_rnn.tape.primitive import Primitive
from tinygrad_rnn.testing import Call, samples

DECLARED = sorted({*CHECKED, *PARTS})
"""Every row of the registry that the package makes."""

NOT_EVALUATED = {
    "move": "it needs two devices",
    "output": "it marks an output of another primitive, and is not applied",
}
"""Rows whose formulas are read, and not compared with numbers.  This list is to become shorter, never longer."""

SAID_ELSEWHERE: dict[str, Callable[..., Any]] = {
    **{name: getattr(cells, name) for name in ("rnn_cell", "lstm_cell", "gru_cell")},
    **{name: getattr(sequence, f"{name}_sequence") for name in ("rnn", "lstm", "gru")},
}
"""Fused ones that take arguments in groups, and the functions that name these."""

every = pytest.mark.parametrize("name", DECLARED)
evaluated = pytest.mark.parametrize("name", sorted(set(DECLARED) - set(NOT_EVALUATED)))


def formula_of(name: str) -> Formula:
    found = REGISTRY[name].formula
    assert found is not None, f"declare a formula= with primitive {name!r}: see docs/conventions.md"
    return found


# as they are written -------------------------------------------------------------------------------------------------


@every
def test_every_primitive_has_a_formula_with_a_vjp_for_each_of_its_arguments(name: str) -> None:
    formula, p = formula_of(name), REGISTRY[name]
    assert formula.arguments == declared_arguments(p)
    if p.vjps:
        assert [text is None for text in formula.vjps.values()] == [vjp is None for vjp in p.vjps]


def declared_arguments(p: Primitive) -> tuple[str, ...]:
    """The names of the arguments, from the vjps, or from what a fused primitive fuses."""
    if p.name in SAID_ELSEWHERE:
        names = tuple(inspect.signature(SAID_ELSEWHERE[p.name]).parameters)
        return names[: len(formula_of(p.name).arguments)]
    if p.vjps:
        vjp = next(vjp for vjp in p.vjps if vjp is not None)
        return tuple(inspect.signature(vjp).parameters)[2 : 2 + len(p.vjps)]
    assert p.raw_vjp_all is not None
    names = tuple(inspect.signature(p.raw_vjp_all).parameters)
    return names[2 : names.index("needs")]


@every
def test_symbols_are_letters_and_differ(name: str) -> None:
    written = [symbol(argument) for argument in formula_of(name).arguments]
    assert len(set(written)) == len(written)
    assert [a for a in formula_of(name).arguments if len(a) > 1 and a not in SYMBOLS] == []


@every
def test_the_latex_is_balanced_and_of_the_known_commands(name: str) -> None:
    formula = formula_of(name)
    for text in (formula.value, *filter(None, [formula.inner, *formula.vjps.values()])):
        found = tokens(text.replace("aligned", "").replace("&", ""))
        commands = {token[1:] for token in found if token[:1] == "\\" and token != "\\\\"}
        assert commands <= COMMANDS, f"{commands - COMMANDS} in {text}"
        depth = []
        for token in found:
            if token in ("{", "(", "[", r"\begin", r"\lfloor", r"\lceil"):
                depth.append(token)
            elif token in CLOSES:
                assert depth.pop() == CLOSES[token], text
        assert depth == [], text


CLOSES = {"}": "{", ")": "(", "]": "[", r"\end": r"\begin", r"\rfloor": r"\lfloor", r"\rceil": r"\lceil"}


@every
def test_the_left_sides_are_the_output_and_the_cotangents_of_the_arguments(name: str) -> None:
    formula = formula_of(name)
    parsed(formula)
    left, _ = sides(formula.value)
    assert left == "" or left.partition("_")[0] == "y"
    for argument, text in formula.vjps.items():
        if text is not None:
            assert sides(text)[0].startswith(bar(symbol(argument))), text


def test_the_lists_name_what_exists() -> None:
    assert sorted(set(NOT_EVALUATED) - set(DECLARED)) == []
    assert len(NOT_EVALUATED) <= 2, "a formula that cannot be evaluated: teach the evaluator"
    assert {"move", *SAMPLED} == set(CHECKED)


# as numbers ----------------------------------------------------------------------------------------------------------

GRID = np.array([-30.0, -7.0, -3.5, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 3.5, 7.0, 30.0])
PAIR = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
TIES = np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]])


def of(*args: Any, **params: Any) -> Call:
    return Call(tuple(np.array(a, float) if isinstance(a, (list, float)) else a for a in args), params)


def _recurrent(gates: int, states: int, **params: Any) -> Call:
    """A layer with two sequences of three steps; a projection (P = 1) if it has two states."""
    rng = np.random.default_rng(5)
    size, out = 2, 1 if states == 2 else 2
    shapes = [(3, 2, 2), (2, out), *[(2, size)] * (states - 1), (gates * size, 2), (gates * size, out)]
    shapes += [(gates * size,)] * 2 + ([(out, size)] if states == 2 else [])
    return Call(tuple(rng.uniform(-1, 1, shape) for shape in shapes), params)


EDGES: dict[str, list[Call]] = {
    **{name: [of(GRID)] for name in ("relu", "abs", "sign", "log_sigmoid", "hardsigmoid", "hardswish", "sigmoid")},
    **{name: [of(GRID)] for name in ("tanh", "floor", "ceil", "trunc", "frac", "silu", "gelu", "erf", "squared_error")},
    **{name: [of(GRID, width=0.5)] for name in ("hardshrink", "softshrink")},
    **{name: [of(*PAIR)] for name in ("maximum", "minimum")},
    "amax": [of(TIES, axes=(1,), keepdims=False)],
    "amin": [of(-TIES, axes=(1,), keepdims=False)],
    **{name: [of([1.0, 4.0], [[2.0, 2.0], [3.0, 3.0]])] for name in ("fmod", "remainder")},
    "median": [of(TIES)],
    "flip": [of(TIES, dims=(1,)), of(TIES, dims=(0, 1))],
    "round": [of([0.14, 0.25, 1.36], decimals=1), of([13.0, 26.0], decimals=-1)],
    "root": [of([0.0, 1.0, 4.0])],
    **{
        name: [of([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], [[0.0, -1.0, -0.5, 0.5, 3.0, 2.0, -2.0]] * 2)]
        for name in ("xlogy", "xlog1py")
    },
    **{name: [of([[2.0], [3.0]], [1.0, 2.5, 4.0]), of([2.0, 3.0], 1.5)] for name in ("igamma", "igammac", "zeta")},
    "pow_number": [of([0.0, 1.0, 2.0], exponent=n) for n in (0, 1, 2)],
    "pow": [of([0.0, 0.0, 0.0, 2.0, 3.0], [0.0, 2.0, -1.0, 0.0, -2.0])],
    "clamp_number": [of(GRID, low=-1.0, high=2.0), of(GRID, low=None, high=0.5), of(GRID, low=2.0, high=-1.0)],
    "clamp": [
        of(GRID[:, None], [-1.0, 2.0, 0.0], [2.0, -1.0, 0.0]),
        of(GRID[:, None], [-1.0, 2.0], None),
        of(GRID, None, 1.5),
    ],
    "clip_open": [of(GRID, low=-1.0, high=2.0)],
    "threshold": [of(GRID, bound=0.5, value=-2.0)],
    "leaky_relu": [of(GRID, slope=0.25)],
    "prelu": [of(GRID, 0.25), of(TIES - 1, [0.5, 0.25, -1.0])],
    "elu": [of(GRID, alpha=1.5, scale=2.0, rate=0.5)],
    "softplus": [of(GRID, beta=2.0, threshold=5.0)],
    "huber": [of(GRID, delta=1.5)],
    "smooth_l1": [of(GRID, beta=1.5)],
    "binary_cross_entropy": [of([0.0, 1.0, 0.0, 1.0, 0.5], [1.0, 0.0, 0.25, 0.5, 0.5])],
    "getitem": [of([1.0, 2.0, 3.0], index=np.array([0, 2, 2]))],
    "setitem": [
        of([1.0, 2.0, 3.0, 4.0], [5.0, 6.0], index=slice(1, 3), last=None),
        of([[1.0, 2.0], [3.0, 4.0]], [5.0], index=1, last=None),
    ],
    "embedding": [of([[1.0], [2.0], [3.0]], index=np.array([0, 2, 2, 1]), padding_idx=1)],
    "diagonal": [of(TIES, offset=n, dim1=0, dim2=1) for n in (-1, 1, 2)],
    "diag_embed": [
        of([1.0, 2.0], shape=(2, 3), offset=1, dim1=0, dim2=1),
        of([1.0], shape=(2, 3), offset=-1, dim1=0, dim2=1),
    ],
    "unfold": [of(GRID, dim=0, size=3, step=2)],
    "fold": [of(GRID[:12].reshape(4, 3), shape=(9,), dim=0, size=3, step=2)],
    "matmul": [of(np.arange(12.0).reshape(2, 2, 3), TIES.T), of(TIES, np.arange(12.0).reshape(2, 3, 2))],
    "layer_norm": [of(TIES, [1.0, 2.0, 3.0], [0.5, 1.0, 1.5], count=1, eps=0.5)],
    "rnn": [_recurrent(1, 1, options=Options(nonlinearity=f)) for f in ("tanh", "relu")],
    "lstm": [_recurrent(4, 2, options=Options())],
    "gru": [_recurrent(3, 1, options=Options(reverse=True))],
}
"""Calls at kinks, ties and bounds, and of kinds that are rare among the samples."""


@functools.cache
def runs_of(name: str) -> list[Run]:
    """Calls that were made and swept back, with cotangents drawn anew for each.

    What is drawn is the same in every run of the same sources alone: hypothesis mixes in the constants that it finds in
    them.  So what a formula is decided by must be among the calls of EDGES.
    """
    made: list[Run] = []
    rng = np.random.default_rng(3)

    @settings(max_examples=examples(ci=12, thorough=100), database=None, derandomize=True)
    @given(samples(name))
    def draw(call: Call) -> None:
        made.append(run(name, formula_of(name).arguments, call, rng))

    draw()
    return made + [run(name, formula_of(name).arguments, call, rng) for call in EDGES.get(name, [])]


@evaluated
def test_formulas_say_what_the_code_computes(name: str) -> None:
    formula = formula_of(name)
    largest: dict[str, float] = {}
    for made in runs_of(name):
        for part, size in agreement(parsed(formula), made).items():
            largest[part] = max(size, largest.get(part, 0.0))
    wanted = ["", *[argument for argument, text in formula.vjps.items() if text and sides(text)[1] != "0"]]
    assert [part for part in wanted if largest.get(part, 0.0) < 0.01] == [], "nothing to speak of was compared"


@evaluated
def test_every_mistake_planted_in_a_formula_is_found(name: str) -> None:
    """A sign, a factor, a transposition, a sum, a case, a number: one at a time, in every place."""
    missed = []
    for mistake, wrong in mutants(parsed(formula_of(name))):
        try:
            for made in reversed(runs_of(name)):
                agreement(wrong, made)
        except (Disagreement, Unreadable, ValueError, ZeroDivisionError, IndexError):  # or it makes no sense at all
            continue
        missed.append(mistake)
    assert missed == []


@pytest.mark.parametrize(
    ("name", "argument", "text"),
    [
        ("tanh", "a", r"\bar{y} \odot (1 - a^2)"),  # a for y
        ("tanh", "a", r"1 - y^2"),  # no cotangent
        ("mul", "a", r"\bar{y} \odot b"),  # not summed over the axes that were broadcast
        ("mul", "a", r"\operatorname{sum}_{a}(\bar{y} b)"),  # a product of matrices
        ("sub", "b", r"\operatorname{sum}_{b}(\bar{y})"),
        ("matmul", "a", r"\operatorname{sum}_{a}(b^\top \bar{y})"),  # the order
        ("linear", "weight", r"x^\top \bar{y}"),  # transposed
        ("mean", "a", r"\bar{a}_{ik} = \bar{y}_{i}"),  # 1/n missing
        ("softmax", "a", r"\bar{a}_{ik} = y_{ik} \bar{y}_{ik}"),  # the diagonal alone
        ("cumsum", "a", r"\bar{a}_{ik} = \sum_{l \le k} \bar{y}_{il}"),  # the direction
        ("getitem", "a", r"\bar{a}_{\iota(i)} = \bar{y}_{i}"),  # a place named twice counts once
        ("lstm", "weight_hh", r"\sum_{t} \bar{a}_{t}^\top h_{t}"),  # h_t for h_{t-1}
        ("lstm", "c0", r"\bar{c}_{1}"),  # the forget gate
        ("exp", "a", r"\bar{a}"),  # says nothing
        ("add", "a", r"\bar{b}"),  # what is not known either
    ],
)
def test_mistakes_that_people_make_are_found(name: str, argument: str, text: str) -> None:
    right = parsed(formula_of(name))
    wrong = parsed(Formula("0", **{argument: text})).vjps[argument]
    with pytest.raises((Disagreement, Unreadable, ValueError)):
        for made in runs_of(name):
            agreement(right._replace(vjps={**right.vjps, argument: wrong}), made)


@pytest.mark.parametrize(
    "text", [r"\frac{a}", r"a \odot", "(a", "a_{i", r"\mathrm{f}(a)", r"\operatorname{f}(a)", "a $ b", "a)", "|a"]
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parsed(Formula(text, a="0"))
