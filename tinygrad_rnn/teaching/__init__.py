"""To learn by: a course whose checks name the mistake, the engine in a hundred lines, and eight engines that are wrong.

``tinygrad-rnn course start`` writes the exercises, and :func:`check` is what they are checked with.  The engine is
:mod:`.engine`, the wrong ones are :mod:`.mutants`.
"""

from . import engine, mutants
from .course import check

__all__ = ["check", "engine", "mutants"]
