"""What notebooks show of tensors, parameters, modules and failed checks of gradients; it can be switched off."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tests.support.strict_html import Page, parsed
from tinygrad_rnn.tape.observe.pictures import notebooks

nn = tg.nn


@pytest.fixture
def html_again() -> Iterator[None]:
    yield
    notebooks.html = True


def page_of(shown: Any) -> Page:
    text = shown._repr_html_()
    assert isinstance(text, str) and text
    return parsed(text)


# tensors -------------------------------------------------------------------------------------------------------------


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.bool_, np.complex64]),
        hnp.array_shapes(max_dims=3, max_side=6),
    )
)
def test_the_numbers_are_those_of_the_text(x: np.ndarray[Any, Any]) -> None:
    t = tg.tensor(x)
    page = page_of(t)
    inside = re.sub(
        r", (?:dtype|size|device|grad_fn|requires_grad)=.*", "", repr(t).removeprefix("tensor(").removesuffix(")")
    )
    assert [cell.text for cell in page.cells] == [entry for entry in re.split(r"[\[\],\s]+", inside) if entry]
    with np.errstate(all="ignore"):
        read = np.array([{"True": 1, "False": 0}.get(cell.value, cell.value) for cell in page.cells]).astype(x.dtype)
    np.testing.assert_array_equal(read.reshape(x.shape), x)


@pytest.mark.parametrize("size", [3, 1000])
def test_graph_and_device_are_said_as_in_the_text(size: int) -> None:
    w = tg.ones(size, requires_grad=True)
    assert "requires_grad=True" in page_of(w).text
    assert "grad_fn=<TanhBackward0>" in page_of(w.tanh()).text
    assert f"Tensor float64[{size}]" in page_of(tg.ones(size, dtype=tg.float64)).text
    assert "grad" not in page_of(w.detach()).text


def test_kinds_of_tensors_are_named() -> None:
    assert page_of(nn.Parameter(tg.ones(2))).text.startswith("Parameter float32[2] requires_grad=True")
    assert page_of(tg.tensor(0.5)).text == "Tensor float32[] 0.5000"
    assert page_of(tg.zeros(0, 3)).text == "Tensor float32[0, 3] no entries"
    assert nn.UninitializedParameter()._repr_html_() is None


def test_a_tensor_on_a_device_says_so_and_is_shown(device_xp: Any) -> None:
    t = tg.tensor(device_xp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)))
    page = page_of(t)
    assert "device='cuda:0'" in page.text and [cell.text for cell in page.cells] == [f"{k}." for k in range(6)]
    assert "device='cuda:0'" in page_of(tg.tensor(device_xp.ones(1000, np.float32))).text


def test_print_options_hold_for_notebooks_too() -> None:
    tg.set_printoptions(precision=2)
    try:
        assert [cell.text for cell in page_of(tg.tensor([0.123456])).cells] == ["0.12"]
    finally:
        tg.set_printoptions(profile="default")


@pytest.mark.usefixtures("html_again")
def test_html_can_be_switched_off_and_on() -> None:
    shown = [tg.ones(2), nn.Linear(1, 1), nn.Parameter(tg.ones(1)), failed(lambda x: Cubed.apply(x))]
    texts = [repr(each) for each in shown]
    tg.set_printoptions(html=False)
    assert [each._repr_html_() for each in shown] == [None] * len(shown)
    tg.set_printoptions(precision=4)  # what is not given stays
    assert not notebooks.html
    tg.set_printoptions(html=True)
    assert all(each._repr_html_() for each in shown)
    assert [repr(each) for each in shown] == texts


def test_text_loads_nothing_of_what_draws() -> None:
    program = (
        "import sys, tinygrad_rnn as tg, tinygrad_rnn.nn\n"
        "repr(tg.ones(3)); repr(tg.nn.Linear(1, 1)); tg.set_printoptions(html=False); tg.ones(2)._repr_html_()\n"
        "assert not [name for name in sys.modules if name.startswith('tinygrad_rnn.viz')]\n"
        "tg.set_printoptions(html=True); tg.ones(2)._repr_html_()\n"
        "assert 'tinygrad_rnn.viz.heat' in sys.modules and 'tinygrad_rnn.viz.model_tree' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# modules -------------------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.rnn = nn.RNN(4, 4)
        self.out = nn.Linear(4, 10)
        self.out.weight = self.embed.weight
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.again = self.body
        self.register_buffer("seen", tg.zeros(3))


def test_each_parameter_has_its_shape_and_each_number_is_counted_once() -> None:
    model = Tied()
    text = page_of(model).text
    count = sum(p.numel() for p in model.parameters())
    assert f"Tied {count} parameters, {4 * count} bytes" in text and count == 40 + 40 + 10 + 20
    for name, p in nn.RNN(4, 4).named_parameters():
        assert f"{name} float32{list(p.shape)} {p.numel()}" in text
    assert "seen float32[3] 3 buffer" in text


def test_what_is_shared_has_one_mark_and_one_colour() -> None:
    shown = Tied()._repr_html_() or ""
    text = parsed(shown).text
    assert re.search(r"embed : Embedding \(10, 4\) .*? weight float32\[10, 4\] 40 2 shared", text), text
    assert "weight float32[10, 4] 40 2 the same as embed.weight" in text
    assert re.search(r"body : Sequential .*? 1 shared", text) and re.search(
        r"again : Sequential .*? 1 the same as body", text
    )
    marks = re.findall(r"border:2px solid (rgb\([\d,]+\))[^>]*>(\d)<", shown)
    assert sorted(set(marks)) == sorted({(colour, mark) for colour, mark in marks}) and len({c for c, _ in marks}) == 2
    assert sorted(mark for _, mark in marks) == ["1", "1", "2", "2"]
    assert "shared" not in page_of(nn.Linear(2, 2)).text


def test_parameters_that_share_memory_are_marked_though_they_are_two_objects() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.detach())
    text = page_of(model).text
    assert "the same as 0.weight" in text and "Sequential 4 parameters" in text


def test_what_is_not_trained_and_what_is_not_known_yet() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(3))
    model[0].requires_grad_(False)
    text = page_of(model).text
    assert "6 parameters, none of them trained" in text and "weight float32[2, 2] 4 not trained" in text
    assert "and 2 of unknown shape" in text and "shape not known before the first call" in text


def test_a_module_that_holds_itself_is_shown() -> None:
    model = nn.Linear(1, 1)
    model.add_module("me", model)
    assert page_of(model).text.count("Linear") == 2


def test_names_are_escaped() -> None:
    class Evil(nn.Module):
        def extra_repr(self) -> str:
            return "<script>alert(1)</script>" * 100

    model = Evil()
    model.add_module('<img src=x onerror="a">', Evil())
    setattr(model, "<b>'&", nn.Parameter(tg.ones(1)))
    Evil.__name__ = "<i>"
    page = page_of(model)
    assert "script" not in page.tags and '<img src=x onerror="a">' in page.text and "<b>'&" in page.text
    assert len(model._repr_html_() or "") < 3000


def test_large_models_have_bounded_html() -> None:
    model = nn.Sequential(*[nn.Sequential(*[nn.Linear(1, 1) for _ in range(40)]) for _ in range(40)])
    text = model._repr_html_() or ""
    assert len(text) < 600_000 and "more modules" in parsed(text).text and "3,200 parameters" in text
    holder = nn.ParameterList([nn.Parameter(tg.ones(1)) for _ in range(500)])
    assert "and 450 more parameters" in page_of(holder).text


# checks of gradients -------------------------------------------------------------------------------------------------


class Cubed(tg.autograd.Function):
    """With a derivative that is wrong at one entry."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        wrong = np.ones(x.shape)
        wrong.reshape(-1)[2] = 1.5
        return g * 3 * x**2 * tg.tensor(wrong)


