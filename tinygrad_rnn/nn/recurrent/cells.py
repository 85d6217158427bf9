"""RNNCell, LSTMCell and GRUCell: one step at a time, for hand-written loops.

Shapes: input (N, I) or (I,), states (N, H) or (H,), weight_ih (G*H, I), weight_hh (G*H, H), biases (G*H).  Nothing
is broadcast: a state has as many rows as the input.

A step is one record on the tape.  To see the operations that it is made of, apply the equations themselves, which are
functions of :mod:`tinygrad_rnn.ops.recurrent.cells`, to the parameters of a cell.
"""

from __future__ import annotations

import math
from typing import Any

from ...backend import array_module
from ...errors import ArgumentError, ArgumentTypeError, GraphError
from ...ops.recurrent.cells import gru_cell, lstm_cell, rnn_cell
from ...ops.recurrent.conventions import GRU, LSTM, RNN_TANH, CellKind, parameter_shapes
from ...ops.recurrent.fused_cell import gru_step, lstm_step, rnn_step
from ...tape.tensor import Tensor, wrap
from .. import init
from ..module import Module
from ..parameter import Parameter, empty
from .checks import check_cell
from .layers import reset_norms, set_forget_bias

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """Base of the cells: parameters, initialisation and checks.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with both bias vectors.
        num_chunks: the number of gates.

    Attributes:
        hidden_size: H.
        peepholes, layer_norm: options of the cells that PyTorch does not have; see ``ops/recurrent/cells.py``.
    """

    peepholes = False
    layer_norm = False
    reset_after = True
    _kind: CellKind | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int):
                raise ArgumentTypeError(f"{name} should be of type int, got: {type(size).__name__}")
            if size < 0:
                raise ArgumentError(f"Trying to create tensor with negative dimension {size}: {name}={size}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty((rows,), device=device, dtype=dtype)) if bias else None)
        if self._kind is not None:
            options = {"peepholes": self.peepholes, "layer_norm": self.layer_norm}
            shapes = parameter_shapes(self._kind, input_size, hidden_size, hidden_size, **options)
            # The first four are PyTorch's, registered above; what follows belongs to our options.
            for name, shape in list(shapes.items())[4:]:
                self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters again from U(-1/sqrt(H), 1/sqrt(H)), in the order of their registration; gains are 1."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size else 0.0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)
        # After all draws: the options' parameters come last, so that PyTorch's get PyTorch's numbers.
        reset_norms(self)

    def extra_repr(self) -> str:
        """The sizes, then what differs from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        for name, default in (("peepholes", False), ("layer_norm", False), ("reset_after", True)):
            if getattr(self, name) != default:
                text += f", {name}={not default}"
        return text

    @property
    def _is_variant(self) -> bool:
        """Whether an option changes the equations."""
        return self.peepholes or self.layer_norm or not self.reset_after

    def _named_weights(self) -> dict[str, Any]:
        return {name: parameter for name, parameter in self._parameters.items() if parameter is not None}

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _states(self, input: Any, hx: Any, count: int) -> tuple[Tensor, ...]:
        """The states to start from, checked; zeros if there are none."""
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise ArgumentTypeError(f"{name}(): input must be Tensor, not {type(input).__name__}")
        sizes = [self.hidden_size] * count
        if hx is None:
            check_cell(name, input, (), self.input_size, ())
            zeros = array_module(input._data).zeros((*input.shape[:-1], self.hidden_size), input.dtype)
            return (wrap(zeros),) * count
        states = (hx,) if count == 1 else hx
        if not isinstance(states, (tuple, list)) or len(states) != count:
            raise ArgumentTypeError(f"{name}(): hx must be a pair of Tensors (h_0, c_0), not {type(hx).__name__}")
        for state in states:
            if not isinstance(state, Tensor):
                raise ArgumentTypeError(f"{name}(): a state must be a Tensor, not {type(state).__name__}")
        check_cell(name, input, states, self.input_size, sizes)
        return tuple(states)


class RNNCell(RNNCellBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.
        layer_norm: normalise both products (J. L. Ba et al. 2016).

    Source: J. L. Elman, "Finding structure in time" (1990).

    >>> import tinygrad_rnn as tg
    >>> RNNCell(3, 5)(tg.zeros(2, 3)).shape
    torch.Size([2, 5])
    """

    _kind = RNN_TANH

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        layer_norm: bool = False,
    ) -> None:
        # Before the base's constructor, which reads it.
        self.layer_norm = layer_norm
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state.

        Raises:
            GraphError: an unknown nonlinearity (a RuntimeError, and only now, as in PyTorch).
        """
        (h,) = self._states(input, hx, 1)
        if self.nonlinearity not in ("tanh", "relu"):
            raise GraphError(f"Unknown nonlinearity: {self.nonlinearity}. Select from 'tanh' or 'relu'.")
        # an option of ours: the equations themselves, every operation on the tape
        if self._is_variant:
            changed: Tensor = rnn_cell(input, h, **self._named_weights(), nonlinearity=self.nonlinearity)
            return changed
        new: Tensor = rnn_step(input, h, *self._weights(), nonlinearity=self.nonlinearity)
        return new


class LSTMCell(RNNCellBase):
    """One step of an LSTM: ``h', c'``; equations in :func:`~tinygrad_rnn.ops.recurrent.cells.lstm_cell`.

    Args:
        forget_bias: what the two biases of the forget gate add up to at the start; None: drawn like the others.
        peepholes: the gates see the cell state, through ``weight_peephole`` (3H), blocks for i, f, o.
        layer_norm: normalise both products and the cell state.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory" (1997).

    >>> import tinygrad_rnn as tg
    >>> h, c = LSTMCell(3, 5)(tg.zeros(2, 3))
    >>> h.shape, c.shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    _kind = LSTM

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        forget_bias: float | None = None,
        peepholes: bool = False,
        layer_norm: bool = False,
    ) -> None:
        if forget_bias is not None and not bias:
            raise ArgumentError("forget_bias needs biases, but bias=False was given")
        # Before the base's constructor, which reads all three.
        self.forget_bias = forget_bias
        self.peepholes = peepholes
        self.layer_norm = layer_norm
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def reset_parameters(self) -> None:
        """Draw all parameters again; then set the forget gate's biases if ``forget_bias`` was given."""
        super().reset_parameters()
        if self.forget_bias is not None:
            set_forget_bias(self, ["bias_ih", "bias_hh"], self.hidden_size, self.forget_bias)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next states."""
        h, c = self._states(input, hx, 2)
        if self._is_variant:
            h, c = lstm_cell(input, h, c, **self._named_weights())
        else:
            h, c = lstm_step(input, h, c, *self._weights())
        return h, c


class GRUCell(RNNCellBase):
    """One step of a GRU; equations in :func:`~tinygrad_rnn.ops.recurrent.cells.gru_cell`.

    Args:
        reset_after: the reset gate acts after the product with h, as in PyTorch; False: before it, as in the paper.
        layer_norm: normalise both products.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014).

    >>> import tinygrad_rnn as tg
    >>> GRUCell(3, 5)(tg.zeros(3)).shape
    torch.Size([5])
    """

    _kind = GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        layer_norm: bool = False,
    ) -> None:
        # Before the base's constructor, which reads both.
        self.reset_after = reset_after
        self.layer_norm = layer_norm
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        (h,) = self._states(input, hx, 1)
        if self._is_variant:
            changed: Tensor = gru_cell(input, h, **self._named_weights(), reset_after=self.reset_after)
            return changed
        new: Tensor = gru_step(input, h, *self._weights())
        return new
