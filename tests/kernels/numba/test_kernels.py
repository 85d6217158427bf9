"""The compiled kernels are the NumPy kernels: outputs and every gradient, in every configuration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.support.flat_kernels import flat
from tinygrad_rnn.kernels.recurrent.numba import products, schedule

TOLERANCE = {"float32": 4e-6, "float64": 1e-13}
"""Some tens of roundings (6e-8 and 1e-16) of numbers of order 1, or of the largest entry if it is larger."""

MODES: list[tuple[str, dict[str, Any]]] = [
    ("lstm", {}),
    ("lstm", {"cells": True}),
    ("gru", {}),
    ("rnn", {"nonlinearity": "tanh"}),
    ("rnn", {"nonlinearity": "relu"}),
]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
PACKED = {(7, 3): (3, 3, 2, 2, 1, 1, 1), (6, 9): (9, 9, 7, 7, 2, 1)}
SHAPES = [(1, 1, 1, 1), (7, 3, 2, 5), (6, 9, 70, 65), (3, 2, 4, 130)]  # T, N, I, H: more than a strip, and no multiple


def kernels(mode: str) -> tuple[Any, Any]:
    """The compiled one, and NumPy's."""
    return flat(mode, "numba"), flat(mode)


def arrays_of(mode: str, shape: Sequence[int], dtype: str, *, sizes: Any = None, bias: bool = True) -> list[Any]:
    steps, batch, width, hidden = shape
    rng = np.random.default_rng(sum(shape))
    rows = GATES[mode] * hidden
    shapes: list[Any] = [(steps, batch, width) if sizes is None else (sum(sizes), width), (batch, hidden)]
    shapes += [(batch, hidden)] * (mode == "lstm")
    shapes += [(rows, width), (rows, hidden)] + [(rows,), (rows,)] * bias
    scale = hidden**-0.5
    arrays: list[Any] = [(rng.standard_normal(s) * (scale if s[0] == rows else 1)).astype(dtype) for s in shapes]
    return arrays if bias else [*arrays, None, None]


def run(kernel: Any, arrays: list[Any], used: Sequence[bool] = (True,) * 4, **options: Any) -> tuple[Any, list[Any]]:
    """The outputs, and the gradients for random cotangents of those outputs that are ``used``."""
    outputs, residual = kernel.forward(*arrays, **options)
    rng = np.random.default_rng(0)
    gs = [rng.standard_normal(y.shape).astype(y.dtype) for y in outputs]
    gs = [g if use else None for g, use in zip(gs, used, strict=False)]
    return outputs, kernel.backward(gs, residual, *arrays, needs=[a is not None for a in arrays] + [False])


def assert_same(ours: Any, theirs: Any, dtype: str) -> None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None or b is not None]
    assert pairs
    for got, expected in pairs:
        assert got.shape == expected.shape and got.dtype == expected.dtype == dtype
        scale = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def check(
    mode: str, shape: Sequence[int], dtype: str, *, bias: bool = True, packed: bool = False, **options: Any
) -> None:
    sizes = PACKED[shape[0], shape[1]] if packed else None
    arrays = arrays_of(mode, shape, dtype, sizes=sizes, bias=bias)
    for used in [(True,) * 4, (True, False, False, False), (False, True, False, False)]:
        (outputs, gradients), (expected, wanted) = (
            run(kernel, arrays, used, sizes=sizes, **options) for kernel in kernels(mode)
        )
        assert_same(outputs, expected, dtype)
        assert_same(gradients[: len(arrays)], wanted[: len(arrays)], dtype)


CASES = [c for c in product(MODES, SHAPES, (False, True), (False, True)) if not c[3] or c[1][:2] in PACKED]


@pytest.mark.parametrize(("mode", "shape", "reverse", "packed"), CASES)
def test_equals_the_numpy_kernel(mode: tuple[str, dict[str, Any]], shape: Any, reverse: bool, packed: bool) -> None:
    name, options = mode
    for dtype, bias in (("float64", True), ("float32", False)):
        check(name, shape, dtype, bias=bias, packed=packed, reverse=reverse, **options)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", GATES)
