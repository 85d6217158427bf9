"""The laboratory: the claims of the subject as experiments that can fail, and the classic tasks and tables.

>>> from tinygrad_rnn import lab
>>> result = lab.run("spectral-radius")
>>> result.passed, result.verdict
(True, 'false as stated')
>>> print(result.check("nilpotent net explodes"))
nilpotent net explodes: 1.59e+15 > 8.663e+13

``tinygrad-rnn lab`` does the same at the command line, and makes a page of each.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..unknown_names import AbsentName

if TYPE_CHECKING:
    from .catalogue import experiments, find, run
    from .experiment import Check, Experiment, Result, Size, experiment

__all__ = ["Check", "Experiment", "Result", "Size", "experiment", "experiments", "find", "run"]

_FROM = {"experiments": "catalogue", "find": "catalogue", "run": "catalogue"}
_FROM |= dict.fromkeys(["Check", "Experiment", "Result", "Size", "experiment"], "experiment")
_MODULES = ("catalogue", "compressor", "items", "page", "papers", "pictures", "program", "rbm", "search", "tasks")


def __getattr__(name: str) -> Any:
    """Load what is named, as the command line needs none of it for its help."""
    if name in _FROM:
        return getattr(importlib.import_module(f"{__name__}.{_FROM[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AbsentName(__name__, name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
