"""Softmax and its variants: probabilities along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...backend.random import draws
from ...backend.random.inplace import fill_exponential
from ...source_line import warn_user
from ...tape.tensor import Tensor, wrap

__all__ = ["gumbel_softmax", "log_softmax", "softmax", "softmin"]


def _axis(name: str, ndim: int, dim: int | None) -> int:
    """The axis given; by default 0 for 0, 1 or 3 axes, else 1, with PyTorch's warning."""
    if dim is not None:
        return dim
    warn_user(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument."
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along ``dim``, safe for large entries.

    Args:
        dim: the axis along which the result sums to 1.
        dtype: convert to this dtype first.

    >>> import tinygrad_rnn as tg
    >>> softmax(tg.tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    result: Tensor = ops.softmax(input, _axis("softmax", input.ndim, dim), dtype=dtype)
    return result


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along ``dim``, safe for large entries."""
    result: Tensor = ops.log_softmax(input, _axis("log_softmax", input.ndim, dim), dtype=dtype)
    return result


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along ``dim``."""
    result: Tensor = ops.softmax(-input, _axis("softmin", input.ndim, dim), dtype=dtype)
    return result


def gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    generator: draws.Generator | None = None,
) -> Tensor:
    """softmax((logits + Gumbel noise) / tau): a sample from softmax(logits) that can be differentiated.

    Args:
        hard: a one-hot sample, with the gradient of the soft one.

    Source: E. Jang et al., "Categorical reparameterization with Gumbel-softmax" (2016), equation 2.
    """
    if eps != 1e-10:
        warn_user("`eps` parameter is deprecated and has no effect.")
    # Drawn on the host, where the one random stream is.
    waits = np.empty(logits.shape, logits.dtype)
    fill_exponential(waits, 1.0, generator)
    noise = wrap(-np.log(waits)).to(device=logits.device)
    soft: Tensor = ops.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    best = soft.argmax(dim, keepdim=True)
    along = ops.arange(logits.shape[dim]).to(device=logits.device)
    chosen = along.reshape([-1 if axis == dim % logits.ndim else 1 for axis in range(logits.ndim)]) == best
    # Straight through: the value is the one-hot sample (the soft ones cancel), the gradient that of ``soft``.
    result: Tensor = chosen.to(dtype=logits.dtype) - soft.detach() + soft
    return result
