"""Restricted Boltzmann machines against literal sums over all states."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ShapeError
from tinygrad_rnn.lab.rbm import (
    MOST,
    RBM,
    DeepBeliefNet,
    PersistentChains,
    fit,
    mirrored,
    stack,
    states,
)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = tg.get_default_dtype()
    tg.set_default_dtype(tg.float64)
    yield
    tg.set_default_dtype(before)


def machine(visible: int, hidden: int, seed: int = 0) -> RBM:
    rbm, rng = RBM(visible, hidden), np.random.default_rng(seed)
    with tg.no_grad():
        for p in rbm.parameters():
            p.copy_(tg.tensor(rng.standard_normal(p.shape)))
    return rbm


def joint(rbm: RBM) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """exp(-E) of every state of both layers, from loops over units."""
    w, a, b = (p.detach().numpy() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    found = {}
    for v in itertools.product((0, 1), repeat=rbm.visible):
        for h in itertools.product((0, 1), repeat=rbm.hidden):
            energy = -sum(a[i] for i in range(rbm.visible) if v[i]) - sum(b[j] for j in range(rbm.hidden) if h[j])
            energy -= sum(w[i, j] for i in range(rbm.visible) for j in range(rbm.hidden) if v[i] and h[j])
            found[v, h] = math.exp(-energy)
    return found


def literal(rbm: RBM) -> tuple[float, dict[tuple[int, ...], float], np.ndarray[Any, Any]]:
    """Z, p(v) by v, and the mean of v^T h."""
    weights = joint(rbm)
    z = sum(weights.values())
    p: dict[tuple[int, ...], float] = {}
    product = np.zeros((rbm.visible, rbm.hidden))
    for (v, h), weight in weights.items():
        p[v] = p.get(v, 0.0) + weight / z
        product += weight / z * np.outer(v, h)
    return z, p, product


SIZES = [(4, 3), (3, 4), (5, 1), (1, 5)]


@pytest.mark.parametrize(("visible", "hidden"), SIZES)
def test_what_is_exact_equals_sums_over_all_states(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    z, p, product = literal(rbm)
    assert rbm.log_partition().item() == pytest.approx(math.log(z), rel=1e-13)
    v = states(visible)
    expected = [p[tuple(map(int, row))] for row in v.tolist()]
    np.testing.assert_allclose(rbm.log_likelihood(v).exp().detach().numpy(), expected, rtol=1e-12)
    found = rbm.model_statistics()
    np.testing.assert_allclose(found.weight.numpy(), product, rtol=1e-12)
    np.testing.assert_allclose(found.visible.numpy(), np.array(expected) @ v.numpy(), rtol=1e-12)
    h = states(hidden)
    np.testing.assert_allclose(
        found.hidden.numpy(), rbm.hidden_log_likelihood(h).exp().detach().numpy() @ h.numpy(), rtol=1e-12
    )


def test_energy_is_that_of_loops_over_units() -> None:
    rbm = machine(3, 2)
    for (v, h), weight in joint(rbm).items():
        found = rbm.energy(tg.tensor(v, dtype=tg.float64), tg.tensor(h, dtype=tg.float64))
        assert found.item() == pytest.approx(-math.log(weight), abs=1e-14)


def test_the_smaller_layer_is_the_one_that_is_enumerated() -> None:
    wide, high = machine(40, 3), machine(3, 40)
    for rbm in (wide, high):
        assert rbm.log_partition().item() == pytest.approx(mirrored(rbm).log_partition().item(), rel=1e-14)
        assert rbm.model_statistics().weight.shape == (rbm.visible, rbm.hidden)


@pytest.mark.parametrize(("visible", "hidden"), SIZES)
def test_the_gradient_of_log_p_is_data_minus_model(visible: int, hidden: int) -> None:
    rbm, data = machine(visible, hidden), states(visible)[:2]
    rbm.log_likelihood(data).mean().backward()
    positive, negative = rbm.data_statistics(data), rbm.model_statistics()
    for parameter, more, less in zip(rbm.parameters(), positive, negative, strict=True):
        assert parameter.grad is not None and float(abs(parameter.grad).max()) > 0.01
        np.testing.assert_allclose(parameter.grad.numpy(), (more - less).numpy(), atol=1e-14)


def test_derivatives_of_second_order() -> None:
    rbm = machine(3, 2)
    weight = rbm.weight.detach().requires_grad_()

    def log_z(w: tg.Tensor) -> tg.Tensor:
        rbm.weight = w  # type: ignore[assignment]
        return rbm.log_partition()

    del rbm.weight
    assert tg.autograd.gradcheck(log_z, (weight,)) and tg.autograd.gradgradcheck(log_z, (weight,))


@pytest.mark.parametrize("visible", [14, 15])
def test_many_blocks_are_one_sum(visible: int) -> None:
    """2^14 and 2^15 states in blocks of 2^13, against the same sum from the other side."""
    rbm = machine(visible, 16)
    with tg.no_grad():
        rbm.weight.mul_(0.3)
    upside = mirrored(rbm)
    rbm.log_partition().backward()
    with tg.no_grad():
        other = tg.logsumexp(-upside.hidden_free_energy(states(visible)), 0).item()
        hidden_first = tg.logsumexp(-rbm.hidden_free_energy(states(16)), 0).item()
    assert rbm.log_partition().item() == pytest.approx(other, rel=1e-13) == pytest.approx(hidden_first, rel=1e-12)
    statistics = rbm.model_statistics()
    np.testing.assert_allclose(rbm.weight.grad.numpy(), statistics.weight.numpy(), atol=1e-13)  # type: ignore[union-attr]
    assert float(abs(statistics.weight).max()) > 0.1


def test_memory_of_a_gradient_does_not_grow_with_the_states() -> None:
    import tracemalloc

    def most(units: int) -> int:
        rbm = RBM(units, units)
        tracemalloc.start()
        rbm.log_partition().backward()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    most(14)
    assert most(17) < 2 * most(14)  # eight times as many states; without checkpoints 6.9 times the memory


def test_large_weights_keep_their_digits() -> None:
    rbm = RBM(1, 1)
    with tg.no_grad():
        rbm.weight.fill_(800.0)
    assert rbm.log_partition().item() == 800.0
    rbm.log_partition().backward()
    assert rbm.weight.grad is not None and rbm.weight.grad.item() == 1.0
    with tg.no_grad():
        rbm.weight.fill_(25.0)  # nn.functional.softplus is off by 1e-11 here
    exact = math.log(3 + math.exp(25.0))
    assert abs(rbm.log_partition().item() - exact) < 1e-14


def test_gibbs_sampling_has_the_distribution_of_the_machine() -> None:
    rbm = machine(4, 3)
    v = rbm.gibbs(tg.zeros(20_000, 4), 30, tg.Generator().manual_seed(0))
    numbers = (v.numpy() @ [8, 4, 2, 1]).astype(int)
    found = np.bincount(numbers, minlength=16) / len(v)
    expected = rbm.log_likelihood(states(4)).exp().detach().numpy()
    error = np.sqrt(expected * (1 - expected) / len(v))
    assert float((abs(found - expected) / error).max()) < 4.5  # 16 binomial shares; 4.5 sigma: p = 1e-4
    assert float(abs(found - 1 / 16).max()) > 0.05


def test_contrastive_divergence_is_a_difference_of_statistics() -> None:
    rbm, data = machine(5, 3), states(5)[3:9]
    generator = tg.Generator().manual_seed(7)
    rbm.contrastive_divergence(data, 2, generator).backward()
    again = tg.Generator().manual_seed(7)
    after = rbm.gibbs(data, 2, again)
    positive, negative = rbm.data_statistics(data), rbm.data_statistics(after)
    for parameter, more, less in zip(rbm.parameters(), positive, negative, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), (less - more).numpy(), atol=1e-14)  # type: ignore[union-attr]
    assert float(abs(positive.weight - negative.weight).max()) > 0.01


def test_persistent_chains_go_on_where_they_were() -> None:
    rbm, data = machine(5, 3), states(5)[3:9]
    chains = PersistentChains(rbm, 50, 3, tg.Generator().manual_seed(1))
    first = chains.v
    again = tg.Generator().manual_seed(1)
    tg.bernoulli(tg.full((50, 5), 0.5), generator=again)
    chains.loss(data)
    assert tg.equal(chains.v, rbm.gibbs(first, 3, again))
    second = chains.v
    chains.loss(data)
    assert tg.equal(chains.v, rbm.gibbs(second, 3, again))
    assert set(chains.v.reshape(-1).tolist()) == {0.0, 1.0} and not chains.v.requires_grad


@pytest.mark.parametrize(("method", "least"), [("exact", -1.7), ("pcd", -2.8), ("cd", -2.0)])
def test_learning_raises_log_p(method: Any, least: float) -> None:
    """Three of 64 patterns: the best is -log 3 = -1.10.  Bounds: worst of 20 seeds -1.61, -2.58, -1.79."""
    data = tg.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1.0, 0, 1, 0, 1, 0]])
    generator = tg.Generator().manual_seed(0)
    rbm = RBM(6, 6, generator=generator)
    before = rbm.log_likelihood(data).mean().item()
    fit(rbm, data.repeat(10, 1), 600, method=method, lr=0.2, chains=100, generator=generator)
    assert before == pytest.approx(-6 * math.log(2), abs=0.01)
    assert least < rbm.log_likelihood(data).mean().item() <= -math.log(3)


# stacks --------------------------------------------------------------------------------------------------------------


def test_a_net_of_two_and_three_layers_equals_the_literal_sum() -> None:
    """Of ancestral probabilities: P(v | h1) P(h1 | h2) p(h2), every state of every layer in a loop."""
    one, two, three = machine(3, 2, 1), machine(2, 3, 2), machine(3, 2, 3)

    def conditional(rbm: RBM, v: tuple[int, ...], h: tuple[int, ...]) -> float:
        weights = joint(rbm)
        return weights[v, h] / sum(weights[u, h] for u in itertools.product((0, 1), repeat=rbm.visible))

    for layers in ([one, two], [one, two, three]):
        _, top, _ = literal(layers[-1])
        p = top
        for rbm in reversed(layers[:-1]):
            p = {
                v: sum(conditional(rbm, v, h) * q for h, q in p.items())
                for v in itertools.product((0, 1), repeat=rbm.visible)
            }
        v = states(3)
        net = DeepBeliefNet(layers)
        np.testing.assert_allclose(
            net.log_likelihood(v).exp().detach().numpy(), [p[tuple(map(int, r))] for r in v.tolist()], rtol=1e-12
        )
        assert bool((net.bound(v) < net.log_likelihood(v) - 1e-6).all())


def test_the_bound_is_exact_for_a_mirrored_machine_and_rises_with_it() -> None:
    below = machine(4, 3)
    data = states(4)[[3, 12, 9]]
    net = DeepBeliefNet([below, mirrored(below)])
    plain = below.log_likelihood(data)
    np.testing.assert_allclose(net.log_likelihood(data).detach().numpy(), plain.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(net.bound(data).detach().numpy(), plain.detach().numpy(), rtol=1e-12)
    # the expected log p(h) under Q, by exact maximum likelihood of the upper machine
    upper = net.layers[1]
    h = states(3)
    logits = below.hidden_bias + data @ below.weight
    q = tg.exp((h * logits.unsqueeze(1) - tg.logaddexp(logits, tg.zeros_like(logits)).unsqueeze(1)).sum(-1)).detach()
    optimizer = tg.optim.SGD(upper.parameters(), lr=0.2)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = -(q @ upper.log_likelihood(h)).mean()
        loss.backward()
        optimizer.step()
        values.append(net.bound(data).mean().item())
        assert values[-1] <= net.log_likelihood(data).mean().item() + 1e-12
    assert all(later > earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] > plain.mean().item() + 0.01


def test_ancestral_samples_have_the_distribution_of_the_net() -> None:
    net = DeepBeliefNet([machine(3, 3, 1), machine(3, 2, 2)])
    v = net.sample(20_000, 40, tg.Generator().manual_seed(0))
    found = np.bincount((v.numpy() @ [4, 2, 1]).astype(int), minlength=8) / len(v)
    expected = net.log_likelihood(states(3)).exp().detach().numpy()
    assert float((abs(found - expected) / np.sqrt(expected * (1 - expected) / len(v))).max()) < 4.3
    assert float(abs(found - 1 / 8).max()) > 0.05


def test_a_stack_learns_layer_by_layer() -> None:
    data = tg.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    generator = tg.Generator().manual_seed(0)
    net = stack(data, [3, 6, 2], 400, method="exact", lr=0.3, generator=generator)
    assert [(m.visible, m.hidden) for m in net.layers] == [(6, 3), (3, 6), (6, 2)]
    assert net.log_likelihood(data).mean().item() > -1.0
    untied = stack(data, [3, 6], 0, tied=False, generator=generator)
    assert not tg.allclose(untied.layers[1].weight, untied.layers[0].weight.T)
    tied = stack(data, [3, 6], 0, generator=generator)
    assert tg.equal(tied.layers[1].weight, tied.layers[0].weight.T)


def test_one_seed_one_machine() -> None:
    def run(seed: int) -> bytes:
        generator = tg.Generator().manual_seed(seed)
        net = stack(states(4)[5:9], [3, 4], 20, k=2, generator=generator)
        return (
            b"".join(p.detach().numpy().tobytes() for p in net.parameters())
            + net.sample(5, 3, generator).numpy().tobytes()
        )

    assert run(0) == run(0) != run(1)


def test_wrong_arguments() -> None:
    rbm = RBM(4, 2)
    with pytest.raises(ArgumentError, match="needs a unit in each layer"):
        RBM(0, 2)
    with pytest.raises(ShapeError, match=r"v must be \(..., 4\), got \[3\]"):
        rbm.free_energy(tg.zeros(3))
    with pytest.raises(ShapeError, match=r"h must be \(..., 2\)"):
        rbm.energy(tg.zeros(4), tg.zeros(3))
    with pytest.raises(ShapeError, match=r"cases must be \(N, 4\)"):
        rbm.data_statistics(tg.zeros(4))
    with pytest.raises(ArgumentError, match="21 units has 2\\^21 terms"):
        RBM(21, MOST + 1).log_partition()
    with pytest.raises(ArgumentError, match="more states than can be enumerated"):
        states(21)
    with pytest.raises(ArgumentError, match="steps must be 0 or more"):
        rbm.gibbs(tg.zeros(1, 4), -1)
    with pytest.raises(ArgumentError, match="k must be 1 or more"):
        rbm.contrastive_divergence(tg.zeros(1, 4), 0)
    with pytest.raises(ArgumentError, match="needs chains and steps"):
        PersistentChains(rbm, 0)
    with pytest.raises(ArgumentError, match="method must be"):
        fit(rbm, tg.zeros(1, 4), 1, method="cd1")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="needs a machine"):
        DeepBeliefNet([])
    with pytest.raises(ShapeError, match="2 hidden units below, 3 visible units above"):
        DeepBeliefNet([rbm, RBM(3, 2)])
    with pytest.raises(ArgumentError, match="of one layer alone"):
        DeepBeliefNet([rbm]).bound(tg.zeros(1, 4))
    with pytest.raises(ArgumentError, match="needs the size of a layer"):
        stack(tg.zeros(1, 4), [], 1)
