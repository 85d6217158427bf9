"""Compound schedules: one after another, or several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError
from ..optimizer import Optimizer
from .base import LRScheduler, current, put
from .plateau import ReduceLROnPlateau

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Compound(LRScheduler):
    """A scheduler that steps others; its state holds theirs."""

    _schedulers: list[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """The state of this scheduler and of those in it."""
        return {**super().state_dict(), "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state from :meth:`state_dict`."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)

    def _check(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        for i, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise ArgumentTypeError(f"{name} at index {i} should have `optimizer` as its attribute.")
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(
                    f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs to be "
                    f"specified when calling `step`, but got one at index {i} in the given schedulers sequence."
                )
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(
                    f"{name} expects all schedulers to belong to the same optimizer, but got scheduler "
                    f"{type(scheduler).__name__} at index {i} has {scheduler.optimizer}, which is different from "
                    f"{type(optimizer).__name__}."
                )


class SequentialLR(_Compound):
    """Several schedules in turn: number ``i`` starts at epoch ``milestones[i - 1]``, as if from its epoch 0.

    Args:
        schedulers: made for the same optimiser, in their order.
        milestones: the epochs of change, one fewer than schedulers.

    Raises:
        ArgumentError: no scheduler, one of another optimiser, ReduceLROnPlateau, or numbers that do not fit.

    >>> import tinygrad_rnn as tg
    >>> optimizer = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> warmup = tg.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=9)
    >>> decay = tg.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.1)
    >>> scheduler, rates = SequentialLR(optimizer, [warmup, decay], milestones=[2]), []
    >>> for _ in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.5, 1.0, 0.1]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if not schedulers:
            raise ArgumentError(f"{type(self).__name__} expects at least one scheduler, but got no scheduler.")
        self._check(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Each scheduler stepped when it was created: undo that, then restart the first
        for group in optimizer.param_groups:
            put(group, "lr", group["initial_lr"])
        _undo_first_step(schedulers)
        # Not simply the first: a milestone at 0 skips it.
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self) -> None:  # type: ignore[override]
        """Advance to the next epoch."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            # Not step(0), which would warn of its argument.
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Compound):
    """Several schedules at once: each step calls each of them, so their factors multiply.

    Args:
        schedulers: made for the same optimiser.
        optimizer: that optimiser; taken from the first scheduler if None.

    Raises:
        ArgumentError: no scheduler, one of another optimiser, or ReduceLROnPlateau.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.optim.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> parts = [ConstantLR(optimiser, factor=0.5, total_iters=2), ExponentialLR(optimiser, gamma=0.9)]
    >>> scheduler = ChainedScheduler(parts, optimiser)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 4))
    ...     optimiser.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.45, 0.81, 0.729]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError(
                f"{type(self).__name__} expects at least one scheduler to be chained, but got no scheduler."
            )
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        self._check(self.optimizer, schedulers)
        self._schedulers = list(schedulers)
        self._last_lr = current(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Step every schedule."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = current(self.optimizer, "lr")


def _undo_first_step(schedulers: Sequence[LRScheduler]) -> None:
    for scheduler in schedulers:
        inner = getattr(scheduler, "_schedulers", None)
        # A compound has no epoch that its members would not have.
        if inner is not None:
            _undo_first_step(inner)
        elif hasattr(scheduler, "last_epoch"):
            scheduler.last_epoch -= 1
