"""A model that the tests of modules share, of PyTorch or of this package."""

from __future__ import annotations

import warnings
from typing import Any


def net(lib: Any) -> Any:
    """The same model of PyTorch or of this package: tied weights, a buffer, modules in modules."""

    class Net(lib.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = lib.nn.Embedding(5, 4)
            self.body = lib.nn.Sequential(lib.nn.Linear(4, 4), lib.nn.Dropout(0.5), lib.nn.Tanh())
            self.head = lib.nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight
            self.scale = lib.nn.Parameter(lib.ones(1))
            self.register_buffer("seen", lib.zeros(2))
            self.register_buffer("scratch", lib.zeros(3), persistent=False)
            self.register_parameter("nothing", None)
            self.plain = "text"

        def forward(self, i: Any) -> Any:
            return self.head(self.body(self.embed(i))) * self.scale

    return Net()


def quietly(make: Any) -> Any:
    """What ``make`` gives, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()
