"""The hyper-parameters of a run: one immutable record, validated at construction."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import UsageError

__all__ = ["CELLS", "CHANGEABLE", "DEFAULT_LR", "OPTIMIZERS", "Config"]

CELLS = ("rnn", "lstm", "gru")
DEFAULT_LR = {"sgd": 1.0, "adam": 0.003}
OPTIMIZERS = tuple(DEFAULT_LR)

# Options that may change when a run is resumed; the others would make it another run.  (The file of the text may have
# moved; the checkpoint holds a digest of the text itself.)
CHANGEABLE = frozenset(
    {"text", "encoding", "updates", "device", "eval_every", "checkpoint_every", "lr", "clip", "diagnose"}
)

LARGEST = 2**31 - 1

KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "str | None": (str, type(None)),
    "str | tuple[str, ...] | None": (str, tuple, type(None)),
}
"""The types of a field's value, by its annotation: a configuration may come from a file."""


@dataclass(frozen=True)
class Config:
    """Everything that determines the numbers of a run, apart from the text itself.

    Attributes:
        text: path of the text file, or of several; None stands for the language reference included in CPython.
        encoding: of the text; None: that of a byte order mark, or UTF-8.
        cell: ``rnn`` (tanh), ``lstm`` or ``gru``.
        layers: number of stacked recurrent layers.
        embedding: size of a character's vector.
        hidden: size of a layer's state.
        dropout: probability of dropping an output of a recurrent layer while training.
        optimizer: ``sgd`` (with Nesterov momentum) or ``adam``.
        lr: learning rate.
        momentum: of SGD; 0 for none.
        clip: the largest norm of the gradient; 0 for no clipping.
        batch: streams of text that are read side by side.
        bptt: characters after which backpropagation through time is cut.
        updates: total number of optimiser steps.
        seed: of all random numbers.
        device: ``cpu``, ``cuda`` or ``cuda:<number>``.
        eval_every, checkpoint_every: in updates.
        diagnose: updates between two measurements of how far back gradients reach; 0 for none.

    Raises:
        UsageError: an invalid value; the message names the option.

    >>> Config(cell="gru").hidden
    256
    >>> Config(hidden=0)
    Traceback (most recent call last):
    tinygrad_rnn.errors.UsageError: --hidden must be a whole number of at least 1, got 0
    """

    text: str | tuple[str, ...] | None = None
    encoding: str | None = None
    cell: str = "lstm"
    layers: int = 1
    embedding: int = 64
    hidden: int = 256
    dropout: float = 0.0
    optimizer: str = "sgd"
    lr: float = DEFAULT_LR["sgd"]
    momentum: float = 0.9
    clip: float = 0.25
    batch: int = 32
    bptt: int = 64
    updates: int = 1000
    seed: int = 1
    device: str = "cpu"
    eval_every: int = 250
    checkpoint_every: int = 100
    diagnose: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            # Exact types: True is an int, but not a number of layers.
            kinds = KINDS[str(field.type)]
            self._require(type(getattr(self, field.name)) in kinds, field.name, f"of type {field.type}")
        for path in self.texts:
            # The system's own error for a zero byte names no option.
            self._require(type(path) is str and "\0" not in path, "text", "a path")
        for name in ("layers", "embedding", "hidden", "batch", "bptt", "updates", "eval_every", "checkpoint_every"):
            value = getattr(self, name)
            self._require(type(value) is int and value >= 1, name, "a whole number of at least 1")
            self._require(value <= LARGEST, name, f"at most {LARGEST}")
        self._require(0 <= self.diagnose <= LARGEST, "diagnose", f"a whole number from 0 to {LARGEST}")
        self._require(self.cell in CELLS, "cell", f"one of {', '.join(CELLS)}")
        self._require(self.optimizer in OPTIMIZERS, "optimizer", f"one of {', '.join(OPTIMIZERS)}")
        self._require(0 <= self.dropout < 1, "dropout", "at least 0 and less than 1")
        self._require(0 <= self.momentum < 1, "momentum", "at least 0 and less than 1")
        self._require(0 < self.lr < math.inf, "lr", "a positive number")
        self._require(0 <= self.clip < math.inf, "clip", "a positive number, or 0 for no clipping")
        self._require(0 <= self.seed < 2**64, "seed", "a whole number from 0 to 2**64 - 1")
        kind, _, number = self.device.partition(":")
        known = self.device in ("cpu", "cuda") or (kind == "cuda" and number.isdecimal())
        self._require(known, "device", "cpu, cuda or cuda:<number>")

    @property
    def texts(self) -> tuple[str, ...]:
        """The paths of the text files; none: the language reference."""
        return (self.text,) if isinstance(self.text, str) else self.text or ()

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise UsageError(f"{option(name)} must be {expected}, got {str(getattr(self, name))[:100]}")

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Config:
        """The configuration of a new run: the given options and the defaults, which depend on the optimiser."""
        optimizer = options.get("optimizer", cls.optimizer)
        if optimizer != "sgd" and "momentum" in options:
            raise UsageError(f"--momentum belongs to --optimizer sgd, got --optimizer {optimizer}")
        return cls(**{"lr": DEFAULT_LR.get(optimizer, cls.lr), **options})

    def changed(self, options: dict[str, Any]) -> Config:
        """The configuration of a resumed run.

        Raises:
            UsageError: an option differs from the run's own and is not one of ``CHANGEABLE``.
        """
        for name, value in options.items():
            if name not in CHANGEABLE and value != getattr(self, name):
                own = getattr(self, name)
                raise UsageError(f"{option(name)} cannot change when a run is resumed: it has {own}, got {value}")
        return replace(self, **options)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The inverse of ``as_dict``; a field that an older version did not have gets its default."""
        known = {field.name for field in fields(cls)}
        # Fields of a newer version are dropped.
        given = {name: value for name, value in values.items() if name in known}
        # JSON has no tuples.
        if isinstance(given.get("text"), list):
            given["text"] = tuple(given["text"])
        return cls(**given)


def option(name: str) -> str:
    """The command-line option of a field."""
    return "--" + name.replace("_", "-")
