"""Find the operation whose gradient is wrong: every record of a tape is checked alone, at the values that it saw.

While the function runs once more, every primitive saves all of its arguments, whatever its declaration says, so
that each record can be replayed: its vjp against finite differences of its own forward, along random directions.
Where first derivatives are right everywhere, the second ones are compared too, because a vjp that computes
with raw values gives a right gradient with a wrong derivative.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_device
from ..backend.quiet import seeded
from ..errors import TinygradRnnError
from ..source_line import Line, user_line
from ..tape.grad import grad
from ..tape.modes import Watcher, watched
from ..tape.node import Leaf, Node
from ..tape.primitive import Primitive
from ..tape.tensor import Tensor, wrap
from .function import Function
from .numeric import Problem, project, to_host
from .one_sided import slopes

__all__ = ["Suspect", "Trial", "first_wrong", "gradient_problem", "gradients_of", "input_names", "search", "try_record"]

TOLERANCE = 1e-5  # of a check with gradcheck's defaults; sharper ones give their own


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
            f"which {fault}: for argument {t.argument}, along a random direction, analytical {t.analytical:.12g}, "
            f"numerical {t.numerical:.12g}"
        )


class _Recorder(Watcher):
    """Keeps each node with its output and the user's line."""

    def __init__(self) -> None:
        self.records: list[tuple[Node, Any, Line | None]] = []

    def recorded(self, node: Node, output: Any) -> None:
        self.records.append((node, output, user_line()))


