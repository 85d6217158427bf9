"""Functions that are loaded at their first use: which file has which, as functions and as methods of Tensor.

>>> import tinygrad_rnn as tg
>>> tg.erf(tg.ones(1)).equal(tg.ones(1).erf())
True
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from ..tape.tensor import Tensor
from . import arguments, inplace

__all__ = ["FUNCTIONS", "METHODS", "function"]

FILES = {
    "special_functions": """
        digamma erf erfc erfinv i0 igamma igammac lgamma logit mvlgamma nan_to_num polygamma sinc xlogy
    """,
    "single_functions": """
        channels_last contiguous_format layout memory_format preserve_format strided
        atleast_1d atleast_2d atleast_3d bincount block_diag bucketize cdist copysign corrcoef cov cross deg2rad
        diagflat dsplit float_power fmax fmin heaviside histc hsplit isin kron logaddexp2 mode nanmean nanquantile
        nextafter quantile rad2deg range scalar_tensor searchsorted trapezoid trapz typename unique_consecutive vsplit
    """,
}
FUNCTIONS = {name: file for file, names in FILES.items() for name in names.split()}
"""By name, the file of ``ops/`` that has it."""

FUNCTIONS_ONLY = frozenset(
    """
    atleast_1d atleast_2d atleast_3d block_diag bucketize cdist isin range scalar_tensor searchsorted trapezoid trapz
    typename channels_last contiguous_format layout memory_format preserve_format strided
    """.split()
)
"""Those that are no methods."""

METHODS = {name: file for name, file in FUNCTIONS.items() if name not in FUNCTIONS_ONLY}
METHODS |= dict.fromkeys(["is_cpu", "is_sparse", "layout"], "single_functions")
METHODS |= {f"{name}_": file for name, file in METHODS.items() if name in inplace.FORMS}


NAMED = {"range": "range_with_end"}
"""What a function is called in its file, where its name would hide a builtin."""


def function(name: str) -> Any:
    """The function of that name, with the checks that users meet."""
    return _loaded(FUNCTIONS[name])[name]


@functools.cache
def _loaded(file: str) -> dict[str, Callable[..., Any]]:
    """The functions of a file; Tensor has got their methods."""
    module = importlib.import_module(f"{__package__}.{file}")
    own = {name: getattr(module, NAMED.get(name, name)) for name in FUNCTIONS if FUNCTIONS[name] == file}
    methods = {name: f for name, f in own.items() if name in METHODS} | getattr(module, "METHODS", {})
    methods |= inplace.forms(methods)
    for name, method in (methods | arguments.guarded(methods, "method")).items():
        setattr(Tensor, name, method)
    return own | arguments.guarded(own)


class _Later:
    """A method in whose place the real one comes when it is first asked for."""

    def __init__(self, name: str, file: str) -> None:
        self.name, self.file = name, file

    def __get__(self, tensor: Any, owner: Any) -> Any:
        _loaded(self.file)
        return getattr(owner if tensor is None else tensor, self.name)


for _name, _file in METHODS.items():
    setattr(Tensor, _name, _Later(_name, _file))
