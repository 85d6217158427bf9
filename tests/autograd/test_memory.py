"""A graph is owned by the tensors that reach it, and by nothing else: no cycles, and no growth unseen.

The garbage collector is off in these tests: what is not freed by counting references alone stays, and fails them.
"""

from __future__ import annotations

import gc
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import source_line
from tinygrad_rnn.autograd import GrowingGraph
from tinygrad_rnn.tape.node import Leaf, Node
from tinygrad_rnn.tape.observe import leaks


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def no_past() -> Iterator[None]:
    leaks.past.__init__()  # type: ignore[misc]
    yield
    leaks.past.__init__()  # type: ignore[misc]


class Pair(tg.autograd.Function):
    """Saves an input and an output, and keeps an input, an output and a value of its own as attributes."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y, z = x * x, x.exp()
        ctx.save_for_backward(x, z)
        ctx.y, ctx.middle = y, x + 1
        return y, z

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any) -> Any:
        x, z = ctx.saved_tensors
        return g * 2 * x + h * z + 0 * ctx.y


def leaf() -> Any:
    return tg.tensor([0.5, 1.0], requires_grad=True)


def twice(x: Any) -> None:
    y = (x * x).exp().sum()
    y.backward(retain_graph=True)
    y.backward()


def recorded(x: Any) -> None:
    (g,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()


def recorded_into_grad(x: Any) -> None:
    (x**3).sum().backward(create_graph=True)
    (x.grad * x).sum().backward(create_graph=True)  # x.grad has a history that ends in x


def hooked(x: Any) -> None:
    h = x * 2
    h.register_hook(lambda g: g * 2)
    h.retain_grad()
    h.grad_fn.register_hook(lambda gi, go: None)
    h.grad_fn.register_prehook(lambda go: None)
    x.register_post_accumulate_grad_hook(lambda p: None)
    (h * h).sum().backward()


def custom(x: Any) -> None:
    y, z = Pair.apply(x)
    (g,) = tg.autograd.grad((y * z).sum(), x, create_graph=True)
    g.sum().backward()


def custom_and_forgotten(x: Any) -> None:
    Pair.apply(x)
    Pair.apply(x)[0].register_hook(lambda g: g)


def hooked_and_forgotten(x: Any) -> None:
    h = x * 2
    h.retain_grad()
    h.grad_fn.register_hook(lambda gi, go: None)
    h.grad_fn.next_functions[0][0].register_hook(lambda gi, go: None)


def checkpointed(x: Any) -> None:
    (g,) = tg.autograd.grad(tg.utils.checkpoint.checkpoint(lambda x: x.exp() * x, x).sum(), x, create_graph=True)
    g.sum().backward()


def checkpointed_and_forgotten(x: Any) -> None:
    tg.utils.checkpoint.checkpoint(lambda x: x.exp() * x, x).sum()


def in_place(x: Any) -> None:
    y = x * 1
    y[0] = x[1] * 2
    y.mul_(x)
    view = y[1:]
    view.exp_()
    y.sum().backward()


def second_order(x: Any) -> None:
    tg.autograd.functional.hessian(lambda x: (x**3).sum(), x, create_graph=True)
    tg.autograd.functional.jvp(lambda x: x**3, x, x)


def watched(x: Any) -> None:
    with tg.autograd.detect_anomaly(), tg.Tape():
        (x * x).sum().backward()


def packed(x: Any) -> None:
    with tg.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x.exp().sum()
    y.backward()


def failed(x: Any) -> None:
    y = x.exp().sum()
    y.backward()
    try:
        y.backward()
    except RuntimeError:
        pass


def fused(x: Any) -> None:
    layer = tg.nn.LSTM(2, 2)
    y, (h, _c) = layer(x.reshape(1, 1, 2))
    (y.sum() + h.sum()).backward()
    layer(x.reshape(1, 1, 2))


PROGRAMS: list[Callable[[Any], None]] = [
    twice,
    recorded,
    recorded_into_grad,
    hooked,
    hooked_and_forgotten,
    custom,
    custom_and_forgotten,
    checkpointed,
    checkpointed_and_forgotten,
    in_place,
    second_order,
    watched,
    packed,
    failed,
    fused,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_nothing_of_a_program_outlives_it(program: Callable[[Any], None]) -> None:
    program(leaf())  # what is made once (caches of primitives) is not counted
    gc.collect()
    gc.freeze()  # what exists already is not looked at, here and later
    program(leaf())
    left = [o for o in gc.get_objects() if issubclass(type(o), (tg.Tensor, Node, Leaf))]
    assert left == []


def test_an_unused_graph_is_freed_at_once() -> None:
    x = leaf()
    y = (x * x).exp()
    node = weakref.ref(y.grad_fn)
    z = y + 1
    del y
    assert node() is not None
    del z
    assert node() is None


def test_saved_values_go_as_the_sweep_goes() -> None:
    """When an early operation is swept, what later ones saved is gone already."""
    alive: list[bool] = []
    x = leaf()
    h = x * 1
    later = (h * 1).exp()
    array = weakref.ref(later._data)
    y = (later * 1).sum()
    h.register_hook(lambda g: alive.append(array() is not None))
    del later
    assert array() is not None
    y.backward()
    assert alive == [False]


def test_saved_values_stay_if_the_graph_is_retained() -> None:
    x = leaf()
    later = x.exp()
    array = weakref.ref(later._data)
    y = later.sum()
    del later
    y.backward(retain_graph=True)
    assert array() is not None
    y.backward()
    assert array() is None


def test_only_declared_values_are_saved() -> None:
    x = leaf()
    h = x * 2
    array = weakref.ref(h._data)
    y = (h + 1).sum()
    del h
    assert array() is None and y.requires_grad


def test_cotangents_go_as_the_sweep_goes() -> None:
    """At any time of the sweep of a chain a few cotangents are alive, not one per node."""
    n = 100_000
    h = x = tg.tensor(np.ones(n), requires_grad=True)
    for _ in range(50):
        h = h * 1.5
    y = h.sum()
    del h
    tracemalloc.start()
    y.backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.grad is not None
    assert 8 * n < peak < 4 * 8 * n


# graphs that grow --------------------------------------------------------------------------------------------------


CALLS = leaks.EVERY * leaks.KEPT


def step(w: Any) -> Any:
    loss = (w * w).sum()
    loss.backward()
    return loss


def test_adding_up_losses_warns() -> None:
    w, running = leaf(), 0.0
    with pytest.warns(GrowingGraph, match="running \\+= loss") as caught:
        for _ in range(CALLS):
            loss = step(w)
            running += loss
    assert caught[0].filename == __file__


def test_adding_up_what_is_scaled_for_backward_warns() -> None:
    w, running = leaf(), tg.tensor(0.0)
    with pytest.warns(GrowingGraph, match="running \\+= loss"):
        for _ in range(CALLS):
            loss = (w * w).sum()
            (loss / 4).backward()
            running += loss


def test_keeping_losses_in_a_list_warns_once() -> None:
    w, losses = leaf(), []
    with pytest.warns(GrowingGraph, match="loss.item()") as caught:
        for _ in range(3 * CALLS):
            losses.append(step(w))
    assert len(caught) == 1


def test_carrying_a_state_without_detach_warns() -> None:
    w, h = leaf(), tg.ones(2)
    with pytest.warns(GrowingGraph, match=r"h = h.detach\(\)"):
        for _ in range(4 * leaks.SWEPT):
            h = tg.tanh(w * h)
            h.sum().backward(retain_graph=True)


LOSSES = leaks.EVERY * leaks.UNSWEPT


def loss_of(w: Any, kind: str = "mse") -> Any:
    if kind == "mse":
        return tg.nn.functional.mse_loss(w * 2, tg.zeros(2))
    return tg.nn.functional.cross_entropy(w * 2, tg.tensor(1))


@pytest.mark.parametrize("kind", ["mse", "cross_entropy"])
def test_validating_without_no_grad_warns(kind: str) -> None:
    w, total = leaf(), 0.0
    with pytest.warns(GrowingGraph, match="backward\\(\\) was called for none of them") as caught:
        for _ in range(2 * LOSSES):
            total += loss_of(w, kind)
    assert len(caught) == 1 and caught[0].filename == __file__


def call_that_warns(step: Callable[[], object], most: int) -> tuple[int, str]:
    """At which call the first warning comes, and what it says."""
    for call in range(1, most + 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
        if caught:
            return call, str(caught[0].message)
    raise AssertionError(f"no warning in {most} calls")


def test_losses_that_are_kept_are_noticed_when_so_many_are_and_not_before() -> None:
    w, losses = leaf(), []
    call, text = call_that_warns(lambda: losses.append(step(w)), 2 * CALLS)
    assert call == CALLS and text.startswith(f"the graphs of the last {CALLS} calls of backward() are still held")


def test_after_a_loss_was_let_go_the_next_ones_are_counted_all_over() -> None:
    w, losses = leaf(), []
    for _ in range(leaks.EVERY):
        step(w)
    call, _ = call_that_warns(lambda: losses.append(step(w)), 3 * CALLS)
    assert leaks.EVERY + call == 2 * CALLS


def carried(w: Any) -> Callable[[], object]:
    """A step that lengthens a chain by one node and sweeps all of it."""
    h = tg.ones(2)

    def step() -> None:
        nonlocal h
        h = w * h
        h.backward(tg.ones(2), retain_graph=True)

    return step


def nothing(w: Any) -> None:
    pass


def another_sweep_that_frees(w: Any) -> None:
    chain = carried(w)
    for _ in range(leaks.SWEPT + 1):
        chain()
    (w * w).sum().backward()


def another_part_of_what_was_there(w: Any) -> None:
    chain, old = carried(w), w * 2.0
    for _ in range(leaks.SWEPT + 1):
        chain()
    old.backward(tg.ones(2), retain_graph=True)


@pytest.mark.parametrize("before", [nothing, another_sweep_that_frees, another_part_of_what_was_there])
def test_a_chain_that_grows_by_one_node_a_step_is_noticed_at_the_second_count_from_its_own_beginning(
    before: Callable[[Any], None],
) -> None:
    w, n = leaf(), leaks.SWEPT
    before(w)
    call, text = call_that_warns(carried(w), 4 * n)
    assert call == 2 * n
    said = f"backward(retain_graph=True) goes back through {2 * n} nodes, and {n} calls ago it was {n}: the graph grows"
    assert text.startswith(said)


def test_losses_without_backward_are_counted_from_the_last_backward_on() -> None:
    w, losses = leaf(), []
    for _ in range(2):
        losses += [loss_of(w) for _ in range(LOSSES - 1)]
        step(w)
    call, text = call_that_warns(lambda: losses.append(loss_of(w)), 2 * LOSSES)
    assert call == LOSSES and text.startswith(f"the graphs of the last {LOSSES} losses are held, and backward() was")


def test_a_warning_comes_also_where_no_line_of_the_user_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_line, "user_frame", lambda: None)
    w, losses = leaf(), []
    with pytest.warns(GrowingGraph, match="loss.item()"):
        for _ in range(CALLS):
            losses.append(step(w))


def test_the_gradient_of_a_leaf_itself_makes_no_graph() -> None:
    w = leaf()
    before = vars(leaks.past).copy()
    w.backward(tg.ones(2))
    w.backward(tg.ones(2), retain_graph=True)
    assert w.grad.tolist() == [2.0, 2.0] and vars(leaks.past) == before


def validating_as_one_should(w: Any) -> None:
    total = 0.0
    with tg.no_grad():
        kept = [loss_of(w) for _ in range(2 * LOSSES)]  # noqa: F841
    for _ in range(2 * LOSSES):
        total += loss_of(w).item()


def gradients_of_a_sum_over_a_batch(w: Any) -> None:
    """Many losses in one graph, swept before they are too many."""
    for _ in range(4):
        sum(loss_of(w) for _ in range(LOSSES - 1)).backward()


def a_loss_at_every_step_of_a_long_sequence(w: Any) -> None:
    h, total = tg.ones(2), 0.0
    for _ in range(2 * LOSSES):
        h = tg.tanh(w * h)
        total += loss_of(h)
    total.backward()


def ordinary_training(w: Any) -> None:
    total = 0.0
    for _ in range(2 * CALLS):
        total += step(w).item()


def training_with_a_part_in_common(w: Any) -> None:
    shifted = w + 2.0  # saves nothing, so it can be swept again and again
    for _ in range(2 * CALLS):
        (shifted + 1).sum().backward()


def losses_of_which_some_are_let_go(w: Any) -> None:
    losses = []
    for k in range(1, CALLS + 1):
        loss = step(w)
        if k != leaks.EVERY:
            losses.append(loss)
        del loss


def truncated_training(w: Any) -> None:
    h = tg.ones(2)
    for _ in range(4 * leaks.SWEPT):
        h = tg.tanh(w * h.detach())
        h.sum().backward(retain_graph=True)


def several_heads(w: Any) -> None:
    shared = tg.tanh(w * 2)
    for k in range(4 * leaks.SWEPT):
        (shared * k).sum().backward(retain_graph=True)


def new_heads_on_an_old_chain(w: Any) -> None:
    states = [tg.ones(2)]
    for _ in range(4 * leaks.SWEPT):
        states.append(tg.tanh(w * states[-1]))
    for state in states[1:]:
        (state * 2).sum().backward(retain_graph=True)


def losses_of_all_steps_one_by_one(w: Any) -> None:
    h, losses = tg.ones(2), []
    for _ in range(4 * leaks.SWEPT):
        h = tg.tanh(w * h)
        losses.append(h.sum())
    for loss in losses:
        loss.backward(retain_graph=True)


def rows_of_a_jacobian(w: Any) -> None:
    y = tg.tanh(w * 2)
    for _ in range(2 * leaks.SWEPT):
        y.backward(tg.ones(2), retain_graph=True)


def penalties(w: Any) -> None:
    for _ in range(4 * leaks.SWEPT):
        (g,) = tg.autograd.grad((w**3).sum(), w, create_graph=True)
        (g * g).sum().backward(create_graph=True)
        w.grad = None


@pytest.mark.parametrize(
    "program",
    [
        validating_as_one_should,
        gradients_of_a_sum_over_a_batch,
        a_loss_at_every_step_of_a_long_sequence,
        ordinary_training,
        training_with_a_part_in_common,
        losses_of_which_some_are_let_go,
        truncated_training,
        several_heads,
        new_heads_on_an_old_chain,
        losses_of_all_steps_one_by_one,
        rows_of_a_jacobian,
        penalties,
    ],
)
def test_no_warning_where_nothing_grows(program: Callable[[Any], None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program(leaf())
