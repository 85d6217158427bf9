"""RMSprop: steps divided by the running root mean square of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..kernels.cuda_elementwise.multi_tensor import OverMany
from ..tape.tensor import Tensor
from .optimizer import Closure, Group, Optimizer, ParamsT, average_square_, check_options, lerp_, penalised
from .scalars import enabled, factor, number
from .workspace import Row

__all__ = ["RMSprop"]

KERNEL = OverMany(
    "rmsprop",
    ("p", "g", "v", "m", "u"),
    """
if (maximize) g = -g;
if (decay != 0) g += decay * p;
v = alpha * v + left * g * g;
REAL square = v;
if (centered) {
    m = left < (REAL)0.5 ? m + left * (g - m) : g - alpha * (g - m);
    square = v - m * m;
    square = square < 0 ? (REAL)0 : square;
}
const REAL root = sqrt(square) + eps;
if (moving) {
    u = momentum * u + g / root;
    p -= lr * u;
} else {
    p -= lr * g / root;
}
""",
    numbers=("lr", "alpha", "left", "eps", "momentum", "decay"),
    switches=("maximize", "centered", "moving"),
    reads=("g",),
)


class RMSprop(Optimizer):
    r"""Root mean square propagation, with optional centring and momentum.

    For each parameter :math:`\theta` with gradient :math:`g`::

        g <- -g  if maximize;      g <- g + weight_decay * theta
        v <- alpha * v + (1 - alpha) * g**2
        a <- alpha * a + (1 - alpha) * g;  s = sqrt(v - a**2) + eps     if centered, else
        s = sqrt(v) + eps
        b <- momentum * b + g / s;   theta <- theta - lr * b            if momentum > 0, else
        theta <- theta - lr * g / s

    The epsilon is added outside the root (in TensorFlow inside).

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: step size. Default 1e-2.
        alpha: fraction of the average square kept from step to step. Default 0.99.
        eps: added to the root, in units of the gradient. Default 1e-8.
        weight_decay: L2 coefficient. Default 0.
        momentum: fraction of the velocity kept. Default 0.
        centered: divide by an estimate of the standard deviation instead. Early steps can be huge where the
            gradient hardly varies. Where rounding makes the variance negative it counts as 0 (PyTorch gives nan).
        maximize: ascend instead of descend.
        foreach: on a GPU one kernel updates all parameters, unless it is False. On the CPU without effect.
        capturable: kept in the group, without effect.

    State: ``step``, ``square_avg``, with momentum ``momentum_buffer``, with centered ``grad_avg``.

    Raises:
        ArgumentError: a negative lr, eps, momentum, weight_decay or alpha.

    Source: Hinton, Neural Networks for Machine Learning (Coursera 2012), lecture 6e; centred and with
    momentum: Graves, arXiv:1308.0850, equations 38 to 41 (where eps is under the root).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.05, alpha=0.75)
    >>> w.grad = tg.tensor([4.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # the root is 2 after one step: sqrt(0.25 * 16)
    0.9
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        check_options(defaults, "lr", "eps", "momentum", "weight_decay", "alpha")
        super().__init__(params, defaults)

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            rows: list[Row] = []
            for p, value, grad in self._trained(group):
                state = self.state[p]
                if not state:
                    state["step"] = self._new_count()
                    state["square_avg"] = self._new_state(value)
                # Either option may be switched on between two steps.
                if group["momentum"] > 0 and "momentum_buffer" not in state:
                    state["momentum_buffer"] = self._new_state(value)
                if group["centered"] and "grad_avg" not in state:
                    state["grad_avg"] = self._new_state(value)
                square = state["square_avg"]._data
                # Rows have five arrays: one that is kept stands in for a state that is not.
                mean = state["grad_avg"]._data if group["centered"] else square
                velocity = state["momentum_buffer"]._data if group["momentum"] > 0 else square
                rows.append((value, grad, square, mean, velocity))
                self._advanced(p, state)
            if rows:
                self._descend(group, rows)
        return loss

    @unreported
    def _descend(self, group: Group, rows: list[Row]) -> None:
        lr = factor(number(group["lr"]), rows[0][0])
        alpha, eps, momentum, decay = group["alpha"], group["eps"], group["momentum"], group["weight_decay"]
        centered, maximize = group["centered"], group["maximize"]
        numbers = (lr, alpha, 1 - alpha, eps, momentum, decay)
        if self._launched(KERNEL, group, rows, numbers, (maximize, centered, momentum > 0)):
            return
        changed = maximize or enabled(decay)
        for p, g, v, m, u, a, b in self._workspace.blocks(rows, scratch=2):
            if changed:
                g = penalised(g, p, maximize, decay, a, b)
            average_square_(v, g, alpha, b)
            if centered:
                lerp_(m, g, 1 - alpha, b)
                np.subtract(v, np.multiply(m, m, out=b), out=b)
                np.sqrt(np.maximum(b, 0, out=b), out=b)
            else:
                np.sqrt(v, out=b)
            np.add(b, eps, out=b)
            if momentum > 0:
                np.multiply(u, momentum, out=u)
                np.add(u, np.divide(g, b, out=b), out=u)
                np.multiply(u, lr, out=b)
            else:
                np.divide(np.multiply(g, lr, out=a), b, out=b)
            np.subtract(p, b, out=p)
