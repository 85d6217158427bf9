"""Layout of a recurrent layer in words: which axis is what, and which rows belong to which gate.

Most questions about recurrent layers are about layout: what ``h_n[-1]`` is, whether ``batch_first`` moves the states,
which half of the output is the backward one.  ``layout(layer)`` answers them for the layer at hand.
"""

from __future__ import annotations

from ...errors import ArgumentError
from ...ops import getitem
from ...tape.tensor import Tensor
from .layers import RNNBase

__all__ = ["gate_view", "layout"]


def layout(layer: RNNBase) -> str:
    """A table of the axes of input, output, states and parameters, in the sizes of this layer.

    >>> import tinygrad_rnn as tg
    >>> print(layout(tg.nn.LSTM(3, 5, bidirectional=True, batch_first=True)))
    input         (N, T, 3)    batch, steps, features
    output        (N, T, 10)   batch, steps, [0:5] forward | [5:10] backward
    h_n, h_0      (2, N, 5)    layer * 2 + direction, batch, units (batch_first does not move states)
    c_n, c_0      (2, N, 5)    layer * 2 + direction, batch, units (batch_first does not move states)
      [0]         layer 0 forward: after step T-1
      [1]         layer 0 backward: after step 0
    weight_ih_l0  (20, 3)      rows i [0:5], f [5:10], g [10:15], o [15:20]
    weight_hh_l0  (20, 5)      rows as above
    """
    directions, widths = layer._directions, layer._state_sizes()
    width = widths[0]
    lead, words = ("(N, T, ", "batch, steps") if layer.batch_first else ("(T, N, ", "steps, batch")
    halves = f"[0:{width}] forward | [{width}:{2 * width}] backward" if directions == 2 else "units"
    index = "layer * 2 + direction" if directions == 2 else "layer"
    note = " (batch_first does not move states)" if layer.batch_first else ""
    count = layer.num_layers * directions
    lines = [
        ("input", f"{lead}{layer.input_size})", f"{words}, features"),
        ("output", f"{lead}{directions * width})", f"{words}, {halves}"),
    ]
    for name, size in zip(layer._kind.states, widths, strict=True):
        lines.append((f"{name}_n, {name}_0", f"({count}, N, {size})", f"{index}, batch, units{note}"))
    for k in range(count):
        backward = k % directions == 1
        way, step = ("backward", "0") if backward else ("forward", "T-1")
        lines.append((f"  [{k}]", f"layer {k // directions} {way}: after step {step}", ""))
    gates = [(gate, layer._kind.rows(gate, layer.hidden_size)) for gate in layer._kind.gates]
    rows = ", ".join(f"{gate} [{r.start}:{r.stop}]" for gate, r in gates)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        shape = tuple(getattr(layer, name).shape)
        lines.append((name, str(shape), f"rows {rows}" if name == "weight_ih_l0" else "rows as above"))
    return "\n".join(f"{name:<14}{shape:<13}{text}".rstrip() for name, shape, text in lines)


def gate_view(layer: RNNBase, name: str, gate: str) -> Tensor:
    """The rows of parameter ``name`` that belong to ``gate``, as a differentiable view of it.

    Raises:
        ArgumentError: no such parameter, or no such gate.

    >>> import tinygrad_rnn as tg
    >>> gate_view(tg.nn.LSTM(3, 5), "weight_hh_l0", "f").shape
    torch.Size([5, 5])
    """
    if name not in layer._flat_weights_names:
        raise ArgumentError(
            f"{layer._kind_name()} has the parameters {', '.join(layer._flat_weights_names)}, not {name}"
        )
    if gate not in layer._kind.gates:
        raise ArgumentError(f"{layer._kind_name()} has the gates {', '.join(layer._kind.gates)}, not {gate!r}")
    view: Tensor = getitem(getattr(layer, name), layer._kind.rows(gate, layer.hidden_size))
    return view
