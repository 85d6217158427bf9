"""The page of an experiment: claim, mathematics, the lines that do it, picture, numbers and verdict, in one file.

The text is the docstring of the experiment's file: Markdown, with LaTeX between dollars and examples of the
interpreter.  :func:`as_markdown` gives it to ``docs/lab``, :func:`page` draws it as HTML that needs nothing beside it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..diagnostics.result import number
from ..errors import TinygradRnnError
from ..viz.markup import Html, tag
from ..viz.mathml import mathml
from .experiment import Check, Experiment, Result

__all__ = ["as_markdown", "divided", "document", "grid", "index", "page"]

VIEWPORT = Html('<meta name="viewport" content="width=device-width, initial-scale=1">')
STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881 }
body { font: 17px/1.55 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 } h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem }
pre { background: var(--soft); padding: .7rem .9rem; overflow-x: auto; font-size: .85rem; line-height: 1.45 }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 }
th, td { text-align: left; vertical-align: top }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .8rem .2rem 0 }
td.n { font-variant-numeric: tabular-nums }
.verdict { border: 1px solid var(--line); border-left-width: 6px; padding: .6rem .9rem; margin: 1rem 0 }
td.n { white-space: nowrap }
.claim { font-size: 1.15rem } .source, figcaption, .small { font-size: .85rem; opacity: .8 }
figure { margin: 1rem 0 } figure svg { width: 100%; height: auto } math[display=block] { margin: .6rem 0 }
.fail { font-weight: bold; color: #c33 } .wide { overflow-x: auto }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; padding: 0 }
.cards a { border: 1px solid var(--line); padding: .7rem; text-decoration: none; color: inherit; display: block }
.cards img { width: 100%; background: white } .cards b { display: block } body:has(.cards) { max-width: 75rem }
"""


def divided(text: str) -> tuple[str, str, dict[str, str]]:
    r"""The claim, what follows it, and the sections by their headings.

    >>> divided("The claim.\n\nContext.\n\n## Mathematics\n$$x = 1$$\n\n## Exercise\nDo it.")
    ('The claim.', 'Context.', {'Mathematics': '$$x = 1$$', 'Exercise': 'Do it.'})
    """
    before, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    claim, _, context = before.partition("\n")
    sections = {}
    for part in rest:
        heading, _, content = part.partition("\n")
        sections[heading.strip()] = content.strip()
    return claim.strip(), context.strip(), sections


def as_markdown(text: str) -> str:
    r"""Text of a docstring as Markdown: examples in fences, formulas of several lines on lines of their own.

    >>> as_markdown("Try\n\n>>> 1 + 1\n2\n\nso.").splitlines()
    ['Try', '', '```python', '>>> 1 + 1', '2', '```', '', 'so.']
    """
    text = re.sub(r"\n*^(\$\$.*?\$\$)\n*", r"\n\n\1\n\n", text, flags=re.MULTILINE | re.DOTALL)
    paragraphs = re.split(r"\n{2,}", text.strip())
    is_example = [paragraph.startswith(">>> ") for paragraph in [*paragraphs, ""]]
    for k, paragraph in enumerate(paragraphs):
        if is_example[k]:
            begin, end = "" if k and is_example[k - 1] else "```python\n", "" if is_example[k + 1] else "\n```"
            paragraphs[k] = begin + paragraph.rstrip() + end
    return "\n\n".join(paragraphs)


