"""The catalogue of the laboratory: which experiments there are, and each by its number or name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re

from ..errors import UsageError
from . import items
from .experiment import Experiment, Result, Size

__all__ = ["experiments", "find", "run"]

FILE = re.compile(r"i(\d\d)_(\w+)")


def files() -> dict[int, str]:
    """The modules of the experiments by their numbers, in order; none is loaded."""
    names = sorted(found.name for found in pkgutil.iter_modules(items.__path__))
    return {int(match[1]): name for name in names if (match := FILE.fullmatch(name))}


def load(number: int) -> Experiment:
    """The experiment of a number that there is."""
    found: Experiment = importlib.import_module(f"{items.__name__}.{files()[number]}").run
    return found


def experiments() -> list[Experiment]:
    """All experiments, by number.

    >>> from tinygrad_rnn import lab
    >>> len(lab.experiments())
    50
    """
    return [load(number) for number in files()]


def find(which: int | str) -> Experiment:
    """The experiment of a number or a name.

    Raises:
        UsageError: there is none; the message names the nearest.

    >>> find(5) is find("5") is find("spectral-radius")
    True
    >>> find("spectral-radios")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.UsageError: there is no experiment 'spectral-radios'; is it 'spectral-radius'? (lab list)
    """
    names = {name.partition("_")[2].replace("_", "-"): number for number, name in files().items()}
    text = str(which)
    if text.isdecimal() and int(text) in files():
        return load(int(text))
    if text.replace("_", "-") in names:
        return load(names[text.replace("_", "-")])
    near = difflib.get_close_matches(text, names, 1)
    hint = f"; is it {near[0]!r}?" if near else ""
    raise UsageError(f"there is no experiment {text!r}{hint} (lab list)")


def run(which: int | str, size: Size = "quick", seed: int = 0) -> Result:
    """Run the experiment of a number or a name.

    Args:
        which: its number or its name.
        size: "quick" or "full".
        seed: of all random numbers.

    Raises:
        UsageError: there is no such experiment.
        ValueError: no such size.
    """
    return find(which)(size, seed)
