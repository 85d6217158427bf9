"""Defaults of optimisers and schedules, every limit of their options from both sides, and what is said beyond it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tests.support.words import signature
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.optim import scalars

SIGNATURES = Path(__file__).with_name("signatures.txt")
PROMISED = dict(row.split("(", 1) for row in SIGNATURES.read_text(encoding="utf-8").splitlines())
CLASSES = {
    f"{place}{name}": kind
    for place, module in (("", tg.optim), ("lr_scheduler.", tg.optim.lr_scheduler))
    for name, kind in vars(module).items()
    if inspect.isclass(kind) and name in module.__all__
}


def leaf() -> Any:
    return tg.tensor(np.array([1.0, -2.0]), requires_grad=True)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_defaults_are_what_was_promised(name: str) -> None:
    assert signature(CLASSES[name]) == PROMISED[name]


AT_THE_BORDER: list[tuple[str, dict[str, Any]]] = [
    *[(kind, {"lr": 0}) for kind in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop", "LBFGS")],
    ("SGD", {"momentum": 0, "weight_decay": 0}),
    ("Adam", {"betas": (0.0, 0.0), "eps": 0, "weight_decay": 0}),
    ("RMSprop", {"alpha": 0, "eps": 0, "momentum": 0, "weight_decay": 0}),
    ("Adagrad", {"lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0, "eps": 0}),
    ("ASGD", {"weight_decay": 0}),
    ("Rprop", {"etas": (1e-9, 1.0 + 1e-9)}),
]


@pytest.mark.parametrize(("kind", "options"), AT_THE_BORDER)
def test_options_at_their_borders_are_taken(kind: str, options: dict[str, Any]) -> None:
    (group,) = getattr(tg.optim, kind)([leaf()], **options).param_groups
    assert {name: group[name] for name in options} == options


BEYOND: list[tuple[str, dict[str, Any], str]] = [
    ("SGD", {"lr": -1e-9}, "Invalid learning rate: -1e-09 (it must be at least 0)"),
    ("SGD", {"momentum": -1e-9}, "Invalid momentum value: -1e-09 (it must be at least 0)"),
    ("Adam", {"betas": (1.0, 0.5)}, "Invalid beta parameter at index 0: 1.0 (it must be in [0, 1))"),
    ("Adam", {"betas": (0.5, -1e-9)}, "Invalid beta parameter at index 1: -1e-09 (it must be in [0, 1))"),
    ("Rprop", {"etas": (0.0, 1.5)}, "Invalid eta values: 0.0, 1.5 (expected 0 < etas[0] < 1 < etas[1])"),
    ("Rprop", {"etas": (0.5, 1.0)}, "Invalid eta values: 0.5, 1.0 (expected 0 < etas[0] < 1 < etas[1])"),
    ("Rprop", {"etas": (1.0, 1.5)}, "Invalid eta values: 1.0, 1.5 (expected 0 < etas[0] < 1 < etas[1])"),
    (
        "SGD",
        {"nesterov": True, "momentum": 0},
        "Nesterov momentum requires a momentum and zero dampening: got momentum=0, dampening=0",
    ),
    ("SGD", {"weight_decay": tg.ones(2)}, "Tensor weight_decay value must be 1-element, got shape (2,)"),
    ("SGD", {"lr": tg.ones(2)}, "Tensor lr must be 1-element, got shape (2,)"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BEYOND, ids=[row[2] for row in BEYOND])
def test_options_beyond_their_borders_are_refused(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TinygradRnnError) as caught:
        getattr(tg.optim, kind)([leaf()], **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "ASGD", "Rprop"])
def test_what_cannot_be_differentiated_is_refused_by_all(kind: str) -> None:
    with pytest.raises(TinygradRnnError, match="differentiable=True is not available"):
        getattr(tg.optim, kind)([leaf()], differentiable=True)
    if "fused=" in PROMISED[kind]:
        with pytest.raises(TinygradRnnError, match="`fused` and `foreach` cannot be `True` together"):
            getattr(tg.optim, kind)([leaf()], fused=True, foreach=True)


def test_with_full_dampening_no_gradient_but_the_first_enters_the_velocity() -> None:
    p = leaf()
    optimizer = tg.optim.SGD([p], lr=1.0, momentum=0.5, dampening=1.0)
    for gradient in (2.0, 7.0, 9.0):
        p.grad = tg.full((2,), gradient, dtype=tg.float64)
        optimizer.step()
    assert optimizer.state[p]["momentum_buffer"].tolist() == [0.5, 0.5]
    assert p.tolist() == [1 - 3.5, -2 - 3.5]


SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 5, 5, 9], "gamma": 0.5},
    "ConstantLR": {"factor": 0.25, "total_iters": 4},
    "LinearLR": {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 4},
    "ExponentialLR": {"gamma": 0.9},
    "CosineAnnealingLR": {"T_max": 4, "eta_min": 0.125},
    "PolynomialLR": {"total_iters": 4, "power": 2.0},
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_jump_to_an_epoch_gives_the_rate_that_going_there_gives(name: str) -> None:
    def made() -> Any:
        optimizer = tg.optim.SGD([{"params": [leaf()]}, {"params": [leaf()], "lr": 2.0}], lr=1.0)
        return getattr(tg.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name])

    going = made()
    for epoch in range(13):
        jumping = made()
        jumping.step(epoch)
        np.testing.assert_allclose(jumping.get_last_lr(), going.get_last_lr(), 1e-12, 1e-15)
        assert jumping.last_epoch == going.last_epoch == epoch
        going.step()
    assert len({tuple(made().get_last_lr()), tuple(going.get_last_lr())}) == 2 or name in ("CosineAnnealingLR",)


def test_one_cycle_may_rise_all_the_time_or_never_and_names_what_does_not_fit() -> None:
    def made(**options: Any) -> Any:
        optimizer = tg.optim.SGD([{"params": [leaf()]}, {"params": [leaf()]}], lr=1.0, momentum=0.5)
        return tg.optim.lr_scheduler.OneCycleLR(optimizer, **{"max_lr": 1.0, "total_steps": 8, **options})

    for share in (0.0, 1.0):
        assert made(pct_start=share).optimizer.param_groups[0]["max_lr"] == 1.0
    assert [g["base_momentum"] for g in made(base_momentum=[0.1, 0.2]).optimizer.param_groups] == [0.1, 0.2]
    for name in ("max_lr", "max_momentum", "base_momentum"):
        with pytest.raises(TinygradRnnError, match=f"^{name} must have .* {name} has 3 values"):
            made(**{name: [0.1, 0.2, 0.3]})
    for name, options in (
        ("total_steps", {"total_steps": 0}),
        ("epochs", {"total_steps": None, "epochs": 0, "steps_per_epoch": 1}),
        ("steps_per_epoch", {"total_steps": None, "epochs": 1, "steps_per_epoch": 0}),
    ):
        with pytest.raises(TinygradRnnError, match=f"Expected positive integer {name}, but got 0"):
            made(**options)
    for share in (-1e-9, 1 + 1e-9, 1):
        with pytest.raises(TinygradRnnError, match="Expected float between 0 and 1 pct_start"):
            made(pct_start=share)


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "border"),
    [("min", "rel", 1.5), ("min", "abs", 1.75), ("max", "rel", 2.5), ("max", "abs", 2.25)],
)
def test_a_measure_must_pass_the_threshold_to_be_better(mode: str, threshold_mode: str, border: float) -> None:
    sign = 1 if mode == "max" else -1
    for measure, better in ((border, False), (border + sign * 1e-9, True), (border - sign * 1e-9, False)):
        p = leaf()
        optimizer = tg.optim.SGD([p], lr=1.0)
        schedule = tg.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, threshold=0.25, threshold_mode=threshold_mode, patience=0
        )
        schedule.step(2.0)
        schedule.step(measure)
        assert schedule.best == (measure if better else 2.0)
        assert optimizer.param_groups[0]["lr"] == (1.0 if better else 0.1)


CHANGING = SCHEDULES | {
    "LambdaLR": {"lr_lambda": lambda epoch: 0.5**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.5},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 8},
}


@pytest.mark.parametrize("name", CHANGING)
def test_every_schedule_warns_who_asks_for_the_next_rate_outside_a_step(name: str) -> None:
    optimizer = tg.optim.SGD([leaf()], lr=1.0, momentum=0.5)
    schedule = getattr(tg.optim.lr_scheduler, name)(optimizer, **CHANGING[name])
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        schedule.get_lr()


@pytest.mark.parametrize("name", CHANGING)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_next_rate_asked_for_outside_a_step_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    for last_epoch, steps in ((-1, 0), (-1, 2), (0, 0), (3, 0), (3, 1), (4, 0)):
        found = []
        for lib in (tg, torch):
            group = {"params": [lib.zeros(1, requires_grad=True)], "lr": 0.75, "initial_lr": 1.0}
            group |= {"max_lr": 1.0, "min_lr": 0.1, "max_momentum": 0.9, "base_momentum": 0.8}
            optimizer = lib.optim.SGD([group], momentum=0.5)
            schedule = getattr(lib.optim.lr_scheduler, name)(optimizer, **CHANGING[name], last_epoch=last_epoch)
            for _ in range(steps):
                schedule.step()
            found.append([float(lr) for lr in (*schedule.get_lr(), *schedule.get_last_lr())])
        np.testing.assert_allclose(found[0], found[1], 1e-12)


def test_a_rate_on_the_device_stays_there_beside_an_array_of_the_device() -> None:
    with arrays.module("double") as xp:
        rate = xp.asarray(np.float64(0.5))
        there = scalars.factor(rate, xp.ones(2, np.float32))
        assert isinstance(there, xp.ndarray) and there.dtype == np.float32
        assert type(scalars.factor(rate, np.ones(2, np.float32))) is float
        assert scalars.enabled(rate) and not scalars.enabled(0.0)
        assert scalars.enabled(1e-30) and scalars.enabled(1)
