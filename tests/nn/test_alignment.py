"""Connectionist temporal classification: against all paths one by one, PyTorch, and derivatives of every order."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentRuntimeError, DtypeError, ShapeRuntimeError, UnsupportedDtype

F = nn.functional
rng = np.random.default_rng(7)


def of_paths(log_p: Any, labels: list[int], blank: int) -> float:
    """Minus the logarithm of the sum over all paths that stand for the labels."""
    total = 0.0
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == labels:
            total += math.exp(sum(log_p[t, k] for t, k in enumerate(path)))
    return -math.log(total) if total else math.inf


def log_softmax(x: Any) -> Any:
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("blank", [0, 2])
def test_it_is_the_sum_over_all_paths(blank: int) -> None:
    others = [k for k in range(3) if k != blank]
    for steps in range(1, 7):
        log_p = log_softmax(rng.normal(size=(steps, 1, 3)))
        for count in range(4):
            for labels in itertools.product(others, repeat=count):
                loss = F.ctc_loss(
                    tg.tensor(log_p), tg.tensor([list(labels)]).long(), (steps,), (count,), blank, "sum"
                ).item()
                assert loss == pytest.approx(of_paths(log_p[:, 0], list(labels), blank), rel=1e-12, abs=1e-12)


def test_the_figures_of_pytorch() -> None:
    x = tg.tensor([[[0.1, 0.6, -0.3]], [[0.4, -0.2, 0.5]], [[-1.0, 0.3, 0.2]], [[0.0, 0.1, 0.7]]])
    loss = F.ctc_loss(tg.zeros(2, 1, 3).log_softmax(2), tg.tensor([[1, 1]]), tg.tensor([2]), tg.tensor([2]))
    assert loss.item() == math.inf  # two of the same need a blank between them
    loss = F.ctc_loss(
        tg.zeros(2, 1, 3).log_softmax(2), tg.tensor([[1, 1]]), tg.tensor([2]), tg.tensor([2]), zero_infinity=True
    )
    assert loss.item() == 0
    whole = F.ctc_loss(x.log_softmax(2), tg.tensor([[1, 2]]), tg.tensor([4]), tg.tensor([2]), reduction="sum")
    mean = F.ctc_loss(x.log_softmax(2), tg.tensor([[1, 2]]), tg.tensor([4]), tg.tensor([2]))
    assert mean.item() == pytest.approx(whole.item() / 2)  # divided by the number of labels


@pytest.mark.parametrize("lengths", [((5, 5, 5), (2, 1, 0)), ((5, 3, 1), (2, 3, 1)), ((0, 5, 2), (0, 2, 1))])
def test_gradients_of_every_order(lengths: Any) -> None:
    steps, counts = lengths
    targets = tg.tensor([[1, 2, 1], [3, 3, 2], [2, 1, 1]])

    def loss(x: Any) -> Any:
        return F.ctc_loss(x.log_softmax(2), targets, steps, counts, reduction="sum", zero_infinity=True)

    def without_softmax(x: Any) -> Any:  # where PyTorch's gradient is another
        return F.ctc_loss(x, targets, steps, counts, reduction="none", zero_infinity=True)

    x = tg.tensor(rng.normal(size=(5, 3, 4)), requires_grad=True)
    for function in (loss, without_softmax):
        assert tg.autograd.gradcheck(function, [x]) and tg.autograd.gradgradcheck(function, [x])


def test_the_gradient_is_minus_the_share_of_the_paths() -> None:
    log_p = log_softmax(rng.normal(size=(4, 1, 3)))
    x = tg.tensor(log_p, requires_grad=True)
    loss = F.ctc_loss(x, tg.tensor([[1, 2]]), (4,), (2,), reduction="sum")
    loss.backward()
    assert x.grad is not None
    # at each step some label is emitted
    np.testing.assert_allclose(x.grad.numpy().sum(2), -1, rtol=1e-12)
    for t, k in np.ndindex(4, 3):
        share = 0.0
        for path in itertools.product(range(3), repeat=4):
            if [a for a, _ in itertools.groupby(path) if a] == [1, 2] and path[t] == k:
                share += math.exp(sum(log_p[s, 0, a] for s, a in enumerate(path)))
        assert x.grad[t, 0, k].item() == pytest.approx(-share / math.exp(-loss.item()), rel=1e-10, abs=1e-12)


def test_200_random_calls_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for call in range(200):
        T, N, C = (int(rng.integers(low, high)) for low, high in ((1, 9), (1, 4), (2, 5)))
        blank, zero, reduction = int(rng.integers(C)), bool(rng.integers(2)), ("none", "mean", "sum")[call % 3]
        counts, steps = rng.integers(0, 4, N), rng.integers(call % 5 > 0, T + 1, N)
        targets = rng.integers(1, C, (N, max(1, int(counts.max())))) + blank  # none is the blank, which PyTorch forbids
        targets %= C
        if call % 2:
            targets = np.concatenate([row[:n] for row, n in zip(targets, counts, strict=True)])
        values, found = rng.normal(size=(T, N, C)), []
        for lib in (torch, tg):
            x = lib.tensor(values, requires_grad=True)
            loss = lib.nn.CTCLoss(blank, reduction, zero)(
                x.log_softmax(2), lib.tensor(targets), lib.tensor(steps), lib.tensor(counts)
            )
            loss.sum().backward()
            found.append((loss.detach().numpy(), x.grad.numpy()))
        for theirs, ours in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, err_msg=str(call))


def test_one_sequence_without_a_batch() -> None:
    x, labels = tg.randn(6, 4).log_softmax(1), tg.tensor([1, 2])
    alone = F.ctc_loss(x, labels, tg.tensor(6), tg.tensor(2), reduction="none")
    batch = F.ctc_loss(x.unsqueeze(1), labels.unsqueeze(0), (6,), (2,), reduction="none")
    assert alone.shape == () and alone.item() == batch.item()


def test_long_sequences_lose_nothing() -> None:
    x = tg.tensor(rng.normal(size=(2000, 2, 5)), requires_grad=True)
    loss = F.ctc_loss(x.log_softmax(2), tg.tensor(rng.integers(1, 5, (2, 300))), (2000, 1500), (300, 200))
    loss.backward()
    assert x.grad is not None and math.isfinite(loss.item()) and bool(tg.isfinite(x.grad).all())
    assert not x.grad[1500:, 1].any()


x = tg.zeros(5, 2, 4).log_softmax(2)
pair, two = tg.tensor([[1, 2], [1, 2]]), (2, 2)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: F.ctc_loss(x, pair, (6, 5), two), ArgumentRuntimeError, "input_lengths to have value at most 5"),
        (lambda: F.ctc_loss(x, pair, (5,), two), ShapeRuntimeError, "input_lengths must be of size batch_size"),
        (lambda: F.ctc_loss(x, pair, (5, -1), two), ArgumentRuntimeError, "input_lengths to have value at least 0"),
        (lambda: F.ctc_loss(x, pair, (5, 5), (2, -1)), ArgumentRuntimeError, "target_lengths to have value at least"),
        (lambda: F.ctc_loss(x, pair, (5, 5), (3, 2)), ShapeRuntimeError, "Expected targets of size"),
        (lambda: F.ctc_loss(x, pair.flatten()[:3], (5, 5), two), ShapeRuntimeError, "size 4 at dimension 0"),
        (lambda: F.ctc_loss(x, pair, (5.0, 5.0), two), DtypeError, "input_lengths must be integral"),
        (lambda: F.ctc_loss(x, pair, (5, 5), two, blank=4), ArgumentRuntimeError, "blank must be in label range"),
        (lambda: F.ctc_loss(x, pair, (5, 5), two, blank=-1), ArgumentRuntimeError, "blank must be in label range"),
        (lambda: F.ctc_loss(x, pair + 3, (5, 5), two), ArgumentRuntimeError, "a label 4: labels are 0 .. 3"),
        (lambda: F.ctc_loss(x[:0], pair, (0, 0), two), ArgumentRuntimeError, "must not be empty"),
        (lambda: F.ctc_loss(x.long(), pair, (5, 5), two), UnsupportedDtype, "not implemented for 'Long'"),
        (lambda: F.ctc_loss(x[0, 0], pair, (5, 5), two), ShapeRuntimeError, "log_probs must be"),
    ],
)
def test_what_does_not_fit_is_said(call: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()


# the adaptive softmax ------------------------------------------------------------------------------------------------


def test_the_adaptive_softmax_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for cutoffs, bias in (([3], False), ([2, 5, 9], True), ([1, 11], False)):
        tg.manual_seed(3)
        torch.manual_seed(3)
        ours = nn.AdaptiveLogSoftmaxWithLoss(16, 12, cutoffs, 2.0, bias, dtype=tg.float64)
        theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 12, cutoffs, 2.0, bias, dtype=torch.float64)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
        for targets in (np.arange(12), np.array([0, 0]), np.array([11]), np.array([5, 1, 11, 0, 5])):
            values, found = rng.normal(size=(len(targets), 16)), []
            for lib, layer in ((torch, theirs), (tg, ours)):
                layer.zero_grad()
                x = lib.tensor(values, requires_grad=True)
                output, loss = layer(x, lib.tensor(targets))
                loss.backward()
                grads = [p.grad for p in layer.parameters()]
                arrays = [output, loss, x.grad, layer.log_prob(x), layer.predict(x), *grads]
                found.append([None if a is None else a.detach().numpy() for a in arrays])
            for a, b in zip(*found, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)


def test_the_adaptive_softmax_refuses_what_does_not_fit() -> None:
    for cutoffs in ([], [0, 3], [3, 3], [5, 3], [12], [2.5]):
        with pytest.raises(ValueError, match="cutoffs should be"):
            nn.AdaptiveLogSoftmaxWithLoss(16, 12, cutoffs)  # type: ignore[arg-type]
    layer, x = nn.AdaptiveLogSoftmaxWithLoss(16, 12, [3]), tg.zeros(2, 16)
    with pytest.raises(RuntimeError, match=r"Target values should be in \[0, 11\]"):
        layer(x, tg.tensor([0, 12]))
    with pytest.raises(RuntimeError, match="same size in the batch"):
        layer(x, tg.tensor([0]))
    with pytest.raises(RuntimeError, match="0D or 1D target"):
        layer(x, tg.tensor([[0], [1]]))
    output, loss = layer(x[0], tg.tensor(7))
    assert output.shape == () and loss.item() == -output.item()
