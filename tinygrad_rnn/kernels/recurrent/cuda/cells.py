"""Cells of the CUDA kernels as data, and the sources that make up a kernel.

A source file per idea: numbers, the equations of one unit of a cell, one step, how blocks signal, how a group divides
its work, the whole sequence forward and backward.  NVRTC takes one string, so they are joined; compile errors still
name the file.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["CELLS", "Cell", "persistent_source", "stepwise_source"]


@dataclass(frozen=True)
class Cell:
    """What a driver must know of a cell; the rest is in its source.

    Attributes:
        name: of its source, ``cell_<name>.cu``.
        rows: rows of each weight per unit (G).
        slots: values that a step of a unit is made from, and that are saved; one slot: nothing is saved.
        has_c: there is a second state.
        separate_input: the cotangents for the product with x differ from those for the product with h.
        options: compile-time options.
    """

    name: str
    rows: int
    slots: int
    has_c: bool = False
    separate_input: bool = False
    options: tuple[str, ...] = ()


CELLS = {
    "tanh": Cell("rnn", rows=1, slots=1),
    "relu": Cell("rnn", rows=1, slots=1, options=("-DRELU=1",)),
    "gru": Cell("gru", rows=3, slots=4, separate_input=True),
    "lstm": Cell("lstm", rows=4, slots=4, has_c=True),
}


@functools.cache
def _joined(*names: str) -> str:
    folder = files(__package__) / "sources"
    return "".join(f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text("utf-8")}' for name in names)


def stepwise_source(cell: Cell) -> str:
    """The kernels ``step_forward`` and ``step_backward``; option ``-DREAL=``."""
    return _joined("numbers", f"cell_{cell.name}", "stepwise")


def persistent_source(cell: Cell) -> str:
    """The kernels ``persistent_forward`` and ``persistent_backward``; options: those of a tiling."""
    return _joined("numbers", f"cell_{cell.name}", "signals", "group", "persistent_forward", "persistent_backward")
