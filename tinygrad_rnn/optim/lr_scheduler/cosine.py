"""Cosine annealing."""

from __future__ import annotations

import math
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["CosineAnnealingLR"]


class CosineAnnealingLR(LRScheduler):
    """``eta_min + (lr0 - eta_min) * (1 + cos(pi * e / T_max)) / 2``: down in ``T_max`` epochs, then up again.

    Source: Loshchilov & Hutter, ICLR 2017, equation 5 (without restarts).
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
        if self._step_count == 1 and e > 0:  # after a jump there is no rate before to go on from
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
