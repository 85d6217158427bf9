"""Where PyTorch keeps these classes: ``nn.modules.linear``."""

from ...unknown_names import absent
from ..lazy import LazyLinear
from ..linear import Bilinear, Identity, Linear

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]

__getattr__ = absent(__name__, __all__)
