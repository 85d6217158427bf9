"""Programs, replayed over sequences: they are the steps that they were made of, in values and all gradients."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, Cell, weights
from tinygrad_rnn.ops.compiler import units
from tinygrad_rnn.ops.compiler.numba_layout import Layout
from tinygrad_rnn.ops.compiler.program import Program, lower
from tinygrad_rnn.ops.compiler.replay import backward, check, forward
from tinygrad_rnn.ops.compiler.trace import Refused, Trace, trace
from tinygrad_rnn.ops.recurrent.cells import lstm_cell
from tinygrad_rnn.tape.modes import quietly

STEPS, ROWS = 4, 3


def compiled(c: Cell, size: int) -> Program:
    return traced(c, size)[0]


def traced(c: Cell, size: int) -> tuple[Program, Trace]:
    one, other = trace(
        c.step,
        size,
        c.widths,
        c.parameters,
        emitted=len(c.emitted),
        step_masks=c.step_masks,
        sequence_masks=c.sequence_masks,
    )
    program = lower(one)
    check(program, one)
    check(program, other)
    return program, one


def composed(
    c: Cell, x: Any, states: Any, gs: Any, step_masks: Any = (), sequence_masks: Any = ()
) -> tuple[list[Any], list[Any]]:
    """What each step gives, and the gradients of x, of the first states and of the parameters."""
    x = tg.tensor(x, requires_grad=True)
    first = [tg.tensor(s, requires_grad=True) for s in states]
    now: Any = tuple(first)
    steps = []
    for t in range(len(x)):
        masks = [tg.tensor(m) for m in [*[m[t] for m in step_masks], *sequence_masks]]
        now = c.step(x[t], now[: len(states)], *masks)
        now = (now,) if isinstance(now, tg.Tensor) else tuple(now)
        steps.append(now)
    tables = [tg.stack([s[k] for s in steps]) for k in range(len(gs))]
    loss = sum((table * tg.tensor(g)).sum() for table, g in zip(tables, gs, strict=True))
    leaves = [x, *first, *[p for p in c.parameters.values() if p.requires_grad]]
    found = tg.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=False)
    return [table.detach().numpy() for table in tables], [None if g is None else g.numpy() for g in found]


@pytest.mark.parametrize("size, hidden", [(5, 6), (3, 1), (4, 4)])
@pytest.mark.parametrize("name", CELLS)
def test_a_program_is_the_step_over_a_sequence_with_all_gradients(name: str, size: int, hidden: int) -> None:
    c = CELLS[name](size, hidden)
    program = compiled(c, size)
    random = np.random.default_rng(1)
    x = random.normal(size=(STEPS, ROWS, size))
    states = [random.normal(size=(ROWS, w)) for w in c.widths]
    gs = [random.normal(size=(STEPS, ROWS, w)) for w in (*c.widths, *c.emitted)]
    of_steps, of_sequences = c.masks(random, STEPS * ROWS, ROWS)
    masks = {"step_masks": [m.reshape(STEPS, ROWS, -1) for m in of_steps], "sequence_masks": of_sequences}
    expected, gradients = composed(c, x, states, gs, **masks)
    after, kept = forward(program, x, states, c.parameters, **masks)
    dx, of_states, of_parameters = backward(program, kept, gs, c.parameters)
    names = [k for k, p in c.parameters.items() if p.requires_grad]
    found = [dx, *of_states, *[of_parameters.get(k) for k in names]]
    for one, other in zip(after, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    for what, one, other in zip(["x", *map(str, c.widths), *names], found, gradients, strict=True):
        if other is None:
            assert one is None or not one.any(), what
        else:
            assert one is not None, what
            scale = max(1.0, np.abs(other).max())
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * scale, err_msg=what)


# what a program is ---------------------------------------------------------------------------------------------------


def lowered(name: str, size: int = 5, hidden: int = 6) -> Program:
    return compiled(CELLS[name](size, hidden), size)


def test_eight_linears_are_two_products() -> None:
    program = lowered("eight Linears")
    assert sorted(len(g.products) for g in program.groups) == [4, 4]
    assert [p.source for p in program.products].count("state") == 4


def test_a_product_of_joined_operands_is_one_of_each() -> None:
    first, second, third = lowered("Sequential of joined inputs").products
    assert (first.source, second.source, third.source) == ("input", "state", "computed")
    assert (first.part, second.part) == ((0, 5), (5, 11)) and first.weight == second.weight
    assert first.hoisted and not second.hoisted


def test_an_lstm_keeps_its_gates_and_the_tanh_which_is_a_quotient() -> None:
    program = lowered("lstm")
    assert sorted(e.op for e in program.kept) == ["sigmoid"] * 3 + ["tanh"] * 2
    ((number, (state, lo, gate)),) = program.quotients.items()
    assert (state, lo, gate.op) == (0, 0, "sigmoid") and number in {e.number for e in program.kept}
    assert program.products[0].blocks == ((0, 6), (6, 12), (12, 18), (18, 24))


def test_a_gru_keeps_one_sum_of_its_product_as_it_is() -> None:
    kept = sorted(e.op for e in lowered("gru").kept)
    assert kept == ["add", "sigmoid", "sigmoid", "tanh"]


def test_products_that_are_only_summed_share_a_slot() -> None:
    for name in ("lstm", "eight Linears"):
        assert [(len(s.products), len(s.vectors), s.width) for s in lowered(name).slots] == [
            (2, 2 if name == "lstm" else 1, 6)
        ] * 4
    # of the GRU's candidate one product is gated before the sum
    assert sorted(len(s.products) for s in lowered("gru").slots) == [1, 1, 2, 2]


@pytest.mark.parametrize("name", CELLS)
def test_each_column_that_is_read_is_in_one_slot_with_one_cotangent(name: str) -> None:
    program = lowered(name)
    roots = [*program.forward_roots(), *program.backward_roots()]
    read = {e.at for e in units.walk(roots) if e.op == "product"}
    parts = [part for s in program.slots for part in s.products]
    assert len(parts) == len(set(parts)) and set(parts) == read
    for s in program.slots:
        for number, lo in s.products:
            p = program.products[number]
            gradients = dict(zip([start for start, _ in p.blocks], p.gradient or (), strict=bool(p.gradient)))
            assert gradients.get(lo) is s.gradient
        assert {e.at for e in units.walk([s.expr]) if e.op == "vector"} == set(s.vectors)
    of_input = [any(program.products[n].source == "input" for n, _ in s.products) for s in program.slots]
    assert of_input == sorted(of_input, reverse=True)


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_x_is_one_product_for_each_product_of_x_and_a_rest(name: str) -> None:
    program = lowered(name)
    found, rests = Layout(program).direct(program.input_gradient, program.input_blocks, "x")
    of_input = set(found)
    assert all(program.products[number].source == "input" for number in of_input)
    if name != "a_gate_for_all_units":  # in which the adjoint of x @ u is g * u, and no product
        assert len(of_input) == sum(p.source == "input" and p.gradient is not None for p in program.products)
    for e, rest, (lo, _) in zip(
        program.input_gradient or (),
        rests,
        program.input_blocks,
        strict=program.input_gradient is not None,
    ):
        terms = [e]
        while any(t.op == "add" for t in terms):
            terms = [a for t in terms for a in (t.args if t.op == "add" else (t,))]
        adjoints = [t.at for t in terms if t.op == "adjoint" and t.at[0] in of_input]
        assert sorted(adjoints) == [(number, lo) for number in sorted(of_input)]
        assert (not rest) == (len(adjoints) == len(terms))
        assert not any(a.op == "adjoint" and a.at[0] in of_input for a in units.walk(rest))


def test_a_sum_that_is_read_in_part_is_two_slots() -> None:
    p = weights(W=(6, 5), U=(6, 6))

    def step(x: Any, s: Any) -> Any:
        a, b = x @ p["W"].T, s[0] @ p["U"]
        return tg.tanh(a + b) * tg.sigmoid(a)

    assert [len(s.products) for s in compiled(Cell(p, step, (6,)), 5).slots] == [1, 1]


def test_what_depends_on_parameters_alone_is_computed_before() -> None:
    program = lowered("antisymmetric")
    assert "sub" in [v.operation for v in program.prelude.values]
    assert all(e.depends > 0 for e in program.forward_roots())
    assert len(lowered("states_of_two_widths").vectors) > 1


def test_stages_count_products_of_computed_values_and_sums_over_rows() -> None:
    assert {s for s, _ in lowered("recurrent_highway").stages.values()} == {0, 1}
    assert {s for s, _ in lowered("lstm").stages.values()} == {0} == {p for _, p in lowered("lstm").stages.values()}
    assert {p for _, p in lowered("LayerNorm").stages.values()} == {0, 1, 2}


def test_the_equations_can_be_read() -> None:
    text = str(lowered("gru"))
    assert "sigmoid(" in text and "adjoint[" in text and len(text.splitlines()) < 60


def test_single_precision_is_single_throughout() -> None:
    p = {k: w.detach().float().requires_grad_() for k, w in CELLS["lstm"](5, 6).parameters.items()}
    step = lambda x, s: lstm_cell(x, *s, **p)  # noqa: E731
    one, other = trace(step, 5, (6, 6), p, np.float32)
    program = lower(one)
    check(program, one)
    check(program, other)
    (h, _), _ = forward(program, np.ones((2, 3, 5), np.float32), [np.zeros((3, 6), np.float32)] * 2, p)
    assert h.dtype == np.float32


# what is refused -----------------------------------------------------------------------------------------------------

H = 4
W = weights(matrix=(H, H), vector=(H,), stack=(2, H, H))


def behind(x: Any, s: Any) -> Any:
    """Memory that is written through NumPy, of which no operation tells."""
    s[0]._data[...] *= 1.5
    return s[0] * 2


def behind_later(x: Any, s: Any) -> Any:
    a = s[0] * 2
    a._data[...] += 1
    return a * x


REFUSED: dict[str, tuple[Any, str]] = {
    "some sequences": (lambda x, s: s[0] - s[0][:1], "it takes some sequences of the batch"),
    "one sequence": (lambda x, s: s[0] - s[0][0], "an index that is no slice"),
    "every second unit": (lambda x, s: tg.cat([s[0][:, ::2], s[0][:, 1::2]], 1), "leaves columns out in between"),
    "a sum over the batch": (lambda x, s: s[0] - s[0].sum(0), r"sum\(\) over the batch"),
    "a maximum over the batch": (lambda x, s: s[0] - s[0].detach().amax(0), r"amax\(\) over the batch"),
    "softmax over the batch": (lambda x, s: tg.softmax(s[0], 0), "over the batch"),
    "fast weights": (lambda x, s: (s[0] @ s[0].T) @ s[0], "a product of two values that both change"),
    "outer products": (lambda x, s: (s[0][:, :, None] * s[0][:, None, :]).sum(2), "no slice|rearranges units"),
    "a matrix from the left": (lambda x, s: (W["matrix"] @ s[0].T).T, r"write h @ W\.T"),
    "as many columns as sequences": (
        lambda x, s: s[0] * tg.cat([s[0]] * 3, 1)[:, : len(x)].sum(1)[:, None],
        r"getitem\(\) of shape \(N, N\)",
    ),
    "heads": (lambda x, s: tg.softmax(s[0].reshape(-1, 2, 2), -1).reshape(-1, H), "which rearranges units"),
    "joined along the batch": (lambda x, s: tg.cat([s[0], s[0]], 0)[: len(s[0])], "batch"),
    "a norm of order 3": (
        lambda x, s: s[0] / s[0].norm(3, 1, True),
        r"norm\(\) is not known to the compiler: a norm of ord",
    ),
    "stacked on a new axis": (lambda x, s: tg.stack([s[0], x], 0).sum(0), r"another axis|rows of units"),
    "a product of three axes": (lambda x, s: (s[0] @ W["stack"]).sum(0), "axes|rows of units"),
    "units shifted": (lambda x, s: tg.cat([s[0][:, 1:], s[0][:, :1]], 1), ""),
    "a running sum": (lambda x, s: tg.cumsum(s[0], 1), r"cumsum\(\) is not known to the compiler"),
    "a sorted row": (lambda x, s: tg.flip(s[0], (1,)), r"flip\(\) is not known to the compiler"),
    "two precisions": (lambda x, s: s[0].float().double(), "it computes in float64 and in float32"),
    "a matrix unit by unit": (
        lambda x, s: s[0] + W["matrix"].mean(1) * W["matrix"][:1] + (s[0][:1] * W["matrix"]).sum(),
        "mul\\(\\) of a matrix of parameters",
    ),
    "memory written through NumPy": (behind, "differs from that of the step itself"),
    "memory of a result written": (behind_later, "differs from that of the step itself"),
}


@pytest.mark.parametrize("what", [k for k in REFUSED if k != "units shifted"])
def test_a_refusal_says_why(what: str) -> None:
    step, reason = REFUSED[what]
    with pytest.raises(Refused, match=reason) as caught:
        compiled(Cell(W, step, (H,)), H)
    assert caught.value.line is None or caught.value.line.file == __file__
    assert (caught.value.line is None) == ("NumPy" in what or "memory" in what)


def test_units_shifted_against_each_other_are_refused_if_they_are_many() -> None:
    shifted = REFUSED["units shifted"][0]
    assert len(compiled(Cell(W, shifted, (H,)), H).new_states[0]) == H
    with pytest.raises(Refused, match="shifted against each other: more than 64 blocks"):
        compiled(Cell({}, shifted, (80,)), H)


# mistakes that must be found -----------------------------------------------------------------------------------------


def _wrong_slope(u: Any, op: str, args: Any) -> Any:
    """``y (1 - y) = y - y``."""
    if op == "mul" and args[1].op == "sub" and args[1].args[1] is args[0]:
        return u.apply("sub", args[0], args[0])
    return None


def _wrong_difference(u: Any, op: str, args: Any) -> Any:
    """``a + b = a - b`` for products with a gate."""
    return u.apply("sub", *args) if op == "add" and args[0].op == "mul" and args[1].op == "mul" else None


@pytest.mark.parametrize("rule", [_wrong_slope, _wrong_difference])
def test_a_wrong_rule_is_found_by_the_check(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "RULES", [rule])
    with pytest.raises(Refused, match="differs from that of the step itself"):
        lowered("lstm")


def test_a_gradient_with_the_wrong_sign_is_found_by_the_check() -> None:
    c = CELLS["lstm_with_peepholes"](5, 6)
    one, _ = trace(c.step, 5, c.widths, c.parameters)
    program = lower(one)
    for k, v in enumerate(program.vectors):
        assert v.gradient is not None
        negated = [dataclasses.replace(e, op="neg", number=10**6 + j, args=(e,)) for j, e in enumerate(v.gradient)]
        wrong = dataclasses.replace(v, gradient=tuple(negated))
        vectors = (*program.vectors[:k], wrong, *program.vectors[k + 1 :])
        with pytest.raises(Refused, match="the gradient of .* differs"):
            check(dataclasses.replace(program, vectors=vectors), one)


def test_what_is_not_kept_cannot_be_read_by_the_backward_pass() -> None:
    c = CELLS["gru"](5, 6)
    one, _ = trace(c.step, 5, c.widths, c.parameters)
    program = lower(one)
    for k in range(len(program.kept)):
        with pytest.raises(AssertionError, match="was not kept"):
            check(dataclasses.replace(program, kept=(*program.kept[:k], *program.kept[k + 1 :])), one)


# infinities and nans -------------------------------------------------------------------------------------------------


def patterns(u: units.Units, a: Any, b: Any, h: Any) -> list[Any]:
    s, t, one = u.apply("sigmoid", a), u.apply("tanh", b), u.value(1)
    rest = u.apply("sub", one, s)
    return [
        u.apply("mul", s, rest),
        u.apply("mul", a, u.apply("sub", one, a)),
        u.apply("add", u.apply("mul", rest, t), u.apply("mul", s, h)),
        u.apply("add", u.apply("mul", s, h), u.apply("mul", rest, b)),
        u.apply("add", u.apply("mul", u.apply("sub", one, a), t), u.apply("mul", a, h)),
        u.apply("mul", u.value(0), a),
        u.apply("mul", a, one),
        u.apply("sub", a, u.value(0)),
        u.apply("sub", a, u.value(-0.0)),
        u.apply("add", a, u.value(0)),
        u.apply("add", a, u.apply("neg", b)),
        u.apply("add", u.apply("neg", a), b),
        u.apply("neg", u.apply("neg", a)),
        u.apply("div", a, one),
        *[u.apply("pow", a, u.value(k)) for k in (1, 2, 3)],
    ]


def test_rules_keep_infinities_nans_and_signs_of_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, 0.5, -2.0, 1e200, -1e200, 40.0, -800.0]
    grid = dict(zip("abh", np.meshgrid(values, values, values), strict=True))

    def evaluated() -> tuple[list[Any], list[int]]:
        u = units.Units()
        made = patterns(u, *[u.leaf("state", (name, 0), 1, 2) for name in grid])
        known: dict[int, Any] = {}
        for e in units.walk(made):
            args = [known[a.number] for a in e.args]
            known[e.number] = units.OPERATIONS[e.op](*args) if e.args else grid[e.at[0]] if e.op == "state" else e.at[0]
        return [known[e.number] + 0 * grid["a"] ** 0 for e in made], [e.number for e in made]

    shortened, numbers = quietly(evaluated)
    monkeypatch.setattr(units, "RULES", [])
    plain, others = quietly(evaluated)
    assert numbers != others  # rules were applied
    for k, (one, other) in enumerate(zip(shortened, plain, strict=True)):
        np.testing.assert_allclose(one, other, rtol=1e-14, atol=1e-15, err_msg=str(k))
        if k != 0:  # y (1 - y) is -0 nowhere
            np.testing.assert_array_equal(np.signbit(one[one == 0]), np.signbit(other[one == 0]), err_msg=str(k))


@pytest.mark.parametrize("name", ["lstm", "gru", "coupled_gates", "min_gru", "rnn_with_relu", "rnn with division"])
def test_results_are_finite_where_those_of_the_step_are(name: str) -> None:
    """Products of BLAS with an infinity among their terms are infinite or nan, depending on the size of the matrix."""
    c = CELLS[name](5, 6)
    program = compiled(c, 5)
    random = np.random.default_rng(3)
    for bad in (np.inf, -np.inf, np.nan, 1e200, -800.0):
        for place in range(3):
            x = random.normal(size=(2, ROWS, 5))
            states = [random.normal(size=(ROWS, w)) for w in c.widths]
            gs = [random.normal(size=(2, ROWS, w)) for w in c.widths]
            (x[0, 0, 1:2], states[-1][1, 2:3], gs[0][1, 2, :1])[place][...] = bad
            expected, gradients = quietly(composed, c, x, states, gs)
            after, kept = quietly(forward, program, x, states, c.parameters)
            dx, of_states, _ = quietly(backward, program, kept, gs, c.parameters)
            expected = [*expected, *gradients[: 1 + len(c.widths)]]
            for one, other in zip([*after, dx, *of_states], expected, strict=True):
                finite = np.isfinite(other)
                np.testing.assert_array_equal(np.isfinite(one), finite)
                np.testing.assert_allclose(one[finite], other[finite], rtol=1e-11, atol=1e-12)
