"""Kernels of a program whose host is text that Python runs, Numba's and NumPy's: called like every recurrent kernel.

Their text comes from :mod:`.numba_host` or :mod:`.numpy_host`; what it leaves open, sizes and numbers, is here.
:class:`CellKernel` has the weights that the program reads, and :class:`StandardKernel` those of RNN, GRU and LSTM.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError
from ...kernels.recurrent.interface import Cotangents, Gradients, Needs, Options, Run, Weights
from ...tape.tensor import wrap
from ...typing import Array
from .compiled import compile_program
from .generated_modules import load
from .host_text import Generated
from .program import Program
from .units import OPERATIONS, Expr, walk

__all__ = ["CellKernel", "StandardKernel"]

INPUT, HIDDEN, PROJECTED = 3, 5, 7
"""Sizes that stand for all others."""

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""Those of the fields of ``Weights`` in the equations."""


class CellKernel:
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.  Where the residual
    follows from the states, the kernel has the method ``restore`` of
    :class:`~tinygrad_rnn.kernels.recurrent.interface.Restoring`.

    Args:
        program: of the cell.
        generated: its text, and what that leaves open.

    Attributes:
        widths, numbers: those that the text leaves open.
    """

    def __init__(self, program: Program, generated: Generated) -> None:
        self.program, self.text = program, generated
        self.module: Any = load(generated.text)
        self.widths, self.numbers = generated.widths, generated.numbers
        self._masked = bool(program.step_masks or program.sequence_masks)
        self._arrays: dict[str, tuple[Array, ...]] = {}
        if generated.restorable:
            self.restore = self._restore

    def resized(self, widths: tuple[int, ...]) -> CellKernel:
        """The kernel of a cell of other sizes with the same text and the same numbers."""
        found = copy.copy(self)
        found.widths, found._arrays = widths, {}
        if self.text.restorable:
            found.restore = found._restore
        return found

    # for the text ------------------------------------------------------------------------------------------------

    def arrays(self, dtype: Any) -> tuple[Array, ...]:
        """For compiled code: the widths and the numbers that the text leaves open, and what stands for no array.

        That is an empty array of one axis, and one of two: compiled code looks at the length.
        """
        found = self._arrays.get(dtype.char)  # a dtype takes longer to look up
        if found is None:
            nothing = np.empty(0, dtype), np.empty((0, 0), dtype)
            found = np.array(self.widths, np.int64), np.array(self.numbers, dtype), *nothing
            self._arrays[dtype.char] = found
        return found

    def masks(self, visits: Any, options: Options, dtype: Any) -> list[Array]:
        """The masks of a call, as rows.

        Args:
            visits: with the attributes ``rows`` and ``batch``.

        Raises:
            ArgumentError: they are not those that the cell was compiled for.
        """
        program = self.program
        asked, given = (*program.step_masks, *program.sequence_masks), (*options.step_masks, *options.sequence_masks)
        if len(options.step_masks) != len(program.step_masks) or len(asked) != len(given):
            raise ArgumentError(
                f"the cell has {len(program.step_masks)} masks of a step and {len(program.sequence_masks)} of a "
                f"sequence, got {len(options.step_masks)} and {len(options.sequence_masks)}"
            )
        found = []
        for k, (mask, a) in enumerate(zip(asked, given, strict=True)):
            rows = visits.rows if k < len(program.step_masks) else visits.batch
            kind = np.dtype(bool) if mask.boolean else dtype
            if a.dtype != kind or a.shape[-1] != mask.width or a.size != rows * mask.width:
                raise ArgumentError(
                    f"mask {k} must have {rows} rows of {mask.width} columns, and be {kind}; got {a.dtype} {a.shape}"
                )
            found.append(a.reshape(rows, mask.width))
        return found

    def constant(self, number: int, vectors: Sequence[Array], xp: Any, dtype: Any) -> Array:
        """An expression of vectors alone, (1, W)."""
        values: dict[int, Any] = {}
        root: Expr = self.text.constants[number]
        for e in walk([root]):
            args = [values[a.number] for a in e.args]
            if e.op == "number":
                values[e.number] = e.at[0]
            elif e.op == "vector":
                values[e.number] = vectors[e.at[0]][None, e.at[1] : e.at[1] + max(e.width, 1)]
            elif e.op == "spread":
                values[e.number] = xp.empty((1, e.width), dtype)
                values[e.number][...] = args[0]
            elif e.op == "rowsum":
                values[e.number] = sum([a.sum(-1, keepdims=True) for a in args])
            elif e.op == "rowmax":
                values[e.number] = functools.reduce(np.maximum, [a.max(-1, keepdims=True) for a in args])
            else:
                values[e.number] = OPERATIONS[e.op](*args)
        found: Array = values[root.number]
        return found

    # runs --------------------------------------------------------------------------------------------------------

    def forward(self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options) -> Run:
        """One direction; the series are the first state, or with ``cells`` each, and then what is emitted."""
        if (options.step_masks or options.sequence_masks) and not self._masked:
            self.masks(None, options, x.dtype)  # raises
        run: Run = self.module.run_forward(self, x, states, weights, options)
        return run

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: tuple[Array, ...],
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients; those of the weights in the order of the weights."""
        run = self.module.run_backward
        found: Gradients = run(self, x, states, weights, options, residual, cotangents, needs)
        return found

    def _restore(
        self, x: Array, states: tuple[Array, ...], weights: tuple[Array, ...], options: Options, y: Array
    ) -> Any:
        return self.module.run_restore(self, x, states, weights, options, y)


