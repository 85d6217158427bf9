"""Diagnostics: what becomes of gradients on their way back through time, measured in recurrent layers at full speed.

Every function takes a recurrent layer, or any model that contains some, and gives a result with ``table()``,
``plot()``, ``to_json()`` and a form for notebooks (:mod:`.result`).
"""

from .causality import causality
from .cliff import cliff, clip_report
from .depth import depth, paths
from .flow import flow, local, singular_values
from .gates import gates, saturation
from .lag_matrix import lag_matrix
from .monitor import Monitor
from .omega import omega
from .resolution import resolution
from .shares import shares
from .spectra import lyapunov, weights
from .timescale import timescale_task
from .truncation import randomised, truncated

__all__ = ["Monitor", "causality", "cliff", "clip_report", "depth", "flow", "gates", "lag_matrix", "local", "lyapunov"]
__all__ += ["omega", "paths", "randomised", "resolution", "saturation", "shares", "singular_values", "timescale_task"]
__all__ += ["truncated", "weights"]
