"""Kernels of RNN, GRU and LSTM that are generated from the equations: projections, and what is kept of programs.

That they equal the kernels that are written by hand, in everything that these do, is tested in ``test_kernels.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.kernels.numba.test_kernels import PACKED, arrays_of, assert_same, run
from tests.support.flat_kernels import FlatKernel, flat
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.numpy import lstm
from tinygrad_rnn.ops.recurrent import sequence
from tinygrad_rnn.ops.recurrent.cells import rnn_cell
from tinygrad_rnn.ops.recurrent.sequence import FromEquations


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
                run(kernel, arrays, sizes=sizes, reverse=reverse, cells=cells) for kernel in (found, flat(lstm))
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


def test_a_program_is_made_once_for_each_set_of_shapes_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FromEquations, "MOST", 2)
    made = []
    original = sequence.compile_program

    def spy(*args: Any, **options: Any) -> Any:
        made.append(args[1:3])
        return original(*args, **options)

    monkeypatch.setattr(sequence, "compile_program", spy)
    kernel = FlatKernel(FromEquations("numba", rnn_cell), "rnn")
    for hidden in (3, 4, 3, 5, 4, 3):
        kernel.forward(*arrays_of("rnn", (2, 2, 2, hidden), "float64"))
    assert [widths for _, (widths,) in made] == [3, 4, 5, 3]
