"""The rows of the table of samples that belong to layers and losses, recurrent layers among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...tape.tensor import wrap
from ..strategies import arrays, shapes
from .sampling import Call, add_samples, elementwise, inexact, values

__all__: list[str] = []

# activations -------------------------------------------------------------------------------------------------------

add_samples("erf", "gelu", "silu", "log_sigmoid")(elementwise())


@add_samples("elu")
@st.composite
def _elu(draw: Any, /) -> Call:
    numbers = st.sampled_from([0.5, 1.0, 1.5])
    params = {"alpha": draw(numbers), "scale": draw(numbers), "rate": draw(numbers)}
    return Call((draw(values(away_from=(0.0,))),), params)


@add_samples("leaky_relu")
@st.composite
def _leaky_relu(draw: Any, /) -> Call:
    return Call((draw(values(away_from=(0.0,))),), {"slope": draw(st.sampled_from([0.0, 0.01, 0.5]))})


@add_samples("prelu")
@st.composite
def _prelu(draw: Any, /) -> Call:
    a = draw(values(away_from=(0.0,)))
    return Call((a, draw(arrays(draw(st.sampled_from([(1,) * a.ndim, a.shape[-1:]]))))))


@add_samples("threshold")
@st.composite
def _threshold(draw: Any, /) -> Call:
    return Call((draw(values(away_from=(0.5,))),), {"bound": 0.5, "value": 2.0})


@add_samples("hardshrink", "softshrink")
@st.composite
def _shrink(draw: Any, /) -> Call:
    return Call((draw(values(away_from=(-0.5, 0.5))),), {"width": 0.5})


add_samples("hardsigmoid", "hardswish")(elementwise(low=-5.0, high=5.0, away_from=(-3.0, 3.0)))
add_samples("squared_error")(elementwise())


@add_samples("huber")
@st.composite
def _huber(draw: Any, /) -> Call:
    return Call((draw(values(away_from=(-0.5, 0.5))),), {"delta": 0.5})


@add_samples("smooth_l1")
@st.composite
def _smooth_l1(draw: Any, /) -> Call:
    return Call((draw(values(away_from=(-0.5, 0.5))),), {"beta": 0.5})


@add_samples("softplus")
@st.composite
def _softplus(draw: Any, /) -> Call:
    return Call((draw(values()),), {"beta": draw(st.sampled_from([0.5, 1.0, 3.0])), "threshold": 20.0})


@add_samples("clip_open")
@st.composite
def _clip_open(draw: Any, /) -> Call:
    return Call((draw(values(low=-2.0, high=1.0, away_from=(-1.0, 0.5))),), {"low": -1.0, "high": 0.5})


# losses, masks, normalisation --------------------------------------------------------------------------------------

inexact("scale_gradient", "its gradient is scaled on purpose, its value is not")


@add_samples("scale_gradient")
@st.composite
def _scale_gradient(draw: Any, /) -> Call:
    a = draw(arrays((draw(st.integers(1, 4)), draw(st.integers(1, 3)))))
    return Call((a,), {"factor": np.full((len(a), 1), 0.5)})


@add_samples("dropout")
@st.composite
def _dropout(draw: Any, /) -> Call:
    a = draw(values())
    return Call((a,), {"mask": draw(arrays(a.shape, low=0, high=1, step=1)) * 2.0})


@add_samples("binary_cross_entropy")
@st.composite
def _binary_cross_entropy(draw: Any, /) -> Call:
    p = draw(values(low=0.1, high=0.9))
    return Call((p, draw(arrays(p.shape, low=0, high=1, layout=None))))


@st.composite
def _of_classes(draw: Any, /, name: str) -> Call:
    from ...nn import functional

    batch, classes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    rest = draw(shapes(0, 1, 1, 2))
    a = draw(arrays((batch, classes, *rest)))
    target = wrap(draw(arrays((batch, *rest), dtype=np.int64, low=0, high=classes - 1)))
    options: dict[str, Any] = {"target": target, "reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if draw(st.booleans()):
        options["weight"] = wrap(draw(arrays((classes,), low=0.5, high=2.0)))
    return Call((a,), options, getattr(functional, name))


add_samples("cross_entropy")(lambda: _of_classes("cross_entropy"))
add_samples("nll_loss")(lambda: _of_classes("nll_loss"))


@add_samples("layer_norm")
@st.composite
def _layer_norm(draw: Any, /) -> Call:
    x = draw(arrays(shapes(1, 3, 1, 3), distinct=True))
    count = draw(st.integers(1, x.ndim))
    scale = [draw(arrays(x.shape[x.ndim - count :], low=0.5)) if draw(st.booleans()) else None for _ in range(2)]
    return Call((x, *scale), {"count": count, "eps": 0.1})


# recurrent layers --------------------------------------------------------------------------------------------------


@st.composite
def _recurrent(draw: Any, /, gates: int, states: int, **params: Any) -> Call:
    """Input (T, N, I), states, weights and biases of a recurrent layer; packed or not, read from either end."""
    fused_cell, batch, size_in, hidden = (draw(st.integers(1, 3)) for _ in range(4))
    sizes = None
    x_shape: tuple[int, ...] = (fused_cell, batch, size_in)
    if draw(st.booleans()):  # packed: batch sizes that never grow
        sizes = tuple(sorted((draw(st.integers(1, batch)) for _ in range(fused_cell - 1)), reverse=True))
        sizes = (batch, *sizes)
        x_shape = (sum(sizes), size_in)
    shapes = [x_shape, *[(batch, hidden)] * states, (gates * hidden, size_in), (gates * hidden, hidden)]
    shapes += [(gates * hidden,)] * 2 if draw(st.booleans()) else []
    args = [draw(arrays(s, low=-1, high=1)) for s in shapes]
    args += [None] * (3 + states + 2 - len(args))
    return Call(tuple(args), {"sizes": sizes, "reverse": draw(st.booleans()), "save": True, **params})


add_samples("gru")(lambda: _recurrent(3, 1))
add_samples("rnn")(lambda: _recurrent(1, 1, nonlinearity="tanh"))


@add_samples("lstm")
@st.composite
def _lstm(draw: Any, /) -> Call:
    args, params, _ = draw(_recurrent(4, 2))
    return Call((*args, None), params)


# cells -------------------------------------------------------------------------------------------------------------


@st.composite
def _cell(draw: Any, /, name: str, gates: int, states: int, **params: Any) -> Call:
    """Input (N, I) or (I,), states, weights, and each bias or none."""
    from ...ops.recurrent import fused_cell

    size_in, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    batch = (draw(st.integers(1, 3)),) if draw(st.booleans()) else ()
    shapes = [(*batch, size_in), *[(*batch, hidden)] * states, (gates * hidden, size_in), (gates * hidden, hidden)]
    args = [draw(arrays(s, low=-1, high=1)) for s in shapes]
    args += [draw(arrays((gates * hidden,), low=-1, high=1)) if draw(st.booleans()) else None for _ in range(2)]
    return Call(tuple(args), params, getattr(fused_cell, f"{name}_step"))


add_samples("rnn_cell")(lambda: _cell("rnn", 1, 1, nonlinearity="tanh"))
add_samples("lstm_cell")(lambda: _cell("lstm", 4, 2))
add_samples("gru_cell")(lambda: _cell("gru", 3, 1))
