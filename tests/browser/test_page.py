"""The page as a whole: sizes, times, what it asks for, strange texts, without scripts, errors, accessibility."""

from __future__ import annotations

import html
import linecache
import re
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.browser import install
from tests.browser.chromium import Shown
from tests.browser.tapes import TAPES, watched
from tests.support.measured import measured
from tinygrad_rnn.viz.debugger import FOLDER, code, debugger
from tinygrad_rnn.viz.minify import short_style

Show = Callable[..., Shown]
Note = Callable[[str, Any], None]
TABLE = "pages in Chromium"

PRESSES = """
async keys => {
  const times = [];
  for (const key of keys) {
    const began = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    document.body.getBoundingClientRect();  // styles and layout, which the browser would put off
    times.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return times;
}
"""


def lstm(steps: int, hidden: int, values: int | str) -> tg.Tape:
    """A composed LSTM over time."""
    tg.manual_seed(0)
    layer = tg.nn.LSTM(hidden, hidden, impl="composed")
    with tg.Tape(values=values) as tape:
        out, _ = layer(tg.randn(steps, 1, hidden))
        (out[-1] ** 2).sum().backward()
    return tape


# sizes and times -----------------------------------------------------------------------------------------------------


def test_a_small_page_is_small(record_property: Note) -> None:
    tg.manual_seed(0)
    W = (tg.randn(3, 3) * 0.6).requires_grad_()
    U = tg.randn(3, 2).requires_grad_()
    x = tg.randn(30, 2)
    h = tg.zeros(3)
    with tg.Tape() as tape:
        for t in range(30):
            a = W @ h + U @ x[t]
            h = tg.tanh(a)
        loss = (h * h).sum()
        loss.backward()
    empty, size = [len(debugger(each).html.encode()) for each in (tg.Tape(), tape)]
    measured(record_property, TABLE, row("30-step RNN", size=f"{size / 1024:.1f} KiB"), None)
    assert size - empty < 14_000  # the tape
    assert size <= 61_440  # and the page itself, with its quizzes and its replay


def row(page: str, size: str = "", opens: str = "", key: str = "") -> dict[str, str]:
    return {"page": page, "size": size, "opens in": opens, "a key takes": key}


def test_an_index_stands_lower_than_its_letter(show: Show) -> None:
    """Where the font for formulas has no table for it, the browser puts it on the line."""
    shown = show(debugger(watched(TAPES["rnn"]).shown))
    shown.evaluate("() => tinygrad.app.pick(tinygrad.tape.records.findLast(r => r.name === 'tanh').number)")
    bottoms = "e => [...e.children].map(c => c.getBoundingClientRect().bottom)"
    places = shown.evaluate(f"() => [...document.querySelectorAll('#step msub')].map({bottoms})")
    assert len(places) >= 2 and all(index > letter + 1 for letter, index in places), places


def test_a_key_at_3200_records(show: Show, record_property: Note) -> None:
    tape = lstm(200, 128, 64)
    assert len(tape) > 3200
    page = debugger(tape)
    size = len(page.html.encode()) / 2**20
    shown = show(page)
    opens = shown.evaluate("() => performance.now()")
    times = shown.evaluate(PRESSES, ["ArrowRight"] * 50)
    shown.evaluate("() => tinygrad.app.go(1600)")
    times += shown.evaluate(PRESSES, ["ArrowRight", "ArrowRight", "ArrowLeft"] * 20)
    assert shown.evaluate("() => tinygrad.app.at") == 1620
    median = statistics.median(times)
    found = row(
        "200-step LSTM, H 128",
        f"{size:.2f} MiB",
        f"{opens / 1000:.2f} s",
        f"{median:.1f} ms (largest {max(times):.0f})",
    )
    measured(record_property, TABLE, found, None)
    assert size < 2
    assert median < 200  # 16 on a machine that does nothing else


