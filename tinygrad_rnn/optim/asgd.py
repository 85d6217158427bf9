"""Averaged stochastic gradient descent: plain steps, and the average of the points they pass through."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import on_gpu
from ..backend.quiet import unreported
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .optimizer import Closure, Group, Optimizer, ParamsT, check_options, penalised
from .scalars import enabled, factor, number

__all__ = ["ASGD"]


class ASGD(Optimizer):
    r"""Averaged SGD.

    At step :math:`t` (from 1), for each parameter :math:`\theta` with gradient :math:`g`; eta starts at ``lr`` and
    mu at 1::

        g <- -g  if maximize;      g <- g + weight_decay * theta
        theta <- (1 - lambd * eta) * theta - eta * g
        ax <- ax + mu * (theta - ax)
        eta <- lr / (1 + lambd * lr * t)**alpha
        mu <- 1 / max(1, t - t0)

    ``ax`` is the average of the points after step ``t0``; training goes on from ``theta``. Evaluate with ``ax``.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: first step size. Default 1e-2.
        lambd: decay term. Default 1e-4.
        alpha: power of the step-size schedule. Default 0.75.
        t0: step at which averaging starts. Default 1e6.
        weight_decay: L2 coefficient. Default 0.
        maximize: ascend instead of descend.
        foreach, capturable: PyTorch's choice among its kernels; kept in the group, without effect.

    State: ``step``, ``eta``, ``mu`` (float32 scalars, so that ``eta`` is rounded as in PyTorch) and ``ax``.

    Raises:
        ArgumentError: a negative lr or weight_decay.

    Source: Polyak & Juditsky, SIAM J. Control Optim. 30 (1992); the schedule: Bottou 2010 (sgd, asgd programs).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = ASGD([w], lr=0.25, lambd=0.0, t0=0)
    >>> for _ in range(2):
    ...     w.grad = tg.tensor([1.0])
    ...     optimizer.step()
    >>> w.item(), optimizer.state[w]["ax"].item()
    (0.5, 0.5)
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        check_options(defaults, "lr", "weight_decay")
        super().__init__(params, defaults)

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            trained: list[tuple[Array, Array, dict[str, Tensor], float]] = []
            for p, value, grad in self._trained(group):
                state = self.state[p]
                if not state:
                    state["step"] = self._new_count()
                    state["eta"] = _scalar(number(group["lr"]))
                    state["mu"] = _scalar(1.0)
                    state["ax"] = self._new_state(value)
                trained.append((value, grad, state, self._advanced(p, state)))
            self._descend(group, trained)
        return loss

    @unreported
    def _descend(self, group: Group, trained: list[tuple[Array, Array, dict[str, Tensor], float]]) -> None:
        lr, lambd, decay, maximize = number(group["lr"]), group["lambd"], group["weight_decay"], group["maximize"]
        changed = maximize or enabled(decay)
        for value, grad, state, t in trained:
            mu, eta = state["mu"]._data.item(), state["eta"]._data  # mu is on the host: no synchronisation
            eta = eta if on_gpu(eta) else eta.item()
            shrink, eta = factor(1 - lambd * eta, value), factor(eta, value)
            # One at a time: each parameter has its own eta and mu, so that rows cannot be joined.
            for p, g, ax, a, b in self._workspace.blocks([(value, grad, state["ax"]._data)], scratch=2):
                if changed:
                    g = penalised(g, p, maximize, decay, a, b)
                np.multiply(p, shrink, out=p)
                np.subtract(p, np.multiply(g, eta, out=b), out=p)
                # Until t0 a copy, exactly: ax + (p - ax) would round.
                if mu == 1:
                    np.copyto(ax, p)
                else:
                    np.subtract(p, ax, out=b)
                    np.add(ax, np.multiply(b, mu, out=b), out=ax)
            # For the next step: this one used those of the step before.
            state["eta"] = _scalar(lr / (1 + lambd * lr * t) ** group["alpha"])
            state["mu"] = _scalar(1 / max(1, t - group["t0"]))


def _scalar(x: Any) -> Tensor:
    """A float32 scalar, on the host unless ``x`` is on the GPU (a learning rate that lives there)."""
    return wrap(x.astype(np.float32) if on_gpu(x) else np.array(x, np.float32))
