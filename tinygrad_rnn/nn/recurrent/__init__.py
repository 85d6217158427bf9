"""Recurrent layers and cells: RNN, LSTM, GRU, as in PyTorch, with composed and fused forms."""

from .base import RNNBase
from .cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from .layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]
