"""The recurrent layers of a model as they ran: found by watching one forward run, whatever the model is.

A layer that runs as one record shows its input, states, weights and output to whoever watches
(:class:`tinygrad_rnn.tape.modes.Watcher`); one that goes step by step shows its step before it runs.  Nothing is hooked
into kernels, and nothing is run twice.  What the steps do to cotangents follows from that: :mod:`.steps`.

Every diagnosis begins with :func:`ran`, or, of losses, with :class:`Recorded`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..backend import array_module, is_array, to_numpy
from ..backend.random.generator import default_generator, draws_undone
from ..errors import ArgumentError, ArgumentTypeError, GraphError
from ..kernels.recurrent import dispatch
from ..nn.module import Module
from ..nn.recurrent.layer_stack import Stack
from ..nn.utils.rnn import PackedSequence
from ..ops.compiler.cell import CompiledCell
from ..ops.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from ..ops.recurrent.packing import packed_places
from ..ops.recurrent.sequence import Record
from ..ops.recurrent.unroll import Loop
from ..tape.grad import cotangents, grad
from ..tape.modes import Watcher, state, watched, within
from ..tape.node import Leaf, Node
from ..tape.observe.scopes import CALLS, NOWHERE
from ..tape.partial_gradient import Part
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .recorded_steps import RecordedSteps
from .steps import GRUSteps, LSTMSteps, RNNSteps, Steps, Visits

__all__ = ["External", "Recorded", "Recurrence", "Seen", "chosen", "ran", "run_model"]

EQUATIONS: dict[str, Callable[..., Any]] = {"rnn": rnn_cell, "lstm": lstm_cell, "gru": gru_cell}


class Recurrence:
    """One layer in one direction, as it ran.

    Attributes:
        place: where it is: "rnn layer 0 reverse".
        cell: "rnn", "lstm", "gru", or the name of a compiled or composed cell.
        owner: the module; None if it is not known.
        layer, direction: in a stack.
        x: the input (S, I), one row for each step and sequence.
        y: the output likewise, the first state after each step.
        states: the initial ones (N, W).
        state_names: of the states.
        sizes: of packed rows.
        reverse: whether it reads from the end.
        weights: as they were given, with their history, or None.
        dtype: of the layer.
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        states: Sequence[Array],
        sizes: Sequence[int] | None,
        reverse: bool,
        weights: Sequence[Tensor | None],
        cell: str,
    ) -> None:
        scope = state.here.scope or NOWHERE
        self.owner = scope.owner
        self.layer, self.direction = scope.layer or 0, scope.direction or int(reverse)
        self.place = ""
        self.cell = cell
        self.batch = len(states[0])
        self.steps_of_time = len(x) if sizes is None else len(sizes)
        # of one axis for steps and sequences
        self.x, self.y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        self.states = tuple(states)
        names = self.owner._state_names() if isinstance(self.owner, Stack) else ("h", "c")
        self.state_names = tuple(names) if len(names) == len(states) else tuple([f"s{k}" for k in range(len(states))])
        self.sizes = None if sizes is None else tuple([int(n) for n in sizes])
        self.reverse = reverse
        self.weights = list(weights)
        self.dtype = np.dtype(y.dtype)
        self.cotangents: dict[str, Array | None] = {}

    def __repr__(self) -> str:
        return f"<{self.place}: {self.cell}, {self.steps_of_time} steps of {self.batch} sequences>"

    # which rows are read, and when --------------------------------------------------------------------------------

    @functools.cached_property
    def _table(self) -> Array:
        """The row of each step and sequence (T, N); -1 where there is none."""
        if self.sizes is None:
            return np.arange(self.steps_of_time * self.batch).reshape(self.steps_of_time, self.batch)
        table = np.full((self.steps_of_time, self.batch), -1)
        steps, sequences = packed_places(self.sizes)
        table[steps, sequences] = np.arange(len(steps))
        return table

    def visits(self, sequences: Sequence[int] | None = None) -> Visits:
        """In the order in which the layer reads; of chosen sequences those visits at which all of them run.

        Raises:
            ArgumentError: there is no such sequence, or chosen ones differ in length.
        """
        table = self._table[::-1] if self.reverse else self._table
        times = range(self.steps_of_time)[:: -1 if self.reverse else 1]
        sizes = (table >= 0).sum(1)
        if sequences is None:
            return Visits(tuple(times), np.where(table < 0, 0, table), tuple(sizes.tolist()))
        for n in sequences:
            if not 0 <= n < self.batch:
                raise ArgumentError(f"there is no sequence {n}: {self.place} ran on {self.batch}, counted from 0")
        table = table[:, list(sequences)]
        runs = (table >= 0).sum(1)
        if any((runs > 0) & (runs < len(sequences))):
            raise ArgumentError("chosen sequences of a packed batch must have the same length: take one at a time")
        kept = np.flatnonzero(runs)
        return Visits(tuple([times[k] for k in kept]), table[kept], tuple([len(sequences)] * len(kept)))

    # its steps ------------------------------------------------------------------------------------------------------

    def steps(self, sequences: Sequence[int] | None = None) -> Steps:
        """Its steps as maps of cotangents, of all sequences or of chosen ones."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its steps are")

    def recorded_steps(self) -> RecordedSteps:
        """Its steps by the engine, of all sequences, whatever the layer is."""
        steps = self.steps()
        assert isinstance(steps, RecordedSteps)
        return steps

    # what a backward sweep brings -------------------------------------------------------------------------------------

    def wanted_nodes(self) -> list[Node | Leaf]:
        """The nodes whose cotangents are those of the output and of the final states."""
        return []

    def external(self, found: dict[int, Any], later: dict[int, Any]) -> list[tuple[Array | None, Array | None]]:
        """For each state the cotangents of its series (S, W) and of the final state (N, W); None: no gradient.

        Args:
            found: by number of a node, the complete cotangent.
            later: the same, but what came from nodes that were recorded after this layer.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what its cotangents are")


