"""Schedule of NumPy's kernels: the order in which the rows of a sequence are visited, and where its states are.

A sequence of T steps is a table of rows, time-major: S = T * N rows if all have the same length, else packed
as PyTorch packs (longest sequence first, at step t only the ``sizes[t]`` sequences that still run).  The
kernels know neither the direction nor the lengths: they loop over *visits*, and a Plan gives them, for every
array, the list of its views in the order of the visits.

Rules:

* Views, never copies.  A reversed direction is the same table visited from its end.
* Equal lengths: the states before and after every step are in one block of T + 1 steps, so what is "after" at
  one visit is "before" at the next, and all the earlier states together are one contiguous operand for the
  weight gradient.
* Packed: at a visit the first ``sizes[t]`` rows of the running state are read and written; the others rest.
  So a finished sequence keeps its last state, a reversed sequence starts at its own end, and a sequence of
  length zero keeps its initial state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from ....backend import aligned_empty, array_module
from ....typing import Array

__all__ = ["Blocks", "Part", "Plan", "Trajectory"]


class Part(NamedTuple):
    """Consecutive visits ``first`` to ``last`` (exclusive), and the rows that they touch."""

    first: int
    last: int
    rows: slice

    @property
    def size(self) -> int:
        """How many rows that is."""
        return int(self.rows.stop - self.rows.start)


class Plan:
    """The visits of one direction over one (possibly packed) sequence.

    Args:
        steps: T.
        batch: N, the rows of the states.
        sizes: sequences that still run at each step, never rising; None if all N run to the end.
        reverse: visit the last step first.

    >>> import numpy as np
    >>> plan = Plan(2, 3, sizes=(3, 1), reverse=True)
    >>> [v.shape for v in plan.split(np.zeros((4, 5)))]
    [(1, 5), (3, 5)]
    """

    def __init__(self, steps: int, batch: int, sizes: Sequence[int] | None = None, reverse: bool = False) -> None:
        self.steps = steps
        self.batch = batch
        self.reverse = reverse
        self.packed = sizes is not None
        if sizes is None:
            self._ends = [batch * (t + 1) for t in range(steps)]
        else:
            sizes = [int(size) for size in sizes]
            self._ends = list(accumulate(sizes))
        self.sizes = [batch] * steps if sizes is None else list(sizes)
        if reverse:
            self.sizes.reverse()
        self.rows = self._ends[-1] if steps else 0

    @classmethod
    def of(cls, x: Array, state: Array, sizes: Sequence[int] | None, reverse: bool) -> Plan:
        """The plan for input ``x``, (T, N, I) or packed (S, I), with an initial state (N, R)."""
        return cls(x.shape[0] if sizes is None else len(sizes), state.shape[0], sizes, reverse)

    def split(self, a: Array) -> list[Array]:
        """The views of ``a`` (..., S, K), one per visit: (..., n, K)."""
        return self.split_part(a, Part(0, self.steps, slice(0, self.rows)))

    def split_part(self, a: Array, part: Part) -> list[Array]:
        """The views of ``a`` (..., rows of the part, K), one per visit of the part."""
        if not self.packed:
            by_step = self.by_step(a, part)
            views = list(by_step if by_step.ndim == 3 else by_step.swapaxes(0, 1))
            return views[::-1] if self.reverse else views
        low = part.rows.start
        return [a[..., start - low : stop - low, :] for start, stop in map(self._bounds, range(part.first, part.last))]

    def steps_of(self, part: Part) -> slice:
        """The steps that ``part`` visits."""
        first, last = part.first, part.last
        return slice(self.steps - last, self.steps - first) if self.reverse else slice(first, last)

    def sizes_of(self, part: Part) -> list[int]:
        """How many sequences run at each visit of ``part``."""
        return self.sizes[part.first : part.last]

    def by_step(self, a: Array, part: Part) -> Array:
        """``a`` (..., rows of the part, K) as (..., steps, N, K), a view; packed rows stay as they are."""
        if self.packed:
            return a
        return a.reshape(*a.shape[:-2], part.last - part.first, self.batch, a.shape[-1])

    def of_sequences(self, a: Array, part: Part) -> Array:
        """``a`` (N, K), which is the same at every step, as ``by_step`` arranges tables, or so that it spreads."""
        if not self.packed:
            return a
        sizes = self.sizes_of(part)
        rows: Array = array_module(a).concatenate([a[:n] for n in (reversed(sizes) if self.reverse else sizes)])
        return rows

    def heads(self, state: Array) -> list[Array]:
        """The rows of a running state (..., N, K) that each visit reads and writes."""
        if not self.packed:
            return [state] * self.steps
        return [state[..., :size, :] for size in self.sizes]

    def terms(self, g: Array | None) -> Sequence[Array | None]:
        """What each visit adds of ``g``, the gradient of an output: (T, N, K), packed (S, K), or None.

        That of a sum is one row repeated; then all visits get the same rows, in memory of their own, since NumPy takes
        several times as long to add what it has to repeat.
        """
        if g is None:
            return [None] * self.steps
        if self.rows and not any(g.strides[:-1]):
            one = aligned_empty((self.batch, g.shape[-1]), g)
            one[...] = g.reshape(-1, g.shape[-1])[0]
            return self.heads(one)
        return self.split(g.reshape(self.rows, g.shape[-1]))

    def parts(self, most_rows: int) -> list[Part]:
        """The visits cut into parts of at most ``most_rows`` rows (or one step), in order."""
        if self.rows <= most_rows:
            return [Part(0, self.steps, slice(0, self.rows))] if self.steps else []
        parts: list[Part] = []
        first, taken = 0, 0
        for k, size in enumerate(self.sizes):
            if k > first and taken + size > most_rows:
                parts.append(self._part(first, k))
                first, taken = k, 0
            taken += size
        parts.append(self._part(first, self.steps))
        return parts

    def runs(
        self, part: Part, views: Sequence[Sequence[Any]], trajectories: Sequence[Trajectory] = (), back: bool = False
    ) -> Iterator[tuple[int, Iterable[tuple[Any, ...]]]]:
        """The visits of ``part``, a run of them for each number of sequences: that number, and what each visit has.

        Args:
            views: one entry per visit of the part; gives the visit's.
            trajectories: the states that the visits carry on, which packed input moves around each visit.
            back: the last visit first.
        """
        if not self.packed:
            yield self.batch, self._visits(views, part.last - part.first, back)
            return
        moves = [trajectory for trajectory in trajectories if trajectory.running is not None]
        sizes = self.sizes[part.first : part.last]
        cuts = [0, *[k for k in range(1, len(sizes)) if sizes[k] != sizes[k - 1]], len(sizes)]
        runs = list(pairwise(cuts)) if sizes else []
        for first, last in reversed(runs) if back else runs:
            visits = self._visits([entries[first:last] for entries in views], last - first, back)
            yield sizes[first], self._moved(part.first + first, visits, moves) if moves else visits

    @staticmethod
    def _visits(views: Sequence[Sequence[Any]], count: int, back: bool) -> Iterable[tuple[Any, ...]]:
        if not views:
            return [()] * count
        return zip(*(map(reversed, views) if back else views), strict=True)

    def _moved(
        self, first: int, visits: Iterable[tuple[Any, ...]], moves: list[Trajectory]
    ) -> Iterator[tuple[Any, ...]]:
        for k, visit in enumerate(visits, first):
            for trajectory in moves:
                trajectory.enter(k)
            yield visit
            for trajectory in moves:
                trajectory.leave(k)

    def _bounds(self, k: int) -> tuple[int, int]:
        t = self.steps - 1 - k if self.reverse else k
        return (self._ends[t - 1] if t else 0), self._ends[t]

    def _part(self, first: int, last: int) -> Part:
        ends = self._bounds(first), self._bounds(last - 1)
        return Part(first, last, slice(min(ends)[0], max(ends)[1]))


class Trajectory:
    """A state over a whole run: where it is before and after every visit.

    Args:
        plan: the visits.
        initial: the state (N, R) before the first visit.
        keep: ``"both"``: what was before each visit is needed later (for a weight gradient);
            ``"after"``: only what comes after; ``"last"``: nothing but the last one.

    Attributes:
        earlier: (S, R), the states before each visit, in row order (None unless ``keep="both"``).
        values: (S, R), the states after each visit, in row order (None if ``keep="last"``).
        running: packed input only: the state as it is now; what is kept of it is copied at every visit.
    """

    def __init__(self, plan: Plan, initial: Array, keep: str = "both") -> None:
        self._plan = plan
        self._block: Array | None = None  # (T + 1, N, R)
        self.earlier: Any = None  # these two: an array where ``keep`` says so
        self.values: Any = None
        self.running: Array | None = None
        size = initial.shape[-1]
        if keep == "last":
            self.state = initial.copy()
            self._heads = plan.heads(self.state)
        elif not plan.packed:
            self._block = block = aligned_empty((plan.steps + 1, plan.batch, size), initial)
            start, first = (plan.steps, 0) if plan.reverse else (0, 1)
            block[start] = initial
            self.values = block[first : first + plan.steps].reshape(plan.rows, size)
            self.earlier = block[1 - first : 1 - first + plan.steps].reshape(plan.rows, size)
            self.state = block[plan.steps - start]
        else:
            self.state = self.running = initial.copy()
            self._heads = plan.heads(self.running)
            self.values = aligned_empty((plan.rows, size), initial)
            self._after = plan.split(self.values)
            self._before = self._heads
            if keep == "both":
                self.earlier = aligned_empty((plan.rows, size), initial)
                self._before = plan.split(self.earlier)

    def views(self, part: Part) -> tuple[list[Array], list[Array]]:
        """Where the state is before and after each visit of ``part``, (n, R)."""
        first, last = part.first, part.last
        # equal lengths: one block, in which what is after a visit is before the next
        if self._block is not None:
            steps = self._plan.steps_of(part)
            block = list(self._block[steps.start : steps.stop + 1])
            if self._plan.reverse:
                block.reverse()
            return block[:-1], block[1:]
        # only the last state is kept: it is read and written in place
        if self.running is None:
            return self._heads[first:last], self._heads[first:last]
        return self._before[first:last], self._after[first:last]

    def enter(self, k: int) -> None:
        """Packed input only: note what the running state is before visit ``k``."""
        if self.earlier is not None:
            self._before[k][...] = self._heads[k]

    def leave(self, k: int) -> None:
        """Packed input only: the running state takes over what visit ``k`` gave."""
        self._heads[k][...] = self._after[k]

    def fill(self, values: Array) -> None:
        """Have it be a run that gave ``values`` (S, R)."""
        self.values[:] = values
        if self.running is not None:
            for k in range(self._plan.steps):
                self.enter(k)
                self.leave(k)

    def final(self) -> Array:
        """The state (N, R) after the last visit of each sequence, as an array of its own."""
        return self.state.copy()


class Blocks:
    """Room for G blocks of activations per row, arranged so that what one visit touches is contiguous.

    With equal lengths the memory is (T, G, N, H), step by step: element-wise operations take several times as long
    on G pieces that are a whole sequence apart.  Packed rows are (G, S, H).  Without ``keep`` there is room for one
    visit, which all visits share.
    """

    def __init__(self, plan: Plan, count: int, size: int, like: Array, keep: bool = True) -> None:
        self._plan = plan
        self._shared: dict[int, Array] = {}
        if not keep:
            flat = aligned_empty((count * plan.batch * size,), like)
            for n in set(plan.sizes):
                self._shared[n] = flat[: count * n * size].reshape(count, n, size)
        elif plan.packed:
            self._memory = aligned_empty((count, plan.rows, size), like)
        else:
            self._memory = aligned_empty((plan.steps, count, plan.batch, size), like)

    def views(self, part: Part, block: Any = slice(None)) -> list[Any]:
        """One view per visit of ``part``: all blocks (G, n, H), some of them, or one (n, H)."""
        if self._shared:
            return [self._shared[n][block] for n in self._plan.sizes_of(part)]
        if self._plan.packed:
            return self._plan.split_part(self._memory[block, part.rows], part)
        views = list(self._memory[self._plan.steps_of(part), block])
        return views[::-1] if self._plan.reverse else views

    def of(self, n: int) -> Array:
        """Without ``keep``: the blocks (G, n, H) that all visits of n sequences share."""
        return self._shared[n]

    def rows(self) -> Array:
        """The only block as a table (S, H)."""
        return self._memory.reshape(-1, self._memory.shape[-1])

    def table(self, part: Part) -> Array:
        """All blocks of the rows of ``part``, arranged as ``Plan.by_step`` arranges tables: (G, steps, N, H)."""
        if self._plan.packed:
            return self._memory[:, part.rows]
        return self._memory[self._plan.steps_of(part)].swapaxes(0, 1)
