"""Everything can be reached and done with keys alone, and the address of the page holds the place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.chromium import Shown
from tests.browser.tapes import TAPES, watched
from tinygrad_rnn.viz.debugger import Page, debugger

Show = Callable[..., Shown]

PLACE = (
    "() => { const {mode, sweep, at, tape} = tinygrad.app; return [mode, sweep?.number, at, tape === tinygrad.tape]; }"
)

WITHOUT_FOCUS = """
() => {
  const focusable = "a[href], button, input, select, textarea, summary, [tabindex], label";
  // cells and shares have the grid's cursor and the names on the right; lines and rows the box for breakpoints
  const known = "[data-record], [data-share], [data-line], [data-row], #grid *";
  const lost = e => getComputedStyle(e).cursor === "pointer" && e.checkVisibility({visibilityProperty: true}) &&
    !e.closest(focusable) && !e.matches(known);
  return [...document.querySelectorAll("body *")].filter(lost).map(e => e.outerHTML.slice(0, 200));
}
"""

UNREACHED = """
() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const seen = e => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.tabIndex >= 0;
  return all.filter(e => seen(e) && !e.dataset.reached).map(e => e.outerHTML.slice(0, 200));
}
"""


def page_of(name: str, **options: Any) -> Page:
    return debugger(watched(TAPES[name]).shown, **options)


def place(shown: Shown) -> tuple[str, int, int]:
    """Mode, sweep and how many steps, or records, are done."""
    mode, sweep, at, outer = shown.evaluate(PLACE)
    assert outer
    return mode, sweep, at


@pytest.mark.parametrize("name", ["rnn", "fused", "stopping", "differentiated_twice"])
def test_tab_reaches_all_there_is_to_press(name: str, show: Show) -> None:
    tapes = watched(TAPES[name])
    shown = show(debugger(tapes.shown, error=tapes.error))
    shown.evaluate("() => tinygrad.app.go(Math.min(9, tinygrad.app.length))")
    assert shown.evaluate(WITHOUT_FOCUS) == []
    around = 0
    for _ in range(400):
        shown.press("Tab")
        seen = shown.evaluate(
            "() => { const e = document.activeElement, seen = e.dataset.reached; e.dataset.reached = 1;"
            " return e === document.body || Boolean(seen); }"
        )
        around = around + 1 if seen else 0
        if around > 2:  # it began again: there is no trap
            break
    assert around > 2
    assert shown.evaluate(UNREACHED) == []
    shown.press("Shift+Tab")
    assert shown.evaluate("() => document.activeElement.matches(':focus-visible')")
    assert shown.evaluate(
        "() => { const s = getComputedStyle(document.activeElement);"
        " return s.outlineStyle !== 'none' || s.boxShadow !== 'none'; }"
    )


def test_keys_move_in_the_sweep(show: Show) -> None:
    tapes = watched(TAPES["rnn"])
    shown = show(debugger(tapes.shown))
    steps = tapes.exact.steps
    assert place(shown) == ("backward", 0, 0)
    shown.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert place(shown) == ("backward", 0, 2)
    shown.press("End", "ArrowRight")
    assert place(shown) == ("backward", 0, len(steps))
    shown.press("Home", "ArrowLeft")
    assert place(shown) == ("backward", 0, 0)
    shown.press("l")
    first = next(k for k, step in enumerate(steps) if step.is_leaf)
    assert place(shown) == ("backward", 0, first + 1)
    shown.press("Home", "f")
    uses: dict[Any, int] = {}
    for step in steps:
        for c in step.contributions:
            uses[c.target] = uses.get(c.target, 0) + 1
    fan = next(k for k, step in enumerate(steps) if uses.get(step.target, 0) > 1)
    assert place(shown) == ("backward", 0, fan + 1)
    shown.press("m")
    assert place(shown) == ("forward", 0, steps[fan].target.number + 1)
    shown.press("m")
    assert place(shown) == ("backward", 0, fan + 1)


def test_keys_move_by_time_steps(show: Show) -> None:
    """On a tape whose records say their time."""
    tapes = watched(TAPES["packed"])
    shown = show(debugger(tapes.shown))
    steps = tapes.exact.steps
    times = [step.record.time if step.record is not None else None for step in steps]
    shown.press("Home")
    at = 0
    for _ in range(5):
        shown.press("Shift+ArrowRight")
        at = next((k for k in range(at + 1, len(times)) if times[k] != times[at]), len(times))
        assert place(shown)[2] == at
    shown.press("Shift+ArrowLeft")
    assert 0 < place(shown)[2] < at


def test_a_breakpoint_by_name(show: Show) -> None:
    tapes = watched(TAPES["rnn"])
    shown = show(debugger(tapes.shown))
    shown.press("b")
    shown.page.keyboard.type("tanh")
    shown.press("Enter", "Escape")
    tanhs = [k for k, step in enumerate(tapes.exact.steps) if step.record is not None and step.record.name == "tanh"]
    for k in tanhs[:3]:
        shown.press("r")
        assert place(shown) == ("backward", 0, k + 1)
    shown.press("Shift+R")
    assert place(shown) == ("backward", 0, tanhs[1] + 1)


def test_search_runs_to_what_it_finds(show: Show) -> None:
    tapes = watched(TAPES["rnn"])
    shown = show(debugger(tapes.shown))
    shown.press("/")
    number = next(record.number for record in tapes.exact if record.name == "sum")
    shown.page.keyboard.type(f"%{number}")
    shown.press("Enter")
    steps = tapes.exact.steps
    assert place(shown)[2] == next(k for k, s in enumerate(steps) if s.target[:2] == ("record", number)) + 1
    shown.press("Escape", "ArrowRight")
    assert place(shown)[2] == 2


def test_the_grid_has_a_cursor(show: Show) -> None:
    tapes = watched(TAPES["rnn"])
    shown = show(debugger(tapes.shown))
    shown.press("g", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight")
    cursor = shown.evaluate(
        "() => Number(document.getElementById('grid').getAttribute('aria-activedescendant').slice(1))"
    )
    assert shown.evaluate("() => document.getElementById('say').textContent").strip()
    shown.press("Enter")
    steps = tapes.exact.steps
    assert place(shown)[2] == next(k for k, s in enumerate(steps) if s.target[:2] == ("record", cursor)) + 1


def test_sweeps_fused_records_theme_and_help(show: Show) -> None:
    shown = show(page_of("accumulating"))
    assert place(shown)[1] == 1
    shown.press("s")
    assert place(shown)[1] == 0
    before = shown.evaluate("() => document.documentElement.dataset.theme")
    shown.press("t")
    assert {before, shown.evaluate("() => document.documentElement.dataset.theme")} == {"light", "dark"}
    shown.press("t", "?")
    assert shown.evaluate("() => document.querySelector('dialog').open")
    shown.press("Escape")
    assert not shown.evaluate("() => document.querySelector('dialog').open")
    shown.press("z", "z")
    shown = show(page_of("fused"))
    for _ in range(16):
        shown.press("ArrowRight")
        if shown.evaluate("() => tinygrad.app.record && tinygrad.tape.expansion(tinygrad.app.record) !== null"):
            break
    at = place(shown)
    shown.press("o", "ArrowRight", "ArrowRight")
    assert shown.evaluate(PLACE) == ["backward", 0, 2, False]
    shown.press("Escape")
    assert place(shown) == at


def test_the_address_holds_the_place(show: Show) -> None:
    page = page_of("accumulating")
    shown = show(page)
    shown.press("s", "ArrowRight", "ArrowRight")
    shown.page.wait_for_function("() => location.hash === '#b0.2'")
    for fragment, where in (
        ("#b0.2", ("backward", 0, 2)),
        ("#f3", ("forward", None, 3)),
        ("#b1.4", ("backward", 1, 4)),
    ):
        mode, sweep, at = place(show(page, fragment=fragment))
        assert (mode, at) == (where[0], where[2]) and (sweep == where[1] or where[1] is None)
    for fragment in ("#b9.2", "#b0.999", "#nonsense", "#x5.b0.1", "#f99999"):
        show(page, fragment=fragment)  # no complaint
    inner = show(page_of("fused"), fragment="#x0.b0.3")
    assert inner.evaluate(PLACE) == ["backward", 0, 3, False]
    with contextlib.suppress(AssertionError):
        place(inner)
