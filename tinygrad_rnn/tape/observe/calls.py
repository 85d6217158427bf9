"""Tapes of a long program: one for each call of ``backward`` or ``grad``, of which one is kept.

A training script of a thousand updates fits on no tape.  What is wanted is one call, with everything that its sweep
goes through.  That is seldom more than what was recorded since the call before, so a tape begins after each call.  A
sweep may go back beyond it: to the graph of a gradient (``create_graph``), to one that was retained, to the samples
that two losses have in common.  So the tape of the call before is held, and if the sweep went there, the two become
one, which is held for the next call.  The program's own memory bounds theirs: what no sweep reaches for one call is let
go.  Of what comes before the call before the wanted one, there is no tape, which costs less time than a tape.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from ...backend import is_array
from ...source_line import in_package
from ...typing import Array, Cotangent, Params, Value
from ..modes import Operation, state
from ..node import Leaf, Node
from ..partial_gradient import Part
from .records import Reference, TapeLeaf
from .tape import Tape
from .values import Summary
from .watcher import Watching, out_of_turn

__all__ = ["Calls"]


class Calls(Watching):
    """Inside ``with``, what this thread records and sweeps; afterwards the tape of one call.

    Args:
        call: the number of the call that is wanted, from 1 on; by default the last; "all": one tape of everything.
        values: what the tapes keep of arrays.

    Attributes:
        count: the calls of ``backward`` and ``grad`` so far, those that failed included.
        is_empty: whether nothing was recorded at all.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> with Calls(2) as calls:
    ...     for k in range(1000):
    ...         (w * k).backward()
    >>> calls.count, [record.inputs for record in calls.tape()], calls.tape().records[0].arguments
    (1000, [('w', 'const')], (array(3., dtype=float32), 1))
    """

    def __init__(self, call: int | str | None = None, *, values: str | int = "all") -> None:
        self.count = 0
        self.is_empty = True
        self._call = call
        self._values = values
        self._depth = 0
        self._outside: int | None = None
        self._bottom: int | None = None
        self._last: Tape | None = None  # of the last call that may be wanted
        self._now: Tape | None = None  # since then
        self._unnamed: Tape | None = None  # whose last results had no names yet

    def __enter__(self) -> Calls:
        self._outside = id(sys._getframe(1))
        self._begin()
        here = state.here
        here.watchers = (*here.watchers, self)  # last, and not by super(): a signal could come as a call returns
        return self

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        if here.watchers and here.watchers[-1] is self:  # without a call, before which a signal could come
            here.watchers = here.watchers[:-1]
        else:
            out_of_turn(here, self)
        if self._now is not None:
            self._now._close()

    def tape(self, *, stopped: bool = False) -> Tape | None:
        """The tape of the call that was wanted, up to the end of its sweep.

        Args:
            stopped: the program stopped in the middle: if it did so before the call that was wanted, and there is
                a tape of that, it is given.

        Returns:
            None if there was no such call, or, where the last is wanted and there was none at all, no record.
        """
        if isinstance(self._call, int) and self.count < self._call and not stopped:
            return None
        now = self._now
        if now is not None and (now.records or now.sweeps) and (stopped or self._last is None):
            return now
        return self._last

    # what the tape is told -----------------------------------------------------------------------------------

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        if self.is_empty:
            self.is_empty = False
            self._find_bottom()
        if self._unnamed is not None:
            self._look_back(self._unnamed)
        if self._now is not None:
            self._now.recorded(node, output)

    def applied(self, operation: Operation, inputs: Sequence[Any], params: Params, output: Any) -> None:
        if self._now is not None:
            self._now.applied(operation, inputs, params, output)

    def sweep_begins(self, seeds: Sequence[tuple[Node | Leaf, Value]]) -> None:
        self._depth = 1 if state.here.memo is None else self._depth + 1
        if self._unnamed is not None:
            self._look_back(self._unnamed)
        if self._now is not None:
            self._now.sweep_begins(seeds)

    def reached(self, node: Node | Leaf, cotangent: Cotangent) -> None:
        if self._now is not None:
            self._now.reached(node, cotangent)

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Value | Part) -> None:
        if self._now is not None:
            self._now.contributed(node, position, parent, contribution)

    def sweep_ends(self, error: BaseException | None) -> None:
        self._depth -= 1
        if self._now is not None:
            self._now.sweep_ends(error)
        if self._depth == 0:
            self.count += 1
            if self._call != "all":
                self._end()
                self._begin()

    # which tape there is -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """A call is over, and its tape whole."""
        if self._now is not None:
            self._now._close()
            went_back = any(step.target.kind == "earlier" for step in self._now.sweeps[-1].steps)
            self._last = joined(self._last, self._now) if went_back and self._last is not None else self._now
            self._now, self._unnamed = None, self._last

    def _look_back(self, tape: Tape) -> None:
        """The program has gone on: what ``grad`` returned has a name now."""
        self._unnamed = None
        tape._look_for_names()

    def _begin(self) -> None:
        """A tape begins, if it may be wanted."""
        if not isinstance(self._call, int) or self._call - 2 <= self.count < self._call:
            self._now = Tape(values=self._values)
            self._now._open(self._bottom)

    def _find_bottom(self) -> None:
        """The outermost frame of the program that is watched: names and stacks end there."""
        self._bottom = self._outside
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and id(frame) != self._outside:
            if not in_package(frame) and not frame.f_code.co_filename.startswith("<frozen "):
                self._bottom = id(frame)
            frame = frame.f_back
        if self._now is not None:
            self._now._bottom = self._bottom


def joined(first: Tape, second: Tape) -> Tape:
    """Two tapes of one program, the second from where the first ended, as one: the first, changed."""
    shift, sweeps = len(first.records), len(first.sweeps)
    places = [_placed(first, leaf) for leaf in second.leaves]
    known = dict(first._numbers)

    def here(r: Reference) -> Reference:
        """What a reference of the second is to both."""
        if r.kind == "record":
            return r._replace(number=r.number + shift)
        if r.kind == "leaf":
            number, offset = places[r.number]
            return r._replace(number=number, version=r.version + offset)
        if r.kind == "earlier" and r.number in known:
            return Reference("record", known[r.number], r.output)
        return r

    for record in second.records:
        record.number += shift
        record.references = tuple(map(here, record.references))
        if record.sweep is not None:
            record.sweep += sweeps
    first.records += second.records
    for sweep in second.sweeps:
        sweep.number += sweeps
        sweep.seeds = [(here(target), cotangent) for target, cotangent in sweep.seeds]
        for step in sweep.steps:
            step.target = here(step.target)
            if step.record is None and step.target.kind == "record":
                step.record = first.records[step.target.number]
            for contribution in step.contributions:
                contribution.target = here(contribution.target)
    first.sweeps += second.sweeps
    first._numbers.update({index: number + shift for index, number in second._numbers.items()})
    first._earlier.update(second._earlier)
    first._rename()
    return first


def _placed(first: Tape, leaf: TapeLeaf) -> tuple[int, int]:
    """The number of a leaf of the second tape on both, and that of its first version there."""
    assert leaf.node is not None
    number = first._leaf_numbers.get(leaf.node.index)
    if number is None:
        taken = {other.name for other in first.leaves}
        if leaf.name in taken:
            leaf.name = next(name for k in itertools.count(2) if (name := f"{leaf.name} ({k})") not in taken)
        number = leaf.number = first._leaf_numbers[leaf.node.index] = len(first.leaves)
        first.leaves.append(leaf)
        return number, 0
    values = first.leaves[number].values
    # where the second did not use it, its sweep may have come to it
    again = bool(values) and (not leaf.values or _same(values[-1], leaf.values[0]))
    offset = len(values) - again
    values += leaf.values[again:]
    return number, offset


def _same(a: Any, b: Any) -> bool:
    """Whether two copies are of equal values."""
    if isinstance(a, Summary) and isinstance(b, Summary):
        sizes = (a.norm, a.minimum, a.maximum) == (b.norm, b.minimum, b.maximum)
        return sizes and a.shape == b.shape and a.head.tobytes() == b.head.tobytes()
    both = is_array(a) and is_array(b) and a.shape == b.shape and a.dtype == b.dtype
    return both and bool(((a == b) | ((a != a) & (b != b))).all())
