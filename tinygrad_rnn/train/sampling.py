"""Text generation: draw a character from p(next | all before), append it, repeat.

p_i = exp(z_i / temperature) / sum_j exp(z_j / temperature),   z the logits; temperature 0 takes the largest
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

import tinygrad_rnn as tg

from ..backend import to_numpy
from ..backend.random.draws import Generator
from ..errors import UsageError
from .model import CharModel, State
from .text import Alphabet

__all__ = ["continue_text", "default_prompt"]


def continue_text(
    model: CharModel,
    alphabet: Alphabet,
    prompt: str,
    length: int,
    temperature: float = 0.8,
    seed: int = 0,
    device: str = "cpu",
) -> str:
    """The model's continuation of ``prompt`` by ``length`` characters.

    It uses a separate random stream, so that sampling does not change the numbers of a training run.

    Raises:
        UsageError: an empty prompt, one with characters that the model does not know, a length below 1, a negative
            or infinite temperature.
    """
    if length < 1:
        raise UsageError(f"--length must be at least 1, got {length}")
    if not 0 <= temperature < math.inf:
        raise UsageError(f"--temperature must be 0 or a positive number, got {temperature}")
    if not 0 <= seed < 2**64:
        raise UsageError(f"--seed must be a whole number from 0 to 2**64 - 1, got {seed}")
    if not prompt:
        raise UsageError("--prompt is empty: give at least one character to go on from")
    if missing := alphabet.missing(prompt):
        raise UsageError(f"--prompt has characters that the model has never seen: {missing!r}")
    generator = Generator().manual_seed(seed)
    state: State = None
    indices = alphabet.encode(prompt).tolist()
    written: list[int] = []
    was_training = model.training
    model.eval()
    try:
        with tg.no_grad():
            while len(written) < length:
                # The whole prompt in the first call, then each character that was drawn.
                logits, state = model(tg.tensor(indices, device=device).reshape(-1, 1), state)
                indices = [_draw(to_numpy(logits._data[-1, 0]), temperature, generator)]
                written += indices
    finally:
        model.train(was_training)
    return alphabet.decode(written)


def default_prompt(alphabet: Alphabet) -> str:
    """The prompt of a sample where none is given: "The " if the alphabet has it, else its first character."""
    return "The " if not alphabet.missing("The ") else alphabet.characters[0]


def _draw(logits: npt.NDArray[np.float32], temperature: float, generator: Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the largest to exp(-inf) = 0
        # Less the largest, so that no exp overflows; the ratios are the same.
        weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    cumulative = np.cumsum(weights)
    u = generator.fractions53(1)[0] * cumulative[-1]
    # u may round up to the total, one place beyond the last character.
    return min(int(np.searchsorted(cumulative, u, side="right")), len(logits) - 1)
