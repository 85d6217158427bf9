"""Every public method has a docstring, its own or one that it inherits.

Ruff asks for those of modules, classes and functions (D100 to D104). Of methods it cannot: it sees one file, and most
methods without a docstring are those that a base class describes, such as ``forward`` of a layer.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import tinygrad_rnn


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(tinygrad_rnn.__path__, "tinygrad_rnn."):
        if found.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(found.name)
        except ImportError as error:  # needs CuPy
            assert "cupy" in str(error).lower(), error
        except RuntimeError as error:  # KernelUnavailable: needs Numba
            assert "numba" in str(error).lower(), error


def undocumented(kind: type) -> Iterator[str]:
    """The public methods and properties that a class defines, which neither it nor a base of it describes.

    The functions of one line that ``ops/`` binds to Tensor are described by their names.
    """
    for name, member in vars(kind).items():
        if name.startswith("_") or not (inspect.isroutine(member) or isinstance(member, (property, classmethod))):
            continue
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and not function.__qualname__.startswith(kind.__qualname__):
            continue
        described = [vars(base).get(name) for base in kind.__mro__ if base is not object]
        if not any(inspect.getdoc(found) for found in described if found is not None):
            yield f"{kind.__module__}.{kind.__qualname__}.{name}"


def test_every_public_method_is_described() -> None:
    missing = set()
    for module in modules():
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and not kind.__name__.startswith("_"):
                missing |= set(undocumented(kind))
    assert sorted(missing) == []


class Base:
    def described(self) -> int:
        """A number."""
        return 1

    def bare(self) -> int:
        return 2


class Child(Base):
    def described(self) -> int:
        return 3

    @property
    def bare_too(self) -> int:
        return 4

    def _private(self) -> int:
        return 5


def test_what_a_base_describes_need_not_be_described_again() -> None:
    assert [name.rpartition(".")[2] for name in undocumented(Child)] == ["bare_too"]
    assert [name.rpartition(".")[2] for name in undocumented(Base)] == ["bare"]


@pytest.mark.parametrize("kind", [tinygrad_rnn.Tensor, tinygrad_rnn.nn.LSTM, tinygrad_rnn.optim.SGD])
def test_help_of_the_main_classes_has_an_equation_or_an_example(kind: type) -> None:
    text = inspect.getdoc(kind)
    assert text is not None and (">>>" in text or "=" in text)
