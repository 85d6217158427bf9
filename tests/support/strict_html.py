"""HTML read as strictly as notebooks read it: what a notebook that is not trusted would remove is not there."""

from __future__ import annotations

import base64
import html
import re
from html.parser import HTMLParser
from typing import NamedTuple
from xml.etree import ElementTree

__all__ = ["Cell", "Page", "parsed"]

VOID = {"br", "hr", "img"}
PLAIN = set("b br caption code details div i img pre span summary table tbody td th thead tr".split())
"""JupyterLab keeps these where a notebook is not trusted."""
MATH = set(
    "math semantics annotation mfrac mi mn mo mover mrow mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr "
    "munder munderover".split()
)
"""These it removes, and keeps the text in them."""
SVG = "{http://www.w3.org/2000/svg}"


class Cell(NamedTuple):
    """A cell of a table that has a title: the text, the title, the style."""

    text: str
    title: str
    style: str

    @property
    def value(self) -> str:
        """The number in the title, which has all its digits."""
        return self.title.rpartition(" = ")[2]


class Page:
    """What was read.

    Attributes:
        tags: the elements that there are.
        text: all text outside of LaTeX annotations, with single spaces.
        cells: those with a title.
        pictures: the SVG of each picture, and its text for those who do not see it.
        frames: what stands in ``srcdoc`` of iframes.
    """

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.parts: list[str] = []
        self.cells: list[Cell] = []
        self.pictures: list[tuple[ElementTree.Element, str]] = []
        self.frames: list[str] = []

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.parts)).strip()


class _Reader(HTMLParser):
    def __init__(self, frames: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []
        self.allowed = PLAIN | MATH | ({"iframe"} if frames else set())
        self.cell: tuple[dict[str, str | None], list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.allowed, f"<{tag}> would be removed"
        if tag not in VOID:
            self.open.append(tag)
        self.page.tags.add(tag)
        given = dict(attrs)
        assert len(given) == len(attrs), f"<{tag}> has an attribute twice: {attrs}"
        for name, value in attrs:
            assert not name.startswith("on") and re.fullmatch(r"[a-z-]+", name), f"<{tag} {name}>"
            assert name not in ("href", "src") or (value or "").startswith("data:image/svg+xml;base64,")
            assert name != "style" or not re.search(r"url|expression|@|<", value or "")
        if tag == "img":
            svg = base64.b64decode((given["src"] or "").partition(",")[2], validate=True).decode()
            self.page.pictures.append((_svg(svg), given["alt"] or ""))
        if tag == "iframe":
            self.page.frames.append(given["srcdoc"] or "")
        if tag == "td" and "title" in given:
            self.cell = given, []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "mspace", f"<{tag}/>"

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> in {'/'.join(self.open)}"
        self.open.pop()
        if tag == "td" and self.cell is not None:
            given, parts = self.cell
            self.page.cells.append(Cell("".join(parts), given["title"] or "", given.get("style") or ""))
            self.cell = None

    def handle_data(self, data: str) -> None:
        if "annotation" not in self.open:
            self.page.parts.append(data)
        if self.cell is not None:
            self.cell[1].append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")


def _svg(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    for element in root.iter():
        assert element.tag.startswith(SVG), f"{element.tag} in an SVG"
        name = element.tag.removeprefix(SVG)
        assert name not in ("script", "foreignObject", "a", "use"), f"<{name}> in an SVG"
        for attribute, value in element.attrib.items():
            key = attribute.rpartition("}")[2]
            assert not key.startswith("on") and "javascript:" not in value
            assert key != "href" or value.startswith("data:image/png;base64,") or value.startswith("#")
    return root


def parsed(text: str, frames: bool = False) -> Page:
    """Read HTML; AssertionError if its tags are not balanced, or if there is what a notebook may remove.

    Args:
        frames: whether there may be iframes, which are not read.
    """
    assert "\x00" not in text
    text.encode()
    # a reader of HTML forgives a bare &, < and >: they are looked for here
    outside = re.sub(r"<[a-z/][^<>]*>", "", text)
    assert "<" not in outside, outside[max(0, outside.find("<") - 40) :][:80]
    assert not re.search(r"&(?!(?:[a-z]+|#x?[0-9A-Fa-f]+);)", html.unescape("") + outside)
    reader = _Reader(frames)
    reader.feed(text)
    reader.close()
    assert not reader.open, f"not closed: {reader.open}"
    return reader.page
