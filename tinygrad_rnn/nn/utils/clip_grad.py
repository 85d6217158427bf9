"""Gradient clipping, by joint norm or by value.

Long products of Jacobians make the gradients of recurrent networks explode at times; scaling the whole gradient
down keeps its direction.  Norms and coefficients stay 0-d arrays on the device of the gradients, so that
clipping never waits for a GPU; only ``error_if_nonfinite=True`` has to look at a value.

Norms are taken in the gradients' dtype (float16 in float32), as PyTorch does: a float32 norm beyond 1.8e19
overflows to inf.

On a GPU one kernel sums the squares of all gradients and one scales them; ``foreach=False`` goes gradient by gradient.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...backend import array_device, array_module, on_gpu, scalar_name, to_device
from ...backend.quiet import unreported
from ...errors import DtypeError, ShapeRuntimeError, TinygradRnnError
from ...kernels.cuda_elementwise.multi_tensor import OverMany, norm, placed
from ...source_line import warn_user
from ...tape.inplace.versions import touch
from ...tape.tensor import Tensor, as_array, wrap
from ...typing import Array

__all__ = [
    "NonFiniteGradientError",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]

Tensors: TypeAlias = Tensor | Iterable[Tensor]

SCALE = OverMany(
    "scale",
    ("g",),
    """
