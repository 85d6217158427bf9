"""The course: thirty exercises whose checks name the mistake."""

from __future__ import annotations

from .catalogue import find
from .checking import Verdict, judge
from .exercise import Answer
from .folder import note_down

__all__ = ["Verdict", "check"]


def check(which: int | str, answer: Answer) -> Verdict:
    """Check an answer to an exercise of the course, and say which mistake it makes.

    The answer is tried at all cases of the exercise.  If it is wrong, the finding names the mistake where it is one of
    those that people make, and shows the entry that is most wrong; never the solution.  Inside a folder that
    ``tinygrad-rnn course start`` made, the progress there is kept.

    Args:
        which: the exercise's name or number.
        answer: the function that it asks for.

    Returns:
        the finding: true if the answer is right, and text to read if it is printed or shown in a notebook.

    Raises:
        UsageError: there is no such exercise.
        TypeError: the answer is no function.

    >>> import numpy as np
    >>> print(check("tanh", lambda g, x: 1 - np.tanh(x) ** 2))
    tanh: not yet, the cotangent is missing.
        It is dy/dx alone. How L changes with y, which is g, has to come in.
        8 of 9 cases are wrong
        case 1: g = [2.0409], x = [-2.5557]
        worst at dx[0]: yours 0.0238241, right 0.0486232
    >>> bool(check("tanh", lambda g, x: g * (1 - np.tanh(x) ** 2)))
    True
    """
    exercise = find(which)
    if not callable(answer):
        raise TypeError(f"an answer is a function, {exercise.function}; got {type(answer).__name__}")
    verdict = judge(exercise, answer)
    note_down(verdict)
    return verdict
