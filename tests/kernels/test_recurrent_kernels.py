"""The kernels against PyTorch in float64: outputs, final states and every gradient, in every configuration."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from tests.support.flat_kernels import FlatKernel, flat

torch = pytest.importorskip("torch")

gru, lstm, rnn = map(flat, ("gru", "lstm", "rnn"))

TOLERANCE = 1e-12
"""A few thousand roundings of float64 on values of order 1 to 10."""

SHAPES = [(1, 1, 1, 2), (7, 3, 4, 5), (40, 9, 4, 50)]  # T, N, I, H; the last is longer than one part of a sweep
KINDS: dict[str, FlatKernel] = {"LSTM": lstm, "GRU": gru, "tanh": rnn, "relu": rnn}


def oracle(kind: str, size: int, hidden: int, bias: bool, projection: int) -> Any:
    """A bidirectional layer of PyTorch; one of its directions is what a kernel computes."""
    options: dict[str, Any] = {"bias": bias, "bidirectional": True, "dtype": torch.float64}
    if kind == "LSTM":
        return torch.nn.LSTM(size, hidden, proj_size=projection, **options)
    if kind == "GRU":
        return torch.nn.GRU(size, hidden, **options)
    return torch.nn.RNN(size, hidden, nonlinearity=kind, **options)


CASES = [
    case
    for case in product(KINDS, SHAPES, (True, False), (False, True), (False, True), (False, True))
    if not (case[-1] and case[0] != "LSTM")
]


@pytest.mark.parametrize(("kind", "shape", "bias", "reverse", "packed", "projected"), CASES)
def test_kernel_equals_pytorch(
    kind: str, shape: tuple[int, int, int, int], bias: bool, reverse: bool, packed: bool, projected: bool
) -> None:
    steps, batch, size, hidden = shape
    torch.manual_seed(1)
    projection = hidden // 2 if projected else 0
    width = projection or hidden
    layer = oracle(kind, size, hidden, bias, projection)
    x = torch.randn(steps, batch, size, dtype=torch.float64, requires_grad=True)
    widths = (width, hidden) if kind == "LSTM" else (width,)
    states = [torch.randn(2, batch, w, dtype=torch.float64, requires_grad=True) for w in widths]
    given: Any = x
    if packed:
        lengths = [steps] + sorted(torch.randint(1, steps + 1, (batch - 1,)).tolist(), reverse=True)
        given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths)
    output, final = layer(given, tuple(states) if kind == "LSTM" else states[0])
    y = output.data if packed else output
    y = y[..., width:] if reverse else y[..., :width]
    finals = [f[int(reverse)] for f in (final if kind == "LSTM" else (final,))]
    weights = [p for name, p in layer.named_parameters() if name.endswith("_reverse") == reverse]
    arrays: list[Any] = [(given.data if packed else x).detach().numpy()]
    arrays += [s[int(reverse)].detach().numpy() for s in states]
    arrays += [w.detach().numpy() for w in weights[:2]]
    arrays += [w.detach().numpy() for w in weights[2:4]] if bias else [None, None]
    arrays += [w.detach().numpy() for w in weights[4 if bias else 2 :]] if projected else []
    sizes = given.batch_sizes.tolist() if packed else None

    kernel = KINDS[kind]
    options: dict[str, Any] = {"nonlinearity": kind} if kernel is rnn else {}
    outputs, residual = kernel.forward(*arrays, sizes=sizes, reverse=reverse, **options)
    for got, expected in zip(outputs, [y, *finals], strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=0, atol=TOLERANCE)
    unsaved, nothing = kernel.forward(*arrays, sizes=sizes, reverse=reverse, save=False, **options)
    assert nothing is None
    for got, expected in zip(unsaved, outputs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)

    for used in [(True, True, True), (False, True, False), (True, False, False), (False, False, True)]:
        if not any(used[: len(outputs)]):
            continue
        seeds = [torch.randn_like(t) for t in (y, *finals)]
        loss = sum((t * g).sum() for t, g, use in zip([y, *finals], seeds, used, strict=False) if use)
        leaves = [x, *states, *weights]
        expected_all = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        gs = [g.numpy() if use else None for g, use in zip(seeds, used, strict=False)]
        slots = 8 if kind == "LSTM" else 6
        gradients = kernel.backward(gs, residual, *arrays, needs=[True] * slots)
        filled = [g for g, a in zip(gradients, arrays, strict=False) if a is not None]
        if kind != "LSTM" or not projected:
            assert len(filled) == 1 + len(states) + len(weights)
        for position, (got, expected) in enumerate(zip(filled, expected_all, strict=True)):
            want = torch.zeros_like(leaves[position]) if expected is None else expected
            if position == 0 and packed:
                want = torch.nn.utils.rnn.pack_padded_sequence(want, lengths).data
            elif 1 <= position <= len(states):
                want = want[int(reverse)]
            scale = max(1.0, float(want.abs().max()))
            np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("kernel", [lstm, gru, rnn])
def test_what_is_not_needed_is_not_computed_and_the_rest_is_unchanged(kernel: FlatKernel) -> None:
    rng = np.random.default_rng(0)
    gates, states = {lstm: (4, 2), gru: (3, 1), rnn: (1, 1)}[kernel]
    arrays = [rng.standard_normal((5, 2, 3)), *(rng.standard_normal((2, 4)) for _ in range(states))]
    arrays += [rng.standard_normal(shape) for shape in ((gates * 4, 3), (gates * 4, 4), (gates * 4,), (gates * 4,))]
    copies = [a.copy() for a in arrays]
    outputs, residual = kernel.forward(*arrays)
    gs = [np.ones_like(y) for y in outputs]
    everything = kernel.backward(gs, residual, *arrays, needs=[True] * 8)
    for position in range(len(arrays)):
        needs = [k == position for k in range(8)]
        alone = kernel.backward(gs, residual, *arrays, needs=needs)  # the residual serves any number of times
        assert [g is not None for g in alone[: len(arrays)]] == needs[: len(arrays)]
        np.testing.assert_array_equal(alone[position], everything[position])
    for a, before in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, before)
    for first, second in combinations(everything[: len(arrays)], 2):
        assert not np.shares_memory(first, second)


@pytest.mark.parametrize("kernel", [lstm, gru, rnn])
def test_an_empty_batch_gives_empty_results_and_zero_gradients(kernel: FlatKernel) -> None:
    gates, states = {lstm: (4, 2), gru: (3, 1), rnn: (1, 1)}[kernel]
    arrays = [np.ones((5, 0, 3)), *(np.ones((0, 4)) for _ in range(states))]
    arrays += [np.ones((gates * 4, 3)), np.ones((gates * 4, 4)), np.ones(gates * 4), np.ones(gates * 4)]
    outputs, residual = kernel.forward(*arrays)
    assert outputs[0].shape == (5, 0, 4)
    gradients = kernel.backward([np.ones_like(y) for y in outputs], residual, *arrays, needs=[True] * 8)
    for got, a in zip(gradients, arrays, strict=False):
        np.testing.assert_array_equal(got, np.zeros_like(a))
