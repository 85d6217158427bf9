"""Every schedule gives PyTorch's rates, digit by digit; states save and load; mistakes are named."""

from __future__ import annotations

import copy
import json
import pathlib
import types
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.golden import schedule_cases as cases
from tests.support.profiles import examples
from tinygrad_rnn import serialization
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.optim import lr_scheduler

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "schedules.json").read_text())


# Both compute in Python floats, in the same order: no digit may differ.
@pytest.mark.parametrize("name", cases.CASES)
def test_rates_are_those_of_pytorch(name: str) -> None:
    ours = cases.rates(tg, cases.CASES[name])
    assert ours == GOLDEN["rates"][name]
    assert len({row[0] for row in ours}) > 1 or name == "plateau-max"


@pytest.mark.parametrize("name", GOLDEN["betas"])
def test_one_cycle_moves_the_first_beta_of_adam(name: str) -> None:
    assert cases.rates(tg, cases.CASES[name], "Adam") == GOLDEN["betas"][name]


@pytest.mark.parametrize("name", cases.CLOSED_FORMS)
def test_jumps_are_those_of_pytorch(name: str) -> None:
    assert cases.jumps(tg, cases.CASES[name]) == GOLDEN["jumps"][name]


@settings(max_examples=examples(60))
@given(st.data())
def test_random_schedules_follow_pytorch_where_it_is_installed(data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    unit, count = st.floats(0.01, 1.0), st.integers(1, 12)
    kinds: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": count, "gamma": unit},
        "MultiStepLR": {"milestones": st.lists(count, max_size=5), "gamma": unit},
        "ExponentialLR": {"gamma": unit},
        "ConstantLR": {"factor": unit, "total_iters": count},
        "LinearLR": {"start_factor": unit, "end_factor": unit, "total_iters": count},
        "PolynomialLR": {"total_iters": count, "power": unit},
        "CosineAnnealingLR": {"T_max": count, "eta_min": st.floats(0, 0.1)},
        "OneCycleLR": {
            "max_lr": unit,
            "total_steps": st.integers(cases.STEPS, 60),
            "pct_start": st.floats(0.1, 0.45),  # so that no phase is empty
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "three_phase": st.booleans(),
            "div_factor": st.floats(1, 30),
        },
        "ReduceLROnPlateau": {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.floats(0.1, 0.9),
            "patience": st.integers(0, 5),
            "threshold": st.floats(0, 0.5),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 4),
            "min_lr": st.floats(0, 0.1),
        },
    }
    kind = data.draw(st.sampled_from(sorted(kinds)))
    options = {name: data.draw(values) for name, values in kinds[kind].items()}

    def make(schedulers: Any, optimizer: Any) -> Any:
        return getattr(schedulers, kind)(optimizer, **options)

    assert cases.rates(tg, make) == cases.rates(torch, make)


@pytest.mark.parametrize("name", cases.CASES)
def test_a_schedule_resumed_from_a_state_dict_goes_on(name: str) -> None:
    def half(optimizer: Any, scheduler: Any, epochs: range) -> None:
        for epoch in epochs:
            optimizer.step()
            cases.advance(scheduler, epoch)

    optimizer = cases.optimizer(tg)
    scheduler = cases.CASES[name](lr_scheduler, optimizer)
    half(optimizer, scheduler, range(9))
    saved = copy.deepcopy((scheduler.state_dict(), optimizer.state_dict()))
    half(optimizer, scheduler, range(9, cases.STEPS))
    other = cases.optimizer(tg)
    resumed = cases.CASES[name](lr_scheduler, other)
    resumed.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    half(other, resumed, range(9, cases.STEPS))
    assert cases.look(other) == cases.look(optimizer)
    assert resumed.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize("name", cases.CASES)
def test_state_dicts_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    states = []
    for lib in (tg, torch):
        optimizer = cases.optimizer(lib)
        scheduler = cases.CASES[name](lib.optim.lr_scheduler, optimizer)
        for epoch in range(5):
            optimizer.step()
            cases.advance(scheduler, epoch)
        states.append(scheduler.state_dict())
    assert states[0] == states[1]


@pytest.mark.parametrize("name", cases.CASES)
def test_states_can_be_saved_in_a_file(name: str, tmp_path: pathlib.Path) -> None:
    optimizer = cases.optimizer(tg)
    scheduler = cases.CASES[name](lr_scheduler, optimizer)
    for epoch in range(4):
        optimizer.step()
        cases.advance(scheduler, epoch)
    for which, state in (("schedule", scheduler.state_dict()), ("optimizer", optimizer.state_dict()["param_groups"])):
        serialization.save(state, tmp_path / which)
        assert serialization.load(tmp_path / which) == state


