"""Where PyTorch keeps these classes: ``nn.modules.normalization``."""

from ...unknown_names import absent
from ..normalization import LayerNorm, RMSNorm

__all__ = ["LayerNorm", "RMSNorm"]

__getattr__ = absent(__name__, __all__)
