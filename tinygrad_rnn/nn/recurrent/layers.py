"""RNN, LSTM and GRU: stacked, bidirectional, over whole sequences, padded or packed.

Legend: T steps, N batch, I input size, H hidden size, P projection size, R = P or H, L layers, D directions.

Shapes of all three:
    input  (T, N, I), or (N, T, I) with batch_first, or (T, I) without a batch, or a PackedSequence
    h_0    (L*D, N, R), at index ``layer * D + direction``, also with batch_first; (L*D, R) without a batch;
           missing: zeros.  The LSTM has the pair (h_0, c_0), c_0 being (L*D, N, H)
    output (T, N, D*R), arranged as the input; at step t of the backward half the state after reading T-1 ... t
    h_n    as h_0: for the forward direction the state after the last step, for the backward one after the first
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ArgumentError, ArgumentTypeError
from ...tape.tensor import Tensor
from .base import RNNBase, set_forget_bias

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import LayerKeywords

__all__ = ["GRU", "LSTM", "RNN"]


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
        """Draw all parameters anew; then set the forget gates' biases if ``forget_bias`` was given."""
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
