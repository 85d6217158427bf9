"""Guards of cells: every change that a step could see is seen, and what cannot be watched has no guard."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.bench.user_cells import USER_CELLS
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.nn.recurrent import compiled_steps
from tinygrad_rnn.nn.recurrent.compiled_steps import steps_of, tensors_of
from tinygrad_rnn.nn.recurrent.guard import Guard, guard_of
from tinygrad_rnn.ops.compiler.signature import signature

H = 4
SCALE = 1.0
LIST = [0.5]
TENSOR = tg.ones(H)


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    with dispatch.only("numpy"):
        yield


def helper(h: Any, by: float = 1.0, *, power: float = 1.0) -> Any:
    return tg.tanh(h) * SCALE * by * power


class Base(nn.Module):
    size = H

    @staticmethod
    def shift(h: Any) -> Any:
        return h + 0.25

    @property
    def doubled(self) -> float:
        return 2 * float(self.rate)

    def mixed(self, x: Any, h: Any) -> Any:
        return self.shift(self.doubled * h) + x


class Cell(Base):
    """It reads in all ways that are allowed."""

    input_size = hidden_size = H

    def __init__(self) -> None:
        super().__init__()
        self.read, self.norm = nn.Linear(H, H), nn.LayerNorm(H)
        self.inner = nn.Sequential(nn.Linear(H, H), nn.Tanh())
        self.drop = nn.Dropout(0.0)
        self.w = nn.Parameter(tg.ones(H))
        self.register_buffer("mask", tg.ones(H))
        self.rate, self.flag, self.sizes, self.zero = 0.25, True, (1, 2), 0.0
        self.activation: Callable[..., Any] = tg.sigmoid
        self._private = 0.5

    def forward(self, x: Any, h: Any) -> Any:
        h = helper(self.drop(self.read(self.mixed(x, h)))) * self.w * self.mask + self.zero
        if self.flag:
            h = h + self._private * self.activation(h) + math.sqrt(self.sizes[1])
        parts = [part * OF_CLOSURE() for part in h.chunk(len(self.sizes), 1)]
        return self.inner(self.norm(tg.cat(parts, 1)))


def _closure() -> Callable[[], float]:
    number = 0.75

    def inside() -> float:
        return number

    return inside


OF_CLOSURE = _closure()


def other_forward(self: Any, x: Any, h: Any) -> Any:
    return self.read(x) + h


def _set(target: Any, name: str, value: Any) -> Callable[[Cell, pytest.MonkeyPatch], None]:
    """A change of an attribute of the cell, or of what it reads."""

    def change(cell: Cell, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(target(cell) if callable(target) else target, name, value)

    return change


def _new_code(cell: Cell, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Base.mixed, "__code__", (lambda self, x, h: self.shift(3 * h) + x).__code__)


def _in_closure(cell: Cell, patch: pytest.MonkeyPatch) -> None:
    (place,) = OF_CLOSURE.__closure__ or ()
    patch.setattr(place, "cell_contents", 1.5)


CHANGES: dict[str, Callable[[Cell, pytest.MonkeyPatch], Any]] = {
    "attribute": lambda cell, _: setattr(cell, "rate", 0.5),
    "private attribute": lambda cell, _: setattr(cell, "_private", 0.25),
    "flag": lambda cell, _: setattr(cell, "flag", False),
    "equal number of another type": lambda cell, _: setattr(cell, "flag", 1),
    "minus zero": lambda cell, _: setattr(cell, "zero", -0.0),
    "function in an attribute": lambda cell, _: setattr(cell, "activation", tg.tanh),
    "without __setattr__": lambda cell, _: vars(cell).update(rate=0.5),
    "attribute of an inner module": lambda cell, _: setattr(cell.norm, "eps", 0.1),
    "new attribute before one of the class": lambda cell, _: setattr(cell, "shift", lambda h: h - 1),
    "forward of the object": lambda cell, _: setattr(cell, "forward", lambda x, h: x + h),
    "attribute of the class": lambda cell, patch: patch.setattr(Cell, "rate", 3.0, raising=False),
    "attribute of a base class": lambda cell, patch: patch.setattr(Base, "size", 3),
    "method of the class": lambda cell, patch: patch.setattr(Base, "mixed", lambda self, x, h: x - h),
    "forward of the class": lambda cell, patch: patch.setattr(Cell, "forward", other_forward),
    "forward of an inner class": lambda cell, patch: patch.setattr(nn.Tanh, "forward", lambda self, x: 2 * x),
    "class of the object": lambda cell, _: setattr(cell, "__class__", type("Other", (Cell,), {})),
    "code of a method": _new_code,
    "defaults of a function": lambda cell, patch: patch.setattr(helper, "__defaults__", (2.0,)),
    "keyword defaults of a function": lambda cell, patch: patch.setitem(helper.__kwdefaults__ or {}, "power", 2.0),
    "global": lambda cell, patch: patch.setitem(globals(), "SCALE", 2.0),
    "global function": lambda cell, patch: patch.setitem(globals(), "helper", lambda h: h),
    "global in the place of a built-in": lambda cell, patch: patch.setitem(globals(), "len", lambda sizes: 1),
    "function of the package": lambda cell, patch: patch.setattr(tg, "tanh", tg.sigmoid),
    "closure": _in_closure,
    "frozen parameter": lambda cell, _: cell.w.requires_grad_(False),
    "frozen parameter of an inner module": lambda cell, _: cell.read.weight.requires_grad_(False),
    "parameter of another shape": lambda cell, _: setattr(cell.w, "data", tg.full((1,), 2.0)),
    "parameter of another dtype": lambda cell, _: setattr(cell.w, "data", tg.ones(H, dtype=tg.float64)),
    "other parameter": lambda cell, _: setattr(cell, "w", nn.Parameter(2 * tg.ones(H))),
    "equal parameter": lambda cell, _: setattr(cell, "w", nn.Parameter(tg.ones(H))),
    "one array for two parameters": lambda cell, _: setattr(cell.read.weight, "data", cell.inner[0].weight.data),
    "no parameter": lambda cell, _: setattr(cell.read, "bias", None),
    "other buffer": lambda cell, _: setattr(cell, "mask", 2 * tg.ones(H)),
    "registry of parameters": lambda cell, _: vars(cell).update(_parameters={"w": nn.Parameter(2 * tg.ones(H))}),
    "other module": lambda cell, _: setattr(cell, "norm", nn.Linear(H, H)),
    "module under another name": lambda cell, _: cell._modules.update(other=cell._modules.pop("norm")),
    "module at the end": lambda cell, _: cell.inner.append(nn.Tanh()),
    "evaluation": lambda cell, _: cell.eval(),
    "evaluation of an inner module": lambda cell, _: cell.drop.eval(),
    "hook": lambda cell, _: cell.read.register_forward_hook(lambda module, args, out: 2 * out),
    "hook before": lambda cell, _: cell.norm.register_forward_pre_hook(lambda module, args: (2 * args[0],)),
    "hook of the gradient": lambda cell, _: cell.norm.register_full_backward_hook(lambda module, *gs: None),
    "default dtype": lambda cell, patch: patch.setattr("tinygrad_rnn.tape.modes.defaults.dtype", np.dtype("f8")),
}


def made() -> Cell:
    tg.manual_seed(0)
    return Cell()


def guarded(cell: nn.Module) -> Guard:
    found = guard_of(cell, tensors_of(cell))
    assert found is not None
    assert found.holds()
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = made()
    guard = guarded(cell)
    CHANGES[change](cell, monkeypatch)
    assert not guard.holds()


SEEN = {"parameter of another dtype", "default dtype", "hook", "hook before", "hook of the gradient"}
SEEN |= {"one array for two parameters", "module under another name"}
"""What is refused then, or makes both forms raise: :func:`test_every_change_is_seen` is enough."""


@pytest.mark.parametrize("change", sorted(CHANGES.keys() - SEEN))
def test_a_layer_computes_what_its_cell_does_after_a_change(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = made(), tg.tensor(np.random.default_rng(0).standard_normal((5, 2, H)).astype("f4"))
    compiled, composed = nn.RNNLayer(cell, H, impl="compiled"), nn.RNNLayer(cell, H, impl="composed")
    for _ in range(3):
        compiled(x)
    assert steps_of(compiled).guarded
    CHANGES[change](cell, monkeypatch)
    for _ in range(2):
        np.testing.assert_allclose(compiled(x)[0].detach(), composed(x)[0].detach(), rtol=2e-5, atol=2e-6)


def test_a_cell_in_the_place_of_another_is_seen() -> None:
    x = tg.ones(3, 2, H)
    layer = nn.RNNLayer(made(), H, impl="compiled")
    layer(x), layer(x)
    layer.cell_l0 = other = made()
    other.rate = 0.125
    expected = nn.RNNLayer(other, H, impl="composed")(x)[0]
    np.testing.assert_allclose(layer(x)[0].detach(), expected.detach(), rtol=2e-5, atol=2e-6)


def test_what_training_changes_is_no_change() -> None:
    cell = made()
    guard = guarded(cell)
    x = tg.ones(3, 2, H, requires_grad=True)
    optimizer = tg.optim.Adam(cell.parameters(), lr=0.1)
    for _ in range(2):
        nn.RNNLayer(cell, H, impl="compiled")(x)[0].sum().backward()
        optimizer.step()
        assert guard.holds()
        cell.zero_grad()
        assert guard.holds()
    state = {name: value.clone() for name, value in cell.state_dict().items()}
    cell.load_state_dict(state)
    assert guard.holds()
    cell.w.data = tg.zeros(H)  # another array
    assert guard.holds()
    assert guard.holds()


# what has no guard ---------------------------------------------------------------------------------------------------


class Own:
    factor = 0.5


OWN = Own()


def _writes(self: Any, x: Any, h: Any) -> Any:
    self.rate = 0.25
    return self.read(x) + h


def _counts(self: Any, x: Any, h: Any) -> Any:
    self.calls += 1
    return self.read(x) + h


def _writes_into(self: Any, x: Any, h: Any) -> Any:
    LIST[0] = 0.5
    return self.read(x) + h


def _replaces_a_module(self: Any, x: Any, h: Any) -> Any:
    self.inner[0] = self.inner[0]
    return self.inner(self.read(x)) + h


def _writes_global(self: Any, x: Any, h: Any) -> Any:
    global SCALE
    SCALE = 1.0
    return self.read(x) + h


def _imports(self: Any, x: Any, h: Any) -> Any:
    from random import random as drawn

    return self.read(x) + drawn()


def _makes_a_class(self: Any, x: Any, h: Any) -> Any:
    class Factor:
        value = 0.5

    return self.read(x) * Factor.value


def _generator(self: Any, x: Any, h: Any) -> Any:
    return self.read(x) + next(NUMBERS)


NUMBERS = iter(range(10**6))


def _nonlocal() -> Callable[..., Any]:
    calls = 0

    def forward(self: Any, x: Any, h: Any) -> Any:
        nonlocal calls
        calls += 1
        return self.read(x) + h

    return forward


def _over_a_list() -> Callable[..., Any]:
    factors = [0.5]
    return lambda self, x, h: self.read(x) + factors[0] * h


def _decorated() -> Callable[..., Any]:
    @tg.no_grad()
    def inside(h: Any) -> Any:
        return h + LIST[0]

    return lambda self, x, h: self.read(x) + inside(h)


UNGUARDED: dict[str, Callable[..., Any]] = {
    "writes an attribute": _writes,
    "counts": _counts,
    "writes into a list": _writes_into,
    "replaces a module": _replaces_a_module,
    "writes a global": _writes_global,
    "writes of a closure": _nonlocal(),
    "imports": _imports,
    "makes a class": _makes_a_class,
    "draws": lambda self, x, h: self.read(x) + random.random(),
    "iterates": _generator,
    "prints": lambda self, x, h: print() or self.read(x) + h,
    "a list": lambda self, x, h: self.read(x) + LIST[0] * h,
    "a list of the object": lambda self, x, h: self.read(x) + self.items[0] * h,
    "a list of the class": lambda self, x, h: self.read(x) + self.of_class[0] * h,
    "a list of a closure": _over_a_list(),
    "a list in a decorated function": _decorated(),
    "a list as a default": lambda self, x, h, by=LIST: self.read(x) + by[0] * h,
    "a list in a tuple": lambda self, x, h: self.read(x) + self.nested[0][0] * h,
    "a tensor of nobody": lambda self, x, h: self.read(x) + TENSOR * h,
    "NumPy": lambda self, x, h: self.read(x) + float(np.random.default_rng(0).random()) * h,
    "an object": lambda self, x, h: self.read(x) + OWN.factor * h,
    "a class": lambda self, x, h: self.read(x) + Own.factor * h,
    "an object of the module": lambda self, x, h: self.read(x) + self.own.factor * h,
    "names that are computed": lambda self, x, h: getattr(self, "re" + "ad")(x) + h,
    "all attributes": lambda self, x, h: self.read(x) + self.__dict__["rate"] * h,
    "all globals": lambda self, x, h: self.read(x) + helper.__globals__["LIST"][0] * h,
    "a registry": lambda self, x, h: self.read(x) + len(self._parameters) * h,
    "the gradient": lambda self, x, h: self.read(x) if self.read.weight.grad is None else h,
    "the mode of the module": lambda self, x, h: self.train().read(x) + h,
    "what is not there": lambda self, x, h: self.read(x) + nowhere * h,  # type: ignore[name-defined]  # noqa: F821
}


def unguarded(forward: Callable[..., Any]) -> nn.Module:
    kind = type("Unguarded", (nn.Module,), {"forward": forward, "of_class": LIST})
    cell: Any = kind()
    cell.read, cell.inner, cell.input_size, cell.hidden_size = nn.Linear(H, H), nn.Sequential(nn.Tanh()), H, H
    cell.rate, cell.calls, cell.items, cell.nested, cell.own = 0.25, 0, [0.5], ([0.5],), OWN
    return cell  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", UNGUARDED)
def test_what_can_change_unnoticed_has_no_guard(name: str) -> None:
    cell = unguarded(UNGUARDED[name])
    assert guard_of(cell, tensors_of(cell)) is None


def test_an_object_with_a_forward_of_its_own_is_looked_at() -> None:
    cell = made()
    cell.forward = lambda x, h: tg.tanh(x) + h  # type: ignore[method-assign]
    guarded(cell)
    cell.forward = lambda x, h: tg.tanh(x) + LIST[0] * h  # type: ignore[method-assign]
    assert guard_of(cell, tensors_of(cell)) is None


def test_a_method_that_is_overridden_is_read_by_super_alone() -> None:
    class Lists(nn.Module):
        def forward(self, x: Any, h: Any) -> Any:
            return x + LIST[0] * h

    class Plain(Lists):
        def forward(self, x: Any, h: Any) -> Any:
            return x + h

    class Calls(Lists):
        def forward(self, x: Any, h: Any) -> Any:
            return super().forward(x, h)

    assert guard_of(Plain(), {}) is not None and guard_of(Calls(), {}) is None


@pytest.mark.parametrize("special", ["__call__", "__getattr__", "__getattribute__", "__setattr__"])
def test_a_class_with_special_methods_has_no_guard(special: str) -> None:
    kind = type("Special", (Cell,), {special: getattr(nn.Module, special, lambda self, name: 0.0)})
    assert guard_of(kind(), {}) is None


def test_a_cell_of_which_no_other_attribute_is_read_has_a_guard() -> None:
    assert guarded(unguarded(lambda self, x, h: self.read(x) + self.rate * h))


@pytest.mark.parametrize("name", USER_CELLS)
def test_the_cells_of_the_benchmark_have_guards(name: str) -> None:
    guarded(USER_CELLS[name](tg)(H, H))


# in a layer ----------------------------------------------------------------------------------------------------------


def test_a_guarded_step_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    signatures: list[int] = []

    def counting(*args: Any) -> Any:
        signatures.append(1)
        return signature(*args)

    monkeypatch.setattr(compiled_steps, "signature", counting)
    cell, x = made(), tg.ones(3, 2, H)
    layer = nn.RNNLayer(cell, H, impl="compiled")
    layer(x)
    before = len(signatures)
    for _ in range(3):
        layer(x)
    assert len(signatures) == before
    with tg.Tape():  # which calls of modules are told
        layer(x)
    assert len(signatures) == before + 1


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The cells that were looked at."""
    found: list[Any] = []

    def noting(*args: Any) -> Any:
        found.append(args[0])
        return guard_of(*args)

    monkeypatch.setattr(compiled_steps, "guard_of", noting)
    return found


