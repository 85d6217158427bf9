"""Diagnostics: what becomes of gradients on their way back through time, measured in recurrent layers at full speed."""

from .flow import flow, local, singular_values
from .lag_matrix import lag_matrix
from .resolution import resolution
from .shares import shares

__all__ = ["flow", "lag_matrix", "local", "resolution", "shares", "singular_values"]
