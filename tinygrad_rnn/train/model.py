"""The language model: a distribution of the next character, given those before it.

    x (T, N) indices -> embedding (T, N, E) -> recurrent layers (T, N, H) -> linear (T, N, V) logits

``T`` steps, ``N`` streams, ``E`` embedding size, ``H`` hidden size, ``V`` characters in the alphabet.

Its validation loss is the number of bits per character of a text that it was not trained on:

    bits per character = -(1 / n) sum_t log2 p(character t+1 | characters 1 .. t)

The text is read in ``STREAMS`` streams side by side, each from a state of zeros, with the state carried to the end of
the stream.  The number of streams is fixed, so that runs with different ``--batch`` are measured alike.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

import tinygrad_rnn as tg

from ..backend import array_module
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .config import Config
from .text import Indices, streams

__all__ = ["CharModel", "State", "bits_per_character", "detached"]

State: TypeAlias = "Tensor | tuple[Tensor, ...] | None"  # an LSTM's is (h, c); None stands for zeros

STREAMS = 8  # 1 would be exact but slow; starting 8 times from a state of zeros costs about 0.001 bits
STEPS = 128  # at a time: bounds memory without changing the result

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
        between = config.dropout if config.layers > 1 else 0.0  # dropout acts between layers, so one layer has none
        self.embedding = tg.nn.Embedding(characters, config.embedding)
        self.rnn = RECURRENT[config.cell](config.embedding, config.hidden, config.layers, dropout=between)
        self.dropout = tg.nn.Dropout(config.dropout)
        self.output = tg.nn.Linear(config.hidden, characters)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (T, N, V) of the character after each of ``x`` (T, N), and the state after the last step."""
        hidden, state = self.rnn(self.embedding(x), state)
        return self.output(self.dropout(hidden)), state


def detached(state: State) -> State:
    """The state without its history: backpropagation through time is truncated here.

    In C order, whatever the layers returned, so that a state read back from a checkpoint goes through the same matrix
    products, and gives the same bits, as one that was never saved.
    """
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(wrap(_in_c_order(part._data)) for part in state)
    return wrap(_in_c_order(state._data))


def _in_c_order(array: Array) -> Array:
    ordered: Array = array_module(array).ascontiguousarray(array)
    return ordered


def bits_per_character(model: CharModel, text: Indices, device: str = "cpu") -> float:
    """The mean over all characters of ``text`` after the first of each stream; draws no random numbers."""
    # A short text has fewer streams, of one character at least.
    inputs, targets = streams(text, min(STREAMS, len(text) - 1))
    state: State = None
    total: Any = 0.0
    was_training = model.training
    model.eval()
    try:
        with tg.no_grad():
            for begin in range(0, len(inputs), STEPS):
                x = tg.tensor(inputs[begin : begin + STEPS].astype(np.int64), device=device)
                y = tg.tensor(targets[begin : begin + STEPS].reshape(-1).astype(np.int64), device=device)
                logits, state = model(x, state)
                # In float64: a sum of float32 over millions of characters would lose the digits that are compared.
                loss = tg.nn.functional.cross_entropy(logits.reshape(len(y), -1), y, reduction="sum")
                total = loss.double() + total  # on the device: no synchronisation per chunk
    finally:
        model.train(was_training)
    return float(total) / inputs.size / math.log(2)
