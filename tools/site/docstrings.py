"""Docstrings in the house's form as reStructuredText: sections, formulas by indentation, roles by what is in scope.

The form is prose: ``a * b`` and ``|x|`` stand in it as they are, an indented block is a formula or a table, and a role
names what its name means in that file.  Here each becomes what Sphinx expects, which complains where there is nothing.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

from tinygrad_rnn.ops.recurrent.formulas import FORMULAS
from tinygrad_rnn.tape.primitive import REGISTRY
from tinygrad_rnn.viz.mathml import equations as lines_of

from . import reference
from .examples import example

__all__ = ["setup"]

SECTIONS = frozenset("Args Attributes Raises Returns Shapes State Yields".split())
SETTINGS = Config(
    napoleon_use_rtype=False,
    napoleon_use_ivar=True,
    napoleon_custom_sections=[("Shapes", "notes_style"), ("State", "notes_style")],
)
ROLE = re.compile(r":(mod|class|func|meth|data|attr|exc):`(~?)(\.?[\w.]+)`")
SOURCE = re.compile(r"^(Sources?(?: (?:for|of) [\w ]+)?):", re.MULTILINE)
PLAIN = re.compile(r"(``.+?``|:\w+:`[^`]*`|`[^`]*`__?|(?<![\w*])\*\*?[^\s*][^*\n]*?(?<=\S)\*\*?(?![\w*]))")
"""What already means something: literals, roles, links, emphasis."""


def rewritten(app: Sphinx, what: str, path: str, value: Any, options: Any, lines: list[str]) -> None:
    """Make the docstring of an object what Sphinx expects; a handler of ``autodoc-process-docstring``."""
    text = "\n".join(blocks(lines))
    text = ROLE.sub(functools.partial(resolved, value, what), text)
    text = SOURCE.sub(r"**\1:**", text)
    kind = "function" if what in ("property", "attribute", "data") else what  # "x: y" is no type there
    found = GoogleDocstring(text, SETTINGS, app, kind, path, value, options).lines()
    shown = [] if ">>> " in text else example(path, value)
    lines[:] = [*found, *equations(value), "", *shown, ""]


def blocks(lines: list[str]) -> list[str]:
    """The lines with indented blocks as literal blocks, and with the rest escaped."""
    made: list[str] = []
    inside, literal, doctest = "", False, False
    for k, line in enumerate(lines):
        indented = line.startswith((" ", "\t"))
        if line.strip() and not indented:
            inside, literal = "", False
            header = re.fullmatch(r"(\w+):", line)
            if header and header[1] in SECTIONS:
                inside = header[1]
        doctest = bool(line.strip()) and (doctest or line.lstrip().startswith(">>> "))
        begins = indented and line.strip() and not inside and not literal and not doctest
        if begins and not listed(lines, k):
            literal = True
            if not quoted(made):
                made += ["", "::", ""]
        made.append(line if literal or doctest else escaped(line))
    return made


def quoted(made: list[str]) -> bool:
    """Whether the last line of text announces a literal block."""
    before = next((line for line in reversed(made) if line.strip()), "")
    return before.rstrip().endswith("::")


def listed(lines: list[str], k: int) -> bool:
    """Whether an indented line goes on an item of a list above it."""
    return any(re.match(r"([*-]|\d+\.|\.\.) ", line) for line in lines[max(0, k - 1) : k]) or (
        k > 0 and lines[k - 1].startswith("  ") and listed(lines, k - 1)
    )


def escaped(line: str) -> str:
    """A line of prose, in which stars, bars and underscores at ends of words are what they are."""
    parts = PLAIN.split(line)
    for k in range(0, len(parts), 2):
        parts[k] = (
            re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", parts[k])
            if k or not line.lstrip().startswith("* ")
            else (re.sub(r"(?<!^)([|]|(?<=\w)_(?!\w))", r"\\\1", parts[k]))
        )
    return "".join(parts)


# what roles refer to -------------------------------------------------------------------------------------------------


@functools.cache
def public() -> dict[int, str]:
    """The paths of public objects, by identity; those of the objects that they wrap, too."""
    found: dict[int, str] = {}
    for _, name in reference.names():
        for value in (name.value, inspect.unwrap(name.value) if callable(name.value) else name.value):
            if not isinstance(value, (int, float, str)):
                found.setdefault(id(value), name.same or name.path)
    return found


def resolved(value: Any, what: str, match: re.Match[str]) -> str:
    """A role that names the public path; without a link where there is none."""
    role, short, target = match.groups()
    shown = target.rpartition(".")[2] if short else target.lstrip(".")
    for base in [sys.modules] if target.startswith("tinygrad_rnn.") else scopes(value, what):
        found, path = lookup(base, target)
        if path:
            return f":{role}:`{shown} <{path}>`"
        if found:
            return f"``{shown}``"
    return match[0]


def scopes(value: Any, what: str) -> list[Any]:
    """Where a name of a docstring is looked for: the class, its module, the packages above that."""
    inner: Any = value.fget if isinstance(value, property) else value
    inner = inner if what == "module" else inspect.unwrap(inner)
    name = inner.__name__ if what == "module" else getattr(inner, "__module__", None) or "tinygrad_rnn"
    if not name.startswith("tinygrad_rnn"):
        name = "tinygrad_rnn"
    bases: list[Any] = [inner] if inspect.isclass(inner) else []
    owner = getattr(inner, "__qualname__", "").rpartition(".")[0]
    while name:
        module = importlib.import_module(name)
        if owner and hasattr(module, owner.partition(".")[0]):
            bases.append(member(module, owner))
        bases.append(module)
        name = name.rpartition(".")[0]
    return [*bases, sys.modules]


def member(base: Any, path: str) -> Any:
    """What a dotted name names; None if it names nothing."""
    for part in path.split("."):
        base = getattr(base, part, None)
    return base


def lookup(base: Any, target: str) -> tuple[bool, str | None]:
    """Whether an object has the dotted name, and its public path."""
    parts, owner, path = target.lstrip(".").split("."), base, public().get(id(base))
    if base is sys.modules:
        if parts[0] != "tinygrad_rnn":
            return False, None
        owner, path, parts = importlib.import_module("tinygrad_rnn"), None, parts[1:]
    for part in parts:
        value = getattr(owner, part, MISSING)
        if value is MISSING and inspect.ismodule(owner):
            try:
                value = importlib.import_module(f"{owner.__name__}.{part}")
            except ImportError:
                return False, None
        if value is MISSING:
            if part in getattr(owner, "__annotations__", ()) or part in (inspect.getdoc(owner) or ""):
                return inspect.isclass(owner), None  # a field, or what its docstring describes
            return False, None
        known = public().get(id(value))
        path = known or (f"{path}.{part}" if path and inspect.isclass(owner) and described(owner, part) else None)
        if inspect.ismodule(value) and value.__name__.removeprefix("tinygrad_rnn").lstrip(".") in reference.MODULES:
            path = None
        owner = value
    return True, path


MISSING = object()


def described(owner: type, name: str) -> bool:
    """Whether the reference has a member of a class."""
    return name in vars(owner) and not name.startswith("_") and bool(inspect.getdoc(vars(owner)[name]))


def types(app: Sphinx, env: Any, node: nodes.Element, text: nodes.Node) -> nodes.Node | None:
    """Types and exceptions that the reference does not have stand without a link; roles must lead somewhere."""
    if node.get("refdomain") != "py" or isinstance(text, nodes.literal):
        return None
    if node["reftype"] == "exc" and not exception(node["reftarget"]):
        return None
    return text


@functools.cache
def exception(name: str) -> bool:
    """Whether there is an exception of that name."""
    public()  # all modules are loaded
    above, found = [BaseException], set()
    while above:
        kind = above.pop()
        found.add(kind.__name__)
        above += [each for each in type.__subclasses__(kind) if each.__name__ not in found]
    return name.rpartition(".")[2] in found


# equations -----------------------------------------------------------------------------------------------------------


def equations(value: Any) -> list[str]:
    """The equations of a primitive, a recurrent cell or layer: its value, and what its vjps give."""
    name, module = getattr(value, "__name__", ""), getattr(value, "__module__", "")
    formula = None
    if module == "tinygrad_rnn.tape.apply" and name in REGISTRY:
        formula = REGISTRY[name].formula
    elif module.startswith(("tinygrad_rnn.nn.recurrent.", "tinygrad_rnn.ops.recurrent.")):
        formula = FORMULAS.get(re.sub(r"cell$", "_cell", name.lower()).replace("__", "_"))
    if formula is None:
        return []
    vjps = [line for text in formula.vjps.values() if text for line in lines_of(text)]
    inner = lines_of(formula.inner) if formula.inner else []
    shown = blocks_of(lines_of(formula.value))
    if vjps:
        shown += ["What the vjp adds to the cotangent of each argument:", "", *blocks_of(inner + vjps)]
    return ["", *shown]


def blocks_of(formulas: list[str]) -> list[str]:
    """A block for each formula."""
    return [line for formula in formulas for line in (".. math::", "", f"   {formula}", "")]


def left_out(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """The fields of a named tuple, which its docstring describes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them."""
    for _, name in reference.names():
        if inspect.isclass(name.value) and not name.same:  # else autodoc says that a name is an alias, and no more
            name.value.__name__ = name.value.__qualname__ = name.path.rpartition(".")[2]
    app.connect("autodoc-process-docstring", rewritten)
    app.connect("autodoc-skip-member", left_out)
    app.connect("missing-reference", types)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
