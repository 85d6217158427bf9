"""Prelude and reference: the operations of a traced step as they were applied, to be applied again to Tensors.

A program computes a step and its derivative.  Two things it leaves to the engine, and for both it keeps what the step
did forward: which primitive was applied to what, with which keywords.

* The **prelude** is what depends on parameters alone: slices of weights, ``W - W.T``, ``exp(scale)``.  It is applied
  once for each call, with history, and so gives the gradients of the parameters.
* The **reference** is all else, of the prelude's matrices and vectors.  With recording on, it is a graph of the step,
  and its derivatives are the engine's, of any order: those of a gradient (``create_graph=True``) among them.

The user's step is not called again; its Python may have changed since.  Three things are no operations, and are kept
all the same:

* the number of sequences, where a keyword or a constant has it (``ROWS``): it is that of the arrays at hand;
* ``detach()`` and ``no_grad()``: what was made without history stays without;
* a custom Function, whose derivative is the user's: it is called as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...backend import array_module
from ...tape.primitive import REGISTRY
from ...tape.tensor import Tensor, as_array, wrap
from ...typing import Array, Params
from .trace import ROWS, Trace, Traced

__all__ = ["Applied", "Prelude", "Reference"]


@dataclass(frozen=True, eq=False)
class Applied:
    """A value of a step: what is given, a constant, or an operation on others.

    Attributes:
        operation, args, params: as of :class:`.trace.Traced`, with ``ROWS`` in ``params``; args are such values, and
            numbers.
        name: of what is given: of a parameter, or "x", "state 0", "mask 0", "matrix 0", "vector 0".
        array: of a constant.
        shape: with ``ROWS`` for the number of sequences.
        function: what is called instead of a primitive: a function of arrays, or the ``apply`` of a custom Function.
        custom: it is a custom Function's.
        history: whether the result has one, if an argument has.
    """

    operation: str
    args: tuple[Any, ...]
    params: Params
    name: str
    array: Array | None
    shape: tuple[Any, ...]
    function: Callable[..., Any] | None
    custom: bool
    history: bool

    def __str__(self) -> str:
        if self.operation in ("input", "constant"):
            return self.name or "a constant"
        return f"{self.operation}({', '.join(map(str, self.args))})"

    def run(self, known: Mapping[Applied, Any], rows: int, xp: Any) -> Any:
        """The value of a constant, or of an operation on those that are known; ``xp`` is the array module."""
        if self.array is not None:
            if ROWS not in self.shape:
                return wrap(xp.asarray(self.array))
            return wrap(xp.full(_with_rows(self.shape, rows), self.array.flat[0]))  # the same in every row
        args = [known[a] if isinstance(a, Applied) else a for a in self.args]
        params = {key: _with_rows(value, rows) for key, value in self.params.items()}
        if self.operation == "detach":
            return args[0].detach()
        if self.function is None:
            y = REGISTRY[self.operation].apply(*args, **params)
        elif self.custom:
            y = self.function(*args)
        else:  # without derivative
            y = wrap(as_array(self.function(*[a._data if isinstance(a, Tensor) else a for a in args], **params)))
        return y if self.history else y.detach()


def _with_rows(value: Any, rows: int) -> Any:
    """A keyword for so many sequences."""
    if value is ROWS:
        return rows
    if isinstance(value, slice):
        return slice(*[_with_rows(v, rows) for v in (value.start, value.stop, value.step)])
    if isinstance(value, (tuple, list)):
        return type(value)([_with_rows(v, rows) for v in value])
    return value


def _applied(t: Trace, roots: Iterable[Traced], given: Mapping[int, str]) -> dict[int, Applied]:
    """What ``roots`` are made of, down to what is given: by number, in the order in which it is computed."""

    def arguments(v: Traced) -> tuple[Any, ...]:
        if v.number in given:
            return ()
        return t.functions[v.number][1] if v.number in t.functions else v.args

    needed: set[int] = set()
    stack = list(roots)
    while stack:
        v = stack.pop()
        if v.number not in needed:
            needed.add(v.number)
            stack.extend([a for a in arguments(v) if isinstance(a, Traced)])
    made: dict[int, Applied] = {}
    for number in sorted(needed):
        v, inner = t.values[number], number not in given
        made[number] = Applied(
            operation=v.operation if inner else "input",
            args=tuple([made[a.number] if isinstance(a, Traced) else a for a in arguments(v)]),
            params=t.sized.get(number, v.params) if inner else {},
            name=v.name if inner else given[number],
            array=v.array if inner and v.operation == "constant" else None,
            shape=tuple([ROWS if n == t.rows else n for n in v.shape]),
            function=t.functions[number][0] if number in t.functions else v.function,
            custom=number in t.functions,
            history=number in t.gradients,
        )
    return made


@dataclass(frozen=True, eq=False)
class Prelude:
    """What is computed of the parameters alone, once for each call.

    Attributes:
        values: in order, from the parameters and constants to what the program reads.
        matrices, vectors: of ``values``, those that the program reads.
    """

    values: tuple[Applied, ...]
    matrices: tuple[Applied, ...]
    vectors: tuple[Applied, ...]

    @classmethod
    def of(cls, t: Trace, matrices: Sequence[Traced], vectors: Sequence[Traced]) -> Prelude:
        """That of a trace, whose program reads ``matrices`` and ``vectors``."""
        made = _applied(t, [*matrices, *vectors], {v.number: name for name, v in t.parameters.items()})
        of_matrices, of_vectors = (tuple([made[v.number] for v in chosen]) for chosen in (matrices, vectors))
        return cls(tuple(made.values()), of_matrices, of_vectors)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters that are read."""
        return tuple([v.name for v in self.values if v.operation == "input"])

    def run(self, parameters: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The matrices (``h @ v`` is a product with one of one column) and the vectors, as tensors with history."""
        known: dict[Applied, Any] = {}
        xp: Any = None
        for v in self.values:
            if v.operation == "input":
                known[v] = parameters[v.name]
                continue
            xp = xp or array_module(next((p._data for p in parameters.values()), None))
            known[v] = v.run(known, 0, xp)
        matrices = [known[v] if len(v.shape) == 2 else known[v].reshape(-1, 1) for v in self.matrices]
        vectors = [known[v] if len(v.shape) == 1 else known[v].reshape(-1) for v in self.vectors]
        return matrices, vectors


@dataclass(frozen=True, eq=False)
class Reference:
    """The forward pass of a step, as operations on whole values.

    Attributes:
        values: in the order in which they are computed.
        results: of these, the new states and what is emitted.
    """

    values: tuple[Applied, ...]
    results: tuple[Applied, ...]

    @classmethod
    def of(cls, t: Trace, matrices: Sequence[Traced], vectors: Sequence[Traced]) -> Reference:
        """That of a trace, of which ``matrices`` and ``vectors`` are given."""
        given = {t.x.number: "x"}
        for name, values in {"state": t.states, "mask": t.masks, "matrix": matrices, "vector": vectors}.items():
            given |= {v.number: f"{name} {k}" for k, v in enumerate(values)}
        results = (*t.new_states, *t.emitted)
        made = _applied(t, results, given)
        return cls(tuple(made.values()), tuple([made[v.number] for v in results]))

    def run(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        matrices: Sequence[Tensor],
        vectors: Sequence[Tensor],
        masks: Sequence[Tensor] = (),
    ) -> tuple[Tensor, ...]:
        """The new states and what is emitted, (N, K) each, with history.

        Args:
            x: (N, I).
            states: (N, H_k) each.
            matrices, vectors: as ``Prelude.run`` gives them.
            masks: (N, K) each, those of the step first.
        """
        given = {"x": x}
        for name, values in {"state": states, "mask": masks, "matrix": matrices, "vector": vectors}.items():
            given |= {f"{name} {k}": t for k, t in enumerate(values)}
        known: dict[Applied, Any] = {}
        xp = array_module(x._data)
        for v in self.values:
            if v.operation == "input":
                t = given[v.name]  # a matrix of one column may be a vector of the step's, a vector a row or a number
                known[v] = t if len(t.shape) == len(v.shape) else t.reshape(v.shape)
            else:
                known[v] = v.run(known, x.shape[0], xp)
        return tuple([known[v] for v in self.results])
