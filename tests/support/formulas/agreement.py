"""Whether a primitive's formula says what its code does: both sides of every equation, in one sample call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_rnn.tape.formula import Formula, bar, symbol

from .evaluate import Array, Case, Disagreement, Evaluator, Steps, names_in
from .latex import Node, Unreadable, equations
from .layouts import Run, cases

__all__ = ["Equations", "agreement", "parsed"]

Equation = tuple[Node, Node]

OUTPUTS = ("y", "h'", "c'")
RTOL, ATOL = 1e-8, 1e-11
"""Entries are some 1e-2 to 1e2 in float64.  A formula cancels where the code does not: 1 - y^2 where y is near 1, the
log of a small sigmoid; and a constant of binary_cross_entropy is rounded to float32, 4e-9 off.  Mistakes cost more."""


class Equations(NamedTuple):
    """A formula, parsed."""

    value: tuple[Equation, ...]
    inner: tuple[Equation, ...]
    vjps: dict[str, Equation]


def parsed(formula: Formula) -> Equations:
    """The equations of a formula.

    Raises:
        Unreadable: one is not of the subset.
    """
    vjps = {name: equations(text)[0] for name, text in formula.vjps.items() if text is not None}
    return Equations(tuple(equations(formula.value)), tuple(equations(formula.inner)), vjps)


def agreement(formula: Equations, made: Run) -> dict[str, float]:
    """Compare every equation with what was computed.

    Returns:
        By argument, and "" for the value, the largest magnitude that was compared; empty if the formula leaves calls of
        this kind out.

    Raises:
        Disagreement: the two sides differ.
        Unreadable: a formula is not of the subset, or has a symbol that stands for nothing.
    """
    found: dict[str, float] = {}
    for case in cases(made):
        with np.errstate(all="ignore"):
            _one_case(formula, made, case, lambda key, size: found.update({key: max(size, found.get(key, 0.0))}))
    return found


def _one_case(formula: Equations, made: Run, case: Case, note: Callable[[str, float], None]) -> None:
    lines, inner = formula.value, formula.inner
    steps = Steps(case) if "T" in case.values else None
    if steps is None:
        for of, what in lines:
            _line(case, of, what, note)
    else:
        for t in range(1, case.values["T"] + 1):
            case.values["t"] = t
            for of, what in lines:
                _line(case, of, what, note, steps)
    if steps is None:
        for of, what in inner:
            Evaluator(case, of, what).assign(of, what)
    else:
        for t in range(case.values["T"], 0, -1):
            case.values["t"] = t
            for of, what in inner:
                steps.assign(of, what)
    hidden = {bar(symbol(name)) for name in made.arguments}
    for name, gradient in _wanted(made):
        if gradient is None or name not in formula.vjps:
            continue
        of, what = formula.vjps[name]
        if not case.implicit and hidden & {key for _, *each in names_in(what) for key in (each[0], _written(*each))}:
            raise Unreadable(f"the vjp of {name} reads what is to be found")
        if steps is None:
            note(name, _compared(*Evaluator(case, of, what).sides(of, what)))
        elif of[2] == "t":
            for t in range(1, case.values["T"] + 1):
                case.values["t"] = t
                note(name, _compared(*steps.sides(of, what)))
        else:
            note(name, _compared(*steps.sides(of, what)))


def _written(key: str, subscript: str) -> str:
    return f"{key}_{{{subscript}}}"


def _wanted(made: Run) -> list[tuple[str, Any]]:
    """The arguments with their cotangents."""
    if len(made.arguments) == 1:  # one, or any number of one kind, each of which has a case of its own
        return [(made.arguments[0], next((g for g in made.grads if g is not None), None))]
    return list(zip(made.arguments, made.grads, strict=False))


def _line(case: Case, of: Node, what: Node, note: Callable[[str, float], None], steps: Steps | None = None) -> None:
    """Compare a line that is of an output, and compute one that is of something in between."""
    if of[1] in OUTPUTS and of[1] in case.values:
        note("", _compared(*(steps or Evaluator(case, of, what)).sides(of, what)))
    else:
        (steps or Evaluator(case, of, what)).assign(of, what)


def _compared(left: Array, right: Array) -> float:
    if not np.allclose(left, right, rtol=RTOL, atol=ATOL, equal_nan=True):
        raise Disagreement(f"the sides differ by {np.abs(left - right).max():.2g}")
    return float(np.abs(left).max(initial=0))
