"""``impl`` of recurrent layers: which form runs, when it changes, what is said; and that a step is seen to change."""

from __future__ import annotations

import copy
import gc
import io
import logging
import pickle
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.nn.recurrent import compiled_steps
from tinygrad_rnn.nn.recurrent.compiled_steps import NotCompiled, steps_of
from tinygrad_rnn.ops.compiler.cell import CompiledCell
from tinygrad_rnn.ops.compiler.trace import Refused
from tinygrad_rnn.tape.modes import Watcher, watched

T, N, I, H = 5, 3, 2, 4  # noqa: E741


class Leaky(nn.Module):
    """h' = (1 - a) h + a tanh(W x + U h), with attributes that may change."""

    def __init__(self, input_size: int = I, hidden_size: int = H, drop: float = 0.0) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.read, self.back = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.drop = nn.Dropout(drop)
        self.rate, self.calls = 0.25, 0

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        self.calls += 1
        return (1 - self.rate) * h + self.rate * tg.tanh(self.read(x) + self.drop(self.back(h)))


class Branching(Leaky):
    """What cannot be compiled: a branch on values."""

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return super().forward(x, h) if float(h.sum()) < 1e9 else h  # the line that is refused


@pytest.fixture(autouse=True)
def numpy_kernels() -> Iterator[None]:
    """The rules are the same for every kernel; NumPy's takes no time to compile."""
    with dispatch.only("numpy"):
        yield


class Traces:
    """What was traced, and a clock that goes as far as it is told."""

    def __init__(self) -> None:
        self.count, self.now, self.step = 0, 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step  # read before and after each layer and direction
        return self.now


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Traces:
    counted, real = Traces(), compiled_steps.compile_step

    def counting(*args: Any, **options: Any) -> CompiledCell:
        counted.count += 1
        return real(*args, **options)

    monkeypatch.setattr(compiled_steps, "compile_step", counting)
    monkeypatch.setattr(compiled_steps, "clock", counted)
    compiled_steps._ours.cache_clear()
    return counted


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, traces: Traces) -> Traces:
    """As with Numba, when there is nothing on the disk."""
    monkeypatch.setitem(compiled_steps.PATIENCE, "numba", 2.0)
    monkeypatch.setattr(compiled_steps, "_kernel", lambda cell, x, states: "numba")
    monkeypatch.setattr(dispatch, "preferred", lambda x: "numba")
    monkeypatch.setattr(CompiledCell, "compiled_already", lambda self, kernel, dtype, backward: False)
    return traces


def inputs(*shape: int) -> tg.Tensor:
    values = np.random.default_rng(0).standard_normal(shape or (T, N, I)).astype("float32")
    return tg.tensor(values, requires_grad=True)


def records(layer: Any, x: tg.Tensor | None = None) -> list[str]:
    """What one call leaves on the tape."""
    with tg.Tape() as tape:
        layer(inputs() if x is None else x)
    return [record.name for record in tape]


def runs_compiled(layer: Any, x: tg.Tensor | None = None) -> bool:
    return "tanh" not in applied(layer, inputs() if x is None else x)


def applied(layer: Any, x: tg.Tensor) -> list[str]:
    """What one call applies, recorded or not."""
    seen = Applied()
    watched(seen, layer, x)
    return seen.names


