"""The language model: which character comes next, given those before it.

    x (T, N) indices -> embedding (T, N, E) -> recurrent layers (T, N, H) -> linear (T, N, V) logits

``T`` steps, ``N`` streams, ``E`` embedding size, ``H`` hidden size, ``V`` characters in the alphabet.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import tinygrad_rnn as tg

from ..backend import array_module
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .config import Config

__all__ = ["CharModel", "State", "detached"]

State: TypeAlias = "Tensor | tuple[Tensor, ...] | None"  # an LSTM's is (h, c); None stands for zeros

RECURRENT: dict[str, Any] = {"rnn": tg.nn.RNN, "lstm": tg.nn.LSTM, "gru": tg.nn.GRU}


class CharModel(tg.nn.Module):
    """Embedding, recurrent layers, dropout, linear output.

    >>> model = CharModel(5, Config(embedding=3, hidden=4))
    >>> logits, (h, c) = model(tg.tensor([[0, 1]]), None)
    >>> logits.shape == (1, 2, 5), h.shape == (1, 2, 4)
    (True, True)
    """

    def __init__(self, characters: int, config: Config) -> None:
        super().__init__()
        between = config.dropout if config.layers > 1 else 0.0  # with one layer there is no "between"
        self.embedding = tg.nn.Embedding(characters, config.embedding)
        self.rnn = RECURRENT[config.cell](config.embedding, config.hidden, config.layers, dropout=between)
        self.dropout = tg.nn.Dropout(config.dropout)
        self.output = tg.nn.Linear(config.hidden, characters)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (T, N, V) of the character after each of ``x`` (T, N), and the state after the last step."""
        hidden, state = self.rnn(self.embedding(x), state)
        return self.output(self.dropout(hidden)), state


def detached(state: State) -> State:
    """The same values without their history: where backpropagation through time is cut.

    In C order whatever the layers returned, so that a state read back from a checkpoint takes the same path
    through the matrix products, and gives the same bits, as one that was never saved.
    """
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(wrap(_in_c_order(part._data)) for part in state)
    return wrap(_in_c_order(state._data))


def _in_c_order(array: Array) -> Array:
    return array_module(array).ascontiguousarray(array)