def test_guards_that_never_hold_are_not_made_for_ever(looks: list[Any]) -> None:
    cell, x = made(), tg.ones(3, 2, H)
    layer = nn.RNNLayer(cell, H, impl="compiled")
    for _ in range(40):
        cell.rate = float("0.25")  # an equal number: another object
        layer(x)
    assert len(looks) == compiled_steps.STRUCTURES + 1


def test_a_cell_without_a_guard_is_looked_at_once_for_each_trace(looks: list[Any]) -> None:
    cell, x = unguarded(UNGUARDED["a list of the object"]), tg.ones(3, 2, H)
    layer = nn.RNNLayer(cell, H, impl="compiled")
    for factor in (0.5, 0.25):
        cell.items[0] = factor
        for _ in range(3):
            found = layer(x)[0]
        expected = nn.RNNLayer(cell, H, impl="composed")(x)[0]
        np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-5)
    assert len(looks) == 2


def test_a_guard_serves_both_runs_of_a_checkpoint() -> None:
    cell, x = made(), tg.ones(3, 2, H, requires_grad=True)
    layer = nn.RNNLayer(cell, H, impl="compiled")
    expected = tg.autograd.grad(layer(x)[0].sum(), x)[0]
    for _ in range(2):
        found = tg.autograd.grad(tg.utils.checkpoint.checkpoint(lambda x: layer(x)[0].sum(), x), x)[0]
        np.testing.assert_array_equal(found, expected)
