"""Flow, shares and lag matrices of random recurrent layers, raced against the engine on layers unrolled by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.diagnostics.naive import Case, Unrolled, case, loss_of, losses_of, unrolled
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn.autograd.functional import jacobian_of
from tinygrad_rnn.diagnostics.recurrence import ran

TOLERANCE = 1e-12
"""Of a norm: some 100 products of numbers of order 1, each rounded to 1e-16."""


def places(c: Case) -> list[tuple[int, int]]:
    return [(k, r) for k in range(c.layer.num_layers) for r in range(c.layer._directions)]


def close(found: Any, expected: Any, what: str) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    scale = float(abs(expected).max(initial=0))
    assert found.shape == expected.shape, what
    assert float(abs(found - expected).max(initial=0)) <= TOLERANCE * scale, f"{what}: {found} and {expected}"


def close_logs(found: Any, norms: Any, what: str) -> None:
    """Logarithms of norms against norms; a norm of 0 is -inf, and nothing else is."""
    found, norms = np.asarray(found), np.asarray(norms)
    assert ((norms == 0) == (found == -np.inf)).all(), f"{what}: {found} and {norms}"
    alive = norms > 0
    assert np.all(abs(np.exp(found[alive]) / norms[alive] - 1) <= TOLERANCE), f"{what}: {found} and {norms}"


def own_visits(seen: Unrolled, sequence: int) -> list[int]:
    return [v for v, n in enumerate(seen.sizes) if n > sequence]


def race_flow(c: Case, number: int) -> int:
    layer, x, hx = c.layer, c.x, c.hx
    with unrolled(layer) as found:
        layer(x, hx)
    place = places(c)[number]
    seen = found[place]
    batch = seen.states[0][0].shape[0]
    rng = np.random.default_rng(number)
    sequence = int(rng.integers(batch))
    visits = own_visits(seen, sequence)
    last = int(rng.integers(len(visits)))
    of = int(rng.integers(len(seen.states)))
    names = layer._state_names()
    result = d.flow(layer, x, hx, end=seen.times[visits[last]], of=names[of], sequence=sequence, layer=number)
    ends = seen.states[of][visits[last] + 1]
    compared = 0
    before = [[series[v] for v in visits[: last + 1]] + [series[visits[last] + 1]] for series in seen.states]
    for k in range(last + 2):
        wanted = tuple([series[k] for series in before])
        if not ends.requires_grad:
            continue
        blocks = [
            np.zeros((ends.shape[1], w.shape[1]))
            if not w.requires_grad
            else jacobian_of(ends[sequence], w, allow_unused=True).numpy()[:, sequence]
            for w in wanted
        ]
        log, matrix = result.matrix(k)
        close(np.exp(log) * matrix, np.concatenate(blocks, 1), f"{c.words}: matrix {k}")
        for name, block in zip(names, blocks, strict=True):
            close_logs(result.log_norms[name][k], np.linalg.norm(block), f"{c.words}: flow to {name} {k}")
        compared += sum(np.count_nonzero(b) for b in blocks)
    assert list(result.times[1:]) == [seen.times[v] for v in visits[: last + 1]]
    return compared


def race_shares(c: Case) -> int:
    layer, x, hx = c.layer, c.x, c.hx
    loss = loss_of(c, 1)
    with unrolled(layer) as found:
        loss(layer(x, hx)).backward()
    result = d.shares(layer, loss, ((x, hx) if hx is not None else x,))
    layer.zero_grad()
    loss(layer(x, hx)).backward()
    grads = {name: p.grad for name, p in layer.named_parameters()}
    compared = 0
    for one in result.of:
        number, reverse = next(
            (k, r)
            for k, r in places(c)
            if f"layer {k}" + " reverse" * r in one.place[-16:] and one.place.endswith("reverse") == bool(r)
        )
        seen = found[number, reverse]
        assert list(one.times) == seen.times
        expected = [copies[one.parameter].grad for copies in seen.copies]
        arrays = [np.zeros(one.total.shape) if g is None else g.numpy() for g in expected]
        close_logs(one.log_norm, [np.linalg.norm(a) for a in arrays], f"{c.words}: {one.parameter}")
        visit = len(arrays) // 2
        log, array = result.array(one.parameter, seen.times[visit], one.place)
        close(np.exp(log) * array, arrays[visit], f"{c.words}: share of {one.parameter} at {visit}")
        compared += sum(np.count_nonzero(a) for a in arrays)
    for name in result.parameters:
        gradient = grads[name].numpy()
        np.testing.assert_allclose(result.total(name), gradient, rtol=1e-12, atol=1e-13 * abs(gradient).max())
        close(result.gradient[name], gradient, f"{c.words}: gradient of {name}")
    known = {s.parameter for s in result.of}
    used = {
        name for seen in found.values() for copies in seen.copies for name, p in copies.items() if p.grad is not None
    }
    assert known >= used, f"{c.words}: {used - known} have no shares"
    return compared


def race_lags(c: Case, number: int) -> int:
    layer, x, hx = c.layer, c.x, c.hx
    losses = losses_of(c, 2)
    with unrolled(layer) as found:
        given = losses(layer(x, hx))
    seen = found[places(c)[number]]
    result = d.lag_matrix(layer, x, losses, hx, layer=number)
    names = layer._state_names()
    compared = 0
    for i in range(given.shape[0]):
        for v, t in enumerate(seen.times):
            states = [series[v + 1] for series in seen.states]
            n = seen.sizes[v]
            for name, s in zip(names, states, strict=True):
                if not s.requires_grad:
                    continue
                (g,) = tg.autograd.grad(given[i], s, retain_graph=True, allow_unused=True)
                norm = 0.0 if g is None else float(np.linalg.norm(g.numpy()[:n]))
                close_logs(result.log_norms[name][i, t], norm, f"{c.words}: loss {i} to {name} {t}")
                compared += norm > 0
    return compared


def race(seed: int, kernel: str = "numpy") -> int:
    with tg.backends.recurrent.only(kernel):
        c = case(seed)
        number = seed % len(places(c))
        return race_flow(c, number) + race_shares(c) + race_lags(c, number)


SEEDS = [0, 2, 10, 12, 14, 15, 18, 21, 26, 35, 41, 43, 46, 47, 48, 50, 51, 78, 95, 98, 104, 115, 122, 123, 137]
"""Of the 200, such that all ways of finding steps occur, in both directions, packed and not: see below."""


@pytest.mark.parametrize("part", range(5))
def test_flow_shares_and_lags_are_those_of_the_engine(part: int) -> None:
    assert sum(race(seed) for seed in SEEDS[part::5]) > 500


def test_the_layers_that_are_raced_are_of_all_kinds() -> None:
    kinds = set()
    for seed in SEEDS:
        c = case(seed)
        for r in ran(c.layer, c.x, c.hx):
            if r.sizes is None or len(set(r.sizes)) > 1:
                kinds.add((type(r).__name__, type(r.steps()).__name__, r.sizes is not None, r.reverse))
    assert len(kinds) == 5 * 2 * 2


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(0, 200, 10))
def test_flow_shares_and_lags_of_200_layers(first: int) -> None:
    assert sum(race(seed, "auto" if seed % 4 == 0 else "numpy") for seed in range(first, first + 10)) > 1000
