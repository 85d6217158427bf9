"""Learning-rate schedules: call ``step`` of one of these after the optimiser's.

>>> import tinygrad_rnn as tg
>>> w = tg.zeros(3, requires_grad=True)
>>> optimizer = tg.optim.SGD([w], lr=1.0)
>>> scheduler = ExponentialLR(optimizer, gamma=0.5)
>>> for _ in range(3):
...     optimizer.step()
...     scheduler.step()
>>> scheduler.get_last_lr()
[0.125]
"""

from __future__ import annotations

from ...unknown_names import absent
from .base import LRScheduler
from .decay import ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from .functions import LambdaLR, MultiplicativeLR
from .one_cycle import OneCycleLR
from .plateau import ReduceLROnPlateau
from .sequential import ChainedScheduler, SequentialLR

_LRScheduler = LRScheduler  # the name of old scripts

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

__getattr__ = absent(__name__, __all__)
