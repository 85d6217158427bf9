"""Optimisers and clipping run on device arrays, give what they give on the host, and never wait for the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import optim_cases as cases
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from tinygrad_rnn.optim.workspace import BLOCK


def train(xp: Any, name: str, rate_on_device: bool = False) -> list[np.ndarray]:
    """Twenty clipped steps of a case; the parameters at the end."""
    kind, options, second = cases.CASES[name]
    start, gradients = cases.problem()
    params = [tg.as_tensor(xp.asarray(x.astype("float32"))).requires_grad_() for x in start]
    groups = [{"params": params}] if second is None else [{"params": params[:2]}, {"params": params[2:], **second}]
    if rate_on_device:
        options = {**options, "lr": tg.as_tensor(xp.asarray(np.float32(0.05)))}
    optimizer = getattr(tg.optim, kind)(groups, **options)
    on_device = [[None if g is None else tg.as_tensor(xp.asarray(g.astype("float32"))) for g in s] for s in gradients]
    before = getattr(xp, "syncs", 0)
    for step in on_device:
        for p, g in zip(params, step, strict=True):
            p.grad = g
        clip_grad_norm_(params, 1.0)
        clip_grad_value_(params, 0.5)
        optimizer.step()
        optimizer.zero_grad()
    assert getattr(xp, "syncs", 0) == before
    return [to_numpy(p._data) for p in params]


# The same operations in the same order: on the double equal, on a GPU up to its fused multiply-add and its powers.
@pytest.mark.parametrize("rate_on_device", [False, True])
def test_steps_on_a_device_are_those_on_the_host_and_wait_for_nothing(xp: Any, rate_on_device: bool) -> None:
    for name in cases.CASES:
        expected = train(np, name, rate_on_device)
        for ours, theirs in zip(train(xp, name, rate_on_device), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("norm", [2.0, 1.0, 3.0, 0.0, np.inf, -np.inf])
def test_norms_stay_on_the_device(double: Any, norm: float) -> None:
    values = [np.arange(6, dtype="float32").reshape(2, 3) - 2, np.array([0.5, -7.0], "float32")]
    total = get_total_norm([tg.as_tensor(double.asarray(v)) for v in values], norm)
    assert isinstance(total._data, double.ndarray) and total.shape == ()
    assert total.item() == get_total_norm([tg.tensor(v) for v in values], norm).item()


def test_gradients_of_two_devices_are_clipped_together(double: Any) -> None:
    p = tg.as_tensor(double.asarray(np.zeros(2, "float32"))).requires_grad_()
    q = tg.zeros(1, requires_grad=True)
    for params in ([p, q], [q, p]):
        p.grad, q.grad = tg.as_tensor(double.asarray(np.array([3.0, 4.0], "float32"))), tg.tensor([12.0])
        total = clip_grad_norm_(params, 6.5)
        assert total.device == params[0].device and total.item() == 13.0
        np.testing.assert_allclose([*p.grad.tolist(), *q.grad.tolist()], [1.5, 2.0, 6.0], rtol=1e-6)


def test_a_nonfinite_gradient_on_the_device_is_named(double: Any) -> None:
    p = tg.as_tensor(double.asarray(np.zeros(3, "float32"))).requires_grad_()
    p.grad = tg.as_tensor(double.asarray(np.array([np.nan, 1.0, np.inf], "float32")))
    with pytest.raises(RuntimeError, match=r"parameters\[0\] of shape \(3,\): 1 nan, 1 inf among 3 entries"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


def test_state_moves_to_the_device_of_the_parameter_and_the_count_stays(double: Any) -> None:
    def adam(module: Any) -> tuple[Any, Any]:
        p = tg.as_tensor(module.asarray(np.array([1.0, 2.0]))).requires_grad_()
        return p, tg.optim.Adam([p])

    here, optimizer = adam(np)
    here.grad = tg.tensor(np.array([0.5, -1.0]))
    optimizer.step()
    there, other = adam(double)
    other.load_state_dict(optimizer.state_dict())
    assert isinstance(other.state[there]["exp_avg"]._data, double.ndarray)
    assert type(other.state[there]["step"]._data) is np.ndarray
    back, third = adam(np)
    third.load_state_dict(other.state_dict())
    assert third.state[back]["exp_avg"].tolist() == optimizer.state[here]["exp_avg"].tolist()
    assert third.state[back]["step"].item() == 1


def test_arrays_on_a_device_are_not_cut(double: Any) -> None:
    p = tg.as_tensor(double.asarray(np.ones(2 * BLOCK + 1, "float32"))).requires_grad_()
    p.grad = tg.as_tensor(double.asarray(np.ones(2 * BLOCK + 1, "float32")))
    optimizer = tg.optim.SGD([p], lr=0.5)
    assert len(list(optimizer._workspace.blocks([(p._data, p.grad._data)], scratch=1))) == 1
    optimizer.step()
    assert set(to_numpy(p._data)) == {0.5}


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_runs_on_a_device(double: Any, line_search: str | None) -> None:
    ends = []
    for module in (np, double):
        p = tg.as_tensor(module.asarray(np.array([-0.5, 0.3, 0.2]))).requires_grad_()
        optimizer = tg.optim.LBFGS([p], line_search_fn=line_search)

        def closure(p: Any = p, module: Any = module) -> Any:
            loss, gradient = cases.rosenbrock(to_numpy(p._data))
            p.grad = tg.as_tensor(module.asarray(gradient))
            return tg.tensor(np.array(loss))

        for _ in range(2):
            optimizer.step(closure)
            optimizer.load_state_dict(optimizer.state_dict())
        ends.append(to_numpy(p._data))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-12)
