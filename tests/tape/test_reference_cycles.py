"""Nothing waits for the collector: neither what a call made, nor the arguments of one that failed."""

from __future__ import annotations

import contextlib
import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn.functional as F
from tinygrad_rnn import nn
from tinygrad_rnn.errors import TinygradRnnError
from tinygrad_rnn.tape.modes import quietly

w = (2, 3)
FAILING: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "add": (lambda a, b: a + b, (w, (4, 5))),
    "radd": (lambda a, b: np.ones((4, 5)) + a, (w, w)),
    "sub": (tg.sub, (w, (2, 4))),
    "mul": (lambda a, b: a * b, (w, (4,))),
    "div": (lambda a, b: a / b, (w, (4,))),
    "floor_divide": (lambda a, b: a // b, (w, (4,))),
    "pow": (lambda a, b: a**b, (w, (4,))),
    "negative power of whole numbers": (lambda a, b: a.long() ** -1, (w, w)),
    "matmul": (lambda a, b: a @ b, (w, w)),
    "mm": (tg.mm, (w, w)),
    "mv": (tg.mv, (w, (5,))),
    "bmm": (tg.bmm, ((2, 3, 4), (2, 3, 4))),
    "dot": (tg.dot, ((3,), (4,))),
    "addmm": (tg.addmm, (w, w, w)),
    "outer": (tg.outer, (w, w)),
    "einsum": (lambda a, b: tg.einsum("ij,jk->ik", a, b), (w, w)),
    "maximum": (tg.maximum, (w, (4,))),
    "where": (lambda a, b: tg.where(a > 0, a, b), (w, (4,))),
    "lt": (lambda a, b: a < b, (w, (4,))),
    "eq": (lambda a, b: a == b, (w, (4,))),
    "bits of floats": (lambda a, b: a & b, (w, w)),
    "bitwise_not of floats": (lambda a, b: ~a, (w, w)),
    "reshape": (lambda a, b: a.reshape(5), (w, w)),
    "view": (lambda a, b: a.view(4, -1), (w, w)),
    "expand": (lambda a, b: a.expand(4, 4), (w, w)),
    "transpose": (lambda a, b: a.transpose(0, 5), (w, w)),
    "permute": (lambda a, b: a.permute(0, 0), (w, w)),
    "cat": (lambda a, b: tg.cat([a, b]), (w, (2, 4))),
    "stack": (lambda a, b: tg.stack([a, b]), (w, (2, 4))),
    "split": (lambda a, b: a.split([1, 2]), (w, w)),
    "index": (lambda a, b: a[7], (w, w)),
    "index by too many": (lambda a, b: a[0, 0, 0], (w, w)),
    "index by a mask of another shape": (lambda a, b: a[b > 0], (w, (4, 4))),
    "assign": (lambda a, b: a.detach().__setitem__(0, b), (w, (7,))),
    "assign out of range": (lambda a, b: a.detach().__setitem__(9, 1.0), (w, w)),
    "gather": (lambda a, b: a.gather(0, b.long() + 9), (w, w)),
    "scatter_add": (lambda a, b: a.scatter_add(0, b.long() + 9, b), (w, w)),
    "index_select": (lambda a, b: a.index_select(0, b.long()), (w, w)),
    "sum": (lambda a, b: a.sum(dim=5), (w, w)),
    "softmax": (lambda a, b: F.softmax(a, dim=5), (w, w)),
    "in place on a leaf": (lambda a, b: a.add_(b), (w, w)),
    "in place of another shape": (lambda a, b: a.detach().add_(b), ((3,), w)),
    "item": (lambda a, b: a.item(), (w, w)),
    "bool": (lambda a, b: bool(a), (w, w)),
    "numpy": (lambda a, b: a.numpy(), (w, w)),
    "numpy's own function": (lambda a, b: np.concatenate([a, b]), (w, (2, 4))),
    "backward of no scalar": (lambda a, b: (a * b).backward(), (w, w)),
    "second backward": (lambda a, b: [loss.backward() for loss in [(a * b).sum()] * 2], (w, w)),
    "stale saved value": (lambda a, b: _stale(a, b), (w, w)),
    "gradient of the unused": (lambda a, b: tg.autograd.grad(a.sum(), b), (w, w)),
    "gradient of another shape": (lambda a, b: (a * 1).backward(b), (w, (4,))),
    "hook that raises": (lambda a, b: _hooked(a, b), (w, w)),
    "linear": (F.linear, (w, (2, 4))),
    "linear layer": (lambda a, b: nn.Linear(7, 2)(a), (w, w)),
    "LSTM": (lambda a, b: nn.LSTM(7, 2)(a), (w, w)),
    "GRUCell": (lambda a, b: nn.GRUCell(3, 2)(a, b), (w, (4, 2))),
    "embedding": (lambda a, b: F.embedding(a.long() + 9, b), (w, w)),
    "cross_entropy": (F.cross_entropy, (w, (5,))),
    "cross_entropy out of range": (lambda a, b: F.cross_entropy(a, tg.tensor([0, 7])), (w, w)),
    "mse_loss": (F.mse_loss, (w, (4,))),
    "layer_norm": (lambda a, b: F.layer_norm(a, (7,)), (w, w)),
    "pack_padded_sequence": (lambda a, b: nn.utils.rnn.pack_padded_sequence(a, [1, 2, 3]), (w, w)),
    "module hook that raises": (lambda a, b: _module_hook(a), (w, w)),
    "gradcheck": (lambda a, b: tg.autograd.gradcheck(lambda x: x.detach() * x, [a.double().detach()]), (w, w)),
    "function": (lambda a, b: _Broken.apply(a).sum().backward(), (w, w)),
    "absent name": (lambda a, b: tg.no_such_name(a, b), (w, w)),
    "generator that is thrown into": (lambda a, b: _thrown(a), (w, w)),
    "nested": (lambda a, b: quietly(_runtime_error, a), (w, w)),
}


