"""The pages of the reference: every public name, on the page of the file that it comes from.

A public module is one that :mod:`tinygrad_rnn` shows as an attribute, and what such a module lists in ``__all__``.  The
texts are the docstrings of the live objects, which Sphinx' autodoc reads: many of them are made when the package is
imported, and no parser would see them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

__all__ = ["MODULES", "Name", "names", "pages"]

ROOT = "tinygrad_rnn"
MODULES = {
    "": "Tensors and operations",
    "special": "Special functions: special",
    "distributions": "Distributions: distributions",
    "distributions.constraints": "What values may be: distributions.constraints",
    "distributions.kl": "Divergences: distributions.kl",
    "distributions.transforms": "Transforms of random values: distributions.transforms",
    "autograd": "Derivatives: autograd",
    "autograd.function": "Functions of your own",
    "autograd.functional": "Jacobians and Hessians",
    "autograd.graph": "The graph, and hooks of what is saved",
    "nn": "Layers: nn",
    "ops.recurrent.cells": "Equations of the recurrent cells",
    "nn.functional": "Layers as functions: nn.functional",
    "nn.init": "Initial weights: nn.init",
    "nn.utils": "Clipping, packing, parametrised weights: nn.utils",
    "nn.utils.rnn": "Sequences of different lengths: nn.utils.rnn",
    "nn.utils.parametrize": "Parametrised weights: nn.utils.parametrize",
    "optim": "Optimisers: optim",
    "optim.lr_scheduler": "Learning rates: optim.lr_scheduler",
    "utils.data": "Data sets and loaders: utils.data",
    "utils.checkpoint": "Less memory: utils.checkpoint",
    "serialization": "Saving and loading: serialization",
    "diagnostics": "Gradients through time: diagnostics",
    "viz": "Pictures and pages: viz",
    "lab": "The laboratory: lab",
    "lab.tasks": "The classic tasks: lab.tasks",
    "lab.papers": "The classic tables: lab.papers",
    "teaching": "The course: teaching",
    "teaching.engine": "The engine in a hundred lines: teaching.engine",
    "teaching.mutants": "Engines with one mistake: teaching.mutants",
    "testing": "Testing gradients: testing",
    "errors": "Errors",
    "cuda": "GPUs: cuda",
    "accelerator": "Whichever GPU there is: accelerator",
    "backends": "Switches as PyTorch has them: backends",
    "version": "Versions: version",
}
"""Public modules, in the order of the reference, with the titles of their pages."""

TITLES = {
    f"{ROOT}.backend.random.generator": "Seeds and generators",
    f"{ROOT}.backend.device": "Devices",
    f"{ROOT}.backend.dtypes": "Element types",
    f"{ROOT}.tape.modes": "Recording, or not",
    f"{ROOT}.backend.determinism": "The same bits in every run",
    f"{ROOT}.compat.legacy": "Names from before PyTorch 0.4",
    f"{ROOT}.ops.random_draws": "Random tensors",
    f"{ROOT}.ops.splitting": "Splitting",
    f"{ROOT}.ops.cumulative": "Running sums, products and extrema",
    f"{ROOT}.ops.statistics": "Variance and norms",
    f"{ROOT}.ops.conversion": "Conversion",
    f"{ROOT}.ops.arithmetic": "Arithmetic by name",
    f"{ROOT}.ops.index": "Indexing",
    f"{ROOT}.ops.scattering": "Scattering",
    f"{ROOT}.ops.softmaxes": "Softmax",
}
"""Titles of pages where the file's own is too long for a heading."""

LARGE = 24
"""A module with more names has a page for each file that gives at least three of them."""


class Name(NamedTuple):
    """A public name.

    Attributes:
        path: as a program writes it, ``tinygrad_rnn.nn.LSTM``.
        value: what it is.
        home: the module in which that is defined.
        same: the path of an earlier name of the same object; None if this is the first.
    """

    path: str
    value: Any
    home: str
    same: str | None


class Page(NamedTuple):
    """A page of the reference.

    Attributes:
        slug: its file without the ending.
        title: its heading.
        module: the public module that it belongs to.
        home: the file that its names come from; None if from several.
        names: what is on it.
    """

    slug: str
    title: str
    module: str
    home: str | None
    names: list[Name]


