"""Initialisation of recurrent weights by gate: identity, orthogonal, or any function for one gate.

All fill in place and return the module; they take a layer (every layer and direction) or a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from ...errors import ArgumentError
from ...ops.recurrent.conventions import GRU, LSTM, CellKind
from ...tape.tensor import Tensor, wrap
from .. import init
from .cells import RNNCellBase
from .layers import RNNBase

__all__ = ["init_gate_", "irnn_", "orthogonal_gates_"]

Recurrent = TypeVar("Recurrent", RNNBase, RNNCellBase)
Initialiser = Callable[..., Any]


def _kind_of(module: RNNBase | RNNCellBase) -> CellKind:
    kind = module._kind
    if kind is None:
        raise ArgumentError(f"{type(module).__name__} does not say which gates it has")
    return kind


def _named(module: RNNBase | RNNCellBase, prefix: str) -> Iterator[Tensor]:
    """The parameters called ``prefix``, of every layer and direction."""
    for name, parameter in module._parameters.items():
        if parameter is not None and (name == prefix or name.startswith(f"{prefix}_l")):
            yield parameter


def _blocks(module: RNNBase | RNNCellBase, prefix: str, gates: tuple[str, ...]) -> Iterator[Tensor]:
    """The blocks of rows of the parameters called ``prefix`` that belong to ``gates``, sharing their memory."""
    kind = _kind_of(module)
    for parameter in _named(module, prefix):
        for gate in gates:
            yield wrap(parameter._data[kind.rows(gate, module.hidden_size)])
        parameter._touch()


def init_gate_(module: Recurrent, gate: str, initialise: Initialiser, parameter: str = "bias_ih") -> Recurrent:
    """Fill the rows of one gate in every layer and direction.

    Args:
        gate: i, f, g, o of an LSTM; r, z, n of a GRU; h of a plain RNN.
        initialise: fills a tensor in place, as those of ``nn.init`` do.
        parameter: ``weight_ih``, ``weight_hh``, ``bias_ih`` or ``bias_hh``.

    Raises:
        ArgumentError: there is no such gate, or no such parameter.

    >>> import tinygrad_rnn as tg
    >>> layer = init_gate_(tg.nn.GRU(2, 1), "z", tg.nn.init.ones_)
    >>> layer.bias_ih_l0[1].item()
    1.0
    """
    if gate not in _kind_of(module).gates:
        raise ArgumentError(f"{type(module).__name__} has the gates {', '.join(_kind_of(module).gates)}, not {gate!r}")
    blocks = list(_blocks(module, parameter, (gate,)))
    if not blocks:
        raise ArgumentError(f"{type(module).__name__} has no parameter {parameter}")
    for block in blocks:
        initialise(block)
    return module


def orthogonal_gates_(module: Recurrent, gain: float = 1.0) -> Recurrent:
    """``weight_hh`` orthogonal and ``weight_ih`` Glorot-uniform gate by gate, biases 0.

    A stacked (G*H, H) matrix with orthonormal columns would scale each gate's own block by about 1/sqrt(G).

    Source: A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of learning" (2014).
    """
    gates = _kind_of(module).gates
    for block in _blocks(module, "weight_ih", gates):
        init.xavier_uniform_(block)
    for block in _blocks(module, "weight_hh", gates):
        init.orthogonal_(block, gain)
    _zero_biases(module)
    return module


def irnn_(module: Recurrent, scale: float = 1.0, std: float = 0.001) -> Recurrent:
    """``weight_hh = scale * identity``, ``weight_ih`` normal with standard deviation ``std``, biases 0.

    With relu, an RNN that starts so keeps its state over hundreds of steps.

    Raises:
        ArgumentError: an LSTM or GRU, or a projected layer.

    Source: Q. Le, N. Jaitly and G. Hinton, "A simple way to initialize recurrent networks of rectified linear
    units" (2015).

    >>> import tinygrad_rnn as tg
    >>> irnn_(tg.nn.RNN(3, 2, nonlinearity="relu")).weight_hh_l0.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if _kind_of(module) in (LSTM, GRU):
        raise ArgumentError(f"irnn_ is for plain RNNs, not for {type(module).__name__}")
    for weight in _named(module, "weight_ih"):
        init.normal_(weight, 0.0, std)
    for weight in _named(module, "weight_hh"):
        init.eye_(weight)
        weight._data *= scale
        weight._touch()
    _zero_biases(module)
    return module


def _zero_biases(module: RNNBase | RNNCellBase) -> None:
    for prefix in ("bias_ih", "bias_hh"):
        for bias in _named(module, prefix):
            init.zeros_(bias)
