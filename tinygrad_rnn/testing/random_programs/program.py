"""Random straight-line programs over the registry of primitives: whole tapes as test cases.

A program is a list of steps, each of which applies one primitive to earlier values.  While it is drawn it also runs, on
plain arrays, so that every step is valid: shapes fit, values stay finite and moderate, and no argument is near a kink,
a tie or a pole.  A failing program shrinks to the few steps that matter and prints as Python.

    @given(programs())
    def test_gradients(program):
        assert_program(program)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from ...autograd.localise import first_wrong
from ...autograd.numeric import Problem, to_host
from ...tape.grad import grad
from ...tape.primitive import REGISTRY
from ...tape.tensor import Tensor, wrap
from ..close import CheckFailed
from ..gradients import GradientReport
from ..strategies import arrays, shapes
from .complex_forms import analytic
from .moves import MOVES, Move

__all__ = ["Program", "Step", "assert_program", "programs"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours

LARGEST = 30.0  # the largest absolute value of an entry
ENTRIES = 48  # the largest number of entries of one value
# So small that its square vanishes beside 1, and no subtraction cancels: the derivative is exact to rounding.
COMPLEX_STEP = 1e-30


class Step(NamedTuple):
    """One application of a primitive.

    Attributes:
        name: the primitive.
        args: numbers of earlier values; inputs come first.
        params: keyword parameters.
    """

    name: str
    args: tuple[int, ...]
    params: dict[str, Any]


class Program:
    """Inputs and steps; callable on tensors or arrays in place of the inputs.

    Attributes:
        inputs: float64 arrays.
        steps: in order; step k computes value ``len(inputs) + k``.
    """

    def __init__(self, inputs: Sequence[Any], steps: Sequence[Step]) -> None:
        self.inputs, self.steps = tuple(inputs), tuple(steps)

    def tensors(self) -> list[Tensor]:
        """The inputs as tensors that require grad."""
        # Copies, because a primitive that writes in place must not change the program that is printed.
        return [wrap(a.copy()).requires_grad_() for a in self.inputs]

    def values(self, *inputs: Any) -> list[Any]:
        """All values, the inputs first: tensors by the primitives, complex arrays by the complex forms."""
        found = list(inputs)
        for step in self.steps:
            args = [found[k] for k in step.args]
            # Tensors go through the primitives whose vjps are tested, complex arrays through formulas that share
            # nothing with them.
            if not isinstance(args[0], Tensor) and any(np.iscomplexobj(a) for a in args):
                found.append(np.asarray(analytic(step.name, args, step.params)))
            else:
                y = REGISTRY[step.name].apply(*args, **step.params)
                found.append(y if isinstance(y, Tensor) else np.asarray(y))
        return found

    @property
    def outputs(self) -> list[int]:
        """The numbers of the values that no step uses."""
        used = {k for step in self.steps for k in step.args}
        return [k for k in range(len(self.inputs) + len(self.steps)) if k not in used]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        found = self.values(*inputs)
        return tuple(found[k] for k in self.outputs)

    def __repr__(self) -> str:
        """The program as Python, with ``tg.`` understood."""
        lines = [f"v{k} = tensor({_literal(a)}, dtype=float64, requires_grad=True)" for k, a in enumerate(self.inputs)]
        for k, step in enumerate(self.steps):
            params = [f"{name}={_literal(value)}" for name, value in step.params.items()]
            arguments = ", ".join([*(f"v{j}" for j in step.args), *params])
            lines.append(f"v{len(self.inputs) + k} = {step.name}({arguments})")
        return "\n".join([f"Program of {len(self.steps)} steps", *lines, f"outputs: {self.outputs}"])


def _literal(value: Any) -> str:
    return f"array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)


@st.composite
def programs(
    draw: Any,
    /,
    max_steps: int = 30,
    max_inputs: int = 3,
    only: Sequence[str] | None = None,
    shape: st.SearchStrategy[tuple[int, ...]] | None = None,
) -> Program:
    """Random programs.

    Args:
        max_steps, max_inputs: how large they may grow.
        only: names of primitives to use; by default all that have a move (see ``moves``).
        shape: a strategy of the inputs' shapes; by default up to two axes of up to three entries.
    """
    names = [name for name in (MOVES if only is None else only) if name in REGISTRY]
    inputs = [
        draw(arrays(shapes(0, 2, 1, 3) if shape is None else shape)) for _ in range(draw(st.integers(1, max_inputs)))
    ]
    values = list(inputs)
    steps: list[Step] = []
    while len(steps) < max_steps:
        more, step = draw(_turns(names, values))
        if not more:
            break
        if step is None:
            continue
        with np.errstate(all="ignore"):
            y = np.asarray(REGISTRY[step.name].apply(*[values[k] for k in step.args], **step.params))
        # Large, infinite or nan values would drown the errors that are looked for.
        if 0 < y.size <= ENTRIES and np.isfinite(y).all() and np.abs(y).max() <= LARGEST:
            steps.append(step)
            values.append(y)
    return Program(inputs, steps)


@st.composite
def _turns(draw: Any, /, names: Sequence[str], values: Sequence[Any]) -> tuple[bool, Step | None]:
    """Whether to continue, and with which step.  One draw holds both, so that shrinking can remove whole steps."""
    if draw(st.integers(0, 39)) == 0:
        return False, None
    name = draw(st.sampled_from(names))
    return True, _propose(draw, name, MOVES[name], values)


def _propose(draw: Any, name: str, move: Move, values: Sequence[Any]) -> Step | None:
    """A step with one primitive, or None if no values fit it."""
    chosen: list[int] = []
    for position in range(move.arity if isinstance(move.arity, int) else draw(st.integers(*move.arity))):
        fitting = [k for k, v in enumerate(values) if move.fits(position, v, [values[j] for j in chosen])]
        if not fitting:
            return None
        chosen.append(fitting[-1 - draw(st.integers(0, len(fitting) - 1))])  # shrinks towards the latest value
    args = [values[k] for k in chosen]
    params = move.params(draw, args)
    return None if params is None or not move.allowed(args, params) else Step(name, tuple(chosen), params)


def assert_program(program: Program, *, rtol: float = 1e-9, seed: int = 0) -> GradientReport:
    """Assert that the gradients of a program are right: against complex steps through independent formulas.

    The derivative ``<v, J u>`` along random directions is exact to rounding, so that errors of 1e-9 are detected.

    Raises:
        CheckFailed: with the program, and the first step that is wrong.
    """
    rng = np.random.default_rng(seed)
    leaves = program.tensors()
    outputs = program(*leaves)
    vs = [rng.standard_normal(y.shape) for y in outputs]
    live = [(y, wrap(v)) for y, v in zip(outputs, vs, strict=True) if y.requires_grad]
    pulled = grad([y for y, _ in live], leaves, [v for _, v in live], allow_unused=True)
    worst = signal = 0.0
    for position, (leaf, g) in enumerate(zip(leaves, pulled, strict=True)):
        u = rng.standard_normal(leaf.shape)
        moved = [
            a + 1j * COMPLEX_STEP * u if k == position else a.astype(complex) for k, a in enumerate(program.inputs)
        ]
        with np.errstate(all="ignore"):
            steps = [np.imag(y) / COMPLEX_STEP for y in program(*moved)]
        numerical = float(sum((v * d).sum() for v, d in zip(vs, steps, strict=True)))
        terms = np.zeros(leaf.shape) if g is None else to_host(g._data) * u
        size = float(np.abs(terms).sum()) + sum(float(np.abs(v * d).sum()) for v, d in zip(vs, steps, strict=True))
        gap = abs(float(terms.sum()) - numerical)
        # Negated, so that a nan fails.
        if not gap <= rtol * size + 1e-13:
            suspect = first_wrong(Problem(program, program.tensors())) or "each step is right by itself"
            raise CheckFailed(
                f"a program has a wrong gradient for input {position}: along a random direction analytical "
                f"{float(terms.sum()):.15g}, exact {numerical:.15g}\n{suspect}\n{program!r}"
            )
        # Below 1e-6 gap and size both consist of rounding.
        worst, signal = max(worst, gap / size if size > 1e-6 else 0.0), max(signal, size)
    return GradientReport(worst, signal)
