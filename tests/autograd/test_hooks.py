"""Hooks see complete gradients, in PyTorch's order, and may replace them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def leaf(lib: Any, *values: float) -> Any:
    return lib.tensor(values, requires_grad=True)


def test_a_hook_sees_the_sum_over_all_uses_once(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 3.0)
    h = x * 1
    h.register_hook(lambda g: seen.append(g.tolist()))
    (h * 2 + h * 5).sum().backward()
    assert seen == [[7.0]]


def test_what_a_hook_returns_goes_on_to_the_next_and_to_the_leaf(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 1.0)
    h = x * 3
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: seen.append(g.item()))
    h.register_hook(lambda g: g + 1)
    h.sum().backward()
    assert seen == [10.0] and x.grad.item() == 33.0


def test_a_hook_on_a_leaf_acts_before_accumulation_and_in_grad(lib: Any) -> None:
    x = leaf(lib, 1.0)
    x.register_hook(lambda g: g * 7)
    assert lib.autograd.grad((x * x).sum(), x)[0].item() == 14.0
    assert x.grad is None
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.item() == 28.0


def test_a_removed_hook_is_not_called(lib: Any) -> None:
    x = leaf(lib, 1.0)
    handle = x.register_hook(lambda g: g * 100)
    with x.register_hook(lambda g: g * 10):
        (x * 1).sum().backward()
    handle.remove()
    handle.remove()
    (x * 1).sum().backward()
    assert x.grad.item() == 1001.0


def test_hooks_are_differentiated(lib: Any) -> None:
    x = leaf(lib, 2.0)
    y = x**3
    y.register_hook(lambda g: g * x)
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)  # x * 3 x^2
    (second,) = lib.autograd.grad(first.sum(), x)
    assert (first.item(), second.item()) == (24.0, 36.0)


def test_a_hook_on_a_tensor_that_is_read_by_index_sees_one_gradient_in_a_recorded_sweep(lib: Any) -> None:
    """Contributions of reads by index arrive as parts; a hook is given their sum, as a tensor that can be recorded."""
    seen: list[Any] = []
    w = leaf(lib, 1.0, 2.0)
    x = w * 2
    x.register_hook(lambda g: (seen.append(g.tolist()), g * 3)[1])
    (first,) = lib.autograd.grad(x[0] * x[0] + x[1], w, create_graph=True)
    assert seen == [[4.0, 1.0]] and first.tolist() == [24.0, 6.0]
    (second,) = lib.autograd.grad(first.sum(), w)  # the hook runs in this sweep, too: 3 * (8, 0), times 3
    assert second.tolist() == [72.0, 0.0] and seen[1:] == [[12.0, 0.0]]


def test_retain_grad_keeps_what_the_tensors_hooks_left(lib: Any) -> None:
    x = leaf(lib, 1.0)
    h = x * 2
    h.retain_grad()
    h.retain_grad()
    h.register_hook(lambda g: g * 10)  # registered later, and still runs before
    h.sum().backward()
    assert h.retains_grad and h.grad.item() == 10.0
    (x * 1).sum().backward()
    assert h.grad.item() == 10.0


def test_a_retained_gradient_accumulates_over_sweeps_and_fills_in_grad_too(lib: Any) -> None:
    x = leaf(lib, 1.0)
    h = x * 2
    h.retain_grad()
    y = (h * h).sum()
    y.backward(retain_graph=True)
    lib.autograd.grad(y, x)
    assert h.grad.item() == 8.0


def test_retain_grad_with_create_graph_can_be_differentiated(lib: Any) -> None:
    x = leaf(lib, 3.0)
    h = x * x
    h.retain_grad()
    lib.autograd.grad((h * h).sum(), x, create_graph=True)
    assert lib.autograd.grad(h.grad.sum(), x)[0].item() == 12.0  # d(2 x^2)/dx


def test_after_a_write_in_place_the_new_value_is_retained(lib: Any) -> None:
    seen: list[float] = []
    x = leaf(lib, 1.0)
    h = x * 2
    h.retain_grad()
    h.register_hook(lambda g: seen.append(g.item()))
    h.mul_(3)
    (h * 1).sum().backward()
    assert h.grad.item() == 1.0 and seen == [3.0]


def test_post_accumulate_hooks_see_the_tensor_after_the_sum(lib: Any) -> None:
    seen: list[float] = []
    x = leaf(lib, 1.0)
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.item()))
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    assert seen == [2.0, 5.0]


def test_a_post_accumulate_hook_may_step_and_free_the_gradient(lib: Any) -> None:
    x = leaf(lib, 1.0)

    def step(p: Any) -> None:
        with lib.no_grad():
            p.sub_(0.5 * p.grad)
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * 2).sum().backward()
    assert x.item() == 0.0 and x.grad is None


def test_node_hooks_see_both_sides(lib: Any) -> None:
    order: list[Any] = []
    x, w = leaf(lib, 2.0), leaf(lib, 5.0)
    y = x * w
    y.grad_fn.register_hook(lambda gi, go: order.append(("post", [g.item() for g in gi], go[0].item())))
    y.grad_fn.register_prehook(lambda go: order.append(("pre", go[0].item())))
    y.register_hook(lambda g: order.append(("tensor", g.item())))
    (y * 10).sum().backward()
    assert order == [("tensor", 10.0), ("pre", 10.0), ("post", [50.0, 20.0], 10.0)]


def test_node_hooks_replace_gradients(lib: Any) -> None:
    x = leaf(lib, 2.0)
    y = x * 3
    before = y.grad_fn.register_prehook(lambda go: (go[0] * 2,))
    after = y.grad_fn.register_hook(lambda gi, go: (gi[0] + 1, *gi[1:]))
    y.sum().backward(retain_graph=True)
    assert x.grad.item() == 7.0
    before.remove()
    after.remove()
    y.sum().backward()
    assert x.grad.item() == 10.0


def test_the_node_of_a_leaf_has_hooks_too(lib: Any) -> None:
    seen: list[Any] = []
    x = leaf(lib, 1.0)
    y = x * 3
    node = y.grad_fn.next_functions[0][0]
    assert (node.variable is x and node.name() == "AccumulateGrad") or lib is not tg
    node.register_prehook(lambda gs: (gs[0] * 2,))
    handle = node.register_hook(lambda gi, go: seen.append((gi, go[0].item(), x.grad.item())))
    y.sum().backward()
    handle.remove()
    (x * 1).sum().backward()
    assert seen == [((), 6.0, 6.0)]


def test_hooks_on_an_output_of_a_fused_layer() -> None:
    seen: list[Any] = []
    tg.manual_seed(0)
    layer = tg.nn.RNN(2, 3)
    y, h = layer(tg.ones(4, 1, 2))
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.grad_fn.register_prehook(lambda gs: seen.append(len(gs)))
    y.grad_fn.register_hook(lambda gi, go: seen.append(len(go)))
    (y.sum() + h.sum()).backward()
    assert seen == [[[[1.0] * 3]] * 4, 2, 2]


def test_writing_to_the_gradient_in_a_hook_reaches_nobody_else() -> None:
    x = leaf(tg, 1.0)
    h, k = x * 2, x * 3

    def overwrite(g: Any) -> None:
        g.mul_(100)

    h.register_hook(overwrite)
    seed = tg.tensor([1.0])
    (h + k).backward(seed)  # the same array is the cotangent of the sum, of h and of k
    assert x.grad.item() == 203.0 and seed.item() == 1.0


def test_a_hook_returns_a_scalar_shaped_gradient_for_a_scalar() -> None:
    x = tg.tensor(2.0, requires_grad=True)
    x.register_hook(lambda g: g * 2)
    (x * x).backward()
    assert x.grad.shape == () and x.grad.item() == 8.0


ERRORS: dict[str, tuple[Any, Any, str]] = {
    "no grad": (
        lambda lib, x: lib.ones(2).register_hook(print),
        RuntimeError,
        "cannot register a hook on a tensor that doesn't require gradient",
    ),
    "retain without grad": (
        lambda lib, x: lib.ones(2).retain_grad(),
        RuntimeError,
        "can't retain_grad on Tensor that has requires_grad=False",
    ),
    "post accumulate on a computed tensor": (
        lambda lib, x: (x * 2).register_post_accumulate_grad_hook(print),
        RuntimeError,
        "post accumulate grad hooks cannot be registered on non-leaf tensors",
    ),
    "post accumulate without grad": (
        lambda lib, x: lib.ones(2).register_post_accumulate_grad_hook(print),
        RuntimeError,
        "cannot register a hook on a tensor that doesn't require gradient",
    ),
    "size": (
        lambda lib, x: (x.register_hook(lambda g: lib.ones(2)), (x * 1).sum().backward()),
        RuntimeError,
        "hook '<lambda>' has changed the size of value",
    ),
    "dtype": (
        lambda lib, x: (x.register_hook(lambda g: g.double()), (x * 1).sum().backward()),
        RuntimeError,
        "hook '<lambda>' has changed the type of value",
    ),
    "no tensor": (
        lambda lib, x: (x.register_hook(lambda g: 3), (x * 1).sum().backward()),
        TypeError,
        "expected Variable, but hook returned 'int'",
    ),
    "count": (
        lambda lib, x: [(y.grad_fn.register_prehook(lambda gs: (gs[0], gs[0])), y.sum().backward()) for y in [x.exp()]],
        RuntimeError,
        r"hook '<lambda>' has returned an incorrect number of values \(got 2, but expected 1\)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(lib: Any, case: str) -> None:
    run, kind, sentence = ERRORS[case]
    with pytest.raises(kind, match=sentence):
        run(lib, leaf(lib, 1.0, 1.0, 1.0))


def test_a_hook_must_be_callable() -> None:
    with pytest.raises(TypeError, match="expected a function of the gradient, got int"):
        leaf(tg, 1.0).register_hook(3)


def test_a_handle_is_what_with_gives(lib: Any) -> None:
    x = leaf(lib, 1.0)
    with x.register_hook(lambda g: g * 10) as handle:
        handle.remove()
        (x * 1).sum().backward()
    assert x.grad.item() == 1.0


def test_retain_grad_of_a_leaf_changes_nothing(lib: Any) -> None:
    x = leaf(lib, 1.0)
    x.retain_grad()
    (x * 3).sum().backward()
    assert x.grad.item() == 3.0 and not x.retains_grad


def test_what_a_hook_gives_stays_the_users(lib: Any) -> None:
    """A tensor that is returned for two arguments, or kept, is not the memory of any gradient."""
    x, w = leaf(lib, 1.0), leaf(lib, 2.0)
    kept = lib.tensor([7.0])
    with x.register_hook(lambda g: kept):
        for _ in range(2):
            (x * 1).sum().backward()
        (g,) = lib.autograd.grad((x + x * 2).sum(), x)  # a sum made for the purpose is replaced
        if lib is tg:  # PyTorch hands it on, and adds into it
            assert x.grad.item() == 14.0 and g.item() == 7.0
            g.zero_()
            assert kept.item() == 7.0
    x.grad, kept = None, lib.tensor([7.0])
    for use in (lambda: x + w, lambda: x.reshape(1)):
        y = use()
        y.grad_fn.register_hook(lambda gi, go: tuple([kept for _ in gi]))
        (y + y * 2).sum().backward()  # what arrives at y is a sum, made for the purpose
    if lib is tg:  # PyTorch hands what the hook gave to both leaves
        assert x.grad.item() == 14.0 and w.grad.item() == 7.0
        assert kept.item() == 7.0
        x.grad.zero_()
        assert w.grad.item() == 7.0 and kept.item() == 7.0


def test_handles_have_numbers_of_their_own() -> None:
    x = leaf(tg, 1.0)
    handles = [x.register_hook(print), x.register_post_accumulate_grad_hook(print), (x * 1).register_hook(print)]
    assert len({handle.id for handle in handles}) == 3


@pytest.mark.parametrize("recorded", [False, True])
def test_hooks_of_a_node_see_and_replace_each_gradient_alone(recorded: bool) -> None:
    x, w = leaf(tg, 2.0), leaf(tg, 3.0)
    seen: list[Any] = []
    for form in (lambda gs: gs[0] * 2, lambda gs: [gs[0] * 2], lambda gs: (gs[0] * 2,)):
        y = x * w
        y.grad_fn.register_prehook(form)  # one tensor, a list or a tuple
        y.grad_fn.register_hook(lambda gi, go: seen.append((*[g.item() for g in gi], go[0].item())))
        y.grad_fn.register_hook(lambda gi, go: (None, gi[1] * 10))
        y.grad_fn.register_hook(lambda gi, go: seen.append((gi[0], gi[1].item())))
        found = tg.autograd.grad(y.sum(), (x, w), create_graph=recorded, allow_unused=True)
        assert found[0] is None and found[1].item() == 40.0
        assert seen == [(6.0, 4.0, 2.0), (None, 40.0)]
        seen.clear()
    if recorded:
        assert tg.autograd.grad(found[1], x)[0].item() == 20.0  # both hooks are part of what is differentiated


def test_several_hooks_of_one_leaf_node_run_in_their_order() -> None:
    x = leaf(tg, 1.0)
    seen: list[Any] = []
    node = (x * 3).grad_fn.next_functions[0][0]
    node.register_prehook(lambda gs: (gs[0] * 2,))
    first = node.register_hook(lambda gi, go: seen.append(("first", go[0].item())))
    x.register_hook(lambda g: seen.append(("tensor", g.item())))
    node.register_prehook(lambda gs: (gs[0] + 1,))
    node.register_hook(lambda gi, go: seen.append(("last", go[0].item())))
    (x * 3).sum().backward()
    assert seen == [("tensor", 3.0), ("first", 6.0), ("last", 7.0)]  # as the one before it left the gradient
    first.remove()
    seen.clear()
    (x * 3).sum().backward()
    assert seen == [("tensor", 3.0), ("last", 7.0)] and x.grad.item() == 14.0


def test_hooks_of_the_node_of_a_fused_layer_are_differentiated_too() -> None:
    tg.manual_seed(0)
    layer = tg.nn.RNN(1, 1, dtype=tg.float64)
    x = tg.ones(2, 1, 1, dtype=tg.float64, requires_grad=True)

    def gradients(hooked: bool) -> Any:
        y, _h = layer(x)
        if hooked:
            y.grad_fn.register_hook(lambda gi, go: tuple([None if g is None else g * 3 for g in gi]))
            y.grad_fn.register_prehook(lambda gs: [gs[0] * 2, None if gs[1] is None else gs[1] * 2])
        (g,) = tg.autograd.grad((y * y).sum(), x, create_graph=True)
        return g.detach().numpy(), tg.autograd.grad((g * g).sum(), x)[0].numpy()

    (plain, second), (six, thirtysix) = gradients(False), gradients(True)
    np.testing.assert_allclose(six, 6 * plain, rtol=1e-13)  # a few roundings
    assert np.abs(plain).min() > 1e-3 and np.abs(second).min() > 1e-3 and np.isfinite(thirtysix).all()


def test_a_hook_that_is_taken_out_while_it_runs_is_no_error(lib: Any) -> None:
    x = leaf(lib, 1.0)
    handles: list[Any] = []
    handles.append(x.register_hook(lambda g: handles[0].remove()))
    for _ in range(2):
        (x * 2).sum().backward()
    once = x.register_post_accumulate_grad_hook(lambda p: once.remove())
    (x * 2).sum().backward()
    assert x.grad.item() == 6.0


def test_a_retained_gradient_of_a_recorded_sweep_has_a_history_and_of_a_plain_one_none() -> None:
    x = leaf(tg, 3.0)
    for recorded in (False, True):
        h = x * x
        h.retain_grad()
        tg.autograd.grad((h * h).sum(), x, create_graph=recorded)
        assert h.grad.requires_grad == recorded and h.grad.item() == 18.0


def triple(*gs: Any) -> None:
    with tg.no_grad():
        for g in gs:
            g.mul_(3.0)


class Identity(tg.nn.Module):
    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * 1


def module_with(register: str, hook: Any) -> Any:
    module = Identity()
    getattr(module, register)(hook)
    return module


class Overwriting(tg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: tg.Tensor) -> tg.Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: tg.Tensor) -> tg.Tensor:
        triple(g)
        return g


def hooked(register: Any) -> Any:
    def identity(x: tg.Tensor) -> tg.Tensor:
        h = x * 1
        register(h)
        return h

    return identity


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    "identity",
    [
        hooked(lambda h: h.register_hook(triple)),
        hooked(lambda h: h.grad_fn.register_prehook(lambda gs: triple(*gs))),
        hooked(lambda h: h.grad_fn.register_hook(lambda gs, outer: triple(*[g for g in gs if g is not None], *outer))),
        module_with("register_full_backward_hook", lambda module, gs, outer: triple(*gs, *outer)),
        module_with("register_full_backward_pre_hook", lambda module, outer: triple(*outer)),
        Overwriting.apply,
    ],
)
def test_what_a_hook_writes_changes_what_goes_on_from_it_and_nothing_else(identity: Any, recorded: bool) -> None:
    """One cotangent belongs to both terms of a sum, and is the seed that the user gave."""
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([1.0, 2.0], requires_grad=True)
    seed = tg.tensor([5.0, 7.0])
    (identity(x) + y).backward(seed, create_graph=recorded)
    assert seed.tolist() == y.grad.tolist() == [5.0, 7.0]
    assert x.grad.tolist() == [15.0, 21.0]


def test_a_hook_may_write_to_a_recorded_gradient_that_was_expanded() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g.mul_(3.0))
    (g,) = tg.autograd.grad((x * x.detach() * 1).sum() + x.sum(), x, create_graph=True)
    assert g.tolist() == [6.0, 9.0]
    (g,) = tg.autograd.grad(x.sum(), x, create_graph=True)
    assert g.tolist() == [3.0, 3.0]
