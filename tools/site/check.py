"""What every page of a finished site must have: a title, a heading, words for pictures, and links that lead somewhere.

Sphinx sees to the links that it makes; here are all, those of pages that it does not know of, too.
"""

from __future__ import annotations

import pathlib
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "problems"]

LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "srcset", "use": "href"}
"""Elements that the browser loads by themselves."""


class Page(HTMLParser):
    """A page as far as it matters here.

    Attributes:
        ids: what a link can lead to.
        links, loaded: addresses, of links and of what is loaded with the page.
        silent: pictures without words.
        title: its text.
        headings: the number of its first headings.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.silent: list[str] = []
        self.title, self.headings = "", 0
        self._titled = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element has."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if given.get(LOADED.get(tag, "-")) and given.get("rel") not in ("canonical", "search", "index"):
            self.loaded.append(given[LOADED[tag]])
        if tag == "img" and not given.get("alt", "").strip():
            self.silent.append(given.get("src", ""))
        self.headings += tag == "h1"
        self._titled = tag == "title" and not self.title

    def handle_data(self, data: str) -> None:
        """Note the title."""
        if self._titled:
            self.title, self._titled = data.strip(), False


def problems(site: pathlib.Path) -> list[str]:
    """What is wrong with the pages of a site, a line each."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        wrong = [f"a picture without words: {source}" for source in page.silent]
        wrong += ["no title"] * (not page.title) + ["no heading"] * (page.headings == 0)
        for address in page.loaded:
            if (reason := _reason(address, page, pages, outside=False)) is not None:
                wrong.append(f"loads {address}: {reason}")
        for address in page.links:
            if (reason := _reason(address, page, pages, outside=True)) is not None:
                wrong.append(f"a link to {address}: {reason}")
        found += [f"{path.relative_to(site)}: {each}" for each in dict.fromkeys(wrong)]
    return found


def _reason(address: str, page: Page, pages: dict[pathlib.Path, Page], outside: bool) -> str | None:
    """Why an address is no good; None if it is."""
    parts = urlsplit(address)
    if parts.scheme in ("data", "mailto"):
        return None
    if parts.scheme or parts.netloc:
        return None if outside and parts.scheme in ("http", "https") else "outside of the site"
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if not target.is_file():
        return "there is no such file"
    if parts.fragment and outside and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return "there is no such place on that page"
    return None