class FusedRecurrence(Recurrence):
    """A layer that is one record: RNN, LSTM, GRU, or a compiled cell."""

    def __init__(self, record: Record, inputs: Sequence[Any], params: dict[str, Any], output: Any, node: Any) -> None:
        options, count = params["options"], record.count
        self.record, self.options, self.node = record, options, node
        x, *rest = [a._data if isinstance(a, Tensor) else a for a in inputs[: 1 + count]]
        weights = [a if isinstance(a, Tensor) or a is None else wrap(a) for a in inputs[1 + count :]]
        series = [output[0], *output[1 + count :]]
        super().__init__(x, series[0]._data, rest, options.sizes, options.reverse, weights, record.cell.name)
        self.cells = [a._data.reshape(-1, a._data.shape[-1]) for a in series[1:count]] if options.cells else []
        self.emits = len(series) > (count if options.cells else 1)

    def steps(self, sequences: Sequence[int] | None = None) -> Steps:
        visits = self.visits(sequences)
        cell = self.record.cell
        if isinstance(cell, CompiledCell):
            return self._compiled_steps(cell, visits, sequences)
        states = self.states if sequences is None else [s[list(sequences)] for s in self.states]
        arrays = [None if w is None else w._data for w in self.weights]
        given = (visits, self.x, self.y, states, arrays)
        if cell is dispatch.RNN:
            return RNNSteps(self.options.nonlinearity, *given)
        return (LSTMSteps if cell is dispatch.LSTM else GRUSteps)(*given)

    def recorded_steps(self) -> RecordedSteps:
        """All steps by the engine, with weights of their own in float64."""
        cell, everything = self.record.cell, self.visits()
        if isinstance(cell, CompiledCell):
            return self._compiled_steps(cell, everything, None)
        weights = [None if w is None else wrap(w._data.astype(np.float64)).requires_grad_() for w in self.weights]
        params = {"nonlinearity": self.options.nonlinearity} if cell is dispatch.RNN else {}

        def run(visit: int, x: Tensor, states: tuple[Tensor, ...], rows: Array | None) -> Sequence[Tensor]:
            results = EQUATIONS[cell.name](x, *states, *weights, **params)
            return results if isinstance(results, tuple) else (results,)

        return RecordedSteps(
            run,
            everything,
            self.x.astype(np.float64),
            [s.astype(np.float64) for s in self.states],
            self.state_names,
            weights,
            given={0: self.y.astype(np.float64)},
        )

    def _compiled_steps(self, cell: CompiledCell, visits: Visits, sequences: Sequence[int] | None) -> RecordedSteps:
        """The step as it was traced, in float64."""
        program, everything = cell.program, self.visits()
        weights = [None if w is None else wrap(w._data.astype(np.float64)).requires_grad_() for w in self.weights]
        split = len(program.prelude.matrices)
        of_steps = [m.reshape(-1, m.shape[-1]) for m in self.options.step_masks]

        def run(visit: int, x: Tensor, states: tuple[Tensor, ...], rows: Array | None) -> Sequence[Tensor]:
            n = everything.sizes[visit]
            index = np.arange(n) if rows is None else rows
            masks = [wrap(_cast(_taken(m, everything.rows[visit][index]))) for m in of_steps]
            masks += [wrap(_cast(_taken(m, index))) for m in self.options.sequence_masks]
            return program.reference.run(x, states, weights[:split], weights[split:], tuple(masks))  # type: ignore[arg-type]

        given = dict(enumerate([self.y, *self.cells]))
        return RecordedSteps(
            run,
            everything,
            self.x.astype(np.float64),
            [s.astype(np.float64) for s in self.states],
            self.state_names,
            weights,
            chosen=None if sequences is None else visits,
            sequences=sequences,
            given={k: a.astype(np.float64) for k, a in given.items()},
        )

    def wanted_nodes(self) -> list[Node | Leaf]:
        return [] if self.node is None else [self.node]

    def external(self, found: dict[int, Any], later: dict[int, Any]) -> list[tuple[Array | None, Array | None]]:
        count = self.record.count
        gs = list(found.get(self.node.index) or [None] * 64) if self.node is not None else [None] * 64
        series, finals = [gs[0], *gs[1 + count :]], gs[1 : 1 + count]
        known = count if self.options.cells else 1
        if any(g is not None for g in series[known:]):
            raise _of_emitted(self)
        series = [*series[:known], *[None] * (count - known)]
        return [
            (_rows(a), None if b is None else b.reshape(self.batch, -1)) for a, b in zip(series, finals, strict=True)
        ]


