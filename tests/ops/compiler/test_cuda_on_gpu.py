"""Compiled cells on a GPU against their steps in float64: what no emulation can tell.

A fallback to other kernels would warn, and warnings are errors in tests: what passes here has run as it was meant to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.compiler.cells import CELLS
from tests.ops.compiler.sequences import compare_on
from tests.ops.compiler.test_cuda import GROWING, PERSISTENT, SCANNED, STEPWISE
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.backend.gpu.cupy_access import module
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Needs, Options
from tinygrad_rnn.ops.compiler.cuda_kernel import CellKernel, generate

pytestmark = pytest.mark.gpu

TOLERANCES = {"float32": 5e-5, "float64": 1e-11}
"""Of the largest entry; float32 over some tens of steps."""

PACKED = tuple(sorted((20 * (9 - n) // 9 for n in range(9)), reverse=True))
RUNS = {
    "equal": (Options(cells=True), 20, 9),
    "packed, reverse": (
        Options(cells=True, reverse=True, sizes=tuple(sum(n > t for n in PACKED) for t in range(20))),
        20,
        9,
    ),
}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", [name for name in CELLS if name not in GROWING])
def test_every_cell_is_its_step(name: str, dtype: str) -> None:
    for options, steps, batch in RUNS.values():
        for by_steps in (False, True):
            compare_on(
                module(), name, options, dtype, (17, 40), TOLERANCES[dtype], by_steps=by_steps, steps=steps, batch=batch
            )


@pytest.mark.parametrize("hidden", [64, 100, 256, 300, 512])
@pytest.mark.parametrize("name", [*PERSISTENT, *SCANNED, *STEPWISE])
def test_large_cells_are_their_steps(name: str, hidden: int) -> None:
    for options, steps, batch in RUNS.values():
        compare_on(module(), name, options, "float32", (33, hidden), TOLERANCES["float32"], steps=steps, batch=batch)


@pytest.mark.parametrize("hidden", [64, 256, 512])
@pytest.mark.parametrize("name", ["lstm_with_peepholes", "gru", "lstm with zoneout", "LayerNorm", "sru"])
def test_repeated_runs_agree_to_the_bit(name: str, hidden: int) -> None:
    """An error that moves between runs is a race."""
    cupy = module()
    c = CELLS[name](8, hidden)
    program = compiled(c, 8)
    kernel = CellKernel(program, generate(program))
    random = np.random.default_rng(0)

    def there(a: Any) -> Any:
        return cupy.asarray(a.astype("float32") if a.dtype != bool else a)

    of_prelude = [t._data * (2 / hidden**0.5) for some in program.prelude.run(c.parameters) for t in some]
    weights = tuple(map(there, of_prelude))
    x, dy = there(random.normal(size=(300, 16, 8))), there(random.normal(size=(300, 16, hidden)))
    states = tuple([there(random.normal(size=(16, w))) for w in c.widths])
    of_steps, of_sequences = c.masks(random, 300 * 16, 16)
    of_steps = [m.reshape(300, 16, -1) for m in of_steps]
    options = Options(step_masks=tuple(map(there, of_steps)), sequence_masks=tuple(map(there, of_sequences)))
    needs = Needs(True, (True,) * len(states), (True,) * len(weights))

    def run() -> list[Any]:
        result = kernel.forward(x, states, weights, options)
        cotangents = Cotangents((dy,), (None,) * len(states))
        found = kernel.backward(x, states, weights, options, result.residual, cotangents, needs)
        return [a.get() for a in (*result.series, *result.states, found.x, *found.states, *found.weights)]

    first = run()
    for _ in range(10):
        for a, b in zip(first, run(), strict=True):
            np.testing.assert_array_equal(a, b)
