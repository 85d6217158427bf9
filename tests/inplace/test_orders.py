"""Every order through writes: programs run in place, and run again on memory that is a value replaced as a whole.

In the second run nothing is ever written: a memory is one vector m, a write of v to some of its entries is

    m' = keep * m + E^T v            E has a row for each entry of v, with a one where it goes

and a view is reading entries by number.  Both runs use the same engine, so orders 1 and 2 can be compared exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.inplace.test_programs import VIEWS
from tinygrad_rnn.errors import InplaceError


class InPlace:
    """A tensor of the engine."""

    def __init__(self, t: Any) -> None:
        self.t = t

    def read(self) -> Any:
        return self.t

    def view(self, on_tensors: Any, on_positions: Any) -> InPlace:
        return InPlace(on_tensors(self.t))

    def write(self, value: Any) -> None:
        self.t.copy_(value)


class Pure:
    """Positions in a memory that is a vector, replaced by another at every write."""

    def __init__(self, memory: list[Any], positions: np.ndarray) -> None:
        self.memory, self.positions = memory, positions

    def read(self) -> Any:
        return self.memory[0][self.positions.reshape(-1)].reshape(self.positions.shape)

    def view(self, on_tensors: Any, on_positions: Any) -> Pure:
        return Pure(self.memory, on_positions(self.positions))

    def write(self, value: Any) -> None:
        to = self.positions.reshape(-1)
        rows = np.eye(self.memory[0].shape[0])[to]
        keep = tg.tensor(1.0 - rows.sum(axis=0))
        flat = (value + tg.zeros(self.positions.shape, dtype=tg.float64)).reshape(-1)
        self.memory[0] = self.memory[0] * keep + tg.tensor(rows.T.copy()) @ flat


def pure(t: Any) -> Pure:
    shape = tuple(t.shape)
    return Pure([t.reshape(-1) + 0], np.arange(t.numel()).reshape(shape))


picks = st.integers(0, 1000)
TURNED = np.arange(6).reshape(2, 3).T
SURE_VIEWS = [pair for pair in VIEWS if np.shares_memory(TURNED, pair[1](TURNED))]  # without reshape, which may copy
steps = st.one_of(
    st.tuples(st.just("view"), picks, st.sampled_from(SURE_VIEWS)),
    st.tuples(st.just("tanh"), picks, picks),
    st.tuples(st.just("mul"), picks, picks),
    st.tuples(st.just("write"), picks, picks),
    st.tuples(st.just("write_product"), picks, picks),
    st.tuples(st.just("zeros"), picks, picks),
)


def run(program: list[Any], x: Any, new: Any) -> Any:
    """The sum over all that the program computed, of its squares: every entry matters, and to second order."""
    pool = [new(x * 1), new(x * 2)]
    shapes = [(2, 3), (2, 3)]
    blanks = [np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3)]  # which entries are repeated

    def fitting(number: int, shape: tuple[int, ...]) -> Any:
        fits = [cell for cell, other in zip(pool, shapes, strict=True) if _into(other, shape)]
        return fits[number % len(fits)] if fits else None

    for name, number, other in program:
        at = number % len(pool)
        cell, shape = pool[at], shapes[at]
        if name == "view":
            try:
                taken = other[1](blanks[at])
            except (IndexError, ValueError):
                continue
            if 0 < taken.size <= 24:
                pool.append(cell.view(*other))
                shapes.append(taken.shape)
                blanks.append(taken)
        elif name == "zeros":
            pool.append(new(tg.zeros(2, 3, dtype=tg.float64)))
            shapes.append((2, 3))
            blanks.append(np.arange(6).reshape(2, 3))
        elif name in ("tanh", "mul"):
            y = cell.read().tanh() if name == "tanh" else cell.read() * 0.5 * fitting(other, shape).read()
            pool.append(new(y))
            shapes.append(shape)
            blanks.append(np.arange(y.numel()).reshape(shape))
        elif np.unique(blanks[at]).size == blanks[at].size:
            value = fitting(other, shape).read().clone()
            cell.write(value if name == "write" else cell.read().clone() * value * 0.5)
    total = 0.0
    for k, cell in enumerate(pool):
        total = total + (cell.read() * cell.read()).sum() / (k + 1.0)
    return total


def _into(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(steps, min_size=3, max_size=14), st.integers(0, 3))
def test_values_gradients_and_second_derivatives_are_those_of_the_program_that_never_writes(
    program: list[Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values, direction = rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, (2, 3))
    found: list[Any] = []
    for new in (InPlace, pure):
        x = tg.tensor(values, requires_grad=True)
        y = run(program, x, new)
        try:
            (g,) = tg.autograd.grad(y, x, create_graph=True)
            (gg,) = tg.autograd.grad((g * tg.tensor(direction)).sum(), x)
        except InplaceError:
            assert new is InPlace
            return
        found.append([y.item(), g.detach().numpy(), gg.numpy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)  # float64, numbers of order 1, some tens of roundings
