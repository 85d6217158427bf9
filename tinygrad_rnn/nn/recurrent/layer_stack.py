"""Stack of recurrent layers: the walk over layers and directions, shared by the recurrent layers and by RNNLayer.

A stack brings the input into one form, (T, N, I) or packed rows (S, I); runs each layer and direction; joins and
drops outputs in between; and brings the outputs back into the form of the input.  Subclasses define how one layer
runs in one direction.

Legend: T steps, N batch, S packed rows, I input size, R output size of one direction, L layers, D directions,
W = D*R.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...autograd.checkpoint import decided
from ...backend import array_module
from ...backend.random.generator import draws_undone
from ...errors import ArgumentTypeError, ShapeError
from ...ops import cat, index_select, linear, sigmoid, stack, unsqueeze
from ...ops.compiler.cell import CompiledCell
from ...ops.recurrent.packing import packed_places
from ...ops.recurrent.unroll import unroll
from ...ops.splitting import entries
from ...tape.modes import state
from ...tape.observe.scopes import inside
from ...tape.tensor import Tensor, wrap
from ...typing import Array
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, empty
from ..utils.rnn import PackedSequence
from .checks import check_states, check_states_ndim
from .compiled_steps import Ready, Work, steps_of
from .options import (
    Masking,
    Sizes,
    StackOptions,
    States,
    drawn_masks,
    locked_mask,
    unmasked,
    with_recurrent_dropout,
    with_zoneout,
)
from .segments import in_segments

__all__ = ["Stack"]

NO_MASKS: tuple[tuple[Array, ...], tuple[Array, ...]] = ((), ())


class Stack(Module):
    """Base class: recurrent layers on top of each other.

    A subclass gives ``_kind_name``, ``_state_names``, ``_state_sizes``, ``_check_input`` and ``_direction``, and the
    attributes below.

    Attributes:
        input_size, num_layers, batch_first, dropout, bidirectional: as in PyTorch; may be reassigned.
        options: see :class:`StackOptions`.
        impl: which form runs; see :mod:`.compiled_steps`.
    """

    input_size: int
    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    options: StackOptions
    impl: str = "auto"

    # given by subclasses -----------------------------------------------------------------------------------------

    def _kind_name(self) -> str:
        return type(self).__name__

    def _state_names(self) -> tuple[str, ...]:
        """The names of the states, as in ``initial_h``."""
        raise NotImplementedError(f"{type(self).__name__} does not say which states it has")

    def _state_sizes(self) -> tuple[int, ...]:
        """The width of each state."""
        raise NotImplementedError(f"{type(self).__name__} does not say how wide its states are")

    def _check_input(self, input: Tensor, packed: bool) -> None:
        """Refuse input that does not fit."""

    def _direction(
        self, layer: int, direction: int, x: Tensor, states: States, sizes: Sizes
    ) -> tuple[tuple[Tensor, ...], States]:
        """Run one layer in one direction: (output, whatever else is collected), final states."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a layer runs")

    def _cell(self, layer: int, direction: int) -> Module | None:
        """The user's cell of one layer and direction, if its step is one."""
        return None

    def _work(self, layer: int, direction: int) -> Work:
        """The step of one layer and direction."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its steps are")

    def _has_kernels(self) -> bool:
        """Whether it runs by kernels of its own, and not by those of its steps."""
        return False

    def _place(self, layer: int, direction: int) -> str:
        """What messages call one layer and direction."""
        of_two = ("", ", reverse")[direction] if self.bidirectional else ""
        return f"layer {layer}{of_two}"

    def explain(self, backend: str | None = None) -> str:
        """What the steps of this layer compute, and how they run.

        Products with the names of weights, what is done before the loop, passes over the units, what is kept for the
        backward pass and its bytes, for all layers and directions that differ; of what cannot be compiled, the reason
        and the line.  The layer need not have run.

        Args:
            backend: ``"numba"``, ``"numpy"`` or ``"cuda"``: the text of the kernels that is generated for it.

        Raises:
            ArgumentError: there is no such backend.

        >>> import tinygrad_rnn as tg
        >>> layer = tg.nn.GRU(3, 5, num_layers=2, reset_after=False, impl="compiled")
        >>> for line in layer.explain().splitlines():
        ...     if "@" in line or line.startswith(("GRU", "layer")):
        ...         print(line.strip())
        GRU: compiled
        layer 0
        x @ weight_ih.T: 3 -> 15 columns
        state 0 @ weight_hh[:10].T: 5 -> 10 columns
        computed values @ weight_hh[10:].T: 5 -> 5 columns
        layer 1
        x @ weight_ih.T: 5 -> 15 columns
        state 0 @ weight_hh[:10].T: 5 -> 10 columns
        computed values @ weight_hh[10:].T: 5 -> 5 columns
        """
        with draws_undone():  # as of weight dropout
            works = [self._work(layer, d) for layer in range(self.num_layers) for d in range(self._directions)]
        sizes = self._state_sizes()
        masking = Masking.of(self.options, len(sizes), self.training).kind
        name, fused = self._described(works[0]), self._has_kernels()
        return steps_of(self).explain(name, self.impl, fused, works, sizes, masking, backend)

    # sizes and parameters --------------------------------------------------------------------------------------------

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _width(self) -> int:
        """W, the width of a layer's joined output."""
        return self._state_sizes()[0] * self._directions

    def _layer_input_size(self, layer: int) -> int:
        """How many features layer ``layer`` reads."""
        if layer == 0:  # not asked of a user's cell, which may have to be made first to know how wide its states are
            return self.input_size
        return self.input_size + layer * self._width if self.options.skip == "dense" else self._width

    def _add_skip(self, layer: int, **factory: Any) -> None:
        """Register the gate of a highway around ``layer``, if there is one."""
        if self.options.skip == "highway" and layer > 0:
            width = self._width
            self.register_parameter(f"weight_skip_l{layer}", Parameter(empty((width, width), **factory)))
            self.register_parameter(f"bias_skip_l{layer}", Parameter(empty((width,), **factory)))

    def _add_initial_states(self, **factory: Any) -> None:
        """Register the initial states, if they are learned."""
        if self.options.learn_state:
            for name, size in zip(self._state_names(), self._state_sizes(), strict=True):
                shape = (self.num_layers * self._directions, size)
                self.register_parameter(f"initial_{name}", Parameter(empty(shape, **factory)))

    def _reset_stack(self) -> None:
        """Highway gates: U(+-1/sqrt(W)), biases -1 (mostly open to the input at first); initial states: zero."""
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            if name.startswith("weight_skip_l"):
                bound = 1.0 / math.sqrt(self._width)
                init.uniform_(parameter, -bound, bound)
            elif name.startswith("bias_skip_l"):
                init.constant_(parameter, -1.0)
            elif name.startswith("initial_"):
                init.zeros_(parameter)

    # forward ---------------------------------------------------------------------------------------------------------

    def _run(self, input: Any, hx: States | None) -> tuple[list[Any], States]:
        """All layers and directions: output and whatever else is collected, in the form of the input; final states."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        if not isinstance(input, Tensor):
            raise ArgumentTypeError(
                f"{self._kind_name()}(): input must be Tensor or PackedSequence, not {type(input).__name__}. "
                "Make one with tinygrad_rnn.tensor(...)"
            )
        if input.ndim not in (2, 3):
            # PyTorch's sentence for RNN has a word more.
            noun = "D tensor" if self._kind_name() == "RNN" else "D"
            raise ShapeError(f"{self._kind_name()}: Expected input to be 2D or 3D, got {input.ndim}{noun} instead")
        batched = input.ndim == 3
        x = input
        if not batched:
            # a sequence without a batch is a batch of one
            x = x.reshape(x.shape[0], 1, x.shape[1])
        elif self.batch_first:
            x = x.transpose(0, 1)  # (T, N, I)
        if hx is not None:
            check_states_ndim(hx, batched)
            hx = hx if batched else tuple(state.reshape(state.shape[0], 1, state.shape[1]) for state in hx)
        self._check_input(x, False)
        outputs, finals = self._layers(x, self._initial(hx, x, x.shape[1]), None)
        if not batched:
            return [y.reshape(y.shape[0], y.shape[2]) for y in outputs], tuple(_without_batch(f) for f in finals)
        return [y.transpose(0, 1) for y in outputs] if self.batch_first else outputs, finals

    def _run_packed(self, sequence: PackedSequence, hx: States | None) -> tuple[list[Any], States]:
        data, batch_sizes, sorted_indices, unsorted_indices = sequence
        self._check_input(data, True)
        sizes = tuple(batch_sizes.tolist())
        # batch_sizes[0] counts sequences of at least one step, the permutation those of length 0 too.
        batch = sizes[0] if sorted_indices is None else len(sorted_indices)
        if hx is not None and sorted_indices is not None:
            check_states_ndim(hx, True)
            self._check_states(hx, data, batch)
            # packed rows are sorted by length, states are in the user's order
            hx = tuple(index_select(state, 1, sorted_indices) for state in hx)
        outputs, finals = self._layers(data, self._initial(hx, data, batch), sizes)
        if unsorted_indices is not None:
            finals = tuple(index_select(state, 1, unsorted_indices) for state in finals)
        return [PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices) for y in outputs], finals

    def _check_states(self, hx: States, input: Tensor, batch: int) -> None:
        count = self.num_layers * self._directions
        check_states(hx, [(count, batch, size) for size in self._state_sizes()], input)

    def _initial(self, hx: States | None, input: Tensor, batch: int) -> list[States]:
        """The initial states (N, R), ... of each layer and direction."""
        count = self.num_layers * self._directions
        if hx is not None:
            self._check_states(hx, input, batch)
            if count == 1:  # the gradient of a reshape is one, that of an entry is added to zeros
                return [tuple([state.reshape(state.shape[1:]) for state in hx])]
            return list(zip(*map(entries, hx), strict=True))
        # the learned state of each layer and direction, repeated for the batch: its gradient is the sum over it
        if self.options.learn_state:
            learned = [getattr(self, f"initial_{name}") for name in self._state_names()]
            return [tuple(p[k].expand(batch, p.shape[1]) for p in learned) for k in range(count)]
        xp, dtype = array_module(input._data), input._data.dtype
        # shared by all layers: states are read, never written
        zeros = tuple([wrap(xp.zeros((batch, size), dtype)) for size in self._state_sizes()])
        return [zeros] * count

    def _layers(self, x: Tensor, initial: Sequence[States], sizes: Sizes) -> tuple[list[Tensor], States]:
        finals: list[States] = []
        collected: list[Tensor] = []
        watched = state.here.watchers
        for layer in range(self.num_layers):
            runs = []
            for direction in range(self._directions):
                place = (layer, direction, x, initial[len(finals)], sizes)
                if watched:
                    scope = {"layer": layer, "direction": direction}
                    emitted, final = inside(self._direction, *place, scope=scope)
                else:
                    emitted, final = self._direction(*place)
                runs.append(emitted)
                finals.append(final)
            collected = [ys[0] if len(ys) == 1 else cat(ys, -1) for ys in zip(*runs, strict=True)]
            y = collected[0]
            # PyTorch drops between layers, not behind the last one
            if layer < self.num_layers - 1:
                y = self._drop(y, sizes, len(initial[0][0]))
            x = self._skip(layer, x, y)
        return [x, *collected[1:]], tuple([_stacked(states) for states in zip(*finals, strict=True)])

    def _drop(self, y: Tensor, sizes: Sizes, batch: int) -> Tensor:
        """Dropout between layers: a mask per entry, or per sequence and feature if locked."""
        if not self.options.locked_dropout:
            return F.dropout(y, self.dropout, self.training)
        if not self.training or self.dropout == 0:
            return y
        mask = locked_mask(y, batch, self.dropout)
        dropped: Tensor = y * (mask if sizes is None else mask[packed_places(sizes)[1]])
        return dropped

    def _skip(self, layer: int, below: Tensor, y: Tensor) -> Tensor:
        """What the next layer reads (or, above the last one, the output): ``y``, joined with the layer's input."""
        skip, joined = self.options.skip, y
        if skip == "dense" and layer < self.num_layers - 1:
            joined = cat([below, y], -1)
        elif skip == "residual" and layer > 0:
            joined = y + below
        elif skip == "highway" and layer > 0:
            t = sigmoid(linear(below, getattr(self, f"weight_skip_l{layer}"), getattr(self, f"bias_skip_l{layer}")))
            joined = t * y + (1 - t) * below
        return joined

    def _over_steps(
        self, layer: int, direction: int, x: Tensor, states: States, sizes: Sizes, cells: bool = False
    ) -> tuple[tuple[Tensor, ...], States]:
        """A step over the sequence, with recurrent dropout and zoneout as the options say, compiled or one by one.

        Returns:
            (the first state after every step, with ``cells`` the others, what the step emits), final states.
        """
        options, impl, count, reverse = self.options, self.impl, len(states), bool(direction)
        masking = Masking.of(options, count, self.training) if options.changes_steps else unmasked(count)
        segments, known = options.checkpoint_segments, steps_of(self)
        work: Work | None = None
        again: Ready | None = None
        if impl != "composed":
            kind, data = masking.kind if options.changes_steps else masking, x._data
            # with the nodes of what a guard watches, whether the way back is needed
            nodes = x._node is not None or any(s._node is not None for s in states)
            key = layer, direction, impl, kind, self.training, data.dtype.char, type(data), state.here.recording, nodes

            def choose() -> CompiledCell | None:
                nonlocal again, work
                again = known.again(key, self._cell(layer, direction))
                if again is not None:
                    return again.compiled
                work = self._work(layer, direction)
                return known.choose(key, self._described(work), impl, work, kind, x, states)

            found = decided(choose)
            if found is not None:
                if again is not None:
                    parameters = again.parameters
                else:
                    work = work or self._work(layer, direction)  # it was decided before
                    parameters = work.parameters
                masks = drawn_masks(masking, x, states, sizes, reverse) if options.changes_steps else NO_MASKS
                return found.sequence(
                    x,
                    states,
                    parameters,
                    sizes=sizes,
                    reverse=reverse,
                    segments=segments,
                    stacked=self.num_layers * self._directions == 1,
                    cells=cells,
                    step_masks=masks[0],
                    sequence_masks=masks[1],
                )
        work = work or self._work(layer, direction)
        step = work.step
        # innermost: zoneout mixes with the old state, which is not the masked one
        if masking.recurrent_dropout > 0:
            step = with_recurrent_dropout(step, states[0], masking.recurrent_dropout)
        if any(masking.zoneouts):
            step = with_zoneout(step, masking.zoneouts, self.training)
        emit = (*range(count if cells else 1), *range(count, count + work.emitted))

        def run(x: Tensor, states: States, sizes: Sizes) -> tuple[tuple[Tensor, ...], States]:
            return unroll(step, x, states, sizes=sizes, reverse=reverse, emit=emit)

        def composed() -> tuple[tuple[Tensor, ...], States]:
            return in_segments(run, x, states, sizes, reverse, segments)

        return known.timed(composed, work, masking.kind, x) if impl == "auto" else composed()

    def _described(self, work: Work) -> str:
        """What messages about a step call this layer."""
        return self._kind_name() if work.cell is None else f"{self._kind_name()} of {type(work.cell).__name__}"


def _stacked(states: Sequence[Tensor]) -> Tensor:
    """(N, R) of each layer and direction, or (1, N, R) of a fused one that is alone -> (L*D, N, R)."""
    # Of a single state the fused kernel may have made the stack already.
    if len(states) > 1:
        return stack(states)
    return states[0] if states[0].ndim == 3 else unsqueeze(states[0], 0)


def _without_batch(state: Tensor) -> Tensor:
    """(L*D, 1, R) -> (L*D, R)."""
    reshaped: Tensor = state.reshape(state.shape[0], state.shape[2])
    return reshaped
