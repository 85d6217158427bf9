"""The one product that stays in the loop of a backward run: from the cotangents of the gates to that of the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....typing import Array
from .packed_weights import Columns
from .schedule import Blocks, Part, Plan

__all__ = ["IntoState"]


class IntoState:
    """``terms[g] = dz[g] @ w[g]`` at every visit; their sum is the cotangent of the state before.

    A product per gate and a sum over the gates: as one product with K = G*H, the weight would have to be packed.

    Args:
        blocks: w[g] (H, R), in the order of the gates in dz.

    Attributes:
        main, rest: the right operands (see ``Columns``); in most cases there is no rest.
    """

    def __init__(self, plan: Plan, blocks: Sequence[Array]) -> None:
        self._plan = plan
        self._terms = Blocks(plan, len(blocks), blocks[0], keep=False)
        self._columns = Columns(blocks, plan.batch, products=plan.steps)
        self.main, self.rest = self._columns.main, self._columns.rest
        if self.rest is not None:  # beside the left operand of ``main``, which has an axis of blocks
            self.rest = self.rest[:, None]

    def views(self, part: Part, dz: Array) -> list[list[Any]]:
        """For each visit of ``part``: left operand, its product with ``main`` and with ``rest``, and each of the terms.

        Args:
            dz: (G, rows of the part, H).
        """
        columns, terms = self._columns, self._terms
        left = [columns.left(gates) for gates in self._plan.split_part(dz, part)]
        return [left, *(terms.views(part, seen=seen) for seen in (columns.seen, self._rest_of, tuple))]

    def _rest_of(self, out: Array) -> Array:
        """What ``matmul`` with ``rest`` gives: (G, 1, n, columns that fill no block)."""
        return None if self.rest is None else self._columns.rest_of(out)[:, None]
