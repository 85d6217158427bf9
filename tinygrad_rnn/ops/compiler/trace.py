"""Traces: the operations of one step of a cell, and of its derivatives, as one graph.

A step is ordinary Python: ``step(x, states, *masks) -> (*states, *emitted)``.  To learn what it computes it is run, on
small real arrays, while the engine tells a watcher of each operation that it applies (``Watcher.applied``).  Nothing
symbolic is computed with, so a step may use whatever the engine has: modules, slices, NumPy's functions of tensors.

1. **Who is who.**  A value is known by the identity of its array: the array that one operation gave out is the one that
   another takes in.  A view has an array of its own, and the engine tells of views too.
2. **Derivatives.**  The vjps of the engine are made of its own operations, so a recorded sweep
   (``create_graph=True``) is watched like everything else: what arrives at each product, state and parameter becomes a
   value of the same graph.  No rule of differentiation is repeated here.
3. **Two probes.**  What one run shows may be an accident of its numbers.  So the step is run twice, with other numbers
   and with another number of sequences, and both graphs, with all of their constants, must be the same.  The numbers of
   sequences are primes that divide no size in sight: an axis of that length is the batch and nothing else.
4. **Masks**, as of dropout, are drawn before a sequence, and the step is given them: numbers or bools, of which no
   gradient is wanted.  **Emitted** values are what the step gives beside its states, such as its gates.
5. **Refusals.**  What a graph cannot hold is refused while it happens, at the user's line: numbers that are taken to
   Python (a branch on them is invisible), and writes in place.  What differs between the probes is refused afterwards.

What is left to chance is a step that does one thing in both probes and another thing later without any of this.  For
memory that is changed behind the engine's back there is :mod:`.replay`: the finished program must give what the step
gave.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ...backend import array_module, is_array, to_numpy
from ...backend.random.generator import draws_undone
from ...errors import TinygradRnnError
from ...source_line import Line, user_line
from ...tape.grad import cotangents
from ...tape.modes import Watcher, spelled_out, state, within
from ...tape.node import Leaf, Node
from ...tape.primitive import Primitive
from ...tape.tensor import Tensor, wrap
from ...typing import Array, Params
from ..host_values import METHODS as ON_THE_HOST

__all__ = ["Mask", "Refused", "Step", "Trace", "Traced", "trace"]

Step = Callable[..., Any]
AnyNode = Leaf | Node

CONVERSIONS = ("item", "tolist", "numpy", "__array__", "__bool__", "__complex__", "__float__", "__index__", "__int__")
PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
ROWS = "the number of sequences"
"""Stands in ``Trace.sized`` where a keyword of an operation is the number of sequences of the probe."""

UNSEEN = "the values of a tensor to Python, where a branch on them would not be seen"
UNRECORDED = "numbers that no operation made: drawn at random, counted in Python, or taken out of a tensor"


class Refused(TinygradRnnError, NotImplementedError):
    """A step that cannot be compiled: the reason, and the line of the user's program that it is about."""

    def __init__(self, reason: str, line: Line | None = None) -> None:
        self.reason, self.line = reason, line
        super().__init__(reason if line is None else f"{reason} ({line}: {line.text})")


class Mask(NamedTuple):
    """A mask that a step is given: of so many columns, of numbers or of bools."""

    width: int
    boolean: bool = False

    @classmethod
    def of(cls, given: Mask | int) -> Mask:
        """A mask, or the width of one of numbers."""
        return given if isinstance(given, Mask) else cls(given)


