"""``LRScheduler``, the base class: when a learning rate is computed, and where it is stored.

There are two ways to compute it, as in PyTorch.  ``get_lr`` is recursive: it makes the next rate from
the current one in the group, so that schedulers chain and a rate changed by hand stays changed.
``_get_closed_form_lr`` makes it from ``initial_lr`` and the epoch alone; ``step(epoch)`` and SequentialLR jump with
it.  The two round differently in the last digits.

Attribute names are PyTorch's, since ``state_dict()`` is the attributes.
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentTypeError, TinygradRnnError
from ...source_line import warn_user
from ...tape.tensor import Tensor
from ..optimizer import Optimizer

__all__ = ["LRScheduler", "MissingInitialLR", "check_optimizer", "current", "put"]

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed "
    "form is used instead of the new chainable form, where available."
)
HOW_TO = "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"


class MissingInitialLR(TinygradRnnError, KeyError):
    """A schedule that is resumed with an optimiser whose groups have no ``initial_lr``."""


def check_optimizer(value: object) -> None:
    """Check that a value is an Optimizer.

    Raises:
        ArgumentTypeError: it is not.
    """
    if not isinstance(value, Optimizer):
        raise ArgumentTypeError(f"{type(value).__name__} is not an Optimizer")


def current(optimizer: Optimizer, key: str) -> list[Any]:
    """``group[key]`` of every group; a Tensor is copied, so that the list keeps the present value."""
    values = [group[key] for group in optimizer.param_groups]
    return [Tensor(v._data.copy()) if isinstance(v, Tensor) else v for v in values]


def put(group: dict[str, Any], key: str, value: Any) -> None:
    """``group[key] = value``; a Tensor there is written to in place."""
    held = group[key]
    # In place, because the user's own code may hold this Tensor.
    if isinstance(held, Tensor):
        held._data[...] = value._data.reshape(()) if isinstance(value, Tensor) else value
        held._touch()
    else:
        group[key] = value


class LRScheduler:
    """Base class: counts epochs, and writes what ``get_lr`` returns into the optimiser's groups.

    Args:
        optimizer: whose ``lr`` is to be scheduled. The starting rates are kept in its groups as ``initial_lr``.
        last_epoch: -1 to start; another number to resume there, with ``initial_lr`` in the groups.

    Attributes:
        last_epoch: how many epochs have passed.
        base_lrs: the starting rate of each group.

    Raises:
        ArgumentTypeError: ``optimizer`` is not an Optimizer.
        MissingInitialLR: ``last_epoch`` is not -1, and a group has no ``initial_lr``.

    >>> import tinygrad_rnn as tg
    >>> class Halved(tg.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
    >>> optimiser = tg.optim.SGD([tg.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = Halved(optimiser)
    >>> optimiser.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False
    _last_lr: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, current(optimizer, "lr"), strict=True):
                # Kept if it is there: a schedule made before this one has changed ``lr`` already.
                group.setdefault("initial_lr", lr)
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise MissingInitialLR(
                        f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                        f"last_epoch >= 0 (got last_epoch={last_epoch}). Load the optimizer's state_dict first, or "
                        "start with last_epoch=-1"
                    )
        self.base_lrs: list[Any] = current(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        # Once for each optimiser, not for each schedule on it.
        if "_step_when_scheduled" not in vars(optimizer):  # steps count from here on, and a replaced step is noticed
            vars(optimizer).update(_opt_called=False, _step_when_scheduled=vars(optimizer).get("step"))
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser, as a dictionary."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state from :meth:`state_dict`.  Load the optimiser's state as well: it has the rates."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rate of each group, as this scheduler last set it."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The next rate of each group; called by ``step``.  ``get_last_lr`` returns the present one."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_lr()")

    def step(self, epoch: int | None = None) -> None:
        """Advance to the next epoch, or (deprecated) to ``epoch``."""
        # At the second call, the first being the constructor's; one warning is enough.
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warn_user(EPOCH_WARNING)
        self._update_lr(epoch)

    def _check_order(self) -> None:
        optimizer = vars(self.optimizer)
        replaced = optimizer.get("step")
        if replaced is not optimizer.get("_step_when_scheduled"):
            warn_user(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. "
                "Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`. See more details at "
                f"{HOW_TO}",
            )
        elif replaced is None and not optimizer.get("_opt_called", True):
            warn_user(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you "
                "should call them in the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure "
                "to do this will result in PyTorch skipping the first value of the learning rate schedule. See more "
                f"details at {HOW_TO}",
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        # Not every schedule has one; without it step(epoch) makes a step of the recursion.
        closed_form = getattr(self, "_get_closed_form_lr", None)
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
            values = self.get_lr() if epoch is None or closed_form is None else closed_form()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            put(group, "lr", lr)
        self._last_lr = current(self.optimizer, "lr")

    # For subclasses ------------------------------------------------------------------------------------------

    def _unchanged(self) -> list[Any]:
        return current(self.optimizer, "lr")

    def _times(self, factor: float) -> list[Any]:
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _times_initial(self, factor: float) -> list[Any]:
        return [lr * factor for lr in self.base_lrs]

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warn_user("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.")
