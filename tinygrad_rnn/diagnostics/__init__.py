"""Diagnostics: what becomes of gradients on their way back through time, measured in recurrent layers at full speed.

Every function takes a recurrent layer, or any model that contains some, and gives a result with ``table()``,
``plot()``, ``to_json()`` and a form for notebooks (:mod:`.result`).
"""

from .depth import depth, paths
from .flow import flow, local, singular_values
from .gates import gates, saturation
from .lag_matrix import lag_matrix
from .resolution import resolution
from .shares import shares
from .spectra import lyapunov, weights

__all__ = ["depth", "flow", "gates", "lag_matrix", "local", "lyapunov", "paths", "resolution", "saturation", "shares"]
__all__ += ["singular_values", "weights"]
