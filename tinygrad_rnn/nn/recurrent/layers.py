"""RNN, LSTM and GRU layers: stacked, bidirectional, over whole sequences, padded or packed.

Legend: T steps, N batch, I input size, H hidden size, P projection size, R = P or H, L layers, D directions,
G gates.

Shapes of all three:
    input  (T, N, I), or (N, T, I) with batch_first, or (T, I) without a batch, or a PackedSequence
    h_0    (L*D, N, R), at index ``layer * D + direction``, also with batch_first; (L*D, R) without a batch;
           missing: zeros.  The LSTM has the pair (h_0, c_0), c_0 being (L*D, N, H)
    output (T, N, D*R), arranged as the input; at step t of the backward half the state after reading T-1 ... t
    h_n    as h_0: for the forward direction the state after the last step, for the backward one after the first

Parameters of layer k, registered and drawn in this order, forward then ``_reverse``:

    weight_ih_l{k} (G*H, I)   weight_hh_l{k} (G*H, R)   bias_ih_l{k}, bias_hh_l{k} (G*H)   weight_hr_l{k} (P, H)

I is R*D for the layers above the first.  All are drawn from U(-1/sqrt(H), 1/sqrt(H)).  Options that PyTorch does
not have add parameters after these (``ops/recurrent/conventions.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ArgumentError, ArgumentTypeError
from ...ops.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from ...ops.recurrent.conventions import CELLS, CellKind, parameter_shapes
from ...ops.recurrent.sequence import gru_sequence, lstm_sequence, rnn_sequence
from ...tape.tensor import Tensor
from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter, empty
from .checks import check_constructor, check_input
from .compiled_steps import IMPLEMENTATIONS, Equations, Work
from .layer_stack import Stack
from .options import Sizes, StackOptions, States
from .segments import in_segments

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import LayerKeywords, StackKeywords

__all__ = ["GRU", "LSTM", "RNN", "RNNBase", "reset_norms", "set_forget_bias"]

SEQUENCES: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "RNN_TANH": partial(rnn_sequence, nonlinearity="tanh"),
    "RNN_RELU": partial(rnn_sequence, nonlinearity="relu"),
    "LSTM": lstm_sequence,
    "GRU": gru_sequence,
}
"""The operation that runs one layer and direction of each mode."""

STEPS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "RNN_TANH": partial(rnn_cell, nonlinearity="tanh"),
    "RNN_RELU": partial(rnn_cell, nonlinearity="relu"),
    "LSTM": lstm_cell,
    "GRU": gru_cell,
}
"""The equations of each mode."""


class RNNBase(Stack):
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
        impl: ``"compiled"``: one record for each layer and direction, by kernels made of the equations;
            ``"composed"``: every step on the tape; ``"auto"``: plain layers by kernels that are part of the package,
            others compiled as soon as that pays (:mod:`~tinygrad_rnn.nn.recurrent.compiled_steps`);
            ``"fused"``: as "auto" where there are such kernels, else "compiled".
        weight_dropout: probability of zeroing each entry of weight_hh, once per call, while training
            (S. Merity et al. 2018).
        layer_norm: normalise the products and the cell state (J. L. Ba et al. 2016).
        return_gates: give the activated gates of the last layer, by name, as a last result.
        options: ``skip``, ``zoneout``, ``recurrent_dropout``, ``locked_dropout``, ``learn_state``, and
            ``checkpoint_segments``, which trades time for memory; see :mod:`~tinygrad_rnn.nn.recurrent.options`.
    """

    peepholes = False
    reset_after = True
    return_cells = False

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
        weight_dropout: float = 0.0,
        layer_norm: bool = False,
        return_gates: bool = False,
        **options: Unpack[StackKeywords],
    ) -> None:
        super().__init__()
        check_constructor(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in CELLS:
            raise ArgumentError(f"Unrecognized RNN mode: {mode}. Expected one of {', '.join(CELLS)}")
        if impl not in (known := (*IMPLEMENTATIONS, "fused")):
            raise ArgumentError(f"impl must be one of {', '.join(known)}, got {impl!r}")
        if not 0 <= weight_dropout <= 1:
            raise ArgumentError(f"weight_dropout is a probability and must lie in [0, 1], got {weight_dropout}")
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
        self.weight_dropout = weight_dropout
        self.layer_norm = layer_norm
        self.return_gates = return_gates
        self.options = StackOptions(**options)
        # For its check: a tuple must have one probability for each state.
        self.options.zoneouts(len(self._kind.states))
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            # in PyTorch's order, since the same seed must draw the same weights
            for suffix in ("", "_reverse")[: self._directions]:
                shapes = self._shapes(layer)
                names = [f"{name}_l{layer}{suffix}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._flat_weights_names += names
                self._all_weights.append(names)
            self._add_skip(layer, device=device, dtype=dtype)
        self._add_initial_states(device=device, dtype=dtype)
        self.reset_parameters()

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The shapes of one layer's parameters, by name without layer and direction."""
        return parameter_shapes(
            self._kind,
            self._layer_input_size(layer),
            self.hidden_size,
            self._state_sizes()[0],
            bias=self.bias,
            projection=self.proj_size > 0,
            peepholes=self.peepholes,
            layer_norm=self.layer_norm,
        )

    @property
    def _kind(self) -> CellKind:
        return CELLS[self.mode]

    def _kind_name(self) -> str:
        return self.mode.partition("_")[0]

    def _state_names(self) -> tuple[str, ...]:
        return self._kind.states

    def _state_sizes(self) -> tuple[int, ...]:
        """R for h, H for c."""
        return (self.proj_size or self.hidden_size, *[self.hidden_size for _ in self._kind.states[1:]])

    @property
    def _steps_differ(self) -> bool:
        """Whether an option asks for something that the kernels of plain layers do not do."""
        other_cell = self.layer_norm or self.peepholes or not self.reset_after
        return other_cell or self.return_gates or self.options.changes_steps

    def _has_kernels(self) -> bool:
        return not self._steps_differ and self.impl != "compiled"

    def reset_parameters(self) -> None:
        """Draw all parameters again, in the order of their registration; gains are 1, other options as they say."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        reset_norms(self)
        self._reset_stack()

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
            "peepholes": False,
            "reset_after": True,
            "return_cells": False,
            "impl": "auto",
            "weight_dropout": 0,
            "layer_norm": False,
            "return_gates": False,
        }
        changed = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed, *self.options.changed()])

    # forward -----------------------------------------------------------------------------------------------------

    def _check_input(self, input: Tensor, packed: bool) -> None:
        parameters: dict[str, Any] = self._parameters
        name = self._flat_weights_names[0]
        # A parametrised weight is a property, not an entry of the table.
        weight = parameters[name] if name in parameters else getattr(self, name)
        # input that fits passes one condition; check_input finds out which part of it failed
        values, weights = input._data, weight._data
        shape = values.shape
        if (
            values.dtype != weights.dtype
            or type(values) is not type(weights)
            or len(shape) != (2 if packed else 3)
            or shape[-1] != self.input_size
            or not (packed or shape[0])
        ):
            check_input(input, packed, self.input_size, weight)

    def _used(self, layer: int, direction: int) -> list[Any]:
        """The parameters of one layer and direction in their order, weight_hh dropped if asked for."""
        parameters: dict[str, Any] = self._parameters  # much faster than getattr
        names = self._all_weights[layer * self._directions + direction]
        used = [parameters[name] if name in parameters else getattr(self, name) for name in names]
        # one mask per call and not per step: the same weight at every step (Merity et al. 2018)
        if self.weight_dropout:
            used[1] = F.dropout(used[1], self.weight_dropout, self.training)
        return used

    def _weights(self, layer: int, direction: int) -> dict[str, Any]:
        """The same by name, without layer and direction."""
        names = self._all_weights[layer * self._directions + direction]
        short = [name.partition(f"_l{layer}")[0] for name in names]
        return dict(zip(short, self._used(layer, direction), strict=True))

    def _direction(
        self, layer: int, direction: int, x: Tensor, states: States, sizes: Sizes
    ) -> tuple[tuple[Tensor, ...], States]:
        reverse, count = bool(direction), len(states)
        # no option changes a step: the layer is one operation, fused or composed
        if self._has_kernels():
            used = self._used(layer, direction)
            if not self.bias:
                used[2:2] = [None, None]  # before weight_hr, if there is one
            options: dict[str, Any] = {"cells": True} if self.return_cells else {}
            segments = self.options.checkpoint_segments
            if self.impl != "composed":
                # a layer that is alone gives (1, N, R) at once, which saves a record for the stack of one
                options["stacked"] = self.num_layers * self._directions == 1
                y, *rest = SEQUENCES[self.mode](
                    x, *states, *used, sizes=sizes, reverse=reverse, segments=segments, **options
                )
                return (y, *rest[count:]), tuple(rest[:count])

            def run(x: Tensor, states: States, sizes: Sizes) -> tuple[tuple[Tensor, ...], States]:
                y, *rest = SEQUENCES[self.mode](
                    x, *states, *used, sizes=sizes, reverse=reverse, impl="composed", **options
                )
                return (y, *rest[count:]), tuple(rest[:count])

            return in_segments(run, x, states, sizes, reverse, segments)
        # an option changes the step: compiled, or one by one
        return self._over_steps(layer, direction, x, states, sizes, self.return_cells)

    def _work(self, layer: int, direction: int) -> Work:
        """The step of one layer and direction, without zoneout and recurrent dropout."""
        options: list[tuple[str, Any]] = []
        if self.return_gates:
            options.append(("gates", True))
        if not self.reset_after:
            options.append(("reset_after", False))
        equations = Equations(STEPS[self.mode], tuple(options))
        parameters = self._weights(layer, direction)
        return Work(
            self._kind_name(),
            self._place(layer, direction),
            self._layer_input_size(layer),
            equations.step(parameters),
            parameters,
            len(self._kind.gates) if self.return_gates else 0,
            equations,
        )

    def _results(self, outputs: list[Any], final: Any) -> tuple[Any, ...]:
        """What ``forward`` returns: output, final states, and what else was asked for."""
        output, *more = outputs
        results: list[Any] = [output, final]
        if self.return_cells:
            results.append(more.pop(0))
        if self.return_gates:
            results.append(dict(zip(self._kind.gates, more, strict=True)))
        return tuple(results)


class RNN(RNNBase):
    """The plain recurrent layer: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, impl, options: see
            :class:`RNNBase`.
        nonlinearity: ``"tanh"`` or ``"relu"``.

    Returns:
        ``output, h_n``; shapes at the top of this file.

    Raises:
        ArgumentError, ArgumentTypeError: impossible options.
        ShapeError, ShapeRuntimeError: input or states that do not fit.

    Source: J. L. Elman, "Finding structure in time" (1990).

    >>> import tinygrad_rnn as tg
    >>> output, h_n = RNN(3, 5)(tg.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int | None = None,
        impl: str = "auto",
        **options: Unpack[LayerKeywords],
    ) -> None:
        # PyTorch takes the keyword too, only to refuse it.
        _refuse_projection(proj_size)
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if nonlinearity not in modes:
            raise ArgumentError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity = nonlinearity
        super().__init__(
            modes[nonlinearity],
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            impl=impl,
            **options,
        )

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, ...]:
        """``output, h_n`` for an input and, if not zeros, the initial state."""
        outputs, (h_n,) = self._run(input, _one_state("RNN", hx))
        return self._results(outputs, h_n)


class LSTM(RNNBase):
    """Long short-term memory: see :func:`~tinygrad_rnn.ops.recurrent.cells.lstm_cell` for the equations.

    Rows of the weights: i, f, g, o, H of each.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, impl, options:
            see :class:`RNNBase`.
        forget_bias: what the two biases of the forget gate add up to at the start, in every layer and direction
            (1 keeps the memory open: Jozefowicz et al. 2015); None: drawn like all the others, as in PyTorch.
        peepholes: the gates see the cell state through diagonal weights, ``weight_peephole_l{k}`` (3H), blocks for
            i, f, o (Gers and Schmidhuber 2000).
        return_cells: give c after every step, (T, N, D*H) arranged as the output, as a third result.

    Returns:
        ``output, (h_n, c_n)``; shapes at the top of this file.

    Raises:
        ArgumentError, ArgumentTypeError: impossible options.
        ShapeError, ShapeRuntimeError: input or states that do not fit.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory" (1997); F. Gers et al., "Learning to forget"
    (2000); projection: H. Sak et al. (2014).

    >>> import tinygrad_rnn as tg
    >>> output, (h_n, c_n) = LSTM(3, 5, num_layers=2, bidirectional=True)(tg.zeros(7, 2, 3))
    >>> output.shape, c_n.shape
    (torch.Size([7, 2, 10]), torch.Size([4, 2, 5]))
    """

    def __init__(
        self,
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
        forget_bias: float | None = None,
        peepholes: bool = False,
        return_cells: bool = False,
        impl: str = "auto",
        **options: Unpack[LayerKeywords],
    ) -> None:
        if forget_bias is not None and not bias:
            raise ArgumentError("forget_bias needs biases, but bias=False was given")
        # Before the base's constructor, which draws the parameters that these ask for.
        self.forget_bias = forget_bias
        self.peepholes = peepholes
        self.return_cells = return_cells
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
            impl=impl,
            **options,
        )

    def reset_parameters(self) -> None:
        """Draw all parameters again; then set the forget gates' biases if ``forget_bias`` was given."""
        super().reset_parameters()
        if self.forget_bias is not None:
            for names in self._all_weights:
                set_forget_bias(self, names[2:4], self.hidden_size, self.forget_bias)

    def extra_repr(self) -> str:
        """The sizes, then what differs from the defaults."""
        return super().extra_repr() + ("" if self.forget_bias is None else f", forget_bias={self.forget_bias}")

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, ...]:
        """``output, (h_n, c_n)`` for an input and, if not zeros, the initial states."""
        states = None
        if hx is not None:
            if not isinstance(hx, (tuple, list)) or len(hx) != 2 or not all(isinstance(s, Tensor) for s in hx):
                raise ArgumentTypeError(f"LSTM(): hx must be a pair of Tensors (h_0, c_0), not {_described(hx)}")
            states = tuple(hx)
        outputs, (h_n, c_n) = self._run(input, states)
        return self._results(outputs, (h_n, c_n))


