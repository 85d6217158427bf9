"""Stochastic gradient descent, with momentum as PyTorch defines it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..kernels.cuda_elementwise.multi_tensor import OverMany
from ..tape.tensor import Tensor
from .optimizer import Closure, Group, Optimizer, ParamsT, check_options, penalised
from .scalars import enabled, factor, number
from .workspace import Row

__all__ = ["SGD"]

KERNEL = OverMany(
    "sgd",
    ("p", "g", "b"),
    """
if (maximize) g = -g;
if (decay != 0) g += decay * p;
if (momentum != 0) {
    b = first ? g : momentum * b + (1 - dampening) * g;
    g = nesterov ? g + momentum * b : b;
}
p -= lr * g;
""",
    numbers=("lr", "decay", "momentum", "dampening"),
    switches=("maximize", "nesterov", "first"),
    reads=("g",),
)


class SGD(Optimizer):
    r"""Gradient descent with optional momentum, Nesterov momentum and weight decay.

    For each parameter :math:`\theta` with gradient :math:`g`, at step :math:`t`::

        g  <- -g                            if maximize
        g  <- g + weight_decay * theta
        b  <- g                             on the first step with momentum
        b  <- momentum * b + (1 - dampening) * g        later
        g  <- g + momentum * b  if nesterov,  else  b   (only with momentum)
        theta <- theta - lr * g

    The velocity ``b`` is not scaled by ``lr``, so a change of ``lr`` acts at once on all of it; in Sutskever et
    al. and in Keras it is.  A parameter whose ``.grad`` is None is left alone and gets no state.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: step size; a number, or a Tensor of one element. Default 1e-3.
        momentum: fraction of the velocity kept from step to step. Default 0.
        dampening: fraction of the gradient kept out of the velocity, from the second step on. Default 0.
        weight_decay: coefficient of the L2 penalty. Default 0.
        nesterov: look ahead along the velocity; needs momentum > 0 and dampening 0.
        maximize: ascend instead of descend.
        foreach, fused: on a GPU one kernel updates all parameters, unless one of these is False. On the CPU without
            effect.

    State: ``momentum_buffer``, of the parameter's shape.

    Raises:
        ArgumentError: a negative lr, momentum or weight_decay, or nesterov without momentum or with dampening.

    Source: Polyak 1964; Nesterov 1983; Sutskever, Martens, Dahl & Hinton, ICML 2013, equations 3 and 4.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist()  # 1 -> 0 (velocity 2) -> -0.9
    [-0.8999999761581421, -1.7999999523162842]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError(
                "Nesterov momentum requires a momentum and zero dampening: "
                f"got momentum={momentum}, dampening={dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        check_options(defaults, "lr", "momentum", "weight_decay")
        super().__init__(params, defaults)

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            batches: defaultdict[bool, list[Row]] = defaultdict(list)
            for p, value, grad in self._trained(group):
                # Without momentum the gradient stands for the velocity, which no pass then touches.
                first, velocity = False, grad
                if group["momentum"] != 0:
                    state = self.state[p]
                    # Older versions of PyTorch saved momentum_buffer as None where SGD ran without momentum.
                    first = state.get("momentum_buffer") is None
                    if first:
                        state["momentum_buffer"] = self._new_state(value)
                    velocity = state["momentum_buffer"]._data
                    state["momentum_buffer"]._touch()
                # Apart, because the first step copies the gradient, whatever the dampening.
                batches[first].append((value, grad, velocity))
                # A graph that has saved the parameter must find out that it was written to.
                p._touch()
            for first, rows in batches.items():
                self._descend(group, rows, first)
        return loss

    @unreported
    def _descend(self, group: Group, rows: list[Row], first: bool) -> None:
        like = rows[0][0]
        lr, decay = factor(number(group["lr"]), like), factor(number(group["weight_decay"]), like)
        momentum, dampening = group["momentum"], group["dampening"]
        maximize, nesterov = group["maximize"], group["nesterov"]
        if self._launched(KERNEL, group, rows, (lr, decay, momentum, dampening), (maximize, nesterov, first)):
            return
        changed = maximize or enabled(decay)
        for p, g, b, t, u in self._workspace.blocks(rows, scratch=2):
            if changed:
                g = penalised(g, p, maximize, decay, t, u)
            if momentum != 0:
                if first:
                    np.copyto(b, g)
                else:
                    np.multiply(b, momentum, out=b)
                    np.add(b, g if dampening == 0 else np.multiply(g, 1 - dampening, out=u), out=b)
                g = np.add(g, np.multiply(b, momentum, out=u), out=t) if nesterov else b
            np.subtract(p, np.multiply(g, lr, out=u), out=p)
