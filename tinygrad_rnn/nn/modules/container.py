"""Where PyTorch keeps these classes: ``nn.modules.container``."""

from ...unknown_names import absent
from ..containers import ModuleDict, ModuleList, Sequential
from ..parameter_containers import ParameterDict, ParameterList

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

__getattr__ = absent(__name__, __all__)