class GRU(RNNBase):
    """Gated recurrent unit: see :func:`~tinygrad_rnn.ops.recurrent.cells.gru_cell` for the equations.

    Rows of the weights: r, z, n, H of each.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, impl, options: see
            :class:`RNNBase`.
        reset_after: the reset gate is applied after the product with h, the bias b_hn inside of it, as in PyTorch
            and cuDNN (ONNX: ``linear_before_reset=1``); False: before it, as Cho et al. have it.

    Returns:
        ``output, h_n``; shapes at the top of this file.

    Raises:
        ArgumentError, ArgumentTypeError: impossible options.
        ShapeError, ShapeRuntimeError: input or states that do not fit.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014).

    >>> import tinygrad_rnn as tg
    >>> output, h_n = GRU(3, 5, batch_first=True)(tg.zeros(2, 7, 3))
    >>> output.shape, h_n.shape
    (torch.Size([2, 7, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int | None = None,
        reset_after: bool = True,
        impl: str = "auto",
        **options: Unpack[LayerKeywords],
    ) -> None:
        _refuse_projection(proj_size)
        self.reset_after = reset_after
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            impl=impl,
            **options,
        )

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, ...]:
        """``output, h_n`` for an input and, if not zeros, the initial state."""
        outputs, (h_n,) = self._run(input, _one_state("GRU", hx))
        return self._results(outputs, h_n)


def _refuse_projection(proj_size: int | None) -> None:
    if proj_size is not None:
        raise ArgumentError("proj_size argument is only supported for LSTM, not RNN or GRU")


def _one_state(name: str, hx: Any) -> tuple[Tensor] | None:
    if hx is None:
        return None
    if not isinstance(hx, Tensor):
        raise ArgumentTypeError(f"{name}(): hx must be a Tensor, not {_described(hx)}. Only the LSTM has two states")
    return (hx,)


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}: {', '.join(type(item).__name__ for item in value)}"
    return f"a {type(value).__name__}"


def reset_norms(module: Module) -> None:
    """Gains of normalisations to 1, their biases to 0."""
    for name, parameter in module._parameters.items():
        if parameter is not None and name.startswith("norm_"):
            init.constant_(parameter, 0.0 if name.startswith("norm_c_bias") else 1.0)


def set_forget_bias(module: Module, names: list[str], size: int, value: float) -> None:
    """Make the biases ``names`` = (bias_ih, bias_hh) of an LSTM's forget gate add up to ``value``."""
    rows = CELLS["LSTM"].rows("f", size)
    for name, filled in zip(names, (value, 0.0), strict=True):
        parameter = getattr(module, name)
        parameter._data[rows] = filled
        parameter._touch()
