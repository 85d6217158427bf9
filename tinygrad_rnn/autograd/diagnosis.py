"""What is wrong with a gradient: the worst entry, the slopes beside it, and the first bad operation on the tape.

A mismatch between analytical and numerical Jacobian has few causes, and each leaves a trace that can be measured:

* a kink: the slopes on both sides differ however small the step; no gradient can agree with the symmetric difference;
* a wrong vjp: there is an operation on the tape whose vjp disagrees with finite differences of its own forward.
  Every record is checked alone, at the values that it saw, and the first bad one is named;
* a gradient cut off: every operation is right by itself, so values left the tape (``detach``, ``.data``, raw arrays).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend.quiet import unreported
from ..errors import TinygradRnnError
from ..tape.observe.pictures import html_of
from ..tape.tensor import Tensor, wrap
from .localise import TOLERANCE, Suspect, input_names, search
from .numeric import Problem
from .one_sided import Slopes, slopes

__all__ = ["GradcheckError", "Jacobians", "Mismatch", "explain"]

__tracebackhide__ = True  # pytest shows the line that called us, not ours


@dataclass(frozen=True)
class Mismatch:
    """What ``gradcheck`` found.

    Attributes:
        output, input: which output and which input, by number.
        output_name, place: the same in words: ``output 0`` and ``input 1``, or ``output[1][0]`` in a container.
        input_name: the parameter's or argument's name, or None.
        output_index, input_index: multi-indices of the worst entry.
        numerical, analytical: the derivative there, both ways.
        absolute, relative: the error there; relative to the numerical value.
        wrong, entries: how many entries of this Jacobian are wrong, and how many it has.
        pattern: what all wrong entries have in common, or None.
        slopes: the one-sided derivatives there.
        suspect: the first operation on the tape that is wrong by itself, or None.
        analytical_jacobian, numerical_jacobian, wrong_entries: all of it, ``(input entries, output entries)``.
        coarse: the type of the input where it is too coarse for differences, or None.
        unchecked: names of the operations that could not be checked by themselves.
        output_shape, input_shape: of the output and the input.
    """

    output: int
    input: int
    output_name: str
    place: str
    input_name: str | None
    output_index: tuple[int, ...]
    input_index: tuple[int, ...]
    numerical: float
    analytical: float
    absolute: float
    relative: float
    wrong: int
    entries: int
    pattern: str | None
    slopes: Slopes
    suspect: Suspect | None
    analytical_jacobian: Any
    numerical_jacobian: Any
    wrong_entries: Any
    coarse: str | None = None
    unchecked: tuple[str, ...] = ()
    output_shape: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        name = f" '{self.input_name}'" if self.input_name else ""
        by = f"{_entry(self.output_name, '', self.output_index)} by {_entry(self.place, name, self.input_index)}"
        lines = [
            f"worst entry: {by}",
            f"    numerical  {self.numerical:.12g}",
            f"    analytical {self.analytical:.12g}",
            f"    error      {self.absolute:.3g} absolute, {self.relative:.3g} relative; "
            f"{self.wrong} of {self.entries} entries are wrong",
        ]
        if self.pattern:
            lines.append(f"    {self.pattern}")
        if self.coarse:
            lines.append(COARSE.format(self.coarse))
        lines.append(str(self.slopes))
        if self.suspect:
            lines.append(str(self.suspect))
        elif self.unchecked:
            lines.append(UNCHECKED.format(", ".join(sorted(set(self.unchecked)))))
        else:
            lines.append(CLEAN)
        return "\n".join(lines)

    def _repr_html_(self) -> str | None:
        return html_of("jacobians", "mismatch", str(self), self)


COARSE = (
    "precision: the input is {}, of which a difference leaves few digits, and what follows is to be doubted as much as "
    "the numerical value: check in float64 first"
)
CLEAN = (
    "tape: every recorded operation is right by itself, so values left the tape on the way: look for detach(), .data, "
    "no_grad(), numpy(), or a constant computed from the inputs"
)
UNCHECKED = (
    "tape: the recorded operations that can be run by themselves are right, and {} cannot: look there first, and then "
    "for detach(), .data, no_grad(), numpy(), or a constant computed from the inputs"
)


class GradcheckError(TinygradRnnError, RuntimeError):
    """A gradient failed its check.

    Attributes:
        mismatch: the findings, or None where no entry is to blame.

    >>> import tinygrad_rnn as tg
    >>> class Wrong(tg.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return 2 * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return 3 * g
    >>> x = tg.ones(1, dtype=tg.float64, requires_grad=True)
    >>> try:
    ...     tg.autograd.gradcheck(Wrong.apply, [x])
    ... except tg.autograd.GradcheckError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """

    def __init__(self, message: str, mismatch: Mismatch | None = None) -> None:
        super().__init__(message)
        self.mismatch = mismatch

    def _repr_html_(self) -> str | None:
        return html_of("jacobians", "mismatch", str(self), self.mismatch)


class Jacobians:
    """Analytical and numerical Jacobians of all outputs by all wanted inputs, ``(input entries, output entries)``."""

    def __init__(
        self,
        problem: Problem,
        outputs: Sequence[Tensor],
        analytical: Sequence[Sequence[Any]],
        numerical: Sequence[Sequence[Any]],
        atol: float,
        rtol: float,
        names: Sequence[str],
    ) -> None:
        self.problem, self.atol, self.rtol, self.names = problem, atol, rtol, names
        self.shapes = [tuple(y.shape) for y in outputs]
        self._analytical, self._numerical = analytical, numerical

    def pair(self, output: int, order: int) -> tuple[Any, Any]:
        """The analytical and the numerical Jacobian of one output by the wanted input number ``order``."""
        return self._analytical[output][order], self._numerical[order][output]

    @unreported
    def wrong(self, output: int, order: int) -> Any:
        """Which entries disagree, nan counting as wrong."""
        a, n = self.pair(output, order)
        # a == n: the difference of equal infinities is nan
        return ~((np.abs(a - n) <= self.atol + self.rtol * np.abs(n)) | (a == n))

    @unreported
    def excess(self, output: int, order: int) -> Any:
        """How far each entry is beyond the relative tolerance; -inf where it is right."""
        a, n = self.pair(output, order)
        gap = np.abs(a - n) - self.rtol * np.abs(n)
        # a nan is worse than any number
        return np.where(self.wrong(output, order), np.where(np.isnan(gap), np.inf, gap), -np.inf)

    def agree(self, output: int, order: int) -> bool:
        """Whether no entry of the Jacobian is wrong."""
        return not self.wrong(output, order).any()


def explain(table: Jacobians, output: int, order: int, eps: float, tolerance: float | None = None) -> GradcheckError:
    """The error for a Jacobian that disagrees, with all that can be found out about it.

    Args:
        tolerance: the relative error to look for in the operations, by default a tenth of that of the check, and no
            more than 1e-5.
    """
    if tolerance is None:
        # sharper than the check, in which errors of several records add up
        tolerance = min(TOLERANCE, max(0.1 * table.rtol, 1e-9))
    problem = table.problem
    position = problem.wanted[order]
    a, n = table.pair(output, order)
    bad = table.wrong(output, order)
    excess = table.excess(output, order)
    # the entry that is furthest beyond its tolerance, not the largest error
    row, column = (int(k) for k in np.unravel_index(int(np.argmax(excess)), excess.shape))
    shape = tuple(problem.inputs[position].shape)
    # a second run, and only now: records are not kept in a check that passes
    suspect, unchecked = search(problem, tolerance)
    input_index = _multi(row, shape)
    numerical, analytical = float(n[row, column]), float(a[row, column])
    absolute = abs(analytical - numerical)
    mismatch = Mismatch(
        output=output,
        input=position,
        output_name=table.names[output],
        place=problem.input_name(position),
        input_name=input_names(problem)[position],
        output_index=_multi(column, table.shapes[output]),
        input_index=input_index,
        numerical=numerical,
        analytical=analytical,
        absolute=absolute,
        relative=absolute / abs(numerical) if numerical else float("inf"),
        wrong=int(bad.sum()),
        entries=bad.size,
        pattern=_pattern(a[bad], n[bad]),
        slopes=_slopes_at(table, output, position, input_index, column, eps),
        suspect=suspect,
        analytical_jacobian=a,
        numerical_jacobian=n,
        wrong_entries=bad,
        coarse=dtype.name if (dtype := problem.inputs[position].dtype).itemsize < 8 else None,
        unchecked=tuple(unchecked),
        output_shape=table.shapes[output],
        input_shape=shape,
    )
    first = (
        f"Jacobian mismatch for {mismatch.output_name} with respect to {mismatch.place},\n"
        f"numerical:{wrap(n)!r}\nanalytical:{wrap(a)!r}\n"
    )
    return GradcheckError(f"{first}\n{mismatch}", mismatch)


def _slopes_at(table: Jacobians, output: int, position: int, index: tuple[int, ...], column: int, eps: float) -> Slopes:
    direction = np.zeros(table.problem.inputs[position].shape)
    direction[index] = 1.0
    line = table.problem.line(position, direction)
    a, n = table.pair(output, table.problem.wanted.index(position))
    row = int(np.ravel_multi_index(index, direction.shape)) if index else 0  # ravel_multi_index refuses an empty index
    return slopes(
        lambda t: float(line(t)[output].reshape(-1)[column]),
        eps,
        table.atol,
        table.rtol,
        analytical=float(a[row, column]),
        numerical=float(n[row, column]),
    )


def _pattern(a: Any, n: Any) -> str | None:
    """What the wrong entries have in common, if they have: zero, or a constant factor."""
    if not np.isfinite(a).all():  # first: ratios of nan would show no pattern
        return "the analytical gradient is not finite"
    if not a.any():
        return "the analytical gradient is 0 wherever it is wrong: nothing flows back to this input there"
    large = np.abs(n) > 1e-3 * np.abs(n).max(initial=0)  # the ratio of small entries is rounding
    if large.sum() > 1:  # one entry alone has a constant factor always
        ratio = a[large] / n[large]
        factor = float(np.median(ratio))
        if np.abs(ratio - factor).max() < 1e-4 * abs(factor):
            sign = ": a wrong sign" if abs(factor + 1) < 1e-4 else ""
            return f"analytical = {factor:.5g} * numerical in all of them{sign}"
    return None


def _multi(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.unravel_index(flat, shape)) if shape else ()


def _entry(place: str, name: str, index: tuple[int, ...]) -> str:
    """One entry of an output or input: ``input 0 'x'[2]``, ``output[1][0] at [2]``."""
    if not index:
        return place + name
    return f"{place}{name}{' at ' if place.endswith(']') and not name else ''}[{', '.join(map(str, index))}]"
