"""What surrounds training: datasets, samplers and the loader (``utils.data``)."""

from . import data

__all__ = ["data"]