class _Form(NamedTuple):
    """A cell with certain weights and a certain function."""

    kernel: CellKernel  # for the sizes above
    places: tuple[int, ...]  # of its weights in ``Weights``


class _Sized(NamedTuple):
    """A form of a cell with certain sizes."""

    kernel: CellKernel
    chosen: Callable[[tuple[Any, ...]], tuple[Any, ...]]  # of the fields of ``Weights`` the kernel's, in its order
    placed: Callable[[tuple[Any, ...]], tuple[Any, ...]]  # of its gradients, and then None, those of the fields


class StandardKernel:
    """A kernel of RNN, GRU or LSTM; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    It takes and gives :class:`~tinygrad_rnn.kernels.recurrent.interface.Weights`, some of which may be absent.  A text
    has no sizes, and in these equations no number is one.  So a form of a cell (with which weights, with which
    function) is traced and lowered once in a process, at sizes that stand for all others.

    Time of Numba's over that of NumPy's, of an LSTM that projects H to H / 2 (one thread, float32, forward and
    backward), for T, N, H:

        32, 8, 32: 0.28      64, 32, 64: 0.62      64, 32, 256: 0.86      1000, 1, 32: 0.09

    Args:
        equations: a step, such as :func:`~tinygrad_rnn.ops.recurrent.cells.lstm_cell`.
        states: how many the cell has.
        gates: blocks of rows of its weights.
        backend: ``"numba"`` or ``"numpy"``.

    A plain RNN has the method ``restore``, too.

    Raises:
        ArgumentError: at a call, a weight has a shape that does not go with those of input and states.
    """

    def __init__(self, equations: Callable[..., Any], states: int, gates: int, backend: str) -> None:
        self.equations, self.states, self.gates, self.backend = equations, states, gates, backend
        usual = (True, True, True, True, False), "tanh"
        self._forms = {usual: self._made(*usual)}
        self._sized: dict[Any, _Sized] = {}  # by function and shapes
        if self._forms[usual].kernel.text.restorable:
            self.restore = self._restore

    def _made(self, given: tuple[bool, ...], nonlinearity: str) -> _Form:
        """The form with the weights that are ``given``."""
        small = PROJECTED if given[4] else HIDDEN
        random = np.random.default_rng(0)
        weights = {
            name: wrap(random.uniform(-0.5, 0.5, shape)).requires_grad_()
            for name, shape, there in zip(NAMES, self._shapes(INPUT, HIDDEN, small), given, strict=True)
            if there
        }
        more = {} if nonlinearity == "tanh" else {"nonlinearity": nonlinearity}
        step = functools.partial(self.equations, **weights, **more)
        widths = [small, HIDDEN][-self.states :]
        found = compile_program(lambda x, s: step(x, *s), INPUT, widths, weights, dtype=np.float64)
        kernel: Any = found.kernel(self.backend)
        prelude = found.program.prelude
        places = tuple([NAMES.index(v.name) for v in (*prelude.matrices, *prelude.vectors)])
        assert {INPUT, HIDDEN, PROJECTED}.issuperset(kernel.widths) and not kernel.text.numbers
        return _Form(kernel, places)

    def _of(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> _Sized:
        """The kernel for arrays of these shapes."""
        # all shapes: compiled loops do not look whether an index is within an array
        shapes = (
            options.nonlinearity,
            x.shape[-1],
            states[-1].shape[1],
            states[0].shape[1],
            *[None if w is None else w.shape for w in weights],
        )
        return self._sized.get(shapes) or self._sized.setdefault(shapes, self._resized(weights, *shapes[:4]))

    def _resized(self, weights: Weights, nonlinearity: str, size: int, hidden: int, small: int) -> _Sized:
        """The kernel for these weights, for input and states of these sizes."""
        _, _, b_ih, b_hh, w_hr = weights
        key = (True, True, b_ih is not None, b_hh is not None, w_hr is not None), nonlinearity
        form = self._forms.get(key) or self._forms.setdefault(key, self._made(*key))
        self._check((size, hidden, small), weights)
        of = {INPUT: size, HIDDEN: hidden, PROJECTED: small}
        kernel = form.kernel.resized(tuple([of[n] for n in form.kernel.widths]))
        count = len(form.places)
        back = [form.places.index(k) if k in form.places else count for k in range(len(NAMES))]
        return _Sized(kernel, itemgetter(*form.places), itemgetter(*back))

    def _check(self, sizes: tuple[int, int, int], weights: Weights) -> None:
        """Whether the weights have the shapes that input and states ask for."""
        for name, w, shape in zip(NAMES, weights, self._shapes(*sizes), strict=True):
            if w is not None and w.shape != shape:
                raise ArgumentError(
                    f"{name} must be {shape} for an input of {sizes[0]} columns and states of {sizes[2]}, got {w.shape}"
                )

    def _shapes(self, size: int, hidden: int, small: int) -> tuple[tuple[int, ...], ...]:
        """Those of the weights."""
        rows = self.gates * hidden
        return (rows, size), (rows, small), (rows,), (rows,), (small, hidden)

    def forward(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options) -> Run:
        """One direction; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
        found = self._of(x, states, weights, options)
        series, finals, left = found.kernel.forward(x, states, found.chosen(weights), options)
        return Run(series, finals, None if left is None else (found, left))

    def backward(
        self,
        x: Array,
        states: tuple[Array, ...],
        weights: Weights,
        options: Options,
        residual: Any,
        cotangents: Cotangents,
        needs: Needs,
    ) -> Gradients:
        """Its gradients; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`."""
        (kernel, chosen, placed), left = residual
        wanted = Needs(needs.x, needs.states, chosen(needs.weights))
        dx, d_states, found = kernel.backward(x, states, chosen(weights), options, left, cotangents, wanted)
        return Gradients(dx, d_states, placed((*found, None)))

    def _restore(self, x: Array, states: tuple[Array, ...], weights: Weights, options: Options, y: Array) -> Any:
        found = self._of(x, states, weights, options)
        return found, found.kernel.restore(x, states, found.chosen(weights), options, y)
