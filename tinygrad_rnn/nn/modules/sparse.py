"""Where PyTorch keeps these classes: ``nn.modules.sparse``."""

from ...unknown_names import absent
from ..embedding import Embedding, EmbeddingBag

__all__ = ["Embedding", "EmbeddingBag"]

__getattr__ = absent(__name__, __all__)
