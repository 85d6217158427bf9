"""What surrounds training: datasets, samplers and the loader (``utils.data``), and checkpointing of activations."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
