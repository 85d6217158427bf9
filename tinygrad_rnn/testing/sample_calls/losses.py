"""Samples of losses, masks and normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...nn import functional
from ...tape.tensor import wrap
from ..strategies import arrays, shapes
from .building_blocks import values
from .table import Call, add_samples, inexact

__all__: list[str] = []

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
    # 0 or 2, as dropout with probability 1/2 scales.
    return Call((a,), {"mask": draw(arrays(a.shape, low=0, high=1, step=1)) * 2.0})


@add_samples("binary_cross_entropy")
@st.composite
def _binary_cross_entropy(draw: Any, /) -> Call:
    p = draw(values(low=0.1, high=0.9))
    return Call((p, draw(arrays(p.shape, low=0, high=1, layout=None))))


@st.composite
def _of_classes(draw: Any, /, name: str) -> Call:
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


@add_samples("ctc_loss")
@st.composite
def _ctc_loss(draw: Any, /) -> Call:
    steps, batch, classes = draw(st.integers(1, 5)), draw(st.integers(1, 2)), draw(st.integers(2, 3))
    a = draw(arrays((steps, batch, classes)))
    longest = (steps - 1) // 2  # so many labels have room, also where all are the same
    target = wrap(draw(arrays((batch, longest), dtype=np.int64, low=1, high=classes - 1)))
    counts = tuple(draw(st.integers(0, longest)) for _ in range(batch))
    running = tuple(draw(st.integers(max(1, 2 * count), steps)) for count in counts)
    options = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    lengths = {"input_lengths": running, "target_lengths": counts}
    return Call((a,), {"targets": target} | lengths | options, functional.ctc_loss)


@add_samples("layer_norm")
@st.composite
def _layer_norm(draw: Any, /) -> Call:
    x = draw(arrays(shapes(1, 3, 1, 3), distinct=True))
    count = draw(st.integers(1, x.ndim))
    scale = [draw(arrays(x.shape[x.ndim - count :], low=0.5)) if draw(st.booleans()) else None for _ in range(2)]
    return Call((x, *scale), {"count": count, "eps": 0.1})
