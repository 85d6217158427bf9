"""Recurrent layers compiled by Numba (extra ``fast``), for arrays on the CPU."""

from __future__ import annotations

from typing import Any

from ....typing import Array

__all__ = ["refuses"]


def refuses(mode: str, *arrays: Array, **params: Any) -> str | None:
    """Why these kernels should not do this work; None if they should."""
    return "there are no compiled kernels yet"
