"""Hooks of modules, before and after forward and in the backward sweep."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.nn.models import net, quietly
from tinygrad_rnn import nn


class Twice(nn.Module):
    def forward(self, x: Any, plus: Any = 0) -> Any:
        return x * 2 + plus


def test_hooks_run_in_order_may_replace_and_can_be_removed() -> None:
    m = Twice()
    first = m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m.register_forward_pre_hook(lambda module, args: args[0] * 10, prepend=True)
    m.register_forward_hook(lambda module, args, out: out + 0.5)
    seen: list[Any] = []
    last = m.register_forward_hook(lambda module, args, out: seen.append((args, out)))
    assert m(1) == 22.5
    assert seen == [((11,), 22.5)]
    first.remove(), first.remove(), last.remove()
    assert m(1) == 20.5 and len(seen) == 1


def test_hooks_with_keywords_see_and_replace_them() -> None:
    m = Twice()
    m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"plus": kwargs["plus"] + 1}), with_kwargs=True)
    m.register_forward_hook(lambda module, args, kwargs, out: (out, kwargs["plus"]), with_kwargs=True)
    assert m(1, plus=5) == (8, 6)
    m.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        m(1, plus=5)


def test_a_hook_that_is_always_called_runs_after_an_error() -> None:
    m = Twice()
    seen: list[Any] = []
    m.register_forward_hook(lambda module, args, out: seen.append(out), always_call=True)
    m.register_forward_hook(lambda module, args, out: seen.append("not reached"))
    with pytest.raises(TypeError):
        m(None)
    assert seen == [None]
    m.register_forward_hook(lambda module, args, out: 1 / 0, always_call=True)
    with pytest.raises(TypeError), pytest.warns(UserWarning, match="always_call=True"):
        m(None)


def test_a_hook_used_as_a_context_is_gone_after_it() -> None:
    m = Twice()
    with m.register_forward_hook(lambda module, args, out: 0):
        assert m(1) == 0
    assert m(1) == 2


def test_modules_leave_no_cycles_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        model = net(tg)
        model(tg.tensor([1, 2])).sum().backward()
        model.register_forward_hook(lambda module, args, out: None)
        watch = [weakref.ref(model), weakref.ref(model.body[0]), weakref.ref(model.scale)]
        del model
        assert [w() for w in watch] == [None] * 3
    finally:
        gc.enable()


# backward hooks ----------------------------------------------------------------------------------------------


def hooked(lib: Any) -> list[Any]:
    """What hooks see, and the gradients that are left after they replaced some."""

    class Two(lib.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, y: Any, k: int) -> Any:
            return x * y, x + k

    seen: list[Any] = []

    def plain(grads: Any) -> Any:
        return tuple(None if g is None else g.tolist() for g in grads)

    m = Two()
    m.register_full_backward_pre_hook(lambda module, after: seen.append(("pre", plain(after))))
    m.register_full_backward_pre_hook(lambda module, after: (after[0] * 2, after[1]))
    m.register_full_backward_hook(lambda module, before, after: seen.append((plain(before), plain(after))))
    last = m.register_full_backward_hook(lambda module, before, after: (before[0] * 10, before[1], None))
    x, y = lib.tensor([1.0, 2.0], requires_grad=True), lib.tensor([3.0, 4.0], requires_grad=True)
    for _ in range(2):
        a, b = m(x, y, 5)
        (a.sum() + 7 * b.sum()).backward()
        seen.append((x.grad.tolist(), y.grad.tolist()))
        last.remove()
    (grad,) = lib.autograd.grad(m(x, y, 1)[0].sum(), x, create_graph=True)
    grad.sum().backward()
    seen.append(y.grad.tolist())
    layer = lib.nn.Linear(2, 1)
    lib.nn.init.ones_(layer.weight)
    lib.nn.init.zeros_(layer.bias)
    layer.register_full_backward_hook(lambda module, before, after: seen.append(("layer", plain(before), plain(after))))
    layer(lib.zeros(1, 2)).sum().backward()
    chain = lib.nn.Sequential(layer, lib.nn.Tanh())
    x.grad = None
    chain(x[None] * 0).sum().backward()
    seen.append(x.grad.tolist())
    with lib.no_grad():
        layer(lib.zeros(1, 2))
    return seen


def test_backward_hooks_see_and_replace_what_they_do_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = hooked(tg)
    assert ours == quietly(lambda: hooked(torch))


def test_a_backward_hook_that_returns_too_many_gradients_is_refused() -> None:
    m = Twice()
    m.register_full_backward_hook(lambda module, before, after: (before[0], before[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        m(tg.ones(1, requires_grad=True)).sum().backward()


def test_backward_hooks_need_tensors_as_outputs() -> None:
    class Named(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"out": x * 2}

    m = Named()
    m.register_full_backward_hook(lambda module, before, after: None)
    with pytest.warns(UserWarning, match="For backward hooks to be called"):
        m(tg.ones(1, requires_grad=True))


def test_a_write_inside_a_module_with_backward_hooks_does_not_reach_its_input() -> None:
    layer = nn.ReLU(inplace=True)
    layer.register_full_backward_hook(lambda module, before, after: None)
    x = tg.tensor([-1.0, 2.0], requires_grad=True)
    layer(x).sum().backward()
    assert x.tolist() == [-1.0, 2.0] and x.grad.tolist() == [0.0, 1.0]  # type: ignore[union-attr]
