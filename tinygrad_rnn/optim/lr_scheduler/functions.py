"""Schedules given as a function of the epoch."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError
from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["LambdaLR", "MultiplicativeLR"]

Schedule = Callable[[int], float]


class _FunctionLR(LRScheduler):
    """One function for all groups, or one for each."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Schedule | Sequence[Schedule], last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        groups = len(optimizer.param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(given) != groups:
            raise ArgumentError(f"Expected {groups} lr_lambdas, but got {len(given)}")
        for function in given:
            if not callable(function):
                raise ArgumentTypeError(f"lr_lambda should be a function, but got {type(function).__name__}")
        self.lr_lambdas: list[Any] = given
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state; of the functions only the attributes of callable objects (None for plain functions)."""
        state = {key: value for key, value in super().state_dict().items() if key != "lr_lambdas"}
        plain = types.FunctionType
        state["lr_lambdas"] = [None if isinstance(f, plain) else dict(vars(f)) for f in self.lr_lambdas]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the functions stay, callable objects get their saved attributes."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        for function, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            # None: a plain function, of which nothing was saved.
            if saved is not None:
                vars(function).update(saved)


class LambdaLR(_FunctionLR):
    """``lr0 * lr_lambda(e)``.

    Args:
        lr_lambda: from epoch to factor; or one such function for each group.

    Raises:
        ArgumentError: a list of another length than the groups.

    >>> import tinygrad_rnn as tg
    >>> optimizer = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=2.0)
    >>> warmup = LambdaLR(optimizer, lambda epoch: min(1.0, (epoch + 1) / 4))
    >>> optimizer.step(); warmup.step(); warmup.get_last_lr()
    [1.0]
    """

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class MultiplicativeLR(_FunctionLR):
    """The present rate times ``lr_lambda(e)``, from epoch 1 on.

    >>> import tinygrad_rnn as tg
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = tg.optim.lr_scheduler.MultiplicativeLR(optimiser, lr_lambda=lambda epoch: 0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.25, 0.125]
    """

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        if self._is_initial:
            return self._unchanged()
        groups = self.optimizer.param_groups
        return [group["lr"] * f(self.last_epoch) for f, group in zip(self.lr_lambdas, groups, strict=True)]
