"""Where PyTorch keeps these classes: ``nn.modules.distance``."""

from ...unknown_names import absent
from ..loss import CosineSimilarity, PairwiseDistance

__all__ = ["CosineSimilarity", "PairwiseDistance"]

__getattr__ = absent(__name__, __all__)