def test_milestones_that_became_text_in_a_file_are_numbers_again() -> None:
    optimizer = cases.optimizer(tg)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [2, 2])
    state = scheduler.state_dict()
    scheduler.load_state_dict({**state, "milestones": {"2": 2}})
    assert scheduler.milestones == {2: 2} and list(scheduler.milestones.elements()) == [2, 2]


def test_a_callable_object_keeps_its_attributes_in_the_state() -> None:
    class Warmup:
        def __init__(self, epochs: int) -> None:
            self.epochs = epochs

        def __call__(self, epoch: int) -> float:
            return min(1.0, (epoch + 1) / self.epochs)

    scheduler = lr_scheduler.LambdaLR(cases.optimizer(tg), [Warmup(4), lambda e: 1.0])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"epochs": 4}, None]
    other = lr_scheduler.LambdaLR(cases.optimizer(tg), [Warmup(99), lambda e: 1.0])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].epochs == 4 and state["lr_lambdas"] == [{"epochs": 4}, None]


def test_a_rate_that_is_a_tensor_is_changed_in_its_memory() -> None:
    rate = tg.tensor(np.array(1.0))
    optimizer = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=rate)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    before = scheduler.get_last_lr()
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.5
    assert before[0].item() == 1.0 and scheduler.base_lrs[0].item() == 1.0


def test_resuming_by_epoch_uses_the_initial_rate_in_the_groups() -> None:
    optimizer = cases.optimizer(tg)
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified in param_groups"):
        lr_scheduler.StepLR(optimizer, 2, last_epoch=3)
    for group in optimizer.param_groups:
        group["initial_lr"] = 1.0
    assert lr_scheduler.LambdaLR(optimizer, lambda e: 0.5**e, last_epoch=3).get_last_lr() == [0.0625, 0.0625]
    assert lr_scheduler.CosineAnnealingLR(optimizer, 8, last_epoch=3).last_epoch == 4


# Order of steps -----------------------------------------------------------------------------------------------


def test_stepping_the_schedule_first_warns_once() -> None:
    optimizer = cases.optimizer(tg)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`") as w:
        scheduler.step()
    assert w[0].filename == __file__
    scheduler.step()


def test_steps_before_the_schedule_was_made_do_not_count_but_later_ones_do() -> None:
    optimizer = cases.optimizer(tg)
    optimizer.step()
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="Detected call"):
        scheduler.step()
    optimizer.step()
    lr_scheduler.StepLR(optimizer, 2).step()


def test_a_step_that_was_replaced_warns() -> None:
    optimizer = cases.optimizer(tg)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    step = optimizer.step
    optimizer.step = types.MethodType(lambda self: step(), optimizer)
    with pytest.warns(UserWarning, match=r"Seems like `optimizer.step\(\)` has been overridden"):
        scheduler.step()


def test_a_step_that_was_replaced_before_is_let_be() -> None:
    optimizer = cases.optimizer(tg)
    optimizer.step = lambda: None
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    optimizer.step()
    scheduler.step()


def test_the_epoch_argument_and_get_lr_outside_a_step_warn() -> None:
    optimizer = cases.optimizer(tg)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    with pytest.warns(UserWarning, match="The epoch parameter in `scheduler.step"):
        scheduler.step(3)
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        scheduler.get_lr()
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.warns(UserWarning, match="The epoch parameter"):
        plateau.step(1.0, epoch=4)
    assert plateau.last_epoch == 4


def test_a_plateau_takes_a_tensor_as_measure() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(cases.optimizer(tg))
    scheduler.step(tg.tensor(0.25))
    assert scheduler.best == 0.25


def test_a_plateau_follows_groups_that_were_added() -> None:
    optimizer = cases.optimizer(tg)
    one = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.02)
    two = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.0])
    optimizer.add_param_group({"params": [tg.zeros(1, requires_grad=True)], "lr": 1.0})
    one.step(1.0)
    one.step(1.0)
    assert [g["lr"] for g in optimizer.param_groups] == [0.4 * 0.1, 0.02, 0.1]
    two.step(1.0)
    with pytest.raises(RuntimeError, match="The number of param groups in the `optimizer`"):
        two.step(1.0)


# Mistakes -----------------------------------------------------------------------------------------------------


