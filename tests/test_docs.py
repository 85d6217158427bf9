"""The documentation holds: its code prints what it says, its quotes are the source, its links lead somewhere."""

from __future__ import annotations

import doctest
import pathlib
import re
from collections.abc import Iterator

import pytest

import tinygrad_rnn as tg
from tests.support import markdown
from tests.support.markdown import ROOT
from tinygrad_rnn.autograd import extension
from tinygrad_rnn.backend.memory import release_memory
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.testing.sample_calls import SAMPLES

PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/lab/*.md"), *ROOT.glob("*.md")])
PROSE = {"CHANGELOG.md", "architecture.md"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PATH = re.compile(r"(?:[\w.-]+/)+(?:[\w-]+\.(?:py|cu|md|toml|txt|yaml))?|[\w-]+\.(?:py|cu|toml)")
"""A span that is the name of a file or, with a slash at its end, of a folder."""

TARGET = re.compile(r"\bmake ([a-z]+)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture
def no_primitives_left() -> Iterator[None]:
    """What a page declares with the package's own means is taken back: the name may be declared once."""
    before = set(REGISTRY)
    yield
    for name in set(REGISTRY) - before - extension._own:
        del REGISTRY[name]
        SAMPLES.pop(name, None)


@each_page
@pytest.mark.usefixtures("no_primitives_left")
def test_examples_print_what_the_page_says(page: pathlib.Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    release_memory()  # a page measures memory; what other tests have left would be used without being counted
    for line, block in markdown.programs(page.read_text(encoding="utf-8")):
        if not re.search(r"^>>> ", block, re.MULTILINE):
            exec(compile("\n" * line + block, str(page), "exec"), namespace)  # tracebacks show lines of the page
            ran += 1
            continue
        test = doctest.DocTestParser().get_doctest(block, namespace, page.name, str(page), line)
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        report: list[str] = []
        runner.run(test, out=report.append, clear_globs=False)
        namespace.update(test.globs)
        assert runner.failures == 0, "".join(report)
        ran += len(test.examples)
    assert (ran > 0) != (page.name in PROSE), (
        f"{page.name} holds {ran} examples: see PROSE, or are its fences ```python?"
    )


@each_page
def test_quoted_source_is_the_source(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = list(markdown.quotes(text))
    assert len(found) == text.count("<!-- source:"), "a comment `<!-- source: path name -->` has no block below it"
    for quote in found:
        source = markdown.definition(ROOT / quote.path, quote.name)
        assert (line := markdown.differs(quote.text, source)) is None, (
            f"{page.name} quotes {quote.path}, {quote.name}, differently from this line on: {line}"
        )


@each_page
def test_links_lead_to_what_is_there(page: pathlib.Path) -> None:
    wrong = []
    for link in markdown.links(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in markdown.anchors(target.read_text(encoding="utf-8"))):
            wrong.append(link)
    assert not wrong


@each_page
def test_pictures_are_there_and_have_words_for_those_who_cannot_see_them(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [image for image in markdown.images(text) if not (page.parent / image).exists()] == []
    assert "![](" not in text and text.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]{10,}"', text))


def test_all_pictures_are_shown() -> None:
    shown = {(page.parent / image).resolve() for page in PAGES for image in markdown.images(page.read_text("utf-8"))}
    folders = (ROOT / "docs" / "images", ROOT / "docs" / "lab" / "images")
    assert {picture for folder in folders for picture in folder.iterdir()} == shown


@each_page
def test_files_named_are_there(page: pathlib.Path) -> None:
    """A name begins at the root, in the package or beside the page."""
    named = [span for span in markdown.code_spans(page.read_text(encoding="utf-8")) if PATH.fullmatch(span)]
    places = (ROOT, ROOT / "tinygrad_rnn", page.parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@each_page
def test_targets_of_make_that_are_named_are_there(page: pathlib.Path) -> None:
    commands = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("    make ")]
    commands += [span for span in markdown.code_spans(page.read_text(encoding="utf-8")) if span.startswith("make ")]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for command in commands for name in TARGET.findall(command)} <= set(targets)


def test_commits_are_checked_by_the_commands_of_make_lint() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = {
        re.sub(r" --force-exclude$", "", entry) for entry in re.findall(r"entry: \.venv/bin/(.+)$", hooks, re.MULTILINE)
    }
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:", 1)[1].split("\n\n", 1)[0]
    commands = {command.removesuffix(" .") for command in re.findall(r"^\t\$\(BIN\)/(.+)$", recipe, re.MULTILINE)}
    assert entries == commands and len(commands) == 3


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    versions = [heading for heading in headings if heading != "Unreleased"]
    assert headings[-len(versions) :] == versions
    assert re.fullmatch(re.escape(tg.version.package) + r" - \d{4}-\d\d-\d\d", versions[0])


def test_a_quote_differs_where_a_line_does() -> None:
    source = 'def f(x):\n    """Twice."""\n    y = x\n    return 2 * y'
    assert markdown.differs(source + "\n", source) is None
    assert markdown.differs("def f(x):\n    ...\n    return 2 * y", source) is None
    assert markdown.differs("def f(x):\n    ...", source) is None
    assert markdown.differs("def f(x):\n    ...\n    return 3 * y", source) == "    return 3 * y"
    assert markdown.differs("def f(x):\n    y = x", source) == "    y = x"
    assert markdown.differs('def f(x):\n    """Twice."""', source) == "    y = x"


def test_definitions_are_found_by_name() -> None:
    here = pathlib.Path(__file__)
    assert markdown.definition(here, "FLAGS") == "FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE"
    assert markdown.definition(here, "test_links_lead_to_what_is_there").startswith("@each_page\ndef test_links")
    assert markdown.definition(ROOT / "tests/support/markdown.py", "Quote.path") == "path: str"
    with pytest.raises(LookupError, match=r"does not define Quote\.line"):
        markdown.definition(ROOT / "tests/support/markdown.py", "Quote.line")


def test_headings_are_the_anchors_of_links() -> None:
    text = "# What `x += 1` does\n\n[see](#what-x--1-does), [not `[a](b)`](other.md)\n\n```sh\n# no heading\n```\n"
    assert markdown.anchors(text) == {"what-x--1-does"}
    assert markdown.links(text) == ["#what-x--1-does", "other.md"]
