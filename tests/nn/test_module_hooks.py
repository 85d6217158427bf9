"""Hooks of modules, before and after forward and in the backward sweep."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import pathlib
import warnings
import weakref
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.golden import module_hook_cases as cases
from tests.nn.models import net, quietly
from tinygrad_rnn import nn
from tinygrad_rnn.nn.module.hooks import ANYWHERE, EVERYWHERE


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
    assert quietly(lambda: hooked(tg)) == quietly(lambda: hooked(torch))


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


GOLDEN = json.loads(
    gzip.decompress((pathlib.Path(__file__).parents[1] / "golden" / "module_hooks.json.gz").read_bytes())
)
BY_MODULE = {name: list(group) for name, group in itertools.groupby(cases.combinations(), key=lambda names: names[0])}


def same(ours: Any, theirs: Any) -> bool:
    """Equal, numbers to the digits that are kept."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list):
        return isinstance(ours, list) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float):
        return isinstance(ours, (int, float)) and ours == pytest.approx(theirs, rel=2e-3, abs=1e-6)
    return bool(ours == theirs)


@pytest.mark.parametrize("module", BY_MODULE)
def test_hooks_see_and_do_what_they_do_in_pytorch(module: str) -> None:
    """Numbers are kept to four digits, which may be rounded otherwise elsewhere."""
    for names in BY_MODULE[module]:
        expected = GOLDEN[" | ".join(names)]
        ours = json.loads(json.dumps(cases.run(tg, *names)))
        assert same(ours, expected), (names, ours, expected)


def test_the_stored_programs_are_what_pytorch_does_here() -> None:
    torch = pytest.importorskip("torch")
    assert sorted(GOLDEN) == sorted(" | ".join(names) for names in cases.combinations())
    assert len(GOLDEN) > 500
    for names in list(cases.combinations())[::7]:
        assert same(json.loads(json.dumps(cases.run(torch, *names))), GOLDEN[" | ".join(names)]), names


def test_an_lstm_shows_the_gradients_of_its_output_and_takes_other_ones_for_its_input() -> None:
    m = nn.LSTM(2, 3)
    seen: list[Any] = []

    def look(module: Any, before: Any, after: Any) -> Any:
        seen.append([[None if g is None else tuple(g.shape) for g in grads] for grads in (before, after)])
        return (before[0] * 0, *before[1:])

    m.register_full_backward_hook(look)
    x, h = tg.ones(4, 1, 2, requires_grad=True), tg.zeros(1, 1, 3, requires_grad=True)
    m(x)[0].sum().backward()
    m(x, (h, h))[0].sum().backward()
    assert seen == [[[(4, 1, 2)], [(4, 1, 3), None]], [[(4, 1, 2), None], [(4, 1, 3), None]]]
    assert x.grad is not None and x.grad.abs().sum() == 0
    assert h.grad is not None and h.grad.abs().sum() > 0.01  # inside a tuple: no argument of the hook's


def test_a_packed_sequence_passes_a_border_and_stays_one() -> None:
    class Packs(nn.Module):
        def forward(self, x: Any) -> Any:
            return nn.utils.rnn.pack_padded_sequence(x * 2, [3, 1])

    m = Packs()
    seen: list[Any] = []
    m.register_full_backward_hook(lambda module, before, after: seen.append([g is not None for g in after]))
    x = tg.ones(3, 2, 1, requires_grad=True)
    packed = m(x)
    assert isinstance(packed, nn.utils.rnn.PackedSequence) and packed.batch_sizes.tolist() == [2, 1, 1]
    out, _ = nn.RNN(1, 2)(packed)
    out.data.sum().backward()
    assert seen == [[True, False, False, False]] and x.grad is not None


def test_hooks_of_all_modules_run_first_and_are_gone_when_removed() -> None:
    register = nn.modules.module
    m = nn.Linear(2, 2)
    order: list[str] = []
    m.register_forward_hook(lambda module, args, out: order.append("own"))
    with register.register_module_forward_hook(lambda module, args, kwargs, out: order.append("all"), with_kwargs=True):
        m(tg.zeros(1, 2))
    m(tg.zeros(1, 2))
    assert order == ["all", "own", "own"]
    late: list[Any] = []
    handle = register.register_module_forward_hook(lambda module, args, out: late.append(out), always_call=True)
    with handle, pytest.raises(TypeError):
        Twice()(None)
    assert late == [None]


def test_hooks_of_registration_see_and_replace_what_a_module_gets() -> None:
    register = nn.modules.module
    names: list[Any] = []
    note = lambda module, name, value: names.append((name, type(value).__name__))  # noqa: E731
    with (
        register.register_module_parameter_registration_hook(note),
        register.register_module_buffer_registration_hook(note),
        register.register_module_module_registration_hook(note),
    ):
        m = nn.Linear(2, 1, bias=False)
        m.register_buffer("seen", tg.zeros(1))
        m.inner = nn.Tanh()
        m.add_module("added", nn.ReLU())
        m.inner = None
        m.seen = tg.ones(1)
    assert names == [
        ("weight", "Parameter"),
        ("seen", "Tensor"),
        ("inner", "Tanh"),
        ("added", "ReLU"),
        ("inner", "NoneType"),
        ("seen", "Tensor"),
    ]
    with register.register_module_module_registration_hook(lambda module, name, value: nn.ReLU()):
        m.inner = nn.Tanh()
    assert isinstance(m.inner, nn.ReLU)