@dataclass(frozen=True, eq=False)
class Traced:
    """One value of a graph: what was applied to what.

    Attributes:
        number: its place in ``Trace.values``; those that it is made of come before it.
        operation: the name of the primitive; "input" of what the step is given, "constant" of an array that no
            operation made.
        args: values and numbers.
        params: the primitive's keywords.
        array: what it was in this probe.
        name: of an input: "x", "state 0", "mask 0", "cotangent 0", "cotangent of emitted 0", or the name of the
            parameter.
        line: of the user's program, None of an input; of a value of the backward pass, that of the operation that is
            differentiated.
        function: of arrays, where what was applied is no primitive but such a function.
    """

    number: int
    operation: str
    args: tuple[Any, ...]
    params: Params
    array: Array
    name: str = ""
    line: Line | None = None
    function: Callable[..., Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """In this probe."""
        shape: tuple[int, ...] = self.array.shape
        return shape

    def __repr__(self) -> str:
        args = ", ".join(f"%{a.number}" if isinstance(a, Traced) else repr(a) for a in self.args)
        params = "".join(f", {key}={value}" for key, value in self.params.items())
        return f"%{self.number} = {self.operation}({self.name}{args}{params}) {self.shape}"


@dataclass(frozen=True, eq=False)
class Trace:
    """One step, and its derivatives, as one graph.

    For ``(*s', *e) = step(x, s, *masks; parameters)`` and cotangents ``g`` of ``s'`` and ``e``, one for each of them.

    Attributes:
        rows: the number of sequences of this probe.
        values: all of them, in the order in which they were computed.
        x, states, masks, parameters, seeds, emitted_seeds: the inputs; ``seeds`` and ``emitted_seeds`` are the
            cotangents ``g``; of ``masks``, those of a step come before those of a sequence.
        step_masks: how many of ``masks`` are of a step.
        new_states, emitted: the values ``s'`` and ``e``; any may be an input, or a parameter, itself.
        forward: how many of ``values`` belong to the forward pass.
        gradients: by number of a value of the forward pass, the value that is its cotangent; None where no gradient
            reaches it.  It has those that require grad.
        functions: by number of a value that a custom Function gave: the function that applies it, and its arguments.
        sized: by number of a value some keyword of which is the number of sequences: its keywords, with ``ROWS`` there.
    """

    rows: int
    values: tuple[Traced, ...]
    x: Traced
    states: tuple[Traced, ...]
    masks: tuple[Traced, ...]
    step_masks: int
    parameters: Mapping[str, Traced]
    seeds: tuple[Traced, ...]
    emitted_seeds: tuple[Traced, ...]
    new_states: tuple[Traced, ...]
    emitted: tuple[Traced, ...]
    forward: int
    gradients: Mapping[int, Traced | None]
    functions: Mapping[int, tuple[Callable[..., Any], tuple[Any, ...]]]
    sized: Mapping[int, Params]

    def __str__(self) -> str:
        return "\n".join(map(repr, self.values))


class _Recorder(Watcher):
    """Puts every application into a graph, and refuses what a graph cannot hold."""

    def __init__(self) -> None:
        self.values: list[Traced] = []
        self.of_array: dict[int, Traced] = {}
        self.alive: list[Array] = []  # the arrays by whose ids values are known, which so are those of no others
        self.nodes: dict[int, AnyNode] = {}  # by number of the value
        self.of_node: dict[int, Traced] = {}  # by index of the node
        self.functions: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.detached: dict[int, Traced] = {}  # by number of a value that has a history: the same without
        self.refused: Refused | None = None
        self.line: Line | None = None  # of the operation that a sweep is differentiating
        self.sweeping = False

    def new(
        self, operation: str, args: tuple[Any, ...], params: Params, t: Tensor, name: str = "", function: Any = None
    ) -> Traced:
        line = None if operation == "input" else self.line if self.sweeping else user_line()
        # a copy of an input: what the step writes to its memory behind the engine's back must not become the input
        array = to_numpy(t._data)
        if operation == "input" and array is t._data:
            array = array.copy()
        value = Traced(len(self.values), operation, args, params, array, name, line, function)
        self.values.append(value)
        self.alive.append(t._data)
        self.of_array[id(t._data)] = value
        if t._node is not None:
            self.nodes[value.number] = t._node
            self.of_node[t._node.index] = value
        return value

    def of(self, a: Any) -> Any:
        """An argument of an operation: the value that it is, or a number."""
        if a is None or isinstance(a, (bool, int, float)):
            return a
        if isinstance(a, (complex, np.complexfloating)):
            raise self.refuse("complex numbers")
        if isinstance(a, np.generic):
            return a.item()
        known = self.of_array.get(id(a._data if isinstance(a, Tensor) else a))
        if known is not None:
            return known if self.sweeping else self._with_history(known, a)
        t = a if isinstance(a, Tensor) else wrap(a if is_array(a) else np.asarray(a))
        if isinstance(t._node, Leaf):
            raise self.refuse("it reads a tensor that requires grad and is not among the parameters")
        if t._node is not None:
            made = t._node.primitive.name
            raise self.refuse(f"it reads what {made} made, which is no operation of this package or was done before")
        if t._data.ndim == 0:  # of a constant tensor; one of a parameter is known
            return t._data.item()
        return self.new("constant", (), {}, t)

    def _with_history(self, known: Traced, a: Any) -> Traced:
        """A known value, or the same without its history if that is what the step uses."""
        node, own = a._node if isinstance(a, Tensor) else None, self.nodes.get(known.number)
        if node is own:
            return known
        if node is not None:  # as of detach().requires_grad_()
            raise self.refuse("it gives a value a history of its own")
        if known.number not in self.detached:
            line = user_line()
            value = Traced(len(self.values), "detach", (known,), {}, known.array, "", line)
            self.values.append(value)
            self.detached[known.number] = value
        return self.detached[known.number]

    def refuse(self, reason: str) -> Refused:
        """The error to raise; it is kept, because the step may catch it."""
        error = Refused(reason, self.line if self.sweeping else user_line())
        if self.refused is None:
            self.refused = error
        return error

    # what the engine tells ---------------------------------------------------------------------------------------

    def applied(self, operation: Any, inputs: Sequence[Any], params: Params, output: Any) -> None:
        name = getattr(operation, "name", None) or operation.__name__
        if not isinstance(output, Tensor):
            raise self.refuse(f"{name}() has several results")
        if output._data.dtype.kind not in "fb":
            what = "complex numbers" if output._data.dtype.kind == "c" else "whole numbers"
            raise self.refuse(f"the step makes {what}; it may compute with floating point numbers and masks")
        function = None if isinstance(operation, Primitive) else operation
        self.new(name, tuple([self.of(a) for a in inputs]), dict(params), output, function=function)

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        # of a custom Function, whose operations were seen, and whose derivative is its own
        args = getattr(node, "constants", None)
        if args is None or self.sweeping:
            return
        value = self.of_array.get(id(output))
        if value is None:
            return  # reading it is refused
        apply, keywords = node.primitive.apply, node.keywords  # type: ignore[attr-defined]
        apply = functools.partial(apply, **keywords) if keywords else apply
        self.functions[value.number] = apply, tuple([self.of(a) for a in args])
        self.nodes[value.number] = node
        self.of_node[node.index] = value

    def written(self, t: Tensor, op: str) -> None:
        raise self.refuse(f"{op}() writes in place. Compute a new value: a = a + b")

    def taken(self, name: str) -> None:
        raise self.refuse(f"{name}() takes {UNSEEN}")

    def hooked(self, owner: str) -> None:
        raise self.refuse(f"it has a hook on {owner}, which would not run at every step")

    def reached(self, node: AnyNode, cotangent: Any) -> None:
        value = self.of_node.get(node.index)
        if value is not None:
            self.line = value.line

    def sweep_begins(self, seeds: Any) -> None:
        self.sweeping = True

    def sweep_ends(self, error: BaseException | None) -> None:
        self.sweeping = False


# values taken to Python ----------------------------------------------------------------------------------------------


class _Guard:
    """Conversions of tensors that refuse in a thread that traces, bound to Tensor only while some thread does.

    So outside of tracing they cost nothing.  Other threads find the old behaviour behind one test.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                for name in CONVERSIONS:
                    setattr(Tensor, name, _refusing(name, ON_THE_HOST[name]))

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for name in CONVERSIONS:
                    setattr(Tensor, name, ON_THE_HOST[name])


def _refusing(name: str, conversion: Callable[..., Any]) -> Callable[..., Any]:
    shown = f"{name.strip('_')}(t)" if name.startswith("__") else f"t.{name}()"
    sentence = f"{shown} takes {UNSEEN}"

    @functools.wraps(conversion)
    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        for watcher in state.here.watchers:
            if isinstance(watcher, _Recorder):
                raise watcher.refuse(sentence)
        return conversion(self, *args, **options)

    return method


_guard = _Guard()


@contextmanager
def _alone() -> Iterator[None]:
    """Conversions refuse, and the numbers that the step draws are drawn again by the next call of this thread."""
    with _guard, draws_undone():
        yield


@contextmanager
def _without_hooks(parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Hooks on parameters see the sums over all steps, on the tape, and nothing of a probe."""
    nodes = [p._node for p in parameters.values() if p._node is not None]
    hooks = [node.hooks for node in nodes]
    try:
        for node in nodes:
            node.hooks = None
        yield
    finally:
        for node, own in zip(nodes, hooks, strict=True):
            node.hooks = own


# a probe -------------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """What :func:`trace` was asked for."""

    step: Step
    input_size: int
    widths: tuple[int, ...]
    parameters: Mapping[str, Tensor]
    dtype: Any
    emitted: int
    step_masks: tuple[Mask, ...]
    sequence_masks: tuple[Mask, ...]


def _probe(asked: _Asked, rows: int, seed: int, low: float) -> Trace:
    """The step and its derivatives, run and watched once, on ``rows`` sequences."""
    random = np.random.default_rng(seed)
    # on the device of the parameters, which the step reads; what is noted of values is on the host
    xp = array_module(next((p._data for p in asked.parameters.values()), None))

    def draw(width: int) -> Tensor:
        return wrap(xp.asarray(random.uniform(low, 0.9, (rows, width)).astype(asked.dtype)))

    def draw_mask(mask: Mask) -> Tensor:
        if mask.boolean:
            return wrap(xp.asarray(random.random((rows, mask.width)) < 0.5))
        return draw(mask.width)

    r = _Recorder()
    x = draw(asked.input_size).requires_grad_()
    states = tuple([draw(w).requires_grad_() for w in asked.widths])
    masks = [draw_mask(mask) for mask in (*asked.step_masks, *asked.sequence_masks)]

    def run() -> Trace:
        given_x = r.new("input", (), {}, x, "x")
        given = tuple([r.new("input", (), {}, s, f"state {k}") for k, s in enumerate(states)])
        given_masks = tuple([r.new("input", (), {}, m, f"mask {k}") for k, m in enumerate(masks)])
        named = {name: r.new("input", (), {}, p, name) for name, p in asked.parameters.items()}
        try:
            after = asked.step(x, states, *masks)
        except Refused:
            raise
        except Exception as error:  # such as a shape that it takes for granted: composed, it may work all the same
            raise r.refuse(f"it raises {type(error).__name__} for {rows} sequences: {error}") from error
        if r.refused is not None:  # and the step went on
            raise r.refused
        after = _checked(r, after, rows, asked)
        count = len(states)
        results = tuple([r.of(a) for a in after])
        forward = len(r.values)
        # they require grad, so that what is computed of them is recorded, and told
        seeds = [draw(a.shape[1]).requires_grad_() for a in after]
        names = [f"cotangent {k}" for k in range(count)]
        names += [f"cotangent of emitted {k}" for k in range(asked.emitted)]
        given_seeds = tuple([r.new("input", (), {}, g, name) for g, name in zip(seeds, names, strict=True)])
        pairs = [(a._node, g) for a, g in zip(after, seeds, strict=True) if a._node is not None]
        wanted = [n for n in r.nodes if n < forward]
        found = cotangents(pairs, [r.nodes[n] for n in wanted], record=True) if pairs else [None] * len(wanted)
        gradients = {n: None if g is None else r.of(g) for n, g in zip(wanted, found, strict=True)}
        if r.refused is not None:
            raise r.refused
        return Trace(
            rows=rows,
            values=tuple(r.values),
            x=given_x,
            states=given,
            masks=given_masks,
            step_masks=len(asked.step_masks),
            parameters=named,
            seeds=given_seeds[:count],
            emitted_seeds=given_seeds[count:],
            new_states=results[:count],
            emitted=results[count:],
            forward=forward,
            gradients=gradients,
            functions=r.functions,
            sized={},
        )

    here = state.here
    before = here.watchers
    try:
        here.watchers = (r,)  # a Tape that the user keeps does not show probes
        result: Trace = within(True, spelled_out, run)
    finally:
        here.watchers = before
    return result


def _checked(r: _Recorder, after: Any, rows: int, asked: _Asked) -> tuple[Tensor, ...]:
    """The new states and what is emitted, if these are tensors of the right shapes."""
    widths, dtype, emitted = asked.widths, asked.dtype, asked.emitted
    after = (after,) if isinstance(after, Tensor) else after
    if not isinstance(after, (tuple, list)) or not all(isinstance(a, Tensor) for a in after):
        raise r.refuse(f"the step gives {type(after).__name__}, and not a tensor or a tuple of tensors")
    if len(after) != len(widths) + emitted:
        more = f", is to emit {emitted} values" if emitted else ""
        raise r.refuse(f"the step is given {len(widths)} states{more} and gives {len(after)}")
    for k, a in enumerate(after):
        known = r.of_array.get(id(a._data))
        line = None if known is None else known.line
        shape = ", ".join("N" if n == rows else str(n) for n in a._data.shape)
        if k >= len(widths):
            what = f"emitted value {k - len(widths)}"
            if a._data.ndim != 2 or a._data.shape[0] != rows:
                raise Refused(f"{what} has the shape ({shape}); it must be (N, K), one row for each sequence", line)
            if a._data.dtype != dtype:
                raise Refused(f"{what} is {a._data.dtype}, and the states {dtype}", line)
        elif a._data.shape != (rows, widths[k]):
            raise Refused(f"state {k} has the shape ({shape}) after the step, and (N, {widths[k]}) before it", line)
        elif a._data.dtype != dtype:
            raise Refused(f"state {k} is {a._data.dtype} after the step, and {dtype} before it", line)
    return tuple(after)


# two probes ----------------------------------------------------------------------------------------------------------


def _agree(p: Any, q: Any, rows: int, others: int) -> bool:
    """Whether two parameters of a primitive are the same, or are the number of sequences of their probes."""
    if isinstance(p, slice) and isinstance(q, slice):
        p, q = (p.start, p.stop, p.step), (q.start, q.stop, q.step)
    if isinstance(p, (tuple, list)) and isinstance(q, (tuple, list)):
        return len(p) == len(q) and all(_agree(x, y, rows, others) for x, y in zip(p, q, strict=True))
    if isinstance(p, np.ndarray) or isinstance(q, np.ndarray):
        return np.array_equal(p, q, equal_nan=np.asarray(p).dtype.kind == "f")
    if type(p) is int and type(q) is int and (p, q) == (rows, others):
        return True
    return bool(p is q or p == q or (p != p and q != q))


def _compare(a: Trace, b: Trace) -> None:
    """Refuse a step that is not the same graph in two probes."""
    differs = "what is computed depends on the values, or on the number of sequences"
    for one, other in zip(a.values, b.values, strict=False):
        if one.operation != other.operation or len(one.args) != len(other.args):
            line = one.line or other.line
            raise Refused(f"{differs}: {one.operation}() in one run, {other.operation}() in another", line)
        for p, q in zip(one.args, other.args, strict=True):
            if isinstance(p, Traced) and isinstance(q, Traced):
                if p.number != q.number:
                    raise Refused(f"{differs}: {one.operation}() is applied to other values", one.line)
            elif isinstance(p, Traced) or isinstance(q, Traced):
                raise Refused(f"{differs}: {one.operation}() is applied to other values", one.line)
            elif type(p) is not type(q) or not _agree(p, q, -1, -1):
                if (p, q) == (1 / a.rows, 1 / b.rows):
                    raise Refused("a mean over the batch, whose sequences are independent of each other", one.line)
                raise Refused(f"{one.operation}() with {p!r} in one run and {q!r} in another: {UNRECORDED}", one.line)
        if not _agree(tuple(one.params.items()), tuple(other.params.items()), a.rows, b.rows):
            masks = any(isinstance(v, np.ndarray) for v in one.params.values())
            why = f"{one.operation}() with {UNRECORDED}" if masks else f"{differs}: {one.operation}()"
            raise Refused(why, one.line)
        if one.operation == "constant" and not _same_constant(one.array, other.array, a.rows, b.rows):
            raise Refused(f"the step uses {UNRECORDED}", one.line)
    if len(a.values) != len(b.values):
        longer = a if len(a.values) > len(b.values) else b
        raise Refused(f"{differs}: one run has more operations", longer.values[min(len(a.values), len(b.values))].line)
    for p, q in zip([*a.new_states, *a.emitted], [*b.new_states, *b.emitted], strict=True):
        if p.number != q.number:
            raise Refused(f"{differs}: the new states are other values", p.line)
    if {n: g and g.number for n, g in a.gradients.items()} != {n: g and g.number for n, g in b.gradients.items()}:
        raise Refused(f"{differs}: the gradients are other values")


def _same_constant(one: Array, other: Array, rows: int, others: int) -> bool:
    """Whether two arrays are the same constant; over the batch only if it is one number everywhere."""
    if [("N" if n == rows else n) for n in one.shape] != [("N" if n == others else n) for n in other.shape]:
        return False
    if one.shape == other.shape and rows not in one.shape:
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    return bool((one == one.flat[0]).all() and (other == one.flat[0]).all())


def _sized(a: Trace, b: Trace) -> dict[int, Params]:
    """See ``Trace.sized``: what differs between two probes that agree is their number of sequences."""

    def marked(p: Any, q: Any) -> Any:
        if isinstance(p, slice):
            return slice(*[marked(*pair) for pair in zip(*[(s.start, s.stop, s.step) for s in (p, q)], strict=True)])
        if isinstance(p, (tuple, list)):
            return type(p)([marked(*pair) for pair in zip(p, q, strict=True)])
        return ROWS if type(p) is int and p != q else p

    found = {}
    for one, other in zip(a.values, b.values, strict=True):
        params = {key: marked(value, other.params[key]) for key, value in one.params.items()}
        if repr(params) != repr(dict(one.params)):
            found[one.number] = params
    return found


def trace(
    step: Step,
    input_size: int,
    widths: Sequence[int],
    parameters: Mapping[str, Tensor],
    dtype: Any = np.float64,
    *,
    emitted: int = 0,
    step_masks: Sequence[Mask | int] = (),
    sequence_masks: Sequence[Mask | int] = (),
) -> tuple[Trace, Trace]:
    """The graph of one step of a cell and of its derivatives, seen in two probes that agree.

    Args:
        step: ``step(x, states, *masks) -> (*states, *emitted)`` for x (N, I), states (N, H_k) and masks (N, K), each a
            Tensor; of the masks, those of a step come first.  A single state may be given without a tuple.
        input_size: I.
        widths: H_k, one for each state.
        parameters: all tensors that the step reads and that may have other values at the next call, by name.
        dtype: of x and the states, as of the parameters, and of all masks but those of bools.
        emitted: how many values the step gives beside its states, (N, K) each, for any K.
        step_masks: masks that have other values at each step.
        sequence_masks: masks that each sequence keeps at all steps.

    Returns:
        The same graph twice, with the arrays of either probe.

    Raises:
        Refused: the step does what cannot be compiled.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([[0.5]], dtype=tg.float64, requires_grad=True)
    >>> one, _ = trace(lambda x, s: tg.tanh(x @ w + 0.5 * s[0]), 1, (1,), {"w": w})
    >>> [v.operation for v in one.values[: one.forward]]
    ['input', 'input', 'input', 'matmul', 'mul', 'add', 'tanh']
    """
    dtype = np.dtype(dtype)
    for name, p in parameters.items():
        if p._data.dtype != dtype and p._data.dtype.kind in "fc":
            raise Refused(f"parameter {name} is {p._data.dtype}, and the input {dtype}")
    if dtype.char not in "fd":
        raise Refused(f"the step computes in {dtype}; float32 and float64 are compiled")
    asked = _Asked(
        step,
        input_size,
        tuple(widths),
        parameters,
        dtype,
        emitted,
        tuple([Mask.of(m) for m in step_masks]),
        tuple([Mask.of(m) for m in sequence_masks]),
    )
    sizes = {n for p in parameters.values() for n in p._data.shape} | {input_size, *widths}
    sizes |= {mask.width for mask in (*asked.step_masks, *asked.sequence_masks)}
    if 0 in sizes:
        raise Refused("an input, a state, a mask or a parameter without entries")
    rows = [p for p in PRIMES if all(n % p for n in sizes)]
    low = -0.9
    with _alone(), _without_hooks(parameters):
        while len(rows) > 1:
            a, b = (_probe(asked, rows[k], k + 1, low) for k in (0, 1))
            if low < 0 and not (_finite(a) and _finite(b)):
                low = 0.1  # of positive numbers, where others have no result, as of a logarithm
            elif not _finite(a) or not _finite(b):
                raise Refused("the step gives inf or nan for numbers between 0.1 and 0.9, and so cannot be checked")
            elif _ambiguous(a, b):
                rows = rows[2:]
            else:
                _compare(a, b)
                sized = _sized(a, b)
                return replace(a, sized=sized), replace(b, sized=sized)
    raise Refused("the step has values of so many widths that no number of sequences is another number")


def _ambiguous(a: Trace, b: Trace) -> bool:
    """Whether the number of sequences of one probe is the length of another axis, too: of a slice, say."""
    for one, other in zip(a.values, b.values, strict=False):
        if any(m == n and m in (a.rows, b.rows) for m, n in zip(one.shape, other.shape, strict=False)):
            return True
    return False


def _finite(t: Trace) -> bool:
    """Whether the results of a probe are numbers, with which others can be compared."""
    ends = [*t.new_states, *t.emitted, *[t.gradients.get(v.number) for v in (t.x, *t.states, *t.parameters.values())]]
    return all(bool(np.isfinite(v.array).all()) for v in ends if v is not None)