def test_a_hundred_thousand_records_open(show: Show, record_property: Note) -> None:
    w = tg.tensor(0.5, requires_grad=True)
    with tg.Tape() as tape:
        h = tg.tensor(0.1)
        for _ in range(33_334):
            h = tg.tanh(w * h + 0.1)
        h.backward()
    assert len(tape) > 100_000
    page = debugger(tape)
    shown = show(page)
    opens = shown.evaluate("() => performance.now()")
    times = shown.evaluate(PRESSES, ["ArrowRight"] * 20)
    size = f"{len(page.html.encode()) / 2**20:.1f} MiB"
    found = row(
        "100,000 records",
        size,
        f"{opens / 1000:.2f} s",
        f"{statistics.median(times):.1f} ms (largest {max(times):.0f})",
    )
    measured(record_property, TABLE, found, None)
    assert opens < 15_000  # 2000 on a machine that does nothing else
    assert shown.evaluate("() => document.querySelectorAll('*').length") < 30_000


# how it is packed ----------------------------------------------------------------------------------------------------


def test_pages_of_every_length_are_read(show: Show) -> None:
    """The last letter stands alone, or in a pair; what is read is in whole bytes."""
    lengths = set()
    for k in range(12):
        page = debugger(watched(TAPES["diamond"]).shown, title="".join(chr(33 + 7 * k * j % 90) for j in range(k)))
        content = re.search(r'id="content">([^<]*)<', page.html)
        assert content is not None
        lengths.add(len(content[1]) % 16)
        show(page).page.close()
    assert {length % 2 for length in lengths} == {0, 1} and len(lengths) > 4


