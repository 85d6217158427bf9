"""Every operation gives PyTorch's value, dtype, gradient and second derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
import tinygrad_rnn.nn
from tests.ops.cases import CASES, Case, evaluate, flat
from tests.support.rows import together

torch: Any = pytest.importorskip("torch")

# Two correctly rounded ways to one number differ by a few units in the last place of the largest term, times the
# number of terms; the largest case has some hundred of them.
RTOL = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 3e-5}

cases = pytest.mark.parametrize("case", CASES, ids=str)


def close(ours: Any, theirs: Any, what: str) -> None:
    expected = theirs.numpy(force=True)
    got = ours.detach().numpy()
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, PyTorch's {expected.shape}"
    assert got.dtype == expected.dtype, f"{what}: dtype {got.dtype}, PyTorch's {expected.dtype}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected, what)
        return
    rtol = RTOL[got.dtype]
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(float(finite.max()) if finite.size else 0.0, 1.0)  # the inputs are of order 1
    np.testing.assert_allclose(got, expected, rtol, rtol * scale, err_msg=what)


def weights(results: list[Any], library: Any, seed: int) -> Any:
    """A weighted sum of all real entries, the same weights for both libraries."""
    rng = np.random.default_rng(seed)
    total = 0
    for y in results:
        c = rng.uniform(0.5, 1.5, tuple(y.shape))
        if "float" in str(y.dtype) and y.requires_grad:
            total = total + (y * library.tensor(c)).sum()
    return total


def derivatives(library: Any, case: Case, arrays: list[np.ndarray]) -> list[tuple[str, Any]]:
    """The value, then the gradients of each order, each named."""
    tensors = [library.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    inputs = [x for x in tensors if x.requires_grad]
    results = flat(evaluate(library, case, tensors))
    found = [(f"output {k}", y) for k, y in enumerate(results)]
    for order in range(1, case.orders + 1):
        total = weights(results, library, order)
        if not inputs or isinstance(total, int) or not total.requires_grad:
            break
        results = library.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
        results = [library.zeros_like(x) if g is None else g for g, x in zip(results, inputs, strict=True)]
        found += [(f"derivative {order} by input {k}", g) for k, g in enumerate(results)]
    return found


@together
@cases
def test_values_and_derivatives_are_pytorchs(case: Case) -> None:
    ours, theirs = (derivatives(library, case, case.inputs()) for library in (tg, torch))
    for k, (what, expected) in enumerate(theirs):
        if k < len(ours):
            close(ours[k][1], expected, f"{case}, {what}")
        else:  # a derivative that is constant 0 here and a computed 0 there
            assert not expected.numpy(force=True).any(), f"{case}: no {what}"


@together
@cases
def test_single_precision_gives_single_precision(case: Case) -> None:
    arrays = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in case.inputs()]
    for (what, ours), (_, theirs) in zip(
        *[derivatives(library, Case(case.expression, case.makes, 0), arrays) for library in (tg, torch)], strict=True
    ):
        close(ours, theirs, f"{case}, {what}")
    tensors = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    results = [y for y in flat(evaluate(tg, case, tensors)) if y.requires_grad]
    if case.orders and results:
        seeds = [tg.ones_like(y) for y in results]
        for grad in tg.autograd.grad(results, tensors_of(tensors), seeds, allow_unused=True):
            assert grad is None or grad.dtype == tg.float32, f"{case}: a gradient in {grad.dtype}"


def tensors_of(tensors: list[Any]) -> list[Any]:
    return [x for x in tensors if x.requires_grad]


@together
@cases
def test_memory_layout_makes_no_difference_and_inputs_stay(case: Case) -> None:
    arrays = case.inputs()
    spread = [np.repeat(a[..., None], 2, -1)[..., 0] if a.size else a for a in arrays]
    backwards = [np.array(a, order="F") for a in arrays]
    expected = derivatives(tg, case, arrays)
    for layout in (spread, backwards):
        if "view(" in case.expression:
            continue  # which refuses to copy
        tensors = [tg.from_numpy(a) for a in layout]
        copies = [a.copy() for a in layout]
        for (what, y), again in zip(expected, flat(evaluate(tg, case, tensors)), strict=False):
            np.testing.assert_allclose(again.numpy(), y.detach().numpy(), 1e-12, 1e-12, err_msg=f"{case}, {what}")
        for a, copy in zip(layout, copies, strict=True):
            np.testing.assert_array_equal(a, copy, f"{case} wrote to its input")


@together
@cases
def test_reading_without_recording_gives_the_same_values(case: Case) -> None:
    arrays = case.inputs()
    recorded = flat(evaluate(tg, case, [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]))
    with tg.no_grad():
        plain = flat(evaluate(tg, case, [tg.tensor(a) for a in arrays]))
    for y, z in zip(recorded, plain, strict=True):
        assert not z.requires_grad
        np.testing.assert_array_equal(y.detach().numpy(), z.numpy())
