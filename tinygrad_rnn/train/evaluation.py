"""The validation loss: bits per character of a text that the model was not trained on.

    bits per character = -(1 / n) sum_t log2 p(character t+1 | characters 1 .. t)

The text is read in ``STREAMS`` streams side by side, each from a state of zeros, with the state carried to the end
of the stream.  The number of streams is fixed, so that runs with different ``--batch`` are measured alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from .model import CharModel, State
from .text import Indices, streams

__all__ = ["bits_per_character"]

STREAMS = 8  # one would be exact but slow; the few characters read from an empty state cost about 0.001 bits
STEPS = 128  # at a time; bounds memory, does not change the result


def bits_per_character(model: CharModel, text: Indices, device: str = "cpu") -> float:
    """The mean over all characters of ``text`` after the first of each stream; draws no random numbers."""
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
                loss = tg.nn.functional.cross_entropy(logits.reshape(len(y), -1), y, reduction="sum")
                total = loss.double() + total  # on the device: the text is read without a wait
    finally:
        model.train(was_training)
    return float(total) / inputs.size / math.log(2)
