"""Kernels of RNN, GRU and LSTM, generated from the equations: projections, and forms that are made once for all sizes.

That they equal NumPy's kernels in everything else is tested in ``test_kernels.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.kernels.numba.test_kernels import PACKED, arrays_of, assert_same, run
from tests.support.flat_kernels import FlatKernel, flat
from tinygrad_rnn.errors import ArgumentError
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.ops.compiler import text_kernel
from tinygrad_rnn.ops.recurrent.cells import lstm_cell, rnn_cell


def projected(shape: Sequence[int], dtype: str, small: int, *, sizes: Any = None, bias: bool = True) -> list[Any]:
    arrays = arrays_of("lstm", shape, dtype, sizes=sizes, bias=bias)
    rng = np.random.default_rng(1)
    arrays[1], arrays[4] = arrays[1][:, :small].copy(), arrays[4][:, :small].copy()
    return [*arrays, (rng.standard_normal((small, shape[-1])) * shape[-1] ** -0.5).astype(dtype)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("shape", "small"), [((7, 3, 2, 5), 3), ((6, 9, 70, 65), 33), ((7, 3, 4, 130), 1)])
def test_a_projection_equals_that_of_the_numpy_kernel(shape: Any, small: int, packed: bool) -> None:
    sizes = PACKED[shape[:2]] if packed else None
    found = FlatKernel(dispatch.LSTM.kernel("numba"), "lstm")
    for dtype, bias, reverse in (("float64", True, False), ("float32", False, True), ("float64", False, False)):
        arrays = projected(shape, dtype, small, sizes=sizes, bias=bias)
        for cells in (False, True):
            ours, theirs = (
                run(kernel, arrays, sizes=sizes, reverse=reverse, cells=cells) for kernel in (found, flat("lstm"))
            )
            assert_same(ours[0], theirs[0], dtype)
            assert_same(ours[1], theirs[1], dtype)


def test_gradients_of_a_projection_that_are_not_wanted_are_none() -> None:
    kernel = FlatKernel(dispatch.LSTM.kernel("numba"), "lstm")
    arrays = projected((5, 2, 3, 4), "float64", 3)
    outputs, residual = kernel.forward(*arrays)
    gs = [np.ones_like(y) for y in outputs]
    whole = kernel.backward(gs, residual, *arrays, needs=[True] * 8)
    for position in range(8):
        needs = [k == position for k in range(8)]
        alone = kernel.backward(gs, residual, *arrays, needs=needs)
        assert [g is not None for g in alone] == needs
        np.testing.assert_array_equal(alone[position], whole[position])


def test_a_form_is_made_once_for_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = text_kernel.compile_program

    def spy(step: Any, size: int, widths: Any, parameters: Any, **options: Any) -> Any:
        made.append(list(parameters))
        return original(step, size, widths, parameters, **options)

    monkeypatch.setattr(text_kernel, "compile_program", spy)
    kernel = FlatKernel(text_kernel.StandardKernel(rnn_cell, 1, 1, "numba"), "rnn")
    for hidden in (3, 4, 2, 3):
        kernel.forward(*arrays_of("rnn", (2, 2, 2, hidden), "float64"))
    assert made == [["weight_ih", "weight_hh", "bias_ih", "bias_hh"]]
    kernel.forward(*arrays_of("rnn", (2, 2, 2, 3), "float64", bias=False))
    kernel.forward(*arrays_of("rnn", (2, 2, 2, 3), "float64"), nonlinearity="relu")
    assert made[1:] == [["weight_ih", "weight_hh"], ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]]


@pytest.mark.parametrize("absent", [5, 6])
def test_one_bias_may_be_absent(absent: int) -> None:
    kernel = FlatKernel(text_kernel.StandardKernel(lstm_cell, 2, 4, "numba"), "lstm")
    arrays = arrays_of("lstm", (4, 2, 3, 5), "float64")
    arrays[absent] = None
    zero = [np.zeros(20) if a is None else a for a in arrays]
    (ours, found), (theirs, wanted) = run(kernel, arrays), run(flat("lstm"), zero)
    assert_same(ours, theirs, "float64")
    assert found[absent] is None
    wanted[absent] = None
    assert_same(found[:7], wanted[:7], "float64")


def test_a_weight_of_another_shape_is_refused() -> None:
    kernel = FlatKernel(dispatch.LSTM.kernel("numba"), "lstm")
    for position in range(3, 7):
        arrays = arrays_of("lstm", (4, 2, 3, 5), "float64")
        kernel.forward(*arrays)
        arrays[position] = arrays[position][:-1].copy()
        with pytest.raises(ArgumentError, match="must be .* for an input of 3 columns and states of 5"):
            kernel.forward(*arrays)
