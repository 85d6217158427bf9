"""Random configurations against PyTorch itself, where it is installed: values, states and every gradient."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden.recurrent_cases import random_layer_case, run_layer

torch = pytest.importorskip("torch")

TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
"""Relative to the largest entry of each array: some hundred roundings, accumulated in another order."""


def compare(seed: int) -> None:
    random = Random(seed)
    case = random_layer_case(random)
    impl = random.choice(["fused", "composed"])
    for dtype, tolerance in TOLERANCES.items():
        seeded = dtype == "float64"
        expected = run_layer(torch, case, dtype, seeded=seeded)
        got = run_layer(tg, case, dtype, seeded=seeded, impl=impl)
        assert list(got) == list(expected)
        for key, array in expected.items():
            assert got[key].dtype == array.dtype and got[key].shape == array.shape, (case, key)
            error = np.abs(got[key] - array).max() / max(1.0, np.abs(array).max())
            assert error <= tolerance, (case, impl, dtype, key, error)


@pytest.mark.parametrize("seed", range(60))
def test_random_configuration_equals_pytorch(seed: int) -> None:
    compare(seed)


@pytest.mark.thorough
@pytest.mark.parametrize("block", range(30))
def test_many_random_configurations_equal_pytorch(block: int) -> None:
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        compare(seed)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_float32_parameters_are_drawn_as_pytorch_draws_them(kind: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        tg.manual_seed(seed)
        theirs = getattr(torch.nn, kind)(7, 20, num_layers=2, bidirectional=True)
        ours = getattr(tg.nn, kind)(7, 20, num_layers=2, bidirectional=True)
        for (name, p), (our_name, q) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
            assert name == our_name
            np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=0, atol=2e-8)  # one fma