def test_two_threads_give_the_same(two_threads: None, mode: str, packed: bool) -> None:
    for reverse in (False, True):
        check(mode, (6, 9, 70, 65), "float64", packed=packed, reverse=reverse)


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("mode", GATES)
def test_large_weights_are_multiplied_as_suits_the_blas(
    two_threads: None, mode: str, unpacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (products, schedule):
        monkeypatch.setattr(module, "NEAR", 0)
        monkeypatch.setattr(module, "multiplies_unpacked", lambda: unpacked)
    monkeypatch.setattr(schedule, "ROWS_WHERE_FAR", 4)
    check(mode, (6, 9, 70, 65), "float64")
    check(mode, (6, 9, 70, 65), "float32", packed=True, reverse=True)
    check(mode, (20, 9, 70, 201), "float64")  # more than a piece of the gradient each way


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("mode", GATES)
def test_one_thread_multiplies_as_suits_the_blas(mode: str, unpacked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (products, schedule):
        monkeypatch.setattr(module, "multiplies_unpacked", lambda: unpacked)
    check(mode, (6, 9, 70, 65), "float64")  # step by step
    check(mode, (7, 3, 2, 5), "float64", reverse=True)  # all steps at once
    check(mode, (7, 3, 2, 5), "float32", packed=True)
    arrays = arrays_of(mode, (0, 2, 3, 4), "float64")
    (_, gradients), (_, wanted) = (run(kernel, arrays) for kernel in kernels(mode))
    assert_same(gradients[: len(arrays)], wanted[: len(arrays)], "float64")


@pytest.mark.parametrize("mode", GATES)
def test_without_openblas_plain_loops_do_the_work(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "gemm_address", lambda dtype: 0)
    check(mode, (6, 9, 70, 65), "float64")
    check(mode, (6, 9, 70, 65), "float32", packed=True, reverse=True)


@pytest.mark.parametrize("mode", GATES)
def test_many_rows_and_a_deep_weight_are_cut_into_small_products(mode: str) -> None:
    check(mode, (2, 70, 3, 300), "float32")


@pytest.mark.parametrize("mode", GATES)
def test_what_is_not_needed_is_not_computed_and_the_rest_is_unchanged(mode: str) -> None:
    kernel, _ = kernels(mode)
    arrays = arrays_of(mode, (5, 2, 3, 4), "float64")
    copies = [a.copy() for a in arrays]
    outputs, residual = kernel.forward(*arrays)
    gs = [np.ones_like(y) for y in outputs]
    kept = [y.copy() for y in outputs]
    everything = kernel.backward(gs, residual, *arrays, needs=[True] * 8)
    for position in range(len(arrays)):
        needs = [k == position for k in range(8)]
        alone = kernel.backward(gs, residual, *arrays, needs=needs)  # the residual serves any number of times
        assert [g is not None for g in alone[: len(arrays)]] == needs[: len(arrays)]
        np.testing.assert_array_equal(alone[position], everything[position])
    for a, before in zip([*arrays, *outputs], [*copies, *kept], strict=True):
        np.testing.assert_array_equal(a, before)
    for first, second in combinations([*everything[: len(arrays)], *gs, *outputs], 2):
        assert not np.shares_memory(first, second)


@pytest.mark.parametrize("mode", GATES)
def test_arrays_of_any_layout_give_the_same(mode: str) -> None:
    kernel, _ = kernels(mode)
    arrays = arrays_of(mode, (5, 2, 3, 4), "float32")
    others = [np.asfortranarray(a) for a in arrays]
    for a in others:
        a.flags.writeable = False
    _, expected = run(kernel, arrays)
    _, got = run(kernel, others)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("shape", [(5, 0, 3, 4), (0, 2, 3, 4)])
def test_nothing_gives_empty_results_and_zero_gradients(mode: str, shape: Any) -> None:
    kernel, reference = kernels(mode)
    arrays = arrays_of(mode, shape, "float64")
    outputs, gradients = run(kernel, arrays)
    expected, wanted = run(reference, arrays)
    for got, want in zip([*outputs, *gradients[: len(arrays)]], [*expected, *wanted[: len(arrays)]], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("mode", GATES)
@pytest.mark.parametrize("save", [False, True])
def test_a_run_that_saves_nothing_gives_the_same_outputs(mode: str, save: bool) -> None:
    kernel, reference = kernels(mode)
    arrays = arrays_of(mode, (7, 3, 2, 5), "float64")
    outputs, residual = kernel.forward(*arrays, save=save)
    assert (residual is not None) == save
    assert_same(outputs, reference.forward(*arrays, save=False)[0], "float64")


@pytest.mark.parametrize("mode", GATES)
def test_nan_reaches_what_depends_on_it_and_nothing_else(mode: str) -> None:
    kernel, reference = kernels(mode)
    arrays = arrays_of(mode, (4, 2, 3, 5), "float32")
    arrays[0][2, 1, 0] = np.nan
    for nonlinearity in ("tanh", "relu") if mode == "rnn" else (None,):
        options = {"nonlinearity": nonlinearity} if nonlinearity else {}
        outputs, gradients = run(kernel, arrays, **options)
        with np.errstate(invalid="ignore"):
            expected, wanted = run(reference, arrays, **options)
        assert np.isnan(outputs[0]).any() and np.isfinite(outputs[0]).any()
        for got, want in zip([*outputs, *gradients[: len(arrays)]], [*expected, *wanted[: len(arrays)]], strict=True):
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@pytest.mark.parametrize("mode", GATES)
def test_saturated_units_stay_finite(mode: str) -> None:
    arrays = arrays_of(mode, (3, 2, 3, 4), "float32")
    arrays[0] *= 1e4
    (outputs, gradients), (expected, wanted) = (run(kernel, arrays) for kernel in kernels(mode))
    assert all(np.isfinite(a).all() for a in [*outputs, *gradients[: len(arrays)]])
    assert_same(outputs, expected, "float32")
    for got, want in zip(gradients[: len(arrays)], wanted[: len(arrays)], strict=True):  # differences of equal numbers
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, float(np.abs(want).max())) * 1e4)


@pytest.mark.parametrize(("mode", "options"), [("lstm", {}), ("gru", {}), ("rnn", {"nonlinearity": "tanh"})])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("entries", ["one number", "one row", "rows that differ"])
def test_one_row_stands_for_a_gradient_that_repeats_it(
    mode: str, options: dict[str, Any], packed: bool, entries: str
) -> None:
    shape = (7, 3, 2, 5)
    sizes = PACKED[shape[:2]] if packed else None
    arrays = arrays_of(mode, shape, "float64", sizes=sizes)
    kernel, _ = kernels(mode)
    outputs, residual = kernel.forward(*arrays, sizes=sizes, **options)
    y = outputs[0]
    row = np.random.default_rng(0).standard_normal(y.shape[-1])
    if entries == "rows that differ":  # in every axis but one
        dy = np.broadcast_to(np.arange(1.0, 1 + y.shape[0]).reshape(-1, *[1] * (y.ndim - 1)), y.shape)
    else:
        dy = np.broadcast_to(row if entries == "one row" else row[0], y.shape)
    assert any(dy.strides[:-1]) == (entries == "rows that differ")
    rest, needs = [None] * (len(outputs) - 1), [True] * len(arrays) + [False]
    got = kernel.backward([dy, *rest], residual, *arrays, needs=needs)
    expected = kernel.backward([dy.copy(), *rest], residual, *arrays, needs=needs)
    assert np.abs(expected[0]).max() > 0.01
    for a, b in zip(got, expected, strict=True):
        assert (a is None and b is None) or np.array_equal(a, b)
