"""Every warning points at the user's line, whichever way the call came in."""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, source_line
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.source_line import user_line, warn_user
from tinygrad_rnn.tape.modes import defaults
from tinygrad_rnn.utils.data import DataLoader, IterableDataset, random_split

F = nn.functional


def leaf(*shape: int) -> Any:
    return tg.ones(*shape, requires_grad=True)


def sgd() -> Any:
    return tg.optim.SGD([leaf(2)], lr=0.1)


def schedule(kind: str = "StepLR", *args: Any, stepped: bool = True) -> Any:
    optimizer = sgd()
    made = getattr(tg.optim.lr_scheduler, kind)(optimizer, *args)
    if stepped:
        optimizer.step()
        made.step()
    return made


def replaced_step() -> Any:
    made = schedule("StepLR", 1, stepped=False)
    made.optimizer.step = lambda: None
    return made


class Longer(IterableDataset):
    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])


def one_too_many() -> Any:
    loader = DataLoader(Longer(), batch_size=None)
    assert len(loader) == 1
    given = iter(loader)
    next(given)
    return given


def hooked(module: Any, register: str, hook: Callable[..., Any] = lambda *args: None) -> Any:
    getattr(module, register)(hook)
    return module


class Dictionary(nn.Module):
    def forward(self, x: Any) -> Any:
        return {"x": x}


class Fails(nn.Module):
    def forward(self, x: Any) -> Any:
        raise LookupError


def silenced() -> Any:
    module = Fails()
    module.register_forward_hook(lambda *args: 1 / 0, always_call=True)
    return module


def run(call: Callable[[], Any]) -> None:
    try:
        call()
    except LookupError:
        pass


