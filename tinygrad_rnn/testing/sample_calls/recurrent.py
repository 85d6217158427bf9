"""Samples of recurrent layers and cells."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ...kernels.recurrent.interface import Options
from ...ops.recurrent import fused_cell
from ..strategies import arrays
from .table import Call, add_samples

__all__: list[str] = []

# layers ---------------------------------------------------------------------------------------------------------------


@st.composite
def _recurrent(draw: Any, /, gates: int, states: int, **params: Any) -> Call:
    """Input (T, N, I), states, weights and biases of a recurrent layer; packed or not, read from either end."""
    steps, batch, size_in, hidden = (draw(st.integers(1, 3)) for _ in range(4))
    sizes = None
    x_shape: tuple[int, ...] = (steps, batch, size_in)
    if draw(st.booleans()):  # packed: batch sizes that never grow
        sizes = tuple(sorted((draw(st.integers(1, batch)) for _ in range(steps - 1)), reverse=True))
        sizes = (batch, *sizes)
        x_shape = (sum(sizes), size_in)
    shapes = [x_shape, *[(batch, hidden)] * states, (gates * hidden, size_in), (gates * hidden, hidden)]
    shapes += [(gates * hidden,)] * 2 if draw(st.booleans()) else []
    args = [draw(arrays(s, low=-1, high=1)) for s in shapes]
    # Missing biases are None, in their places.
    args += [None] * (3 + states + 2 - len(args))
    return Call(tuple(args), {"options": Options(sizes, draw(st.booleans()), **params)})


add_samples("gru")(lambda: _recurrent(3, 1))
add_samples("rnn")(lambda: _recurrent(1, 1, nonlinearity="tanh"))


@add_samples("lstm")
@st.composite
def _lstm(draw: Any, /) -> Call:
    args, params, _ = draw(_recurrent(4, 2))
    return Call((*args, None), params)


# cells ----------------------------------------------------------------------------------------------------------------


@st.composite
def _cell(draw: Any, /, name: str, gates: int, states: int, **params: Any) -> Call:
    """Input (N, I) or (I,), states, weights, and each bias or none."""
    size_in, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    batch = (draw(st.integers(1, 3)),) if draw(st.booleans()) else ()
    shapes = [(*batch, size_in), *[(*batch, hidden)] * states, (gates * hidden, size_in), (gates * hidden, hidden)]
    args = [draw(arrays(s, low=-1, high=1)) for s in shapes]
    args += [draw(arrays((gates * hidden,), low=-1, high=1)) if draw(st.booleans()) else None for _ in range(2)]
    return Call(tuple(args), params, getattr(fused_cell, f"{name}_step"))


add_samples("rnn_cell")(lambda: _cell("rnn", 1, 1, nonlinearity="tanh"))
add_samples("lstm_cell")(lambda: _cell("lstm", 4, 2))
add_samples("gru_cell")(lambda: _cell("gru", 3, 1))
