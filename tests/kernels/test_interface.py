"""One interface for every recurrent kernel: the same arguments in the same order, the same groups of results."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from tests.support.flat_kernels import grouped
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.interface import (
    Cell,
    Cotangents,
    Gradients,
    Kernel,
    KernelUnavailable,
    Needs,
    Options,
    Restoring,
    Run,
    Weights,
)
from tinygrad_rnn.kernels.recurrent.threads import SplitBatch

PLACES = [(package, mode) for package in dispatch.KERNELS for mode in dispatch.CELLS]

checked_statically: list[Kernel[Weights]] = [dispatch.RNN.kernel("numpy"), SplitBatch(dispatch.RNN.kernel("numpy"))]
cells: list[Cell] = [dispatch.RNN, dispatch.GRU, dispatch.LSTM]


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def kernel_of(package: str, mode: str) -> Any:
    if package == "numba":
        pytest.importorskip("numba")
    return dispatch._kernel(package, dispatch.CELLS[mode], (np.ones((2, 1)),))


@pytest.mark.parametrize(("package", "mode"), PLACES)
def test_every_kernel_takes_the_arguments_of_the_interface(package: str, mode: str) -> None:
    kernel = kernel_of(package, mode)
    functions = ["forward", "backward"] + ["restore"] * (mode == "rnn" and package != "cuda")
    for name in functions:
        expected = parameters(getattr(Restoring, name))
        assert expected[:4] == ["x", "states", "weights", "options"]
        assert parameters(getattr(kernel, name)) == expected


@pytest.mark.parametrize(("package", "mode"), [place for place in PLACES if place[0] != "cuda"])
def test_results_come_in_the_groups_of_the_interface(package: str, mode: str) -> None:
    kernel, gates = kernel_of(package, mode), {"rnn": 1, "gru": 3, "lstm": 4}[mode]
    count = dispatch.CELLS[mode].states
    shapes = [(4, 2, 3), *[(2, 5)] * count, (gates * 5, 3), (gates * 5, 5), (gates * 5,), (gates * 5,)]
    x, states, weights = grouped(mode, [np.ones(shape) for shape in shapes])
    options = Options(cells=mode == "lstm")
    run = kernel.forward(x, states, weights, options)
    assert type(run) is Run and len(run.series) == (2 if mode == "lstm" else 1)
    assert [a.shape for a in (*run.series, *run.states)] == [(4, 2, 5)] * len(run.series) + [(2, 5)] * count
    cotangents = Cotangents(tuple(np.ones_like(a) for a in run.series), tuple(np.ones_like(a) for a in run.states))
    needs = Needs(True, (True,) * count, (True,) * 5)
    found = kernel.backward(x, states, weights, options, run.residual, cotangents, needs)
    assert type(found) is Gradients
    assert [a.shape for a in (found.x, *found.states, *found.weights[:4])] == shapes
    assert kernel.forward(x, states, weights, options._replace(save=False)).residual is None


@pytest.mark.parametrize("package", ["numba", "numpy"])
def test_a_plain_rnn_gives_its_residual_from_its_output(package: str) -> None:
    kernel = kernel_of(package, "rnn")
    x, states, weights = grouped("rnn", [np.ones(shape) for shape in ((4, 2, 3), (2, 5), (5, 3), (5, 5))])
    run = kernel.forward(x, states, weights, Options())
    left = kernel.restore(x, states, weights, Options(), run.series[0])
    cotangents, needs = Cotangents((np.ones((4, 2, 5)),), (None,)), Needs(True, (True,), (True, True, False, False))
    for got, expected in zip(
        *(kernel.backward(x, states, weights, Options(), r, cotangents, needs) for r in (left, run.residual)),
        strict=True,
    ):
        np.testing.assert_equal(got, expected)


# cells ----------------------------------------------------------------------------------------------------------------


class Somewhere(dispatch.Standard):
    """A plain RNN that some backends refuse, and of which some kernels cannot be made."""

    def __init__(self, refused: str, unavailable: str) -> None:
        super().__init__("rnn", 1)
        self.generated = dispatch.RNN.generated
        self.refused, self.unavailable = refused.split(), unavailable.split()

    def kernel(self, backend: str) -> Any:
        if backend in self.unavailable:
            raise KernelUnavailable("no compiler")
        return super().kernel(backend)

    def refusal(self, backend: str, *work: Any) -> str | None:
        return f"{backend} lacks an operation" if backend in self.refused else super().refusal(backend, *work)


def ran(cell: dispatch.Standard) -> str:
    arrays = [np.ones(shape) for shape in ((4, 2, 3), (2, 5), (5, 3), (5, 5))]
    kernel: str = dispatch.forward(cell, *grouped("rnn", arrays), Options()).residual[0]
    return kernel


def test_a_cell_may_refuse_a_backend_and_then_another_one_runs() -> None:
    cell = Somewhere("numba", "")
    assert ran(cell) == "numpy"
    with dispatch.only("numba"), pytest.raises(KernelUnavailable, match="numba lacks an operation"):
        ran(cell)


def test_a_cell_that_nothing_runs_says_why() -> None:
    with pytest.raises(KernelUnavailable, match="no kernel runs rnn.*numba lacks.*numpy lacks"):
        ran(Somewhere("numba numpy", ""))


def test_a_kernel_that_cannot_be_made_is_not_tried_again_and_other_cells_keep_theirs() -> None:
    pytest.importorskip("numba")
    cell = Somewhere("", "numba")
    with pytest.warns(RuntimeWarning, match="do not use the numba kernels from now on: no compiler"):
        assert ran(cell) == "numpy"
    assert ran(cell) == "numpy" and ran(dispatch.RNN) == "numba"
    with pytest.raises(KernelUnavailable, match="numba: no compiler; numpy: numpy lacks"):
        cell.refused = ["numpy"]
        ran(cell)
