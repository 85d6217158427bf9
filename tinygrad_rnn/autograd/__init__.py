"""Gradients: asking for them, defining them, watching them, and checking that they are right."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..tape.backward import backward
from ..tape.grad import grad
from ..tape.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ..tape.observe.leaks import GrowingGraph
from ..unknown_names import absent
from . import function, functional, graph
from .anomaly import AnomalyError, detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .extension import Formula, primitive
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck

if TYPE_CHECKING:
    from ..compat.legacy import Variable

__all__ = [
    "AnomalyError",
    "Formula",
    "Function",
    "GradcheckError",
    "GrowingGraph",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "no_grad",
    "primitive",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_refuse = absent(__name__, __all__)


def __getattr__(name: str) -> Any:
    """``Variable`` and its module, names of PyTorch before 0.4; else say what exists instead."""
    if name not in ("Variable", "variable"):
        return _refuse(name)
    module = import_module(f"{__name__}.variable")  # an alias: compat is above this package, so not imported with it
    return module if name == "variable" else module.Variable
