"""Optimisers, PyTorch-shaped: ``optim.SGD(model.parameters(), lr=0.1, momentum=0.9)``."""

from __future__ import annotations

from ..unknown_names import absent
from . import lr_scheduler
from .adagrad import Adagrad
from .adam import Adam
from .adamw import AdamW
from .asgd import ASGD
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD

__all__ = ["ASGD", "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "Rprop", "lr_scheduler"]

__getattr__ = absent(__name__, __all__)
