"""To learn by: the engine in a hundred lines (:mod:`.engine`), and eight that are wrong (:mod:`.mutants`)."""

from . import engine, mutants

__all__ = ["engine", "mutants"]
