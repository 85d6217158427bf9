r"""The cell of 1997: an LSTM without a forget gate, whose gradient is cut off everywhere but in the cell.

    y_in  = s(W_in  [x, u'] + b_in)         of each block of cells, u' what all units gave a step before
    y_out = s(W_out [x, u'] + b_out)
    c     = c' + y_in g(W_c [x, u'] + b_c),     g(a) = 4 s(a) - 2
    y     = y_out h(c),                         h(a) = 2 s(a) - 1
    u     = (y, y_in, y_out)

s is the logistic function.  No gradient goes from a step to u of the step before; it goes from c to c' with factor 1.

Source: S. Hochreiter and J. Schmidhuber (1997), section 4 and appendix A.1.
"""

from __future__ import annotations

from typing import Any

import tinygrad_rnn as tg

__all__ = ["Cell1997", "Net1997"]


class Cell1997(tg.nn.Module):
    """Blocks of cells, a cell for :class:`~tinygrad_rnn.nn.RNNLayer`.

    Args:
        input_size: I.
        blocks: of cells; each has one input and one output gate.
        block_size: cells in a block.
        bound: weights are drawn from U(-bound, bound).
        input_bias, output_bias: of the gates, one for each block; None: drawn as the weights.
        biased_cells: whether the cells have a bias too.
        truncated: cut the gradient off as the paper does; False: the whole one.

    >>> cell = Cell1997(7, 4, 1, 0.2, None, (-1.0, -2.0, -3.0, -4.0))
    >>> layer = tg.nn.RNNLayer(cell)
    >>> output, (y, c, gates) = layer(tg.zeros(5, 2, 7))
    >>> output.shape, gates.shape
    (torch.Size([5, 2, 4]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        blocks: int,
        block_size: int,
        bound: float,
        input_bias: tuple[float, ...] | None = None,
        output_bias: tuple[float, ...] | None = None,
        *,
        biased_cells: bool = False,
        truncated: bool = True,
    ) -> None:
        super().__init__()
        cells, gates = blocks * block_size, 2 * blocks
        self.input_size, self.hidden_size = input_size, (cells, cells, gates)
        self.blocks, self.block_size, self.truncated = blocks, block_size, truncated
        self.weight = tg.nn.Parameter(tg.empty(gates + cells, input_size + cells + gates).uniform_(-bound, bound))
        self.bias = tg.nn.Parameter(tg.empty(gates + cells if biased_cells else gates).uniform_(-bound, bound))
        for first, given in ((0, input_bias), (blocks, output_bias)):
            if given is not None:
                with tg.no_grad():
                    self.bias[first : first + blocks] = tg.tensor(given)

    def forward(self, x: tg.Tensor, state: Any) -> Any:
        """A step: ``y, c, gates`` after it."""
        y, c, gates = state
        if self.truncated:
            y, gates = y.detach(), gates.detach()
        b, n = self.blocks, self.block_size
        z = tg.nn.functional.linear(tg.cat([x, y, gates], 1), self.weight)
        if self.bias.shape[0] == z.shape[1]:
            z = z + self.bias
            gates = tg.sigmoid(z[:, : 2 * b])
        else:
            gates = tg.sigmoid(z[:, : 2 * b] + self.bias)
        y_in, y_out = gates[:, :b], gates[:, b:]
        if n > 1:  # cell k of all blocks, then cell k + 1: each finds the gate of its block
            y_in, y_out = tg.cat([y_in] * n, 1), tg.cat([y_out] * n, 1)
        c = c + y_in * (4 * tg.sigmoid(z[:, 2 * b :]) - 2)
        return y_out * (2 * tg.sigmoid(c) - 1), c, gates


class Net1997(tg.nn.Module):
    """The three-layer net of the paper: outputs, logistic, see the cells alone.

    Args:
        cell: of the hidden layer.
        outputs: O.
        bound: weights of the outputs are drawn from U(-bound, bound).
        bias: whether outputs have one.

    >>> net = Net1997(Cell1997(7, 4, 1, 0.2), 7, 0.2, bias=False)
    >>> sum(p.numel() for p in net.parameters())                         # as table 1 of the paper says
    264
    """

    def __init__(self, cell: Cell1997, outputs: int, bound: float, *, bias: bool) -> None:
        super().__init__()
        self.layer = tg.nn.RNNLayer(cell, impl="compiled")  # "auto" changes, and rounds otherwise, when it pays
        self.readout = tg.nn.Linear(cell.hidden_size[0], outputs, bias=bias)
        for parameter in self.readout.parameters():
            tg.nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Outputs (T, N, O) in (0, 1) of inputs (T, N, I)."""
        outputs: tg.Tensor = tg.sigmoid(self.readout(self.layer(x)[0]))
        return outputs
