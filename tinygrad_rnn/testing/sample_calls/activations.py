"""Samples of activations and of the elementwise part of losses."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ..strategies import arrays
from .building_blocks import elementwise, values
from .table import Call, add_samples

__all__: list[str] = []

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
