"""Errors of functions whose class depends on what PyTorch raises for the same mistake."""

from __future__ import annotations

from ...errors import TinygradRnnError

__all__ = ["OptionError", "PaddingIndexError"]


class OptionError(TinygradRnnError, RuntimeError):
    """An option or target with a value that makes no sense, where PyTorch raises RuntimeError."""


class PaddingIndexError(TinygradRnnError, AssertionError):
    """A ``padding_idx`` outside the table, where PyTorch raises AssertionError."""
