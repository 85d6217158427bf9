"""The list of all pages beside each, made once for each folder and not for each page.

Furo lets Sphinx make it anew for every page, with all names of the reference, of which it then shows none: three fifths
of the time that the site took.  What differs between the pages of a folder is where one is.
"""

from __future__ import annotations

import re
from typing import Any

from furo.navigation import get_navigation_tree
from sphinx.application import Sphinx
from sphinx.environment.adapters.toctree import global_toctree_for_doc

__all__ = ["setup"]

OPTIONS: dict[str, Any] = {"collapse": False, "titles_only": True, "maxdepth": -1, "includehidden": True}
"""What Furo asks for."""

trees: dict[str, str] = {}
"""By folder."""


def tree(app: Sphinx, page: str) -> str:
    """The list as it stands beside a page."""
    builder: Any = app.builder
    folder = page.rpartition("/")[0]
    if folder not in trees:
        somewhere = f"{folder}/genindex".lstrip("/")
        found = global_toctree_for_doc(app.env, somewhere, builder, tags=builder.tags, **OPTIONS)
        trees[folder] = get_navigation_tree(builder.render_partial(found)["fragment"])
    text = marked(trees[folder], builder.get_relative_uri(f"{folder}/x".lstrip("/"), page), "current current-page")
    for above in ancestors(app, page):
        text = marked(text, builder.get_relative_uri(page, above), "current")
    return text


def ancestors(app: Sphinx, page: str) -> list[str]:
    """The pages in whose lists a page stands, but for the start page."""
    found: list[str] = []
    above = {child: parent for parent, children in app.env.toctree_includes.items() for child in children}
    while (page := above.get(page, "index")) != "index":
        found.append(page)
    return found


def marked(text: str, address: str, classes: str) -> str:
    """The list with the item of an address marked, and what is below it unfolded."""
    item = re.compile(rf'<li class="([^"]*)"(><a class="reference internal" href="{re.escape(address)}">[^<]*</a>)')
    text, number = item.subn(rf'<li class="\1 {classes}"\2', text, count=1)
    if number and "has-children" in text[: text.index(f'href="{address}"')].rpartition("<li")[2]:
        text = re.sub(rf'(href="{re.escape(address)}">[^<]*</a><input )', r'\1checked="" ', text, count=1)
    return text


def before(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Spare Furo the work."""
    context["toctree"] = lambda **options: ""


def after(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the page the list."""
    context["furo_navigation_tree"] = tree(app, page)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them on both sides of Furo's own handler, which has priority 500."""
    app.connect("html-page-context", before, priority=400)
    app.connect("html-page-context", after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
