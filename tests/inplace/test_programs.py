"""Random programs that write in place, run by three machines at once: the engine, the reference, and PyTorch if there.

After every step the numbers agree.  At every backward pass either the gradient is the reference's, or the engine
raises and PyTorch raises too: where PyTorch has a right gradient, so has the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import tinygrad_rnn as tg
from tests.inplace.dual_memory import Dual, Place, apply
from tests.support.measured import measured
from tinygrad_rnn.errors import InplaceError

try:
    import torch
except ImportError:
    torch = None

LEAVES = {"A": (2, 3), "B": (3,)}
K = 9
LARGEST = 50.0  # larger results are not computed: products of products would overflow


UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "exp": np.exp,
    "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),
    "square": np.square,
    "neg": np.negative,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {"add": np.add, "sub": np.subtract, "mul": np.multiply}

VIEWS: list[tuple[Callable[[Any], Any], Callable[[np.ndarray], np.ndarray]]] = [
    # on tensors, on positions
    (lambda x: x[0], lambda p: p[0]),
    (lambda x: x[-1:], lambda p: p[-1:]),
    (lambda x: x[::2], lambda p: p[::2]),
    (lambda x: x[..., 1], lambda p: p[..., 1]),
    (lambda x: x[:, 1:], lambda p: p[:, 1:]),
    (lambda x: x[1, None], lambda p: p[1, None]),
    (lambda x: x.transpose(0, 1), lambda p: p.swapaxes(0, 1)),
    (lambda x: x.reshape(-1), lambda p: p.reshape(-1)),
    (lambda x: x.unsqueeze(0), lambda p: p[None]),
    (lambda x: x.squeeze(), lambda p: p.squeeze()),
    (lambda x: x[...], lambda p: p),
    (lambda x: x.expand(2, *x.shape), lambda p: np.broadcast_to(p, (2, *p.shape))),
]

INDICES: list[Any] = [
    0,
    -1,
    slice(1, None),
    ...,
    [0, 1],
    [0, 0],
    np.array([1, 0, 1]),
    (slice(None), 1),
    (1, 1),
    ([0, 1, 0], [1, 1, 1]),
    (slice(None), [1, 0]),
    (..., [1, 1]),
    (None, 0),
]


def for_torch(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(for_torch(i) for i in index)
    return torch.as_tensor(index) if isinstance(index, np.ndarray) else index


class Cell:
    """One tensor of the program, in three machines."""

    def __init__(self, ours: Any, place: Place, theirs: Any) -> None:
        self.ours, self.place, self.theirs = ours, place, theirs


picks = st.integers(0, 10**6)


class Programs(RuleBasedStateMachine):
    ran = gradients = refused = 0

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[Cell] = []
        self.torch = torch is not None

    # leaves and helpers ------------------------------------------------------------------------------------------

    @initialize(seed=st.integers(0, 3))
    def start(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.leaves: dict[str, tuple[Any, Any]] = {}
        start = 0
        for name, shape in LEAVES.items():
            values = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
            slope = np.zeros((K, *shape))
            slope.reshape(K, -1)[range(start, start + values.size), range(values.size)] = 1
            start += values.size
            ours = tg.tensor(values, requires_grad=True)
            theirs = torch.tensor(values, requires_grad=True) if torch else None
            self.leaves[name] = (ours, theirs)
            self.cells.append(Cell(ours, Place.new(Dual(values, slope), leaf=True), theirs))

    def pick(self, number: int, suits: Callable[[Cell], bool] = lambda cell: True) -> Cell | None:
        suitable = [cell for cell in self.cells if suits(cell)]
        return suitable[number % len(suitable)] if suitable else None

    def target(self, number: int, suits: Callable[[Cell], bool] = lambda cell: True) -> Cell | None:
        """A tensor to write to: a leaf now and then, a view half of the time."""
        kinds: list[Callable[[Cell], bool]] = [lambda c: c.ours._is_view(), lambda c: not c.place.family.leaf]
        kind = kinds[number % 2] if number % 7 else lambda c: True
        return self.pick(number // 7, lambda cell: kind(cell) and suits(cell)) or self.pick(number // 7, suits)

    def add(self, ours: Any, place: Place, theirs: Callable[[], Any]) -> None:
        self.cells.append(Cell(ours, place, self.in_torch(theirs)))
        if len(self.cells) > 12:
            del self.cells[2]

    def in_torch(self, f: Callable[[], Any]) -> Any:
        """Do it in PyTorch too; if it refuses what we can do, go on without it."""
        if not self.torch:
            return None
        try:
            return f()
        except RuntimeError:
            self.torch = False
            return None

    # making tensors -------------------------------------------------------------------------------------------------

    @rule(number=picks, name=st.sampled_from(sorted(UNARY)), recorded=st.booleans())
    def unary(self, number: int, name: str, recorded: bool) -> None:
        cell = self.pick(number)
        assert cell is not None
        dual = apply(UNARY[name], cell.place.read(recorded))
        if np.abs(dual.value).max(initial=0) > LARGEST:
            return
        with tg.set_grad_enabled(recorded):
            ours = getattr(cell.ours, name)()

        def theirs() -> Any:
            with torch.set_grad_enabled(recorded):
                return getattr(cell.theirs, name)()

        self.add(ours, Place.new(dual), theirs)

    @rule(number=picks, other=picks, name=st.sampled_from(sorted(BINARY)))
    def binary(self, number: int, other: int, name: str) -> None:
        a = self.pick(number)
        assert a is not None
        b = self.pick(other, lambda cell: _broadcast(a.place.shape, cell.place.shape) is not None)
        assert b is not None
        dual = apply(BINARY[name], a.place.read(), b.place.read())
        if np.abs(dual.value).max(initial=0) > LARGEST:
            return
        self.add(getattr(a.ours, name)(b.ours), Place.new(dual), lambda: getattr(a.theirs, name)(b.theirs))

    @rule(number=picks, view=st.sampled_from(VIEWS))
    def view_again(self, number: int, view: Any) -> None:
        self.view(number, view, True)

    @rule(number=picks, view=st.sampled_from(VIEWS), recorded=st.sampled_from([True, True, True, False]))
    def view(self, number: int, view: Any, recorded: bool) -> None:
        on_tensors, on_positions = view
        cell = self.pick(number, lambda cell: _works(on_positions, cell.place.positions))
        if cell is None or not 0 < on_positions(cell.place.positions).size <= 24:
            return
        with tg.set_grad_enabled(recorded):
            ours = on_tensors(cell.ours)
        if np.shares_memory(ours._data, cell.ours._data):
            place = cell.place.view(on_positions, recorded)
        else:  # a reshape that had to copy
            dual = cell.place.read(recorded)
            place = Place.new(Dual(on_positions(dual.value), np.stack([on_positions(s) for s in dual.slope])))

        def theirs() -> Any:
            with torch.set_grad_enabled(recorded):
                return on_tensors(cell.theirs)

        self.add(ours, place, theirs)

    @rule(number=picks, how=st.sampled_from(["detach", "data", "clone", "detach_"]))
    def copies(self, number: int, how: str) -> None:
        cell = self.pick(number)
        assert cell is not None
        if how == "clone":
            dual = cell.place.read()
            self.add(cell.ours.clone(), Place.new(dual), lambda: cell.theirs.clone())
        elif how == "detach_":  # PyTorch refuses it for views; there the name is given to a detached twin instead
            if cell.place.family.leaf or any(c.place.blind and c.place.family is cell.place.family for c in self.cells):
                return  # a blind view of this very tensor would follow it
            cell.ours.detach_()
            cell.place = cell.place.detached()
            cell.theirs = self.in_torch(lambda: cell.theirs.detach())
        else:
            ours = cell.ours.detach() if how == "detach" else cell.ours.data
            self.add(ours, cell.place.detached(), lambda: cell.theirs.detach())

    @rule(number=picks, what=st.sampled_from(["zeros", "rows", "forget", "unsqueeze_"]))
    def housekeeping(self, number: int, what: str) -> None:
        if what == "unsqueeze_":
            self.unsqueeze_in_place(number)
        elif what == "forget":
            if len(self.cells) > 3:
                del self.cells[2 + number % (len(self.cells) - 2)]
        else:
            self.zeros((3,) if what == "zeros" else (4, 3))

    def zeros(self, shape: tuple[int, ...]) -> None:
        dual = Dual(np.zeros(shape), np.zeros((K, *shape)))
        self.add(tg.zeros(shape, dtype=tg.float64), Place.new(dual), lambda: torch.zeros(shape, dtype=torch.float64))

    def unsqueeze_in_place(self, number: int) -> None:
        cell = self.pick(number)
        assert cell is not None
        if cell.place.family.leaf or cell.place.blind or len(cell.place.shape) > 3:
            return
        cell.ours.unsqueeze_(-1)
        cell.place = cell.place.view(lambda p: p[..., None], True)
        self.in_torch(lambda: cell.theirs.unsqueeze_(-1))

    # writing --------------------------------------------------------------------------------------------------------

    def write(
        self,
        cell: Cell,
        recorded: bool,
        on_ours: Callable[[Any], Any],
        on_place: Callable[[Place], None],
        on_theirs: Callable[[Any], Any],
    ) -> None:
        """A write to ``cell`` in all machines.  The engine refuses it exactly where it says that it does."""
        place = cell.place
        try:
            with tg.set_grad_enabled(recorded):
                on_ours(cell.ours)
        except InplaceError:
            assert place.repeats or (recorded and (place.family.leaf or place.blind or place.repeated))
            if self.torch and recorded and (place.blind or place.repeated):
                self.torch = False  # PyTorch lets some of these pass
            return
        assert not place.repeats
        assert not (recorded and place.family.leaf)
        on_place(place)

        def theirs() -> None:
            with torch.set_grad_enabled(recorded):
                on_theirs(cell.theirs)

        self.in_torch(theirs)

    @rule(number=picks, name=st.sampled_from([*sorted(UNARY), "zero"]), recorded=st.sampled_from([True, True, False]))
    def unary_in_place(self, number: int, name: str, recorded: bool) -> None:
        cell = self.target(number)
        assert cell is not None
        new = apply(UNARY.get(name, lambda z: z * 0), cell.place.read())
        if np.abs(new.value).max(initial=0) > LARGEST:
            return
        method = f"{name}_"
        self.write(
            cell,
            recorded,
            lambda x: getattr(x, method)(),
            lambda place: place.write(new, recorded),
            lambda x: getattr(x, method)(),
        )

    @rule(
        number=picks,
        other=picks,
        name=st.sampled_from(sorted(BINARY)),
        recorded=st.sampled_from([True, True, True, False]),
        augmented=st.booleans(),
    )
    def binary_in_place(self, number: int, other: int, name: str, recorded: bool, augmented: bool) -> None:
        cell = self.target(number)
        assert cell is not None
        operand = self.operand(cell.place.shape, other)
        new = apply(BINARY[name], cell.place.read(), operand.place.read())
        if np.abs(new.value).max(initial=0) > LARGEST:
            return
        method = f"__i{name}__" if augmented else f"{name}_"
        self.write(
            cell,
            recorded,
            lambda x: getattr(x, method)(operand.ours),
            lambda place: place.write(new, recorded),
            lambda x: getattr(x, method)(_apart(operand, cell)),
        )

    def operand(self, shape: tuple[int, ...], number: int) -> Cell:
        """What is computed with, or written: a tensor that broadcasts to the shape, or a plain number."""
        cell = self.pick(number // 3, lambda cell: _broadcast(shape, cell.place.shape) == shape)
        if cell is None or number % 3 == 0:
            x = [0.5, -1.5, 2.0][number % 7 % 3]
            return Cell(x, Place.new(Dual(np.array(x), np.zeros(K))), x)
        return cell

    @rule(number=picks, other=picks, recorded=st.sampled_from([True, True, False]))
    def copy_in_place(self, number: int, other: int, recorded: bool) -> None:
        cell = self.target(number)
        assert cell is not None
        source = self.operand(cell.place.shape, 3 * other + 1)
        if not isinstance(source.ours, tg.Tensor):
            return
        new = source.place.read()
        self.write(
            cell,
            recorded,
            lambda x: x.copy_(source.ours),
            lambda place: place.write(new, recorded),
            lambda x: x.copy_(_apart(source, cell)),
        )

    @rule(
        number=picks,
        index=st.sampled_from(INDICES),
        other=picks,
        recorded=st.sampled_from([True, True, True, False]),
    )
    def setitem(self, number: int, index: Any, other: int, recorded: bool) -> None:
        cell = self.target(number, lambda cell: _works(lambda p: p[index], cell.place.positions))
        if cell is None:
            return
        target = cell.place.positions[index]
        value = self.operand(target.shape, other)
        new = value.place.read()
        twice = np.unique(target).size < target.size
        if twice:
            self.torch = False  # PyTorch gives the gradient of a place to every value that was written to it

        self.write(
            cell,
            recorded,
            lambda x: x.__setitem__(index, value.ours),
            lambda place: place.assign(index, new, recorded),
            lambda x: x.__setitem__(for_torch(index), _apart(value, cell)),
        )

    @rule(
        number=picks,
        index=st.sampled_from(INDICES),
        other=picks,
        recorded=st.sampled_from([True, True, True, False]),
    )
    def augmented_setitem(self, number: int, index: Any, other: int, recorded: bool) -> None:
        cell = self.target(number, lambda cell: _works(lambda p: p[index], cell.place.positions))
        if cell is None or cell.place.repeats:
            return
        target = cell.place.positions[index]
        value = self.operand(target.shape, other)
        old = cell.place.read()
        picked = Dual(old.value[index], np.stack([slope[index] for slope in old.slope]))
        new = apply(np.multiply, picked, value.place.read())
        if np.abs(new.value).max(initial=0) > LARGEST:
            return
        if np.unique(target).size < target.size:
            self.torch = False

        def ours(x: Any) -> None:
            x[index] *= value.ours

        def theirs(x: Any) -> None:
            x[for_torch(index)] *= (
                _apart(value, cell) if np.shares_memory(target, cell.place.positions) else value.theirs
            )

        self.write(cell, recorded, ours, lambda place: place.assign(index, new, recorded), theirs)

    @rule(number=picks, mask=st.lists(st.booleans(), min_size=3, max_size=3), other=st.sampled_from([0.5, -1.5]))
    def masked(self, number: int, mask: list[bool], other: float) -> None:
        cell = self.target(number, lambda cell: cell.place.shape[-1:] == (3,))
        if cell is None:
            return
        index = (..., np.array(mask))
        new = Dual(np.array(other), np.zeros(K))
        self.write(
            cell,
            True,
            lambda x: x.__setitem__((..., tg.tensor(mask)), other),
            lambda place: place.assign(index, new, True),
            lambda x: x.__setitem__((..., torch.tensor(mask)), other),
        )

    # checking -------------------------------------------------------------------------------------------------------

    @rule(numbers=st.lists(picks, min_size=1, max_size=4), how=st.sampled_from(["grad", "backward", "create_graph"]))
    def backward(self, numbers: list[int], how: str) -> None:
        chosen = [self.pick(number, lambda cell: cell.ours.requires_grad) for number in numbers]
        self.check([cell for cell in dict.fromkeys(chosen) if cell is not None], how)

    def teardown(self) -> None:
        Programs.ran += 1
        for cell in self.cells:
            if cell.ours.requires_grad:
                self.check([cell], "grad")

    def check(self, cells: list[Cell], how: str) -> None:
        weights = [np.cos(1.0 + np.arange(cell.place.positions.size)).reshape(cell.place.shape) for cell in cells]
        expected = np.zeros(K)
        for cell, weight in zip(cells, weights, strict=True):
            expected += (cell.place.read().slope * weight).reshape(K, -1).sum(axis=1)
        theirs = self.torch_gradient(cells, weights)
        if theirs is not None:
            np.testing.assert_allclose(theirs, expected, rtol=1e-9, atol=1e-9)  # the reference is right
        try:
            ours = self.our_gradient(cells, weights, how)
        except InplaceError as error:
            assert "modified by an inplace operation" in str(error)
            assert theirs is None, f"PyTorch has a gradient here, we raised {error}"
            Programs.refused += 1
            return
        # float64, at most some tens of operations on numbers below 50
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
        Programs.gradients += 1

    def our_gradient(self, cells: list[Cell], weights: list[np.ndarray], how: str) -> np.ndarray:
        leaves = [ours for ours, _ in self.leaves.values()]
        outputs = [cell.ours for cell in cells]
        seeds = [tg.tensor(weight) for weight in weights]
        if how == "backward":
            for leaf in leaves:
                leaf.grad = None
            tg.autograd.backward(outputs, seeds, retain_graph=True)
            found: Any = [leaf.grad for leaf in leaves]
        else:
            create = how == "create_graph"
            found = tg.autograd.grad(outputs, leaves, seeds, retain_graph=True, create_graph=create, allow_unused=True)
        return _row([None if g is None else g.detach().numpy() for g in found])

    def torch_gradient(self, cells: list[Cell], weights: list[np.ndarray]) -> np.ndarray | None:
        if not self.torch:
            return None
        try:
            found = torch.autograd.grad(
                [cell.theirs for cell in cells],
                [theirs for _, theirs in self.leaves.values()],
                [torch.tensor(weight) for weight in weights],
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError:
            return None
        return _row([None if g is None else g.numpy() for g in found])

    @invariant()
    def numbers_agree(self) -> None:
        for cell in self.cells:
            np.testing.assert_allclose(cell.ours._data, cell.place.read().value, rtol=1e-12, atol=1e-12)
            if self.torch:
                numbers = cell.theirs.detach().numpy()
                np.testing.assert_allclose(numbers, cell.place.read().value, rtol=1e-12, atol=1e-12)

    @invariant()
    def what_has_slopes_requires_grad(self) -> None:
        for cell in self.cells:
            assert cell.ours.requires_grad or not cell.place.read().slope.any()


def _apart(source: Cell, target: Cell) -> Any:
    """What PyTorch may read while it writes: in overlapping memory it copies in no defined order."""
    overlap = source.place.family.memory is target.place.family.memory
    return source.theirs.clone() if overlap else source.theirs


def _works(f: Callable[[np.ndarray], Any], positions: np.ndarray) -> bool:
    try:
        f(positions)
    except (IndexError, ValueError):
        return False
    return True


def _broadcast(shape: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(shape, other)
    except ValueError:
        return None


def _row(parts: list[Any]) -> np.ndarray:
    pairs = zip(parts, LEAVES.values(), strict=True)
    return np.concatenate([np.zeros(shape).reshape(-1) if part is None else part.reshape(-1) for part, shape in pairs])


def test_random_programs_have_the_gradient_of_the_reference_or_raise() -> None:
    run_state_machine_as_test(
        Programs, settings=settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
    )


@pytest.mark.thorough
def test_random_programs_at_length(record_property: Callable[[str, Any], None]) -> None:
    Programs.ran = Programs.gradients = Programs.refused = 0
    run_state_machine_as_test(Programs, settings=settings(max_examples=3000, stateful_step_count=60, deadline=None))
    row = {"programs": Programs.ran, "gradients that agree": Programs.gradients, "refused": Programs.refused}
    measured(record_property, "random programs that write in place", row)
