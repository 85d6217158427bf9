"""One update after the other, and everything that the next one depends on.

An update, with ``T`` = bptt, ``N`` = batch, ``V`` = size of the alphabet:

    x, y = characters t .. t+T of every stream, and those one later             (T, N)
    z, state = model(x, state)                                                 (T, N, V)
    loss = mean over T, N of -log softmax(z)[y]
    g = d loss / d parameters;   g *= min(1, clip / |g|);   optimiser step;   state = detached(state)

At the end of the streams reading starts again from the beginning, from a state of zeros; the rest of a stream
that is shorter than ``T`` is skipped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..backend import to_numpy
from ..backend.random import get_rng_state, manual_seed, set_rng_state
from ..errors import CheckpointError, UsageError
from ..tape.tensor import Tensor
from .config import Config
from .evaluation import bits_per_character
from .model import CharModel, State, detached
from .text import Alphabet, Corpus, streams

__all__ = ["Trainer", "restored_model", "saved_config"]

PROGRAM = "tinygrad-rnn train"


class Trainer:
    """The model, its optimiser and its place in the text.

    Seeds the default random generator, for initial weights and dropout.

    Attributes:
        update: how many updates have been done.
        validation: ``[update, bits per character]`` of every scheduled evaluation so far.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        manual_seed(config.seed)
        self.config, self.corpus = config, corpus
        self.model = CharModel(len(corpus.alphabet), config).to(config.device)
        self.parameters = list(self.model.parameters())
        self.optimizer = _optimizer(self.parameters, config)
        inputs, targets = streams(corpus.train, config.batch)
        self.inputs = tg.tensor(inputs, device=config.device)  # (L, N)
        self.targets = tg.tensor(targets, device=config.device)
        self.chunks = len(inputs) // config.bptt
        self.chunk = 0  # the next one to read
        self.state: State = None
        self.update = 0
        self.validation: list[list[float]] = []

    def step(self) -> tuple[Tensor, Tensor]:
        """Do one update.

        Returns:
            The loss in nats per character, and the norm of the gradient before clipping: tensors without a history,
            left on the device, so that on a GPU nobody waits for them.
        """
        if self.chunk == self.chunks:
            self.chunk, self.state = 0, None
        begin = self.chunk * self.config.bptt
        end = begin + self.config.bptt
        logits, state = self.model(self.inputs[begin:end], self.state)
        flat = logits.reshape(-1, len(self.corpus.alphabet))
        loss = tg.nn.functional.cross_entropy(flat, self.targets[begin:end].reshape(-1))
        self.optimizer.zero_grad()
        loss.backward()
        norm = tg.nn.utils.clip_grad_norm_(self.parameters, self.config.clip or math.inf)
        self.optimizer.step()
        self.state = detached(state)
        self.chunk += 1
        self.update += 1
        return loss.detach(), norm

    def evaluate(self) -> float:
        """Bits per character on the validation text."""
        return bits_per_character(self.model, self.corpus.validation, self.config.device)

    def owes_evaluation(self) -> bool:
        """Whether the evaluation that is due after this update was not done: it was given up to stop."""
        due = self.update > 0 and self.update % self.config.eval_every == 0
        return due and (not self.validation or self.validation[-1][0] != self.update)

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(np.isfinite(to_numpy(parameter._data)).all()) for parameter in self.parameters)

    def state_dict(self) -> dict[str, Any]:
        """All that the next updates depend on; what ``load_state_dict`` takes."""
        return {
            "program": PROGRAM,
            "config": self.config.as_dict(),
            "alphabet": self.corpus.alphabet.characters,
            "text_digest": self.corpus.digest,
            "update": self.update,
            "chunk": self.chunk,
            "validation": self.validation,
            "random_state": to_numpy(get_rng_state()),
            "state": self.state,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where the trainer that made ``saved`` stood, with the learning rate of this one's configuration.

        Raises:
            UsageError: it was trained on another text.
        """
        if saved["text_digest"] != self.corpus.digest:
            source = self.config.text or "the language reference of this Python"
            raise UsageError(f"the run was trained on another text than {source}: resume it with the same text")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr
        self.update, self.chunk, self.validation = saved["update"], saved["chunk"], saved["validation"]
        self.state = _moved(saved["state"], self.config.device)
        set_rng_state(saved["random_state"])


def saved_config(saved: Any, source: str) -> Config:
    """The configuration of the run whose state ``saved`` is.

    Raises:
        CheckpointError: ``saved``, read from ``source``, is not the state of a training run.
    """
    if not isinstance(saved, dict) or saved.get("program") != PROGRAM:
        raise CheckpointError(f"{source} is not the checkpoint of a training run")
    return Config.from_dict(saved["config"])


def restored_model(saved: Any, source: str) -> tuple[CharModel, Alphabet]:
    """The model in a checkpoint, on the CPU, and its alphabet.

    Raises:
        CheckpointError: ``saved``, read from ``source``, is not the state of a training run.
    """
    config = saved_config(saved, source)
    alphabet = Alphabet(saved["alphabet"])
    model = CharModel(len(alphabet), config)
    model.load_state_dict(saved["model"])
    return model, alphabet


def _optimizer(parameters: list[Any], config: Config) -> Any:
    if config.optimizer == "adam":
        return tg.optim.Adam(parameters, lr=config.lr)
    return tg.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _moved(state: Any, device: str) -> State:
    if isinstance(state, tuple):
        return tuple(part.to(device) for part in state)
    return None if state is None else state.to(device)
