"""Schedules that depend on the epoch alone: stepwise, exponential, linear, polynomial, along a cosine.

``e`` is the epoch, ``lr0`` the starting rate; each class says its closed form.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["ConstantLR", "CosineAnnealingLR", "ExponentialLR", "LinearLR", "MultiStepLR", "PolynomialLR", "StepLR"]


class StepLR(LRScheduler):
    """``lr0 * gamma ** (e // step_size)``: down by a factor every so many epochs.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.StepLR(optimiser, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        due = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return self._times(self.gamma) if due else self._unchanged()

    def _get_closed_form_lr(self) -> list[Any]:
        return self._times_initial(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """``lr0 * gamma ** (number of milestones <= e)``: down by a factor at given epochs.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[1, 3], gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        # A Counter, since an epoch that is given twice counts twice.
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        times = self.milestones[self.last_epoch]
        return self._times(self.gamma**times) if times else self._unchanged()

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return self._times_initial(self.gamma**passed)

    def state_dict(self) -> dict[str, Any]:
        """The state, its milestones as a plain dict, which every file format can hold."""
        return {**super().state_dict(), "milestones": dict(self.milestones)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; a file format may have turned its milestones into text."""
        super().load_state_dict(state_dict)
        self.milestones = Counter({int(epoch): n for epoch, n in state_dict["milestones"].items()})


class ExponentialLR(LRScheduler):
    """``lr0 * gamma ** e``: down by a factor every epoch.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        # At construction the group has the right rate already, also when a run is resumed.
        return self._unchanged() if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return self._times_initial(self.gamma**self.last_epoch)


class ConstantLR(LRScheduler):
    """``lr0 * factor`` for the first ``total_iters`` epochs, then ``lr0``.

    Raises:
        ArgumentError: a factor outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.ConstantLR(optimiser, factor=0.5, total_iters=2)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        _check_factor("Constant", factor)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        # The factor is undone by its reciprocal, not by base_lrs: a chained schedule may have changed the rate since.
        if self.last_epoch == 0:
            return self._times(self.factor)
        return self._times(1.0 / self.factor) if self.last_epoch == self.total_iters else self._unchanged()

    def _get_closed_form_lr(self) -> list[Any]:
        over = self.last_epoch >= self.total_iters
        return self._times_initial(self.factor + over * (1 - self.factor))


class LinearLR(LRScheduler):
    """``lr0`` times a factor that goes straight from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs.

    Raises:
        ArgumentError: start_factor outside (0, 1] or end_factor outside [0, 1].

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.LinearLR(optimiser, start_factor=0.25, total_iters=3)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1.0:
            raise ArgumentError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1. "
                f"Got {start_factor}"
            )
        _check_factor("Ending", end_factor)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._unchanged()
        rise = self.end_factor - self.start_factor  # in all; before this epoch the factor was (...) / total_iters
        return self._times(1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))

    def _get_closed_form_lr(self) -> list[Any]:
        done = min(self.total_iters, self.last_epoch)
        rise = self.end_factor - self.start_factor
        return self._times_initial(self.start_factor + rise * done / self.total_iters)


class PolynomialLR(LRScheduler):
    """``lr0 * (1 - e / total_iters) ** power``, 0 from ``total_iters`` on.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=4)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.75, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        # Beyond the end ``before`` is 0, and the rate stays there.
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._unchanged()
        now, before = 1.0 - self.last_epoch / self.total_iters, 1.0 - (self.last_epoch - 1) / self.total_iters
        return self._times((now / before) ** self.power)

    def _get_closed_form_lr(self) -> list[Any]:
        done = min(self.total_iters, self.last_epoch)
        return self._times_initial((1.0 - done / self.total_iters) ** self.power)


class CosineAnnealingLR(LRScheduler):
    """``eta_min + (lr0 - eta_min) * (1 + cos(pi * e / T_max)) / 2``: down in ``T_max`` epochs, then up again.

    Source: Loshchilov & Hutter, ICLR 2017, equation 5 (without restarts).

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=4)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.8536, 0.5, 0.1464]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        if self._is_initial:
            return self._unchanged()
        e, period, floor = self.last_epoch, self.T_max, self.eta_min
        if self._step_count == 1 and e > 0:  # after a jump there is no previous rate
            return [floor + (lr0 - floor) * (1 + math.cos(e * math.pi / period)) / 2 for lr0 in self.base_lrs]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if (e - 1 - period) % (2 * period) == 0:  # the ratio below would be 0 / 0 at the bottom
            rise = 1 - math.cos(math.pi / period)
            return [lr + (lr0 - floor) * rise / 2 for lr0, lr in zip(self.base_lrs, rates, strict=True)]
        now, before = 1 + math.cos(math.pi * e / period), 1 + math.cos(math.pi * (e - 1) / period)
        return [now / before * (lr - floor) + floor for lr in rates]

    def _get_closed_form_lr(self) -> list[Any]:
        wave = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (lr0 - self.eta_min) * wave / 2 for lr0 in self.base_lrs]


def _check_factor(which: str, factor: float) -> None:
    if not 0 <= factor <= 1.0:
        raise ArgumentError(f"{which} multiplicative factor expected to be between 0 and 1. Got {factor}")
