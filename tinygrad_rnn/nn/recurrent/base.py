"""RNNBase: what RNN, LSTM and GRU share, from the parameters to the walk over layers and directions.

Legend: T steps, N batch, I input size, H hidden size, P projection size, R = P or H, L layers, D directions,
G gates.

Parameters of layer k, registered and drawn in this order, forward then ``_reverse``:

    weight_ih_l{k} (G*H, I)   weight_hh_l{k} (G*H, R)   bias_ih_l{k}, bias_hh_l{k} (G*H)   weight_hr_l{k} (P, H)

I is R*D for the layers above the first.  All are drawn from U(-1/sqrt(H), 1/sqrt(H)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ...backend import array_module
from ...errors import ArgumentError, ArgumentTypeError, ShapeError
from ...ops import cat, index_select, stack
from ...ops.kernels.conventions import CELLS, CellKind, parameter_names
from ...ops.recurrent import gru_sequence, lstm_sequence, rnn_sequence
from ...tape.modes import no_grad
from ...tape.tensor import Tensor, wrap
from ...typing import Value
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, empty
from ..utils.rnn import PackedSequence
from .checks import check_constructor, check_input, check_states, check_states_ndim

__all__ = ["RNNBase"]

IMPLEMENTATIONS = ("auto", "fused", "composed")

SEQUENCES: dict[str, Callable[..., tuple[Value, ...]]] = {
    "RNN_TANH": partial(rnn_sequence, nonlinearity="tanh"),
    "RNN_RELU": partial(rnn_sequence, nonlinearity="relu"),
    "LSTM": lstm_sequence,
    "GRU": gru_sequence,
}
"""The operation that runs one layer and direction of each mode."""


class RNNBase(Module):
    """Base of the recurrent layers; use :class:`RNN`, :class:`LSTM` or :class:`GRU`.

    Args:
        mode: ``"RNN_TANH"``, ``"RNN_RELU"``, ``"LSTM"`` or ``"GRU"``.
        input_size: I.
        hidden_size: H.
        num_layers: L; each layer reads the outputs of the one below.
        bias: with both bias vectors.
        batch_first: input and output are (N, T, *) instead of (T, N, *); states never are.
        dropout: probability of zeroing each output of every layer but the last, while training.
        bidirectional: a second set of weights reads from the end; outputs are joined, forward first.
        proj_size: P (LSTM alone); 0 for none.
        impl: ``"fused"``: one record for each layer and direction, with a hand-written backward pass;
            ``"composed"``: every step on the tape; ``"auto"``: fused.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        impl: str = "auto",
    ) -> None:
        super().__init__()
        check_constructor(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in CELLS:
            raise ArgumentError(f"Unrecognized RNN mode: {mode}. Expected one of {', '.join(CELLS)}")
        if impl not in IMPLEMENTATIONS:
            raise ArgumentError(f"impl must be one of {', '.join(IMPLEMENTATIONS)}, got {impl!r}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.impl = impl
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in self._suffixes():
                shapes = self._shapes(layer)
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._flat_weights_names += names
                self._all_weights.append(names)
        self.reset_parameters()

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The shapes of one layer's parameters, by name without layer and direction."""
        rows = len(self._kind.gates) * self.hidden_size
        width = self._output_size
        below = self.input_size if layer == 0 else width * len(self._suffixes())
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, below),
            "weight_hh": (rows, width),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
            "weight_hr": (width, self.hidden_size),
        }
        return {name: shapes[name] for name in parameter_names(self.bias, self.proj_size > 0)}

    @property
    def _kind(self) -> CellKind:
        return CELLS[self.mode]

    @property
    def _output_size(self) -> int:
        """R: the width of one direction's output."""
        return self.proj_size or self.hidden_size

    def _state_sizes(self) -> tuple[int, ...]:
        """The width of each state: R for h, H for c."""
        return (self._output_size, *[self.hidden_size for _ in self._kind.states[1:]])

    def reset_parameters(self) -> None:
        """Draw all parameters anew, in the order of their registration."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, one list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing to do: there is no packed copy of the weights.  Kept because scripts call it."""

    def extra_repr(self) -> str:
        """The sizes, then what differs from the defaults."""
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
            "impl": "auto",
        }
        changed = [f"{name}={self.__dict__[name]}" for name, value in defaults.items() if self.__dict__[name] != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])

    # forward ---------------------------------------------------------------------------------------------------

    def _sequence(self, x: Value, states: tuple[Value, ...], weights: list[Any], **options: Any) -> tuple[Value, ...]:
        """One layer and direction: the output and the final states."""
        result: tuple[Value, ...] = SEQUENCES[self.mode](x, *states, *weights, **options)
        return result

    def _run(self, input: Any, hx: tuple[Tensor, ...] | None) -> tuple[Any, tuple[Tensor, ...]]:
        """All layers and directions: the output in the form of the input, and each final state."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        if not isinstance(input, Tensor):
            raise ArgumentTypeError(
                f"{type(self).__name__}(): input must be Tensor or PackedSequence, not {type(input).__name__}. "
                "Make one with tinygrad_rnn.tensor(...)"
            )
        if input.ndim not in (2, 3):
            kind, noun = ("RNN", "D tensor") if self.mode.startswith("RNN") else (self.mode, "D")
            raise ShapeError(f"{kind}: Expected input to be 2D or 3D, got {input.ndim}{noun} instead")
        batched = input.ndim == 3
        x = input
        if not batched:
            x = x.reshape(x.shape[0], 1, x.shape[1])
        elif self.batch_first:
            x = x.transpose(0, 1)  # (T, N, I)
        if hx is not None:
            check_states_ndim(hx, batched)
            hx = hx if batched else tuple(state.reshape(state.shape[0], 1, state.shape[1]) for state in hx)
        check_input(x, False, self.input_size, self._parameters_first())
        output, finals = self._layers(x, self._initial(hx, x, x.shape[1]), None)
        if not batched:
            return output.reshape(output.shape[0], -1), tuple(f.reshape(f.shape[0], -1) for f in finals)
        return (output.transpose(0, 1) if self.batch_first else output), finals

    def _run_packed(
        self, sequence: PackedSequence, hx: tuple[Tensor, ...] | None
    ) -> tuple[PackedSequence, tuple[Tensor, ...]]:
        data, batch_sizes, sorted_indices, unsorted_indices = sequence
        check_input(data, True, self.input_size, self._parameters_first())
        sizes = tuple(batch_sizes.tolist())
        batch = sizes[0] if sorted_indices is None else len(sorted_indices)
        if hx is not None and sorted_indices is not None:
            check_states_ndim(hx, True)
            self._check_states(hx, data, batch)
            hx = tuple(index_select(state, 1, sorted_indices) for state in hx)
        output, finals = self._layers(data, self._initial(hx, data, batch), sizes)
        if unsorted_indices is not None:
            finals = tuple(index_select(state, 1, unsorted_indices) for state in finals)
        return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices), finals

    def _parameters_first(self) -> Any:
        return getattr(self, self._flat_weights_names[0])

    def _check_states(self, hx: tuple[Tensor, ...], input: Tensor, batch: int) -> None:
        count = self.num_layers * len(self._suffixes())
        check_states(hx, [(count, batch, size) for size in self._state_sizes()], input)

    def _initial(self, hx: tuple[Tensor, ...] | None, input: Tensor, batch: int) -> list[tuple[Tensor, ...]]:
        """The initial states (N, R), (N, H) of each layer and direction."""
        count = self.num_layers * len(self._suffixes())
        if hx is None:
            xp = array_module(input._data)
            zeros = tuple(wrap(xp.zeros((batch, size), input.dtype)) for size in self._state_sizes())
            return [zeros] * count
        self._check_states(hx, input, batch)
        return [tuple(state[k] for state in hx) for k in range(count)]

    def _layers(
        self, x: Tensor, initial: list[tuple[Tensor, ...]], sizes: tuple[int, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        impl = "composed" if self.impl == "composed" else "fused"
        finals: list[tuple[Tensor, ...]] = []
        names = iter(self._all_weights)
        for layer in range(self.num_layers):
            outputs = []
            for reverse in range(len(self._suffixes())):
                weights = self._weights(next(names))
                y, *final = self._sequence(
                    x, initial[len(finals)], weights, sizes=sizes, reverse=bool(reverse), impl=impl
                )
                outputs.append(y)
                finals.append(tuple(final))
            x = outputs[0] if len(outputs) == 1 else cat(outputs, -1)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack(states) for states in zip(*finals, strict=True))

    def _weights(self, names: list[str]) -> list[Any]:
        """The parameters of one layer and direction, None for biases that it does not have."""
        held = {name.partition("_l")[0]: getattr(self, name) for name in names}
        return [held.get(name) for name in parameter_names(True, self.proj_size > 0)]


def set_forget_bias(module: Module, names: list[str], size: int, value: float) -> None:
    """Make the biases ``names`` = (bias_ih, bias_hh) of an LSTM's forget gate add up to ``value``."""
    rows = CELLS["LSTM"].rows("f", size)
    with no_grad():
        for name, filled in zip(names, (value, 0.0), strict=True):
            parameter = getattr(module, name)
            parameter._data[rows] = filled
            parameter._touch()
