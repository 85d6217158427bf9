"""Cells of the CUDA kernels as data, and the sources that make up a kernel.

A source file per idea: numbers, the equations of one unit of a cell, one step, how blocks signal, how a group divides
its work, the whole sequence forward and backward.  NVRTC takes one string, so they are joined; compile errors still
name the file.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["CELLS", "Cell", "joined", "persistent_source", "scan_source", "stepwise_source"]


@dataclass(frozen=True)
class Cell:
    """What a driver must know of a cell; the rest is in its source.

    Attributes:
        name: of its source, ``cell_<name>.cu``; of a generated one, for messages.
        rows: blocks of H columns of the product with a state (G); 0: there is none.
        slots: values that a step of a unit is made from.
        states: how many.
        separate_input: the cotangents for the product with x differ from those for the product with the state.
        options: compile-time options.
        text: the source, if it was generated.
        was: the states that the way back reads: ("s", k) for state k before each step, ("y", k) for it after each.
        all_series: it reads other states than the first after the steps.
        sent: which state is multiplied.
        of_x, of_state: the places of the two products in ``Steps.products``.
    """

    name: str
    rows: int
    slots: int
    states: int = 1
    separate_input: bool = False
    options: tuple[str, ...] = ()
    text: str = ""
    was: tuple[tuple[str, int], ...] = ()
    all_series: bool = False
    sent: int = 0
    of_x: int | None = None
    of_state: int | None = None


CELLS = {
    "tanh": Cell("rnn", rows=1, slots=1),
    "relu": Cell("rnn", rows=1, slots=1, options=("-DRELU=1",)),
    "gru": Cell("gru", rows=3, slots=4, separate_input=True),
    "lstm": Cell("lstm", rows=4, slots=4, states=2),
}


@functools.cache
def joined(*names: str) -> str:
    """The sources of these names, one after the other."""
    folder = files(__package__) / "sources"
    return "".join(f'#line 1 "{name}.cu"\n{(folder / f"{name}.cu").read_text("utf-8")}' for name in names)


def stepwise_source(cell: Cell) -> str:
    """The kernels ``step_forward`` and ``step_backward`` of a cell that was written by hand; option ``-DREAL=``."""
    return joined("numbers", f"cell_{cell.name}", "stepwise")


def _unit(cell: Cell) -> str:
    """Numbers, the equations of one unit, and lists of arguments."""
    if cell.text:
        return joined("numbers", "functions") + cell.text + joined("unit_arguments")
    return joined("numbers", f"cell_{cell.name}", "unit_arguments")


@functools.cache
def scan_source(cell: Cell) -> str:
    """The kernels ``scan_forward`` and ``scan_backward`` of a cell without products with states; option ``-DREAL=``."""
    return _unit(cell) + joined("visits", "scan")


def persistent_source(cell: Cell) -> str:
    """The kernels ``persistent_forward`` and ``persistent_backward``; options: those of a tiling."""
    return _unit(cell) + joined("signals", "visits", "group", "persistent_forward", "persistent_backward")
