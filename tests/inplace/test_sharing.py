"""Which tensors share memory, and that they know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn.functional as F
from tests.ops.cases import CASES, Case, evaluate, flat
from tests.support.rows import together


@together
@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_that_share_memory_share_its_clock(case: Case) -> None:
    """Else a write to one could not be seen by a node that saved the other."""
    inputs = [tg.tensor(array) for array in case.inputs()]
    results = [y for y in flat(evaluate(tg, case, inputs)) if isinstance(y, tg.Tensor)]
    tensors = inputs + results
    for k, y in enumerate(tensors):
        for x in tensors[:k]:
            if x is not y and np.shares_memory(x._data, y._data):
                assert x._versions is not None and x._versions is y._versions


PLACE = tg.tensor(0)
COPIES: dict[str, Callable[[Any], Any]] = {
    "sort": lambda x: x.sort(0).values,
    "topk": lambda x: x.topk(1, 0).values,
    "kthvalue": lambda x: x.kthvalue(1, 0).values,
    "median": lambda x: x.median(0).values,
    "max": lambda x: x.max(0).values,
    "min keepdim": lambda x: x.min(0, keepdim=True).values,
    "gather": lambda x: x.gather(0, PLACE),
    "gather of one": lambda x: x.gather(0, PLACE[None]),
    "index_select": lambda x: x.index_select(0, PLACE),
}


@pytest.mark.parametrize("name", COPIES)
def test_what_is_chosen_from_a_number_is_a_copy_of_it(name: str) -> None:
    """Along an axis it is one; that there is but one choice makes no difference to who owns the memory."""
    x = tg.tensor(2.5, requires_grad=True)
    y = COPIES[name](x)
    y.mul_(3).sum().backward()
    assert (x.item(), y.item()) == (2.5, 7.5)
    assert x.grad is not None and x.grad.item() == 3 and x.grad.shape == ()


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 3)])
def test_nothing_padded_and_no_difference_taken_are_copies(shape: tuple[int, ...]) -> None:
    x = tg.ones(*shape)
    for mode in ("constant", "reflect", "circular") if len(shape) > 1 else ("constant", "circular"):
        F.pad(x, (0, 0), mode=mode).zero_()
    F.pad(x, (-1, 0)).zero_()
    F.pad(x, (0, -1, 0, 0)[: 2 * len(shape)]).zero_()
    x.diff(n=0).zero_()
    assert x.sum() == x.numel()


VIEWS: dict[str, Callable[[Any], Any]] = {
    "t": lambda x: x.t(),
    "expand": lambda x: x.expand(x.shape),
    "expand_as": lambda x: x.expand_as(x),
    "broadcast_to": lambda x: x.broadcast_to(x.shape),
    "movedim": lambda x: x.movedim(0, -1),
    "transpose": lambda x: x.transpose(0, -1),
    "swapaxes": lambda x: x.swapaxes(-1, 0),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_a_view_that_changes_nothing_is_a_tensor_of_its_own(name: str, shape: tuple[int, ...]) -> None:
    """What is done to the view as an object (its shape, its history) is not done to the tensor."""
    w = tg.ones(shape, requires_grad=True)
    x = w * 1
    y = VIEWS[name](x)
    assert y is not x and y.shape == x.shape and y._base is x
    y.unsqueeze_(0)
    assert x.shape == shape
    y.mul_(2)
    x.sum().backward()
    assert w.grad is not None and w.grad.tolist() == (tg.ones(shape) * 2).tolist()
    VIEWS[name](w).detach_()
    assert w.requires_grad


def test_windows_of_a_diagonal_can_be_written_to_and_windows_of_repeated_memory_can_be_looked_at() -> None:
    """NumPy calls the parts of a diagonal, and of what it broadcast, read-only."""
    w = tg.tensor(np.arange(16.0).reshape(4, 4), requires_grad=True)
    x = w * 1
    x.diagonal().unfold(0, 2, 2).mul_(3)
    assert x.diagonal().tolist() == [0, 15, 30, 45]
    x.sum().backward()
    assert w.grad is not None and w.grad.tolist() == (np.ones((4, 4)) + 2 * np.eye(4)).tolist()
    assert tg.ones(1).expand(3).unfold(0, 1, 1).detach().tolist() == [[1], [1], [1]]
    with pytest.raises(tg.errors.InplaceError, match="more than one element"):
        tg.ones(1).expand(3).unfold(0, 2, 1).zero_()


def test_a_write_looks_once_at_each_view_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each pair: a chain of views costs its length, however long it is."""
    from tinygrad_rnn.tape.inplace import views

    w = tg.ones(2, requires_grad=True)
    x = y = w * 1
    for _ in range(3000):
        y = y.view(2)
    looked = 0

    def counted(t: tg.Tensor, name: str, default: Any = None) -> Any:
        nonlocal looked
        looked += 1
        return getattr(t, name, default)

    monkeypatch.setattr(views, "getattr", counted, raising=False)
    y.mul_(5)
    assert 3000 <= looked < 30000
    (x + y).sum().backward()
    assert w.grad is not None and w.grad.tolist() == [10, 10]


def test_a_view_that_repeats_memory_may_change_its_shape_again_and_again() -> None:
    """Nothing is written."""
    x = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    y = (x * 2)[0].expand(2, 3)
    y.unsqueeze_(-1).unsqueeze_(-1).squeeze_().t_()
    (y * tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[6.0, 14.0, 22.0], [0.0, 0.0, 0.0]]
    with pytest.raises(tg.errors.InplaceError, match="more than one element"):
        y.mul_(2)


def test_a_view_that_was_written_to_is_a_view_of_the_new_value() -> None:
    """Its gradient, and what its hooks see and change, is of the uses of that view: not of those of its base."""
    seen: list[Any] = []
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    base = x * 1
    view = base[:2]
    part = view[1:]
    part.mul_(2.0)
    for t, name in ((view, "view"), (part, "part")):
        t.retain_grad()
        t.register_hook(lambda g, name=name: seen.append((name, g.tolist())))
    ((base * base).sum() + 10 * view.sum() + 100 * part.sum()).backward()
    assert seen == [("part", [100.0]), ("view", [10.0, 110.0])]
    assert part.grad.tolist() == [100.0] and view.grad.tolist() == [10.0, 110.0]
    assert x.grad.tolist() == [2 + 10.0, (8 + 110.0) * 2, 6.0]
