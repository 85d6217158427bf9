"""What watchers are told of operations as they are applied, and fused operations spelled out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn.functional as F
from tinygrad_rnn.tape.modes import Watcher, spelled_out, state, watched
from tinygrad_rnn.tape.primitive import REGISTRY


class Applied(Watcher):
    """Notes every operation by name, with its inputs, parameters and output."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = []

    def applied(self, operation: Any, inputs: Any, params: Any, output: Any) -> None:
        name = getattr(operation, "name", None) or operation.__name__
        self.seen.append((name, tuple(inputs), dict(params), output))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.seen]


def told(function: Any, *args: Any) -> Applied:
    watcher = Applied()
    watched(watcher, function, *args)
    return watcher


def test_numbers_are_among_the_inputs_on_either_side() -> None:
    z = tg.tensor([0.25, 0.5], requires_grad=True)
    watcher = told(lambda: (1 - z) * 2.0 + z)
    assert watcher.names == ["sub", "mul", "add"]
    assert watcher.seen[0][1][0] == 1 and watcher.seen[0][1][1] is z
    assert watcher.seen[1][1][0] is watcher.seen[0][3] and watcher.seen[1][1][1] == 2.0
    assert watcher.seen[2][1][0] is watcher.seen[1][3] and watcher.seen[2][1][1] is z


def test_it_is_told_of_loops_over_time_before_they_run_and_finds_their_results() -> None:
    class Loops(Applied):
        def unrolls(self, loop: Any) -> None:
            assert loop.series == ()
            self.loop, self.before = loop, len(self.seen)

    layer = tg.nn.RNN(2, 3, impl="composed")
    watcher = Loops()
    output, last = watched(watcher, layer, tg.ones(4, 1, 2))
    loop = watcher.loop
    assert watcher.before < len(watcher.seen) and loop.x.shape == (4, 1, 2) and not loop.reverse
    assert tg.equal(loop.series[0], output) and tg.equal(loop.finals[0][None], last)
    assert loop.finals[0]._node.index < loop.ended < last._node.index
    assert tg.allclose(loop.step(loop.x[0], loop.states)[0], output[0])


def test_it_is_told_of_what_is_not_recorded_too() -> None:
    c = tg.tensor([1.0, 2.0])
    with tg.no_grad():
        watcher = told(lambda: tg.exp(c).sum())
    assert watcher.names == ["exp", "sum"] and watcher.seen[1][2] == {"axes": (0,), "keepdims": False}


def test_it_is_told_of_views_comparisons_and_other_operations_without_gradient() -> None:
    x = tg.tensor([[1.0, -2.0], [3.0, 4.0]], requires_grad=True)
    watcher = told(lambda: (x.T[0], x > 0, tg.argmax(x.detach(), 1)))
    assert watcher.names[:3] == ["permute", "getitem", "greater"] and len(watcher.seen) == 4
    assert [output.dtype for *_, output in watcher.seen[2:]] == [tg.bool, tg.int64]
    assert watcher.seen[2][1][0] is x and watcher.seen[2][1][1] == 0


def test_a_record_comes_before_the_news_of_its_application() -> None:
    order: list[str] = []

    class Both(Watcher):
        def recorded(self, node: Any, output: Any) -> None:
            order.append(f"recorded {node.primitive.name}")

        def applied(self, operation: Any, inputs: Any, params: Any, output: Any) -> None:
            order.append(f"applied {operation.name}")

    w = tg.tensor([1.0], requires_grad=True)
    watched(Both(), lambda: tg.tanh(w * w))
    assert order == ["recorded mul", "applied mul", "recorded tanh", "applied tanh"]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_layer_is_one_operation_or_spelled_out(kind: str) -> None:
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(3, 4).double()
    x = tg.randn(5, 2, 3, dtype=tg.float64, requires_grad=True)
    fused, composed = told(lambda: layer(x)), told(lambda: spelled_out(layer, x))
    name = kind.lower()
    assert name in fused.names and name not in composed.names
    assert composed.names.count("tanh") == (10 if kind == "LSTM" else 5)
    found = []
    for run in (layer, lambda x: spelled_out(layer, x)):
        y, _ = run(x)
        found.append(
            [y.detach().numpy(), *[g.numpy() for g in tg.autograd.grad((y * y).sum(), (x, *layer.parameters()))]]
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_cells_and_normalisation_are_spelled_out_too() -> None:
    cell, x = tg.nn.LSTMCell(3, 4), tg.ones(2, 3)
    assert "sigmoid" in told(lambda: spelled_out(cell, x)).names
    h = tg.randn(2, 4, requires_grad=True)
    names = told(lambda: spelled_out(F.layer_norm, h, (4,))).names
    assert "layer_norm" not in names and len(names) > 3


def test_spelling_out_ends_with_the_function_also_when_that_fails() -> None:
    def fails() -> None:
        assert state.here.spelled_out
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spelled_out(fails)
    assert not state.here.spelled_out


def test_a_fused_operation_has_its_reference_and_no_other_has_one() -> None:
    having = {name for name, p in REGISTRY.items() if p.reference is not None}
    assert {"rnn", "lstm", "gru", "layer_norm", "cross_entropy"} <= having
    assert all(REGISTRY[name].vjp_all is not None for name in having) and "tanh" not in having
