"""Monitor: its rows are what the other functions measure; the training and a resumed run do not notice it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import diagnostics as d
from tinygrad_rnn import nn
from tinygrad_rnn.diagnostics.cotangents import log_sum
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, UsageError
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.observe.scopes import CALLS


def loss_of(output: Any) -> tg.Tensor:
    return (output[0] ** 2).mean() + output[0][-1].sum()


class Training:
    """A model on random input, each update with a batch of its own."""

    def __init__(self, model: nn.Module, **monitor: Any) -> None:
        self.model, self.done = model, 0
        self.optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        self.monitor = d.Monitor(model, optimizer=self.optimizer, **monitor)

    def update(self) -> None:
        x = tg.tensor(np.random.default_rng(self.done).standard_normal((15, 6, 2)))
        self.optimizer.zero_grad()
        loss_of(self.model(x)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1e-3 if self.done % 2 else math.inf)
        self.optimizer.step()
        self.done += 1

    def state(self) -> Any:
        return {name: p.detach().numpy().copy() for name, p in self.model.named_parameters()}


def model(kind: str = "LSTM", **options: Any) -> Any:
    tg.manual_seed(0)
    return getattr(nn, kind)(2, 5, dtype=tg.float64, **options)


def test_rows_are_what_flow_shares_and_gates_measure() -> None:
    training = Training(model(), every=1, keep=6, probes=3000)
    x = tg.tensor(np.random.default_rng(0).standard_normal((15, 6, 2)))
    flows = [d.flow(training.model, x, sequence=n) for n in range(6)]
    part = d.shares(training.model, loss_of, x).cumulative("weight_hh_l0")
    forget = d.gates(training.model, x)["f"].mean.mean()
    loss_of(training.model(x)).backward()
    gradients = {name: float(np.linalg.norm(p.grad.numpy())) for name, p in training.model.named_parameters()}
    before = training.state()
    with training.monitor as monitor:
        training.update()
        training.update()
    row, second = monitor.rows
    assert (row["update"], row["layer"], row["finite"], row["clipped"], second["clipped"]) == (
        1,
        "LSTM layer 0",
        True,
        False,
        True,
    )
    curve = np.mean([f.total for f in flows], 0)[::-1]
    assert row["lags"] == list(range(16))
    np.testing.assert_allclose(row["decay"], curve, atol=0.05)
    assert abs(row["slope"] - np.mean([f.slope for f in flows])) < 0.01
    np.testing.assert_allclose(row["half_life"], math.log(2) / -row["slope"])
    np.testing.assert_allclose(row["last"], np.exp(part.log_norm[9] - part.log_total), rtol=1e-9)
    np.testing.assert_allclose(row["forget"], forget, rtol=1e-12)
    np.testing.assert_allclose(np.exp(list(row["gradient"].values())), list(gradients.values()), rtol=1e-9)
    assert list(row["gradient"]) == list(gradients)
    name = "weight_ih_l0"  # the first step of SGD with momentum is lr * gradient
    np.testing.assert_allclose(row["ratio"][name], 0.1 * gradients[name] / np.linalg.norm(before[name]), rtol=1e-6)
    assert monitor.memory.startswith(f"memory {round(second['half_life'])} step")


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"impl": "composed"}),
    ("LSTM", {"peepholes": True, "impl": "compiled"}),
    ("GRU", {"weight_dropout": 0.3, "recurrent_dropout": 0.2, "impl": "compiled"}),
    ("LSTM", {"zoneout": 0.2, "weight_dropout": 0.3, "impl": "composed"}),
    ("LSTM", {"checkpoint_segments": 3}),
]


@pytest.mark.parametrize("kind, options", KINDS, ids=str)
def test_the_training_is_the_same_bit_for_bit(kind: str, options: dict[str, Any]) -> None:
    alone, watched = Training(model(kind, **options), every=2), Training(model(kind, **options), every=2)
    tg.manual_seed(1)
    for _ in range(4):
        alone.update()
    tg.manual_seed(1)
    with watched.monitor as monitor:
        for _ in range(4):
            watched.update()
    for name, value in alone.state().items():
        assert (value == watched.state()[name]).all(), name
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    assert [row["update"] for row in monitor.rows] == [2] * count + [4] * count
    for row in monitor.rows:
        assert "error" not in row and -2 < row["slope"] < 0.2 and 0 < row["last"] <= 2


def test_a_resumed_run_gives_the_same_rows() -> None:
    whole = Training(model(), every=2, keep=2, probes=3)
    with whole.monitor:
        for _ in range(6):
            whole.update()
    first = Training(model(), every=2, keep=2, probes=3)
    with first.monitor:
        for _ in range(3):  # in the middle of a watched update's wait
            first.update()
    saved = json.loads(json.dumps(first.monitor.state_dict()))
    second = Training(first.model, every=2, keep=2, probes=3)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.done = 3
    with second.monitor as monitor:
        monitor.load_state_dict(saved)
        for _ in range(3):
            second.update()
    assert monitor.rows == whole.monitor.rows and monitor.updates == 6
    assert json.loads(monitor.to_json()) == json.loads(whole.monitor.to_json())


def test_evaluations_and_second_sweeps_do_not_count() -> None:
    training = Training(model("RNN"), every=1)
    x = tg.ones(9, 2, 2, dtype=tg.float64)
    with training.monitor as monitor:
        with tg.no_grad():
            training.model(x)
        loss_of(training.model(x)).backward()  # an accumulated gradient: the last sweep counts
        training.update()
    assert len(monitor.rows) == 1 and len(monitor.rows[0]["decay"]) == 16


def test_without_an_optimizer_it_is_told_of_updates() -> None:
    net = model("GRU")
    with d.Monitor(net, every=3) as monitor:
        for _ in range(7):
            net.zero_grad()
            loss_of(net(tg.ones(5, 1, 2, dtype=tg.float64))).backward()
            with tg.no_grad():
                for p in net.parameters():
                    p.sub_(p.grad * 0.1)
            monitor.update()
    assert [row["update"] for row in monitor.rows] == [3, 6]
    assert all(value > 0 for value in monitor.rows[0]["ratio"].values())


def test_gradients_that_are_not_finite_are_told() -> None:
    net = model("RNN")
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    with d.Monitor(net, every=1, optimizer=optimizer) as monitor:
        (net(tg.ones(5, 1, 2, dtype=tg.float64))[0].sum() * math.inf).backward()
        optimizer.step()
    (row,) = monitor.rows
    assert row["finite"] is False and json.loads(monitor.to_json())["rows"][0]["finite"] is False


def test_the_longest_of_packed_sequences_are_kept() -> None:
    net = model("LSTM")
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    x = tg.randn(8, 3, 2, dtype=tg.float64)
    with d.Monitor(net, every=1, optimizer=optimizer) as monitor:
        net(pack_padded_sequence(x, [8, 8, 3]))[1][0].sum().backward()
        optimizer.step()
    exact = np.mean([d.flow(net, x[:, n : n + 1]).total for n in (0, 1)], 0)[::-1]
    assert len(monitor.rows[0]["decay"]) == 9 and abs(np.array(monitor.rows[0]["decay"]) - exact).max() < 2


def test_what_cannot_be_measured_ends_no_training() -> None:
    net = model("LSTM", return_gates=True, impl="composed")
    optimizer = tg.optim.SGD(net.parameters(), lr=0.1)
    with d.Monitor(net, every=1, optimizer=optimizer) as monitor:
        net(tg.ones(5, 1, 2, dtype=tg.float64))[2]["f"].sum().backward()
        optimizer.step()
    assert "reads gates" in monitor.rows[0]["error"] and monitor.rows[0]["finite"]
    assert "LSTM layer 0" in monitor.table() and monitor.memory == ""


def test_nothing_of_it_is_left() -> None:
    training = Training(model(), every=1)
    with pytest.raises(RuntimeError, match="stop"), training.monitor as monitor:
        assert len(state.here.watchers) == 1
        with pytest.raises(UsageError, match="open already"):
            monitor.__enter__()
        raise RuntimeError("stop")
    assert not state.here.watchers and not CALLS and not training.optimizer._step_post_hooks
    training.update()
    assert monitor.updates == 0


@pytest.mark.parametrize("wrong", [{"every": 0}, {"probes": 0}, {"keep": True}])
def test_numbers_below_one_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="at least 1"):
        d.Monitor(model(), **wrong)
    with pytest.raises(ArgumentTypeError, match="expected a module"):
        d.Monitor(3)  # type: ignore[arg-type]


def test_it_is_a_table_and_pictures() -> None:
    pytest.importorskip("matplotlib")
    training = Training(model(), every=1)
    assert training.monitor.plot().get_xlabel() and training.monitor.memory == ""
    with training.monitor as monitor:
        for _ in range(3):
            training.update()
    ax = monitor.plot()
    assert len(ax.lines) == 3 and ax.get_ylabel()
    monitor.draw_history(ax.figure.add_subplot())
    assert "<svg" in monitor._repr_html_() and len(monitor.table().splitlines()) == 5
    total = 0.5 * float(log_sum(2 * np.array(list(monitor.rows[0]["gradient"].values()))))
    assert f"{total:.4g}" in monitor.table()