def _everything(self: Primitive, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
    """In place of ``Primitive.keeps``: all arguments, and the output."""
    return (True,) * len(needs), True


def _saving_everything(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, while every primitive saves all of its arguments.

    One assignment to the class, which an interrupt cannot split: were it one for each primitive, a Ctrl-C among them
    would leave some saving everything for the rest of the process.
    """
    before = Primitive.keeps
    try:
        Primitive.keeps = _everything  # type: ignore[method-assign]
        result = function(*args)
    finally:
        Primitive.keeps = before  # type: ignore[method-assign]
    return result


def first_wrong(problem: Problem, tolerance: float = TOLERANCE) -> Suspect | None:
    """The first record, in the order of recording, that fails its own check; None if all pass.

    Args:
        tolerance: relative; that of the check that failed, since at another one its fault may pass.
    """
    return search(problem, tolerance)[0]


def search(problem: Problem, tolerance: float = TOLERANCE) -> tuple[Suspect | None, list[str]]:
    """The first wrong record, and the names of those that could not be checked by themselves."""
    recorder = _Recorder()
    outputs = _saving_everything(watched, recorder, problem.outputs)
    reachable = _reachable([y._node for y in outputs if y._node is not None])
    values = {node.index: output for node, output, _ in recorder.records}
    unchecked: list[str] = []
    # A gradient that was cut off from its forward pass leaves no way to it: then every record is looked at.
    second_order = getattr(problem.func, "second_order", False)
    for order in (1, 2) if second_order else (1,):
        records = [r for r in recorder.records if order == 2 or r[0].index in reachable]
        for number, (node, _, line) in enumerate(records):
            args = [_value(node, k, values) for k in range(len(node.parents))]
            try:
                trial = try_record(node, args, order, tolerance)
            except (TinygradRnnError, TypeError, ValueError, ArithmeticError):
                unchecked.append(node.primitive.name)  # the mismatch that is being explained stands anyway
                continue
            if trial is not None:
                shapes = tuple(tuple(a.shape) if hasattr(a, "shape") else None for a in args)
                return Suspect(node.primitive.name, number, len(records), line, shapes, trial), unchecked
    return None, unchecked


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
        value = getattr(node, "constants", node.args)[position]  # of a custom Function
        unsaved = value is None and node.primitive.arity == 2
        return np.zeros(node.shape) if unsaved else value  # a constant that no vjp reads, as in x + 1
    if not isinstance(value, (Leaf, Node)):
        return value
    if isinstance(value, Leaf):
        t = value.tensor()
        return None if t is None else t._data  # the leaf may be gone
    if value.index in values:
        return values[value.index]
    source = value.parents[0]  # an output of a fused primitive: its node stands behind the one that made it
    if source is not None and source.index in values and "number" in value.params:
        return values[source.index][value.params["number"]]
    return None


def try_record(node: Node, args: Sequence[Any], order: int, tolerance: float = TOLERANCE) -> Trial | None:
    """Replay one operation in float64 and compare its vjps with differences of its forward; None if all is right."""
    apply = getattr(node.primitive, "apply", None)
    if apply is None:  # no function to replay it with
        return None
    # a leaf that is gone has no value
    wanted = [k for k, p in enumerate(node.parents) if p is not None and getattr(args[k], "dtype", None) is not None]
    wanted = [k for k in wanted if args[k].dtype.kind == "f"]  # indices and masks have no derivative
    inputs = [_double(a, k in wanted) for k, a in enumerate(args)]
    rng = seeded(0)

    def call(*given: Any) -> Any:
        return apply(*given, **node.params)

    problem = Problem(call, inputs)
    if order == 2:
        problem = gradient_problem(problem, rng)
    outputs = problem.outputs()
    live = [k for k, y in enumerate(outputs) if y.requires_grad]
    if not live:
        return None
    vs = [rng.standard_normal(y.shape) if y.requires_grad else np.zeros(y.shape) for y in outputs]
    seeds = [wrap(_like(vs[k], outputs[k])) for k in live]
    found = grad([outputs[k] for k in live], [problem.inputs[k] for k in problem.wanted], seeds, allow_unused=True)
    for position, g in zip(problem.wanted, found, strict=True):
        u = rng.standard_normal(problem.inputs[position].shape)
        seen = project(problem, position, None if g is None else to_host(g._data), u, vs, "extrapolated")
        if not (seen.agrees(tolerance) and seen.settled):
            line = problem.line(position, u)
            beside = slopes(
                lambda t, line=line: float(sum((v * y).sum() for v, y in zip(vs, line(t), strict=True))),  # type: ignore[misc]
                1e-6,
                1e-6,
                1e-4,
                analytical=seen.analytical,
                numerical=seen.numerical,
                weight=seen.weight,
            )
            rough = beside.verdict not in ("smooth", "curved")
            # unsettled differences that agree, of a smooth function, are no fault
            if rough or not seen.agrees(tolerance):
                return Trial(position, seen.analytical, seen.numerical, order, rough)
    return None


def gradient_problem(problem: Problem, rng: np.random.Generator) -> Problem:
    """The function ``(inputs, cotangents) -> gradients`` of a problem, with random cotangents."""
    outputs = [y for y in problem.outputs() if y.requires_grad]
    return gradients_of(problem, [wrap(_like(rng.standard_normal(y.shape), y)).requires_grad_() for y in outputs])


def gradients_of(problem: Problem, seeds: Sequence[Any]) -> Problem:
    """The function ``(inputs, cotangents) -> gradients`` of a problem."""
    count = len(problem.args)

    def gradients(*args: Any) -> tuple[Tensor, ...]:
        again = Problem(problem.func, args[:count])
        ys = [y for y in again.outputs() if y.requires_grad]
        leaves = [again.inputs[k] for k in again.wanted]
        found = grad(ys, leaves, list(args[count:]), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    gradients.names = [*input_names(problem), *(f"grad_outputs[{k}]" for k in range(len(seeds)))]  # type: ignore[attr-defined]
    gradients.second_order = True  # type: ignore[attr-defined]
    return Problem(gradients, [*problem.args, *seeds])


def _double(value: Any, wanted: bool) -> Any:
    if getattr(value, "dtype", None) is None or isinstance(value, Tensor):
        return value
    if value.dtype.kind == "f":
        value = _copied(value) if value.dtype == np.float64 else value.astype(np.float64)
        return wrap(value).requires_grad_() if wanted else value
    return value


def _copied(array: Any) -> Any:
    """A copy with the memory layout of its original: a fault may depend on that."""
    # an expanded array has no memory of its own to write to
    if not isinstance(array, np.ndarray) or not array.size or any(stride == 0 for stride in array.strides):
        return array.copy()
    reach = [stride * (n - 1) for stride, n in zip(array.strides, array.shape, strict=True)]
    first = -sum(r for r in reach if r < 0)  # negative strides reach below the first entry
    memory = np.empty(first + sum(r for r in reach if r > 0) + array.itemsize, np.uint8)
    twin: Any = np.ndarray(array.shape, array.dtype, memory, first, array.strides)
    twin[...] = array
    return twin


def _like(values: Any, y: Tensor) -> Any:
    return to_device(np.asarray(values, y.dtype), y.device)


def input_names(problem: Problem) -> list[str | None]:
    """Names for the inputs: of parameters if ``func`` is a module or a method of one, else of the arguments."""
    given = getattr(problem.func, "names", None)
    if isinstance(given, list):
        return given
    func, skip = problem.func, 0
    owner = getattr(func, "__self__", None)
    if isinstance(owner, type) and issubclass(owner, Function) and func == owner.apply:
        func, skip = owner.forward, int(owner.setup_context is Function.setup_context)  # its first one is ctx
    try:
        arguments = [
            p.name
            for p in inspect.signature(func).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ][skip:]
    except (TypeError, ValueError):
        arguments = []  # a built-in without a signature
    names: list[str | None] = []
    for path in problem.paths:
        number, _, inside = path[1:].partition("]")
        names.append(arguments[int(number)] + inside if int(number) < len(arguments) else None)
    for owner in _owners(problem.func):
        parameters = {id(p): name for name, p in owner.named_parameters()}
        names = [parameters.get(id(t), name) for t, name in zip(problem.inputs, names, strict=True)]
    return names


def _owners(func: Any) -> list[Any]:
    """Modules that a function belongs to or closes over."""
    # a variable that has not been assigned yet has an empty cell
    cells = [cell.cell_contents for cell in getattr(func, "__closure__", None) or () if _filled(cell)]
    return [x for x in (func, getattr(func, "__self__", None), *cells) if hasattr(x, "named_parameters")]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
