"""NumPy's names of arguments, which PyTorch takes too: ``axis`` for ``dim`` and ``keepdims`` for ``keepdim``.

>>> import tinygrad_rnn as tg
>>> tg.ones(2, 3).sum(axis=1, keepdims=True).shape
torch.Size([2, 1])
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentTypeError

__all__ = ["accepting"]

NAMES = {"axis": "dim", "keepdims": "keepdim"}


def accepting(table: dict[str, Any]) -> dict[str, Any]:
    """Those functions of ``table`` that have an argument ``dim``, so that they take NumPy's names as well."""
    return {name: _accept(f) for name, f in table.items() if "dim" in _arguments(f)}


def _arguments(f: Any) -> tuple[str, ...]:
    if not isinstance(f, types.FunctionType):
        return ()
    code = f.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


@functools.cache  # the function of a name and the method are one
def _accept(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        if not options:
            return f(*args)
        for theirs, ours in NAMES.items():
            if theirs in options:
                if ours in options:
                    raise ArgumentTypeError(f"{f.__name__}() got both {theirs} and {ours}, which mean the same")
                options[ours] = options.pop(theirs)
        return f(*args, **options)

    return call
