"""Whether an answer is right, and if not, which mistake it makes, where, and by how much.

An answer is tried at all cases of its exercise.  If it is wrong, its results are compared with those of every mistake
that is known, then with simple changes of the right result: another sign, a factor, transposed, turned round in time.
What is said names the mistake and shows one entry; the solution is never shown.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import TinygradRnnError
from ...tape.observe.pictures import notebooks
from ...tape.tensor import Tensor
from ...viz.markup import tag
from .exercise import Answer, Exercise

__all__ = ["RTOL", "Unreadable", "Verdict", "judge", "unreadable_file"]

RTOL = 1e-9
"""Entries are equal that differ by no more than this, relative to the entry or to a hundredth of the largest one."""
SHOWN = 6
"""Arguments with no more numbers than this are shown as they are, larger ones by their shape."""

Arrays = tuple[np.ndarray[Any, Any], ...]
Outcome = Arrays | type[Exception]
"""What an answer makes of a case: results, or what it raises."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        exercise: the name of the exercise.
        passed: whether the answer is right in every case.
        headline: the finding in a few words.
        mistake: the name of the known mistake that the answer makes, or None.
        details: more lines, such as where and by how much.
        begun: whether there is an answer at all.
    """

    exercise: str
    passed: bool
    headline: str
    mistake: str | None = None
    details: tuple[str, ...] = ()
    begun: bool = True

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        state = "right" if self.passed else "not yet"
        return "\n".join([f"{self.exercise}: {state}, {self.headline}.", *(f"    {line}" for line in self.details)])

    __repr__ = __str__

    def _repr_html_(self) -> str | None:
        if not notebooks.html:
            return None
        mark = "\N{CHECK MARK}" if self.passed else "\N{BALLOT X}"
        return str(tag("pre", f"{mark} {self}", style="white-space:pre-wrap;background:none"))


class Unreadable(TinygradRnnError, ValueError):
    """An answer returned what cannot be compared; the message says what was expected."""


def judge(exercise: Exercise, answer: Answer) -> Verdict:
    """Try an answer at all cases.

    Args:
        exercise: whose answer it is.
        answer: the function that the learner wrote.

    Returns:
        the finding; what the answer raises is part of it.
    """
    cases = exercise.drawn()
    rights = [_tried(exercise, exercise.solution, case) for case in cases]
    given: list[Arrays] = []
    for number, case in enumerate(cases, 1):
        kept = copy.deepcopy(case)
        place = f"case {number} of {len(cases)}: {_arguments(exercise, kept)}"
        try:
            given.append(_tried(exercise, answer, case))
        except NotImplementedError as error:
            if "your turn" in str(error):
                return Verdict(exercise.name, False, f"nothing is written in {exercise.function} yet", begun=False)
            return _raised(exercise, error, place)
        except Unreadable as error:
            return Verdict(exercise.name, False, str(error), details=(place,))
        except Exception as error:
            return _stopped(exercise, cases[:number], rights, given, error, place)
        changed = [k for k, (a, b) in enumerate(zip(kept, case, strict=True)) if not _same_argument(a, b)]
        if changed:
            name = list(_names(exercise, case))[changed[0]]
            said = f"it writes into its argument `{name}`, which its caller goes on using"
            what = "make a new array, or work on a copy"
            return Verdict(exercise.name, False, said, "writes into its arguments", (place, what))
    if all(map(_agree, given, rights)):
        return Verdict(exercise.name, True, f"all {len(cases)} cases agree")
    return _explained(exercise, cases, rights, given)


def _stopped(
    exercise: Exercise, cases: Sequence[Any], rights: list[Arrays], given: list[Arrays], error: Exception, place: str
) -> Verdict:
    """What is wrong with an answer that raises in the last of these cases: its mistake, if one is known that does."""
    for mistake in exercise.mistakes:
        found = _of_mistake(exercise, mistake.function, cases)
        if found[-1] is type(error) and all(map(_same, found, given)):
            return Verdict(exercise.name, False, mistake.name, mistake.name, (mistake.said, *_error(error), place))
    if all(map(_agree, given, rights)):
        return _raised(exercise, error, place)
    verdict = _explained(exercise, cases[:-1], rights[: len(given)], given)
    return dataclasses.replace(verdict, details=(*verdict.details, *_error(error), place))


def _explained(exercise: Exercise, cases: Sequence[Any], rights: list[Arrays], given: list[Arrays]) -> Verdict:
    """What is wrong with results that are not all right."""
    wrong = [k for k in range(len(given)) if not _agree(given[k], rights[k])]
    name, said = _named(exercise, cases, rights, given)
    details = [said] if said else []
    k = wrong[0]
    output = next(i for i in range(len(rights[k])) if not _close(given[k][i], rights[k][i]))
    mine, right = given[k][output], rights[k][output]
    good = [label for i, label in enumerate(exercise.returns) if i not in _wrong_outputs(rights, given)]
    if good:
        details.append(f"right already: {', '.join(good)}")
    if len(wrong) < len(cases):
        details.append(f"{len(wrong)} of {len(cases)} cases are wrong")
    details.append(f"case {k + 1}: {_arguments(exercise, cases[k])}")
    label = exercise.returns[output]
    if mine.shape != right.shape:
        details.append(f"{label}: yours has shape {mine.shape}, right is {right.shape}")
    else:
        index = _worst(mine, right)
        place = f"{label}[{', '.join(map(str, index))}]" if index else label
        details.append(f"worst at {place}: yours {mine[index]:.6g}, right {right[index]:.6g}")
    return Verdict(exercise.name, False, name or "none of the mistakes that are known by name", name, tuple(details))


def _named(
    exercise: Exercise, cases: Sequence[Any], rights: list[Arrays], given: list[Arrays]
) -> tuple[str | None, str | None]:
    """The name of the mistake that explains the results, and a sentence on it."""
    known = [(m, _of_mistake(exercise, m.function, cases)) for m in exercise.mistakes]
    for mistake, found in known:
        if all(map(_same, found, given)):
            return mistake.name, mistake.said
    several = len(exercise.returns) > 1
    for output in _wrong_outputs(rights, given):
        label = exercise.returns[output]
        mine = [g[output] for g in given]
        for mistake, found in known:
            theirs = [None if isinstance(f, type) else f[output] for f in found]
            differs = any(t is not None and not _close(t, r[output]) for t, r in zip(theirs, rights, strict=True))
            if differs and all(t is not None and _close(t, m) for t, m in zip(theirs, mine, strict=True)):
                return mistake.name, f"in {label}: {mistake.said}"
        changed = _changed(mine, [r[output] for r in rights])
        if changed:
            return changed, f"in {label}" if several else None
        for mistake, found in known:
            theirs = [np.nan * m if isinstance(f, type) else f[output] for f, m in zip(found, mine, strict=True)]
            factor = _factor(mine, theirs)
            if factor is not None:
                return f"{mistake.name}, and besides it has another {_of_factor(factor)}", f"in {label}: {mistake.said}"
    return _nearest(known, rights, given)


def _nearest(known: Sequence[Any], rights: list[Arrays], given: list[Arrays]) -> tuple[str | None, str | None]:
    """The mistake that explains most of the wrong cases, if it is at least half of them."""
    wrong = [k for k in range(len(given)) if not _agree(given[k], rights[k])]
    best, most = None, 0
    for mistake, found in known:
        explained = sum(_same(found[k], given[k]) for k in wrong)
        if explained > most:
            best, most = mistake, explained
    if best is None or 2 * most < len(wrong):
        return None, None
    return best.name, f"in {most} of the {len(wrong)} wrong cases: {best.said}"


def _changed(mine: list[Any], right: list[Any]) -> str | None:
    """The simple change of the right results that gives these, in words."""
    factor = _factor(mine, right)
    if factor is not None:
        return f"it is right but for its {_of_factor(factor)}" if factor else "it is zero everywhere"
    finite = [m for m in mine if not np.isfinite(m).all()]
    if finite and all(_close(m, r) for m, r in zip(mine, right, strict=True) if np.isfinite(m).all()):
        return "it overflows: some entries are nan or infinite, and the rest is right"
    changes: dict[str, Callable[[Any], Any]] = {
        "it is transposed": lambda a: a.T,
        "it is turned round: the first time step stands last": lambda a: a[::-1],
    }
    for name, change in changes.items():
        turned = [change(r) if r.ndim else r for r in right]
        if all(_close(m, t) for m, t in zip(mine, turned, strict=True)):
            return name
    near = all(_close(m, r, 1e-3) for m, r in zip(mine, right, strict=True))
    return "it is close, but not exact: a finite difference, or float32" if near else None


def _factor(mine: list[Any], right: list[Any]) -> float | None:
    """The number by which all the right results are to be multiplied to give these; None if there is none."""
    if any(m.shape != r.shape for m, r in zip(mine, right, strict=True)):
        return None
    a, b = (np.concatenate([np.ravel(x) for x in each]) for each in (mine, right))
    if not (np.isfinite(a).all() and np.isfinite(b).all() and b.any()):
        return None
    factor = float(a @ b / (b @ b))
    factor = 0.0 if not a.any() else factor
    return factor if all(_close(m, factor * r) for m, r in zip(mine, right, strict=True)) else None


def _of_factor(factor: float) -> str:
    return "sign" if abs(factor + 1) < RTOL else f"factor: it is {factor:.6g} times what it should be"


def _of_mistake(exercise: Exercise, function: Answer, cases: Sequence[Any]) -> list[Outcome]:
    """What a mistake makes of every case."""
    found: list[Outcome] = []
    for case in cases:
        try:
            found.append(_tried(exercise, function, copy.deepcopy(case)))
        except Exception as error:
            found.append(type(error))
    return found


def _same(outcome: Outcome, results: Arrays) -> bool:
    """Whether a mistake gives these results."""
    return not isinstance(outcome, type) and _agree(outcome, results)


def _tried(exercise: Exercise, answer: Answer, case: tuple[Any, ...]) -> Arrays:
    """The results of an answer as float64 arrays."""
    with np.errstate(all="ignore"):  # the results are looked at
        returned = exercise.tried(answer, case)
    names = exercise.returns
    expected = names[0] if len(names) == 1 else f"({', '.join(names)})"
    if returned is None or returned is Ellipsis:
        raise Unreadable(f"it returns {returned}: return {expected}")
    parts = (returned,) if len(names) == 1 else returned
    if not isinstance(parts, (tuple, list)) or len(parts) != len(names):
        got = f"{len(parts)} things" if isinstance(parts, (tuple, list)) else type(parts).__name__
        raise Unreadable(f"it returns {got}: return {expected}")
    arrays = []
    for name, part in zip(names, parts, strict=True):
        part = part.detach().numpy() if isinstance(part, Tensor) else part
        try:
            array = np.array(part)
            if array.dtype.kind not in "fiub":
                raise ValueError
        except ValueError:
            raise Unreadable(f"what stands for {name} is no array of real numbers but {_kind(part)}") from None
        arrays.append(array.astype(np.float64))
    return tuple(arrays)


def _kind(part: Any) -> str:
    return f"one of {part.dtype}" if isinstance(part, np.ndarray) else f"a {type(part).__name__}"


def _raised(exercise: Exercise, error: Exception, place: str) -> Verdict:
    """An answer that raised: the error, and the learner's own line."""
    first, *more = _error(error)
    return Verdict(exercise.name, False, first, None, (*more, place))


