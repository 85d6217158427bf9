"""What surrounds training: datasets, samplers and the loader (``utils.data``), and checkpointing of activations."""

from ..unknown_names import absent
from . import checkpoint, data

__all__ = ["checkpoint", "data"]

__getattr__ = absent(__name__, __all__)
