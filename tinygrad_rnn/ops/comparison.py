"""Comparisons and logic: bool tensors without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Value

__all__ = ["compare", "eq", "ge", "gt", "le", "logical_not", "lt", "ne"]


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) else x


def compare(name: str, ufunc: Any, doc: str) -> Any:
    """A function of two operands that is never recorded."""

    def apply(a: Value, b: Value) -> Value:
        result = ufunc(_raw(a), _raw(b))
        return wrap(as_array(result)) if isinstance(a, Tensor) or isinstance(b, Tensor) else result

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return apply


eq = compare("eq", np.equal, "a == b, entry by entry.")
ne = compare("ne", np.not_equal, "a != b, entry by entry.")
lt = compare("lt", np.less, "a < b, entry by entry.")
le = compare("le", np.less_equal, "a <= b, entry by entry.")
gt = compare("gt", np.greater, "a > b, entry by entry.")
ge = compare("ge", np.greater_equal, "a >= b, entry by entry.")


def logical_not(a: Value) -> Value:
    """not a, entry by entry."""
    return wrap(as_array(np.logical_not(_raw(a)))) if isinstance(a, Tensor) else np.logical_not(a)
