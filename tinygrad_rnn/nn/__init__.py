"""Neural network layers, PyTorch-shaped: modules, parameters, losses, initialisation."""

from ..unknown_names import absent
from . import (
    activation,
    adaptive,
    attention,
    containers,
    convolution,
    dropout,
    embedding,
    functional,
    init,
    linear,
    loss,
    modules,
    normalization,
    parallel,
    pooling,
    skip_connections,
    utils,
)
from .activation import *  # noqa: F403
from .adaptive import *  # noqa: F403
from .attention import *  # noqa: F403
from .containers import *  # noqa: F403
from .convolution import *  # noqa: F403
from .dropout import *  # noqa: F403
from .embedding import *  # noqa: F403
from .linear import *  # noqa: F403
from .loss import *  # noqa: F403
from .module import Module
from .normalization import *  # noqa: F403
from .parallel import DataParallel
from .parameter import Parameter, UninitializedParameter
from .pooling import *  # noqa: F403
from .recurrent import GRU, LSTM, MDLSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase, RNNLayer
from .skip_connections import *  # noqa: F403

__all__ = ["DataParallel", "Module", "Parameter", "UninitializedParameter", "functional", "init", "modules"]
__all__ += ["parallel", "utils"]
__all__ += ["GRU", "LSTM", "MDLSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase", "RNNLayer"]
__all__ += activation.__all__ + adaptive.__all__ + attention.__all__ + containers.__all__ + convolution.__all__
__all__ += dropout.__all__ + embedding.__all__ + linear.__all__ + loss.__all__ + normalization.__all__
__all__ += pooling.__all__ + skip_connections.__all__

__getattr__ = absent(__name__, __all__)
