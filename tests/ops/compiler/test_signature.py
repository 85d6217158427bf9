"""Signatures of steps: equal for the same step whatever its numbers, and unequal for every change that a trace sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, MASKED
from tinygrad_rnn import nn
from tinygrad_rnn.ops.compiler.signature import Signature, signature


def of(cell: nn.Module, rows: int = 3, seed: int = 0) -> Signature | None:
    random = np.random.default_rng(seed)
    x, h = random.normal(size=(5, rows, 2)).astype("float32"), random.normal(size=(rows, 4)).astype("float32")
    return signature(lambda x, s: cell(x, s[0]), x, [h], dict(cell.named_parameters()))


@pytest.mark.parametrize("name", [name for name in CELLS if name not in MASKED])
def test_the_signature_of_a_step_does_not_depend_on_numbers_and_rows(name: str) -> None:
    c = CELLS[name](5, 6)
    random = np.random.default_rng(0)
    found = [
        signature(c.step, random.uniform(0.1, 1, (4, n, 5)), [random.uniform(0.1, 1, (n, w)) for w in c.widths], p)
        for n in (0, 1, 2, 7)
        for p in [c.parameters]
    ]
    assert isinstance(found[0], Signature) and found[0].entries
    assert all(one == found[0] for one in found)


class Changing(nn.Module):
    """A cell with an attribute of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.back = nn.Linear(2, 4), nn.Linear(4, 4)
        self.drop, self.norm = nn.Dropout(0.5), nn.LayerNorm(4)
        self.scale: Any = 0.5
        self.function: Callable[..., Any] = tg.tanh
        self.mask = tg.tensor([1.0, 0.0, 1.0, float("nan")])
        self.detached = self.swapped = self.normed = False
        self.columns = slice(0, 2)

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        a, b = self.read(x), self.back(h.detach() if self.detached else h)
        a = self.norm(a) if self.normed else a
        a, b = (b, a) if self.swapped else (a, b)
        out = self.drop(self.function(self.scale * a + b)) * self.mask
        return tg.cat([out[:, self.columns], out[:, 2:]], -1)


def replaced(cell: Changing) -> None:
    cell.back = nn.Linear(4, 4, bias=False)


def written(cell: Changing) -> None:
    cell.mask[1] = 0.5


CHANGES: dict[str, Callable[[Changing], Any]] = {
    "training": lambda c: c.train(),
    "a module in training": lambda c: c.drop.train(),
    "a number": lambda c: setattr(c, "scale", 0.25),
    "the type of a number": lambda c: setattr(c, "scale", tg.tensor([0.5])),
    "a function": lambda c: setattr(c, "function", tg.sigmoid),
    "a constant written to": written,
    "another constant": lambda c: setattr(c, "mask", tg.tensor([1.0, 0.0, 1.0, 1.0])),
    "a flag that detaches": lambda c: setattr(c, "detached", True),
    "a flag that swaps": lambda c: setattr(c, "swapped", True),
    "a module more": lambda c: setattr(c, "normed", True),
    "another slice": lambda c: setattr(c, "columns", slice(1, 3)),
    "a frozen parameter": lambda c: c.back.weight.requires_grad_(False),
    "a parameter of another shape": lambda c: setattr(c.back.bias, "data", tg.ones(1)),
    "a module replaced": replaced,
    "a hook on a module": lambda c: c.read.register_forward_hook(lambda *_: None),
    "an option of a module": lambda c: (setattr(c.norm, "eps", 0.1), setattr(c, "normed", True)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_step_changes_its_signature(change: str) -> None:
    cell = Changing().eval()
    before, again = of(cell), of(cell, seed=1)
    assert before is not None and before == again
    CHANGES[change](cell)
    after = of(cell)
    assert after is not None and after != before and before == again


def test_other_values_of_parameters_are_no_change() -> None:
    cell = Changing().eval()
    before = of(cell)
    with tg.no_grad():
        cell.back.weight.mul_(2)
    cell.read.weight = nn.Parameter(tg.ones(4, 2))
    assert of(cell) == before


def test_a_run_for_a_signature_leaves_no_trace() -> None:
    cell = Changing()
    tg.manual_seed(0)
    expected = tg.rand(3)
    tg.manual_seed(0)
    with tg.Tape() as tape, tg.no_grad():
        assert of(cell) is not None
        assert not tg.is_grad_enabled()
    assert len(tape) == 0 and tg.equal(tg.rand(3), expected)


def test_a_step_that_raises_has_no_signature() -> None:
    class Broken(nn.Module):
        def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            raise ValueError("three rows, please")

    assert of(Broken()) is None
