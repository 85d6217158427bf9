"""Kernels of a program in NumPy's calls, for machines without Numba and for dtypes that Numba does not take.

What is the same for all cells is here: the order of visits, tables and their views, weights in an order that suits
BLAS, the products before the loop and after it.  These are made as for the kernels that are written by hand
(``kernels/recurrent/numpy``).  The loops themselves come from :mod:`.numpy_text`.

Arrays may also be CuPy's: every call is one of the array module of x.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...backend import aligned_empty, array_module
from ...kernels.recurrent.interface import Cotangents, Gradients, Needs, Options
from ...kernels.recurrent.interface import Run as Result
from ...kernels.recurrent.numpy.products import (
    PackedWeights,
    Projection,
    input_gradient,
    most_rows,
)
from ...kernels.recurrent.numpy.schedule import Blocks, Part, Plan, Trajectory
from ...typing import Array
from .generated_modules import load
from .numpy_layout import Run
from .numpy_text import Generated, generate
from .numpy_weights import Biases, ParameterGradients, joined_weight, weight_of
from .numpy_workspace import Workspace
from .program import Program

__all__ = ["CellKernel", "Residual"]

SPACES, MOST_IDLE = 4, 1 << 22
"""How many workspaces a kernel keeps for its next runs, and the bytes of the largest: in one of long parts, a run takes
so long that new views of it do not matter."""

_lock = threading.RLock()  # of the idle workspaces; no child of a fork finds it locked
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Residual(NamedTuple):
    """What one forward run leaves to its backward run."""

    plan: Plan
    kept: dict[int, Blocks]  # by class
    states: tuple[Trajectory, ...]
    operands: dict[int, Array]  # by group, the computed operands of products


class CellKernel:
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.

    Args:
        program: of the cell.
        generated: its text, if it is there.

    Where all that the way back reads is one state, the kernel has the method ``restore`` of
    :class:`~tinygrad_rnn.kernels.recurrent.interface.Restoring`.

    Raises:
        Unknown: an operation that has no form in calls of NumPy.
    """

    def __init__(self, program: Program, generated: Generated | None = None) -> None:
        self.program = program
        self.text = text = generated or generate(program)
        self.layout = layout = text.layout
        self.module = load(text.text)
        self._idle: list[Workspace] = []
        self._before_loop = [
            (run, layout.source(run.group), self._scales(run), None if run.adds else Biases(layout, run.slots))
            for run in layout.runs_before
        ]
        self._inside = [(run, self._scales(run)) for run in layout.runs]
        self._biased = {
            kind: Biases(
                layout, [j for j in layout.order if (c := layout.slots[j].bias) is not None and c.which == kind]
            )
            for kind in layout.blocks_c
        }
        self._operands = [
            (k, layout.operand_width(k))
            for k, g in enumerate(program.groups)
            if program.products[g.products[0]].source == "computed"
        ]
        self._gradients = ParameterGradients(program, text)
        self._before = text.reads_before | self._gradients.states
        used = [layout.classes[s.kind] for s in layout.slots] or list(program.widths)
        self._size = max(used)
        if len(program.widths) == 1 and not layout.blocks_z and not self._operands:
            self.restore = self._restore

    def _scales(self, run: Run) -> list[float]:
        return [0.5 if self.layout.slots[j].halved else 1.0 for j in run.slots]

    # found once --------------------------------------------------------------------------------------------------

    # at every call -----------------------------------------------------------------------------------------------

    def _split(self, weights: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        count = len(self.program.prelude.matrices)
        return weights[:count], weights[count:]

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Result:
        """One direction; the series are the first state, or with ``cells`` each, and then what is emitted."""
        layout = self.layout
        matrices, vectors = self._split(weights)
        xp, save, rows = array_module(x), options.save, math.prod(x.shape[:-1])
        operands = {k: aligned_empty((rows, width), x) for k, width in self._operands}
        projections, least = [], 1
        for run, source, scales, biases in self._before_loop:
            bias = None if biases is None else biases.of(vectors, xp)
            table = x.reshape(rows, x.shape[-1]) if source.table == "x" else operands[source.which]
            project = Projection(table, [weight_of(parts, matrices) for parts in run.weights], scales, bias)
            projections.append(_adding(project) if run.adds else project)
            least = max(least, project.rows)
        space = self._workspace(x, states[0], options, False, most_rows(self._size, least))
        space.give(x, vectors, options)
        plan = space.plan
        space.given.update({("project", i): project for i, project in enumerate(projections)})
        space.states = hs = tuple(
            [Trajectory(plan, s, "both" if save and k in self._before else "after") for k, s in enumerate(states)]
        )
        for kind, count in layout.blocks_z.items():
            like = xp.empty((0, layout.classes[kind]), x.dtype)
            space.kept[kind] = Blocks(plan, count, like, keep=save or self.text.keeps)
        emitted = [aligned_empty((plan.rows, blocks[-1][1]), x) for blocks in self.program.emitted_blocks]
        space.rows.update({("e", k): table for k, table in operands.items()})
        space.rows.update({("y", k): table for k, table in enumerate(emitted)})
        for run, scales in self._inside:
            blocks = [weight_of(parts, matrices).T for parts in run.weights]
            space.weights(run.number, PackedWeights(blocks, plan.batch, scales, plan.steps), len(blocks) > 1)
        for kind, biases in self._biased.items():
            space.given["biases", kind] = biases.of(vectors, xp)
        for part in space.parts:
            space.begin(part)
            space.call("inputs")
            space.loop("steps")
            space.call("outputs")
        given = [*[h.values for h in (hs if options.cells else hs[:1])], *emitted]
        series = tuple([table.reshape(*x.shape[:-1], table.shape[1]) for table in given])
        residual = Residual(plan, space.kept, hs, operands) if save else None
        self._leave(space)
        return Result(series, tuple([h.final() for h in hs]), residual)

    def _restore(
        self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options, y: Array
    ) -> Residual:
        """The states are all that there is to a residual; see ``Restoring`` in kernels/recurrent/interface.py."""
        plan = Plan.of(x, states[0], options.sizes, options.reverse)
        h = Trajectory(plan, states[0], "both" if self._before else "after")
        h.values[:] = y.reshape(plan.rows, states[0].shape[1])
        if plan.packed:
            for _ in plan.walk(Part(0, plan.steps, slice(0, plan.rows)), (h,), []):
                pass  # the walk itself notes what was before each visit
        return Residual(plan, {}, (h,), {})

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Array, ...],
        options: Options,
        residual: Residual,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients; those of the weights in the order of the weights."""
        text, layout = self.text, self.layout
        matrices, vectors = self._split(weights)
        space = self._workspace(x, states[0], options, True, most_rows(self._size))
        space.give(x, vectors, options)
        plan, xp = space.plan, space.xp
        space.kept, space.states = residual.kept, residual.states
        space.rows.update({("e", k): table for k, table in residual.operands.items()})
        count = len(states) if options.cells else 1
        for k in range(len(states)):
            space.series[k] = plan.terms(cotangents.series[k] if k < count else None)
        for k, (g, bounds) in enumerate(zip(cotangents.series[count:], self.program.emitted_blocks, strict=True)):
            width = bounds[-1][1]
            space.rows["l", k] = xp.zeros((plan.rows, width), x.dtype) if g is None else g.reshape(plan.rows, width)
        space.carried = [
            xp.zeros(s.shape, x.dtype) if g is None else g.copy()
            for s, g in zip(states, cotangents.states, strict=True)
        ]
        for run in space.back_runs:
            if space.one:
                space.given["w", run.number] = joined_weight(run, matrices, xp)
                continue
            blocks = [weight_of(parts, matrices) for parts in run.weights]
            space.weights(run.number, PackedWeights(blocks, plan.batch, products=plan.steps), len(blocks) > 1)
        for run in text.late_runs:
            stacked = xp.stack([weight_of(parts, matrices) for parts in run.weights])
            space.given["back", run.number] = functools.partial(_into_operand, stacked)
        for v in self._gradients.late:
            space.given["totals", v] = xp.zeros(vectors[v].shape, x.dtype)
        dz, gate_major = {}, {}
        for kind, count in layout.blocks_b.items():
            width = layout.classes[kind]
            dz[kind] = aligned_empty((plan.rows, count * width), x)
            gate_major[kind] = dz[kind].reshape(plan.rows, count, width).swapaxes(0, 1)
        dx = aligned_empty((plan.rows, x.shape[-1]), x) if needs.x or text.writes_dx else None
        if dx is not None:
            space.rows["j", 0] = dx
        for part in reversed(space.parts):
            space.begin(part)
            for kind, whole in gate_major.items():
                if len(whole) == 1 or space.one:
                    space.given["b", kind] = whole[:, part.rows]
            space.call("slopes")
            space.loop("steps_back")
            space.call("sums")
            for kind, whole in gate_major.items():
                if len(whole) > 1 and not space.one:
                    whole[:, part.rows] = space.of_part["b", kind][:, : part.size]
        found = Gradients(
            self._of_x(x, dz, matrices, dx) if needs.x else None,
            tuple([d if wanted else None for d, wanted in zip(space.carried, needs.states, strict=True)]),
            (
                *self._gradients.of_matrices(space, dz, matrices, needs.weights[: len(matrices)]),
                *self._gradients.of_vectors(space, dz, needs.weights[len(matrices) :]),
            ),
        )
        self._leave(space)
        return found

    def _workspace(self, x: Array, state: Array, options: Options, back: bool, most: int) -> Workspace:
        """A workspace for a run: one that is idle, or a new one."""
        key = None
        if options.sizes is None:  # other lengths are other views
            key = back, most, options.reverse, x.shape, state.shape, x.dtype.char, array_module(x)
            with _lock:
                for i, space in enumerate(self._idle):
                    if space.key == key:
                        return self._idle.pop(i)
        plan = Plan.of(x, state, options.sizes, options.reverse)
        space = Workspace(self.program, self.text, self.module, plan, x, most, back)
        space.key = key
        return space

    def _leave(self, space: Workspace) -> None:
        """A run is over; the next one may use its workspace."""
        space.begin_run()
        if space.key is not None and space.nbytes <= MOST_IDLE:
            with _lock:
                self._idle.append(space)
                if len(self._idle) > SPACES:
                    del self._idle[0]

    def _of_x(self, x: Array, dz: dict[int, Array], matrices: Sequence[Array], dx: Array | None) -> Array:
        assert dx is not None
        xp, added = array_module(x), self.text.writes_dx
        if not added and not self.text.x_runs:
            dx[:] = 0
        for run in self.text.x_runs:
            width = self.layout.classes[run.kind]
            columns = dz[run.kind][:, run.first * width : (run.first + len(run.slots)) * width]
            w = joined_weight(run, matrices, xp)
            if added:
                dx += columns @ w
            else:
                input_gradient(columns, w, dx)
            added = True
        return dx.reshape(x.shape)


def _adding(project: Projection) -> Callable[[Array, Array], None]:
    """A projection that adds to what is there."""

    def run(x: Array, out: Array) -> None:
        more = array_module(x).empty(out.shape, out.dtype)
        project(x, more)
        out += more

    return run


def _into_operand(weights: Array, dz: Array, out: Array) -> None:
    """``sum_g dz[g] @ weights[g]`` for many rows: (G, n, W), (G, W, K) -> (n, K)."""
    flat = out.reshape(-1, out.shape[-1])
    xp = array_module(dz)
    xp.matmul(dz[0], weights[0], out=flat)
    for g in range(1, len(dz)):
        flat += xp.matmul(dz[g], weights[g])