def test_without_bzip2_a_page_is_the_same_and_larger(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a Python makes it that was built without it; and what bzip2 does with runs and all letters is undone."""
    tape = watched(TAPES["diamond"]).shown
    pages = [debugger(tape).html]
    code.cache_clear()
    monkeypatch.setitem(code.__wrapped__.__globals__, "bz2", None)
    pages.append(debugger(tape).html)
    code.cache_clear()
    monkeypatch.undo()
    runs = "".join(f"/*{c * n}*/" for n in (3, 4, 5, 6, 8, 255, 259, 260, 1000) for c in "ab") + f"/*{RARE}*/"
    monkeypatch.setitem(code.__wrapped__.__globals__, "short_style", lambda text: short_style(text) + runs)
    pages.append(debugger(tape).html)
    code.cache_clear()
    assert len(pages[1]) > 1.05 * len(pages[0])
    css = "() => document.querySelector('head style').textContent"
    styles = [show(page).evaluate(css) for page in pages]
    assert styles[0] == styles[1] == short_style((FOLDER / "style.css").read_text(encoding="utf-8"))
    assert styles[2] == styles[0] + runs


RARE = "".join(map(chr, (*range(1, 13), *range(14, 42), *range(43, 600), 0x1F600)))

# strange texts -------------------------------------------------------------------------------------------------------

EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\"'&amp;`${1}"


def test_texts_are_shown_as_they_are(show: Show, tmp_path: Any) -> None:
    path = tmp_path / "a <b> \"quoted\" & 'file'.py"
    lines = [
        "import tinygrad_rnn as tg",
        f"text = {EVIL!r}  # {EVIL}",
        "w = tg.tensor([1.0, 2.0], requires_grad=True)",
        f"y = tg.tanh(w * 2)  # {'x' * 10_000} {EVIL}",
        "tape.name(**{text: w, 'h\\u202e\\x00': y})",
        "y.sum().backward()",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    with tg.Tape() as tape:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"tape": tape})
    page = debugger(tape, title=EVIL, error=ValueError(EVIL))
    shown = show(page)
    for _ in range(len(tape.steps)):
        shown.press("ArrowRight")
        assert shown.evaluate("() => window.hacked") is None
    shown.press("m", "Home", "ArrowRight", "/")
    shown.page.keyboard.type("tanh")
    assert shown.evaluate("() => window.hacked") is None
    assert shown.evaluate("() => document.querySelectorAll('img').length") == 0
    assert shown.evaluate("() => document.title") == EVIL
    text = shown.evaluate("() => document.body.textContent")
    assert text.count("window.hacked=1</script><img") >= 3
    assert EVIL in shown.evaluate("() => document.getElementById('banner').textContent")
    without = show(page, scripts=False)
    assert without.page.title() == EVIL and without.page.locator("img").count() == 0


def test_names_that_look_like_html_stay_text_where_they_are_used() -> None:
    """In the file itself, the deflated part aside, no text of the program is markup."""
    w = tg.ones(1, requires_grad=True)
    with tg.Tape() as tape:
        tape.name(**{EVIL: w})
        (w * 2).backward()
    page = debugger(tape, title=EVIL, error=EVIL).html
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page and html.escape(EVIL)[:20] in page


# without scripts, in an iframe, narrow, printed ----------------------------------------------------------------------


def test_without_scripts_it_shows_records_and_steps(show: Show) -> None:
    tapes = watched(TAPES["diamond"])
    text = show(debugger(tapes.shown), scripts=False).page.locator("body").inner_text()
    for record in tapes.shown:
        assert repr(record) in text
    for step in tapes.shown.steps:
        assert all(line.strip() in text for line in repr(step).splitlines())
    long = show(debugger(watched(TAPES["rnn"]).shown), scripts=False).page.locator("body").inner_text()
    assert re.search(r"and \d+ more records", long) and re.search(r"and \d+ more steps", long)


def test_in_a_notebook_it_lives_in_an_iframe(show: Show) -> None:
    page = debugger(watched(TAPES["diamond"]).shown)
    shown = show(
        f"<!doctype html><title>notebook</title><script>window.tinygrad = 0 || true</script>{page._repr_html_()}"
    )
    frame = shown.page.frames[-1]
    frame.wait_for_function("() => window.tinygrad && window.tinygrad.app")
    frame.evaluate("() => tinygrad.app.go(3)")
    assert frame.evaluate("() => document.getElementById('where').textContent") == "step 3 of 6"
    shown.requests = [url for url in shown.requests if not url.startswith("about:")]


@pytest.mark.parametrize("width", [360, 700, 1100])
def test_nothing_is_cut_off_on_a_narrow_screen(width: int, show: Show) -> None:
    shown = show(debugger(watched(TAPES["rnn"]).shown))
    shown.page.set_viewport_size({"width": width, "height": 800})
    shown.evaluate("() => tinygrad.app.go(20)")
    assert shown.evaluate("() => document.documentElement.scrollWidth") <= width


def test_printed_it_shows_the_step(show: Show) -> None:
    shown = show(debugger(watched(TAPES["diamond"]).shown))
    shown.evaluate("() => tinygrad.app.go(3)")
    shown.page.emulate_media(media="print")
    assert shown.page.locator("#step").is_visible()
    assert shown.page.pdf()[:4] == b"%PDF"


@pytest.mark.parametrize("width", [1180, 1280, 1400])
def test_the_bar_is_one_line(width: int, show: Show) -> None:
    shown = show(debugger(watched(TAPES["rnn"]).shown))
    shown.page.set_viewport_size({"width": width, "height": 800})
    shown.evaluate("() => tinygrad.app.go(1e9)")
    assert shown.evaluate("() => document.getElementById('bar').offsetHeight") < 50


def test_records_and_constants_without_a_name_are_called_as_the_program_has_them(show: Show) -> None:
    shown = show(debugger(watched(TAPES["rnn"]).shown))
    product = "() => tinygrad.tape.records.findLast(r => r.name === 'matmul').number"
    shown.evaluate(f"() => tinygrad.app.pick(({product})())")
    text = shown.evaluate("() => document.getElementById('step').textContent.replaceAll('\\u00a0', ' ')")
    number = shown.evaluate(product)
    assert text.startswith(f"(U @ x[t])29 %{number} = matmul(U, x[t])") and "constant b" not in text
    assert "(U @ x[t])29 value" in text and "Ux[t]" in text


def test_cells_of_a_notebook_are_called_cells(show: Show) -> None:
    sources = {f"/tmp/ipykernel_42/{number}.py": "y = w * 2\n" for number in (1234567, 89)}
    w = tg.ones(2, requires_grad=True)
    with tg.Tape() as tape:
        for file, source in sources.items():
            linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
            exec(compile(source, file, "exec"), {"w": w})
    shown = show(debugger(tape))
    for place, name in enumerate(("cell 1", "cell 2"), start=1):
        shown.evaluate(f"() => tinygrad.app.go({place})")
        assert shown.evaluate("() => document.getElementById('file').textContent") == name
        assert f"{name}:1" in shown.evaluate("() => document.getElementById('stack').textContent")


# errors --------------------------------------------------------------------------------------------------------------


def test_an_error_of_the_program_is_named_with_its_line(show: Show) -> None:
    tapes = watched(TAPES["stopping"])
    assert tapes.error is not None
    shown = show(debugger(tapes.shown, error=tapes.error))
    banner = shown.evaluate("() => document.getElementById('banner').innerText")
    assert str(tapes.error)[:60] in banner and "tapes.py, line " in banner
    line = int(re.search(r"tapes\.py, line (\d+)", banner)[1])  # type: ignore[index]
    with open(TAPES["stopping"].__code__.co_filename, encoding="utf-8") as file:
        assert file.read().splitlines()[line - 1].strip() == "h @ tg.ones(3, 3)"


def test_a_sweep_that_failed_says_where(show: Show) -> None:
    w = tg.ones(2, requires_grad=True)
    with tg.Tape() as tape:
        y = tg.exp(w).sum()
        y.backward()
        with pytest.raises(tg.errors.GraphError):
            (y * 2).backward()
    shown = show(debugger(tape))
    assert shown.evaluate("() => tinygrad.app.sweep.number") == 1
    assert "second time" in shown.evaluate("() => document.getElementById('banner').innerText")
    assert "The sweep ended here" in shown.evaluate("() => document.getElementById('step').innerText")


def test_a_tape_without_a_sweep_shows_the_forward_pass(show: Show) -> None:
    with tg.Tape() as tape:
        tg.tanh(tg.ones(2, requires_grad=True))
    shown = show(debugger(tape))
    shown.press("ArrowRight", "m")
    assert shown.evaluate("() => [tinygrad.app.mode, tinygrad.app.at]") == ["forward", 1]


def test_an_empty_tape(show: Show) -> None:
    shown = show(debugger(tg.Tape()))
    shown.press("ArrowRight", "ArrowLeft", "End", "Home", "f", "l", "m", "o", "z", "a")


def test_large_and_unkept_arrays(show: Show) -> None:
    for values in ("all", 10, "shapes"):
        with tg.Tape(values=values) as tape:
            w = tg.tensor(np.arange(120.0).reshape(2, 3, 20), requires_grad=True)
            tg.tanh(w * 2).sum().backward()
        shown = show(debugger(tape))
        for _ in range(4):
            shown.press("ArrowRight")
            for button in shown.page.locator("[data-entries]:visible").all()[:2]:
                button.click()


# accessibility -------------------------------------------------------------------------------------------------------

STATES = {
    "start": "",
    "in the middle": "tinygrad.app.go(9)",
    "forward": "tinygrad.app.go(9); document.getElementById('forward').click()",
    "end": "tinygrad.app.go(1e9)",
    "help": "document.getElementById('help').click()",
    "search": "const s = document.querySelector('#search'); s.focus(); s.value = 'h';"
    " s.dispatchEvent(new Event('input'))",
    "quiz": "tinygrad.app.go(4); document.querySelector('#modes button')?.click()",
}


@pytest.mark.skipif(not install.AXE.exists(), reason="axe-core is not there: make test-browser")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(scheme: str, show: Show) -> None:
    found = {}
    for name in ("rnn", "stopping"):
        tapes = watched(TAPES[name])
        page = debugger(tapes.shown, error=tapes.error)
        for state, run in STATES.items():
            shown = show(page, color_scheme=scheme)
            shown.page.add_script_tag(path=str(install.AXE))
            shown.evaluate(f"() => {{ {run} }}")
            report = shown.evaluate("() => axe.run()")
            for violation in report["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    nodes = [node["html"][:120] for node in violation["nodes"][:3]]
                    found[f"{name}, {state}: {violation['id']}"] = nodes
            shown.page.close()
    assert found == {}
