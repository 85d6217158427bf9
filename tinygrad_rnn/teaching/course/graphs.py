"""Programs of the engine in a hundred lines, on which answers of the second unit are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...typing import Array
from .. import engine
from ..engine import Value

__all__ = ["CHAIN", "SMALL", "counted_after", "freed_after", "gradients_after", "ran"]

SMALL = (
    "a = Value(3.0); y = mul(a, a)",
    "a = Value(2.0); b = Value(5.0); y = add(a, b)",
    "a = Value(2.0); b = mul(a, a); y = add(b, a)",
    "a = Value(1.0); b = add(a, a); c = add(b, b); y = mul(c, a)",
    "a = Value(0.5); b = tanh(a); c = mul(b, b); d = add(c, a); y = mul(d, b)",
)
"""From the smallest on; the result is ``y``."""
CHAIN = "y = Value(0.1)\nfor _ in range(3000):\n    y = tanh(y)"


def ran(program: str) -> tuple[Value, list[Value]]:
    """Run a program.

    Returns:
        its result, and all values that were made, oldest first.
    """
    made: list[Value] = []

    class Noted(Value):
        """A value that is noted down."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    known: dict[str, Any] = {name: getattr(engine, name) for name in engine.__all__}
    before = engine.Value
    engine.Value = Noted  # type: ignore[misc, assignment]  # of which the operations make their results
    try:
        known["Value"] = Noted
        exec(program, known)
    finally:
        engine.Value = before  # type: ignore[misc]
    result: Value = known["y"]
    return result, made


def _of_leaves(values: list[Value]) -> Array:
    return np.array([np.nan if v.grad is None else v.grad for v in values if not v.parents], float)


def gradients_after(backward: Callable[[Value], None], program: str) -> Array:
    """The gradients of the leaves, oldest first, after a backward from ``z``, if there is one, and from ``y``."""
    y, values = ran(program)
    if "z = " in program:
        backward(next(v for v in values if v.parents))  # the first result
    backward(y)
    return _of_leaves(values)


def counted_after(backward: Callable[[Value], None], program: str, times: int) -> tuple[Array, int]:
    """The gradients of the leaves after so many backwards, and how often vjps were called."""
    y, values = ran(program)
    calls = 0

    def counted(vjp: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(g: Any) -> Any:
            nonlocal calls
            calls += 1
            return vjp(g)

        return call

    for value in values:
        value.vjps = tuple(counted(vjp) for vjp in value.vjps or ())
    for _ in range(times):
        backward(y)
    return _of_leaves(values), calls


def freed_after(backward: Callable[..., None], program: str, retains: list[bool]) -> tuple[Array, Array, Array]:
    """Gradients of the leaves, which values have no vjps any more, and which calls raised RuntimeError."""
    y, values = ran(program)
    refused = []
    for retain in retains:
        try:
            backward(y, retain=True) if retain else backward(y)
            refused.append(False)
        except (NotImplementedError, RecursionError):  # kinds of RuntimeError that say something else
            raise
        except RuntimeError:
            refused.append(True)
    return _of_leaves(values), np.array([v.vjps is None for v in values]), np.array(refused)
