"""Multi-dimensional LSTM: recurrence over the rows and the columns of a grid at once.

Equations (Graves, Fernandez and Schmidhuber 2007, section 3.1, in two dimensions, without peepholes), at the cell
(r, c) of a grid, with two predecessors, above (r-1, c) and to the left (r, c-1), and a forget gate for each:

    i, f_up, f_left, o = sigmoid(W x + b + U_up h_up + U_left h_left)          g = tanh(...)
    c' = i * g + f_up * c_up + f_left * c_left          h' = o * tanh(c')

On a grid of one row it is the LSTM; the rows of its weights are i, f_left, f_up, g, o.

Cells on one anti-diagonal do not depend on each other: the grid is computed in R + C - 1 steps, each for all cells of
a diagonal and all of the batch.
"""

from __future__ import annotations

import math
from typing import Any

from ...backend import array_module
from ...errors import ArgumentError, ShapeError, ShapeRuntimeError
from ...ops import cat, linear, sigmoid, stack, tanh
from ...tape.observe.scopes import restored, timed
from ...tape.tensor import Tensor, wrap
from .. import init
from ..module import Module
from ..parameter import Parameter, empty

__all__ = ["MDLSTM", "mdlstm_cell"]

GATES = ("i", "f_left", "f_up", "g", "o")


def mdlstm_cell(a: Tensor, c_up: Tensor, c_left: Tensor) -> tuple[Tensor, Tensor]:
    """``(h', c')`` from the pre-activations a (N, 5H) and the cell states of both predecessors (N, H)."""
    size = a.shape[-1] // len(GATES)
    i, f_left, f_up, g, o = (a[..., k * size : (k + 1) * size] for k in range(len(GATES)))
    c = sigmoid(i) * tanh(g) + sigmoid(f_up) * c_up + sigmoid(f_left) * c_left
    return sigmoid(o) * tanh(c), c


class MDLSTM(Module):
    """A two-dimensional LSTM layer, starting in one corner of a grid.

    Args:
        input_size: I.
        hidden_size: H.
        bias: with both bias vectors.
        batch_first: input and output are (N, R, C, *) instead of (R, C, N, *).
        from_bottom, from_right: the corner in which it starts; by default top left.

    Parameters: ``weight_ih`` (5H, I), ``weight_hh`` (5H, H) for the left neighbour, ``weight_hh_up`` (5H, H),
    ``bias_ih``, ``bias_hh`` (5H), drawn from U(-1/sqrt(H), 1/sqrt(H)).

    Returns:
        h of every cell, (R, C, N, H).

    Raises:
        ShapeError, ShapeRuntimeError: input that is not a grid of feature vectors.

    Source: A. Graves, S. Fernandez and J. Schmidhuber, "Multi-dimensional recurrent neural networks" (2007).

    >>> import tinygrad_rnn as tg
    >>> MDLSTM(3, 5)(tg.zeros(4, 6, 2, 3)).shape
    torch.Size([4, 6, 2, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        from_bottom: bool = False,
        from_right: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or size <= 0:
                raise ArgumentError(f"{name} must be an int greater than zero. Got {size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.batch_first = batch_first
        self.from_bottom = from_bottom
        self.from_right = from_right
        rows = len(GATES) * hidden_size
        self.weight_ih = Parameter(empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        self.weight_hh_up = Parameter(empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty((rows,), device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters again, in the order of their registration."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, then what differs from the defaults."""
        defaults = {"bias": True, "batch_first": False, "from_bottom": False, "from_right": False}
        changed = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])

    def forward(self, input: Tensor) -> Tensor:
        """h of every cell of the grid."""
        if input.ndim != 4:
            raise ShapeError(
                f"MDLSTM: Expected input to be 4D (rows, columns, batch, features), got {input.ndim}D instead"
            )
        if input.shape[-1] != self.input_size:
            raise ShapeRuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        x = input.permute(1, 2, 0, 3) if self.batch_first else input
        height, width = x.shape[0], x.shape[1]
        if height == 0 or width == 0:
            raise ShapeRuntimeError("MDLSTM: Expected a grid with at least one row and one column")
        rows = range(height - 1, -1, -1) if self.from_bottom else range(height)
        columns = range(width - 1, -1, -1) if self.from_right else range(width)
        grid = self._diagonals(linear(x, self.weight_ih, self.bias_ih), list(rows), list(columns))
        y: Tensor = stack([stack([grid[r, c] for c in range(width)]) for r in range(height)])
        return y.permute(2, 0, 1, 3) if self.batch_first else y

    @restored
    def _diagonals(self, a: Tensor, rows: list[int], columns: list[int]) -> dict[tuple[int, int], Tensor]:
        """h by place, anti-diagonal by anti-diagonal; ``rows`` and ``columns`` in the order in which they are read."""
        batch, size = a.shape[2], self.hidden_size
        zeros = wrap(array_module(a._data).zeros((batch, size), a.dtype))
        h: dict[tuple[int, int], Tensor] = {}
        c: dict[tuple[int, int], Tensor] = {}
        for diagonal in timed(range(len(rows) + len(columns) - 1)):
            # Places (p, q) with p + q = diagonal, inside the grid.
            first = max(0, diagonal - len(columns) + 1)
            here = [(p, diagonal - p) for p in range(first, min(len(rows), diagonal + 1))]
            up, left = [(p - 1, q) for p, q in here], [(p, q - 1) for p, q in here]
            h_up, h_left, c_up, c_left = (
                # Beyond the edge the states are zeros.
                cat([states.get(place, zeros) for place in neighbours])
                for states, neighbours in ((h, up), (h, left), (c, up), (c, left))
            )
            own = cat([a[rows[p], columns[q]] for p, q in here])  # (cells * N, 5H)
            # bias_hh is added once, not for each neighbour.
            a_here = own + linear(h_left, self.weight_hh, self.bias_hh) + linear(h_up, self.weight_hh_up)
            h_new, c_new = mdlstm_cell(a_here, c_up, c_left)
            for k, place in enumerate(here):
                h[place], c[place] = (s[k * batch : (k + 1) * batch] for s in (h_new, c_new))
        return {(rows[p], columns[q]): value for (p, q), value in h.items()}
