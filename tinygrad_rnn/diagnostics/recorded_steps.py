"""Steps of any cell as linear maps of cotangents: each step applied again on the tape, and swept by the engine.

The rows of a step are sequences, which do not depend on each other.  So K cotangents of one sequence are pulled back at
once by a step on K copies of it.  Where that gives other values than the step gave before (a cell that draws random
numbers, or looks at the whole batch), each cotangent gets a sweep of its own from the step as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module
from ..backend.random.generator import draws_undone
from ..tape.grad import grad
from ..tape.modes import spelled_out, unwatched, within
from ..tape.node import Node
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import Cotangents
from .steps import Steps, Visits, log_norm

__all__ = ["RecordedSteps", "Summed"]

Run = Callable[..., Sequence[Tensor]]
"""``run(visit, x, states, rows)``: the states after a visit, of the rows ``rows`` of those that run then; None: all."""


class Summed(NamedTuple):
    """The share of a weight at one step, ``exp(log) array``, summed over sequences: for each cotangent a pair."""

    pairs: tuple[tuple[float, Array], ...]

    def scaled(self, k: int = 0) -> tuple[float, Array]:
        """The logarithm of a factor, and the array that it multiplies, for cotangent k."""
        return self.pairs[k]

    def all(self) -> tuple[Array, Array]:
        """The logarithms of the factors (K,), and the arrays (K, ...), of all cotangents."""
        xp = array_module(self.pairs[0][1])
        return xp.asarray([log for log, _ in self.pairs]), xp.stack([array for _, array in self.pairs])

    def log_norm(self) -> float:
        """The logarithm of its Frobenius norm, for cotangent 0."""
        return log_norm(*self.pairs[0])


class _Ran(NamedTuple):
    """A step on all sequences, with its graph."""

    states: tuple[Tensor, ...]
    results: tuple[Tensor, ...]


class RecordedSteps(Steps):
    """Steps that the engine differentiates.

    Args:
        run: applies the step; see :data:`Run`.
        visits: of all sequences.
        x: the input, one row for each step and sequence (S, I).
        states: the initial ones (N, W).
        names: of the states.
        weights: of which shares may be wanted.
        chosen: the sequences that are wanted, of all that run; None: all.
        given: what is known of the states: for some, their values after each visit, as rows like those of x.
    """

    def __init__(
        self,
        run: Run,
        visits: Visits,
        x: Array,
        states: Sequence[Array],
        names: tuple[str, ...],
        weights: Sequence[Tensor | None],
        *,
        chosen: Visits | None = None,
        sequences: Sequence[int] | None = None,
        given: dict[int, Array] | None = None,
    ) -> None:
        self.run, self.x, self.xp = run, x, array_module(x)
        self.all = visits
        self.sequence_numbers = range(visits.rows.shape[1]) if sequences is None else list(sequences)
        self.visits = visits if chosen is None else chosen
        # of the visits of all sequences, those at which the chosen ones run
        first = 0 if chosen is None else visits.times.index(chosen.times[0]) if chosen.times else 0
        self.first = first
        self.names = names
        self.widths = tuple([s.shape[-1] for s in states])
        self.weights = list(weights)
        self.ran: list[_Ran] = []
        self.apart = False  # whether copies of a sequence are not what it is
        self._forward([self.xp.asarray(s) for s in states], given or {})
        index = self.xp.asarray(np.asarray(self.sequence_numbers, np.int64))
        self.before = [
            self.xp.stack([state[index] for state in series]) if self.length else self.xp.zeros((0, len(index), w))
            for series, w in zip(zip(*self._starts, strict=True), self.widths, strict=True)
        ]
        del self._starts

    def _forward(self, states: list[Array], given: dict[int, Array]) -> None:
        """All visits of all sequences, each with a graph of its own."""
        self._starts: list[list[Array]] = []
        last = self.first + self.length
        for visit in range(last):
            n = self.all.sizes[visit]
            if visit >= self.first:
                self._starts.append([s.copy() for s in states])
            leaves = tuple([wrap(s[:n].copy()).requires_grad_() for s in states])
            results = self._applied(visit, leaves, None)
            self.ran.append(_Ran(leaves, results))
            rows = self.xp.asarray(self.all.rows[visit, :n])
            for k, result in enumerate(results):
                states[k] = states[k].copy()
                states[k][:n] = given[k][rows] if k in given else result._data

    def _applied(self, visit: int, leaves: tuple[Tensor, ...], chosen: Array | None) -> tuple[Tensor, ...]:
        """The states after a visit, recorded, of the chosen ones of the sequences that run (one may come often)."""
        n = self.all.sizes[visit]
        rows = self.all.rows[visit, :n]
        x = wrap(self.x[self.xp.asarray(rows if chosen is None else rows[chosen])])
        # spelled out: so that what is inside of the package's own cells is there to be looked at
        results = unwatched(spelled_out, within, True, self.run, visit, x, leaves, chosen)
        return tuple(results[: len(leaves)])

    def activated(self, names: Sequence[str]) -> list[tuple[str, Array]]:
        """The values of operations of these names, in the order in which a step applies them (L, M, W).

        Those whose number or width changes from step to step are left out.
        """
        every = [self._activations(visit, names) for visit in range(self.first, len(self.ran))]
        found = []
        for group in zip(*every, strict=False):
            if len({(name, a.shape[-1]) for name, a in group}) == 1 and len({len(e) for e in every}) == 1:
                found.append((group[0][0], self.xp.stack([a for _, a in group])))
        return found

    def _activations(self, at: int, names: Sequence[str]) -> list[tuple[str, Array]]:
        nodes: dict[int, Node] = {}
        waiting: list[Any] = [y._node for y in self.ran[at].results]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Node) and node.index not in nodes:
                nodes[node.index] = node
                waiting.extend(node.parents)
        n, m = self.all.sizes[at], len(self.sequence_numbers)
        numbers = self.xp.asarray(np.asarray(self.sequence_numbers))
        found = []
        for index in sorted(nodes):
            node = nodes[index]
            if node.primitive.name in names and node.ans is not None and node.ans.ndim == 2 and len(node.ans) == n:
                rows = self.xp.zeros((m, node.ans.shape[1]))
                runs = numbers < n
                rows[runs] = node.ans[numbers[runs]]
                found.append((node.primitive.name, rows))
        return found

    def pull(self, visit: int, g: Cotangents, weights: bool = False) -> list[Any]:
        n, at = self.visits.sizes[visit], self.first + visit
        if any(y._data.dtype.itemsize < 8 for y in self.ran[at].results):
            g.rescale(1.0, 1.0)  # the engine sweeps in the dtype of the cell, in which 1e-46 is 0
        values = [v[:n] for v in g.values]
        count = values[0].shape[1]
        numbers = np.asarray(self.sequence_numbers)[:n]
        shares: list[Any] = []
        if weights:
            shares = self._shares(at, values, g.log[:n], numbers)
        pulled = self._together(at, values, numbers, count)
        for old, new in zip(values, pulled, strict=True):
            old[...] = new
        return shares

    def _together(self, at: int, values: list[Array], numbers: Array, count: int) -> list[Array]:
        """Pull all cotangents in one sweep, from a step on as many copies of the sequences; or one by one."""
        ran, whole = self.ran[at], len(numbers) == self.all.sizes[at]
        if count == 1 and whole:
            return [a[:, None] for a in self._swept(ran, [v[:, 0] for v in values])]
        copies = None if self.apart else self._copies(at, np.repeat(numbers, count))
        if copies is not None:
            flat = self._swept(copies, [v.reshape(-1, v.shape[-1]) for v in values])
            return [a.reshape(len(numbers), count, -1) for a in flat]
        self.apart = True
        pulled = [self.xp.zeros_like(v) for v in values]
        for k in range(count):
            found = self._swept(ran, self._placed(ran, [v[:, k] for v in values], numbers))
            for new, a in zip(pulled, found, strict=True):
                new[:, k] = a[self.xp.asarray(numbers)]
        return pulled

    def _copies(self, at: int, chosen: Array) -> _Ran | None:
        """A step on copies of some sequences; None if it does not do to a copy what it did to the sequence."""
        ran, index = self.ran[at], self.xp.asarray(chosen)
        leaves = tuple([wrap(s._data[index]).requires_grad_() for s in ran.states])
        try:
            with draws_undone():
                results = self._applied(at, leaves, chosen)
        except Exception:  # a cell may hold arrays for just so many sequences
            return None
        alike = [self._alike(a._data, b._data[index]) for a, b in zip(results, ran.results, strict=True)]
        return _Ran(leaves, results) if all(alike) else None

    def _alike(self, a: Array, b: Array) -> bool:
        """Whether two runs of a step gave the same, up to the roundings of products of other shapes."""
        tolerance = 100 * float(np.finfo(a.dtype).eps)
        scale = float(abs(b).max(initial=0))
        return bool(self.xp.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True))

    def _placed(self, ran: _Ran, values: list[Array], numbers: Array) -> list[Array]:
        """Cotangents of chosen sequences among those of all."""
        placed = []
        for result, v in zip(ran.results, values, strict=True):
            whole = self.xp.zeros(result._data.shape)
            whole[self.xp.asarray(numbers)] = v
            placed.append(whole)
        return placed

    def _swept(self, ran: _Ran, values: list[Array], weights: bool = False) -> list[Any]:
        """The cotangents of the states before a step, from those of the states after it; or of the weights, or None."""
        wanted = [w for w in self.weights if w is not None] if weights else list(ran.states)
        outputs = [(y, wrap(v.astype(y._data.dtype))) for y, v in zip(ran.results, values, strict=True) if y._node]
        found: Sequence[Any] = [None] * len(wanted)
        if outputs and wanted:
            ys, gs = zip(*outputs, strict=True)
            found = unwatched(grad, ys, tuple(wanted), gs, retain_graph=True, allow_unused=True)
        if weights:
            return [None if f is None else f._data for f in found]
        return [self.xp.zeros(t._data.shape) if f is None else f._data for t, f in zip(wanted, found, strict=True)]

    def _shares(self, at: int, values: list[Array], log: Array, numbers: Array) -> list[Any]:
        """The shares of the weights, for one cotangent after the other."""
        pairs: list[list[tuple[float, Any]]] = [[] for _ in self.weights]
        ran = self.ran[at]
        for k in range(log.shape[1]):
            largest = float(log[:, k].max(initial=-np.inf))
            largest = largest if np.isfinite(largest) else 0.0
            scale = self.xp.exp(log[:, k] - largest)[:, None]
            found = iter(self._swept(ran, self._placed(ran, [v[:, k] * scale for v in values], numbers), True))
            for of_weight, w in zip(pairs, self.weights, strict=True):
                of_weight.append((largest, None if w is None else next(found)))
        return [None if p[0][1] is None else Summed(tuple(p)) for p in pairs]
