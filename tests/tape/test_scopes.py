"""Where a record was made: module, layer, direction, time step; by composed layers, and by ``tape.at``."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError
from tinygrad_rnn.nn.module.hooks import ANYWHERE
from tinygrad_rnn.nn.utils.rnn import pack_padded_sequence
from tinygrad_rnn.tape.modes import Watcher, state, watched


def test_time_is_said_by_the_user() -> None:
    w = tg.tensor([1.0], requires_grad=True)
    with tg.Tape() as tape:
        _ = w * 1
        with tape.at(t=3):
            _ = w * 2
            with tape.at(layer=1, direction=1):
                _ = w * 3
            with tape.at(np.int64(4)):  # any whole number
                _ = w * 4
        _ = w * 5
    assert [r.time for r in tape] == [None, 3, 3, 4, None]
    assert [(r.layer, r.direction) for r in tape] == [(None, None)] * 2 + [(1, 1)] + [(None, None)] * 2
    assert tape[2]._when() == "layer 1 reverse t=3" and repr(tape[1]).endswith("# t=3")
    assert tape.table("where").splitlines()[2:4] == ["t=3", "layer 1 reverse t=3"]
    assert state.here.scope is None


def test_what_is_no_time_is_refused() -> None:
    tape = tg.Tape()
    for wrong in (1.5, "3", True):
        with pytest.raises(ArgumentTypeError, match=r"Tape.at\(\): t must be an integer, not"):
            tape.at(t=wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="direction is 0"):
        tape.at(direction=2)


def test_an_error_ends_every_scope() -> None:
    w = tg.tensor([1.0], requires_grad=True)

    class Breaks(tg.nn.Module):
        def forward(self, x: Any) -> Any:
            raise ZeroDivisionError

    tape = tg.Tape()
    with tape:
        for scope in (tape.at(t=3), tape.at(t=4)):
            with pytest.raises(ZeroDivisionError), scope:
                Breaks()(w)
        _ = w * 2
    assert (tape[-1].time, tape[-1].module) == (None, None) and state.here.scope is None and not ANYWHERE


def test_an_error_in_a_step_of_a_composed_layer_ends_the_scope_while_it_is_handled() -> None:
    lstm = tg.nn.LSTM(2, 3, impl="composed")
    w = tg.tensor([1.0], requires_grad=True)
    with tg.Tape() as tape:
        try:
            tg.nn.RNN(2, 3, impl="composed", recurrent_dropout=0.5)(tg.ones(2, 1, 2))
            lstm(tg.ones(2, 1, 2), (tg.ones(1, 1, 3), tg.ones(1, 1, 4)))
        except RuntimeError:
            _ = w * 2
    assert tape[-1].name == "mul" and str(tape[-1].scope) == "" and state.here.scope is None


def test_an_error_in_a_loop_over_time_ends_its_scope() -> None:
    w = tg.tensor([1.0], requires_grad=True)

    def step(x: Any, states: Any) -> Any:
        raise ZeroDivisionError

    with tg.Tape() as tape, tape.at(layer=3):
        try:
            tg.ops.recurrent.unroll.unroll(step, tg.ones(2, 1, 2), (w,))
        except ZeroDivisionError:
            _ = w * 2
    assert (tape[-1].layer, tape[-1].time) == (3, None)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_composed_layers_say_layer_direction_and_time(kind: str) -> None:
    model = getattr(tg.nn, kind)(2, 3, num_layers=2, bidirectional=True, impl="composed")
    with tg.Tape() as tape:
        y = model(tg.ones(4, 1, 2))[0]
        y.sum().backward()
    steps = {(r.layer, r.direction, r.time) for r in tape if r.name in ("linear", "tanh")}
    assert steps == {(layer, direction, t) for layer in range(2) for direction in range(2) for t in range(4)}
    assert {r.module for r in tape if r.layer is not None} == {"model"}
    after = [(r.layer, r.time) for r in tape if r.name == "stack" and r.layer is not None]
    assert after == [(0, None), (0, None), (1, None), (1, None)]  # the loop over time is over
    order = [r.time for r in tape if r.layer == 1 and r.direction == 1 and r.name == "linear"]
    assert order == sorted(order, reverse=True) and tape[-1].module is None
    # the shares of a weight are at these steps, latest visited first
    for name, times in (("weight_hh_l0", [3, 2, 1, 0]), ("weight_hh_l1_reverse", [0, 1, 2, 3])):
        shares = tape.shares(f"model.{name}")
        assert [s.record.time for s in shares if s.record is not None] == times
        np.testing.assert_array_equal(shares.total(), getattr(model, name).grad.numpy())


def test_packed_steps_have_the_time_of_their_sequences() -> None:
    model = tg.nn.LSTM(2, 3, bidirectional=True, impl="composed")
    packed = pack_padded_sequence(tg.ones(5, 3, 2), tg.tensor([5, 3, 2]))
    with tg.Tape() as tape:
        model(packed)
    rows = {(r.direction, r.time): r.shape[0] for r in tape if r.name == "tanh"}
    assert rows == {(d, t): n for d in range(2) for t, n in enumerate([3, 3, 2, 1, 1])}


def test_the_time_of_a_grid_is_its_diagonal() -> None:
    layer = tg.nn.MDLSTM(2, 3)
    with tg.Tape() as tape:
        layer(tg.ones(3, 2, 1, 2))
    cells = {r.time: r.shape[0] for r in tape if r.name == "tanh"}
    assert cells == {0: 1, 1: 2, 2: 2, 3: 1} and {r.module for r in tape} == {"layer"}
    assert tape[-1].time is None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_segments_of_a_checkpointed_layer_go_on_counting(reverse: bool, packed: bool) -> None:
    model = tg.nn.RNN(2, 3, bidirectional=reverse, impl="composed", checkpoint_segments=3)
    x: Any = tg.ones(7, 2, 2)
    if packed:
        x = pack_padded_sequence(x, tg.tensor([7, 4]))
    with tg.Tape() as tape:
        model(x)
    for direction in range(1 + reverse):
        times = [r.time for r in tape if r.name == "tanh" and r.direction == direction]
        assert times == (list(range(7)) if direction == 0 else list(range(7))[::-1])


def test_fused_layers_say_module_layer_and_direction() -> None:
    model = tg.nn.Sequential(tg.nn.LSTM(2, 3, num_layers=2, bidirectional=True))
    with tg.Tape() as tape:
        model(tg.ones(4, 1, 2))
    fused = [(r.module, r.layer, r.direction, r.time) for r in tape if r.name == "lstm"]
    assert fused == [("model.0", layer, direction, None) for layer in range(2) for direction in range(2)]


def test_modules_within_modules_have_a_path() -> None:
    class Cells(tg.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = tg.nn.RNNCell(2, 2)
            self.heads = tg.nn.ModuleList([tg.nn.Linear(2, 1), tg.nn.Linear(2, 1)])
            self.hidden = [tg.nn.Tanh()]  # no child

        def forward(self, x: Any) -> Any:
            h = None
            for t in range(len(x)):
                h = self.cell(x[t], h)
            return self.hidden[0](self.heads[1](h) * 2)

    nets = {"first": Cells()}
    tape = tg.Tape()
    with tape, tape.at(t=9):
        nets["first"](tg.ones(2, 1, 2))
    assert {r.module for r in tape} == {
        *('nets["first"].cell', 'nets["first"].heads.1', 'nets["first"]', 'nets["first"].hidden[0]')
    }
    assert {r.time for r in tape} == {9}
    assert 'nets["first"].heads.1' in str(tape)


def test_hooks_see_the_module_that_they_belong_to() -> None:
    w = tg.tensor([1.0], requires_grad=True)
    model = tg.nn.Sequential(tg.nn.Identity())
    model[0].register_forward_hook(lambda module, args, y: y * 2)
    with tg.Tape() as tape:
        model(w)
    assert [r.module for r in tape] == ["model.0"]


def test_what_another_thread_records_has_its_own_scope() -> None:
    w = tg.tensor([1.0], requires_grad=True)
    other = tg.Tape()

    def run() -> None:
        with other:
            tg.nn.Identity()(w * 2)
            _ = w * 3

    tape = tg.Tape()
    with tape, tape.at(t=1):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert [(r.time, r.module) for r in other] == [(None, None)] * 2 and len(tape) == 0 and not ANYWHERE


def test_without_a_tape_nothing_is_noted() -> None:
    seen: list[Any] = []

    class Scopes(tg.nn.Module):
        def forward(self, x: Any) -> Any:
            seen.append(state.here.scope)
            return x

    Scopes()(1)
    watched(Watcher(), Scopes(), 1)  # watchers that are no tapes see no modules
    assert seen == [None, None]
    with tg.Tape():
        Scopes()(1)
    assert seen[2].module == "Scopes"


def test_the_recorded_sweep_of_a_fused_layer_has_the_times_of_its_reference() -> None:
    layer = tg.nn.RNN(2, 3)
    with tg.Tape() as tape:
        layer(tg.ones(3, 1, 2))[0].sum().backward(create_graph=True)
    assert {r.time for r in tape if r.name == "tanh"} == {0, 1, 2}


def test_a_tape_that_was_never_closed_marks_modules_no_longer_than_it_lives() -> None:
    tape = tg.Tape()
    tape.__enter__()
    state.here.watchers = ()  # as after an interrupt
    assert len(ANYWHERE) == 1
    del tape
    assert not ANYWHERE
