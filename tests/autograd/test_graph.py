"""Hooks on saved values, Variable, and watchers of the user's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.autograd.graph import save_on_cpu, saved_tensors_hooks
from tinygrad_rnn.errors import ArgumentTypeError
from tinygrad_rnn.tape.modes import state


def test_values_go_through_pack_and_come_back_through_unpack(lib: Any) -> None:
    packed: list[Any] = []
    unpacked: list[Any] = []

    def pack(t: Any) -> Any:
        packed.append(t.tolist())
        return t.detach().numpy()

    def unpack(a: Any) -> Any:
        unpacked.append(a.tolist())
        return lib.tensor(a) * 10

    x = lib.tensor([2.0], requires_grad=True)
    with lib.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x.exp()
    assert len(packed) == 1 and unpacked == []
    y.sum().backward()
    assert unpacked == packed
    assert x.grad.item() == pytest.approx(10 * np.exp(2), rel=1e-6)  # float32


def test_custom_functions_and_fused_layers_take_part() -> None:
    class Square(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

    tg.manual_seed(0)
    layer = tg.nn.GRU(2, 3)
    x = tg.tensor(np.linspace(-1, 1, 8).reshape(4, 1, 2).astype("float32"), requires_grad=True)
    count: list[int] = []

    def f() -> Any:
        return tg.autograd.grad(layer(Square.apply(x))[0].sum(), (x, *layer.parameters()))

    expected = f()
    with saved_tensors_hooks(lambda t: (count.append(1), t.numpy(force=True).tobytes(), t.shape)[1:], restore):
        found = f()
    assert count
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def restore(packed: Any) -> Any:
    content, shape = packed
    return tg.tensor(np.frombuffer(content, "float32").reshape(shape))


def test_second_derivatives_pass_through_unpacked_values() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: t.numpy(force=True), lambda a: tg.tensor(a)):
        y = x**3 * x.exp()
        (first,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x)
    assert second.item() == pytest.approx((6 * 2 + 2 * 3 * 4 + 8) * np.exp(2), rel=1e-5)  # float32


def test_packed_values_are_freed_by_the_sweep() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x.exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_graph_that_is_kept_is_unpacked_at_every_sweep(lib: Any) -> None:
    unpacked: list[int] = []
    x = lib.tensor([2.0], requires_grad=True)
    with lib.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: (unpacked.append(1), t)[1]):
        y = x.exp()
    y.backward(retain_graph=True)
    y.backward()
    assert len(unpacked) == 2


def test_what_the_pack_hook_computes_is_not_packed() -> None:
    scale = tg.tensor([4.0], requires_grad=True)
    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: t * scale, lambda t: t / scale):
        y = x.exp()
    assert tg.autograd.grad(y, x)[0].item() == y.item()


def test_save_on_cpu_changes_no_gradient() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    with save_on_cpu():
        y = (x * x).sum()
    y.backward()
    assert x.grad.item() == 4.0


@pytest.mark.parametrize(
    ("unpack", "kind", "sentence"),
    [
        (lambda a: a, TypeError, "unpack returned ndarray, expected a Tensor"),
        (lambda a: tg.tensor([a, a]), RuntimeError, r"unpack returned float32\[2, 1\] for a value that was saved as "),
    ],
)
def test_what_unpack_returns_is_checked(unpack: Any, kind: Any, sentence: str) -> None:
    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: t.numpy(), unpack):
        y = x.exp().sum()
    with pytest.raises(kind, match=sentence):
        y.backward()


def test_nothing_that_was_saved_is_packed_as_nothing() -> None:
    packed: list[Any] = []

    class Saves(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(None, x, None)
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            first, x, last = ctx.saved_tensors
            assert first is None and last is None
            return g * x

    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda t: (packed.append(t.tolist()), t)[1], lambda t: t * 5):
        y = Saves.apply(x)
    y.backward()
    assert packed == [[2.0]] and x.grad.item() == 10.0


def test_variable_is_a_tensor(lib: Any) -> None:
    Variable = lib.autograd.Variable
    x = lib.ones(2, requires_grad=True)
    v = Variable(x * 1)
    assert isinstance(x, Variable) and not v.requires_grad and v.grad_fn is None
    assert Variable(x, True).requires_grad and not isinstance(3.0, Variable)
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got float"):
        Variable(3.0)


def test_hooks_that_end_out_of_order_leave_others_in_place() -> None:
    hooks, tape = saved_tensors_hooks(lambda t: t, lambda t: t), tg.Tape()
    hooks.__enter__()
    with tape:
        hooks.__exit__()
        assert state.watchers == (tape,)
        tg.tensor(1.0, requires_grad=True).exp()
    assert [record.name for record in tape] == ["exp"] and state.watchers == ()


# watchers ------------------------------------------------------------------------------------------------------------


class Heard(tg.autograd.graph.Watcher):
    """Notes what it is told, as short texts."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def applied(self, operation: Any, inputs: Any, params: Any, output: Any) -> None:
        self.told.append(f"applied {operation.name}")

    def recorded(self, node: Any, output: Any) -> None:
        self.told.append(f"recorded {node.primitive.name}")

    def written(self, t: Any, op: str) -> None:
        self.told.append(f"written {op}")

    def sweep_begins(self, seeds: Any) -> None:
        self.told.append(f"begins from {[(node.name(), g.tolist()) for node, g in seeds]}")

    def reached(self, node: Any, cotangent: Any) -> None:
        self.told.append(f"reached {node.name()}")

    def contributed(self, node: Any, position: int, parent: Any, contribution: Any) -> None:
        self.told.append(f"contributed {position}")

    def sweep_ends(self, error: BaseException | None) -> None:
        self.told.append(f"ends {error!r}")


def test_a_watcher_of_the_users_is_told_everything_inside_with() -> None:
    w = tg.tensor(3.0, requires_grad=True)
    heard = Heard()
    with tg.autograd.graph.watching(heard) as watcher:
        assert watcher is heard
        y = w * 2
        y.add_(1)
        tg.ones(1).fill_(2.0)
        y.backward()
    (w * 2).backward()
    assert heard.told == [
        *("recorded mul", "applied mul", "recorded add", "applied add", "written add_", "written fill_"),
        *("begins from [('AddBackward0', 1.0)]", "reached AddBackward0", "contributed 0", "reached MulBackward0"),
        *("contributed 0", "reached AccumulateGrad", "ends None"),
    ]


def test_a_watcher_that_is_left_out_of_turn_leaves_the_others() -> None:
    first, second = Heard(), Heard()
    outer, inner = tg.autograd.graph.watching(first), tg.autograd.graph.watching(second)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__()
    assert state.watchers == (second,)
    inner.__exit__()
    inner.__exit__()  # once more is no error
    assert state.watchers == ()


def test_a_watcher_is_switched_off_by_an_error_and_only_a_watcher_is_one() -> None:
    with pytest.raises(ZeroDivisionError), tg.autograd.graph.watching(Heard()):
        _ = 1 / 0
    assert state.watchers == ()
    with pytest.raises(ArgumentTypeError, match=r"watching\(\): expected a Watcher, got str"):
        tg.autograd.graph.watching("me")  # type: ignore[type-var]
