"""Causality: leaks are found where they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentTypeError, LeakError, ShapeError

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"num_layers": 2}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"impl": "composed"}),
    ("GRU", {"reset_after": False}),
]


def net(kind: str, **options: Any) -> Any:
    tg.manual_seed(0)
    return getattr(nn, kind)(3, 4, dtype=tg.float64, **options)


def text(steps: int = 7) -> tg.Tensor:
    tg.manual_seed(1)
    return tg.randn(steps, 2, 3, dtype=tg.float64)


@pytest.mark.parametrize(("kind", "options"), LAYERS)
def test_a_layer_that_reads_forwards_passes_and_one_that_reads_both_ways_fails(
    kind: str, options: dict[str, Any]
) -> None:
    one, both = net(kind, **options), net(kind, bidirectional=True, **options)
    found = d.causality(lambda s: (one(s[:-1])[0], s[1:]), text()).check()
    np.testing.assert_array_equal(np.isfinite(found.log_norm), np.tri(6, 7, dtype=bool))
    np.testing.assert_array_equal(found.first_read_by_target, range(1, 7))
    leaking = d.causality(lambda s: (both(s[:-1])[0], s[1:]), text())
    assert leaking.leaks == [(t, s) for t in range(6) for s in range(t + 1, 6)]
    with pytest.raises(LeakError, match="bidirectional"):
        leaking.check()


def test_a_target_that_is_not_shifted_is_named() -> None:
    one = net("GRU")
    found = d.causality(lambda s: (one(s)[0], s), text())
    assert found.leaks == [(t, t) for t in range(7)]
    with pytest.raises(LeakError, match="not shifted"):
        found.check()
    with pytest.raises(LeakError, match="not shifted"):  # shifted the other way
        d.causality(lambda s: (one(s[1:])[0], s[:-1]), text()).check()


def test_norms_are_those_of_weighted_gradients() -> None:
    one, sequence = net("RNN"), text(5)
    found = d.causality(lambda s: one(s)[0], sequence, seed=3)
    draws = np.random.default_rng(3)
    for t in range(5):
        weights = draws.uniform(0.5, 1.5, (2, 4))
        leaf = sequence.clone().requires_grad_(True)
        (one(leaf)[0][t] * tg.tensor(weights)).sum().backward()
        assert leaf.grad is not None
        norms = np.sqrt((leaf.grad.numpy() ** 2).sum((1, 2)))
        np.testing.assert_allclose(np.exp(found.log_norm[t]), norms, rtol=1e-12, atol=0)
        assert norms[0] > 1e-4


def test_small_numbers_are_not_taken_for_none() -> None:
    def predict(s: tg.Tensor) -> tg.Tensor:
        return s + 1e-200 * s.flip(0)  # a square of 1e-200 is 0

    assert d.causality(predict, text(3)).leaks == [(0, 2)]


def test_only_what_is_read_counts() -> None:
    def mean_of_all(s: tg.Tensor) -> Any:
        return s[:-1] - s.mean(0), s[1:]

    with pytest.raises(LeakError, match="prediction 0 depends on element 1"):
        d.causality(mean_of_all, text()).check()
    constant = d.causality(lambda s: (s[:-1], tg.zeros(6, 2)), text())
    assert constant.leaks == [] and (constant.first_read_by_target == 7).all()
    assert d.causality(lambda s: (s.detach()[:-1], s[1:]), text()).leaks == []


def test_a_device_gives_the_same(device_xp: Any) -> None:
    one, sequence = net("LSTM"), text()
    here = d.causality(lambda s: (one(s[:-1])[0], s[1:]), sequence)
    one.to("cuda")
    there = d.causality(lambda s: (one(s[:-1])[0], s[1:]), sequence.to("cuda"))
    np.testing.assert_allclose(there.log_norm, here.log_norm, rtol=0, atol=1e-9)
    assert there.check().leaks == []


def test_it_tells_and_draws() -> None:
    both = net("GRU", bidirectional=True)
    found = d.causality(lambda s: both(s)[0], text(3))
    assert "not causal: 3 gradients leak" in str(found) and "last element read" in str(found)
    assert found.plot().get_xlabel() == "element s of the sequence"
    assert "no prediction has seen" in d.causality(lambda s: s, text(3)).head()
    assert "-inf" in d.causality(lambda s: s, text(3)).to_json()


@pytest.mark.parametrize(
    ("predict", "sequence", "error"),
    [
        (lambda s: s, np.arange(6).reshape(3, 2), ArgumentTypeError),
        (lambda s: s, np.ones(3), ArgumentTypeError),
        (lambda s: s.detach().numpy(), np.ones((3, 2)), ArgumentTypeError),
        (lambda s: (s, s[1:]), np.ones((3, 2)), ShapeError),
    ],
)
def test_what_is_no_sequence_is_refused(predict: Callable[[Any], Any], sequence: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        d.causality(predict, sequence)
