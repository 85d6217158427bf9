"""Adam: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..kernels.cuda_elementwise.multi_tensor import OverMany
from ..tape.tensor import Tensor
from .optimizer import Closure, Group, Optimizer, ParamsT, average_square_, check_options, lerp_, penalised
from .scalars import enabled, factor, number
from .workspace import Row

__all__ = ["Adam"]

KERNEL = OverMany(
    "adam",
    ("p", "g", "m", "v", "top"),
    """
if (maximize) g = -g;
if (decoupled) p *= shrink;
else if (decay != 0) g += decay * p;
m = left1 < (REAL)0.5 ? m + left1 * (g - m) : g - (1 - left1) * (g - m);
v = beta2 * v + left2 * g * g;
if (amsgrad && !(v <= top)) top = top == top ? v : top;
p -= step_size * m / (sqrt(amsgrad ? top : v) / root_correction + eps);
""",
    numbers=("step_size", "root_correction", "decay", "shrink", "left1", "beta2", "left2", "eps"),
    switches=("maximize", "decoupled", "amsgrad"),
    reads=("g",),
)


class Adam(Optimizer):
    r"""Adaptive moment estimation, with L2 or decoupled weight decay, and AMSGrad.

    At step :math:`t` (from 1), for each parameter :math:`\theta` with gradient :math:`g`::

        g <- -g                                       if maximize
        theta <- (1 - lr * weight_decay) * theta      if decoupled_weight_decay, else
        g <- g + weight_decay * theta
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g**2
        v_hat = v / (1 - beta2**t)                    with amsgrad, the largest v so far in place of v
        theta <- theta - lr / (1 - beta1**t) * m / (sqrt(v_hat) + eps)

    ``eps`` is added after the bias correction of the root, as in PyTorch (the paper's section 2 folds it elsewhere).

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: step size, about the distance that each weight moves per step. Default 1e-3.
        betas: decay of the average gradient and of the average square. Default (0.9, 0.999).
        eps: added to the root, in units of the gradient. Default 1e-8.
        weight_decay: L2 coefficient. Default 0.
        amsgrad: divide by the largest average square seen.
        maximize: ascend instead of descend.
        decoupled_weight_decay: shrink the weights themselves, as :class:`AdamW` does.
        foreach, fused: on a GPU one kernel updates all parameters, unless one of these is False. On the CPU without
            effect.
        capturable: kept in the group, without effect.

    State: ``step`` (float32, on the host), ``exp_avg``, ``exp_avg_sq`` and with amsgrad ``max_exp_avg_sq``.

    Raises:
        ArgumentError: a negative lr, eps or weight_decay; a beta outside [0, 1).

    Source: Kingma & Ba, ICLR 2015, algorithm 1; AMSGrad: Reddi, Kale & Kumar, ICLR 2018, algorithm 2.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.25)
    >>> w.grad = tg.tensor([30.0, -0.001])
    >>> optimizer.step()
    >>> [round(x, 3) for x in w.tolist()]  # the first step is lr in each weight, whatever the gradient's size
    [0.75, -1.75]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        check_options(defaults, "lr", "eps", "weight_decay")
        for i, beta in enumerate(betas):
            if not 0.0 <= number(beta) < 1.0:
                raise ArgumentError(f"Invalid beta parameter at index {i}: {beta} (it must be in [0, 1))")
        super().__init__(params, defaults)

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            # By step count, which enters the bias corrections: a parameter without a gradient misses steps.
            batches: defaultdict[float, list[Row]] = defaultdict(list)
            for p, value, grad in self._trained(group):
                state = self.state[p]
                if not state:
                    state["step"] = self._new_count()
                    state["exp_avg"] = self._new_state(value)
                    state["exp_avg_sq"] = self._new_state(value)
                # The option may be switched on between two steps.
                if group["amsgrad"] and "max_exp_avg_sq" not in state:
                    state["max_exp_avg_sq"] = self._new_state(value)
                mean, square = state["exp_avg"]._data, state["exp_avg_sq"]._data
                # Without amsgrad a row has the average twice; ``_launched`` tells the kernel that the second one is
                # missing.
                largest = state["max_exp_avg_sq"]._data if group["amsgrad"] else square
                batches[self._advanced(p, state)].append((value, grad, mean, square, largest))
            for t, rows in batches.items():
                self._descend(group, rows, t)
        return loss

    @unreported
    def _descend(self, group: Group, rows: list[Row], t: float) -> None:
        value = rows[0][0]
        lr, (beta1, beta2) = number(group["lr"]), map(number, group["betas"])
        step_size = factor(lr / (1 - beta1**t), value)
        root_correction = factor((1 - beta2**t) ** 0.5, value)
        decay = number(group["weight_decay"])
        shrink = factor(1 - lr * decay, value)
        decay, beta2, new1 = factor(decay, value), factor(beta2, value), factor(1 - beta1, value)
        decoupled, maximize, amsgrad = group["decoupled_weight_decay"], group["maximize"], group["amsgrad"]
        # 1 - beta2 in float64: taken from 1 in a kernel's float32, 0.999 would leave four digits.
        numbers = (step_size, root_correction, decay, shrink, new1, beta2, 1 - beta2, group["eps"])
        if self._launched(KERNEL, group, rows, numbers, (maximize, decoupled, amsgrad)):
            return
        shrinks = decoupled and enabled(decay)
        penalty = not decoupled and enabled(decay)
        for p, g, m, v, top, a, b in self._workspace.blocks(rows, scratch=2):
            if penalty or maximize:
                g = penalised(g, p, maximize, decay if penalty else 0, a, b)
            if shrinks:
                np.multiply(p, shrink, out=p)
            lerp_(m, g, new1, b)
            average_square_(v, g, beta2, b)
            if amsgrad:
                np.maximum(top, v, out=top)
            # ``a`` may hold g, which is not needed any more.
            np.sqrt(top, out=a)
            np.divide(a, root_correction, out=a)
            np.add(a, group["eps"], out=a)
            np.multiply(m, step_size, out=b)
            np.subtract(p, np.divide(b, a, out=b), out=p)
