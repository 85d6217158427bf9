"""The catalogue of the course: its six units, its exercises, and each by its number or name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from typing import NamedTuple

from ...errors import UsageError
from . import exercises as folder
from .exercise import Exercise

__all__ = ["UNITS", "Unit", "exercises", "find"]

FILE = re.compile(r"x(\d\d)_(\w+)")


class Unit(NamedTuple):
    """A part of the course.

    Attributes:
        number: from 1 to 6.
        title: a few words.
        text: what it is about and what has to be known before, in Markdown.
    """

    number: int
    title: str
    text: str


UNITS = (
    Unit(
        1,
        "The chain rule and vjps",
        "Every gradient is made of small functions that answer one question: if I know how the end changes with my "
        "result, how does it change with my arguments? Such a function is called a vector-Jacobian product, a vjp. You "
        "write those of the operations that a recurrent network consists of. You need the derivative of a function of "
        "one number, and matrix products.",
    ),
    Unit(
        2,
        "The sweep",
        "A program leaves a graph behind: values, and for each the ones it was computed from. The sweep walks it "
        "backwards and calls every vjp once. In which order, what is added up, and what may be thrown away "
        "afterwards is all there is to an engine.",
    ),
    Unit(
        3,
        "Tied weights",
        "A weight that is used many times gets the sum of the gradients of its uses. A recurrent network is nothing "
        "but this, with one use for every time step.",
    ),
    Unit(
        4,
        "Backpropagation through time",
        "By hand, in arrays: one step backwards and then the loop over time, for the RNN, for the LSTM, which carries "
        "two things back, and for the GRU.",
    ),
    Unit(
        5,
        "Vanishing gradients",
        "How fast a gradient shrinks on its way back, how far it reaches, and which bias makes a memory last. You "
        "predict the numbers before anything is trained.",
    ),
    Unit(
        6,
        "Errors of the sources",
        "Formulas as they are printed in papers, lectures and notes that many people learn from, with a slip in each. "
        "You begin with the formula as printed, and mend it until the check passes.",
    ),
)


def files() -> dict[int, str]:
    """The modules of the exercises by their numbers, in order; none is loaded."""
    names = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    return {int(match[1]): name for name in names if (match := FILE.fullmatch(name))}


def load(number: int) -> Exercise:
    """The exercise of a number that there is."""
    module = importlib.import_module(f"{folder.__name__}.{files()[number]}")
    (found,) = (each for each in vars(module).values() if isinstance(each, Exercise))
    return found


def exercises() -> list[Exercise]:
    """All exercises, by number."""
    return [load(number) for number in files()]


def find(which: int | str) -> Exercise:
    """The exercise of a number or a name.

    Raises:
        UsageError: there is none; the message names the nearest.

    >>> find(3) is find("3") is find("tanh")
    True
    >>> find("tahn")
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.UsageError: there is no exercise 'tahn'; is it 'tanh'? (tinygrad-rnn course status)
    """
    names = {name.partition("_")[2].replace("_", "-"): number for number, name in files().items()}
    text = str(which)
    if text.isdecimal() and int(text) in files():
        return load(int(text))
    if text.replace("_", "-") in names:
        return load(names[text.replace("_", "-")])
    near = difflib.get_close_matches(text, names, 1)
    hint = f"; is it {near[0]!r}?" if near else ""
    raise UsageError(f"there is no exercise {text!r}{hint} (tinygrad-rnn course status)")
