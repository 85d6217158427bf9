"""Shares: what each step of each layer contributed to the gradient of each weight.

    dE/dW = sum_t (share of step t),        of W_hh for instance  sum_n dz_t[n] h_(t-1)[n]^T

A weight of a recurrent layer is used once per step, and its gradient is the sum over the uses.  A kernel adds them up
as one product; here they are apart, of layers that run as one record as well: the cotangents of the output come from
one watched sweep, and are pulled back through the steps (:mod:`.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError
from ..nn.utils.rnn import PackedSequence
from ..tape.grad import grad
from ..tape.modes import unwatched
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import Cotangents
from .recorded_steps import Summed
from .recurrence import ComposedRecurrence, External, Recorded, Recurrence, run_model
from .resolution import Resolution, resolution, shade
from .result import COLOURS, MARKERS, Result
from .steps import Frozen

Carry = Callable[[int, Cotangents, int], None]

__all__ = ["Cumulative", "ShareOf", "Shares", "Walk", "loss_of_batch", "shares"]


@dataclass(frozen=True, eq=False)
class ShareOf:
    """The shares of one parameter at one layer.

    Attributes:
        parameter: its name in the model.
        place: of the layer.
        times: the time steps (L), in the order in which the layer reads.
        log_norm: log |share of that step|_F, whatever its size (L).
        total: the sum of the shares.
    """

    parameter: str
    place: str
    times: Array
    log_norm: Array
    total: Array

    @property
    def lags(self) -> Array:
        """How many steps before the last one that is read (L)."""
        return np.arange(len(self.times), dtype=np.float64)[::-1]


@dataclass(frozen=True, eq=False)
class Cumulative(Result):
    """How much of a gradient comes from the last k steps.

    Attributes:
        parameter, place: of which.
        steps: k = 1 ... L.
        log_norm: of the sum of the last k shares.
        log_total: of the sum of all.
        cosine: of the angle between the two.
    """

    parameter: str
    place: str
    steps: Array
    log_norm: Array
    log_total: float
    cosine: Array

    def head(self) -> str:
        enough = np.flatnonzero(self.cosine > 0.99)
        text = f"{int(self.steps[enough[0]])} steps give its direction to 0.99" if len(enough) else "no direction"
        return f"{self.parameter} at {self.place}: {text}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        ratio = np.exp(self.log_norm - self.log_total) if np.isfinite(self.log_total) else self.log_norm * 0
        rows = [(int(k), float(r), float(c)) for k, r, c in zip(self.steps, ratio, self.cosine, strict=True)]
        return ("last steps", "norm / norm of all", "cosine"), rows

    def draw(self, ax: Any) -> None:
        ax.plot(self.steps, np.exp(self.log_norm - self.log_total), color=COLOURS[0], label="norm / norm of all")
        ax.plot(self.steps, self.cosine, "--", color=COLOURS[1], label="cosine")
        ax.set_xlabel("last k steps")
        ax.set_ylabel("part of the gradient")
        ax.set_title(f"{self.parameter}, {self.place}")
        ax.legend()


GIVEN = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]


def _numbered(count: int) -> list[str]:
    return [f"weight {k}" for k in range(count)]


class Walk:
    """The way back through one layer, step by step, again and again.

    Args:
        recurrence, external: the layer, and what arrived there.
        parameters: of the model, by name; none: shares are those of the weights as the layer was given them.
        sequences: of which sequences; None: of all.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        external: External,
        parameters: Mapping[str, Tensor],
        sequences: Sequence[int] | None = None,
    ) -> None:
        self.recurrence, self.external, self.parameters = recurrence, external, parameters
        if sequences is not None:
            self.external = [(a, None if b is None else b[list(sequences)]) for a, b in external]
        if isinstance(recurrence, ComposedRecurrence):
            recurrence.weights = list(parameters.values())  # a step may read any; those that it does not have no share
        self.steps = recurrence.steps(sequences)
        nodes = {id(p._node): name for name, p in parameters.items()}
        self.names = [None if w is None else nodes.get(id(w._node)) for w in recurrence.weights]
        self.computed = [
            k
            for k, (w, n) in enumerate(zip(recurrence.weights, self.names, strict=True))
            if w is not None and n is None
        ]
        self.given_names = GIVEN[: len(self.names)] if isinstance(self.steps, Frozen) else _numbered(len(self.names))
        self.computed = [k for k in self.computed if recurrence.weights[k]._node is not None]  # type: ignore[union-attr]

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return self.back(1)

    def back(
        self, count: int, carry: Carry | None = None, arriving: Carry | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """From the last visit to the first: its number, and the share of each parameter by name.

        Args:
            count: so many cotangents, which differ by what ``carry`` does to them.
            carry: ``carry(visit, g, n)`` may change what is carried to the visit before, of the first n sequences.
            arriving: ``arriving(visit, g, n)`` sees the whole cotangents of the states after a visit.
        """
        steps, visits = self.steps, self.steps.visits
        xp = steps.xp
        g = steps.cotangents(count)
        for state, (_, final) in enumerate(self.external):
            if final is not None:  # of a sequence that has ended it waits until that runs
                g.inject(state, (slice(None), slice(None)), xp.asarray(final, np.float64)[:, None])
        for visit in range(steps.length - 1, -1, -1):
            n = visits.sizes[visit]
            rows = xp.asarray(visits.rows[visit, :n])
            for state, (series, _) in enumerate(self.external):
                if series is not None:
                    g.inject(state, (slice(n), slice(None)), xp.asarray(series[rows], np.float64)[:, None])
            if arriving is not None:
                arriving(visit, g, n)
            yield visit, self._by_name(steps.pull(visit, g, weights=True), count)
            if carry is not None:
                carry(visit, g, n)
            g.rescale()

    def _by_name(self, terms: list[Any], count: int) -> dict[str, Any]:
        if not self.parameters:
            return {name: t for name, t in zip(self.given_names, terms, strict=True) if t is not None}
        found = {name: t for name, t in zip(self.names, terms, strict=True) if name is not None and t is not None}
        given = [(self.recurrence.weights[k], terms[k]) for k in self.computed if terms[k] is not None]
        pairs: dict[str, list[tuple[float, Array]]] = {}
        for k in range(count if given else 0):  # of weights computed of parameters: dropped, normalised, sliced
            scaled = [t.scaled(k) for _, t in given]
            largest = max(log for log, _ in scaled)
            outputs = tuple([w for w, _ in given if w is not None])
            gs = [
                wrap((np.exp(log - largest) * a).astype(w._data.dtype))
                for w, (log, a) in zip(outputs, scaled, strict=True)
            ]
            pulled = unwatched(grad, outputs, tuple(self.parameters.values()), gs, True, allow_unused=True)
            for name, p in zip(self.parameters, pulled, strict=True):
                if p is not None:
                    assert name not in found
                    pairs.setdefault(name, []).append((largest, p._data))
        return found | {name: Summed(tuple(p)) for name, p in pairs.items()}


@dataclass(frozen=True, eq=False)
class Shares(Result):
    """The shares of all steps in the gradients of the weights of recurrent layers.

    Attributes:
        loss: the loss.
        of: for each layer and parameter its shares.
        gradient: of each parameter of the model, by name, as the sweep gave it.
        by: "lag" or "step": what the table and the picture are by.
        dtype: of the model.
    """

    loss: float
    of: tuple[ShareOf, ...]
    gradient: Mapping[str, Array]
    by: str
    dtype: str
    _walks: Mapping[str, Walk] = field(repr=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters that have shares."""
        return tuple(dict.fromkeys([s.parameter for s in self.of]))

    def __getitem__(self, parameter: str) -> ShareOf:
        """The shares of a parameter, at the first layer that uses it."""
        return self._of(parameter, None)

    def _of(self, parameter: str, place: str | None) -> ShareOf:
        for s in self.of:
            if s.parameter == parameter and place in (None, s.place):
                return s
        raise ArgumentError(f"{parameter!r} has no shares; there are those of {', '.join(self.parameters) or 'none'}")

    def total(self, parameter: str) -> Array:
        """The sum of the shares of a parameter over all layers that use it: its gradient, if nothing else does."""
        first = self._of(parameter, None)
        others = [s.total for s in self.of if s.parameter == parameter and s is not first]
        return sum(others, first.total)

    @unreported
    def array(self, parameter: str, t: int, place: str | None = None) -> tuple[float, Array]:
        """The share of time step t: the logarithm of a factor, and the array that it multiplies.

        Raises:
            ArgumentError: there is no such parameter or step.
        """
        one = self._of(parameter, place)
        for visit, terms in self._walks[one.place]:
            if int(one.times[visit]) == t:
                log, array = terms[parameter].scaled()
                return log, to_numpy(array)
        raise ArgumentError(f"there is no step {t} at {one.place}")

    @unreported
    def cumulative(self, parameter: str, place: str | None = None) -> Cumulative:
        """How much of a gradient comes from the last k steps, and its cosine with the whole."""
        one = self._of(parameter, place)
        total = one.total
        largest = float(one.log_norm.max(initial=-np.inf))
        largest = largest if np.isfinite(largest) else 0.0
        whole = _norm(total)
        sum_, norms, cosines = np.zeros(total.shape), [], []
        for _, terms in self._walks[one.place]:
            log, array = terms[parameter].scaled()
            sum_ += np.exp(log - largest) * to_numpy(array)
            size = _norm(sum_)
            with np.errstate(divide="ignore"):
                norms.append(float(np.log(size)) + largest)
            cosines.append(float((sum_ * total).sum()) / (size * whole) if size * whole > 0 else np.nan)
        with np.errstate(divide="ignore"):
            log_total = float(np.log(whole))
        steps = np.arange(1, len(norms) + 1, dtype=np.float64)
        return Cumulative(parameter, one.place, steps, np.array(norms), log_total, np.array(cosines))

    @unreported
    def resolution(self, parameter: str, place: str | None = None) -> Resolution:
        """What each share is worth in the dtype of the model, added from the last step to the first, as in a sweep."""
        one, terms, logs = self._of(parameter, place), [], []
        for visit, found in self._walks[one.place]:
            log, array = found[parameter].scaled()
            with np.errstate(all="ignore"):
                terms.append((np.exp(log) * to_numpy(array)).astype(self.dtype))
            logs.append(float(one.log_norm[visit]))
        return resolution(terms, log_norms=logs)

    def head(self) -> str:
        return f"loss {self.loss:.6g}; log norms of the shares of {len(self.parameters)} parameters by {self.by}"

    def _positions(self, one: ShareOf) -> Array:
        return one.lags if self.by == "lag" else one.times

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        table: dict[int, dict[int, float]] = {}
        for k, one in enumerate(self.of):
            for position, log in zip(self._positions(one), one.log_norm, strict=True):
                table.setdefault(int(position), {})[k] = float(log)
        count = len(self.of)
        rows = [(at, *[table[at].get(k, -np.inf) for k in range(count)]) for at in sorted(table)]
        several = len({one.place for one in self.of}) > 1
        names = [f"{one.parameter} ({one.place})" if several else one.parameter for one in self.of]
        return (self.by, *names), rows

    def draw(self, ax: Any) -> None:
        for k, one in enumerate(self.of):
            style = {"color": COLOURS[k % 8], "marker": MARKERS[k % 8], "markersize": 4}
            every = max(1, len(one.times) // 12)
            ax.plot(self._positions(one), one.log_norm, label=one.parameter, linewidth=1.2, markevery=every, **style)
        if len({one.place for one in self.of}) == 1:
            one = self.of[-1] if len(self.of) < 2 else self.of[1]
            labels = self.resolution(one.parameter, one.place).labels[::-1]
            shade(ax, self._positions(one).tolist(), labels)
        ax.set_xlabel("lag (steps before the last one)" if self.by == "lag" else "time step")
        ax.set_ylabel("log norm of the share (nats)")
        ax.legend(fontsize="small")


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.reshape(-1)))


def loss_of_batch(model: Any, loss_fn: Callable[..., Tensor], batch: Any) -> Callable[[], Tensor]:
    """A function without arguments that runs the model on a batch, and gives the loss.

    Args:
        batch: the input; or a tuple of it and what ``loss_fn`` gets after the output.
    """
    packed = isinstance(batch, PackedSequence)
    inputs, *targets = batch if isinstance(batch, (tuple, list)) and not packed else (batch,)
    targets = [wrap(t) if is_array(t) else t for t in targets]

    def run() -> Tensor:
        loss = loss_fn(run_model(model, inputs), *targets)
        if not isinstance(loss, Tensor) or loss._data.size != 1:
            raise ArgumentTypeError(f"loss_fn must give one Tensor of one number, not {type(loss).__name__}")
        return loss

    return run


@unreported
def shares(model: Any, loss_fn: Callable[..., Tensor], batch: Any, *, by: str = "lag") -> Shares:
    """What each step of each recurrent layer contributes to the gradient of each of its parameters.

        dE/dW = sum_t share_t,    share_t = dE/ds_t  d+s_t/dW        (d+: with s_(t-1) held fixed)

    Args:
        model: a recurrent layer, or any model that contains one.
        loss_fn: ``loss_fn(output, *targets)`` gives the loss.
        batch: the input, or a tuple of the input (itself a tuple if the model takes several arguments) and targets.
        by: what the table is by: "lag", steps before the last one that is read, or "step", time steps.

    Returns:
        :class:`Shares`.  ``.grad`` of the parameters is left as it is.  ``total`` is that gradient where nothing but
        these layers uses the parameter.

    Raises:
        ArgumentError: no recurrent layer ran, or an unknown ``by``.
        GraphError: the loss depends on no parameter; or it reads gates, not only outputs and states.

    Source: the sum is that of P. Werbos, "Backpropagation through time" (1990); norms of shares by products of rows:
    I. Goodfellow, "Efficient per-example gradient computations" (2015).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net, x = tg.nn.LSTM(2, 4, dtype=tg.float64), tg.randn(20, 3, 2, dtype=tg.float64)
    >>> found = shares(net, lambda output: (output[0][-1] ** 2).sum(), x)
    >>> found.parameters
    ('weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0')
    >>> bool(abs(found.total("weight_hh_l0") - found.gradient["weight_hh_l0"]).max() < 1e-15)
    True
    """
    if by not in ("lag", "step"):
        raise ArgumentError(f"shares(): by must be 'lag' or 'step', got {by!r}")
    recorded = Recorded(model, loss_of_batch(model, loss_fn, batch))
    arrived = recorded.sweep(recorded.result)
    found: list[ShareOf] = []
    walks: dict[str, Walk] = {}
    for layer, external in zip(recorded.layers, arrived, strict=True):
        place, call = layer.place, 2
        while place in walks:  # a layer that is called again
            place, call = f"{layer.place}, call {call}", call + 1
        walks[place] = walk = Walk(layer, external, recorded.parameters)
        logs: dict[str, Array] = {}
        totals: dict[str, Array] = {}
        for visit, terms in walk:
            for name, term in terms.items():
                logs.setdefault(name, np.full(walk.steps.length, -np.inf))[visit] = term.log_norm()
                log, array = term.scaled()
                with np.errstate(all="ignore"):
                    share = np.exp(log) * to_numpy(array)
                totals[name] = totals[name] + share if name in totals else share
        times = np.array(walk.steps.visits.times, np.float64)
        found += [ShareOf(name, place, times, logs[name], totals[name]) for name in logs]
    kind = recorded.layers[-1].dtype.name
    return Shares(float(recorded.result._data), tuple(found), recorded.gradients, by, kind, walks)
