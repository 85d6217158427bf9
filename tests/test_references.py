"""What docstrings and comments refer to is there: files by name, modules and objects by Sphinx' roles."""

from __future__ import annotations

import importlib
import pathlib
import re

import pytest

from tests.support.markdown import ROOT

PACKAGE = ROOT / "tinygrad_rnn"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.cu"), *ROOT.glob("benchmarks/**/*.py")])
FILE = re.compile(r"``((?:[\w.-]+/)*[\w-]+\.(?:py|cu|md|txt|toml))``|\bsee ((?:[\w.-]+/)*[\w-]+\.(?:py|cu))\b", re.I)
ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?(tinygrad_rnn[\w.]*)`")
RUNS = {"config.json", "samples.txt", "result.json", "DIR/summary.md"}  # files that programs write


def files_named(source: pathlib.Path) -> set[str]:
    return {first or second for first, second in FILE.findall(source.read_text(encoding="utf-8"))} - RUNS


def exists(name: str, source: pathlib.Path) -> bool:
    """A path begins at the root, in the package, or in a folder above the file; a bare name is that of some file."""
    if "/" not in name:
        return any(next(folder.rglob(name), None) for folder in (PACKAGE, ROOT / "docs", ROOT / "tests"))
    above = list(source.parents)[: len(source.relative_to(ROOT).parts)]
    return any((folder / name).exists() for folder in above)


def test_files_that_sources_name_are_there() -> None:
    named = [(source, name) for source in SOURCES for name in files_named(source)]
    assert len(named) > 10
    assert [f"{source.relative_to(ROOT)}: {name}" for source, name in named if not exists(name, source)] == []


def resolved(name: str) -> object:
    """The module or object of a dotted name.

    Raises:
        AttributeError: there is none.
    """
    parts = name.split(".")
    found: object = importlib.import_module(parts[0])
    for end, part in enumerate(parts[1:], 2):
        if not hasattr(found, part):
            try:
                found = importlib.import_module(".".join(parts[:end]))
                continue
            except ImportError as error:
                raise AttributeError(f"{name}: {error}") from error
        found = getattr(found, part)
    return found


def test_objects_that_sources_name_are_there() -> None:
    named = {name for source in SOURCES for name in ROLE.findall(source.read_text(encoding="utf-8"))}
    assert len(named) > 5
    for name in sorted(named):
        resolved(name)


def test_names_that_are_gone_are_found() -> None:
    source = PACKAGE / "tape" / "sweep.py"
    assert exists("sums.py", source) and exists("tape/sums.py", source) and exists("tests/test_docs.py", source)
    assert not exists("sum.py", source) and not exists("tape/sum.py", source)
    with pytest.raises(AttributeError, match="no_such"):
        resolved("tinygrad_rnn.nn.recurrent.no_such")
