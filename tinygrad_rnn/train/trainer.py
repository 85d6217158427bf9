"""The update of a training run, and the whole state between two updates.

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
import os
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from ..backend import to_numpy
from ..backend.cpu.blas import blas
from ..backend.random.draws import get_rng_state, manual_seed, set_rng_state
from ..bench.machine import version
from ..errors import UsageError
from ..kernels.recurrent import dispatch
from ..tape.tensor import Tensor
from .checkpoint_checks import PROGRAM, damaged, saved_config
from .config import Config
from .model import CharModel, State, bits_per_character, detached
from .text import Alphabet, Corpus, laid_out

__all__ = ["Trainer", "computed_with", "differs", "restored_model"]


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
        # One byte per character, as a rule; a chunk becomes int64 only for its update.
        text = tg.from_numpy(laid_out(corpus.train, config.batch)).to(config.device)  # (L + 1, N)
        self.inputs, self.targets = text[:-1], text[1:]
        self.chunks = len(self.inputs) // config.bptt
        self.chunk = 0  # the next one to read
        self.state: State = None
        self.update = 0
        self.validation: list[list[float]] = []

    def step(self) -> tuple[Tensor, Tensor]:
        """Do one update.

        Returns:
            The loss in nats per character, and the norm of the gradient before clipping: tensors without a history,
            left on the device, so that a GPU is not synchronised.
        """
        if self.chunk == self.chunks:  # the streams are read: start again, from a state of zeros
            self.chunk, self.state = 0, None
        begin = self.chunk * self.config.bptt
        end = begin + self.config.bptt
        logits, state = self.model(self.inputs[begin:end].long(), self.state)
        flat = logits.reshape(-1, len(self.corpus.alphabet))
        loss = tg.nn.functional.cross_entropy(flat, self.targets[begin:end].reshape(-1).long())
        self.optimizer.zero_grad()
        loss.backward()
        # Without clipping the norm is still measured, for the metrics and for the detection of divergence.
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
        """Whether the evaluation that is due after this update was abandoned to stop."""
        due = self.update > 0 and self.update % self.config.eval_every == 0
        return due and (not self.validation or self.validation[-1][0] != self.update)

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(np.isfinite(to_numpy(parameter._data)).all()) for parameter in self.parameters)

    def state_dict(self) -> dict[str, Any]:
        """All that the next updates depend on, as ``load_state_dict`` takes it."""
        return {
            "program": PROGRAM,
            "computed_with": computed_with(self.config.device),
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

    def load_state_dict(self, saved: dict[str, Any], source: str = "the checkpoint") -> None:
        """Continue from the state ``saved``, with the learning rate of this trainer's configuration.

        Args:
            saved: the result of ``state_dict``, validated by ``saved_config`` if it comes from a file.
            source: the name of that file, for errors.

        Raises:
            UsageError: it was trained on another text.
            CheckpointError: its place in the text or its random state is invalid.
        """
        if saved["text_digest"] != self.corpus.digest:
            text = ", ".join(self.config.texts) or "the language reference of this Python"
            raise UsageError(f"the run was trained on another text than {text}: resume it with the same text")
        if saved["chunk"] > self.chunks or saved["alphabet"] != self.corpus.alphabet.characters:
            raise damaged(source, "it does not fit its text")
        self.model.load_state_dict(saved["model"])
        # The options of the steps come from the configuration, whose learning rate may have changed.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": saved["optimizer"]["state"], "param_groups": groups})
        self.update, self.chunk, self.validation = saved["update"], saved["chunk"], saved["validation"]
        self.state = _moved(saved["state"], self.config.device)
        # The last step, since whatever was made before may have drawn from the stream.
        try:
            set_rng_state(saved["random_state"])
        except (TypeError, ValueError, RuntimeError) as error:
            raise damaged(source, f"its 'random_state': {error}") from error


def restored_model(saved: Any, source: str) -> tuple[CharModel, Alphabet]:
    """The model in a checkpoint, on the CPU, and its alphabet.

    Raises:
        CheckpointError: ``saved``, read from ``source``, is not the state of a training run, or its parts do not fit.
    """
    config = saved_config(saved, source, whole=False)
    alphabet = Alphabet(saved["alphabet"])
    model = CharModel(len(alphabet), config)
    model.load_state_dict(saved["model"])
    return model, alphabet


def computed_with(device: str) -> dict[str, str]:
    """What the last bits of a run's numbers depend on, apart from the run itself: libraries and kernels."""
    place = device.partition(":")[0]
    if place == "cuda":
        return {"device": place, "recurrent kernels": os.environ.get(dispatch.VARIABLE, "auto")}
    library = blas()
    return {
        "device": place,
        "NumPy": np.__version__,
        "BLAS": f"{library.name}, kernels for {library.kernel or 'unknown'}",
        "Numba": version("numba") or "none",
        "recurrent kernels": os.environ.get(dispatch.VARIABLE, "auto"),
    }


def differs(saved: dict[str, Any], device: str) -> str | None:
    """One line on what may make the numbers of a resumed run differ from an uninterrupted one; None if nothing does."""
    before, now = saved.get("computed_with"), computed_with(device)
    if not isinstance(before, dict):  # saved by an older version
        return None
    changed = [
        f"{name} {before.get(name)}, now {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if not changed:
        return None
    begun = f"until now the run was computed with {'; '.join(changed)}"
    return f"{begun}. From here on its numbers may differ in the last digits from what they would have been"


def _optimizer(parameters: list[Any], config: Config) -> Any:
    if config.optimizer == "adam":
        return tg.optim.Adam(parameters, lr=config.lr)
    # Nesterov's form without momentum is an error in PyTorch.
    return tg.optim.SGD(parameters, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _moved(state: Any, device: str) -> State:
    if isinstance(state, tuple):
        return tuple(part.to(device) for part in state)
    return None if state is None else state.to(device)
