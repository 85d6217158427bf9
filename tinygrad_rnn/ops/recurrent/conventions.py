"""Conventions of the recurrent layers as data: gates and their order, states, names of parameters.

That an LSTM's rows are i, f, g, o is said here alone: initialisers, kernels, composed equations, converters
and documentation read it.  All of it is PyTorch's layout; a kernel may keep another one
inside, and converts at its border.

Legend of this package's shape comments: T steps, N batch, I input features, H hidden size, P projection size,
R = P or H the size of what a layer gives out, G gates, L layers, D directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CELLS", "GRU", "LSTM", "RNN_RELU", "RNN_TANH", "CellKind", "parameter_names", "parameter_shapes"]


@dataclass(frozen=True)
class CellKind:
    """One kind of recurrent cell.

    Attributes:
        mode: PyTorch's name of the kind, as in ``RNNBase.mode``.
        gates: the blocks of H rows in every weight and bias, from top to bottom.
        states: what is carried from step to step; the first one is what the layer gives out.

    >>> LSTM.rows("g", 5)
    slice(10, 15, None)
    """

    mode: str
    gates: tuple[str, ...]
    states: tuple[str, ...] = ("h",)

    def rows(self, gate: str, hidden_size: int) -> slice:
        """The rows of ``weight_ih``, ``weight_hh`` and the biases that belong to ``gate``.

        Raises:
            ValueError: the cell has no gate of that name.
        """
        position = self.gates.index(gate)
        return slice(position * hidden_size, (position + 1) * hidden_size)


RNN_TANH = CellKind("RNN_TANH", gates=("h",))
RNN_RELU = CellKind("RNN_RELU", gates=("h",))
LSTM = CellKind("LSTM", gates=("i", "f", "g", "o"), states=("h", "c"))
GRU = CellKind("GRU", gates=("r", "z", "n"))

CELLS = MappingProxyType({kind.mode: kind for kind in (RNN_TANH, RNN_RELU, LSTM, GRU)})
"""Every cell kind by its mode."""


def parameter_names(
    kind: CellKind, *, bias: bool = True, projection: bool = False, peepholes: bool = False, layer_norm: bool = False
) -> tuple[str, ...]:
    """The parameters of one layer and direction, in the order in which they are registered and drawn.

    >>> parameter_names(LSTM)
    ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')
    """
    names = ["weight_ih", "weight_hh"]
    if bias:
        names += ["bias_ih", "bias_hh"]
    if projection:
        names += ["weight_hr"]
    if peepholes:
        names += ["weight_peephole"]
    if layer_norm:
        names += ["norm_ih", "norm_hh"] + (["norm_c", "norm_c_bias"] if "c" in kind.states else [])
    return tuple(names)


def parameter_shapes(
    kind: CellKind, input_size: int, hidden_size: int, output_size: int, **options: bool
) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of :func:`parameter_names`.

    >>> parameter_shapes(GRU, 2, 5, 5, bias=False)
    {'weight_ih': (15, 2), 'weight_hh': (15, 5)}
    """
    rows = len(kind.gates) * hidden_size
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, input_size),
        "weight_hh": (rows, output_size),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
        "weight_hr": (output_size, hidden_size),
        "weight_peephole": (3 * hidden_size,),
        "norm_ih": (rows,),
        "norm_hh": (rows,),
        "norm_c": (hidden_size,),
        "norm_c_bias": (hidden_size,),
    }
    return {name: shapes[name] for name in parameter_names(kind, **options)}
