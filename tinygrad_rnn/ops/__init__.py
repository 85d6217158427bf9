"""Primitives with their vjps, by family.  Importing this package gives Tensor its methods."""

# ruff: noqa: F403, F405

from ..tape.format import set_printoptions
from . import comparison, creation, dtypes, elementwise, index, linalg, methods, reduce, shape, softmaxes
from .comparison import *
from .creation import *
from .dtypes import *
from .elementwise import *
from .index import *
from .linalg import *
from .reduce import *
from .shape import *
from .softmaxes import *

__all__ = ["set_printoptions"]
__all__ += comparison.__all__
__all__ += creation.__all__
__all__ += dtypes.__all__
__all__ += elementwise.__all__
__all__ += index.__all__
__all__ += linalg.__all__
__all__ += reduce.__all__
__all__ += shape.__all__
__all__ += softmaxes.__all__

del methods
