"""Find the operation whose gradient is wrong: every record of a tape is checked alone, at the values that it saw.

While the function runs once more, every primitive saves all of its arguments, whatever its declaration says, so
that each record can be replayed: its vjp against finite differences of its own forward, along random directions.
Where first derivatives are right everywhere, the second ones are compared too, because a vjp that computes
with raw values gives a right gradient with a wrong derivative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import TinygradRnnError
from ..tape.backward import grad
from ..tape.node import Leaf, Node
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor, wrap
from ..tape.watcher import watching
from ..tape.where import Line, user_line
from .numeric import Problem, extrapolated, to_host
from .slopes import slopes

__all__ = ["Suspect", "Trial", "first_wrong", "gradient_problem", "try_record"]

STEP = 2e-3
TOLERANCE = 1e-5  # extrapolated differences are good to 1e-8 or better; the mildest mutant in the tests is off by 1e-3


@dataclass(frozen=True)
class Trial:
    """One vjp against differences along a random direction.

    Attributes:
        argument: which argument of the operation.
        analytical, numerical: ``<vjp(g), u>`` and the derivative of ``<g, forward>`` along u.
        order: 1, or 2 for the derivative of the vjp itself.
        rough: there is a kink at the values: the slopes on both sides differ.
    """

    argument: int
    analytical: float
    numerical: float
    order: int
    rough: bool

    @property
    def wrong(self) -> bool:
        scale = max(abs(self.analytical), abs(self.numerical), 1e-6)
        return not abs(self.analytical - self.numerical) <= TOLERANCE * scale


@dataclass(frozen=True)
class Suspect:
    """The first record whose gradient is wrong by itself.

    Attributes:
        name: the primitive.
        number: its place on the tape, from 0.
        total: how many records the tape has.
        line: the line of the user's program, if it is known.
        shapes: of the arguments.
        trial: the comparison that failed.
    """

    name: str
    number: int
    total: int
    line: Line | None
    shapes: tuple[tuple[int, ...] | None, ...]
    trial: Trial

    def __str__(self) -> str:
        where = f" at {self.line} `{self.line.text}`" if self.line else ""
        shapes = ", ".join("None" if s is None else str(list(s)) for s in self.shapes)
        t = self.trial
        if t.rough:
            fault = "has a kink at the values that it got"
        elif t.order == 2:
            fault = "has a right vjp with a wrong derivative (it computes with values that are not on the tape)"
        else:
            fault = "has a wrong vjp"
        return (
            f"tape: the error first appears in record {self.number} of {self.total}, {self.name}({shapes}){where}, "
            f"which {fault}: for argument {t.argument}, along a random direction, analytical {t.analytical:.9g}, "
            f"numerical {t.numerical:.9g}"
        )


class _Recorder:
    """Keeps each node with its output and the user's line."""

    def __init__(self) -> None:
        self.records: list[tuple[Node, Any, Line | None]] = []

    def recorded(self, node: Node, output: Any) -> None:
        self.records.append((node, output, user_line()))

    def sweep_begins(self) -> None: ...

    def reached(self, node: Node | Leaf, cotangent: Any) -> None: ...

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Any) -> None: ...


class _KeepAll(dict[Any, Any]):
    """A table of what to keep that always answers: all of it."""

    def get(self, needs: Any, default: Any = None) -> Any:
        return (True,) * len(needs), True


@contextmanager
def _saving_everything() -> Iterator[None]:
    before = [(p, p._keeps) for p in REGISTRY.values()]
    try:
        for p, _ in before:
            p._keeps = _KeepAll()
        yield
    finally:
        for p, keeps in before:
            p._keeps = keeps


def first_wrong(problem: Problem) -> Suspect | None:
    """The first record, in the order of recording, that fails its own check; None if all pass."""
    recorder = _Recorder()
    with _saving_everything(), watching(recorder):
        outputs = problem.outputs()
    reachable = _reachable([y._node for y in outputs if y._node is not None])
    values = {node.index: output for node, output, _ in recorder.records}
    # A gradient that was cut off from its forward pass leaves no way to it: then every record is looked at.
    second_order = getattr(problem.func, "second_order", False)
    for order in (1, 2) if second_order else (1,):
        records = [r for r in recorder.records if order == 2 or r[0].index in reachable]
        for number, (node, _, line) in enumerate(records):
            args = [_value(node, k, values) for k in range(len(node.parents))]
            try:
                trial = try_record(node, args, order)
            except (TinygradRnnError, TypeError, ValueError, ArithmeticError):
                continue  # it cannot be replayed by itself; the mismatch that is being explained stands anyway
            if trial is not None:
                shapes = tuple(tuple(a.shape) if hasattr(a, "shape") else None for a in args)
                return Suspect(node.primitive.name, number, len(records), line, shapes, trial)
    return None


