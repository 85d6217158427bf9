"""A recurrent layer by the CUDA drivers and by the NumPy kernels in float64, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.support.flat_kernels import FlatKernel, flat
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.recurrent.cuda.layer import KERNELS
from tinygrad_rnn.kernels.recurrent.cuda.rows import Rows

KINK = 1e-4
"""How far from 0 relu's arguments stay, which are of the order of 10: float32 is wrong by some 1e-5 there, and on the
other side of 0 the gradient of everything before is another."""

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
STATES = {"rnn": 1, "gru": 1, "lstm": 2}


class Case(NamedTuple):
    """One run of one direction.

    Attributes:
        lengths: packed input, longest first; None for equal lengths.
        given: which of the outputs' cotangents there are, by the letters y, h, c.
    """

    mode: str
    steps: int
    batch: int
    size: int
    inputs: int = 3
    lengths: tuple[int, ...] | None = None
    reverse: bool = False
    bias: bool = True
    save: bool = True
    given: str = "yhc"
    nonlinearity: str = "tanh"

    @property
    def sizes(self) -> tuple[int, ...] | None:
        if self.lengths is None:
            return None
        return tuple(sum(length > t for length in self.lengths) for t in range(self.steps))

    def params(self) -> dict[str, Any]:
        extra = {"nonlinearity": self.nonlinearity} if self.mode == "rnn" else {}
        return {"sizes": self.sizes, "reverse": self.reverse, "save": self.save, **extra}


def numbers(case: Case, dtype: str, seed: int = 0) -> tuple[list[Any], list[Any]]:
    """Arrays and cotangents, of ``dtype``."""
    rng = np.random.default_rng(seed)
    rows, gates = (case.sizes and sum(case.sizes)) or case.steps * case.batch, GATES[case.mode]
    n, h, i = case.batch, case.size, case.inputs

    def draw(*shape: int, scale: float = 1.0) -> Any:
        return (rng.standard_normal(shape) * scale).astype(dtype)

    table = (rows,) if case.lengths is not None else (case.steps, n)
    arrays = [draw(*table, i), *(draw(n, h, scale=0.5) for _ in range(STATES[case.mode]))]
    arrays += [draw(gates * h, i, scale=i**-0.5), draw(gates * h, h, scale=h**-0.5)]
    arrays += [draw(gates * h), draw(gates * h)] if case.bias else [None, None]
    if case.nonlinearity == "relu":
        _leave_kinks(case, arrays, lambda: draw(i))
    gs = [draw(*table, h), *(draw(n, h) for _ in range(STATES[case.mode]))]
    return arrays, [g if letter in case.given else None for g, letter in zip(gs, "yhc", strict=False)]


def _leave_kinks(case: Case, arrays: list[Any], draw: Callable[[], Any]) -> None:
    """Draw those inputs of a relu RNN anew, in their place, with which a sum comes near the kink."""
    h, w_ih, w_hh, *biases = [_wide(a) for a in arrays[1:]]
    given = arrays[0].reshape(-1, case.inputs)
    bias = 0 if biases[0] is None else biases[0] + biases[1]
    for first, count in Rows(case.steps, case.batch, case.sizes, case.reverse).visits():
        past = h[:count] @ w_hh.T + bias
        sums = _wide(given[first : first + count]) @ w_ih.T + past
        for n in np.flatnonzero(np.abs(sums).min(1) < KINK):
            while np.abs(sums[n]).min() < KINK:
                given[first + n] = draw()
                sums[n] = w_ih @ given[first + n] + past[n]
        h[:count] = np.maximum(sums, 0)


def run(package: str, case: Case, arrays: list[Any], gs: list[Any]) -> list[Any]:
    """Outputs and gradients by the kernels of a package, as float64 on the host."""
    module = FlatKernel(KERNELS[case.mode], case.mode) if package == "cuda" else flat(case.mode, package)
    outputs, residual = module.forward(*arrays, **case.params())
    found = list(outputs)
    if case.save:
        needs = [a is not None for a in arrays] + [False] * (8 - len(arrays))
        found += module.backward(gs, residual, *arrays, needs=needs)[: len(arrays)]
    else:
        assert residual is None
    return [None if a is None else to_numpy(a).astype("float64") for a in found]


def worst_error(case: Case, xp: Any, dtype: str = "float32", seed: int = 0) -> float:
    """Over outputs and gradients: the distance of the drivers' from float64 NumPy's, relative to its norm."""
    arrays, gs = numbers(case, dtype, seed)
    expected = run("numpy", case, [_wide(a) for a in arrays], [_wide(g) for g in gs])
    got = run("cuda", case, [_moved(a, xp) for a in arrays], [_moved(g, xp) for g in gs])
    assert [a is None for a in got] == [a is None for a in expected]
    found = [_relative(a, b) for a, b in zip(got, expected, strict=True) if b is not None]
    return float(np.max(found))  # Python's max would pass over a nan


def _wide(a: Any) -> Any:
    return None if a is None else a.astype("float64")


def _moved(a: Any, xp: Any) -> Any:
    return None if a is None else xp.asarray(a)


def _relative(got: Any, expected: Any) -> float:
    assert got.shape == expected.shape
    norm = float(np.linalg.norm(expected))
    assert norm > 1e-3, "nothing to compare"
    return float(np.linalg.norm(got - expected)) / norm