def names() -> Iterator[tuple[str, Name]]:
    """All public names with their modules, but for modules themselves."""
    seen: dict[int, str] = {}
    for module in MODULES:
        whole = f"{ROOT}.{module}".rstrip(".")
        loaded = importlib.import_module(whole)
        for name in loaded.__all__:
            value = getattr(loaded, name)
            if isinstance(value, types.ModuleType):
                continue
            path = f"{whole}.{name}"
            first = seen.setdefault(id(value), path) if callable(value) and not _plain(value) else path
            yield module, Name(path, value, home(value, whole, name), None if first == path else first)


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str))


def home(value: Any, module: str, name: str) -> str:
    """The module that an object was defined in; of operations, the file of its family."""
    ops = importlib.import_module(f"{ROOT}.ops")
    if module == ROOT and name in ops.__all__:
        for family in vars(ops).values():
            if isinstance(family, types.ModuleType) and name in getattr(family, "__all__", ()):
                return family.__name__
        named = {"abs": "elementwise", "pow": "elementwise", "round": "rounding"}
        return f"{ROOT}.ops.{named.get(name, 'reduce')}"
    found = getattr(value, "__module__", None)
    return found if isinstance(found, str) and found.startswith(ROOT) else module


def pages() -> list[Page]:
    """The pages, in order."""
    by_module: dict[str, list[Name]] = {}
    for module, name in names():
        by_module.setdefault(module, []).append(name)
    made = []
    for module, found in by_module.items():
        whole = f"{ROOT}.{module}".rstrip(".")
        groups: dict[str, list[Name]] = {whole: []}
        for name in found:
            file = name.home.rpartition(".")[2]
            apart = len(found) > LARGE and module != "errors" and f"{module}.{file}" not in MODULES
            groups.setdefault(f"{whole}.{file}" if apart else whole, []).append(name)
        for slug, group in list(groups.items()):
            if slug == f"{ROOT}.{ROOT}" or len(group) < 3:
                groups[whole] = groups[whole] + groups.pop(slug) if slug != whole else group
        for slug, group in groups.items():
            home = whole if slug == whole else group[0].home
            made.append(Page(slug, title(module, home), module, home, group))
    return made


def title(module: str, home: str) -> str:
    """The heading of a page: of a public module, its own; of a file, what its docstring says up to a colon."""
    if home == f"{ROOT}.{module}".rstrip("."):
        return MODULES[module]
    if home in TITLES:
        return TITLES[home]
    said = re.sub(r"``|\.$", "", first_line(home).partition(": ")[0])
    return f"{module}: {said[0].lower() if said[1:2].islower() else said[0]}{said[1:]}" if module else said


def first_line(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = inspect.getdoc(importlib.import_module(module)) or module
    return text.partition("\n\n")[0].replace("\n", " ").rstrip(".")


def toctree(names: Iterable[str], caption: str = "") -> str:
    """A table of contents in Markdown, which is shown beside the pages alone."""
    head = f":caption: {caption}\n" if caption else ""
    return f"\n```{{toctree}}\n:hidden:\n{head}\n" + "\n".join(names) + "\n```\n"


def sources() -> Iterator[tuple[str, str]]:
    """The pages as reStructuredText, and the one that leads to them."""
    made = pages()
    for page in made:
        yield f"reference/{page.slug}.rst", text(page)
    lines = []
    for page in made:
        shown = ", ".join(f"`{name.path.rpartition('.')[2]}`" for name in page.names)
        lines.append(f"* [{page.title}]({page.slug}.rst): {shown}")
    yield "reference/index.md", f"# Reference\n\n{chr(10).join(lines)}\n{toctree(page.slug for page in made)}"


def text(page: Page) -> str:
    """A page."""
    parts = [page.title + "\n" + "=" * len(page.title)]
    if page.home:
        parts.append(f".. automodule:: {page.home}\n   :no-index:")
    parts.append(".. py:currentmodule:: None")  # names below are whole
    parts += [entry(name) for name in page.names]
    return "\n\n".join(parts) + "\n"


def entry(name: Name) -> str:
    """What autodoc is told of a name."""
    if name.same:
        kind = "class" if inspect.isclass(name.value) else "function"
        return f".. py:{kind}:: {name.path}\n\n   The same as :{'class' if kind == 'class' else 'func'}:`{name.same}`."
    if inspect.isclass(name.value):
        return f".. autoclass:: {name.path}\n   :members:"
    if inspect.isroutine(name.value):
        return f".. autofunction:: {name.path}"
    return f".. py:data:: {name.path}\n   :value: {name.value!r}"
