"""The pictures of docs/seeing.md, made again from the program on that page: ``make pictures``.

    python -m tools.pictures [FOLDER]

The debugger is opened in Chromium (see tests/browser/install.py) and brought to the places of which the page speaks.
"""

from __future__ import annotations

import pathlib
import runpy
import sys
import tempfile
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser import chromium
from tests.support import markdown
from tinygrad_rnn import Tape
from tinygrad_rnn.viz import debugger

PAGE = markdown.ROOT / "docs" / "seeing.md"
SIZE: Any = {"width": 1400, "height": 860}

TANH = 111
"""The record of tanh at t = 27."""
ENTER = """
changes => {
  const what = document.getElementById("what");
  what.selectedIndex = [...what.options].findIndex(option => option.text.startsWith(changes.input));
  what.dispatchEvent(new Event("change", {bubbles: true}));
  changes.values.forEach((value, k) => {
    const field = document.querySelector(`#fields [data-entry="${k}"]`);
    field.value = value;
    field.dispatchEvent(new Event("input", {bubbles: true}));
    field.dispatchEvent(new Event("change", {bubbles: true}));
  });
}
"""


def program(folder: pathlib.Path) -> dict[str, Any]:
    """What is left of the first program on the page, which is run as a file."""
    _, text = next(markdown.programs(PAGE.read_text(encoding="utf-8")))
    path = folder / "rnn.py"
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(path))


def main(folder: pathlib.Path) -> None:
    """Make the pictures."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as p:
        found = program(pathlib.Path(temporary))
        tape: Tape = found["tape"]
        path = pathlib.Path(temporary) / "rnn.html"
        debugger(tape, title="a tanh RNN over 30 steps").save(path)
        (folder / "rnn.svg").write_text(tape.to_svg(title="a tanh RNN over 30 steps"), encoding="utf-8", newline="\n")
        browser = p.chromium.launch(executable_path=chromium.executable(), args=chromium.ARGUMENTS)
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(path.as_uri())
            page.wait_for_function("() => window.tinygrad")
            page.wait_for_timeout(1000)  # the replay
            page.evaluate(f"() => tinygrad.app.pick({TANH})")
            page.screenshot(path=folder / f"debugger-{scheme}.png")
            if scheme == "light":
                crops(page, folder, found)
            page.close()
        browser.close()


def crops(page: Any, folder: pathlib.Path, found: dict[str, Any]) -> None:
    """The answers to the five questions."""
    page.locator("section:has(> #step)").screenshot(path=folder / "step.png")
    page.evaluate("() => tinygrad.app.go(tinygrad.app.length)")
    page.locator("details[data-leaf]").first.screenshot(path=folder / "shares.png")
    page.locator("details[data-leaf]:has-text('h_0.grad')").screenshot(path=folder / "start.png")
    doubled = [2 * float(entry) for entry in found["x"][3]]
    page.evaluate(ENTER, {"input": "t = 3:", "values": doubled})
    page.wait_for_timeout(500)
    page.locator("#sliders > section").first.screenshot(path=folder / "what-if.png")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else markdown.ROOT / "docs" / "images")
