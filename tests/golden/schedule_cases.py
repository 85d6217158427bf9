"""Learning-rate schedules, written once for PyTorch and for this package.

``rates`` takes the module to run (torch, or tinygrad_rnn) and gives the rate of each of two groups at every step,
and the momentum.  make_schedules.py stores what PyTorch gives; the tests compare what we give.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

STEPS = 24
LOSSES = [5.0, 4.0, 4.0, 4.0, 3.9996, 3.9, 3.95, 3.93, 3.91, 3.9, 3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5] + [2.5] * 9

Make = Callable[[Any, Any], Any]  # (lr_scheduler module, optimizer) -> scheduler
CASES: dict[str, Make] = {
    "step": lambda s, o: s.StepLR(o, step_size=3),
    "step-gamma": lambda s, o: s.StepLR(o, 5, gamma=0.7),
    "multi-step": lambda s, o: s.MultiStepLR(o, milestones=[3, 9, 9, 15]),
    "multi-step-gamma": lambda s, o: s.MultiStepLR(o, [1, 20], gamma=0.3),
    "exponential": lambda s, o: s.ExponentialLR(o, gamma=0.9),
    "constant": lambda s, o: s.ConstantLR(o, total_iters=4),
    "constant-factor": lambda s, o: s.ConstantLR(o, factor=0.2, total_iters=7),
    "linear": lambda s, o: s.LinearLR(o),
    "linear-down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=10),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=9, power=2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=7),
    "cosine-floor": lambda s, o: s.CosineAnnealingLR(o, 10, eta_min=0.01),
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.95**e),
    "lambda-each": lambda s, o: s.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: math.cos(e / 30)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9 if e % 2 else 1.0),
    "one-cycle": lambda s, o: s.OneCycleLR(o, max_lr=1.0, total_steps=STEPS),
    "one-cycle-linear": lambda s, o: s.OneCycleLR(
        o, max_lr=[1.0, 0.5], epochs=4, steps_per_epoch=6, anneal_strategy="linear", pct_start=0.4, div_factor=10.0
    ),
    "one-cycle-three": lambda s, o: s.OneCycleLR(
        o, 0.8, total_steps=STEPS, three_phase=True, base_momentum=0.7, max_momentum=[0.9, 0.8], final_div_factor=50.0
    ),
    "one-cycle-fixed-momentum": lambda s, o: s.OneCycleLR(o, 0.8, total_steps=STEPS, cycle_momentum=False),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 10), s.ExponentialLR(o, 0.5)], milestones=[5, 15]
    ),
    "sequential-functions": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, total_iters=3), s.LambdaLR(o, lambda e: 0.5**e)], [3]
    ),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, total_iters=3), s.ExponentialLR(o, 0.9)]),
    "plateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2),
    "plateau-cooldown": lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=2, min_lr=[0.02, 0.0]),
    "plateau-absolute": lambda s, o: s.ReduceLROnPlateau(o, patience=1, threshold=0.05, threshold_mode="abs"),
    "plateau-max": lambda s, o: s.ReduceLROnPlateau(o, mode="max", factor=0.9, patience=0, threshold=0.1),
    "plateau-max-absolute": lambda s, o: s.ReduceLROnPlateau(
        o, mode="max", patience=0, threshold=0.05, threshold_mode="abs"
    ),
}
JUMPS = (0, 1, 7, 3, 12, 20, 20, 5)
CLOSED_FORMS = ["step", "multi-step", "exponential", "constant", "linear", "polynomial", "cosine", "lambda"]


def optimizer(lib: Any, kind: str = "SGD") -> Any:
    a, b = (lib.zeros(2, requires_grad=True) for _ in range(2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(lib.optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.4, **options)


def advance(scheduler: Any, epoch: int) -> None:
    if type(scheduler).__name__ == "ReduceLROnPlateau":
        scheduler.step(LOSSES[epoch])
    else:
        scheduler.step()


def look(o: Any) -> list[float]:
    momentum = [g["momentum"] if "momentum" in g else g["betas"][0] for g in o.param_groups]
    return [float(x) for x in [*(g["lr"] for g in o.param_groups), *momentum]]


def rates(lib: Any, make: Make, kind: str = "SGD") -> list[list[float]]:
    """[rate of group 0, of group 1, momentum of each] before every step and after the last."""
    o = optimizer(lib, kind)
    scheduler = make(lib.optim.lr_scheduler, o)
    seen = [look(o)]
    for epoch in range(STEPS):
        o.step()
        advance(scheduler, epoch)
        assert scheduler.get_last_lr() == [g["lr"] for g in o.param_groups]
        seen.append(look(o))
    return seen


def jumps(lib: Any, make: Make) -> list[list[float]]:
    """The rates after ``step(epoch)``, which PyTorch deprecates and keeps."""
    o = optimizer(lib)
    scheduler = make(lib.optim.lr_scheduler, o)
    o.step()
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in JUMPS:
            scheduler.step(epoch)
            seen.append(look(o)[:2])
    return seen
