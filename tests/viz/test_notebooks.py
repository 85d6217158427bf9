"""``%%tape`` and the notebooks of the documentation, in Jupyter's own kernel."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

from tests.support.notebooks import NOTEBOOKS, WITHOUT, errors_of, executed, html_of, text_of
from tests.support.strict_html import parsed

CELLS = {
    "load": "%load_ext tinygrad_rnn\nimport tinygrad_rnn as tg\nW = tg.tensor([[0.5, -0.25]], requires_grad=True)\nW",
    "shown before": "held = [tg.tensor([2.0], requires_grad=True)]\nheld[0]",
    "bound": "%%tape tape --totals\nh = tg.tensor([1.0, 2.0])\nfor t in range(2):\n    with tape.at(t=t):\n"
    "        h = tg.tanh(W * h).sum(0)\nloss = h.sum() * held[0]\nloss.backward()\nloss.item() > 0",
    "names": "print(*[leaf.name for leaf in tape.leaves])\n"
    "print(*[r.variable for r in tape if r.variable], *{r.time for r in tape})\n"
    "print({len(r.stack) for r in tape}, {r.line.function for r in tape}, tape.steps[1].contributions[0].after)",
    "function": "%%tape inside\ndef f(x):\n    y = x * 2\n    return y\ndef g(x):\n    return f(x)\nz = g(W)",
    "stack": "print([line.function for line in inside[0].stack], inside[0].variables)",
    "error": "%%tape broken\ny = W.exp()\ny / nothing\ny.exp()",
    "after": "print(len(broken), broken[0].variable)",
    "syntax": "%%tape\nif W\n    W",
    "nothing": "%%tape\n1 + 1",
    "small": "%%tape --values 1 small\n(W.exp()).sum()",
    "kept": "print(small.values, small[0].value)",
    "wrong name": "%%tape 3x\n1",
    "wrong values": "%%tape --values many\n1",
    "wrong option": "%%tape --what\n1",
    "no end": '%%tape "x\n1',
    "help": "%%tape --help\nraise SystemError",
    "documented": "print(get_ipython().find_cell_magic('tape').__doc__)",
    "check": "class Bad(tg.autograd.Function):\n    @staticmethod\n    def forward(ctx, x): return x * 2\n"
    "    @staticmethod\n    def backward(ctx, g): return g * 3\n"
    "tg.autograd.gradcheck(Bad.apply, tg.ones(2, dtype=tg.float64, requires_grad=True))",
    "check in tape": "%%tape\ntg.autograd.gradcheck(Bad.apply, tg.ones(2, dtype=tg.float64, requires_grad=True))",
    "text": "tg.set_printoptions(html=False)\nW",
    "text of a tape": "%%tape\nW.exp()",
    "unload": "tg.set_printoptions(html=True)\n%unload_ext tinygrad_rnn",
    "gone": "%%tape\n1",
    "again": "%load_ext tinygrad_rnn\n%reload_ext tinygrad_rnn",
    "there again": "%%tape\nW.exp()",
}


@pytest.fixture(scope="module")
def ran() -> dict[str, list[Any]]:
    return dict(zip(CELLS, executed(list(CELLS.values()), allow_errors=True), strict=True))


def test_a_tensor_is_shown_with_its_numbers(ran: dict[str, list[Any]]) -> None:
    (output,) = ran["load"]
    assert output.data["text/plain"] == "tensor([[ 0.5000, -0.2500]], requires_grad=True)"
    assert [cell.text for cell in parsed(output.data["text/html"]).cells] == ["0.5000", "-0.2500"]


def test_the_cell_runs_under_a_tape_which_is_bound_and_shown(ran: dict[str, list[Any]]) -> None:
    result, picture = ran["bound"]
    assert result.output_type == "execute_result" and result.data["text/plain"] == "True"
    assert picture.output_type == "display_data"
    page = parsed(picture.data["text/html"], frames=True)
    assert page.text.startswith("Tape of 8 records, 2 leaves, 1 sweep") and len(page.frames) == 1
    assert "h = sum(·)" in picture.data["text/plain"] and "W.grad" in picture.data["text/plain"]


def test_names_are_the_users_and_not_the_shells(ran: dict[str, list[Any]]) -> None:
    """``W`` and ``held[0]`` were shown before, so that ``_`` and ``_1`` hold them too."""
    assert text_of(ran["names"]) == "W held[0]\nh h loss 0 1 None\n{1} {'<module>'} [2. 2.]"
    assert text_of(ran["stack"]) == "['f', 'g', '<module>'] ['z']"


def test_the_tape_of_a_cell_that_fails_is_shown_up_to_there(ran: dict[str, list[Any]]) -> None:
    picture, error = ran["error"]
    assert "the program was ended by NameError: name 'nothing' is not defined" in parsed(
        picture.data["text/html"], frames=True
    ).text.replace("  ", " ")
    assert error.ename == "NameError" and text_of(ran["after"]) == "1 y"
    (traceback,) = errors_of(ran["error"])
    assert "----> 2 y / nothing" in traceback and "magic.py" not in traceback and traceback.count("NameError") == 2
    (error,) = ran["syntax"]
    assert error.ename == "SyntaxError"


def test_what_is_kept_can_be_chosen(ran: dict[str, list[Any]]) -> None:
    assert text_of(ran["kept"]) == "1 float32[1, 2] of norm 1.823"
    assert text_of(ran["nothing"]).startswith("2\nnothing was recorded")


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("wrong name", "'3x' is no name of a variable"),
        ("wrong values", "--values: expected all, shapes or a number, not 'many'"),
        ("wrong option", "unrecognized arguments: --what"),
        ("no end", "No closing quotation"),
    ],
)
def test_mistakes_in_the_line_are_said_in_one(ran: dict[str, list[Any]], cell: str, said: str) -> None:
    (output,) = ran[cell]
    assert output.name == "stderr" and output.text.startswith(f"UsageError: %%tape: {said}")
    assert "%%tape [NAME]" in output.text and "Traceback" not in output.text


def test_help_is_given_and_runs_nothing(ran: dict[str, list[Any]]) -> None:
    assert text_of(ran["help"]) == text_of(ran["documented"]).rstrip()
    assert "If the cell fails, the tape up to there is shown." in text_of(ran["help"])


@pytest.mark.parametrize("cell", ["check", "check in tape"])
def test_the_picture_of_a_failed_check_stands_beside_its_traceback_once(ran: dict[str, list[Any]], cell: str) -> None:
    pictures = [html for html in html_of(ran[cell]) if "Jacobians differ" in html]
    assert len(pictures) == 1 and len(parsed(pictures[0]).cells) == 12
    assert len(errors_of(ran[cell])) == 1 and "Jacobian mismatch" in errors_of(ran[cell])[0]


def test_html_is_left_out_if_it_is_not_wanted(ran: dict[str, list[Any]]) -> None:
    assert html_of(ran["text"]) == html_of(ran["text of a tape"]) == []
    assert "W.exp()" in text_of(ran["text of a tape"]) or "exp(W)" in text_of(ran["text of a tape"])


def test_the_extension_can_be_unloaded_and_loaded_again(ran: dict[str, list[Any]]) -> None:
    assert "not found" in ran["gone"][0].text and ran["again"] == []
    assert len(html_of(ran["there again"])) == 2  # of the result, and of the tape


# docs/notebooks -------------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(-?\d+\.\d*(?:e[+-]\d+)?)")


def agree(text: str, other: str) -> bool:
    """Whether two texts are the same, numbers with a point to rounding: another BLAS adds in another order."""
    parts, others = NUMBER.split(text), NUMBER.split(other)
    return len(parts) == len(others) and all(
        abs(float(a) - float(b)) <= 2e-4 + 1e-3 * abs(float(b))
        if NUMBER.fullmatch(a) and NUMBER.fullmatch(b)
        else a == b
        for a, b in zip(parts, others, strict=True)
    )


def code_of(path: pathlib.Path) -> list[tuple[str, str]]:
    """The cells with code, each with the text that is stored with it."""
    nbformat = pytest.importorskip("nbformat", reason=WITHOUT)
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return [(cell.source, text_of(cell.outputs)) for cell in cells]


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_the_texts_that_are_stored(path: pathlib.Path) -> None:
    cells = code_of(path)
    ran = executed([source for source, _ in cells])
    shown = 0
    for (source, stored), outputs in zip(cells, ran, strict=True):
        assert agree(text_of(outputs), stored), (
            f"{source}\n\ngives\n\n{text_of(outputs)}\n\nand not\n\n{stored}\n\n"
            "If that is right, python -m tests.support.notebooks stores it."
        )
        for text in html_of(outputs):
            parsed(text, frames=True)
            shown += 1
    assert shown >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_store_text_alone_and_are_short(path: pathlib.Path) -> None:
    """HTML is made again when a notebook runs; stored, it would be 100 kB for a tape, new with each version."""
    text = path.read_text(encoding="utf-8")
    assert len(text) < 30_000
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            assert set(output.get("data", {"text/plain": ""})) == {"text/plain"} and output["output_type"] != "error"


def test_texts_that_differ_are_found() -> None:
    assert agree("W 0.12345 x", "W 0.12344 x") and not agree("W 0.13 x", "W 0.12 x") and not agree("W 1", "W 2")
    assert not agree("t = 1   norm 0.1", "t = 1   norm 0.1 0.2")
