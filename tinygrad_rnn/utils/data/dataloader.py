"""The module in which PyTorch keeps ``DataLoader``, for scripts that import it from there."""

from __future__ import annotations

from .collate import default_collate
from .loader import DataLoader, get_worker_info

__all__ = ["DataLoader", "default_collate", "get_worker_info"]
