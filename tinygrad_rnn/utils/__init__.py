"""Utilities for training: data loading (``utils.data``) and checkpointing of activations."""

from ..autograd import checkpoint
from ..unknown_names import absent
from . import data

__all__ = ["checkpoint", "data"]

__getattr__ = absent(__name__, __all__)
