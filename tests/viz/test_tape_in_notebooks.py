"""What notebooks show of a tape and of what is on it: its own numbers and names, sound and bounded HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.strict_html import Page, parsed
from tinygrad_rnn.compat.backends.recurrent import only
from tinygrad_rnn.tape.observe.pictures import notebooks
from tinygrad_rnn.viz import mathml, written_out
from tinygrad_rnn.viz.written_out import Name


@pytest.fixture
def html_again() -> Iterator[None]:
    yield
    notebooks.html = True


def page_of(shown: Any) -> Page:
    text = shown._repr_html_()
    assert isinstance(text, str) and text
    return parsed(text, frames=isinstance(shown, tg.Tape))


def leaf(values: Any) -> tg.Tensor:
    return tg.tensor(values, requires_grad=True, dtype=tg.float64)


def recurrence(**options: Any) -> tg.Tape:
    W, b = leaf([[0.5, -0.2], [0.3, 0.1]]), leaf([0.1, 0.2])
    h = tg.tensor([1.0, 2.0], dtype=tg.float64)
    with tg.Tape(**options) as tape:
        for t in range(3):
            with tape.at(t=t):
                h = tg.tanh(W @ h + b)
        (h * 0.5).sum().backward()
    return tape


def numbers(page: Page) -> list[float]:
    return [float(cell.value) for cell in page.cells]


# a tape --------------------------------------------------------------------------------------------------------------


def test_a_tape_shows_a_picture_records_leaves_and_sweeps_and_holds_the_debugger() -> None:
    tape = recurrence()
    page = page_of(tape)
    assert page.text.startswith("Tape of 11 records, 2 leaves, 1 sweep")
    for record in tape:
        assert f"%{record.number} {record.name}({', '.join(record.inputs)})" in page.text
    assert "b float64[2] [0.1, 0.2] 1" in page.text and "sweep 0: backward, 13 steps" in page.text
    ((svg, words),) = page.pictures
    labels = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"h = tanh(·)", "W.grad", "b.grad"} <= set(labels) and "11 in all" in words
    (frame,) = page.frames
    assert frame == tg.viz.debugger(tape).html
    assert tape._repr_html_().count('sandbox="allow-scripts"') == 1


def test_a_tape_that_saw_nothing_says_so() -> None:
    with tg.Tape() as tape:
        pass
    assert page_of(tape).text == (
        "Tape of 0 records, 0 leaves, 0 sweeps nothing was recorded: no operation had an argument that requires grad"
    )


def test_an_error_in_a_sweep_is_shown() -> None:
    w = leaf([1.0])
    with tg.Tape() as tape:
        y = w.exp()
        y.backward(retain_graph=True)
        y.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            y.backward()
    assert "sweep 1 was ended by ZeroDivisionError: division by zero" in page_of(tape).text


def test_long_tapes_have_bounded_html() -> None:
    w = leaf([1.0])
    with tg.Tape() as tape:
        y = w
        for _ in range(10_001):
            y = y * 1.0
        y.backward()
    text = tape._repr_html_()
    page = parsed(text, frames=True)
    assert len(text) < 1_000_000 and not page.frames
    assert "and 9951 more records; print(tape) shows all" in page.text and "tape.show() opens the debugger" in page.text
    assert len(tape.sweeps[0]._repr_html_()) < 100_000 and "and 9952 more steps" in page_of(tape.sweeps[0]).text
    assert len(tape.shares(w)._repr_html_()) < 10_000
    with tg.Tape() as many:
        for _ in range(100):
            (w * 2.0).backward()
    assert "and 50 more shares" in page_of(many.shares(w)).text and len(many.shares(w)._repr_html_()) < 60_000


def test_a_tape_that_was_read_from_json_is_shown_alike() -> None:
    tape = recurrence()
    again = tg.Tape.from_json(tape.to_json())
    assert page_of(again).text == page_of(tape).text
    for record, other in zip(tape, again, strict=True):
        assert record._repr_html_() == other._repr_html_()
    for step, other_step in zip(tape.steps, again.steps, strict=True):
        assert step._repr_html_() == other_step._repr_html_()


# what is on it -------------------------------------------------------------------------------------------------------


def test_a_record_shows_its_arguments_and_its_result() -> None:
    for record in recurrence():
        page = page_of(record)
        expected = [np.ravel(a) for a in record.arguments if isinstance(a, np.ndarray)]
        np.testing.assert_array_equal(numbers(page), np.concatenate([*expected, np.ravel(record.value)]))
        assert record.line is not None and f"{record.line} in recurrence" in page.text
        assert page.text.count("kept") == len(record.saved)


def test_a_step_shows_cotangent_and_contributions_and_what_was_there_before() -> None:
    tape = recurrence(totals=True)
    for step in tape.steps:
        expected = [np.ravel(step.cotangent)]
        for contribution in step.contributions:
            expected.append(np.ravel(contribution.value))
            expected += [np.ravel(s) for s in (contribution.before, contribution.after) if s is not None]
        np.testing.assert_array_equal(numbers(page_of(step)), np.concatenate(expected))
    for contribution in tape.steps[3].contributions:
        assert contribution.to in page_of(contribution).text


def test_shares_are_shown_with_their_sum_which_is_the_gradient() -> None:
    tape = recurrence()
    shares = tape.shares("W")
    page = page_of(shares)
    np.testing.assert_array_equal(numbers(page), np.ravel(shares.total()))
    assert [f"t={t}" for t in (2, 1, 0)] == re.findall(r"t=\d", page.text)
    np.testing.assert_array_equal(numbers(page_of(shares[0])), np.ravel(shares[0].value))


def test_all_else_is_shown() -> None:
    w = leaf([1.0, 2.0])
    with tg.Tape() as tape:
        y = tg.tanh(w) * w
    assert f"{tape.memory().total} bytes held for the backward pass" in page_of(tape.memory()).text
    assert "w" in page_of(tape.leaves[0]).text and numbers(page_of(tape.leaves[0])) == [1.0, 2.0]
    page = page_of(y.grad_fn)
    assert "mul, which gave float64[2]" in page.text and "tanh <TanhBackward0" in page.text and "leaf" in page.text
    y.sum().backward()
    assert "freed: a backward pass went through it" in page_of(y.grad_fn).text


def test_a_tape_of_arrays_on_a_device_is_shown(device_xp: Any) -> None:
    w = tg.tensor(device_xp.asarray(np.array([[1.0, 2.0], [3.0, 4.0]])), requires_grad=True)
    x = tg.tensor(device_xp.asarray(np.array([1.0, -0.5])))
    with tg.Tape(totals=True) as tape:
        y = tg.tanh(w @ x)
        y.sum().backward()
    for shown in [
        tape,
        *tape.records,
        *tape.steps,
        *tape.sweeps,
        tape.shares(w),
        *tape.leaves,
        tape.memory(),
        y.grad_fn,
    ]:
        page_of(shown)
    np.testing.assert_array_equal(numbers(page_of(tape.shares(w))), w.grad.cpu().numpy().ravel())
    assert r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}" in (tape[0]._repr_latex_() or "")
    model = tg.nn.Sequential(tg.nn.Linear(2, 2, bias=False), tg.nn.Linear(2, 2, bias=False))
    model[0].weight = tg.nn.Parameter(w.detach())
    model[1].weight = tg.nn.Parameter(w.detach())
    text = page_of(model).text
    assert "weight float64[2, 2] 4 cuda:0 1 shared" in text and "1 the same as 0.weight" in text


def test_records_of_fused_layers_with_several_outputs_are_shown() -> None:
    lstm = tg.nn.LSTM(2, 3)
    with only("numpy"), tg.Tape() as tape:
        out, (_, c) = lstm(tg.ones(4, 1, 2))
        (out.sum() + c.sum()).backward()
    for record in tape:
        page_of(record)
    step = next(step for step in tape.steps if step.record is tape[0])
    page = page_of(step)
    assert "output 2" in page.text and "to lstm.weight_ih_l0" in page.text
    assert page_of(tape).frames


@pytest.mark.parametrize("values", ["shapes", 2])
def test_summaries_are_shown(values: Any) -> None:
    tape = recurrence(values=values)
    for shown in [tape, *tape.records, *tape.steps, *tape.sweeps, tape.shares("W"), *tape.leaves]:
        page_of(shown)


@pytest.mark.usefixtures("html_again")
def test_without_html_the_texts_are_shown() -> None:
    tape = recurrence()
    shown = [tape, tape[0], tape.steps[0], tape.sweeps[0], tape.shares("W"), tape.shares("W")[0], tape.leaves[0]]
    shown += [tape.memory(), tape.steps[0].contributions[0], leaf([1.0]).exp().grad_fn]
    tg.set_printoptions(html=False)
    assert [each._repr_html_() for each in shown] == [None] * len(shown)
    assert tape[0]._repr_latex_() is None is tape.steps[0]._repr_latex_()


EVIL = [
    "</script><script>alert(1)</script>",
    "\"'<>&",
    "]]>",
    "a\x00b",
    "\u202eevil",
    "x" * 10_000,
    "$\\alpha_{",
    "é☃",
    "\ue001",
]


@pytest.mark.parametrize("name", EVIL, ids=range(len(EVIL)))
def test_names_are_text_whatever_they_are(name: str) -> None:
    w = leaf([1.0, 2.0])
    with tg.Tape(totals=True) as tape:
        tape.name(**{name: w})
        y = w * w
        tape.name(**{name: y})
        y.sum().backward()
    things = [tape, *tape.records, *tape.steps, *tape.sweeps, tape.shares(w), *tape.shares(w), *tape.leaves]
    for shown in things:
        page = page_of(shown)
        assert "script" not in page.tags
        assert all(len(page.text) < 40_000 for page in [page])
    for record in tape:
        assert (record._repr_latex_() or "").count("$$") == 2


# equations -----------------------------------------------------------------------------------------------------------


def test_equations_have_the_names_and_the_numbers_of_the_program() -> None:
    tape = recurrence()
    tanh, product, last = tape[5], tape[3], tape[9]
    assert tanh._repr_latex_() == (
        r"$$\begin{aligned} h_{1} &= \tanh(\%4) \\ "
        rf"\begin{{bmatrix}} {tanh.value[0]:.4g} & {tanh.value[1]:.4g} \end{{bmatrix}} &= "
        rf"\tanh ( \begin{{bmatrix}} {tape[4].value[0]:.4g} & {tape[4].value[1]:.4g} \end{{bmatrix}} ) "
        r"\end{aligned}$$"
    )
    assert r"\%3 &= W \%2 \\" in (product._repr_latex_() or "")
    assert r"\%9 &= h \odot 0.5" in (last._repr_latex_() or "").replace(r"\%8", "h")
    step = next(step for step in tape.steps if step.record is tanh)
    assert r"\overline{\%4} &= \overline{h_{1}} \odot (1 - (h_{1})^2)" in (step._repr_latex_() or "")


def evaluated(equation: str) -> tuple[Any, Any]:
    """Both sides of an equation of numbers, by a reader that knows the few operations below and nothing else."""
    matrix = re.compile(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}")

    def array(found: re.Match[str]) -> str:
        rows = [[float(x) for x in row.split("&")] for row in found[1].split(r"\\")]
        return f"np.array({rows})"

    text = re.sub(r" \\times 10\^\{(-?\d+)\}", r"e\1", equation)
    text = matrix.sub(array, text).replace(r"\odot", "*").replace(r"\tanh", "np.tanh").replace(r"^\top", ".T")
    text = text.replace(r"^ \top", ".T").replace(") np", ") @ np").replace(".T np", ".T @ np").replace("^", "**")
    text = re.sub(r"\\operatorname\{sum\}_\{[^}]*\}", "", text)
    left, right = text.split(" = ")
    return eval(left, {"np": np}), eval(right, {"np": np})


def test_equations_of_numbers_are_true() -> None:
    tape = recurrence()
    checked = 0
    equations = [found for record in tape if record.name != "sum" for found in written_out.of_result(record)]
    for step in tape.steps:
        for contribution in step.contributions:
            equations += written_out.of_contribution(step, contribution)
    for equation in equations:
        text = equation.latex_of_numbers
        if text is not None:
            left, right = evaluated(text)
            np.testing.assert_allclose(left, right, rtol=2e-3, atol=1e-3)  # written with four digits
            checked += 1
    assert checked >= 20


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: 2 * x**2, r"\begin{bmatrix} 9 & 4 \end{bmatrix} = \begin{bmatrix} -3 & 2 \end{bmatrix} ^ {2}"),
        (lambda x: -x[0], r"3 = - (-3)"),
        (lambda x: x[0] / 1e-7, r"-3 \times 10^{7} = \frac{-3}{1 \times 10^{-7}}"),
        (lambda x: x[0] * float("inf"), r"- \infty = (-3) \odot (\infty)"),
    ],
)
def test_signs_exponents_and_brackets(call: Any, expected: str) -> None:
    x = leaf([-3.0, 2.0])
    with tg.Tape() as tape:
        call(x)
    found = [e.latex_of_numbers for record in tape for e in written_out.of_result(record) if record.name != "getitem"]
    plain = [re.sub(r"[ ()]", "", text or "") for text in found]
    assert re.sub(r"[ ()]", "", expected) in plain


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("h", "h"), ("W1", "W_{1}"), ("W_hh", r"W_{\mathrm{hh}}"), ("theta", r"\theta"), ("alpha_2", r"\alpha_{2}"),
        ("%12", r"\%12"), ("weight", r"\mathrm{weight}"), ("a_b$", r"\mathrm{a\_b\$}"), ("0.5", "0.5"), ("-2", "(-2)"),
        ("P[0]", r"\mathrm{P[0]}"), ("x{", r"\mathrm{x\{}"), ("\\", r"\mathrm{\backslash }"),
    ],
)  # fmt: skip
def test_names_in_latex(name: str, latex: str) -> None:
    assert Name(name).latex == latex


def test_without_the_converter_equations_are_lines_of_latex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathml, "_convert", lambda: None)
    mathml.mathml.cache_clear()
    try:
        page = page_of(recurrence()[5])
        assert "math" not in page.tags and r"h_{1} = \tanh(\%4)" in page.text
    finally:
        mathml.mathml.cache_clear()


def test_latex_stays_where_mathml_is_removed() -> None:
    text = recurrence()[5]._repr_html_()
    assert r'<annotation encoding="application/x-tex"> $h_{1} = \tanh(\%4)$</annotation>' in text