def _error(error: BaseException) -> list[str]:
    """An error in one line, and the learner's line."""
    return [f"{type(error).__name__}: {error}", *_line_of(error)]


def unreadable_file(exercise: Exercise, problem: str, error: BaseException | None = None) -> Verdict:
    """The finding on a file in which there is no answer that could be called."""
    return Verdict(exercise.name, False, problem, None, () if error is None else tuple(_line_of(error)))


def _line_of(error: BaseException) -> list[str]:
    """The last line of the learner's own file on the way to an error; none if it is not there."""
    frames = traceback.extract_tb(error.__traceback__)
    package = os.path.dirname(os.path.abspath(__file__))
    own = [f for f in frames if not os.path.abspath(f.filename).startswith(package + os.sep)]
    mine = [f for f in own if f.filename == own[0].filename]  # and not of what it calls in a library
    return [f"line {mine[-1].lineno}: {mine[-1].line}".rstrip(": ")] if mine else []


def _agree(a: Arrays, b: Arrays) -> bool:
    return all(_close(x, y) for x, y in zip(a, b, strict=True))


def _wrong_outputs(rights: list[Arrays], given: list[Arrays]) -> list[int]:
    """The places of the results that are wrong in some case."""
    pairs = list(zip(given, rights, strict=True))
    return [i for i in range(len(rights[0])) if not all(_close(g[i], r[i]) for g, r in pairs)]