const REAL c = largest / (*total + (REAL)1e-6);
g *= c > 1 ? (REAL)1 : c;
""",
    numbers=("largest",),
    shared=("total",),
)
CLAMP = OverMany("clamp", ("g",), "g = g < -bound ? -bound : g > bound ? bound : g;", numbers=("bound",))


class NonFiniteGradientError(TinygradRnnError, RuntimeError):
    """A gradient with nan or inf, where ``error_if_nonfinite`` was set."""


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    r"""The norm of several tensors taken as one long vector: the norm of their norms.

    :math:`(\sum_k |t_k|_p^p)^{1/p}`; p = inf gives the largest absolute value. For p = 0 each tensor's norm is
    its number of non-zero entries, and the total is the number of tensors that have any.

    Args:
        tensors: a Tensor, or several.
        norm_type: p, a number or ``"inf"``.
        error_if_nonfinite: raise if the total is nan or infinite.
        foreach: on a GPU one kernel takes all gradients, unless it is False. On the CPU without effect.

    Returns:
        a 0-d Tensor, of the widest dtype given, on the device of the first; 0 for no tensors.

    Raises:
        NonFiniteGradientError: saying which tensors hold nan or inf, and how many.
        DtypeError: integers. ShapeRuntimeError: an infinite or negative norm of an empty tensor.

    >>> import tinygrad_rnn as tg
    >>> get_total_norm([tg.tensor([3.0]), tg.tensor([[4.0, 12.0]])]).item()
    13.0
    """
    arrays = [t._data for t in _listed(tensors)]
    return _total_norm(arrays, range(len(arrays)), "tensors", norm_type, error_if_nonfinite, foreach)


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients by ``min(1, max_norm / (total_norm + 1e-6))``, a norm that was computed before.

    The factor is applied also when it is 1, so that its value need not be read. Infinite norm: finite entries
    become 0 and infinite ones nan.

    Args:
        parameters: a Tensor, or several; those without gradient are skipped.
        max_norm: the largest norm allowed.
        total_norm: as :func:`get_total_norm` gives it.
        foreach: on a GPU one kernel takes all gradients, unless it is False. On the CPU without effect.

    >>> import tinygrad_rnn as tg
    >>> w = tg.zeros(2, requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> tg.nn.utils.clip_grads_with_norm_(w, 1.0, total_norm=tg.tensor(5.0))
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    grads = [grad for p in _listed(parameters) if (grad := p.grad) is not None]
    if grads:
        _scale(grads, max_norm, total_norm._data, foreach)


@unreported
def _scale(grads: list[Tensor], max_norm: float, total: Array, foreach: bool | None) -> None:
    if foreach is False or not _scaled_at_once([grad._data for grad in grads], float(max_norm), total):
        coefficient = np.minimum(float(max_norm) / (total + 1e-6), 1.0)
        factors: dict[Any, Array] = {}
        for grad in grads:
            g = grad._data
            place = (g.dtype, array_device(g))
            if place not in factors:
                factors[place] = to_device(as_array(coefficient), place[1]).astype(g.dtype)
            np.multiply(g, factors[place], out=g)
    touch(grads)


def _scaled_at_once(arrays: list[Array], largest: float, total: Array) -> bool:
    """Whether one kernel did it."""
    alike = on_gpu(arrays[0]) and on_gpu(total) and total.dtype == arrays[0].dtype
    where = placed([arrays]) if alike else None
    return where is not None and SCALE(where, [largest], shared=[total])


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    r"""Scale gradients in place so that their joint norm is at most ``max_norm``.

    :math:`g_k \leftarrow g_k \cdot \min(1, \text{max\_norm} / (\|g\|_p + 10^{-6}))`.

    Args:
        parameters: a Tensor, or several (a generator will do); those without gradient are skipped.
        max_norm: the largest norm allowed.
        norm_type: p, a number or ``"inf"``.
        error_if_nonfinite: raise, before anything is changed, if the norm is nan or infinite.
        foreach: on a GPU one kernel takes all gradients, unless it is False. On the CPU without effect.

    Returns:
        the norm before clipping, a 0-d Tensor; 0 if no parameter has a gradient.

    Raises:
        NonFiniteGradientError: saying which parameters' gradients hold nan or inf, by their place in the list.

    Source: Pascanu, Mikolov & Bengio, ICML 2013, algorithm 1.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> [round(g, 4) for g in w.grad.tolist()]
    [0.6, 0.8]
    """
    listed = _listed(parameters)
    if isinstance(parameters, types.GeneratorType) and not listed:
        warn_user("`parameters` is an empty generator, no gradient clipping will occur.")
    found = [(i, grad) for i, p in enumerate(listed) if (grad := p.grad) is not None]
    grads = [grad for _, grad in found]
    arrays = [grad._data for grad in grads]
    total = _total_norm(arrays, [i for i, _ in found], "parameters", norm_type, error_if_nonfinite, foreach)
    if grads:
        _scale(grads, max_norm, total._data, foreach)
    return total


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of :func:`clip_grad_norm_`; warns."""
    warn_user(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@unreported
def _bound(gradient: Array, bound: float) -> None:
    np.maximum(gradient, -bound, out=gradient)
    np.minimum(gradient, bound, out=gradient)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every entry of the gradients to [-clip_value, clip_value] in place; nan stays nan.

    Args:
        parameters: a Tensor, or several; those without gradient are skipped.
        clip_value: the bound.
        foreach: on a GPU one kernel takes all gradients, unless it is False. On the CPU without effect.

    >>> import tinygrad_rnn as tg
    >>> w = tg.zeros(3, requires_grad=True)
    >>> w.grad = tg.tensor([-7.0, 0.5, 2.0])
    >>> clip_grad_value_(w, 1)
    >>> w.grad
    tensor([-1.0000,  0.5000,  1.0000])
    """
    bound = float(clip_value)
    grads = [grad for p in _listed(parameters) if (grad := p.grad) is not None]
    where = placed([[grad._data for grad in grads]]) if foreach is not False else None
    if where is None or not CLAMP(where, [bound]):
        for grad in grads:
            _bound(grad._data, bound)
    touch(grads)


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _total_norm(
    arrays: Sequence[Array],
    places: Sequence[int],
    what: str,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: bool | None,
) -> Tensor:
    p = float(norm_type)
    if not arrays:
        # PyTorch's answer for no gradients at all, which is no error: torch.tensor(0.).
        return wrap(np.zeros((), np.float32))
    total = _at_once(arrays) if p == 2 and foreach is not False else None
    if total is None:
        home = array_device(arrays[0])
        norms = [to_device(_norm(a, p), home) for a in arrays]
        widest = functools.reduce(np.promote_types, (n.dtype for n in norms))
        total = _norm(array_module(arrays[0]).stack(norms).astype(widest), p)
    if error_if_nonfinite and not bool(np.isfinite(total)):
        raise NonFiniteGradientError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. To "
            "disable this error and scale the gradients by the non-finite norm anyway, set "
            f"`error_if_nonfinite=False`.\n{_culprits(arrays, places, what)}"
        )
    return wrap(as_array(total))


@unreported
def _at_once(arrays: Sequence[Array]) -> Array | None:
    """The Euclidean norm of arrays of one of the usual dtypes on one device; None for others."""
    first = arrays[0]
    if first.dtype not in (np.float32, np.float64):
        return None
    if type(first) is np.ndarray and all(type(a) is np.ndarray and a.dtype == first.dtype for a in arrays):
        # vdot needs no array of squares, and sums by the BLAS.
        squares = np.array([np.vdot(a, a) for a in arrays])
        return np.asarray(np.sqrt(squares.sum()))
    return norm.of(arrays)


@unreported
def _norm(a: Array, p: float) -> Array:
    """The p-norm of all entries, as a 0-d array of the same dtype on the same device."""
    if a.dtype.kind not in "fc":
        raise DtypeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {scalar_name(a.dtype)}"
        )
    if a.size == 0 and (p < 0 or math.isinf(p)):
        raise ShapeRuntimeError(
            f"linalg.vector_norm cannot compute the {p:g} norm on an empty tensor because the operation does not have "
            f"an identity (shape {a.shape})"
        )
    x = a.astype(np.float32) if a.dtype == np.float16 else a
    if p == 2:
        flat = x.reshape(-1)
        total = np.sqrt(np.vdot(flat, flat).real)
    elif p == math.inf:
        total = abs(x).max()
    elif p == -math.inf:
        total = abs(x).min()
    elif p == 0:
        total = (x != 0).sum()
    elif p == 1:
        total = abs(x).sum()
    else:
        total = (abs(x) ** p).sum() ** (1.0 / p)
    # Of complex entries the dtype of their parts.
    norm: Array = array_module(a).asarray(total).astype(np.finfo(a.dtype).dtype)
    return norm


def _culprits(arrays: Sequence[Array], places: Sequence[int], what: str) -> str:
    """The arrays with nan or inf, and how many of each they have."""
    lines = []
    for place, a in zip(places, arrays, strict=True):
        nans, infs = int(np.isnan(a).sum()), int(np.isinf(a).sum())
        if nans or infs:
            lines.append(f"{what}[{place}] of shape {tuple(a.shape)}: {nans} nan, {infs} inf among {a.size} entries")
    if not lines:
        return "Every entry is finite: the norm itself overflows its dtype."
    more = [f"... and {len(lines) - 8} more"] if len(lines) > 8 else []
    return "Non-finite gradients: " + "; ".join(lines[:8] + more)
