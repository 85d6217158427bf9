"""Sequences by the kernel of a compiled cell and by its step, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tests.ops.compiler.cells import CELLS, Cell
from tests.ops.compiler.test_program import compiled
from tinygrad_rnn.backend import to_numpy
from tinygrad_rnn.kernels.recurrent.cuda.cell_layer import CellLayer
from tinygrad_rnn.kernels.recurrent.interface import Cotangents, Kernel, Needs, Options
from tinygrad_rnn.ops.compiler import numba_host, numpy_host
from tinygrad_rnn.ops.compiler.cuda_kernel import CellKernel, generate
from tinygrad_rnn.ops.compiler.program import Program
from tinygrad_rnn.ops.compiler.text_kernel import CellKernel as TextKernel
from tinygrad_rnn.tape.modes import within

__all__ = ["MODES", "RESTORABLE", "ROWS", "SOME", "STEPS", "check", "compare", "composed", "differences", "given"]
__all__ += ["numba_kernel", "numpy_kernel"]

STEPS, ROWS = 5, 4
SOME = ["lstm", "gru_with_the_reset_before_the_product", "lstm_with_peepholes", "states_of_two_widths", "LayerNorm"]
SOME += ["lstm with zoneout", "gru with recurrent dropout", "lstm_with_gates", "lstm_that_emits_its_cells"]
SOME += ["lstm_with_projection_that_emits", "masks_in_products_and_sums"]
RESTORABLE = ["rnn", "rnn_with_relu", "ind_rnn", "softmax_over_units", "leaky_integrator", "frozen_parameters"]
RESTORABLE += ["constants", "a_function_with_a_gradient_of_its_own", "rnn_with_gates", "RNNCell"]
"""Cells whose one state is all that the way back reads of the forward run."""
MODES = {
    "forward": Options(cells=True),
    "reverse": Options(cells=True, reverse=True),
    "packed": Options(cells=True, sizes=(4, 4, 3, 1)),
    "packed, reverse": Options(cells=True, sizes=(4, 2, 2, 1), reverse=True),
}


def numba_kernel(program: Program, generated: Any = None) -> TextKernel:
    """The kernel that Numba compiles, of the text that is generated or of another."""
    return TextKernel(program, generated or numba_host.generate(program))


def numpy_kernel(program: Program, generated: Any = None) -> TextKernel:
    """The kernel in NumPy's calls."""
    return TextKernel(program, generated or numpy_host.generate(program))


def composed(c: Cell, x: Any, states: Any, options: Options, gs: Any, ends: Any) -> tuple[list[Any], ...]:
    """The series (each state, then what is emitted) and the final states of a sequence run step by step, and gradients.

    Args:
        gs, ends: cotangents of the series (S, K), and of the final states.
    """
    x = tg.tensor(x, requires_grad=True)
    first = [tg.tensor(s, requires_grad=True) for s in states]
    sizes = options.sizes or (len(first[0]),) * len(x)
    starts = np.cumsum([0, *sizes])
    rows = x if options.sizes else x.reshape(-1, x.shape[-1])
    order = range(len(sizes))[:: -1 if options.reverse else 1]
    now = list(first)
    after: dict[int, Any] = {}
    for t in order:
        n, here = sizes[t], slice(int(starts[t]), int(starts[t + 1]))
        masks = [m.reshape(-1, m.shape[-1])[here] for m in options.step_masks] + [m[:n] for m in options.sequence_masks]
        new = c.step(rows[here], tuple([s[:n] for s in now]), *map(tg.tensor, masks))
        after[t] = new = (new,) if isinstance(new, tg.Tensor) else tuple(new)
        now = [a if n == len(s) else tg.cat([a, s[n:]], 0) for a, s in zip(new, now, strict=False)]
    series = [tg.cat([after[t][k] for t in range(len(sizes))], 0) for k in range(len(gs))]
    loss = sum((a * tg.tensor(g)).sum() for a, g in zip([*series, *now], [*gs, *ends], strict=True))
    leaves = [x, *first, *[p for p in c.parameters.values() if p.requires_grad]]
    found = tg.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=False)
    return [a.detach().numpy() for a in [*series, *now]], [None if g is None else g.numpy() for g in found]


