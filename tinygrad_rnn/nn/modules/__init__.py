"""The paths under which PyTorch keeps its layers, for code that names them: ``nn.modules.rnn.LSTM``.

>>> import tinygrad_rnn as tg
>>> tg.nn.modules.rnn.LSTM is tg.nn.LSTM
True
"""

from ...unknown_names import absent
from . import activation, container, distance, dropout, flatten, linear, loss, module, normalization, rnn, sparse

__all__ = [
    "activation",
    "container",
    "distance",
    "dropout",
    "flatten",
    "linear",
    "loss",
    "module",
    "normalization",
    "rnn",
    "sparse",
]

__getattr__ = absent(__name__, __all__)
