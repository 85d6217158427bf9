"""Recurrent layers as CUDA kernels, for arrays on a GPU."""

from __future__ import annotations

from typing import Any

from ....typing import Array

__all__ = ["refuses"]


def refuses(mode: str, *arrays: Array, **params: Any) -> str | None:
    """Why these kernels should not do this work; None if they should."""
    return "there are no CUDA kernels yet"
