"""Hyper-parameters as numbers: a learning rate may be a Tensor, on the host or on the GPU.

A hyper-parameter is usually a Python number, but ``lr`` (and ``betas``, ``weight_decay``) may be a Tensor of one
element that the user changes between steps.  Python numbers are weak: they never change an array's dtype.
Scalars of NumPy and Tensors are not, so they pass through :func:`factor` before they meet an array.  A scalar
that lives on the GPU stays there: nothing here waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import on_gpu
from ..tape.tensor import Tensor
from ..typing import Array

__all__ = ["enabled", "factor", "number"]


def number(x: Any) -> Any:
    """A hyper-parameter as something to calculate with: a number, a NumPy scalar, or a 0-d array on the GPU."""
    if isinstance(x, Tensor):
        raw = x._data.reshape(())
        return raw if on_gpu(raw) else raw[()]
    return x


def factor(x: Any, like: Array) -> Any:
    """``x`` in a form that keeps the dtype of ``like`` when the two are multiplied."""
    if type(x) is float or type(x) is int:
        return x
    if on_gpu(x):
        # Parameters on the host need the number there; this is the one case that waits for the device.
        return x.astype(like.dtype) if on_gpu(like) else x.item()
    return x.item() if isinstance(x, (np.generic, np.ndarray)) else x


def enabled(x: Any) -> bool:
    """Whether an option such as weight decay is in use.  A number on the GPU counts as in use, unread."""
    return bool(on_gpu(x) or x != 0)
