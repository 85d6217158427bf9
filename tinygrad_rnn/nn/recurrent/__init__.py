"""Recurrent layers and cells: RNN, LSTM, GRU, as in PyTorch, with composed and fused forms, and more options."""

from .cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from .compiled_steps import NotCompiled
from .gate_layout import gate_view, layout
from .initialisation import init_gate_, irnn_, orthogonal_gates_
from .layers import GRU, LSTM, RNN, RNNBase
from .mdlstm import MDLSTM
from .rnn_layer import RNNLayer

__all__ = [
    "GRU",
    "LSTM",
    "MDLSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "NotCompiled",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
    "RNNLayer",
    "gate_view",
    "init_gate_",
    "irnn_",
    "layout",
    "orthogonal_gates_",
]
