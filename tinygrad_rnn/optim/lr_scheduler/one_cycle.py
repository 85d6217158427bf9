"""The one-cycle policy: up to a large rate, then down to a tiny one, momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ...tape.tensor import Tensor
from ..optimizer import Optimizer
from .base import LRScheduler, check_optimizer

__all__ = ["OneCycleLR"]


class OneCycleLR(LRScheduler):
    """One cycle over all of training; step it after every batch.

    The rate goes from ``max_lr / div_factor`` to ``max_lr`` in the first ``pct_start`` of the steps, then down to
    the initial rate / ``final_div_factor``; with ``three_phase`` it first comes down as it went up, then goes to
    that minimum. Between two ends ``a`` and ``b``, at fraction ``q`` of a phase, it is
    ``b + (a - b) / 2 * (1 + cos(pi q))`` or ``(b - a) * q + a``.

    Args:
        optimizer: whose ``lr``, and ``momentum`` or first ``beta``, is to be scheduled.
        max_lr: the largest rate, or one for each group.
        total_steps: number of steps in the cycle; or give ``epochs`` and ``steps_per_epoch``.
        pct_start: fraction of the steps on the way up. Default 0.3.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: move the momentum between ``max_momentum`` (at small rates) and ``base_momentum``.
        base_momentum, max_momentum: its bounds, or one for each group. Default 0.85 and 0.95.
        div_factor, final_div_factor: see above. Default 25 and 1e4.
        three_phase: see above.

    Raises:
        ArgumentError: no valid number of steps; pct_start, strategy or a list that does not fit; an
            optimiser without momentum and ``cycle_momentum``; more than ``total_steps`` steps.
        ArgumentTypeError: ``optimizer`` is not an Optimizer.

    Source: Smith & Topin, arXiv:1708.07120; two phases as in fastai.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [0.04, 0.9505, 0.6113, 0.1883]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        if total_steps is not None:
            self.total_steps = _positive("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _positive("epochs", epochs) * _positive("steps_per_epoch", steps_per_epoch)
        else:
            raise ArgumentError("You must define either total_steps OR (epochs AND steps_per_epoch)")
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ArgumentError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._schedule_phases = _phases(pct_start * self.total_steps, self.total_steps - 1, three_phase)
        self._anneal_func_type = anneal_strategy
        peaks = _per_group("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
                raise ArgumentError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
            self.use_beta1 = "betas" in optimizer.defaults
            highs = _per_group("max_momentum", optimizer, max_momentum)
            lows = _per_group("base_momentum", optimizer, base_momentum)
            if last_epoch == -1:
                for group, high, low in zip(optimizer.param_groups, highs, lows, strict=True):
                    self._put_momentum(group, high)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def _put_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            # The second beta, of the squares, has no part in the cycle.
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def _between(self, start: Any, end: Any, fraction: float) -> Any:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * fraction) + 1)
        return (end - start) * fraction + start

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        now = self.last_epoch
        if now > self.total_steps:
            raise ArgumentError(f"Tried to step {now} times. The specified number of total steps is {self.total_steps}")
        start, phase = 0.0, self._schedule_phases[-1]
        for candidate in self._schedule_phases[:-1]:
            if now <= candidate["end_step"]:
                phase = candidate
                break
            start = candidate["end_step"]
        fraction = (now - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], fraction))
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._put_momentum(group, self._between(*ends, fraction))
        return rates


def _phases(rise: float, last: int, three_phase: bool) -> list[dict[str, Any]]:
    """The legs of the cycle as data: where each ends, and which entries of a group it runs between."""

    def leg(end_step: float, lrs: tuple[str, str], momenta: tuple[str, str]) -> dict[str, Any]:
        ends = {"start_lr": lrs[0], "end_lr": lrs[1], "start_momentum": momenta[0], "end_momentum": momenta[1]}
        return {"end_step": end_step, **ends}

    # Steps count from 0, so that a phase of n steps ends at n - 1.
    up = leg(float(rise) - 1, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
    if three_phase:
        down = leg(float(2 * rise) - 2, ("max_lr", "initial_lr"), ("base_momentum", "max_momentum"))
        # The momentum is back at its maximum, and stays there, as in PyTorch.
        return [up, down, leg(last, ("initial_lr", "min_lr"), ("max_momentum", "max_momentum"))]
    return [up, leg(last, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))]


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or value <= 0:
        raise ArgumentError(f"Expected positive integer {name}, but got {value}")
    return value


def _per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    groups = len(optimizer.param_groups)
    if isinstance(value, (list, tuple)):
        if len(value) != groups:
            raise ArgumentError(
                f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
                f"param_groups has {groups}."
            )
        values = list(value)
    else:
        values = [value] * groups
    return [Tensor(v._data.copy()) if isinstance(v, Tensor) else v for v in values]