def mistakes(lib: Any) -> list[tuple[Any, type[Exception], str]]:
    """Calls, what they raise, and the words that both libraries use."""
    s, o, other = lib.optim.lr_scheduler, cases.optimizer(lib), cases.optimizer(lib)
    adagrad = lib.optim.Adagrad([lib.zeros(1, requires_grad=True)])
    one = s.ConstantLR(o)
    return [
        (lambda: s.StepLR(5, 2), TypeError, "int is not an Optimizer"),
        (lambda: s.ReduceLROnPlateau(5), TypeError, "int is not an Optimizer"),
        (lambda: s.OneCycleLR(5, 0.1), TypeError, "int is not an Optimizer"),
        (lambda: s.LambdaLR(o, [lambda e: 1.0]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda: s.MultiplicativeLR(o, 5), TypeError, "lr_lambda should be a function, but got int"),
        (lambda: s.ConstantLR(o, 1.5), ValueError, "Constant multiplicative factor expected to be between 0 and 1"),
        (lambda: s.LinearLR(o, 0.0), ValueError, "Starting multiplicative factor expected to be greater than 0"),
        (lambda: s.LinearLR(o, 0.5, 2.0), ValueError, "Ending multiplicative factor expected to be between 0 and 1"),
        (lambda: s.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
        (lambda: s.ReduceLROnPlateau(o, mode="best"), ValueError, "mode best is unknown!"),
        (lambda: s.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold mode x is unknown!"),
        (lambda: s.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "expected 2 min_lrs, got 1"),
        (
            lambda: s.OneCycleLR(o, 0.1),
            ValueError,
            "You must define either total_steps OR (epochs AND",
        ),
        (lambda: s.OneCycleLR(o, 0.1, 0), ValueError, "Expected positive integer total_steps, but got 0"),
        (lambda: s.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=2), ValueError, "Expected positive integer epochs"),
        (lambda: s.OneCycleLR(o, 0.1, epochs=1, steps_per_epoch=0.5), ValueError, "positive integer steps_per_epoch"),
        (
            lambda: s.OneCycleLR(o, 0.1, 9, pct_start=2.0),
            ValueError,
            "Expected float between 0 and 1 pct_start",
        ),
        (lambda: s.OneCycleLR(o, 0.1, 9, anneal_strategy="x"), ValueError, "anneal_strategy must be one of"),
        (lambda: s.OneCycleLR(o, [0.1], 9), ValueError, "max_lr must have the same length as optimizer.param_groups"),
        (lambda: s.OneCycleLR(adagrad, 0.1, 9), ValueError, "optimizer must support momentum or beta1"),
        (lambda: s.SequentialLR(o, [], []), ValueError, "SequentialLR expects at least one scheduler"),
        (lambda: s.SequentialLR(o, [one], [3]), ValueError, "expects number of schedulers provided to be one more"),
        (
            lambda: s.SequentialLR(other, [one], []),
            ValueError,
            "schedulers to belong to the same optimizer",
        ),
        (
            lambda: s.SequentialLR(o, [one, s.ReduceLROnPlateau(o)], [3]),
            ValueError,
            "does not support `ReduceLROnPlateau` scheduler",
        ),
        (lambda: s.SequentialLR(o, [5], []), TypeError, "at index 0 should have `optimizer` as its attribute"),
        (lambda: s.ChainedScheduler([]), ValueError, "expects at least one scheduler to be chained"),
        (
            lambda: s.ChainedScheduler([one], other),
            ValueError,
            "schedulers to belong to the same optimizer",
        ),
        (lambda: s.ChainedScheduler([one, s.ReduceLROnPlateau(o)]), ValueError, "does not support `ReduceLROnPlateau`"),
    ]


@pytest.mark.parametrize("case", range(len(mistakes(tg))))
def test_mistakes_are_named_in_the_words_of_pytorch(case: int) -> None:
    call, kind, message = mistakes(tg)[case]
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, TinygradRnnError)
    assert message in str(caught.value)
    torch = pytest.importorskip("torch")
    call, kind, message = mistakes(torch)[case]
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)


def test_one_cycle_ends() -> None:
    optimizer = cases.optimizer(tg)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, 2)
    optimizer.step()
    scheduler.step()
    scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 3 times. The specified number of total steps is 2"):
        scheduler.step()


def test_the_base_class_has_no_rates() -> None:
    with pytest.raises(NotImplementedError, match="LRScheduler does not define get_lr"):
        lr_scheduler.LRScheduler(cases.optimizer(tg))


def test_no_warning_in_the_right_order() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cases.rates(tg, cases.CASES["step"])