def _reachable(starts: Sequence[Leaf | Node]) -> set[int]:
    seen: set[int] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node.index not in seen:
            seen.add(node.index)
            if isinstance(node, Node):
                stack.extend([p for p in node.parents if p is not None])
    return seen


def _value(node: Node, position: int, values: dict[int, Any]) -> Any:
    """The raw value of one argument of a record."""
    assert node.args is not None
    value = node.args[position]
    if value is None:
        return getattr(node, "constants", node.args)[position]  # of a custom Function
    if not isinstance(value, (Leaf, Node)):
        return value
    if isinstance(value, Leaf):
        t = value.tensor()
        return None if t is None else t._data
    if value.index in values:
        return values[value.index]
    source = value.parents[0]  # an output of a fused primitive: its node stands behind the one that made it
    if source is not None and source.index in values and "number" in value.params:
        return values[source.index][value.params["number"]]
    return None


def try_record(node: Node, args: Sequence[Any], order: int) -> Trial | None:
    """Replay one operation in float64 and compare its vjps with differences of its forward; None if all is right."""
    apply = getattr(node.primitive, "apply", None)
    if apply is None:
        return None
    wanted = [k for k, p in enumerate(node.parents) if p is not None and getattr(args[k], "dtype", None) is not None]
    wanted = [k for k in wanted if args[k].dtype.kind == "f"]
    inputs = [_double(a, k in wanted) for k, a in enumerate(args)]
    rng = np.random.default_rng(0)

    def call(*given: Any) -> Any:
        return apply(*given, **node.params)

    problem = Problem(call, inputs)
    if order == 2:
        problem = gradient_problem(problem, rng)
    outputs = [y for y in problem.outputs() if y.requires_grad]
    if not outputs:
        return None
    vs = [rng.standard_normal(y.shape) for y in outputs]
    leaves = [problem.inputs[k] for k in problem.wanted]
    seeds = [wrap(_like(v, y)) for v, y in zip(vs, outputs, strict=True)]
    found = grad(outputs, leaves, seeds, allow_unused=True)
    live = [k for k, y in enumerate(problem.outputs()) if y.requires_grad]
    for position, g in zip(problem.wanted, found, strict=True):
        u = rng.standard_normal(problem.inputs[position].shape)
        line = problem.line(position, u)
        numerical = _weighted(vs, live, extrapolated(line, STEP)[0])
        analytical = 0.0 if g is None else float((to_host(g._data) * u).sum())
        trial = Trial(position, analytical, numerical, order, False)
        if trial.wrong:
            beside = slopes(
                lambda t, line=line: _weighted(vs, live, line(t)),  # type: ignore[misc]
                1e-6,
                1e-6,
                1e-4,
                analytical=analytical,
                numerical=numerical,
            )
            return replace(trial, rough=beside.verdict not in ("smooth", "curved"))
    return None


def _weighted(vs: Sequence[Any], live: Sequence[int], values: Sequence[Any]) -> float:
    """``<v, values>`` over the outputs that require grad."""
    return float(sum((v * values[k]).sum() for v, k in zip(vs, live, strict=True)))


def gradient_problem(problem: Problem, rng: np.random.Generator) -> Problem:
    """The function ``(inputs, cotangents) -> gradients`` of a problem."""
    outputs = [y for y in problem.outputs() if y.requires_grad]
    seeds = [wrap(_like(rng.standard_normal(y.shape), y)).requires_grad_() for y in outputs]
    count = len(problem.inputs)

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        again = Problem(problem.func, args[:count])
        ys = [y for y in again.outputs() if y.requires_grad]
        leaves = [args[k] for k in again.wanted]
        found = grad(ys, leaves, list(args[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return Problem(gradients, [*problem.inputs, *seeds])


def _double(value: Any, wanted: bool) -> Any:
    if getattr(value, "dtype", None) is None or isinstance(value, Tensor):
        return value
    if value.dtype.kind == "f":
        value = value.astype(np.float64)
        return wrap(value).requires_grad_() if wanted else value
    return value


def _like(values: Any, y: Tensor) -> Any:
    return to_device(np.asarray(values, y.dtype), y.device)
