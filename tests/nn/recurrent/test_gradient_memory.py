"""The gradients of a fused layer are kept without a copy, so they must be nobody else's memory."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

KERNELS = [pytest.param("numpy"), pytest.param("numba")]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"checkpoint_segments": 3}])
@pytest.mark.parametrize("hidden", [3, 96])  # of small arrays, and of such whose memory is used again
def test_gradients_share_memory_with_nothing(kernel: str, kind: str, options: dict[str, Any], hidden: int) -> None:
    if kernel == "numba":
        pytest.importorskip("numba")
    tg.manual_seed(0)
    layer: Any = getattr(tg.nn, kind)(2, hidden, **options)
    states = [tg.randn(layer.num_layers * (1 + layer.bidirectional), 4, hidden, requires_grad=True)]
    x = tg.randn(12, 4, 2, requires_grad=True)
    given = (states[0], states[0]) if kind == "LSTM" else states[0]
    with tg.backends.recurrent.only(kernel):
        y, final = layer(x, given)
        seed = tg.randn_like(y)
        y.backward(seed, retain_graph=True)
        leaves = [x, *states, *layer.parameters()]
        once = [t.grad.numpy().copy() for t in leaves]
        ends = final if isinstance(final, tuple) else (final,)
        arrays = [t.grad.numpy() for t in leaves]
        arrays += [t.detach().numpy() for t in (*leaves, y, seed, *ends)]
        for (i, a), (j, b) in combinations(list(enumerate(arrays)), 2):
            shared = {i, j} <= set(range(2 * len(leaves), len(arrays)))  # y and h_n may be one memory
            assert shared or not np.shares_memory(a, b), (i, j)
        y.backward(seed)  # adds into them
    for t, g in zip(leaves, once, strict=True):
        np.testing.assert_array_equal(t.grad.numpy(), g + g)
