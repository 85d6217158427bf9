"""Shares: what each use of a tensor contributed to its gradient, found among the steps of sweeps.

A use is an operation that computes with the values.  A view, such as the ``W.T`` of ``x @ W.T``, only shows them
otherwise; what it hands on is the sum over the records that used the view, and those are the uses:

    dL/dW = sum over uses u of the view V(W):  vjp_V(contribution of u)

which holds because a vjp is linear.  The contributions to the view are what the sweep saw, and its vjp is run on each.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...backend import array_module, is_array
from ...errors import GraphError
from ...typing import Array
from ..node import Leaf, Node
from ..sweep import contributions as vjps_of
from ..tensor import Tensor
from .pictures import html_of
from .records import Contribution, Record, Share, Step, Sweep, is_whole
from .values import raw

__all__ = ["Shares", "shares_in"]

TOLERANCE = 64
"""In units of rounding of what was added: a fused product is rounded once where product and sum are rounded twice."""


class Shares(list[Share]):
    """The shares of one tensor, in the order in which the sweeps added them."""

    def total(self) -> Array:
        """Their sum, added as the sweeps added them.

        That is, ``((s0 + s1) + s2) + ...`` in the dtype of the tensor; what came by way of one view is summed there
        first, and sweeps are summed one after the other.  So it is the gradient bit for bit, but where one use read an
        entry twice (a token that occurs twice), whose parts are added one by one; on a GPU, where products are added to
        the sum as they are formed; and where ``create_graph=True`` put parts together at the end.

        Raises:
            GraphError: the tape kept no more of a share than its size (``values=64``, say).
        """
        for share in self:
            if not is_whole(share.value):
                raise GraphError(
                    f"total(): of the share from {share.record!r} the tape kept no more than {share.value!r}. Open it "
                    "with values='all', or a number that is not less than the entries of the tensor"
                )
        sweeps = [_summed(list(shares), 0) for _, shares in itertools.groupby(self, key=lambda share: share.sweep)]
        return _sum(sweeps)

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "shares", self)


def _summed(shares: list[Share], depth: int) -> Array:
    """The sum of shares whose ways have their first ``depth`` views in common."""
    parts = []
    # a use without a view there is a group of its own
    keys = enumerate(shares)
    for (through, _), group in itertools.groupby(keys, key=lambda item: _key(item[0], item[1], depth)):
        members = [share for _, share in group]
        parts.append(members[0].value if through is None else _summed(members, depth + 1))
    return _sum(parts)


def _key(number: int, share: Share, depth: int) -> tuple[str | None, int]:
    return (None, number) if len(share.through) <= depth else (share.through[depth], -1)


def _sum(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


Uses = dict[int, list[tuple[Step, Contribution]]]
Use = tuple[Record | None, int, Any, tuple[str, ...]]
"""A record, the position there, the contribution, and the views on the way."""


def shares_in(sweep: Sweep, node: Node | Leaf) -> Iterator[Share]:
    """The shares of a node's tensor in one sweep; none if the sweep did not come to it."""
    # the outputs of a fused record are visited with it
    visited = node.parents[0] if isinstance(node, Node) and node.primitive.name == "output" else node
    if not any(step.node is visited for step in sweep.steps):
        return  # it failed before: what had arrived was added to no gradient
    for record, position, value, through in _uses_of(node, sweep.uses()):
        yield Share(record, position, value, sweep.number, through)


def _uses_of(node: Node | Leaf, uses: Uses) -> Iterator[Use]:
    for step, contribution in uses.get(id(node), ()):
        view = step.node
        found = None
        # of a node with hooks, ``vjp_all`` would run them again
        if isinstance(view, Node) and _is_view(view) and view.primitive.vjp_all is None:
            found = _through(view, step, uses)
        if found is None:
            yield step.record, contribution.position, contribution.value, ()
        else:
            yield from found


def _is_view(node: Node) -> bool:
    """Whether it shows the values: an index with numbers in an array looks them up."""
    params = [item for value in node.params.values() for item in (value if isinstance(value, tuple) else (value,))]
    return node.primitive.view and not any(isinstance(item, Tensor) or is_array(item) for item in params)


def _through(view: Node, step: Step, uses: Uses) -> list[Use] | None:
    """The uses of a view, each as a contribution to what the view was taken from; None if they are not all that came.

    A sweep may have started from the view itself, or a hook have replaced its cotangent: then the view is the use.
    """
    inner = list(_uses_of(view, uses))
    if not inner:
        return None
    values = [value for _, _, value, _ in inner]
    if not all(map(is_whole, [step.cotangent, *values])):  # summaries: what they are of is not known
        return [(record, position, value, (step.name, *through)) for record, position, value, through in inner]
    if not _adds_up(values, step.cotangent):
        return None
    pulled = [(record, position, _pulled(view, value), way) for record, position, value, way in inner]
    return [(record, position, value, (step.name, *way)) for record, position, value, way in pulled]


def _pulled(view: Node, value: Array) -> Array:
    """The vjp of a view of one contribution to it."""
    return np.copy(raw(vjps_of(view, view.primitive, value, (True,), False)[0]))


def _adds_up(values: Sequence[Array], total: Array) -> bool:
    """Whether contributions are all that a total was made of, to rounding."""
    if any(value.shape != total.shape for value in values):
        return False
    xp = array_module(total)
    finite = xp.isfinite(total)
    kind = total.dtype if total.dtype.kind in "fc" else np.dtype(np.float64)
    with np.errstate(all="ignore"):
        error = abs(sum(values[1:], start=values[0]) - total)
        sizes = sum((abs(value) for value in values[1:]), start=abs(values[0]))
        near = error <= TOLERANCE * np.finfo(kind).eps * sizes
    return bool((near | ~finite).all())
