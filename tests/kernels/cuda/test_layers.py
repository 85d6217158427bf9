"""Layers on an emulated GPU: which kernels they get, what they say when one fails, and that they never wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.kernels.cuda.comparison import Case, numbers, run, worst_error
from tests.support import fakecupy
from tests.support.emulator import Emulator, needs_compiler
from tests.support.flat_kernels import FlatKernel, grouped
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.cuda import describe, explain
from tinygrad_rnn.kernels.recurrent.cuda.layer import KERNELS
from tinygrad_rnn.kernels.recurrent.interface import KernelUnavailable, Options
from tinygrad_rnn.tape.tensor import wrap

pytestmark = needs_compiler

TOLERANCE = 2e-5
"""float32 against float32 through two layers, both directions and a sum of squares; the worst seen is 3e-6."""


def on_device(layer: Any) -> Any:
    for p in layer.parameters():
        p.data = wrap(fakecupy.asarray(p.detach().numpy()))
    return layer


def outputs_and_gradients(layer: Any, x: Any, lengths: list[int] | None) -> list[Any]:
    given = x if lengths is None else tg.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, final = layer(given)
    y = output if lengths is None else tg.nn.utils.rnn.pad_packed_sequence(output)[0]
    finals = list(final) if isinstance(final, tuple) else [final]
    total = sum((t * t).sum() for t in [y, *finals])
    return [y, *finals, *tg.autograd.grad(total, [x, *layer.parameters()])]


@pytest.mark.parametrize("lengths", [None, [2, 4, 3]])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layers_of_either_device_agree(kind: str, lengths: list[int] | None, emulated: Emulator) -> None:
    values = np.random.default_rng(0).standard_normal((4, 3, 5)).astype("float32")
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(5, 30, num_layers=2, bidirectional=True)
    with dispatch.only("numpy"):
        expected = outputs_and_gradients(layer, tg.tensor(values).requires_grad_(), lengths)
    x = wrap(fakecupy.asarray(values)).requires_grad_()
    on_device(layer)
    got = outputs_and_gradients(layer, x, lengths)
    names = [name for name, _ in emulated.launches]
    assert names == ["persistent_forward"] * 4 + ["persistent_backward"] * 4
    for a, b in zip(got, expected, strict=True):
        scale = max(1.0, float(np.abs(b.detach().numpy()).max()))
        np.testing.assert_allclose(to_numpy(a.detach()._data), b.detach().numpy(), rtol=0, atol=TOLERANCE * scale)


COMPILED: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "peepholes": ("LSTM", {"peepholes": True}, {"persistent"}),
    "zoneout": ("LSTM", {"zoneout": (0.1, 0.2)}, {"persistent"}),
    "layer norm": ("LSTM", {"layer_norm": True}, {"forward", "backward"}),
    "recurrent dropout": ("GRU", {"recurrent_dropout": 0.3}, {"forward", "backward"}),
    "reset before": ("GRU", {"reset_after": False}, {"forward", "backward"}),
}


@pytest.mark.parametrize("what", COMPILED)
def test_layers_with_other_equations_are_compiled_for_either_device(what: str, emulated: Emulator) -> None:
    kind, options, kernels = COMPILED[what]
    values = np.random.default_rng(0).standard_normal((4, 3, 5)).astype("float32")
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(5, 30, num_layers=2, bidirectional=True, impl="composed", **options)
    tg.manual_seed(1)
    expected = outputs_and_gradients(layer, tg.tensor(values).requires_grad_(), None)
    layer.impl = "compiled"
    x = wrap(fakecupy.asarray(values)).requires_grad_()
    on_device(layer)
    tg.manual_seed(1)
    got = outputs_and_gradients(layer, x, None)
    assert {name.partition("_")[0] for name, _ in emulated.launches} == kernels
    before = fakecupy.syncs  # once everything is compiled, nothing waits for the device
    outputs_and_gradients(layer, x, None)
    assert fakecupy.syncs == before
    for a, b in zip(got, expected, strict=True):
        scale = max(1.0, float(np.abs(b.detach().numpy()).max()))
        np.testing.assert_allclose(to_numpy(a.detach()._data), b.detach().numpy(), rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("size", [30, 600])
def test_a_training_step_does_not_wait_for_the_device(kind: str, size: int, emulated: Emulator) -> None:
    layer = on_device(getattr(tg.nn, kind)(2, size, bidirectional=True))
    x = tg.nn.utils.rnn.pack_padded_sequence(wrap(fakecupy.asarray(np.ones((3, 2, 2), "float32"))), [3, 2])
    before = fakecupy.syncs
    layer(x)[0].data.sum().backward()
    assert fakecupy.syncs == before
    assert len(emulated.launches) == (4 if size == 30 else 12)


def test_a_persistent_kernel_that_fails_is_replaced_by_steps_with_one_warning(emulated: Emulator) -> None:
    emulated.failing = {"persistent_backward"}
    case = Case("gru", 3, 2, 30)
    with pytest.warns(RuntimeWarning, match=r"\(gru\) run step by step .*persistent_backward is made to fail"):
        assert worst_error(case, fakecupy) < 1e-6  # what the persistent kernel saved serves the steps
    assert [name for name, _ in emulated.launches] == ["persistent_forward"] + ["step_backward"] * 3
    assert worst_error(case, fakecupy) < 1e-6  # no second warning: that would be an error here
    assert [name for name, _ in emulated.launches[4:]] == ["step_forward"] * 3 + ["step_backward"] * 3


def test_clusters_that_fail_are_replaced_by_blocks_that_meet_in_global_memory(emulated: Emulator) -> None:
    emulated.edit = lambda source: source.replace("UNITS * LANES == THREADS", "SYNC == 0")  # clusters do not compile
    with pytest.warns(RuntimeWarning, match="run with blocks that meet through global memory on this GPU") as warned:
        assert worst_error(Case("gru", 3, 2, 64 + 1), fakecupy) < 1e-6
    assert len(warned) == 1
    assert emulated.launches == [("persistent_forward", 8), ("persistent_backward", 8)]


def test_weights_may_begin_anywhere_in_memory(emulated: Emulator) -> None:
    """As views of a flat buffer of parameters do."""
    case = Case("lstm", 2, 2, 32)
    arrays, gs = ([fakecupy.asarray(a) for a in some] for some in numbers(case, "float32"))
    expected = run("cuda", case, arrays, gs)
    for k, a in enumerate(arrays):
        flat = fakecupy.zeros(a.size + 1, "float32")
        flat[1:] = a.reshape(-1)
        arrays[k] = flat[1:].reshape(a.shape)
    for got, wanted in zip(run("cuda", case, arrays, gs), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_without_any_kernel_the_layer_runs_as_numpy_does_with_one_warning(emulated: Emulator) -> None:
    emulated.failing = {"persistent_forward", "step_forward"}
    arrays = [None if a is None else fakecupy.asarray(a) for a in numbers(Case("lstm", 3, 2, 30), "float32")[0]]
    with pytest.warns(RuntimeWarning) as warned:
        residual = dispatch.forward(dispatch.LSTM, *grouped("lstm", arrays), Options()).residual
    assert ["step by step" in str(w.message) for w in warned] == [True, False]
    assert "do not use the cuda kernels from now on" in str(warned[1].message)
    assert residual[0] == "numpy" and not emulated.launches
    dispatch.forward(dispatch.LSTM, *grouped("lstm", arrays), Options())


def test_groups_that_can_never_run_together_are_replaced_by_steps(emulated: Emulator) -> None:
    emulated.become(80, 3)
    with pytest.warns(RuntimeWarning, match="step by step .* 4 blocks cannot run at the same time"):
        assert worst_error(Case("lstm", 2, 2, 128), fakecupy) < 1e-6


def arrays_of(mode: str, size: int, batch: int = 2, dtype: str = "float32") -> list[Any]:
    arrays = numbers(Case(mode, 2, batch, size), dtype)[0]
    return [fakecupy.asarray(a) for a in arrays]


def how(mode: str, *sizes: int, **options: Any) -> str:
    return explain(dispatch.CELLS[mode], *grouped(mode, arrays_of(mode, *sizes, **options)))


def test_the_choice_is_explained(emulated: Emulator) -> None:
    assert how("lstm", 30) == ("persistent: 2 groups of 1 blocks x 256 threads; 1 samples per group, size padded to 32")
    assert "8 blocks x 256 threads, which signal by messages" in how("gru", 200)
    assert how("rnn", 30, dtype="float64").startswith("stepwise: persistent kernels compute in")
    assert how("rnn", 513).startswith("stepwise: persistent kernels hold w_hh on the chip")
    assert "expected to be faster step by step" in how("lstm", 512, batch=2048)
    assert describe() == (
        "persistent kernels by clusters and messages (float32, hidden sizes to 512), stepwise kernels otherwise; "
        "compute capability 9.0, 132 multiprocessors"
    )
    emulated.become(75, 40)
    assert "by a cooperative launch" in describe()
    assert "which signal by a counter" in how("lstm", 200)
    emulated.become(60, 40)
    assert describe() == "none: compute capability 6.0 is below 7.0"


@pytest.mark.parametrize(
    ("edit", "params", "reason"),
    [
        (lambda a: [*a, a[4]], {}, "projected"),
        (lambda a: a, {"cells": True}, "all steps"),
        (lambda a: [x.astype("float16") for x in a], {}, "float16"),
        (lambda a: [a[0].astype("float64"), *a[1:]], {}, "several dtypes"),
        (lambda a: [a[0][:0], *a[1:]], {}, "nothing to compute"),
        (lambda a: [a[0][:, :0], a[1][:0], *a[2:]], {}, "nothing to compute"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_with_the_reason(
    edit: Any, params: dict[str, Any], reason: str, emulated: Emulator
) -> None:
    arrays = arrays_of("lstm", 8)
    assert dispatch.reasons("lstm", *arrays)["cuda"] is None
    assert reason in str(dispatch.reasons("lstm", *edit(arrays), **params)["cuda"])
    with dispatch.only("cuda"), pytest.raises(KernelUnavailable, match=reason):
        dispatch.forward(dispatch.LSTM, *grouped("lstm", edit(arrays)), Options(**params))


def test_the_double_alone_is_a_gpu_without_kernels(double: Any) -> None:
    arrays = [double.asarray(a) for a in numbers(Case("gru", 2, 2, 8), "float32")[0]]
    assert "compute capability 7.0 or newer" in str(dispatch.reasons("gru", *arrays)["cuda"])


def test_only_what_is_needed_is_computed_and_arguments_stay_as_they_were(emulated: Emulator) -> None:
    for mode in ("lstm", "gru", "rnn"):
        module = FlatKernel(KERNELS[mode], mode)
        host, gs = numbers(Case(mode, 3, 2, 30), "float32")
        arrays, seeds = [fakecupy.asarray(a) for a in host], [fakecupy.asarray(g) for g in gs]
        _, residual = module.forward(*arrays)
        everything = module.backward(seeds, residual, *arrays, needs=[True] * 8)
        for position in range(len(arrays)):
            needs = [k == position for k in range(8)]
            alone = module.backward(seeds, residual, *arrays, needs=needs)
            assert [g is not None for g in alone[: len(arrays)]] == needs[: len(arrays)]
            np.testing.assert_array_equal(alone[position].get(), everything[position].get())
        for a, before in zip([*arrays, *seeds], [*host, *gs], strict=True):
            np.testing.assert_array_equal(a.get(), before)


def test_arguments_may_be_views_of_any_layout(emulated: Emulator) -> None:
    case = Case("lstm", 3, 2, 30)
    arrays, gs = numbers(case, "float32")
    strange = [fakecupy.asarray(np.stack([a, a], -1))[..., 0] for a in arrays]
    seeds = [fakecupy.asarray(np.stack([g, g], -1))[..., 0] for g in gs]
    plain = run("cuda", case, [fakecupy.asarray(a) for a in arrays], [fakecupy.asarray(g) for g in gs])
    for a, b in zip(run("cuda", case, strange, seeds), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)  # BLAS may sum in another order