class ComposedRecurrence(Recurrence):
    """A layer that runs step by step."""

    def __init__(self, loop: Loop, random: Any) -> None:
        super().__init__(
            loop.x._data, loop.series[0]._data, [s._data for s in loop.states], loop.sizes, loop.reverse, [], "step"
        )
        self.loop, self.random = loop, random

    def steps(self, sequences: Sequence[int] | None = None) -> Steps:
        loop, everything = self.loop, self.visits()
        of_steps = [m._data.reshape(-1, m._data.shape[-1]) for m in loop.step_masks]

        def run(visit: int, x: Tensor, states: tuple[Tensor, ...], rows: Array | None) -> Sequence[Tensor]:
            index = np.arange(everything.sizes[visit]) if rows is None else rows
            masks = [wrap(_taken(m, everything.rows[visit][index])) for m in of_steps]
            masks += [wrap(_taken(m._data, index)) for m in loop.sequence_masks]
            results: Sequence[Tensor] = loop.step(x, states, *masks)
            return results

        now = default_generator.get_state()
        try:
            default_generator.set_state(self.random)  # to draw what was drawn
            return RecordedSteps(
                run,
                everything,
                self.x,
                self.states,
                self.state_names,
                self.weights,
                chosen=None if sequences is None else self.visits(sequences),
                sequences=sequences,
                given={0: self.y},
            )
        finally:
            default_generator.set_state(now)

    def wanted_nodes(self) -> list[Node | Leaf]:
        return [t._node for t in (*self.loop.series, *self.loop.finals) if t._node is not None]

    def external(self, found: dict[int, Any], later: dict[int, Any]) -> list[tuple[Array | None, Array | None]]:
        def of(t: Tensor, table: dict[int, Any]) -> Any:
            return None if t._node is None else table.get(t._node.index)

        series = [of(t, found) for t in self.loop.series]
        count = len(self.states)
        known = count if len(series) >= count > 1 and self._gives_cells() else 1
        if any(g is not None for g in series[known:]):
            raise _of_emitted(self)
        series = [*series[:known], *[None] * (count - known)]
        return [(_rows(a), of(t, later)) for a, t in zip(series, self.loop.finals, strict=True)]

    def _gives_cells(self) -> bool:
        return bool(getattr(self.owner, "return_cells", False))


def _of_emitted(recurrence: Recurrence) -> GraphError:
    return GraphError(
        f"the loss reads gates that {recurrence.place} gives beside its states (return_gates=True); shares are "
        "those of a loss of outputs and states"
    )


