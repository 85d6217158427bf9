"""Training in a few lines, for experiments that ask what a small net can learn.

An experiment is about the net, the data and what is measured; that a loss is minimised by Adam with clipped gradients
is the same in all of them, and stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..errors import ArgumentError
from ..typing import Array

__all__ = ["fit"]


def fit(
    modules: Iterable[tg.nn.Module],
    loss: Callable[[], tg.Tensor],
    updates: int,
    *,
    lr: float = 1e-2,
    max_norm: float = 1.0,
    optimizer: Any = None,
) -> Array:
    """Minimise a loss over the parameters of some modules.

    Args:
        modules: their parameters are trained, together.
        loss: called before each update; draws its own batch.
        updates: how many.
        lr: the step size.
        max_norm: the gradient of all parameters together is clipped to it.
        optimizer: a class of :mod:`tinygrad_rnn.optim`; None: Adam.

    Returns:
        The loss before each update (updates).

    Raises:
        ArgumentError: no parameters.

    >>> _ = tg.manual_seed(0)
    >>> net = tg.nn.Linear(2, 1)
    >>> x = tg.randn(20, 2)
    >>> y = x[:, :1] - 2 * x[:, 1:]
    >>> losses = fit([net], lambda: ((net(x) - y) ** 2).mean(), 300, lr=0.05)
    >>> losses.shape, bool(losses[-1] < 1e-3 * losses[0])
    ((300,), True)
    """
    parameters = [p for module in modules for p in module.parameters()]
    if not parameters:
        raise ArgumentError("fit(): the modules have no parameters")
    made = (tg.optim.Adam if optimizer is None else optimizer)(parameters, lr=lr)
    found = np.zeros(updates)
    for k in range(updates):
        made.zero_grad()
        value = loss()
        value.backward()
        tg.nn.utils.clip_grad_norm_(parameters, max_norm)
        made.step()
        found[k] = value.item()
    return found