def _stale(a: Any, b: Any) -> None:
    h = a * b
    y = h * h
    h.mul_(2)
    y.sum().backward()


def _hooked(a: Any, b: Any) -> None:
    h = a * b
    h.register_hook(lambda g: 1 / 0)
    h.sum().backward()


def _module_hook(a: Any) -> None:
    layer = nn.Linear(3, 2)
    layer.register_full_backward_hook(lambda module, before, after: 1 / 0)
    layer(a).sum().backward()


class _Broken(tg.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g[:1]


def _runtime_error(x: Any) -> None:
    raise RuntimeError("cannot enter the room")


def _thrown(a: Any) -> None:
    @tg.no_grad()
    def steps(x: Any) -> Iterator[Any]:
        for _ in range(3):
            yield x

    running = steps(a)
    next(running)
    running.throw(ValueError("stop"))


@contextlib.contextmanager
def uncollected() -> Iterator[list[Any]]:
    """The list of what the collector finds afterwards; until then it is off."""
    found: list[Any] = []
    gc.collect()
    gc.freeze()  # what is there already need not be looked through again, here and later
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _kinds(found: list[Any]) -> list[str]:
    return [type(item).__name__ for item in found]


@pytest.mark.parametrize("name", FAILING)
def test_an_error_that_is_over_holds_no_array(name: str) -> None:
    call, shapes = FAILING[name]

    def attempt() -> list[weakref.ref[Any]]:
        a, b = (tg.ones(*shape, requires_grad=True) for shape in shapes[-2:])
        arrays = [weakref.ref(t._data) for t in (a, b)] + [weakref.ref(a), weakref.ref(b)]
        with pytest.raises(
            (TinygradRnnError, ValueError, RuntimeError, TypeError, AttributeError, LookupError, ArithmeticError)
        ):
            call(a, b) if len(shapes) == 2 else call(a, a, b)
        return arrays

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attempt()  # what is loaded and remembered for the first error stays
        with uncollected() as found:
            alive = [reference() is not None for reference in attempt()]
    assert alive == [False] * 4
    assert _kinds(found) == []


def _train(kind: type[nn.Module], **options: Any) -> None:
    model = kind(3, 4, **options)
    out, _ = model(tg.ones(5, 2, 3))
    loss = F.cross_entropy(out.reshape(-1, out.shape[-1]), tg.zeros(10, dtype=tg.int64))
    loss.backward()
    tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9).step()


def _minimise() -> None:
    x = tg.ones(3, requires_grad=True)
    optimiser = tg.optim.LBFGS([x], line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    optimiser.step(closure)


def _second_order() -> None:
    x = tg.ones(3, requires_grad=True)
    (g,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
    g.sum().backward()


def _watched() -> None:
    x = tg.ones(3, requires_grad=True)
    with tg.Tape() as tape:
        (x * x).sum().backward()
    tape.shares(x), str(tape), tape.memory()


def _checkpointed() -> None:
    x = tg.ones(3, requires_grad=True)
    tg.utils.checkpoint.checkpoint(lambda v: v.tanh() * v, x, use_reentrant=False).sum().backward()


def _loaded() -> None:
    data = tg.utils.data.TensorDataset(tg.ones(6, 2), tg.ones(6))
    for _ in tg.utils.data.DataLoader(data, batch_size=4, shuffle=True):
        pass


SUCCEEDING: dict[str, Callable[[], Any]] = {
    "repr": lambda: repr(tg.ones(2, 3, requires_grad=True)),
    "repr of many": lambda: repr(tg.ones(40, 50)),
    "repr of complex numbers": lambda: repr(tg.ones(2, dtype=tg.complex64)),
    "repr of a module": lambda: repr(nn.Sequential(nn.Linear(2, 2), nn.ModuleList([nn.Tanh()] * 2))),
    "RNN": lambda: _train(nn.RNN),
    "LSTM": lambda: _train(nn.LSTM, num_layers=2, bidirectional=True),
    "GRU, composed": lambda: _train(nn.GRU, impl="composed"),
    "LBFGS": _minimise,
    "gradient of a gradient": _second_order,
    "Tape": _watched,
    "checkpoint": _checkpointed,
    "DataLoader": _loaded,
    "hessian": lambda: tg.autograd.functional.hessian(lambda x: (x**3).sum(), tg.ones(2)),
    "gradcheck": lambda: tg.autograd.gradcheck(tg.sin, [tg.ones(2, dtype=tg.float64, requires_grad=True)]),
    "views written to": lambda: tg.ones(4, 4, requires_grad=True).clone()[1].mul_(2).sum().backward(),
}


@pytest.mark.parametrize("name", SUCCEEDING)
def test_what_a_call_made_is_freed_without_the_collector(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SUCCEEDING[name]()
        with uncollected() as found:
            SUCCEEDING[name]()
    assert _kinds(found) == []