def _markdown(text: str) -> Html:
    """Markdown as HTML.

    Raises:
        TinygradRnnError: markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
    except ImportError as error:
        raise TinygradRnnError(f"pages need markdown-it-py: pip install 'tinygrad-rnn[lab]' ({error})") from error
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.use(dollarmath_plugin, renderer=_formula, allow_space=False, double_inline=True)
    return Html(parser.render(as_markdown(text)))


def _formula(latex: str, options: Mapping[str, Any]) -> str:
    """A formula as MathML; as LaTeX where the converter is not installed."""
    found = mathml(latex.strip())
    if found is None:
        return f"<code>{html.escape(latex)}</code>"
    return found.replace("<math>", '<math display="block">', 1) if options.get("display_mode") else found


def grid(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Html:
    """A table, which a narrow page scrolls; a cell that is Html is a ``<td>`` already."""
    head = tag("tr", *[tag("th", text) for text in heads])
    body = [tag("tr", *[cell if isinstance(cell, Html) else tag("td", cell) for cell in row]) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="wide")


def document(title: str, *content: Any, style: str = "") -> str:
    """A page that needs nothing beside it; ``style``: its own, after the one of all."""
    head = tag("head", Html('<meta charset="utf-8">'), VIEWPORT, tag("title", title), tag("style", Html(STYLE + style)))
    return f"<!doctype html>\n{tag('html', head, tag('body', *content), lang='en')}\n"


def _checked(check: Check) -> list[Any]:
    outcome = tag("td", "yes") if check.passed else tag("td", "NO", class_="fail")
    return [check.name, tag("td", number(check.value), class_="n"), check.demanded, outcome, check.why]


def page(
    experiment: Experiment, result: Result, twins: Sequence[Result], *, picture: str, tape: str | None, how: str
) -> str:
    """The page.

    Args:
        experiment: whose page it is.
        result: of the run that is shown.
        twins: the results of its broken twins, in order; empty if they were not run.
        picture: of the result, as an SVG element; "" if there is none.
        tape: address of the page that steps through the smallest case; None if there is none.
        how: the command that makes this page.

    Raises:
        TinygradRnnError: markdown-it-py is not installed.
    """
    claim, context, sections = divided(experiment.text)
    said = result.verdict if result.passed else "a check failed"
    parts: list[Any] = [
        tag("p", f"Laboratory, item {experiment.number}", class_="small"),
        tag("h1", experiment.title),
        tag("div", _markdown(claim), class_="claim"),
        tag("p", f"Source: {experiment.source}", class_="source"),
        tag("div", tag("b", said), ": ", result.because, class_="verdict"),
        _markdown(context),
    ]
    if picture:
        parts.append(
            tag("figure", Html(picture.replace("<svg ", f'<svg role="img" aria-label="{html.escape(claim)}" ', 1)))
        )
    if result.numbers:
        rows = [[key, tag("td", number(value), class_="n")] for key, value in result.numbers.items()]
        parts += [tag("h2", "Numbers"), grid(["figure", "value"], rows)]
    first = sections.pop("Mathematics", "")
    if first:
        parts += [tag("h2", "Mathematics"), _markdown(first)]
    if experiment.lines:
        parts += [tag("h2", "The lines that do it"), tag("pre", tag("code", experiment.lines))]
    if result.checks:
        heads = ["check", "value", "must be", "is so", "why this bound"]
        parts += [tag("h2", "Checks"), grid(heads, [_checked(check) for check in result.checks])]
    if twins:
        parts += [
            tag("h2", "Mistakes that this finds"),
            grid(["mistake", "the check that fails"], _found(experiment, twins)),
        ]
    for heading, content in sections.items():
        parts += [tag("h2", heading), _markdown(content)]
    if tape is not None:
        parts += [tag("h2", "Step by step"), tag("p", tag("a", "The smallest case in the debugger", href=tape))]
    parts.append(tag("p", "Made by ", tag("code", how), class_="small"))
    return document(f"{experiment.title}: laboratory of tinygrad_rnn", *parts)


def _found(experiment: Experiment, twins: Sequence[Result]) -> list[list[Any]]:
    return [[twin.mistake, str(result.check(twin.fails))] for twin, result in zip(experiment.twins, twins, strict=True)]


def index(entries: Sequence[Mapping[str, Any]]) -> str:
    """The page that leads to the pages.

    Args:
        entries: of each experiment what ``result.json`` says, and the addresses ``page`` and ``picture`` (or None).
    """
    cards = []
    for entry in entries:
        shown = entry["picture"] and tag("img", src=entry["picture"], alt=entry["claim"])
        said = entry["verdict"] if entry["passed"] else "a check failed"
        text = tag("span", f"{entry['claim']} ", tag("em", said))
        cards.append(tag("a", tag("b", f"{entry['number']} {entry['title']}"), shown or None, text, href=entry["page"]))
    return document("Laboratory of tinygrad_rnn", tag("h1", "Laboratory"), tag("div", *cards, class_="cards"))
