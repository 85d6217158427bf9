"""The site: every page of it in Chromium, from the disk and from a server, and what must be on them.

``SITE=folder`` tests a site that is there; else it is built, once for all processes of the tests.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import functools
import html
import inspect
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.markdown import ROOT
from tinygrad_rnn.lab import catalogue as lab
from tinygrad_rnn.teaching.course import catalogue as course

sphinx = pytest.importorskip("sphinx", reason="the site is built by the extra `site`: make site")
pytest.importorskip("furo", reason="the site is built by the extra `site`: make site")

from tools.site import check, examples, gallery, reference  # noqa: E402

PARTS = 4
"""The pages are opened in so many tests, which processes share."""

LOOK = """
() => ({
  title: document.title.trim(),
  headings: document.querySelectorAll("h1").length,
  silent: [...document.images].filter(image => !image.alt.trim()).map(image => image.src),
  broken: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
  wide: document.documentElement.scrollWidth - innerWidth,
})
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The site."""
    if "SITE" in os.environ:
        return pathlib.Path(os.environ["SITE"]).resolve()
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / "site"
    with (base / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "index.html").exists():
            made = subprocess.run(
                [sys.executable, "-m", "tools.site", str(folder)], cwd=ROOT, capture_output=True, text=True
            )
            assert made.returncode == 0, made.stderr[-4000:]
    return folder


def shown_wrong(page: Any, address: str, root: str) -> list[str]:
    """Open a page; what is wrong with what it shows, asks for, and says on the console."""
    wrong: list[str] = []
    heard = {
        "request": lambda request: (
            None if request.url.startswith((root, "data:", "blob:")) else wrong.append(f"asks for {request.url}")
        ),
        "console": lambda message: wrong.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: wrong.append(str(error)),
    }
    for name, hear in heard.items():
        page.on(name, hear)
    page.goto(address, wait_until="load")
    if re.search(r"/gallery/(?!index\.)", address):  # a debugger's page, which makes all that it shows
        page.wait_for_function("() => window.tinygrad || document.documentElement.dataset.failed")
    seen = page.evaluate(LOOK)
    for name, hear in heard.items():
        page.remove_listener(name, hear)
    wrong += [f"a picture without words: {image}" for image in seen["silent"]]
    wrong += [f"a picture that is not there: {image}" for image in seen["broken"]]
    wrong += ["no title"] * (not seen["title"]) + ["no heading"] * (not seen["headings"])
    return wrong + [f"{seen['wide']} pixels wider than a phone"] * (seen["wide"] > 0)


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    """A page as wide as a phone, where whatever sticks out is seen."""
    with contextlib.closing(browser.new_context(viewport={"width": 390, "height": 800})) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_opens_from_the_disk(site: pathlib.Path, phone: Any, part: int) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 190
    found = {}
    for path in pages[part::PARTS]:
        if wrong := shown_wrong(phone, path.as_uri(), site.as_uri()):
            found[path.relative_to(site).as_posix()] = wrong
    assert found == {}


def test_links_lead_somewhere(site: pathlib.Path) -> None:
    assert check.problems(site) == []


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[str]:
    """A server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_gives_the_same(site: pathlib.Path, phone: Any) -> None:
    names = ["index", "lab/01-sum-over-time", "reference/tinygrad_rnn.optim", "gallery/rnn", "search"]
    with served(site) as root:
        assert {name: wrong for name in names if (wrong := shown_wrong(phone, f"{root}{name}.html", root))} == {}


# what is wrong is found ----------------------------------------------------------------------------------------------

