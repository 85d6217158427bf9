"""The page on which the hundred-line engine runs, in Chromium: from the disk, without a network."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tinygrad_rnn.teaching.mutants import MUTANTS
from tools.site import live

READY = "() => document.body.dataset.ready === 'yes' && !document.querySelector('#run').disabled"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The page, built."""
    try:
        return live.build(tmp_path_factory.mktemp("site"))
    except live.Unavailable as error:
        pytest.skip(str(error))


class Live:
    """The page, opened."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(120_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def ready(self) -> None:
        """Wait until Python runs, and nothing else does."""
        self.page.wait_for_function(READY)

    def run(self, program: str, button: str = "#run") -> None:
        """Write a program and run it."""
        self.page.fill("#program", program)
        self.page.click(button)
        self.ready()

    def text(self, place: str) -> str:
        """What is read there."""
        return str(self.page.inner_text(place))


@pytest.fixture(scope="module")
def opened(browser: Any, site: pathlib.Path) -> Iterator[Live]:
    """One page for all: to start Python takes seconds."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 1000})
    shown = Live(context.new_page())
    shown.page.goto(site.as_uri())
    shown.ready()
    yield shown
    folder = site.parent.as_uri()
    outside = [url for url in shown.requests if not url.startswith((folder, "blob:", "data:"))]
    context.close()
    assert outside == [] and shown.complaints == []


@pytest.mark.parametrize("title", live.EXAMPLES)
def test_examples_run(opened: Live, title: str) -> None:
    opened.page.select_option("#examples", title)
    opened.page.click("#run")
    opened.ready()
    assert opened.page.is_visible("#sweep")
    if title == "Going back twice":
        assert opened.text("#error").startswith("line 5: RuntimeError: this way was gone before")
        assert opened.page.locator("#gutter .wrong").inner_text().strip() == "5"
    else:
        assert opened.page.is_hidden("#error") and opened.text("#output").strip()


def test_one_steps_through_the_lines_of_the_engine(opened: Live) -> None:
    opened.run("a = Value(3.0)\nb = mul(a, a)\ny = add(b, a)\nbackward(y)")
    assert opened.text("#said").startswith("Step 1 of ")
    opened.page.click("#next")
    line = opened.text(".source .now")
    opened.page.click("#next")
    assert line and opened.text(".source .now") not in ("", line)
    opened.page.click("#visit")
    assert opened.page.locator("#tape tr.now").count() == 1
    opened.page.click("#last")
    assert "The sweep is over" in opened.text("#said")
    assert opened.page.locator("#tape tbody tr").first.locator("td").last.inner_text() == "7"
    assert opened.page.locator("#tape path").count() == 4
    opened.page.click("#first")
    assert opened.text("#said").startswith("Step 1 of ")


def test_keys(opened: Live) -> None:
    opened.page.fill("#program", "a = Value(2.0)\nbackward(exp(a))\nprint('by key')")
    opened.page.focus("#program")
    opened.page.keyboard.press("Control+Enter")
    opened.page.wait_for_function("() => document.querySelector('#output').textContent.includes('by key')")
    opened.ready()
    opened.page.evaluate("() => document.activeElement.blur()")
    opened.page.keyboard.press("ArrowRight")
    assert opened.text("#said").startswith("Step 2 of ")
    opened.page.keyboard.press("End")
    assert "is over" in opened.text("#said")
    opened.page.focus("#program")
    opened.page.keyboard.press("Escape")  # then Tab leaves the editor, which otherwise takes it
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("() => document.activeElement.id") == "run"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("a = Value(1.0", "line 1: SyntaxError"),
        ("print('before')\n1 / 0", "line 2: ZeroDivisionError"),
        ("input()", "line 1: EOFError"),
        ("import numpy", "line 1: ModuleNotFoundError"),
    ],
)
def test_errors_are_told(opened: Live, program: str, said: str) -> None:
    opened.run(program)
    assert opened.text("#error").startswith(said)


def test_a_program_without_a_sweep(opened: Live) -> None:
    opened.run("a = Value(1.0)")
    assert "nothing to step through" in opened.text("#said") and opened.page.is_disabled("#next")
    opened.run("print(3)")
    assert opened.page.is_hidden("#sweep") and opened.text("#output").strip() == "3"


def test_what_a_program_prints_is_text(opened: Live) -> None:
    opened.run("print('<img src=x onerror=alert(1)>')\nraise ValueError('<b>bold</b>')")
    assert "<img" in opened.text("#output") and "<b>bold</b>" in opened.text("#error")


def test_the_eight_are_unmasked_by_their_smallest_programs(opened: Live) -> None:
    opened.page.click("#forget")
    assert opened.text("#score").startswith("0 of 8")
    opened.run("a = Value(2.0)\nbackward(exp(a))", "#try")
    assert opened.text("#score").startswith("0 of 8")
    for mutant in MUTANTS:
        opened.run(mutant.smallest, "#try")
        assert mutant.mistake in opened.text("#engines")
    assert opened.text("#score").startswith("8 of 8")
    opened.page.reload()
    opened.ready()
    assert opened.text("#score").startswith("8 of 8")  # kept for the next visit
    opened.page.click("#forget")
    assert opened.text("#score").startswith("0 of 8")


def test_what_never_ends_is_stopped(opened: Live) -> None:
    opened.page.fill("#program", "while True:\n    pass")
    opened.page.click("#run")
    assert opened.page.is_enabled("#stop") and opened.page.is_disabled("#run")
    opened.page.click("#stop")
    opened.ready()
    assert opened.text("#error") == "stopped"
    opened.run("print('alive')")
    assert opened.text("#output").strip() == "alive"


def test_very_deep_recursion_is_survived(opened: Live) -> None:
    opened.run("import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)")
    assert "Python broke down" in opened.text("#error")
    assert any("fatal" in text or "stack" in text for text in opened.complaints)  # Pyodide's own words on it
    opened.complaints.clear()
    opened.run("print('alive')")
    assert opened.text("#output").strip() == "alive"


def test_everything_has_a_name_and_the_page_fits_a_phone(browser: Any, site: pathlib.Path) -> None:
    context = browser.new_context(offline=True, viewport={"width": 380, "height": 800}, color_scheme="dark")
    shown = Live(context.new_page())
    shown.page.goto(site.as_uri())
    shown.ready()
    shown.page.click("#run")
    shown.ready()
    assert shown.page.evaluate("() => document.documentElement.scrollWidth") <= 380
    nameless = """() => [...document.querySelectorAll('button, select, textarea, input, progress')].filter(
        (e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.id)"""
    assert shown.page.evaluate(nameless) == []
    context.close()
    assert shown.complaints == []
