"""Formulas as MathML, which browsers draw by themselves: Sphinx' hook for renderers, and latex2mathml."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from tinygrad_rnn.viz.mathml import mathml

__all__ = ["setup"]

log = logging.getLogger(__name__)


def drawn(node: nodes.Element, display: bool) -> str:
    """A formula as MathML, with its LaTeX for those who copy it or whose reader speaks it."""
    latex = re.sub(r"\s+", " ", node.astext()).strip()
    try:
        found = mathml(latex)
    except Exception as error:
        log.warning("no MathML of %r: %s", latex, error, location=node)
        found = None
    if found is None:
        return f"<code>{html.escape(latex)}</code>"
    return found.replace("<math>", '<math display="block">', 1) if display else found


def inline(self: Any, node: nodes.Element) -> None:
    """A formula in a line."""
    self.body.append(drawn(node, display=False))
    raise nodes.SkipNode


def block(self: Any, node: nodes.Element) -> None:
    """A formula on its own, which a narrow page scrolls."""
    self.body.append(f'<div class="formula">{drawn(node, display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Make it a renderer that ``html_math_renderer`` can name."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