def test_backward_hooks_of_both_kinds_on_one_module_are_refused() -> None:
    for first, second in (("full_backward", "backward"), ("backward", "full_backward")):
        m = nn.Tanh()
        getattr(m, f"register_{first}_hook")(lambda module, before, after: None)
        with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
            getattr(m, f"register_{second}_hook")(lambda module, before, after: None)


def test_a_hook_of_the_old_kind_sees_and_replaces_at_the_last_operation() -> None:
    m = nn.Tanh()
    m.register_backward_hook(lambda module, before, after: (before[0] * 10,))
    x = tg.zeros(2, requires_grad=True)
    with pytest.warns(FutureWarning, match="multiple autograd Nodes"):
        m(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [10.0, 10.0]
    two = Pairs()
    two.register_backward_hook(lambda module, before, after: None)
    with pytest.warns(FutureWarning, match="outputs are generated by different autograd Nodes"):
        two(x * 1)
    with pytest.warns(FutureWarning, match="take as input a single Tensor or a tuple of Tensors"):
        two(x * 1, 3)


class Pairs(nn.Module):
    def forward(self, x: Any, k: int = 1) -> Any:
        return x * 2, x.sin()


def test_backward_hooks_without_gradients_of_inputs_must_return_none() -> None:
    m = nn.Linear(2, 1)
    m.register_full_backward_hook(lambda module, before, after: (tg.ones(1, 2),))
    with (
        pytest.warns(UserWarning, match="Full backward hook is firing"),
        pytest.raises(RuntimeError, match="should always return None or None for all gradients"),
    ):
        m(tg.ones(1, 2)).sum().backward()


def test_what_a_backward_hook_writes_goes_on_from_there_and_nowhere_else() -> None:
    m = Twice()
    m.register_full_backward_hook(lambda module, before, after: [g.mul_(5) for g in (*before, *after)].clear())
    x, seed = tg.ones(1, requires_grad=True), tg.tensor([3.0])
    m(x).backward(seed)
    assert seed.tolist() == [3.0] and x.grad is not None and x.grad.tolist() == [30.0]


def test_a_state_without_gradient_that_a_hooked_module_writes_to_is_written_to() -> None:
    class Counts(nn.Module):
        def forward(self, x: Any, count: Any) -> Any:
            count += 1
            return x * 2, count

    m = Counts()
    m.register_full_backward_hook(lambda module, before, after: None)
    count = tg.zeros(1)
    _, after = m(tg.ones(1, requires_grad=True), count)
    assert count.item() == 1 and after.item() == 1


def test_a_hook_that_removes_a_later_one_lets_it_run_once_more() -> None:
    m = Twice()
    seen: list[str] = []
    handles: list[Any] = []
    m.register_forward_hook(lambda module, args, out: handles[0].remove())
    handles.append(m.register_forward_hook(lambda module, args, kwargs, out: seen.append("ran"), with_kwargs=True))
    m(1), m(1)
    assert seen == ["ran"]


def test_calls_with_backward_hooks_leave_no_cycles_behind() -> None:
    m = nn.LSTM(2, 3)
    m.register_full_backward_hook(lambda module, before, after: None)
    m.register_full_backward_pre_hook(lambda module, after: None)
    x = tg.ones(4, 1, 2, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
        gc.disable()
        try:
            for sweep in (True, False):
                out, _ = m(x * 1)
                watch = [weakref.ref(out), weakref.ref(out._data)]
                if sweep:
                    out.sum().backward()
                del out
                assert [w() for w in watch] == [None, None]
        finally:
            gc.enable()


def test_a_hook_that_ran_is_not_called_again_for_an_error_of_a_later_one() -> None:
    module, seen = nn.Identity(), []
    module.register_forward_hook(lambda *args: seen.append("first"), always_call=True)
    module.register_forward_hook(lambda *args: [][0])
    module.register_forward_hook(lambda *args: seen.append("third"), always_call=True)
    with pytest.raises(IndexError):
        module(tg.ones(1))
    assert seen == ["first", "third"]


def test_a_removed_hook_leaves_no_mark_behind() -> None:
    """Tables that only say how a hook is called, or that there is one, are emptied with it."""
    module, register = nn.Identity(), nn.modules.module
    handles = [
        module.register_forward_hook(lambda *args: None, with_kwargs=True, always_call=True),
        module.register_forward_pre_hook(lambda *args: None, with_kwargs=True),
        register.register_module_forward_hook(lambda *args: None, with_kwargs=True, always_call=True),
        register.register_module_full_backward_pre_hook(lambda *args: None),
    ]
    tables = [value for owner in (module, EVERYWHERE) for name, value in vars(owner).items() if "hooks" in name]
    assert len(tables) > 14 and ANYWHERE
    for handle in handles:
        handle.remove()
    assert not ANYWHERE and not any(tables)