GOOD = "<!doctype html><html><head><title>T</title></head><body><h1 id='a'>H</h1>{}</body></html>"
FAULTS = {
    "an outside request": ('<img alt="x" src="http://127.0.0.1:9/x.png">', "asks for http://127.0.0.1:9/x.png"),
    "an outside script": ('<script src="https://unpkg.com/x"></script>', "loads https://unpkg.com/x: outside of the"),
    "a console error": ("<script>console.error('oh')</script>", "error: oh"),
    "an exception": ("<script>nothing.at.all</script>", "nothing is not defined"),
    "a broken link": ('<a href="gone.html">x</a>', "a link to gone.html: there is no such file"),
    "a broken anchor": ('<a href="#b">x</a>', "a link to #b: there is no such place"),
    "a broken anchor elsewhere": ('<a href="other.html#b">x</a>', "a link to other.html#b: there is no such place"),
    "a picture without words": ('<img src="data:," alt="">', "a picture without words"),
    "a picture that is gone": ('<img src="gone.png" alt="x">', "a picture that is not there"),
    "a wide page": ('<div style="width: 2000px">x</div>', "pixels wider than a phone"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(tmp_path: pathlib.Path, phone: Any, fault: str) -> None:
    (tmp_path / "other.html").write_text(GOOD.format('<a href="page.html#a">x</a>'), encoding="utf-8")
    page, (content, expected) = tmp_path / "page.html", FAULTS[fault]

    def wrong(text: str) -> str:
        page.write_text(text, encoding="utf-8")
        return "\n".join([*check.problems(tmp_path), *shown_wrong(phone, page.as_uri(), tmp_path.as_uri())])

    assert wrong(GOOD.format("")) == ""
    assert expected in wrong(GOOD.format(content))


@pytest.mark.parametrize(
    ("without", "expected"), [("<title>T</title>", "no title"), ("<h1 id='a'>H</h1>", "no heading")]
)
def test_pages_without_a_name_are_found(tmp_path: pathlib.Path, phone: Any, without: str, expected: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(GOOD.format("").replace(without, ""), encoding="utf-8")
    assert check.problems(tmp_path) == [f"page.html: {expected}"]
    assert expected in shown_wrong(phone, page.as_uri(), tmp_path.as_uri())


# search --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def search(site: pathlib.Path, browser: Any) -> Iterator[Callable[[str], list[tuple[str, str]]]]:
    """Search from the start page, from the disk: addresses and texts of what is found."""
    with contextlib.closing(browser.new_context(viewport={"width": 1300, "height": 900})) as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def search(words: str) -> list[tuple[str, str]]:
            page.goto((site / "index.html").as_uri())
            page.fill(".sidebar-search", words)
            page.press(".sidebar-search", "Enter")
            page.wait_for_function(
                "() => /finished|did not match/.test(document.querySelector('.search-summary')?.textContent)"
            )
            items = "items => items.map(item => [item.querySelector('a').getAttribute('href'), item.textContent])"
            return [(link, text) for link, text in page.eval_on_selector_all("ul.search > li", items)]

        yield search
        assert complaints == []


def test_the_search_finds_names_first(search: Callable[[str], list[tuple[str, str]]]) -> None:
    for words, expected in {
        "LSTM": "#tinygrad_rnn.nn.LSTM",
        "cross_entropy": "#tinygrad_rnn.nn.functional.cross_entropy",
        "clip_grad_norm_": "#tinygrad_rnn.nn.utils.clip_grad_norm_",
    }.items():
        found = search(words)
        assert any(link.endswith(expected) for link, _ in found[:4]), (words, found[:6])


def test_the_search_finds_words_and_shows_where(search: Callable[[str], list[tuple[str, str]]]) -> None:
    found = search("wormhole")
    assert any(link.startswith("lab/10-wormhole.html") for link, _ in found)
    assert sum("wormhole" in text.lower() for _, text in found) > len(found) / 2
    assert search("nosuchwordanywhere") == []


# what is on the pages ------------------------------------------------------------------------------------------------


def test_every_public_name_has_a_place_in_the_reference(site: pathlib.Path) -> None:
    missing = []
    for page in reference.pages():
        ids = check.Page(site / "reference" / f"{page.slug}.html").ids
        missing += [name.path for name in page.names if name.path not in ids]
    assert missing == [] and sum(len(page.names) for page in reference.pages()) > 700


def test_every_public_module_is_in_the_reference() -> None:
    """A package of the program's, and what it shows as a module in ``__all__``."""
    import tinygrad_rnn as tg

    internal = {"backend", "train", "legacy", "experiment", "modules", "parallel", "cudnn", "mps", "recurrent", "ops"}
    shown = {name for name in [*tg.__all__, *tg._SUBPACKAGES] if inspect.ismodule(getattr(tg, name))}
    for module in sorted(shown):
        for name in getattr(getattr(tg, module), "__all__", ()):
            if inspect.ismodule(getattr(getattr(tg, module), name)):
                shown.add(f"{module}.{name}")
    named = {module for module in shown if module.rpartition(".")[2] not in internal and module != "utils"}
    assert named - set(reference.MODULES) == set()


def test_primitives_have_their_equations_and_an_example(site: pathlib.Path) -> None:
    text = (site / "reference" / "tinygrad_rnn.elementwise.html").read_text(encoding="utf-8")
    tanh = text.split('id="tinygrad_rnn.tanh"', 1)[1].split("</dl>", 1)[0]
    assert tanh.count('<math display="block">') == 2
    assert "tg.tanh(x)" in html.unescape(re.sub(r"<[^>]+>", "", tanh))
    text = (site / "reference" / "tinygrad_rnn.nn.layers.html").read_text(encoding="utf-8")
    lstm = text.split('id="tinygrad_rnn.nn.LSTM"', 1)[1]
    assert "tinygrad_rnn.ops.recurrent.cells.html#tinygrad_rnn.ops.recurrent.cells.lstm_cell" in lstm
    assert lstm.count('<math display="block">') > 8


def test_most_operations_have_an_example() -> None:
    """In the docstring, or run when the site is built."""
    without = [
        name.path
        for module, name in reference.names()
        if module in ("", "special", "nn.functional") and callable(name.value) and not name.same
        if ">>> " not in (inspect.getdoc(name.value) or "") and not examples.example(name.path, name.value)
    ]
    assert len(without) < 50, without


def test_the_laboratory_and_the_gallery_are_whole(site: pathlib.Path) -> None:
    assert [
        each.name for each in lab.experiments() if not (site / f"lab/{each.number:02}-{each.name}.html").exists()
    ] == []
    assert len(gallery.PROGRAMS) == 12
    index = check.Page(site / "gallery/index.html")
    for program in gallery.PROGRAMS:
        assert f"{program.name}.html" in index.links and (site / f"gallery/{program.name}.html").exists()


def test_the_exercises_are_there_and_their_solutions_are_not(site: pathlib.Path) -> None:
    for exercise in course.exercises():
        page = (site / f"course/{exercise.number:02}-{exercise.name}.html").read_text(encoding="utf-8")
        text = html.unescape(re.sub(r"<[^>]+>", "", page)).replace("\u2019", "'")
        assert exercise.function in text and exercise.title in text
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(exercise.solution))).body
        assert isinstance(tree, ast.FunctionDef)
        solution = {
            ast.unparse(line) for node in tree.body[1:] for line in ast.walk(node) if isinstance(line, ast.stmt)
        }
        own = {line for line in solution if line not in exercise.starter and len(line) > 12}
        shown = {line for line in own if line in text and line not in exercise.text}
        assert len(shown) < max(1, len(own)), (exercise.name, shown)


def test_no_page_of_the_program_that_steps_through_is_without_its_numbers(site: pathlib.Path, browser: Any) -> None:
    """The pages of the gallery compute their tapes again, and agree with them."""
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        for program in gallery.PROGRAMS:
            page.goto((site / f"gallery/{program.name}.html").as_uri())
            page.wait_for_function("() => window.tinygrad || document.documentElement.dataset.failed")
            assert page.evaluate("() => document.documentElement.dataset.failed === undefined"), program.name


def test_formulas_are_drawn_when_the_site_is_built(site: pathlib.Path) -> None:
    drawn = 0
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert re.search(r"<script[^>]*(?:mathjax|katex)", text, re.IGNORECASE) is None, path
        drawn += text.count("<math")
    assert drawn > 500
