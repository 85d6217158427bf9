"""What a user may set for the whole process."""

from __future__ import annotations

import numpy as np

from ..typing import DType

__all__ = ["defaults"]


class _Defaults:
    """``dtype``: the float type of Python floats, and of integers that enter a function such as ``exp``."""

    dtype: DType = np.dtype(np.float32)


defaults = _Defaults()