class Applied(Watcher):
    """The names of operations."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def applied(self, operation: Any, inputs: Any, params: Any, output: Any) -> None:
        self.names.append(getattr(operation, "name", ""))


def in_no_time(layer: Any, x: tg.Tensor | None = None) -> Any:
    """The layer, after a call that does not wait until compiling pays."""
    before = compiled_steps.PATIENCE["numpy"]
    compiled_steps.PATIENCE["numpy"] = 0.0
    try:
        layer(inputs() if x is None else x)
    finally:
        compiled_steps.PATIENCE["numpy"] = before
    return layer


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {"peepholes": True}),
    ("LSTM", {"zoneout": 0.1, "return_cells": True}),
    ("GRU", {"reset_after": False}),
    ("RNN", {"layer_norm": True}),
    ("GRU", {"recurrent_dropout": 0.2, "return_gates": True}),
]


# the choice ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
@pytest.mark.parametrize("impl", ["compiled", "fused"])
def test_a_compiled_layer_is_one_record_and_a_composed_one_shows_every_step(
    kind: str, options: dict[str, Any], impl: str
) -> None:
    names = records(getattr(nn, kind)(I, H, impl=impl, **options))
    assert names.count(kind) == 1
    assert set(names) <= {kind, "getitem"}  # slices of weights, once for all steps
    assert records(getattr(nn, kind)(I, H, impl="composed", **options)).count("tanh") >= T


def test_a_users_cell_is_one_record() -> None:
    assert records(nn.RNNLayer(Leaky(), impl="compiled")) == ["Leaky"]
    assert records(nn.RNNLayer(Leaky(), impl="composed")).count("tanh") == T
    both = nn.RNNLayer(lambda size: Leaky(size), I, num_layers=2, bidirectional=True, impl="compiled")
    assert records(both) == ["Leaky", "Leaky", "cat"] * 2 + ["stack"]


@pytest.mark.parametrize(
    ("make", "known"),
    [
        (lambda impl: nn.LSTM(I, H, impl=impl), "auto, compiled, composed, fused"),
        (lambda impl: nn.RNNLayer(Leaky(), impl=impl), "auto, compiled, composed"),
    ],
)
def test_an_unknown_impl_is_refused(make: Any, known: str) -> None:
    with pytest.raises(tg.errors.ArgumentError, match=f"impl must be one of {known}, got 'fast'"):
        make("fast")


def test_impl_is_shown_where_it_is_not_auto() -> None:
    assert "impl=compiled" in repr(nn.RNNLayer(Leaky(), impl="compiled")) and "impl" not in repr(nn.RNNLayer(Leaky()))


# what cannot be compiled ---------------------------------------------------------------------------------------------


def test_compiled_raises_with_the_reason_and_the_users_line() -> None:
    layer = nn.RNNLayer(Branching(), impl="compiled")
    for _ in range(2):
        with pytest.raises(NotImplementedError, match=r"float\(t\) takes the values.*test_impl.py.*refused") as caught:
            layer(inputs())
        assert isinstance(caught.value, Refused)


def test_a_step_that_was_mended_is_asked_again() -> None:
    class Debugged(Leaky):
        looking = True

        def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            assert not self.looking or float(h.sum()) < 1e9
            return super().forward(x, h)

    cell = Debugged()
    layer = nn.RNNLayer(cell, impl="compiled")
    with pytest.raises(Refused) as caught:
        layer(inputs())
    assert all(one.outcome.__traceback__ is None for one in steps_of(layer).current.values())
    assert caught.value.line is not None
    cell.looking = False
    assert runs_compiled(layer)


def test_auto_says_once_that_a_layer_runs_step_by_step(traces: Traces) -> None:
    layer = nn.RNNLayer(lambda size: Branching(size), I, num_layers=2, bidirectional=True)
    traces.step = 1.0
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            layer(inputs())
    (one,) = seen
    assert issubclass(one.category, NotCompiled) and one.filename == __file__
    text = str(one.message)
    assert text.startswith("RNNLayer of Branching runs step by step, it cannot be compiled: float(t) takes")
    assert "the line that is refused" in text and "\n" not in text
    assert traces.count == 4  # once for each of the cells, and never again


def test_a_layer_that_cannot_be_compiled_gives_what_a_composed_one_gives() -> None:
    results = []
    for impl in ("auto", "composed"):
        tg.manual_seed(0)
        layer = nn.RNNLayer(Leaky(drop=0.5), impl=impl)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotCompiled)
            results += [[layer(inputs())[0] for _ in range(2)]]
    assert all(tg.equal(a, b) for a, b in zip(*results, strict=True))


def test_dropout_inside_of_a_cell_is_composed_in_training_and_compiled_in_evaluation() -> None:
    layer = nn.RNNLayer(Leaky(drop=0.5))
    with pytest.warns(NotCompiled, match="dropout"):
        in_no_time(layer)
    layer.eval()
    assert runs_compiled(in_no_time(layer))
    layer.train()
    assert not runs_compiled(layer)  # and nothing more is said
    layer.impl = "compiled"
    with pytest.raises(Refused, match="drawn at random"):
        layer(inputs())
    layer.eval()
    assert runs_compiled(layer)


# auto ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: nn.RNNLayer(Leaky()), lambda: nn.LSTM(I, H, peepholes=True)])
def test_auto_compiles_once_two_seconds_are_spent(make: Any, slow: Traces, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tinygrad_rnn")
    layer, slow.step = make(), 0.3  # thrice as long with the backward pass: 0.9 s a call
    assert [runs_compiled(layer) for _ in range(5)] == [False, False, False, True, True]
    assert slow.count == 1
    (line,) = caplog.messages
    assert "compiled after 2.7 s" in line


def test_without_recording_a_call_counts_once(slow: Traces) -> None:
    layer, slow.step = nn.RNNLayer(Leaky()), 0.5
    with tg.no_grad():
        for _ in range(3):
            layer(inputs())
    assert not runs_compiled(layer)  # 1.5 s, and 1.5 s for this one
    assert runs_compiled(layer)


def test_all_directions_count_together(slow: Traces) -> None:
    layer = nn.RNNLayer(lambda size: Leaky(size), I, num_layers=2, bidirectional=True)
    slow.step = 0.2
    layer(inputs())
    assert runs_compiled(layer)


def test_training_and_evaluation_are_timed_apart(slow: Traces) -> None:
    layer, slow.step = nn.RNNLayer(Leaky(drop=0.0)), 0.9
    layer(inputs())
    layer.eval()
    assert not runs_compiled(layer)
    layer.train()
    assert runs_compiled(layer)


def test_auto_compiles_at_once_what_is_on_the_disk(slow: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(CompiledCell, "compiled_already", lambda self, *args: asked.append(args) or True)
    assert runs_compiled(nn.RNNLayer(Leaky())) and runs_compiled(nn.GRU(I, H, reset_after=False))
    assert asked == [("numba", np.dtype("float32"), True)] * 2


class Unwatched(Leaky):
    """One that has a guard."""

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return tg.tanh(self.read(x) + self.back(h))


@pytest.mark.parametrize("kind", [Leaky, Unwatched])
def test_what_only_infers_needs_no_machine_code_of_the_way_back(
    kind: type[Leaky], slow: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CompiledCell, "compiled_already", lambda self, kernel, dtype, backward: not backward)
    for make in (lambda: nn.RNNLayer(kind()), lambda: nn.LSTM(I, H, peepholes=True)):
        layer = make()
        for _ in range(2):
            with tg.no_grad():
                assert runs_compiled(layer)
            assert not runs_compiled(layer)
        for p in layer.parameters():
            p.requires_grad_(False)
        assert runs_compiled(layer, inputs().detach()) and not runs_compiled(layer)
        slow.step = 0.9
        layer(inputs())
        slow.step = 0.0
        assert runs_compiled(layer)


def test_the_disk_is_looked_at_once(slow: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(CompiledCell, "compiled_already", lambda self, kernel, *more: bool(asked.append(kernel)))
    layer = nn.LSTM(I, H, peepholes=True, num_layers=2)
    layer(inputs()), layer(inputs())
    assert asked == ["numba"]


def test_without_numba_nothing_is_traced_before_it_pays(traces: Traces) -> None:
    layer, traces.step = nn.RNNLayer(Leaky()), 0.02
    assert [runs_compiled(layer) for _ in range(3)] == [False, False, True]  # 0.06 s a call
    other = nn.LSTM(I, H, peepholes=True)
    traces.step = 0.01
    other(inputs())
    assert traces.count == 1


def test_compiled_and_composed_give_the_same_bits_in_every_run() -> None:
    for impl in ("compiled", "composed"):
        layer = nn.LSTM(I, H, peepholes=True, zoneout=0.2, impl=impl)
        found = []
        for _ in range(3):
            tg.manual_seed(0)
            x = inputs()
            found.append([layer(x)[0].detach(), *tg.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()])])
        assert all(tg.equal(a, b) for again in found[1:] for a, b in zip(found[0], again, strict=True))


# programs are shared and kept ----------------------------------------------------------------------------------------


def test_layers_of_equal_sizes_share_a_program(traces: Traces) -> None:
    for _ in range(3):
        nn.LSTM(H, H, num_layers=3, bidirectional=False, peepholes=True, impl="compiled")(inputs(T, N, H))
    assert traces.count == 1
    nn.LSTM(H, H, peepholes=True, impl="compiled", dtype=tg.float64)(inputs(T, N, H).double())
    assert traces.count == 2


def test_training_and_evaluation_compile_each_once(traces: Traces) -> None:
    one, other = nn.LSTM(I, H, zoneout=0.5, impl="compiled"), nn.RNNLayer(Leaky(), zoneout=0.5, impl="compiled")
    for layer in (one, other):
        before = traces.count
        for mode in (True, False) * 3:
            assert runs_compiled(layer.train(mode))
        assert traces.count == before + 2
    plain = nn.RNNLayer(Leaky(), impl="compiled")
    before = traces.count
    for mode in (True, False) * 2:
        plain.train(mode)(inputs())
    assert traces.count == before + 1  # the same step, whatever the mode is called


def test_other_probabilities_are_no_other_step(traces: Traces) -> None:
    layer = nn.LSTM(I, H, impl="compiled", zoneout=0.1, recurrent_dropout=0.1)
    for p in (0.1, 0.2, 1.0):
        layer.options = type(layer.options)(zoneout=p, recurrent_dropout=p)
        layer(inputs())
    assert traces.count == 1
    layer.options = type(layer.options)(zoneout=(0.0, 0.3), recurrent_dropout=0.1)
    layer(inputs())
    assert traces.count == 2


def test_a_changed_attribute_is_noticed_and_its_programs_are_kept(traces: Traces) -> None:
    cell = Leaky()
    layer, twin = nn.RNNLayer(cell, impl="compiled"), nn.RNNLayer(cell, impl="composed")
    for rate in (0.25, 0.5, 0.25, 0.5):
        cell.rate = rate
        np.testing.assert_allclose(
            layer(inputs())[0].detach().numpy(), twin(inputs())[0].detach().numpy(), rtol=0, atol=1e-6
        )
    assert traces.count == 2


def test_frozen_and_replaced_parameters_are_noticed() -> None:
    cell = Leaky()
    layer = nn.RNNLayer(cell, impl="compiled")
    layer(inputs())[0].sum().backward()
    cell.read.weight.requires_grad_(False)
    layer.zero_grad()
    layer(inputs())[0].sum().backward()
    assert cell.read.weight.grad is None and cell.back.weight.grad is not None
    cell.read.weight.requires_grad_(True)
    cell.back = nn.Linear(H, H, bias=False)
    twin = nn.RNNLayer(cell, impl="composed")
    x = inputs()
    a, b = (tg.autograd.grad(one(x)[0].square().sum(), [x, *cell.parameters()]) for one in (layer, twin))
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_that_is_switched_on_is_noticed_and_draws_what_it_would_have_drawn() -> None:
    cell = Leaky()
    layer, twin = nn.RNNLayer(cell), nn.RNNLayer(cell, impl="composed")
    assert runs_compiled(in_no_time(layer))
    cell.drop.p = 0.5
    tg.manual_seed(1)
    with pytest.warns(NotCompiled, match="dropout"):
        found = layer(inputs())[0]
    tg.manual_seed(1)
    assert tg.equal(found, twin(inputs())[0])


def test_a_step_runs_once_for_each_call() -> None:
    cell = Leaky()
    layer = nn.RNNLayer(cell, impl="compiled")
    layer(inputs())
    before = cell.calls
    for _ in range(4):
        layer(inputs())
    assert cell.calls == before + 4


def test_a_step_that_always_changes_is_left_composed(traces: Traces) -> None:
    cell = Leaky()
    layer = in_no_time(nn.RNNLayer(cell))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2 * compiled_steps.STRUCTURES):
            cell.rate *= 0.99
            layer(inputs())
    assert traces.count == 10
    (one,) = seen
    assert "10 different steps in 10 calls. Numbers that change belong in a buffer" in str(one.message)
    layer.impl = "compiled"
    for _ in range(4):  # who asks for it gets it
        cell.rate *= 0.99
        assert runs_compiled(layer)


def test_a_step_that_changes_now_and_then_stays_compiled(traces: Traces) -> None:
    cell = Leaky()
    layer = in_no_time(nn.RNNLayer(cell))
    for _ in range(2 * compiled_steps.STRUCTURES):
        cell.rate *= 0.99
        for _ in range(compiled_steps.OFTEN):
            assert runs_compiled(layer)
    assert len(next(iter(steps_of(layer).kept.values())).steps) == compiled_steps.STRUCTURES


def test_a_number_in_a_buffer_may_change(traces: Traces) -> None:
    class Annealed(Leaky):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("temperature", tg.tensor([1.0]))

        def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
            return super().forward(x, h) * self.temperature

    cell = Annealed()
    layer, twin = nn.RNNLayer(cell, impl="compiled"), nn.RNNLayer(cell, impl="composed")
    for value in (1.0, 0.5, 0.25):
        cell.temperature.fill_(value)
        np.testing.assert_allclose(
            layer(inputs())[0].detach().numpy(), twin(inputs())[0].detach().numpy(), rtol=0, atol=1e-6
        )
    assert traces.count == 1


# explain -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.RNN(I, H),
        lambda: nn.GRU(I, H, reset_after=False),
        lambda: nn.LSTM(I, H, peepholes=True, weight_dropout=0.5),
        lambda: nn.RNNLayer(Leaky()),
    ],
)
def test_explain_names_products_and_gives_the_text(make: Any, traces: Traces) -> None:
    layer = make()
    before = tg.get_rng_state()
    text = layer.explain()
    assert ("read.weight" if isinstance(layer, nn.RNNLayer) else "weight_ih") in text and "layer 0" in text
    for backend in ("numba", "numpy"):
        compile(layer.explain(backend), backend, "exec")
    assert layer.explain("numpy") != layer.explain("numba")
    assert tg.equal(tg.get_rng_state(), before) and traces.count == 1
    layer(inputs())
    assert layer.explain().splitlines()[1:] == text.splitlines()[1:]


def test_explain_says_how_a_layer_runs(slow: Traces) -> None:
    layer, slow.step = nn.LSTM(I, H, peepholes=True), 0.5
    assert layer.explain().startswith("LSTM: every step on the tape until that has taken 2.0 s, 0.0 s so far")
    layer(inputs())
    assert "1.5 s so far" in layer.explain().splitlines()[0]
    layer(inputs()), layer(inputs())
    assert layer.explain().splitlines()[0] == "LSTM: compiled"
    layer.impl = "composed"
    assert "as impl says" in layer.explain().splitlines()[0]
    assert "kernels of plain layers" in nn.GRU(I, H).explain().splitlines()[0]
    assert nn.GRU(I, H, impl="compiled").explain().splitlines()[0] == "GRU: compiled"


def test_explain_joins_layers_that_are_alike() -> None:
    layer = nn.GRU(H, H, num_layers=3, reset_after=False)
    assert layer.explain().splitlines()[1] == "layer 0; layer 1; layer 2"
    other = nn.GRU(I, H, num_layers=2, bidirectional=True, reset_after=False)
    heads = [line for line in other.explain().splitlines() if line.startswith("layer")]
    assert heads == ["layer 0; layer 0, reverse", "layer 1; layer 1, reverse"]
    assert other.explain("numba").count("def forward") == 1  # no sizes are in the text


def test_explain_gives_the_reason_and_the_line_of_a_refusal() -> None:
    layer = nn.RNNLayer(Branching())
    for text in (layer.explain(), layer.explain("numba")):
        assert "float(t) takes" in text and "the line that is refused" in text
    half = nn.LSTM(I, H, peepholes=True, dtype=tg.float16)
    assert "float16" in half.explain()


def test_explain_knows_its_backends() -> None:
    with pytest.raises(tg.errors.ArgumentError, match="expected one of numba, numpy, cuda, got 'torch'"):
        nn.LSTM(I, H).explain("torch")


# what else a layer is used for ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options"), VARIANTS[:3])
def test_segments_keep_less(kind: str, options: dict[str, Any]) -> None:
    kept = []
    for segments in (None, 8):
        layer = getattr(nn, kind)(I, H, impl="compiled", checkpoint_segments=segments, **options)
        with tg.Tape() as tape:
            layer(inputs(64, N, I))
        kept.append(sum(record.saved_bytes for record in tape if record.name == kind))
    assert kept[1] < 0.8 * kept[0]  # the rest is output, input and weights


@pytest.mark.parametrize("make", [lambda: nn.RNNLayer(Leaky(), impl="compiled"), lambda: nn.LSTM(I, H, peepholes=True)])
def test_copies_have_nothing_of_what_is_known(make: Any) -> None:
    layer = in_no_time(make())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)) if isinstance(layer, nn.LSTM) else layer):
        assert tg.equal(in_no_time(twin)(inputs())[0], layer(inputs())[0])
    assert list(layer.state_dict()) == list(make().state_dict())
    assert steps_of(layer) is not steps_of(copy.deepcopy(layer))


@pytest.mark.parametrize(
    "make", [lambda: nn.RNNLayer(nn.GRUCell(I, H), impl="compiled"), lambda: nn.LSTM(I, H, peepholes=True)]
)
def test_a_file_has_nothing_of_what_is_known(make: Any) -> None:
    fresh, used = make(), in_no_time(make())
    used.load_state_dict(fresh.state_dict())
    files = io.BytesIO(), io.BytesIO()
    for layer, file in zip((fresh, used), files, strict=True):
        tg.save(layer, file)
    assert files[0].getvalue() == files[1].getvalue()
    files[1].seek(0)
    again = tg.load(files[1], weights_only=False)
    assert again.impl == used.impl and tg.equal(in_no_time(again)(inputs())[0], used(inputs())[0])


def test_what_is_known_goes_with_the_layer() -> None:
    layer = nn.RNNLayer(Leaky(), impl="compiled")
    layer(inputs())
    known = weakref.ref(steps_of(layer))
    del layer
    gc.collect()
    assert known() is None


def test_a_layer_of_another_dtype_has_a_program_of_its_own(traces: Traces) -> None:
    layer = nn.RNNLayer(Leaky(), impl="compiled")
    layer(inputs())
    assert layer.double()(inputs().double())[0].dtype == tg.float64 and traces.count == 2
    layer.half()
    with pytest.raises(Refused, match="float16"):
        layer(inputs().half())
    layer.impl = "auto"
    assert layer.float()(inputs())[0].dtype == tg.float32


@pytest.mark.parametrize("make", [lambda: nn.RNNLayer(Leaky()), lambda: nn.GRU(I, H, reset_after=False)])
def test_half_precision_is_composed_without_a_warning(make: Any, traces: Traces) -> None:
    layer = make().half()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_no_time(layer, inputs().half())(inputs().half())[0].dtype == tg.float16
    assert traces.count == 0
    assert "float16" in layer.explain()


@pytest.mark.parametrize("ours", [True, False])
def test_a_checkpointed_call_runs_again_as_it_ran_first(slow: Traces, ours: bool) -> None:
    """Also where the layer is compiled by then: the second run must record what the first did."""
    layer: Any = nn.LSTM(I, H, peepholes=True, zoneout=0.2) if ours else nn.RNNLayer(Leaky(), zoneout=0.2)
    slow.step, results = 0.4, []
    for function in (tg.autograd.checkpoint.checkpoint, lambda layer, x: layer(x)):
        x, y = inputs(), inputs(T, N, H)
        steps_of(layer).spent.clear()
        steps_of(layer).ready.clear()
        tg.manual_seed(0)
        outputs = [function(layer, x)[0] for _ in range(4)]  # two composed, and two compiled
        loss = sum((a * y * k).sum() for k, a in enumerate(outputs))
        results.append([loss, *tg.autograd.grad(loss, [x, *layer.parameters()])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert steps_of(layer).ready


def test_two_threads_may_use_one_layer() -> None:
    layer = nn.RNNLayer(Leaky(), impl="compiled")
    expected = nn.RNNLayer(layer.cell_l0, impl="composed")(inputs())[0].detach().numpy()
    found: list[Any] = []

    def run() -> None:
        with dispatch.only("numpy"):
            for _ in range(5):
                found.append(layer(inputs())[0].detach().numpy())

    threads = [threading.Thread(target=run) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 15
    for one in found:
        np.testing.assert_allclose(one, expected, rtol=0, atol=1e-6)


# Numba ---------------------------------------------------------------------------------------------------------------


class Rooted(Leaky):
    """A cell that no other test compiles."""

    function: Any = staticmethod(tg.tanh)

    def forward(self, x: tg.Tensor, h: tg.Tensor) -> tg.Tensor:
        return self.function(self.read(x)) * tg.sqrt(1 + self.back(h).square())


@pytest.mark.parametrize(("place", "function"), [(1, tg.tanh), (2, tg.sigmoid)])
def test_ctrl_c_while_numba_compiles_leaves_a_layer_that_works(
    place: int, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowering = pytest.importorskip("numba.core.lowering")
    real, count = lowering.BaseLower.lower_normal_function, 0

    def interrupted(self: Any, function: Any) -> Any:
        nonlocal count
        count += 1
        if count == place:
            raise KeyboardInterrupt
        return real(self, function)

    monkeypatch.setattr(lowering.BaseLower, "lower_normal_function", interrupted)
    cell = Rooted()
    cell.function = function
    layer, twin = nn.RNNLayer(cell, impl="compiled"), nn.RNNLayer(cell, impl="composed")
    with dispatch.only("numba"):
        with pytest.raises(KeyboardInterrupt):
            layer(inputs())[0].sum().backward()
        assert tg.is_grad_enabled() and float(tg.ones(1)) == 1
        x = inputs()
        for a, b in zip(*[tg.autograd.grad(m(x)[0].sum(), [x, *m.parameters()]) for m in (layer, twin)], strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-5)
        assert records(nn.RNNLayer(cell)) == ["Rooted"]  # auto: its machine code is on the disk
