"""The paths under which PyTorch keeps its layers, for code that names them: ``nn.modules.rnn.LSTM``.

>>> import tinygrad_rnn as tg
>>> from tinygrad_rnn.nn.modules.rnn import LSTM
>>> LSTM is tg.nn.LSTM
True
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

from ..unknown_names import absent
from . import activation, adaptive, attention, dropout, linear, loss, module, normalization, pooling
from . import containers as container
from . import convolution as conv
from . import embedding as sparse
from . import linear as flatten
from . import loss as distance
from . import recurrent as rnn

_ACTIVATION = SimpleNamespace(**vars(activation), MultiheadAttention=attention.MultiheadAttention)
_FLATTEN = ["Flatten", "Unflatten"]
_DISTANCE = ["CosineSimilarity", "PairwiseDistance"]
_BATCH = ["BatchNorm1d"]
_OURS = ["MDLSTM", "RNNLayer"]

# Imported above under PyTorch's name is our module that defines the classes, which is what type checkers see; below,
# a module of the names that PyTorch has there takes its place.
_PATHS: dict[str, tuple[object, list[str]]] = {
    "activation": (_ACTIVATION, [*activation.__all__, *attention.__all__]),
    "adaptive": (adaptive, adaptive.__all__),
    "batchnorm": (normalization, _BATCH),
    "container": (container, container.__all__),
    "conv": (conv, conv.__all__),
    "distance": (distance, _DISTANCE),
    "dropout": (dropout, dropout.__all__),
    "flatten": (flatten, _FLATTEN),
    "linear": (linear, [*(name for name in linear.__all__ if name not in _FLATTEN), "NonDynamicallyQuantizableLinear"]),
    "loss": (loss, [name for name in loss.__all__ if name not in _DISTANCE]),
    "module": (module, module.__all__),
    "normalization": (normalization, [name for name in normalization.__all__ if name not in _BATCH]),
    "pooling": (pooling, pooling.__all__),
    "rnn": (rnn, [name for name in rnn.__all__ if name[0].isupper() and name not in _OURS]),
    "sparse": (sparse, sparse.__all__),
}

__all__ = list(_PATHS)


def _made(path: str, source: object, names: list[str]) -> ModuleType:
    """A module of some names of ``source``, which ``import`` finds although there is no file of it."""
    made = ModuleType(path, f"Where PyTorch keeps these names: ``{path.partition('.')[2]}``.")
    made.__spec__ = ModuleSpec(path, None, origin=__file__)
    made.__package__, made.__file__ = __name__, __file__
    made.__dict__.update({name: getattr(source, name) for name in names}, __all__=sorted(names))
    made.__dict__["__getattr__"] = absent(path, names)
    sys.modules[path] = made  # where the import system looks once it has imported the parent
    return made


globals().update({name: _made(f"{__name__}.{name}", *found) for name, found in _PATHS.items()})

__getattr__ = absent(__name__, __all__)
