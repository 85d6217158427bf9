"""The texts of all pages in one script, for the excerpts that the search shows: see ``static/excerpts.js``."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

__all__ = ["setup"]


def scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The page of the search gets both scripts."""
    if page == "search":
        app.add_js_file("texts.js")
        app.add_js_file("excerpts.js")


def texts(app: Sphinx, error: Exception | None) -> None:
    """Write the texts of the pages that Sphinx has made."""
    if error is not None:
        return
    site = pathlib.Path(app.outdir)
    found = {name: text_of(site / f"{name}.html") for name in sorted(app.env.all_docs)}
    written = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (site / "_static" / "texts.js").write_text(f"const TEXTS = {written};\n", encoding="utf-8", newline="\n")


def text_of(path: pathlib.Path) -> str:
    """What a page says, without its list of pages."""
    article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find("article")
    assert article is not None, path
    for link in article.find_all("a", class_="headerlink"):
        link.decompose()
    return " ".join(article.get_text(" ").split())


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them."""
    app.connect("html-page-context", scripts)
    app.connect("build-finished", texts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
