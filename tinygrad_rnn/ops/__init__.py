"""Primitives with their vjps, by family.  Importing this package gives Tensor its methods."""

from . import methods
from .comparison import *
from .creation import *
from .dtypes import *
from .elementwise import *
from .index import *
from .linalg import *
from .reduce import *
from .shape import *
from .softmax import *

del methods
