"""Classes and functions of a user, for files that name them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

import tinygrad_rnn as tg

calls: list[str] = []


@dataclass
class Settings:
    """An object that is no module."""

    width: int
    names: list[str]


class Pair(NamedTuple):
    """A named tuple."""

    first: Any
    second: Any


class Slotted:
    """Has no ``__dict__``."""

    __slots__ = ("x",)


class Made:
    """Has a constructor that must not run when a file is read."""

    def __new__(cls) -> Made:
        calls.append("new")
        return object.__new__(cls)


def half(x: Any) -> Any:
    """A function of the user's."""
    return x / 2


class Tagger(tg.nn.Module):
    """A model with tied weights, a list, a buffer, functions and settings."""

    def __init__(self, words: int = 5, settings: Settings | None = None) -> None:
        calls.append("init")
        super().__init__()
        self.embedding = tg.nn.Embedding(words, 4)
        self.rnn = tg.nn.LSTM(4, 4, num_layers=2, bidirectional=True)
        self.out = tg.nn.Linear(8, 4)
        self.decoder = tg.nn.Linear(4, words, bias=False)
        self.decoder.weight = self.embedding.weight
        self.stack = tg.nn.ModuleList([self.out, tg.nn.Tanh()])
        self.register_buffer("scale", tg.tensor(2.0))
        self.register_buffer("scratch", tg.zeros(3), persistent=False)
        self.act = tg.tanh
        self.settings = settings
        self.out.bias.requires_grad_(False)

    def __setstate__(self, state: Any) -> None:
        calls.append("setstate")

    def forward(self, x: Any) -> Any:
        h, _ = self.rnn(self.embedding(x))
        for module in self.stack:
            h = module(h)
        return self.decoder(self.act(h) * self.scale)


class Color(Enum):
    """An enumeration."""

    RED = 1
    BLUE = 2


class Corner(tuple[int, int], Enum):
    """An enumeration whose members are tuples."""

    LEFT = (0, 1)


class Shy:
    """An object with methods, a property and a cached property."""

    def method(self) -> int:
        return 1

    @property
    def value(self) -> int:
        return 2

    @cached_property
    def count_of(self) -> int:
        return 3


class Slot:
    """Has a slot, and its class below a ``__dict__`` beside it."""

    __slots__ = ("slot",)


class SlotAndDict(Slot):
    """Attributes alone do not tell what it holds."""
