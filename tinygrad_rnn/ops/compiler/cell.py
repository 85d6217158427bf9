"""Compiled cells: one step, written as equations, as one record on the tape for a whole sequence.

    compiled = compile_step(step, input_size, widths, parameters, dtype=np.float32)
    (y,), finals = compiled.sequence(x, states, parameters)

The step may do whatever the engine can differentiate, as long as every operation treats each sequence by itself and
each unit by itself, or all units of a row: :mod:`.trace` and :mod:`.program` tell what is refused.

A call computes the prelude on the tape (what depends on parameters alone), then one record: the kernel that
:mod:`~tinygrad_rnn.kernels.recurrent.dispatch` chooses, whose weights are the prelude's matrices and vectors.  Where
the backward pass is itself recorded, the record is replaced by the step as it was traced, unrolled: so every order of
derivative is there.

Shapes: x (T, N, I) or packed (S, I), states (N, H_k), series (T, N, K) or (S, K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...backend.gpu import cupy_access
from ...errors import ArgumentError
from ...kernels.recurrent import dispatch
from ...kernels.recurrent.interface import Kernel, Options
from ...tape.tensor import Tensor, wrap
from ...typing import Array
from ..recurrent.sequence import Record, Segments, Sizes
from ..recurrent.unroll import unroll
from ..shape import unsqueeze
from .compiled import Compiled, compile_program
from .explanation import Explanation, explain
from .program import Program
from .trace import Mask, Step

__all__ = ["CompiledCell", "compile_step"]


class CompiledCell:
    """A cell with generated kernels; made by :func:`compile_step`.

    It is a :class:`~tinygrad_rnn.kernels.recurrent.interface.Cell`, and so chosen for like every other.

    Attributes:
        name: what it is called on the tape.
        states: how many it has.
        program: its step over units.
    """

    def __init__(self, name: str, compiled: Compiled, parameters: Mapping[str, Tensor], dtype: Any) -> None:
        self.name, self.states = name, len(compiled.program.widths)
        self.dtype = np.dtype(dtype)
        self.program: Program = compiled.program
        self._compiled = compiled
        self._parameters = {name: (p._data.shape, p.requires_grad) for name, p in parameters.items()}
        self._record = Record(self, self._composed)

    def __repr__(self) -> str:
        program = self.program
        return f"<compiled cell {self.name}: {program.input_size} -> {', '.join(map(str, program.widths))}>"

    # for those who choose kernels ---------------------------------------------------------------------------------

    def kernel(self, backend: str) -> Kernel[Any]:
        """The generated kernel of a backend; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Cell`."""
        return self._compiled.kernel(backend)

    def refusal(
        self, backend: str, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options
    ) -> str | None:
        """Why it cannot run on a backend, or on this work."""
        if x.dtype != self.dtype:
            return f"the cell was compiled for {self.dtype}, not for {x.dtype}"
        refusals = self._compiled.refusals
        return refusals[backend] if backend in refusals else self._compiled.refusal(backend)

    def compiled_already(self, backend: str, dtype: Any, backward: bool = True) -> bool:
        """Whether its kernel would run at once, because this process or another has compiled it.

        Args:
            backend: ``"numba"``, ``"cuda"`` or ``"numpy"``.
            dtype: of x.
            backward: and not only forward.
        """
        return self._compiled.compiled_already(backend, dtype, backward)

    def fits(self, parameters: Mapping[str, Tensor]) -> bool:
        """Whether it can run with these parameters; if not, the step must be compiled again.

        Names and shapes must be those that it was compiled with, and a parameter that required no grad then has no
        gradient now.  That it does not require grad any more is no obstacle.
        """
        if parameters.keys() != self._parameters.keys():
            return False
        for name, (shape, gradient) in self._parameters.items():
            p = parameters[name]
            if p._data.shape != shape or p._data.dtype != self.dtype or (p.requires_grad and not gradient):
                return False
        return True

    # running ------------------------------------------------------------------------------------------------------

    def sequence(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        *,
        sizes: Sizes = None,
        reverse: bool = False,
        segments: Segments = None,
        stacked: bool = False,
        cells: bool = False,
        step_masks: Sequence[Any] = (),
        sequence_masks: Sequence[Any] = (),
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The step over a sequence: ``(series, finals)``.

        Args:
            x: (T, N, I), or packed (S, I).
            states: the initial ones, (N, H_k) each.
            parameters: by name, as at :func:`compile_step`.
            sizes: of packed rows, how many sequences run at each step.
            reverse: read from the end.
            segments: see :mod:`~tinygrad_rnn.kernels.recurrent.checkpointing`.
            stacked: give the final states as (1, N, H_k).
            cells: give every state after each step, and not only the first.
            step_masks: in the layout of x, of the dtype of x or bool, tensors or arrays.
            sequence_masks: (N, K) each.

        Returns:
            ``series``: state 0 after each step, with ``cells`` all others too, then what the step emits; ``finals``:
            the states after the last step of each sequence.

        Raises:
            ArgumentError: a shape is wrong, or the parameters are not those that the step was compiled with.
            KernelUnavailable: no kernel does this work.
        """
        # compiled loops do not look whether an index is within an array
        if not self.fits(parameters):
            raise ArgumentError(
                f"{self.name} was compiled with parameters of other names, shapes or dtypes, or for which no gradient "
                f"was wanted: compile the step again. It has {', '.join(self._parameters) or 'none'}"
            )
        self._check(x._data.shape, [s._data.shape for s in states], sizes)
        matrices, vectors = self.program.prelude.run(parameters)
        masks: list[Any] = []
        if step_masks or sequence_masks:
            masks = [
                "tanh",
                *[tuple([getattr(m, "_data", m) for m in given]) for given in (step_masks, sequence_masks)],
            ]
        args = (x, *states, *matrices, *vectors)
        results = self._record(args, sizes, reverse, segments, stacked, cells, *masks)
        split = 1 + self.states
        return (results[0], *results[split:]), tuple(results[1:split])

    def _check(self, x: tuple[int, ...], states: list[tuple[int, ...]], sizes: Sizes) -> None:
        """That input and states have the shapes that the program and they themselves ask for."""
        size, widths = self.program.input_size, self.program.widths
        if sizes is None:
            rows = x[1] if len(x) == 3 else -1
            expected = f"(T, N, {size})"
        else:
            fits = len(x) == 2 and sum(sizes) == x[0] and all(a >= b for a, b in pairwise([*sizes, 1]))
            rows = states[0][0] if fits and sizes and states and sizes[0] <= states[0][0] else -1
            expected = f"({sum(sizes)}, {size}) for the sizes {tuple(sizes)}, which must not grow"
        if x[-1:] != (size,) or states != [(rows, w) for w in widths]:
            raise ArgumentError(
                f"{self.name}: expected x {expected} and states {', '.join(f'(N, {w})' for w in widths)}; got x {x} "
                f"and states {', '.join(map(str, states)) or 'none'}"
            )

    def _composed(
        self, x: Any, *others: Any, options: Options, segments: Segments = None, stacked: bool = False
    ) -> tuple[Any, ...]:
        """The step as it was traced, every one on the tape; in one segment, whatever is asked for."""
        count, program = self.states, self.program
        x, *rest = [a if isinstance(a, Tensor) else wrap(a) for a in (x, *others)]
        states, weights = tuple(rest[:count]), rest[count:]
        split = len(program.prelude.matrices)

        def step(x_t: Tensor, states: tuple[Tensor, ...], *masks: Tensor) -> tuple[Tensor, ...]:
            return program.reference.run(x_t, states, weights[:split], weights[split:], masks)

        emitted = range(count, count + len(program.emitted))
        series, finals = unroll(
            step,
            x,
            states,
            sizes=options.sizes,
            reverse=options.reverse,
            emit=(*range(count if options.cells else 1), *emitted),
            step_masks=[wrap(mask) for mask in options.step_masks],
            sequence_masks=[wrap(mask) for mask in options.sequence_masks],
        )
        if stacked:
            finals = tuple([unsqueeze(state, 0) for state in finals])
        return (series[0], *finals, *series[1:])

    # seeing -------------------------------------------------------------------------------------------------------

    def explanation(self) -> Explanation:
        """What became of the step, as data."""
        refusals = {backend: self._unavailable(backend) for backend in dispatch.KERNELS}
        remarks = {backend: self._compiled.remark(backend) for backend in dispatch.KERNELS}
        return explain(self.name, self.program, refusals, remarks)

    def _unavailable(self, backend: str) -> str | None:
        """Why it cannot run on a backend, on this machine."""
        reason = self._compiled.refusal(backend)
        if reason is not None:
            return reason
        if backend == "numba":
            return None if dispatch.numba_installed() else "Numba is not installed"
        return cupy_access.unavailable_reason() if backend == "cuda" else None

    def explain(self) -> str:
        """What became of the step, to be read.

        >>> import tinygrad_rnn as tg
        >>> w = tg.ones(5, 5, requires_grad=True)
        >>> cell = compile_step(lambda x, s: tg.tanh(x + s[0] @ w), 5, (5,), {"w": w}, dtype="float32")
        >>> print(cell.explain().partition("with products")[0].rstrip())
        cell: x of 5 columns, 1 state of 5 columns
          in the loop, at every step
            state 0 @ w: 5 -> 5 columns
            1 pass over the units
            columns computed: add 5, tanh 5
          kept for the backward pass, for each step of each sequence
            columns kept: nothing but states
        """
        return str(self.explanation())

    def text(self, backend: str) -> str:
        """The generated text of its kernel for ``"numba"``, ``"cuda"`` or ``"numpy"``.

        Raises:
            ArgumentError: there is no such backend.
            KernelUnavailable: no kernel is generated for it; the reason.
        """
        if backend not in dispatch.KERNELS:
            raise ArgumentError(f"expected one of {', '.join(dispatch.KERNELS)}, got {backend!r}")
        return self._compiled.text(backend)


def compile_step(
    step: Step,
    input_size: int,
    widths: Sequence[int],
    parameters: Mapping[str, Tensor],
    *,
    dtype: Any,
    emitted: int = 0,
    step_masks: Sequence[Mask | int] = (),
    sequence_masks: Sequence[Mask | int] = (),
    name: str = "cell",
) -> CompiledCell:
    """Compile one step of a cell.

    Nothing is compiled to machine code yet: the kernel of a backend is made when it is first chosen, and by Numba
    compiled when it first runs.

    Args:
        step: ``step(x, states, *masks) -> (*states, *emitted)`` for x (N, I), states (N, H_k) and masks (N, K), each a
            Tensor; of the masks, those of a step come first.  A single state may be given without a tuple.
        input_size: I.
        widths: H_k, one for each state.
        parameters: by name, all tensors that the step reads and that may have other values at the next call.
        dtype: of x and the states, as of the parameters.
        emitted: how many values the step gives beside its states.
        step_masks, sequence_masks: the masks that have other values at each step, and those that do not: their widths,
            or :class:`~tinygrad_rnn.ops.compiler.trace.Mask`.
        name: what it is to be called on the tape.

    Raises:
        Refused: the step does what cannot be compiled: the reason, and the line.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([[0.5]], requires_grad=True)
    >>> cell = compile_step(lambda x, s: x + s[0] @ w, 1, (1,), {"w": w}, dtype="float32", name="leaky")
    >>> (y,), (last,) = cell.sequence(tg.ones(3, 1, 1), (tg.zeros(1, 1),), {"w": w})
    >>> y.flatten()
    tensor([1.0000, 1.5000, 1.7500], grad_fn=<ReshapeBackward0>)
    >>> last
    tensor([[1.7500]], grad_fn=<LeakyBackward0>)
    """
    compiled = compile_program(
        step,
        input_size,
        widths,
        parameters,
        dtype=dtype,
        emitted=emitted,
        step_masks=step_masks,
        sequence_masks=sequence_masks,
    )
    return CompiledCell(name, compiled, parameters, dtype)
