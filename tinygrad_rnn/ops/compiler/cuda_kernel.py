"""Kernels of a program for arrays on a GPU: their text, and what calls them.

A program has kernels of single steps (:mod:`.cuda_text`), whatever it computes.  Where its units know little of each
other it has kernels of whole sequences, too (:mod:`.cuda_units`).  Their drivers are in ``kernels/recurrent/cuda``:

========== ============================================================= =====================================
persistent at most one product with one state at each step, float32      one launch for each sequence
scan       no product with a state                                       one launch for each sequence
stepwise   everything                                                    a launch for each product and segment
========== ============================================================= =====================================
"""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.recurrent.cuda.cell_layer import CellLayer
from ...kernels.recurrent.cuda.cells import Cell
from ...kernels.recurrent.cuda.steps import Steps
from .cuda_text import Generator
from .cuda_units import Unfit, unit_cell
from .program import Program

__all__ = ["CellKernel", "Generated", "generate"]


@dataclass(frozen=True)
class Generated:
    """The kernels of a program.

    Attributes:
        steps: step by step.
        unit: for kernels of whole sequences; or the reason why there are none.
    """

    steps: Steps
    unit: Cell | str

    @property
    def text(self) -> str:
        """All that was generated."""
        unit = self.unit
        return self.steps.text if isinstance(unit, str) else f"{unit.text}\n{self.steps.text}"

    @property
    def remark(self) -> str:
        """How a GPU runs it, in a few words."""
        unit = self.unit
        if isinstance(unit, str):
            return f"a launch for each product and segment of a step: {unit}"
        return "one launch for each sequence" + (", in float32 and up to 512 units" if unit.rows else "")


def generate(program: Program) -> Generated:
    """The text of a program's kernels, and what their drivers must know.

    Raises:
        Unknown: an operation that has no form in CUDA.
    """
    generator = Generator(program)
    try:
        unit: Cell | str = unit_cell(generator)
    except Unfit as error:
        unit = str(error)
    return Generated(generator.steps(), unit)


class CellKernel(CellLayer):
    """The kernel of a program; see :class:`~tinygrad_rnn.kernels.recurrent.interface.Kernel`.

    The weights of a call are the matrices of the program's prelude, then its vectors, (W,) each.
    """

    def __init__(self, program: Program, generated: Generated) -> None:
        super().__init__(generated.steps, generated.unit)
