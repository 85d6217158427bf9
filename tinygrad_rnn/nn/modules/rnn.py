"""Where PyTorch keeps these classes: ``nn.modules.rnn``."""

from ...unknown_names import absent
from ..recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

__getattr__ = absent(__name__, __all__)
