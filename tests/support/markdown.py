"""Markdown as the tests of the documentation read it: blocks of code, quotes of source, headings and links."""

from __future__ import annotations

import ast
import pathlib
import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from tinygrad_rnn.lab.experiment import marked_lines

__all__ = ["ROOT", "Quote", "anchors", "code_spans", "definition", "differs", "images", "links", "programs", "quotes"]

ROOT = pathlib.Path(__file__).parents[2]

FENCE = re.compile(r"^(?:<!-- source: (\S+) (\S+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source)[^>]* src(?:set)?=\"([^\"]+)\"")
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
ELISION = "..."


class Quote(NamedTuple):
    """A block that says it is source: ``<!-- source: path name -->`` stands on the line above its fence."""

    path: str
    name: str
    text: str


def programs(text: str) -> Iterator[tuple[int, str]]:
    """The blocks that run, in order, each with the number of lines before it: those of Python that quote nothing."""
    for found in FENCE.finditer(text):
        path, _, language, block = found.groups()
        if language == "python" and path is None:
            yield text.count("\n", 0, found.start(4)), block


def quotes(text: str) -> Iterator[Quote]:
    """The blocks that are to be the source of what the comment above them names."""
    for path, name, _, block in FENCE.findall(text):
        if path:
            yield Quote(path, name, block)


def images(text: str) -> list[str]:
    """The pictures that a page shows."""
    return [path or source for path, source in IMAGE.findall(text)]


def definition(path: pathlib.Path, name: str) -> str:
    """The text of a function, a class (``Class.method`` too) or an assignment, with its decorators.

    ``lab`` is the lines of an experiment that are marked for its page.

    Raises:
        LookupError: there is none of that name.
    """
    text = path.read_text(encoding="utf-8")
    if name == "lab" and (marked := marked_lines(text)):
        return marked
    body: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        found = [node for node in body if part in _names(node)]
        if not found:
            raise LookupError(f"{path} does not define {name}")
        body = getattr(found[-1], "body", [])
    node = found[-1]
    first = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", [])]])
    return textwrap.dedent("\n".join(text.splitlines()[first - 1 : node.end_lineno]))


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}


def differs(quoted: str, source: str) -> str | None:
    """The first line of a quote that the source does not have where it should be; None if there is none.

    A line ``...`` stands for any number of lines.
    """
    rest = source.rstrip().splitlines()
    skipping = False
    for line in quoted.rstrip().splitlines():
        if line.strip() == ELISION and (not rest or rest[0].strip() != ELISION):
            skipping = True
            continue
        while skipping and rest and rest[0] != line:
            rest.pop(0)
        if not rest or rest.pop(0) != line:
            return line
        skipping = False
    return rest[0] if rest and not skipping else None


def without_code(text: str) -> str:
    """The text without its blocks, in which brackets and ``#`` mean something else."""
    return FENCE.sub("", text)


def links(text: str) -> list[str]:
    """The targets of the links, without those in code."""
    return LINK.findall(SPAN.sub("", without_code(text)))


def anchors(text: str) -> set[str]:
    """The names that ``#name`` can jump to: the headings as GitHub writes them."""
    headings = [re.sub(r"[`*]", "", heading) for heading in HEADING.findall(without_code(text))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def code_spans(text: str) -> list[str]:
    """What stands between single backquotes."""
    return SPAN.findall(without_code(text))
