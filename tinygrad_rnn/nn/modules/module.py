"""Where PyTorch keeps these classes: ``nn.modules.module``."""

from ...absent import absent
from ..module import Module

__all__ = ["Module"]

__getattr__ = absent(__name__, __all__)
