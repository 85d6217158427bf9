"""What notebooks show, in a browser: pictures are there without scripts, and the fold of a tape opens the debugger."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

PAGE = """<!doctype html><meta charset="utf-8"><title>cell</title>
<body style="background:{};color:{};font-family:sans-serif">{}</body>"""
THEMES = {"light": ("#fff", "#212121"), "dark": ("#111", "#e0e0e0")}


@pytest.fixture
def cell(browser: Any, tmp_path: pathlib.Path) -> Iterator[Callable[..., Any]]:
    """Open the output of a cell; it must ask for nothing and complain about nothing."""
    made: list[Any] = []
    complaints: list[str] = []

    def show(*shown: Any, theme: str = "light", scripts: bool = True) -> Any:
        path = tmp_path / f"cell{len(made)}.html"
        body = "\n".join(each._repr_html_() for each in shown)
        path.write_text(PAGE.format(*THEMES[theme], body), encoding="utf-8")
        made.append(browser.new_context(java_script_enabled=scripts, viewport={"width": 1100, "height": 900}))
        page = made[-1].new_page()
        page.on("request", lambda r: r.url in (path.as_uri(),) or r.url.startswith("data:") or complaints.append(r.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield show
    for context in made:
        context.close()
    assert complaints == []


def recurrence() -> tg.Tape:
    W, h = tg.tensor([[0.5, -0.2], [0.3, 0.1]], requires_grad=True), tg.tensor([1.0, 2.0])
    with tg.Tape() as tape:
        for t in range(3):
            with tape.at(t=t):
                h = tg.tanh(W @ h)
        h.sum().backward()
    return tape


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_drawn_without_scripts(cell: Callable[..., Any], theme: str) -> None:
    tape = recurrence()
    page = cell(tape, tape[2], tape.shares("W"), tg.ones(100, 100), tg.randn(4, 4), theme=theme, scripts=False)
    images = page.locator("img")
    assert images.count() == 3  # the tape, a histogram, a matrix
    for k in range(3):
        box = images.nth(k).bounding_box()
        assert box["width"] > 200 and box["height"] > 50
    assert page.locator("text=Tape of 7 records").is_visible()


def test_numbers_in_the_cells_are_those_of_the_tensor(cell: Callable[..., Any]) -> None:
    t = tg.randn(6, 7)
    page = cell(t)
    titles = page.locator("td[title]").evaluate_all("cells => cells.map(cell => cell.title)")
    read = np.array([title.partition(" = ")[2] for title in titles]).astype(np.float32)
    np.testing.assert_array_equal(read.reshape(6, 7), t.numpy())
    assert page.locator("td[title]").first.inner_text() == f"{t[0, 0].item():.4f}"


def test_the_debugger_runs_in_the_fold_and_cannot_touch_the_notebook(cell: Callable[..., Any]) -> None:
    tape = recurrence()
    page = cell(tape)
    page.locator("summary", has_text="step through it").click()
    frame = page.frames[1]
    frame.wait_for_function("() => window.tinygrad")
    assert frame.evaluate("() => tinygrad.tape.records.length") == len(tape)
    assert frame.evaluate("() => { try { return parent.document.title } catch (error) { return error.name } }") == (
        "SecurityError"
    )
    frame.locator("h1").first.click()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert frame.evaluate("() => tinygrad.app.at") == 3


def test_equations_are_drawn(cell: Callable[..., Any]) -> None:
    page = cell(recurrence()[2])
    equation = page.locator("math").first.bounding_box()
    assert equation["width"] > 40 and equation["height"] > 10
    assert not page.locator("annotation").first.is_visible()