def _rows(a: Any) -> Any:
    return None if a is None else a.reshape(-1, a.shape[-1])


def _taken(a: Array, index: Array) -> Array:
    """The rows of an index, which is on the host."""
    found: Array = a[array_module(a).asarray(index)]
    return found


def _cast(mask: Array) -> Array:
    return mask if mask.dtype == bool else mask.astype(np.float64)


# watching ------------------------------------------------------------------------------------------------------------


class Seen(Watcher):
    """Sees the recurrent layers of a forward run, and what a backward sweep brings to them.

    Args:
        model: whose modules give the places their names.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.fused: list[Recurrence] = []
        self.loops: list[tuple[Loop, Any, Any]] = []
        self.order: list[Any] = []
        self.sweeps = 0
        self.last: Any = None
        self.found: dict[int, Any] = {}
        self.later: dict[int, Any] = {}
        self.ends: dict[int, int] = {}
        self.wanted: set[int] = set()

    def recorded(self, node: Node, output: Any) -> None:
        self.last = node

    def applied(self, operation: Any, inputs: Sequence[Any], params: dict[str, Any], output: Any) -> None:
        record = getattr(getattr(operation, "forward", None), "__self__", None)
        if self.sweeps or not isinstance(record, Record):
            return
        node = self.last if output[0]._node is not None else None
        self.order.append(FusedRecurrence(record, inputs, params, output, node))

    def unrolls(self, loop: Loop) -> None:
        if not self.sweeps:
            self.order.append((loop, state.here.scope or NOWHERE, default_generator.get_state()))

    def sweep_begins(self, seeds: Sequence[tuple[Any, Any]]) -> None:
        self.sweeps += 1
        if self.sweeps == 1:
            for node, g in seeds:
                self._add(node, g)

    def sweep_ends(self, error: BaseException | None) -> None:
        self.sweeps -= 1

    def reached(self, node: Any, cotangent: Any) -> None:
        if self.sweeps == 1 and node.index in self.wanted:
            self.found[node.index] = (
                [None if g is None else g.copy() for g in cotangent]
                if isinstance(cotangent, list)
                else cotangent.copy()
            )

    def contributed(self, node: Any, position: int, parent: Any, contribution: Any) -> None:
        if self.sweeps == 1 and node.index > self.ends.get(parent.index, node.index):
            self._add(parent, contribution)

    def _add(self, node: Any, g: Any) -> None:
        if node.index not in self.ends:
            return
        g = g.start() if isinstance(g, Part) else getattr(g, "_data", g)
        before = self.later.get(node.index)
        self.later[node.index] = g.copy() if before is None else before + g

    def recurrences(self, segments: bool = False) -> list[Recurrence]:
        """What ran, in order, with places.

        Args:
            segments: leave out layers that ran step by step in segments, instead of refusing them.

        Raises:
            GraphError: there are such layers.
        """
        made: list[Recurrence] = []
        for one in self.order:
            if isinstance(one, Recurrence):
                made.append(one)
                continue
            loop, scope, random = one
            if not loop.series:
                continue  # it failed
            if scope.origin and segments:
                continue
            if scope.origin:
                raise GraphError(
                    "a layer that runs step by step in segments cannot be looked into: set checkpoint_segments to None"
                )
            before = state.here.scope
            try:
                state.here.scope = scope
                made.append(ComposedRecurrence(loop, random))
            finally:
                state.here.scope = before
        paths = {id(module): path for path, module in self.model.named_modules()} if _is_module(self.model) else {}
        for r in made:
            path = paths.get(id(r.owner), "") or type(r.owner).__name__ if r.owner is not None else r.cell
            r.place = f"{path} layer {r.layer}" + (" reverse" if r.direction else "")
        return made

    def look_for(self, recurrences: Sequence[Recurrence]) -> None:
        """Keep what the next sweep brings to them."""
        for r in recurrences:
            self.wanted |= {node.index for node in r.wanted_nodes()}
            if isinstance(r, ComposedRecurrence):
                self.ends |= {t._node.index: r.loop.ended for t in r.loop.finals if t._node is not None}


def _is_module(model: Any) -> bool:
    return isinstance(model, Module)


def run_model(model: Any, x: Any, hx: Any = None) -> Any:
    """``model(x)``, ``model(x, hx)``; a plain tuple holds several arguments."""
    x = wrap(x) if is_array(x) else x
    arguments = x if isinstance(x, (tuple, list)) and not isinstance(x, PackedSequence) else (x,)
    return model(*arguments) if hx is None else model(*arguments, hx)


def seen(model: Any, run: Callable[[], Any], watcher: S) -> tuple[Any, S]:
    """What ``run()`` gives, while a watcher looks on."""
    if not callable(model):
        raise ArgumentTypeError(f"expected a model, got {type(model).__name__}")
    key = -id(model)
    CALLS[key] = None  # so that calls of modules say which they are
    try:
        result = watched(watcher, run)
    finally:
        CALLS.pop(key, None)
    return result, watcher


def ran(model: Any, x: Any, hx: Any = None) -> list[Recurrence]:
    """The recurrent layers of ``model(x)``, in the order in which they ran, without a graph.

    Raises:
        ArgumentError: there are none.
    """
    with draws_undone():
        _, watcher = seen(model, lambda: within(False, run_model, model, x, hx), Seen(model))
    return _some(watcher.recurrences(), model)


S = TypeVar("S", bound=Seen)

External = list[tuple[Array | None, Array | None]]
"""For each state of a layer the cotangents of its series (S, W) and of its final value (N, W)."""


class Recorded:
    """A run of a model with its graph, from which losses are swept back.

    Args:
        model: whose layers are watched.
        run: runs it; gives a loss, or whatever losses are made of.
    """

    def __init__(self, model: Any, run: Callable[[], Any]) -> None:
        with draws_undone():
            self.result, self.watcher = seen(model, lambda: within(True, run), Seen(model))
        self.layers = _some(self.watcher.recurrences(), model)
        self.watcher.look_for(self.layers)
        named = model.named_parameters() if isinstance(model, Module) else ()
        self.parameters: dict[str, Tensor] = {name: p for name, p in named if p.requires_grad}

    def sweep(self, loss: Tensor, seed: Tensor | None = None, parameters: bool = True) -> list[External]:
        """What arrives at each layer from a loss, of which the graph is kept.

        Args:
            seed: its cotangent.
            parameters: note the gradients of the parameters too, in ``gradients``.

        Raises:
            GraphError: the loss depends on nothing that requires grad.
        """
        watcher = self.watcher
        watcher.found, watcher.later = {}, {}
        if loss._node is None:
            raise GraphError("the loss depends on no parameter and no input that requires grad")
        if parameters and self.parameters:
            wanted = tuple(self.parameters.values())
            found = watched(watcher, grad, (loss,), wanted, seed, True, allow_unused=True)
            self.gradients = {
                name: np.zeros(p._data.shape) if g is None else to_numpy(g._data)
                for (name, p), g in zip(self.parameters.items(), found, strict=True)
            }
        else:
            nodes = [node for layer in self.layers for node in layer.wanted_nodes()]
            g = loss._data * 0 + 1 if seed is None else seed._data
            watched(watcher, cotangents, [(loss._node, g)], nodes, keep=True)
        return [layer.external(watcher.found, watcher.later) for layer in self.layers]


def _some(found: list[Recurrence], model: Any) -> list[Recurrence]:
    if not found:
        raise ArgumentError(
            f"no recurrent layer ran in {type(model).__name__}. A loop that is written by hand can be seen as a layer: "
            "nn.RNNLayer(cell)"
        )
    return found


def chosen(found: Sequence[Recurrence], layer: Any) -> Recurrence:
    """The layer that is asked for.

    Args:
        layer: its number in ``found``, its place, or the beginning of that; None: the last one that reads forwards.

    Raises:
        ArgumentError: there is none; the message has all.
    """
    if layer is None:
        return ([r for r in found if not r.reverse] or list(found))[-1]
    if isinstance(layer, int) and not isinstance(layer, bool):
        if -len(found) <= layer < len(found):
            return found[layer]
    elif isinstance(layer, str):
        fitting = [r for r in found if r.place == layer] or [r for r in found if r.place.startswith(layer)]
        if fitting:
            return fitting[-1]
    listed = ", ".join([f"{k}: {r.place!r}" for k, r in enumerate(found)])
    raise ArgumentError(f"layer={layer!r}: there are {listed}")