def failed(f: Any, shape: tuple[int, ...] = (2, 3)) -> tg.autograd.gradcheck.GradcheckError:  # type: ignore[name-defined]
    x = tg.tensor(np.random.default_rng(0).uniform(1, 2, shape), requires_grad=True)
    with pytest.raises(RuntimeError) as caught:
        tg.autograd.gradcheck(f, x)
    return caught.value


def test_the_worst_entry_of_the_difference_is_ringed_and_both_jacobians_are_beside_it() -> None:
    error = failed(Cubed.apply)
    found = error.mismatch
    page = page_of(error)
    cells = np.array([float(cell.value) for cell in page.cells]).reshape(3, 6, 6)
    np.testing.assert_array_equal(cells[0], found.analytical_jacobian - found.numerical_jacobian)
    np.testing.assert_array_equal(cells[1], found.analytical_jacobian)
    np.testing.assert_array_equal(cells[2], found.numerical_jacobian)
    ringed = [k for k, cell in enumerate(page.cells) if "3px" in cell.style]
    assert [(k % 36) // 6 for k in ringed] == [2] * 3 and [k % 6 for k in ringed] == [2] * 3 and len(ringed) == 3
    assert found.input_index == (0, 2) == found.output_index
    # those that agree are dots in the difference, and in the others faint
    assert [cell.text for cell in page.cells[:36]].count("·") == 35
    assert "worst entry: output 0[0, 2] by input 0" in page.text and f"numerical {found.numerical:.12g}" in page.text
    assert "0, 2" in page.text  # heads are indices of entries
    assert page_of(found).text == page.text


def test_large_jacobians_are_pictures_with_numbers_around_the_worst_entry() -> None:
    error = failed(Cubed.apply, (6, 9))
    page = page_of(error)
    assert len(page.pictures) == 3 and len(page.cells) == 3 * 11 * 11
    circles = [list(svg.iter("{http://www.w3.org/2000/svg}circle")) for svg, _ in page.pictures]
    assert all(len(found) == 2 and found[0].get("cx") == found[0].get("cy") for found in circles)  # on the diagonal
    ringed = [cell for cell in page.cells if "3px" in cell.style]
    found = error.mismatch
    assert [float(cell.value) for cell in ringed] == [
        found.analytical - found.numerical,
        found.analytical,
        found.numerical,
    ]
    assert len(error._repr_html_()) < 120_000


def test_an_error_without_an_entry_to_blame_is_its_text() -> None:
    error = type(failed(Cubed.apply))("Backward is <not> reentrant")
    assert "Backward is <not> reentrant" in page_of(error).text


def test_jacobians_that_are_not_finite_are_shown() -> None:
    error = failed(lambda x: Cubed.apply(x) * float("inf"))
    assert "nan" in page_of(error).text


# formulas ------------------------------------------------------------------------------------------------------------


def test_formulas_are_typeset() -> None:
    x = tg.ones(1, requires_grad=True)
    with tg.Tape() as tape:
        x.tanh()
        tg.nn.RNNCell(1, 1)(tg.ones(1, 1))
    assert tape[0].formula._repr_latex_() == (
        r"$$\begin{aligned} y &= \tanh(a) \\ \bar{a} &= \bar{y} \odot (1 - y^2) \end{aligned}$$"
    )
    for record in tape:
        text = record.formula._repr_latex_()
        assert text.count("{") == text.count("}") and text.count(r"\begin") == text.count(r"\end") and text[:2] == "$$"
