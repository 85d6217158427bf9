"""Rprop: steps whose sizes follow the signs of the gradient and not its magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..tape.tensor import Tensor
from .optimizer import Closure, Group, Optimizer, ParamsT, check_options
from .scalars import number
from .workspace import Row

__all__ = ["Rprop"]


class Rprop(Optimizer):
    r"""Resilient backpropagation, for full batches.

    Every weight has its own step size ``d``, from ``lr`` on; ``g`` is its gradient, ``q`` the one before::

        g <- -g                                                if maximize
        d <- d * etas[1]  where g * q > 0,  d * etas[0]  where g * q < 0;   d <- clip(d, step_sizes)
        g <- 0  where g * q < 0
        theta <- theta - sign(g) * d
        q <- g

    A weight whose gradient changed its sign stays where it is for one step, and the next one counts as no change
    (the variant called iRprop-).  A gradient of nan counts as 0, and an infinite one by its sign.

    Args:
        params: Tensors, (name, Tensor) pairs, or dicts of parameter groups that override the options.
        lr: first step size. Default 1e-2.
        etas: factors on a change of sign and on none. Default (0.5, 1.2).
        step_sizes: smallest and largest step size. Default (1e-6, 50).
        maximize: ascend instead of descend.
        capturable, foreach: PyTorch's choice among its kernels; kept in the group, without effect.

    State: ``step``, ``prev`` (the gradient before), ``step_size``.

    Raises:
        ArgumentError: a negative lr, or etas not on both sides of 1.

    Source: Riedmiller & Braun, ICNN 1993; iRprop-: Igel & Huesken, Neurocomputing 50 (2003).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = Rprop([w], lr=0.5)
    >>> for g in (3.0, -1.0, -1.0):
    ...     w.grad = tg.tensor([g])
    ...     optimizer.step()
    >>> w.item()  # -0.5, then stay and halve the step, then +0.25
    0.75
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ArgumentError(f"Invalid eta values: {etas[0]}, {etas[1]} (expected 0 < etas[0] < 1 < etas[1])")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        check_options(defaults, "lr")
        super().__init__(params, defaults)

    def step(self, closure: Closure | None = None) -> Any:
        loss = self._evaluate(closure)
        for group in self.param_groups:
            rows: list[Row] = []
            for p, value, grad in self._trained(group):
                state = self.state[p]
                if not state:
                    state["step"] = self._new_count()
                    state["prev"] = self._new_state(value)
                    state["step_size"] = self._new_state(value, number(group["lr"]))
                rows.append((value, grad, state["prev"]._data, state["step_size"]._data))
                self._advanced(p, state)
            if rows:
                self._descend(group, rows)
        return loss

    @unreported
    def _descend(self, group: Group, rows: list[Row]) -> None:
        (down, up), (smallest, largest) = group["etas"], group["step_sizes"]
        maximize = group["maximize"]
        for p, g, q, d, a, trend in self._workspace.blocks(rows, scratch=2):
            if maximize:
                g = np.negative(g, out=a)
            np.multiply(g, q, out=trend)
            # Both before ``trend`` is overwritten.
            grew, turned = trend > 0, trend < 0
            np.copyto(trend, 1)  # also where g q is nan
            np.copyto(trend, up, where=grew)
            np.copyto(trend, down, where=turned)
            np.multiply(d, trend, out=d)
            np.maximum(np.minimum(d, largest, out=d), smallest, out=d)
            np.copyto(q, g)
            # A remembered 0 makes the next product 0: no change of sign is seen there.
            np.copyto(q, 0, where=turned)
            np.sign(q, out=a)
            np.copyto(a, 0, where=q != q)  # nan has no sign: the weight stays
            np.subtract(p, np.multiply(a, d, out=a), out=p)
