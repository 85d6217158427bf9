"""The ``out=`` argument: the result of a function written into an existing tensor.

The function computes as usual; its result is then copied into the tensor by the machinery of in-place writing, so that
views see it and an overwritten saved value is noticed.  It saves no memory; it is there for programs that use it.

>>> import tinygrad_rnn as tg
>>> y = tg.empty(2)
>>> tg.add(tg.ones(2), 1, out=y) is y, y
(True, tensor([2., 2.]))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend.dtypes import scalar_name
from ..errors import ArgumentTypeError, DtypeError, GraphError
from ..source_line import warn_user
from ..tape.inplace.views import leave_family
from ..tape.modes import state, within
from ..tape.tensor import Tensor
from . import assign

__all__ = ["into"]

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def into(name: str, compute: Callable[[], Any], out: Any) -> Any:
    """``out``, with the result of ``compute()``; for functions with several results a tuple of tensors.

    Raises:
        ArgumentTypeError: ``out`` is no tensor, or no tuple of as many tensors as there are results.
        GraphError: a gradient is wanted of one of the arguments, or of ``out``.
        DtypeError: the result cannot be converted to the dtype of ``out``.
    """
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    for one in outs:  # before anything is computed
        if not isinstance(one, Tensor):
            raise ArgumentTypeError(f"{name}(): argument 'out' must be Tensor, not {type(one).__name__}")
    result = compute()
    results = list(result) if isinstance(result, tuple) else [result]
    if not all(isinstance(value, Tensor) for value in results):
        raise ArgumentTypeError(f"{name}(): argument 'input' must be Tensor where out is one, not an array")
    recording = state.here.recording
    for one, value in zip(outs, results, strict=False):  # of their numbers below: PyTorch speaks of gradients first
        if value.requires_grad or (recording and one.requires_grad and value.dtype.kind in "fc"):
            raise GraphError(
                f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
                "arguments requires grad. Leave out=... out, or call it under tg.no_grad()"
            )
    if len(results) != len(outs) or isinstance(result, tuple) != isinstance(out, (tuple, list)):
        many = f"tuple of {len(results)} Tensors" if isinstance(result, tuple) else "Tensor"
        raise ArgumentTypeError(f"{name}(): argument 'out' must be {many}, not {type(out).__name__}")
    for one, value in zip(outs, results, strict=True):
        within(False, _write, name, one, value)  # the write is no part of a graph
    return type(result)(*outs) if isinstance(result, tuple) else out


def _write(name: str, out: Tensor, value: Tensor) -> None:
    to, of = out._data.dtype, value._data.dtype
    if _RANK[of.kind] > _RANK[to.kind]:
        raise DtypeError(
            f"result type {scalar_name(of)} can't be cast to the desired output type {scalar_name(to)}. {name}(): "
            f"give an out of {of}"
        )
    if out._data.shape != value._data.shape:
        _resize(out, value)
    assign.copy_(out, value)


def _resize(out: Tensor, value: Tensor) -> None:
    if out._data.size:
        warn_user(
            f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
            f"match the required output shape {list(value.shape)}. Give one of this shape, or an empty one",
        )
    leave_family(out)  # views of it keep the memory that they show
    out._data = value._data.astype(out._data.dtype)
