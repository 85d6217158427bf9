"""Exercises: a text, a function to be written, cases to try it at, and the mistakes that are known by name.

An exercise is a solution.  Beside it stand the cases, and *mistakes*: functions that do what people do who are wrong in
one way.  An answer that does the same as one of them, in every case, has made that mistake.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["Exercise", "Mistake", "exercise"]

Answer = Callable[..., Any]
Cases = Callable[[np.random.Generator], Iterable[tuple[Any, ...]]]
UNWRITTEN = 'raise NotImplementedError("your turn")'


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A way to be wrong that is known.

    Attributes:
        name: in a few words, as a statement about the answer: "the cotangent is missing".
        function: does what an answer with this mistake does.
    """

    name: str
    function: Answer

    @property
    def said(self) -> str:
        """What the learner is told: the docstring of the function, which says what is wrong and not what is right."""
        return " ".join((inspect.getdoc(self.function) or "").split())


class Exercise:
    """One exercise of the course; :func:`exercise` makes it of a solution.

    Attributes:
        solution: a right answer; its name, parameters and docstring are what the learner starts with.
        number: from 1 to 30.
        unit: from 1 to 6.
        title: a few words.
        returns: the names of what an answer returns, one or several.
        hints: three, each of which says more than the one before.
        given: functions that the learner gets written, and the solution uses.
        mistakes: the known ones.
    """

    def __init__(
        self,
        solution: Answer,
        number: int,
        title: str,
        *,
        unit: int,
        returns: Sequence[str],
        hints: Sequence[str],
        given: Sequence[Answer] = (),
    ) -> None:
        self.solution, self.number, self.title = solution, number, title
        self.unit, self.returns, self.hints, self.given = unit, tuple(returns), tuple(hints), tuple(given)
        self.mistakes: list[Mistake] = []
        self._cases: Cases | None = None
        self._observe: Callable[..., Any] | None = None
        self._begin: Answer | None = None

    @property
    def name(self) -> str:
        """As ``course check tanh`` names it: that of its file, ``x03_tanh.py``."""
        return self.solution.__module__.rpartition(".")[2].partition("_")[2].replace("_", "-")

    @property
    def function(self) -> str:
        """The name of the function that is to be written."""
        return self.solution.__name__

    @property
    def text(self) -> str:
        """What the learner reads, in Markdown; the first line is the task in one sentence."""
        return inspect.getdoc(inspect.getmodule(self.solution)) or ""

    @property
    def starter(self) -> str:
        """The code that the learner begins with: what is given, and the function without its body."""
        body = f"    {UNWRITTEN}" if self._begin is None else _body(self._begin)
        functions = [_function(each, _body(each)) for each in self.given] + [_function(self.solution, body)]
        return "\n\n\n".join(["import numpy as np", *functions]) + "\n"

    def cases(self, function: Cases) -> Cases:
        """Make a function the one that draws the cases: each a tuple of arguments, from small to large."""
        self._cases = function
        return function

    def observed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function the one that tries an answer: of the answer and a case, what is to be compared.

        Without one the answer is called with the case as its arguments.
        """
        self._observe = function
        return function

    def begins_with(self, function: Answer) -> Answer:
        """Make a function the one whose body the learner starts with, in place of none: a formula to be mended."""
        self._begin = function
        return function

    def mistake(self, name: str) -> Callable[[Answer], Answer]:
        """Make a function a known mistake: ``@tanh.mistake("the cotangent is missing")``."""

        def made(function: Answer) -> Answer:
            self.mistakes.append(Mistake(name, function))
            return function

        return made

    def drawn(self) -> list[tuple[Any, ...]]:
        """The cases, the same at every call."""
        assert self._cases is not None, f"{self.name} has no cases"
        return list(self._cases(np.random.default_rng(self.number)))

    def tried(self, answer: Answer, case: tuple[Any, ...]) -> Any:
        """What an answer makes of a case."""
        return answer(*case) if self._observe is None else self._observe(answer, *case)

    def __repr__(self) -> str:
        return f"<Exercise {self.number}, {self.name}: {self.title}>"


def exercise(
    number: int,
    title: str,
    *,
    unit: int,
    returns: Sequence[str],
    hints: Sequence[str],
    given: Sequence[Answer] = (),
) -> Callable[[Answer], Exercise]:
    """Make a solution an exercise.  See :class:`Exercise`."""

    def made(solution: Answer) -> Exercise:
        return Exercise(solution, number, title, unit=unit, returns=returns, hints=hints, given=given)

    return made


def _function(function: Answer, body: str) -> str:
    """A function with another body, and without types."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    head = f"def {function.__name__}{signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)}:"
    lines = (inspect.getdoc(function) or "").splitlines()
    said = "\n".join(lines) + ('\n"""' if len(lines) > 1 else '"""')
    return f"{head}\n{textwrap.indent(chr(34) * 3 + said, '    ')}\n{body}"


def _body(function: Answer) -> str:
    """The lines of a function after its docstring, as they stand."""
    source = inspect.getsource(function)
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.FunctionDef)
    head = tree.body[0].end_lineno if ast.get_docstring(tree) is not None else tree.body[0].lineno - 1
    return "\n".join(source.splitlines()[head:]).strip("\n")
