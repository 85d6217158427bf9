"""AdamW: Adam whose weight decay does not pass through the averages."""

from __future__ import annotations

from typing import Any

from ..tape.tensor import Tensor
from .adam import Adam
from .optimizer import ParamsT

__all__ = ["AdamW"]


class AdamW(Adam):
    r"""Adam with decoupled weight decay: ``theta <- (1 - lr * weight_decay) * theta`` before each step.

    With L2 decay inside Adam, weights whose gradients are large are decayed less; here all shrink alike.

    Args:
        weight_decay: the rate of shrinking. Default 1e-2. The other arguments are those of :class:`Adam`.

    Source: Loshchilov & Hutter, ICLR 2019, algorithm 2.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.5, weight_decay=0.5)
    >>> w.grad = tg.tensor([0.0])
    >>> optimizer.step()
    >>> w.tolist()
    [0.75]
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # a state saved by Adam, or by an AdamW that did not name it
            group["decoupled_weight_decay"] = True
