"""How times are taken and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.bench import layers, measure
from tinygrad_rnn.bench.layers import layer_goals, layer_jobs, products_alone
from tinygrad_rnn.bench.loops import ADAPTERS, loop_jobs
from tinygrad_rnn.bench.measure import NUMPY_KERNELS, OURS, PRODUCTS, Result, describe, summary, write_json
from tinygrad_rnn.bench.memory import can_measure, peak_bytes


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PAUSE", 0.0)
    monkeypatch.setattr(measure, "SHORTEST", 0.0)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(measure, "time", found)
    return found


def test_a_ratio_is_taken_within_rounds() -> None:
    result = Result("w", "ms", 1e3, {OURS: [1.0, 4.0, 9.0], "peer": [2.0, 4.0, 6.0]})
    assert result.ratio("peer")[1] == 1.0  # the median of 0.5, 1 and 1.5
    assert result.median("peer") == 4000.0


def test_each_of_our_own_is_compared_with_each_peer_and_not_with_the_other() -> None:
    values = {OURS: [1.0], NUMPY_KERNELS: [2.0], "a": [4.0], "b": [8.0]}
    result = Result("w", "ms", 1e3, values)
    assert result.pairs() == [(OURS, "a"), (OURS, "b"), (NUMPY_KERNELS, "a"), (NUMPY_KERNELS, "b")]
    assert result.ratio("b", NUMPY_KERNELS)[1] == 0.25


def test_competitors_take_turns_and_nobody_always_follows_the_same() -> None:
    order: list[str] = []
    jobs = {name: lambda name=name: order.append(name) for name in (OURS, "b", "c")}
    result = measure.measure("w", jobs, rounds=6, seconds=60)
    assert [len(times) for times in result.values.values()] == [6, 6, 6]
    assert order[:6] == [OURS, OURS, "b", "b", "c", "c"]  # not counted
    assert order[6::2] == order[7::2] == [OURS, "b", "c", "c", "b", OURS] * 3  # of two runs the second is counted


def test_the_first_run_is_reported_apart(clock: Clock) -> None:
    waits = iter([3.0] + [1.0] * 11)
    result = measure.measure("w", {OURS: lambda: clock.sleep(next(waits))}, rounds=5, seconds=0)
    assert result.first == {OURS: 3.0} and result.values == {OURS: [1.0] * 5}


def test_the_device_is_waited_for_before_the_clock_is_read() -> None:
    events: list[str] = []
    jobs = {OURS: lambda: events.append("job"), "peer": lambda: events.append("job")}
    measure.measure("w", jobs, rounds=5, seconds=0, synchronize=lambda: events.append("wait"))
    assert events == ["wait", "job", "wait"] * 2 * (2 + 2 * 5)


def test_time_is_limited_but_never_below_five_rounds(clock: Clock) -> None:
    for seconds, rounds in ((0, 5), (15, 8), (1000, 100)):  # of 2 s, one of them not counted
        result = measure.measure("w", {OURS: lambda: clock.sleep(1.0)}, rounds=100, seconds=seconds)
        assert len(result.values[OURS]) == rounds


def test_short_jobs_run_often_enough_for_a_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SHORTEST", 8.0)
    runs: list[int] = []
    measure.measure("w", {OURS: lambda: (clock.sleep(1.0), runs.append(1))}, rounds=5, seconds=0)
    assert len(runs) == 2 + 5 * (1 + 8)


def test_the_table_says_whether_a_goal_was_met() -> None:
    values = {OURS: [1.0] * 3, NUMPY_KERNELS: [3.0] * 3, "torch": [2.0] * 3}
    goals = {OURS: {"torch": 0.6}, NUMPY_KERNELS: {"torch": 0.8}}
    lines = summary([Result("w", "ms", 1e3, values, goals)]).splitlines()
    assert lines[1].split() == ["w", OURS, "torch", "0.50", "0.50", "..", "0.50", "<=", "0.6", "yes"]
    assert lines[2].endswith("<= 0.8  NO")
    assert describe(Result("w", "ms", 1e3, values)).split()[:3] == ["w", "[ms]", OURS]


def test_the_file_holds_every_number(tmp_path: Path) -> None:
    result = Result("w", "ms", 1e3, {OURS: [1.0, 3.0], "torch": [2.0, 3.0]}, {OURS: {"torch": 0.6}})
    write_json(tmp_path / "x.json", {"cores": 2}, [result], complete=False)
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["machine"] == {"cores": 2} and found["complete"] is False
    assert found["results"][0]["seconds"] == result.values
    assert found["results"][0]["ratios"][0]["median"] == 0.75 and found["results"][0]["ratios"][0]["goal"] == 0.6


# what is measured ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [name for name in ADAPTERS if name != OURS])
def test_all_peers_compute_the_same_loop(peer: str) -> None:
    pytest.importorskip(peer)
    assert list(loop_jobs(3, 2, 4, [peer])) == [OURS, peer]  # which compares their gradients


@pytest.mark.parametrize("options", [{}, {"packed": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_all_layers_compute_the_same(kind: str, options: dict[str, bool]) -> None:
    assert OURS in layer_jobs(kind, 6, 3, 4, **options)  # which compares with torch's, where it is


def test_layers_that_differ_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "two_of_ours", lambda: True)
    monkeypatch.setattr(layers, "with_numpy_kernels", lambda job: lambda: 1.01 * job())
    with pytest.raises(AssertionError, match="does not compute the same"):
        layer_jobs("GRU", 6, 3, 4)


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_the_products_alone_are_those_of_the_layer(kind: str, gates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    job = products_alone(kind, 6, 3, 4)[PRODUCTS]
    done = []
    monkeypatch.setattr(np, "matmul", lambda a, b, out: done.append(a.shape[0] * a.shape[1] * b.shape[1]))
    job()
    assert done == [6 * 3 * 4 * gates * 4] * 6
    assert Result("w", "ms", 1, {OURS: [2.0], PRODUCTS: [1.0], "torch": [4.0]}).pairs()[1] == (PRODUCTS, "torch")


def test_goals_depend_on_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "two_of_ours", lambda: True)
    assert layer_goals("GRU", 64, 32, 64) == {OURS: {"torch": 0.5}, NUMPY_KERNELS: {"torch": 0.8}}
    assert layer_goals("LSTM", 64, 32, 128) == {OURS: {"torch": 1.2}, NUMPY_KERNELS: {"torch": 1.5}}
    assert layer_goals("LSTM", 1000, 1, 32) == {OURS: {"torch": 0.5}, NUMPY_KERNELS: {}}
    monkeypatch.setattr(layers, "two_of_ours", lambda: False)
    assert layer_goals("LSTM", 64, 32, 256) == {OURS: {"torch": 1.5}}


@pytest.mark.skipif(not can_measure(), reason="the system does not tell a process its peak")
def test_a_peak_is_what_the_arrays_add_up_to() -> None:
    """An LSTM keeps 4 gates, c and h, and its sweep makes 4 more: 7 to 20 tables of 2 MB."""
    table = 1024 * 8 * 64 * 4
    whole = peak_bytes(NUMPY_KERNELS, "LSTM", 1024, 8, 64)
    assert 7 * table < whole < 20 * table
    assert peak_bytes(NUMPY_KERNELS, "LSTM", 1024, 8, 64, "16") < whole / 2
