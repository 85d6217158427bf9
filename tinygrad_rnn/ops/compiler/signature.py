"""Signatures of steps: what a step does, noted in one quick run, to see at every call that it is still what was traced.

A trace costs milliseconds.  A step of Python may do something else at the next call: an attribute was changed, a module
switched to evaluation, a parameter frozen or replaced by one of another shape.  So at every call of a compiled layer
the step is run once, on the first two rows of its input, and noted: which operations it applied to which values, with
which numbers, and what came out.  Two runs with the same signature have the same trace.

What the step does besides (counting its calls, printing) happens in this run, and so once for each call of a layer.

Rows are always two, as the number of sequences must not matter.  Operations are noted as they are applied, a fused cell
as one.  Constants are compared by their values, and kept as copies: they may be written to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...backend import array_module
from ...backend.random.generator import draws_undone
from ...tape.modes import Watcher, state, within
from ...tape.tensor import Tensor, wrap
from ...typing import Array, Params

__all__ = ["ROWS", "Signature", "signature"]

ROWS = 2


class Signature(Watcher):
    """What one run of a step did; equal to another if the step is the same.

    Attributes:
        entries: for each operation: itself, its arguments, its keywords, and the shapes and dtypes of its results.
        constants: the arrays that no operation made.
        results: which values the step gave.
        shapes: of what it was given: the result of an operation need not tell, as with broadcasting.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.constants: list[Array] = []
        self.results: tuple[Any, ...] = ()
        self.shapes = [t._data.shape for t in given]
        self._alive: list[Array] = []
        self._numbers: dict[int, int] = {}
        for t in given:
            self._number(t._data)

    def _number(self, a: Array) -> None:
        # values are known by the identity of their array, which must stay in memory for that
        self._alive.append(a)
        self._numbers[id(a)] = len(self._alive)

    def _noted(self, a: Any) -> Any:
        """An argument: the number of a value, negative without a history; a number of Python; or what it is."""
        if type(a) is float or type(a) is int or type(a) is bool or a is None:
            return type(a), a
        if isinstance(a, Tensor):
            data, history = a._data, a._node is not None
        elif hasattr(a, "dtype") and hasattr(a, "shape"):
            data, history = a, False
        else:
            return _plain(a)
        number = self._numbers.get(id(data))
        if number is None:
            self.constants.append(data.copy())
            self._number(data)
            number = len(self._alive)
        return number if history else -number

    def applied(self, operation: Any, inputs: Sequence[Any], params: Params, output: Any) -> None:
        numbers, noted = self._numbers, []
        for a in inputs:
            # nearly all arguments are values that are known
            number = numbers.get(id(a._data)) if isinstance(a, Tensor) else None
            if number is None:
                noted.append(self._noted(a))
            else:
                noted.append(number if a._node is not None else -number)
        keywords = [(key, _plain(value)) for key, value in params.items()] if params else ()
        if isinstance(output, Tensor):
            data = output._data
            self._alive.append(data)
            numbers[id(data)] = len(self._alive)
            self.entries.append((operation, noted, keywords, data.shape, data.dtype.char))
            return
        for t in output:
            self._number(t._data)
        self.entries.append((operation, noted, keywords, [(t._data.shape, t._data.dtype.char) for t in output]))

    def written(self, t: Tensor, op: str) -> None:
        self.entries.append((op, self._noted(t), (), ()))

    def taken(self, name: str) -> None:
        self.entries.append((name, (), (), ()))

    def hooked(self, owner: str) -> None:
        self.entries.append(("hook", owner, (), ()))

    def ends_with(self, results: Any) -> None:
        """Note what the step gave, and let go of all values."""
        results = results if isinstance(results, (tuple, list)) else (results,)
        self.results = tuple([self._noted(a) for a in results])
        self._alive, self._numbers = [], {}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Signature)
            and self.results == other.results
            and self.shapes == other.shapes
            and self.entries == other.entries
            and len(self.constants) == len(other.constants)
            and all(map(_same, self.constants, other.constants))
        )

    __hash__ = None  # type: ignore[assignment]


def _plain(value: Any) -> Any:
    """A keyword of an operation as a value that ``==`` compares: of an array, a list."""
    if type(value) in (int, float, bool, str):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    if isinstance(value, Tensor):
        value = value._data
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return value.dtype.char, value.tolist()
    return value


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or type(one) is not type(other):
        return False
    same = one == other
    if one.dtype.kind in "fc":
        same |= (one != one) & (other != other)  # nan
    return bool(same.all())


def signature(
    step: Callable[..., Any], x: Array, states: Sequence[Array], parameters: Mapping[str, Tensor]
) -> Signature | None:
    """The signature of a step; None if it raises.

    Args:
        step: ``step(x, states) -> states``.
        x: input of at least one step, (..., I), whose first rows are read.
        states: (N, H_k) each.
        parameters: all tensors that it reads and that may have other values at the next call.
    """
    xp = array_module(x)

    def two(a: Array) -> Tensor:
        rows = a.reshape(-1, a.shape[-1])[:ROWS]
        out = xp.zeros((ROWS, a.shape[-1]), a.dtype)
        if len(rows):
            out[...] = rows  # one sequence stands for both
        return wrap(out).requires_grad_()

    given, before = two(x), tuple([two(s) for s in states])
    noted = Signature([given, *before, *parameters.values()])

    def run() -> None:
        noted.ends_with(step(given, before))

    here = state.here
    watchers = here.watchers
    try:
        here.watchers = (noted,)  # a Tape that the user keeps does not show this run
        with draws_undone():
            within(True, run)
    except Exception:
        return None
    finally:
        here.watchers = watchers
    return noted
