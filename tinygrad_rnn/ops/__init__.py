"""Primitives with their vjps, by family.  Importing this package gives Tensor its methods."""

# ruff: noqa: F403

from . import (
    arithmetic,
    comparison,
    contraction,
    conversion,
    creation,
    cumulative,
    diagonals,
    dlpack,
    dtypes,
    elementwise,
    fast_paths,
    index,
    later,
    linalg,
    methods,
    random_draws,
    rearrange,
    reduce,
    rounding,
    scattering,
    shape,
    softmaxes,
    sorting,
    splitting,
    statistics,
    transcendental,
)
from .arithmetic import *
from .comparison import *
from .contraction import *
from .conversion import *
from .creation import *
from .cumulative import *
from .diagonals import *
from .dlpack import *
from .dtypes import *
from .elementwise import *
from .index import *
from .linalg import *
from .random_draws import *
from .rearrange import *
from .reduce import *
from .rounding import *
from .scattering import *
from .shape import *
from .softmaxes import *
from .sorting import *
from .splitting import *
from .statistics import *
from .transcendental import *

# PyTorch's names that are also Python's are given here alone: within a file of ops/, sum() and abs() are the builtins.
abs, pow, round = elementwise.absolute, elementwise.power, rounding.rounded
all, any, max, min, sum = reduce.all_over, reduce.any_over, reduce.max_over, reduce.min_over, reduce.sum_over

del fast_paths, methods

__all__: list[str] = ["abs", "all", "any", "max", "min", "pow", "round", "sum"]
__all__ += elementwise.__all__
__all__ += arithmetic.__all__
__all__ += comparison.__all__
__all__ += contraction.__all__
__all__ += conversion.__all__
__all__ += creation.__all__
__all__ += cumulative.__all__
__all__ += diagonals.__all__
__all__ += dlpack.__all__
__all__ += dtypes.__all__
__all__ += index.__all__
__all__ += linalg.__all__
__all__ += splitting.__all__
__all__ += random_draws.__all__
__all__ += rearrange.__all__
__all__ += reduce.__all__
__all__ += rounding.__all__
__all__ += scattering.__all__
__all__ += shape.__all__
__all__ += softmaxes.__all__
__all__ += sorting.__all__
__all__ += statistics.__all__
__all__ += transcendental.__all__

LATER = later.FUNCTIONS
"""Functions that are loaded when they are first named, by name; see ``later.py``."""
