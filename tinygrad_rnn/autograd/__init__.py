"""Gradients: asking for them, defining them, watching them, and checking that they are right."""

from __future__ import annotations

from ..tape.backward import backward, grad
from ..tape.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from ..tape.observe.leaks import GrowingGraph
from ..unknown_names import absent
from . import function, functional, graph
from .anomaly import AnomalyError, detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .extension import primitive
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .variable import Variable

__all__ = [
    "AnomalyError",
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

__getattr__ = absent(__name__, __all__)