def compare(
    c: Cell,
    program: Program,
    kernel: Any,
    size: int,
    options: Options,
    *,
    to: Callable[[Any], Any] = lambda a: a,
    back: Callable[[Any], Any] = lambda a: a,
    tolerance: float = 1e-12,
    steps: int = STEPS,
    batch: int = ROWS,
) -> None:
    """Outputs and all gradients of a kernel against those of the step, in float64.

    Args:
        to, back: from host arrays to those of the kernel, and back.
    """
    random = np.random.default_rng(1)
    rows = sum(options.sizes or (batch,) * steps)
    x = random.normal(size=(rows, size) if options.sizes else (steps, batch, size))
    states = tuple([random.normal(size=(batch, w)) for w in c.widths])
    gs = [random.normal(size=(rows, w)) for w in (*c.widths, *c.emitted)]
    # of series that are not asked for the gradient is nought
    count = len(c.widths)
    asked = [k for k in range(len(gs)) if options.cells or k == 0 or k >= count]
    gs = [g if k in asked else np.zeros_like(g) for k, g in enumerate(gs)]
    of_steps, of_sequences = c.masks(random, rows, batch)
    of_steps = [m.reshape(*x.shape[:-1], m.shape[1]) for m in of_steps]
    options = options._replace(step_masks=tuple(of_steps), sequence_masks=tuple(of_sequences))
    ends = [random.normal(size=(batch, w)) for w in c.widths]
    masks = [tuple(map(to, some)) for some in (options.step_masks, options.sequence_masks)]
    given = options._replace(step_masks=masks[0], sequence_masks=masks[1])
    expected, gradients = composed(c, x, states, options, gs, ends)

    def run() -> tuple[Any, Any, dict[str, Any]]:
        matrices, vectors = program.prelude.run(c.parameters)
        weights = tuple([to(t._data) for t in (*matrices, *vectors)])
        arguments = to(x), tuple(map(to, states)), weights, given
        result = kernel.forward(*arguments)
        dys = tuple([to(g.reshape(y.shape)) for g, y in zip([gs[k] for k in asked], result.series, strict=True)])
        needs = Needs(True, (True,) * len(states), (True,) * len(weights))
        cotangents = Cotangents(dys, tuple(map(to, ends)))
        found = kernel.backward(*arguments, result.residual, cotangents, needs)
        outputs = [*matrices, *vectors]
        of_weights = [tg.tensor(back(g)) for g in found.weights]
        pairs = [(t, g) for t, g in zip(outputs, of_weights, strict=True) if t.requires_grad]
        names = [k for k, p in c.parameters.items() if p.requires_grad]
        of: list[Any] = [None] * len(names)
        if pairs:
            ts, ds = zip(*pairs, strict=True)
            of = list(tg.autograd.grad(ts, [c.parameters[k] for k in names], ds, allow_unused=True))
        return result, found, dict(zip(names, of, strict=True))

    result, found, of_parameters = within(True, run)
    expected = [*[expected[k] for k in asked], *expected[len(gs) :]]
    for one, other in zip([*result.series, *result.states], expected, strict=True):
        np.testing.assert_allclose(back(one).reshape(other.shape), other, rtol=tolerance, atol=tolerance)
    ours = [back(g) for g in (found.x, *found.states)]
    ours += [None if g is None else g.numpy() for g in of_parameters.values()]
    names = ["x", *[f"state {k}" for k in range(len(states))], *of_parameters]
    for what, one, other in zip(names, ours, gradients, strict=True):
        if other is None:
            assert one is None or not one.any(), what
        else:
            scale = max(1.0, np.abs(other).max())
            one = np.zeros_like(other) if one is None else one
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def compare_on(
    xp: Any,
    name: str,
    options: Options,
    dtype: str,
    sizes: tuple[int, int],
    tolerance: float,
    *,
    by_steps: bool = False,
    steps: int = STEPS,
    batch: int = ROWS,
) -> None:
    """The CUDA kernels of a cell against its step, with arrays of CuPy or of its double.

    Args:
        sizes: I and H.
        by_steps: not by kernels of whole sequences, where there are any.
    """
    c = CELLS[name](*sizes)
    for p in c.parameters.values():  # many large weights would make every rounding grow from step to step
        p._data[...] *= min(1.0, 2 / sizes[1] ** 0.5)
    program = compiled(c, sizes[0])
    found = generate(program)
    kernel = CellLayer(found.steps, "asked for") if by_steps else CellKernel(program, found)

    def to(a: Any) -> Any:
        return xp.asarray(np.array(a, "bool" if a.dtype == bool else dtype))

    def back(a: Any) -> Any:
        assert str(a.dtype) == dtype
        return to_numpy(a).astype("float64")

    compare(c, program, kernel, sizes[0], options, to=to, back=back, tolerance=tolerance, steps=steps, batch=batch)


def given(c: Cell, program: Program) -> tuple[Any, ...]:
    """The weights of a call: what the prelude makes of the parameters."""
    return tuple([t._data for ts in within(False, program.prelude.run, c.parameters) for t in ts])


def check(make: Callable[[Program], Kernel[Any]], c: Cell, size: int, options: Options, *, batch: int = ROWS) -> None:
    """Compare the kernel of a cell's program with the step."""
    program = compiled(c, size)
    compare(c, program, make(program), size, options, batch=batch)


def differences(
    make: Callable[[Program], Kernel[Any]], name: str, size: int, hidden: int, options: Options, *, batch: int = ROWS
) -> None:
    """The same for a cell of the list."""
    check(make, CELLS[name](size, hidden), size, options, batch=batch)
