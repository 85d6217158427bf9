"""Small parameters are updated together, large ones in pieces: the numbers are those of one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.optim import workspace
from tinygrad_rnn.optim.workspace import BLOCK, SMALL

SHAPES = [*[(5, 3)] * 30, (1,), (), (0,), (SMALL,), (SMALL + 1,), (2, BLOCK), *[(60, 60)] * 25]
KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "maximize": True},
    "Adam": {"amsgrad": True, "weight_decay": 0.01},
    "AdamW": {},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {"lr_decay": 0.1},
    "Rprop": {},
    "ASGD": {"t0": 1},
}


def trained(kind: str, options: dict[str, Any], shapes: Any, together: bool) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(0)
    params = [tg.tensor(rng.standard_normal(s).astype(np.float32)).requires_grad_() for s in shapes]
    groups = [params] if together else [[p] for p in params]
    optimizers = [getattr(tg.optim, kind)(group, **options) for group in groups]
    for step in range(3):
        for k, p in enumerate(params):
            p.grad = tg.tensor(rng.standard_normal(p.shape).astype(np.float32))
            if step == 1 and k % 7 == 0:
                p.grad = None
        for optimizer in optimizers:
            optimizer.step()
    return params, optimizers


@pytest.mark.parametrize("kind", KINDS)
def test_together_or_one_by_one_the_bits_are_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    joined, _ = trained(kind, KINDS[kind], SHAPES, True)
    alone, _ = trained(kind, KINDS[kind], SHAPES, False)
    whole, _ = trained(kind, KINDS[kind], SHAPES, True)
    monkeypatch.setattr(workspace, "BLOCK", 1 << 40)
    monkeypatch.setattr(workspace, "SMALL", -1)
    plain, _ = trained(kind, KINDS[kind], SHAPES, True)
    for a, b, c, d in zip(joined, alone, whole, plain, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        np.testing.assert_array_equal(a.detach().numpy(), c.detach().numpy())
        np.testing.assert_array_equal(a.detach().numpy(), d.detach().numpy())


def test_states_are_joined_and_parted_again() -> None:
    params, (optimizer,) = trained("Adam", {}, [(5, 3)] * 4, True)
    _, singles = trained("Adam", {}, [(5, 3)] * 4, False)
    for p, single in zip(params, singles, strict=True):
        (other,) = single.state.values()
        for key, value in optimizer.state[p].items():
            np.testing.assert_array_equal(value.numpy(), other[key].numpy())
    assert optimizer.state[params[0]]["step"].item() == 2 and optimizer.state[params[1]]["step"].item() == 3


def test_memory_that_others_share_is_written_in_place() -> None:
    held = np.ones((3, 4), np.float32)
    whole = tg.as_tensor(held)
    params = [whole[k].requires_grad_() for k in range(3)] + [tg.ones(4).requires_grad_() for _ in range(3)]
    twin = params[4].data
    for p in params:
        p.grad = tg.ones(4)
    tg.optim.SGD(params, lr=0.25).step()
    assert set(held.ravel()) == {0.75} and twin.tolist() == [0.75] * 4


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters")
def test_a_parameter_that_is_given_twice_moves_twice() -> None:
    p, q = tg.ones(2).requires_grad_(), tg.ones(2).requires_grad_()
    p.grad, q.grad = tg.ones(2), tg.ones(2)
    tg.optim.SGD([p, q, p], lr=0.25).step()
    assert p.tolist() == [0.5, 0.5] and q.tolist() == [0.75, 0.75]


def test_gradients_of_other_layouts_and_dtypes_of_parameters() -> None:
    params = [tg.ones(2, 3, dtype=tg.float64 if k % 2 else tg.float32).requires_grad_() for k in range(6)]
    for p in params:
        p.grad = tg.tensor(np.arange(6.0).reshape(3, 2).astype(p.dtype)).T
    tg.optim.SGD(params, lr=0.5).step()
    expected = 1 - 0.5 * np.arange(6.0).reshape(3, 2).T
    for p in params:
        np.testing.assert_array_equal(p.detach().numpy(), expected)
