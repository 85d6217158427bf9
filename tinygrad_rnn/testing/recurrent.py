"""A hypothesis strategy for recurrent layers, with input and states that fit them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from .. import nn
from ..tape.tensor import Tensor, wrap
from .strategies import Sequences, sequences

__all__ = ["RecurrentCase", "recurrent_layers"]


class RecurrentCase(NamedTuple):
    """A layer with its input and initial states.

    Attributes:
        layer: an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` in float64.
        sequences: its input, and the lengths for packing.
        state: ``h0`` ``(L*D, N, H)``, a pair ``(h0, c0)`` for an LSTM, or None for zeros.
    """

    layer: Any
    sequences: Sequences
    state: Any

    def __call__(self) -> tuple[Tensor, ...]:
        """The layer's output and final states, flattened into one tuple."""
        output, final = self.layer(self.sequences.values, self.state)
        return (output, *final) if isinstance(final, tuple) else (output, final)

    def inputs(self) -> list[Tensor]:
        """The tensors that get a gradient: the input, the states, the parameters in order."""
        states = [] if self.state is None else list(self.state) if isinstance(self.state, tuple) else [self.state]
        return [self.sequences.values, *states, *self.layer.parameters()]


@st.composite
def recurrent_layers(
    draw: Any,
    /,
    *,
    kinds: tuple[str, ...] = ("RNN", "LSTM", "GRU"),
    steps: int = 4,
    batch: int = 3,
    hidden: int = 3,
    layers: int = 2,
    **kwargs: Any,
) -> RecurrentCase:
    """Recurrent layers of every kind, small enough for whole Jacobians.

    Args:
        kinds: which of ``RNN``, ``LSTM``, ``GRU``.
        steps, batch, hidden, layers: the largest T, N, H and L.

    Others are passed to the layer's constructor (``impl="composed"``, ``bidirectional=True``, ...); options not
    given are drawn.
    """
    kind = draw(st.sampled_from(kinds))
    options: dict[str, Any] = {
        "num_layers": draw(st.integers(1, layers)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    size = draw(st.integers(1, hidden))
    if kind == "LSTM" and size > 1 and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, size - 1))
    # After all draws: an option that the caller fixes leaves the other draws of an example as they are.
    options.update(kwargs)
    fed = draw(sequences(steps=steps, batch=batch, batch_first=options["batch_first"]))
    layer = getattr(nn, kind)(fed.values.shape[-1], size, dtype=np.dtype(np.float64), **options)
    # From one drawn seed: hundreds of weights drawn one by one would take minutes to shrink.
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    for parameter in layer.parameters():
        parameter._data[...] = rng.uniform(-1, 1, parameter.shape)
        parameter._touch()
    return RecurrentCase(layer, fed, _state(draw, rng, kind, size, len(fed.lengths), options))


def _state(draw: Any, rng: np.random.Generator, kind: str, size: int, batch: int, options: dict[str, Any]) -> Any:
    """Initial states of the layer's shapes, or None."""
    if not draw(st.booleans()):
        return None
    count = options["num_layers"] * (2 if options["bidirectional"] else 1)
    width = options.get("proj_size", 0) or size
    h0 = wrap(rng.uniform(-1, 1, (count, batch, width))).requires_grad_()
    if kind != "LSTM":
        return h0
    return h0, wrap(rng.uniform(-1, 1, (count, batch, size))).requires_grad_()
