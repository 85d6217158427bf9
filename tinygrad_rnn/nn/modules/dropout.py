"""Where PyTorch keeps these classes: ``nn.modules.dropout``."""

from ...unknown_names import absent
from ..dropout import Dropout, Dropout1d

__all__ = ["Dropout", "Dropout1d"]

__getattr__ = absent(__name__, __all__)