def _close(a: Any, b: Any, rtol: float = RTOL) -> bool:
    """Whether two arrays have one shape and equal entries; nan equals nan."""
    if a.shape != b.shape:
        return False
    with np.errstate(all="ignore"):
        finite = np.abs(b[np.isfinite(b)])
        floor = rtol * 1e-2 * (finite.max() if finite.size else 0.0) + 1e-14
        return bool(np.allclose(a, b, rtol=rtol, atol=floor, equal_nan=True))


def _worst(a: Any, b: Any) -> tuple[int, ...]:
    """Where two arrays of one shape differ most."""
    with np.errstate(all="ignore"):
        difference = np.abs(a - b)
    difference = np.where(np.isfinite(a) == np.isfinite(b), difference, np.inf)
    return tuple(int(i) for i in np.unravel_index(np.nanargmax(difference), difference.shape))


def _same_argument(before: Any, after: Any) -> bool:
    if isinstance(before, (tuple, list)):
        return len(before) == len(after) and all(map(_same_argument, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same_argument(before[k], after[k]) for k in before)
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and bool(np.array_equal(before, after, equal_nan=before.dtype.kind == "f"))
    return True  # of objects with values of their own, exercises say themselves what may change


def _names(exercise: Exercise, case: tuple[Any, ...]) -> Iterator[str]:
    names = exercise.solution.__code__.co_varnames[: exercise.solution.__code__.co_argcount]
    for k in range(len(case)):
        yield names[k] if k < len(names) else f"argument {k + 1}"


def _arguments(exercise: Exercise, case: tuple[Any, ...]) -> str:
    """The arguments of a case in one line."""
    return ", ".join(f"{name} = {_short(value)}" for name, value in zip(_names(exercise, case), case, strict=True))


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.size <= SHOWN:
            return np.array2string(value, precision=4, separator=", ").replace("\n", "")
        return f"array of shape {value.shape}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_short, value))}]" if len(value) <= SHOWN else f"{len(value)} things"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
