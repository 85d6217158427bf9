"""Where PyTorch keeps these classes: ``nn.modules.flatten``."""

from ...unknown_names import absent
from ..linear import Flatten, Unflatten

__all__ = ["Flatten", "Unflatten"]

__getattr__ = absent(__name__, __all__)
