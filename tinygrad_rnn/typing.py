"""Names of types used throughout, kept apart from the code that they describe.

``Array`` is a raw NumPy or CuPy array.  The two share no base class, and the engine is written for both, so
statically it is ``Any``; ``Value`` is an Array or a Tensor, which is what a vjp takes and gives.  ``DType`` is the
element type of either: NumPy's of an array, ours of a Tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .backend.dtypes import dtype

__all__ = ["Array", "DType", "Params", "Shape", "Value"]

Array: TypeAlias = Any
Value: TypeAlias = Any
DType: TypeAlias = "np.dtype[Any] | dtype"
Shape: TypeAlias = tuple[int, ...]
Params: TypeAlias = dict[str, Any]