PLACES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    # what to prepare, and the line that warns
    "float of a recorded tensor": (lambda: leaf(1), lambda x: float(x)),
    "an array takes one": (lambda: (np.zeros(1), leaf(1)), lambda p: p[0].__setitem__(0, p[1])),
    "grad of a result": (lambda: leaf(2) * 2, lambda x: x.grad),
    "grad of a result, by name": (lambda: leaf(2) * 2, lambda x: x.grad),
    "var of too little": (lambda: tg.ones(1), lambda x: tg.var(x)),
    "var as a method": (lambda: tg.ones(1), lambda x: x.var()),
    "std with dim": (lambda: tg.ones(1, 2), lambda x: tg.std(x, dim=0)),
    "var_mean": (lambda: tg.ones(1), lambda x: tg.var_mean(x)),
    "std of a view": (lambda: tg.ones(1, 2), lambda x: x[:, 0].std()),
    "an index of bytes": (lambda: tg.tensor([1, 0], dtype=tg.uint8), lambda i: tg.ones(2)[i]),
    "an index of bytes in a tuple": (lambda: tg.tensor([1, 0], dtype=tg.uint8), lambda i: tg.ones(2, 2)[0, i]),
    "a write by bytes": (lambda: tg.tensor([1, 0], dtype=tg.uint8), lambda i: tg.ones(2).__setitem__(i, 3.0)),
    "an out of another shape": (lambda: tg.ones(3), lambda out: tg.add(tg.ones(2), 1, out=out)),
    "an out of a function with options": (lambda: tg.ones(3), lambda out: tg.sum(tg.ones(2, 2), dim=0, out=out)),
    "an out of nn.functional": (lambda: tg.ones(3), lambda out: F.gelu(tg.ones(2), out=out)),
    "softmax without dim": (lambda: tg.ones(2, 2), lambda x: F.softmax(x)),
    "softmax as a layer": (lambda: nn.Softmax(), lambda layer: layer(tg.ones(2, 2))),
    "a layer in a layer": (lambda: nn.Sequential(nn.Linear(2, 2), nn.Softmax()), lambda m: m(tg.ones(2, 2))),
    "gumbel's eps": (lambda: tg.ones(2), lambda x: F.gumbel_softmax(x, eps=1e-3, dim=0)),
    "mse of two shapes": (lambda: tg.ones(2), lambda x: F.mse_loss(x, tg.ones(2, 2))),
    "mse as a layer": (lambda: nn.MSELoss(), lambda loss: loss(tg.ones(2), tg.ones(2, 2))),
    "reduce": (lambda: tg.ones(2), lambda x: F.l1_loss(x, x, reduce=False)),
    "reduce of a layer": (lambda: None, lambda _: nn.BCELoss(size_average=False)),
    "dropout of one layer": (lambda: None, lambda _: nn.LSTM(1, 1, dropout=0.5)),
    "dropout of one layer, of the base": (lambda: None, lambda _: nn.RNNBase("GRU", 1, 1, dropout=0.5)),
    "init of nothing": (lambda: None, lambda _: nn.Linear(0, 1)),
    "init by an old name": (lambda: tg.ones(2), lambda x: nn.init.uniform(x)),
    "clipping nothing": (lambda: (p for p in ()), lambda none: nn.utils.clip_grad_norm_(none, 1.0)),
    "clipping by an old name": (lambda: [leaf(2)], lambda params: nn.utils.clip_grad_norm(params, 1.0)),
    "an old hook": (
        lambda: hooked(nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1)), "register_backward_hook"),
        lambda module: module(leaf(1, 1)),
    ),
    "an old hook on a dictionary": (
        lambda: hooked(Dictionary(), "register_backward_hook"),
        lambda module: module(leaf(1) * 1),
    ),
    "a hook on a dictionary": (
        lambda: hooked(Dictionary(), "register_full_backward_hook"),
        lambda module: module(leaf(1)),
    ),
    "a hook without inputs": (
        lambda: hooked(nn.Linear(1, 1), "register_full_backward_hook")(tg.ones(1, 1)).sum(),
        lambda loss: loss.backward(),
    ),
    "a hook that fails too": (silenced, lambda module: run(lambda: module(tg.ones(1)))),
    "a parameter twice": (lambda: leaf(2), lambda p: tg.optim.SGD([p, p], lr=1.0)),
    "a parameter twice in a group": (sgd, lambda optimizer: optimizer.add_param_group({"params": [leaf(1)] * 2})),
    "a parameter twice, for Adagrad": (lambda: leaf(2), lambda p: tg.optim.Adagrad([p, p])),
    "a schedule before its step": (lambda: schedule("StepLR", 1, stepped=False), lambda s: s.step()),
    "a schedule before its step, in another": (
        lambda: tg.optim.lr_scheduler.ChainedScheduler([schedule("StepLR", 1, stepped=False)]),
        lambda s: s.step(),
    ),
    "a schedule of a replaced step": (replaced_step, lambda s: s.step()),
    "a schedule by epoch": (lambda: schedule("StepLR", 1), lambda s: s.step(3)),
    "a plateau by epoch": (lambda: tg.optim.lr_scheduler.ReduceLROnPlateau(sgd()), lambda s: s.step(1.0, 3)),
    "a rate asked for": (lambda: schedule("ExponentialLR", 0.5), lambda s: s.get_lr()),
    "a rate asked for in cycles": (lambda: schedule("OneCycleLR", 0.5, 10), lambda s: s.get_lr()),
    "gradcheck of single precision": (
        lambda: leaf(1),
        lambda x: tg.autograd.gradcheck(tg.tanh, (x,), raise_exception=False),
    ),
    "gradgradcheck of single precision": (
        lambda: leaf(1),
        lambda x: tg.autograd.gradgradcheck(tg.tanh, (x,), raise_exception=False),
    ),
    "workers": (lambda: [1, 2], lambda data: DataLoader(data, num_workers=2)),
    "a stream that is longer": (one_too_many, lambda given: next(given)),
    "a split without samples": (lambda: [1, 2], lambda data: random_split(data, [0.99, 0.01])),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_warning_points_at_the_line_that_caused_it(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, act = PLACES[case]
    monkeypatch.setattr(defaults, "warned_of_float", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        act(prepared)
    lines = [line for *_, line in act.__code__.co_lines() if line]
    assert seen
    for warning in seen:
        assert warning.filename == __file__ and min(lines) <= warning.lineno <= max(lines), warning


def test_kernels_that_do_not_run_warn_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_broken", {})
    monkeypatch.setattr(dispatch, "refusal", lambda *args: None)
    start = dispatch._start

    def only_numpy(kernel: str, *rest: Any) -> Any:
        if kernel != "numpy":
            raise dispatch.KernelUnavailable("no")
        return start(kernel, *rest)

    monkeypatch.setattr(dispatch, "_start", only_numpy)
    layer, x = nn.LSTM(2, 2), tg.ones(3, 2)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        layer(x)
    assert seen and {w.filename for w in seen} == {__file__}


def test_a_warning_is_shown_once_for_each_line() -> None:
    """As with ``warnings.warn``: by default a line that runs again says nothing new."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for _ in range(3):
            warn_user("mind the gap")
        warn_user("mind the gap")
    assert [str(w.message) for w in seen] == ["mind the gap"] * 2 and seen[0].lineno != seen[1].lineno


def test_a_filter_by_module_knows_the_users_module() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=__name__.replace(".", r"\."))
        warn_user("mind the gap")
    assert not seen


def test_a_warning_in_a_thread_of_ours_is_still_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no frame is the user's, it is shown at the line of ours."""
    monkeypatch.setattr(source_line, "user_frame", lambda: None)
    with pytest.warns(UserWarning, match="mind the gap"):
        warn_user("mind the gap")


def test_the_users_line_is_that_of_the_caller() -> None:
    line = user_line()
    assert line is not None and line.file == __file__ and line.text == "line = user_line()"


def test_no_file_warns_in_another_way() -> None:
    """A fixed ``stacklevel`` is right for one way in."""
    package = pathlib.Path(tg.__file__).parent
    other = re.compile(r"warnings\.warn|\bstacklevel=")
    files = {file for file in package.rglob("*.py") if other.search(file.read_text("utf-8"))}
    assert files == {package / "source_line.py"}


def test_a_line_of_a_notebook_is_one_of_a_cell() -> None:
    assert str(source_line.Line("/tmp/ipykernel_12/3140057718.py", 3, "<module>")) == "cell:3"
    assert str(source_line.Line("/tmp/3140057718.py", 3, "<module>")) == "3140057718.py:3"
