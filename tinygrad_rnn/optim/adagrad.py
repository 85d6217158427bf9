"""Adagrad: steps divided by the root of the sum of all squared gradients so far."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..kernels.cuda_elementwise.multi_tensor import OverMany
from ..tape.tensor import Tensor
from .optimizer import Closure, Group, Optimizer, ParamsT, check_options, penalised
from .scalars import enabled, factor, number
from .workspace import Row

__all__ = ["Adagrad"]

KERNEL = OverMany(
    "adagrad",
    ("p", "g", "s"),
    """
if (maximize) g = -g;
if (decay != 0) g += decay * p;
s += g * g;
p -= lr * g / (sqrt(s) + eps);
""",
    numbers=("lr", "eps", "decay"),
    switches=("maximize",),
    reads=("g",),
)


class Adagrad(Optimizer):
    r"""Adaptive subgradient method.

    At step :math:`t` (from 1), for each parameter :math:`\theta` with gradient :math:`g`::

        g <- -g  if maximize;      g <- g + weight_decay * theta
        s <- s + g**2
        theta <- theta - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: step size. Default 1e-2.
        lr_decay: how fast the step size falls with the number of steps. Default 0.
        weight_decay: L2 coefficient. Default 0.
        initial_accumulator_value: where the sum of squares starts. Default 0.
        eps: added to the root, in units of the gradient. Default 1e-10.
        maximize: ascend instead of descend.
        foreach, fused: on a GPU one kernel updates all parameters, unless one of these is False. On the CPU without
            effect.

    State: ``step`` and ``sum``; there from the start, as in PyTorch, also for parameters without gradient.

    Raises:
        ArgumentError: a negative option.

    Source: Duchi, Hazan & Singer, JMLR 12 (2011), section 1.1 (diagonal form).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.5)
    >>> for _ in range(2):
    ...     w.grad = tg.tensor([3.0])
    ...     optimizer.step()
    >>> round(w.item(), 4)  # 1 - 0.5 - 0.5 / sqrt(2)
    0.1464
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_options(defaults, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self._start(group, p)

    def _start(self, group: Group, p: Tensor) -> dict[str, Tensor]:
        state = self.state[p]
        if not state:
            state["step"] = self._new_count()
            state["sum"] = self._new_state(p._data, group["initial_accumulator_value"])
        return state

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            # By step count, which enters the rate: a parameter without a gradient misses steps.
            batches: defaultdict[float, list[Row]] = defaultdict(list)
            for p, value, grad in self._trained(group):
                state = self._start(group, p)  # a parameter of a group added later starts here
                batches[self._advanced(p, state)].append((value, grad, state["sum"]._data))
            for t, rows in batches.items():
                self._descend(group, rows, t)
        return loss

    @unreported
    def _descend(self, group: Group, rows: list[Row], t: float) -> None:
        lr = factor(number(group["lr"]) / (1 + (t - 1) * group["lr_decay"]), rows[0][0])
        eps, decay, maximize = group["eps"], group["weight_decay"], group["maximize"]
        if self._launched(KERNEL, group, rows, (lr, eps, decay), (maximize,)):
            return
        changed = maximize or enabled(decay)
        for p, g, s, a, b in self._workspace.blocks(rows, scratch=2):
            if changed:
                g = penalised(g, p, maximize, decay, a, b)
            np.add(s, np.multiply(g, g, out=b), out=s)
            np.sqrt(s, out=b)
            np.add(b, eps, out=b)
            # ``a`` may hold g, which is read here for the last time.
            np.divide(np.multiply(g, lr, out=a), b, out=b)
            np.subtract(p, b, out=p)
