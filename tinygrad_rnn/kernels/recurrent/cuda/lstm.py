"""LSTM over a whole sequence on a GPU; equations, arguments and results are those of ``numpy/lstm.py``.

Projections and the states of all steps are not computed here: ``refuses`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....typing import Array
from . import layer
from .cells import CELLS

__all__ = ["backward", "forward"]


def forward(
    x: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    w_hr: Array | None = None,
    *,
    sizes: Sequence[int] | None = None,
    reverse: bool = False,
    save: bool = True,
    cells: bool = False,
) -> tuple[tuple[Array, ...], layer.Residual | None]:
    """(y, h_n, c_n), residual.

    Raises:
        KernelUnavailable: they cannot be compiled.  Which work they are for, ``refuses`` says; nobody asks it here.
    """
    return layer.forward(CELLS["lstm"], x, (h0, c0), w_ih, w_hh, b_ih, b_hh, sizes, reverse, save)


def backward(
    gs: Sequence[Array | None],
    residual: layer.Residual,
    x: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    w_hr: Array | None = None,
    *,
    needs: Sequence[bool],
) -> list[Array | None]:
    """The gradients of x, h0, c0, w_ih, w_hh, b_ih, b_hh, and None for w_hr."""
    return [*layer.backward(gs, residual, x, (h0, c0), w_ih, w_hh, needs), None]
