"""Ready-made parametrisations, under PyTorch's name for the place."""

from .parametrize import weight_norm

__all__ = ["weight_norm"]
