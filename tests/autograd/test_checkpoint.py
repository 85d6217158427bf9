"""A checkpointed function has the gradients of the plain one, to the bit, and does not keep what is inside it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.checkpoint import checkpoint as ours
from tinygrad_rnn.autograd.checkpoint import checkpoint_sequential, decided
from tinygrad_rnn.tape.observe.tape import saved_arrays


@pytest.fixture
def w() -> Any:
    return tg.tensor(np.random.default_rng(0).standard_normal((3, 3)), requires_grad=True)


@pytest.fixture
def u() -> Any:
    return tg.tensor(np.random.default_rng(1).standard_normal((2, 3)), requires_grad=True)


def network(w: Any) -> Any:
    """A function that finds its weight by itself."""

    def f(h: Any) -> Any:
        for _ in range(3):
            h = tg.tanh(h @ w) * h + h[:, [2, 0, 1]]
        return h

    return f


def assert_same(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        one, other = one.detach().numpy(), other.detach().numpy()
        assert abs(other).max() > 1e-3
        np.testing.assert_array_equal(one, other)


def test_gradients_are_the_same_to_the_bit_for_arguments_and_captured_weights(w: Any, u: Any) -> None:
    f = network(w)
    found = tg.autograd.grad((ours(f, u) ** 2).sum(), (u, w))
    assert_same(found, tg.autograd.grad((f(u) ** 2).sum(), (u, w)))


def test_second_derivatives_are_the_same(w: Any, u: Any) -> None:
    f = network(w)

    def penalty(y: Any) -> Any:
        return sum((g * g).sum() for g in tg.autograd.grad(y.sum(), (u, w), create_graph=True))

    assert_same(tg.autograd.grad(penalty(ours(f, u)), (u, w)), tg.autograd.grad(penalty(f(u)), (u, w)))


def test_nested_and_chained(w: Any, u: Any) -> None:
    f = network(w)
    y = ours(lambda u: ours(f, ours(f, u)), u) + ours(f, u)
    assert_same(tg.autograd.grad(y.sum(), (u, w)), tg.autograd.grad((f(f(u)) + f(u)).sum(), (u, w)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_fused_layer(kind: str) -> None:
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(2, 3)
    x = tg.tensor(np.random.default_rng(0).standard_normal((5, 2, 2)).astype("float32"), requires_grad=True)
    wanted = [x, *layer.parameters()]
    found = tg.autograd.grad(ours(lambda x: layer(x)[0], x).sum(), wanted)
    assert_same(found, tg.autograd.grad(layer(x)[0].sum(), wanted))


def test_a_custom_function_inside(u: Any) -> None:
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x * x
            ctx.save_for_backward(x, y)
            ctx.twice = 2
            return y, x + 1

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * ctx.twice * y / x + h

    def f(x: Any) -> Any:
        y, z = Square.apply(x)
        return y * z

    (found,) = tg.autograd.grad(ours(f, u).sum(), u, create_graph=True)
    (expected,) = tg.autograd.grad(f(u).sum(), u, create_graph=True)
    assert_same((found, *tg.autograd.grad(found.sum(), u)), (expected, *tg.autograd.grad(expected.sum(), u)))


def test_writes_in_place_inside(u: Any) -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y[:, 0] = x[:, 1]
        y.mul_(x)
        return y.exp()

    assert_same(tg.autograd.grad(ours(f, u).sum(), u), tg.autograd.grad(f(u).sum(), u))


def test_the_second_run_draws_the_same_random_numbers(lib: Any, checkpoint: Any) -> None:
    lib.manual_seed(0)
    x = lib.ones(50, requires_grad=True)
    y = checkpoint(lambda x: lib.nn.functional.dropout(x * 3, 0.5), x, use_reentrant=False)
    after = lib.rand(2).tolist()
    y.sum().backward()
    assert 0 < (y != 0).sum().item() < 50
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())  # d/dx of 3 x mask at x = 1, as the value
    lib.manual_seed(0)
    lib.nn.functional.dropout(x, 0.5)
    assert lib.rand(2).tolist() == after  # and the stream goes on as if there had been one run


def test_the_function_runs_twice_and_a_graph_that_is_kept_not_again(lib: Any, checkpoint: Any) -> None:
    calls: list[int] = []
    x = lib.tensor([1.0], requires_grad=True)

    def f(x: Any) -> Any:
        calls.append(1)
        return (x * x).exp()

    y = checkpoint(f, x, use_reentrant=False).sum()
    assert len(calls) == 1
    y.backward(retain_graph=lib is tg)
    assert len(calls) == 2
    if lib is tg:
        y.backward()
        assert len(calls) == 2
        assert x.grad.item() == pytest.approx(2 * 2 * np.e, rel=1e-6)  # float32
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_tuples_and_keyword_arguments(lib: Any, checkpoint: Any) -> None:
    x = lib.tensor([2.0], requires_grad=True)
    y, n, z = checkpoint(lambda x, factor: (x * factor, 3, x.exp()), x, factor=5.0, use_reentrant=False)
    (y * n + 0 * z).sum().backward()
    assert x.grad.item() == 15.0


def test_nothing_happens_without_recording(w: Any, u: Any) -> None:
    with tg.no_grad():
        assert not ours(network(w), u).requires_grad


def test_hooks_inside_run_once_and_hooks_on_nodes_stay(lib: Any, checkpoint: Any) -> None:
    seen: list[float] = []
    x = lib.tensor([2.0], requires_grad=True)

    def f(x: Any) -> Any:
        return (x * x).exp()

    y = checkpoint(f, x, use_reentrant=False)
    y.register_hook(lambda g: seen.append(g.item()))
    y.grad_fn.register_hook(lambda gi, go: seen.append(go[0].item()))
    y.sum().backward(retain_graph=lib is tg)
    assert seen == [1.0, 1.0]
    if lib is tg:
        y.sum().backward()
        assert seen == [1.0] * 4


def test_values_inside_are_not_kept(w: Any, u: Any) -> None:
    """Only what the function reads stays: its argument; not what its operations save."""
    plain, forgetful = network(w)(u), ours(network(w), u)

    def held(y: Any) -> int:
        nodes, stack = {}, [y.grad_fn]
        while stack:
            node = stack.pop()
            if node.index not in nodes and node.name() != "AccumulateGrad":
                nodes[node.index] = node
                stack.extend(parent for parent, _ in node.next_functions if parent is not None)
        own = {id(u._data), id(w._data)}
        return sum(a.nbytes for node in nodes.values() for a in saved_arrays(node) if id(a) not in own)

    assert held(plain) > 0 and held(forgetful) == 0


def test_intermediate_arrays_die_with_the_first_run(u: Any) -> None:
    alive: list[Any] = []

    def f(x: Any) -> Any:
        y = x.exp()
        alive.append(weakref.ref(y))
        return (y * y).sum()

    gc.disable()
    try:
        loss = ours(f, u)
        assert alive[0]() is None
        loss.backward()
        assert alive[1]() is None
        node = weakref.ref(loss.grad_fn)
        del loss
        assert node() is None
    finally:
        gc.enable()


def test_sequential_is_the_chain() -> None:
    x = tg.tensor([0.3], requires_grad=True)
    chain = [tg.tanh, tg.exp, tg.sin, tg.cos, tg.tanh]
    expected = x
    for f in chain:
        expected = f(expected)
    for segments in (1, 2, 3, 5):
        found = checkpoint_sequential(chain, segments, x)
        assert found.item() == expected.item()
        assert_same(tg.autograd.grad(found.sum(), x), tg.autograd.grad(expected.sum(), x, retain_graph=True))
    module = tg.nn.Sequential(tg.nn.Linear(1, 2), tg.nn.Tanh(), tg.nn.Linear(2, 1))
    assert tg.utils.checkpoint.checkpoint_sequential(module, 2, x).item() == module(x).item()


def test_sequential_runs_all_but_the_last_of_equal_parts_again_the_latest_first() -> None:
    ran: list[int] = []

    def numbered(k: int) -> Any:
        return lambda x: (ran.append(k), x.exp().log())[1]

    for n, segments, again in (
        (6, 3, [2, 3, 0, 1]),
        (7, 3, [2, 3, 0, 1]),
        (6, 2, [0, 1, 2]),
        (3, 3, [1, 0]),
        (2, 1, []),
    ):
        ran.clear()
        x = tg.tensor([0.3], requires_grad=True)
        y = checkpoint_sequential([numbered(k) for k in range(n)], segments, x)
        assert ran == list(range(n))
        y.backward()
        assert ran[n:] == again and x.grad.item() == pytest.approx(1.0, rel=1e-5)  # float32
    assert checkpoint_sequential([], 1, x) is x
    for wrong in (0, 3):
        with pytest.raises(ValueError, match=rf"expected 1 to 2 segments, got {wrong}"):
            checkpoint_sequential([tg.tanh, tg.exp], wrong, x)


def test_the_second_run_leaves_nothing_behind_in_a_graph_that_is_kept(u: Any) -> None:
    nodes: list[Any] = []

    def f(x: Any) -> Any:
        y = x.exp() + x
        nodes.append(weakref.ref(y.grad_fn))
        return y.exp()  # which keeps y's node in place of y

    loss = ours(f, u).sum()
    loss.backward(retain_graph=True)
    assert nodes[0]() is not None and nodes[1]() is None


def test_a_tape_does_not_see_the_second_run(u: Any) -> None:
    loss = ours(lambda x: x.exp() * x, u).sum()
    with tg.Tape() as tape:
        loss.backward()
    assert len(tape) == 0


# what must not pass unnoticed --------------------------------------------------------------------------------------


def test_a_function_that_does_something_else_the_second_time(lib: Any, checkpoint: Any) -> None:
    runs: list[int] = []
    x = lib.tensor([1.0], requires_grad=True)

    def f(x: Any) -> Any:
        runs.append(1)
        return (x * x).exp() if len(runs) == 1 else x.exp()

    y = checkpoint(f, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="A different number of tensors was saved during the original forward"):
        y.sum().backward()


def test_a_function_that_computes_other_shapes(lib: Any, checkpoint: Any) -> None:
    runs: list[int] = []
    x = lib.tensor([1.0, 2.0], requires_grad=True)

    def f(x: Any) -> Any:
        runs.append(1)
        return x[: len(runs)].exp().sum()

    y = checkpoint(f, x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="Recomputed values for the following tensors have different metadata"):
        y.backward()


def test_other_shapes_are_noticed_where_values_are_not_compared() -> None:
    runs: list[int] = []
    x = tg.tensor([1.0, 2.0], requires_grad=True)

    def f(x: Any) -> Any:
        runs.append(1)
        return x[: len(runs)].exp().sum()

    y = ours(f, x, determinism_check="none")
    with pytest.raises(RuntimeError, match="Recomputed values for the following tensors have different metadata"):
        y.backward()


def test_a_function_that_computes_other_values() -> None:
    """PyTorch gives a wrong gradient."""
    factor = [1.0]
    x = tg.tensor([1.0], requires_grad=True)
    y, z = (ours(lambda x: (x * factor[0]).exp(), x, determinism_check=check) for check in ("default", "none"))
    factor[0] = 2.0
    with pytest.raises(RuntimeError, match="have different metadata than during the forward pass, or other values"):
        y.sum().backward()
    z.sum().backward()  # as told


@pytest.mark.parametrize("which", ["argument", "weight"])
def test_an_input_written_between_the_runs(which: str) -> None:
    """PyTorch computes with the new value, which is not what the first run saw."""
    x, w = (tg.tensor([v], requires_grad=True) for v in (1.0, 2.0))
    y = ours(lambda x: (x * w + 1).exp(), x)
    with tg.no_grad():
        (x if which == "argument" else w).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_options_are_checked(u: Any) -> None:
    with pytest.raises(ValueError, match="determinism_check should be one of default, none"):
        ours(tg.exp, u, determinism_check="sometimes")
    with pytest.raises(ValueError, match="expected 1 to 1 segments, got 2"):
        checkpoint_sequential([tg.exp], 2, u)


def test_an_error_in_the_second_run_leaves_modes_and_streams_as_they_were() -> None:
    runs: list[int] = []
    x = tg.tensor([1.0], requires_grad=True)

    def f(x: Any) -> Any:
        runs.append(1)
        if len(runs) == 2:
            raise KeyError("second")
        return x.exp() * tg.rand(1)

    y = ours(f, x)
    before = tg.get_rng_state().tolist()
    with tg.Tape() as tape, pytest.raises(KeyError):
        y.sum().backward()
    assert tg.is_grad_enabled() and tg.get_rng_state().tolist() == before
    with tape:
        assert len(tape) == 1  # the sum; nothing of the second run


def test_what_a_custom_function_keeps_for_itself_is_dropped_too() -> None:
    kept: list[Any] = []

    class Keeps(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.table = np.full(1000, 3.0)
            kept.append(weakref.ref(ctx.table))
            return x * 3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * float(ctx.table[0])

    x = tg.tensor([1.0], requires_grad=True)
    y = ours(lambda x: Keeps.apply(x) * 1, x)
    assert kept[0]() is None
    y.sum().backward()
    assert x.grad.item() == 3.0 and len(kept) == 2


def test_a_second_run_that_does_something_else_is_told_by_its_first_difference(u: Any) -> None:
    for again, said in (
        (lambda x: x.exp().sin() * 2, "operation 1 was cos, and is sin now"),
        (lambda x: x.exp().cos(), "3 operations at first, 2 now"),
        (lambda x: (x.exp().cos() * 2).tanh(), "3 operations at first, 4 now"),
    ):
        runs: list[Any] = [lambda x: x.exp().cos() * 2, again]
        loss = ours(lambda x, runs=runs: runs.pop(0)(x), u).sum()
        with pytest.raises(RuntimeError, match=rf"The function must do the same both times: {said}$"):
            loss.backward()


def test_what_is_in_containers_is_compared_and_watched_too() -> None:
    x, scale = tg.tensor([1.0, 2.0], requires_grad=True), [1.0]

    y, _ = ours(lambda x: (x.exp(), {"aux": (x * scale[0],)}), x)
    scale[0] = 2.0
    with pytest.raises(RuntimeError, match="or other values"):
        y.sum().backward()
    parts = {"w": tg.tensor([3.0, 4.0])}
    y = ours(lambda x, parts: (x * parts["w"]).exp().sum(), x, parts)
    parts["w"].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_a_second_run_decides_as_the_first_did_in_nested_checkpoints_too() -> None:
    answers = iter(range(100))
    x = tg.tensor([1.0, 2.0], requires_grad=True)

    def inner(x: tg.Tensor) -> tg.Tensor:
        return x.exp() if decided(lambda: next(answers)) % 2 == 0 else x.tanh() * 2

    def outer(x: tg.Tensor) -> tg.Tensor:
        y = inner(x)  # 0, 3
        return (ours(inner, y) + inner(y)).sum()  # 1 and 2, 4 and 5

    losses = [ours(outer, x), ours(outer, x)]
    assert next(answers) == 6
    found = tg.autograd.grad(sum(losses), [x])[0].numpy()
    assert next(answers) == 7  # nothing was decided again
    e, t = np.exp(x.detach().numpy()), np.tanh(x.detach().numpy())
    first = (2 * (1 - np.tanh(e) ** 2) + np.exp(e)) * e
    second = (np.exp(2 * t) + 2 * (1 - np.tanh(2 * t) ** 2)) * 2 * (1 - t**2)
    np.testing.assert_allclose(found, first + second, rtol=1e-5)  # float32
