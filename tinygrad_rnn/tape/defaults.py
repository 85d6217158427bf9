"""What holds for the whole process."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["defaults"]


class _Defaults:
    """What a user may set, and what he was told.

    Attributes:
        dtype: the float type of Python floats, and of integers that enter a function such as ``exp``.
        warned_of_float: whether the one warning about ``float(t)`` where ``t`` requires grad was given.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)
    warned_of_float = False


defaults = _Defaults()
