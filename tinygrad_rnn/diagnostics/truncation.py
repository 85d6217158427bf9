"""Truncated gradients beside the whole one: the bias of cutting every k steps, the variance of cutting at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError
from ..tape.tensor import Tensor
from ..typing import Array
from .cotangents import Cotangents
from .recurrence import Recorded, chosen
from .result import COLOURS, GREY, Result
from .shares import Carry, Walk, loss_of_batch

__all__ = ["Randomised", "Truncated", "randomised", "truncated"]


@dataclass(frozen=True, eq=False)
class Truncated(Result):
    """Gradients of the weights of a layer whose state is cut off every k steps.

    Attributes:
        place: of the layer.
        k: the lengths that were tried.
        cosine: with the whole gradient, all parameters of the layer together.
        log_ratio: log(norm / norm of the whole).
        parameters: their names.
        cosines, log_ratios: the same of each parameter (number of k, number of parameters).
    """

    place: str
    k: Array
    cosine: Array
    log_ratio: Array
    parameters: tuple[str, ...]
    cosines: Array
    log_ratios: Array

    def head(self) -> str:
        return f"{self.place}: gradients truncated every k steps, against the whole one"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (int(k), float(c), float(np.exp(r)), *map(float, each))
            for k, c, r, each in zip(self.k, self.cosine, self.log_ratio, self.cosines, strict=True)
        ]
        return ("k", "cosine", "norm / norm", *[f"cosine of {name}" for name in self.parameters]), rows

    def draw(self, ax: Any) -> None:
        ax.plot(self.k, self.cosine, "o-", color=COLOURS[0], markersize=4, label="cosine")
        ax.plot(self.k, np.exp(self.log_ratio), "s--", color=COLOURS[1], markersize=4, label="norm / norm of the whole")
        ax.set_xlabel("k (steps)")
        ax.set_ylabel("against the whole gradient")
        ax.set_title(self.place)
        ax.legend()


@dataclass(frozen=True, eq=False)
class Randomised(Result):
    """Gradients of the weights of a layer, cut off at random places and weighted so that their mean is the whole one.

    Attributes:
        place: of the layer.
        p: the probability of a cut between two steps.
        bias: |mean over draws - whole| / |whole|.
        bias_error: what that is expected to be without any bias, from so many draws.
        deviation: sqrt(mean |draw - whole|^2) / |whole|.
        cosine: of each draw with the whole.
        log_ratio: of each draw, log(norm / norm of the whole).
    """

    place: str
    p: float
    bias: float
    bias_error: float
    deviation: float
    cosine: Array
    log_ratio: Array

    def head(self) -> str:
        return (
            f"{self.place}: cut with probability {self.p:g}, {len(self.cosine)} draws: bias {self.bias:.3g} "
            f"(without any, about {self.bias_error:.3g}), standard deviation {self.deviation:.3g} of the whole norm"
        )

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (k, float(c), float(np.exp(r))) for k, (c, r) in enumerate(zip(self.cosine, self.log_ratio, strict=True))
        ]
        return ("draw", "cosine", "norm / norm"), rows

    def draw(self, ax: Any) -> None:
        ax.scatter(np.exp(self.log_ratio), self.cosine, s=18, color=COLOURS[0], alpha=0.8, label="a draw")
        ax.plot([1], [1], "*", color=COLOURS[3], markersize=12, label="the whole gradient")
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.set_xlabel("norm / norm of the whole")
        ax.set_ylabel("cosine with the whole")
        ax.set_title(self.place)
        ax.legend()


def _walk(model: Any, loss_fn: Callable[..., Tensor], batch: Any, layer: int | str | None) -> Walk:
    recorded = Recorded(model, loss_of_batch(model, loss_fn, batch))
    arrived = recorded.sweep(recorded.result)
    recurrence = chosen(recorded.layers, layer)
    return Walk(recurrence, arrived[recorded.layers.index(recurrence)], recorded.parameters)


def _gradients(walk: Walk, count: int, carry: Carry | None) -> dict[str, Array]:
    """The gradients of all parameters of the layer, for each cotangent (count, ...)."""
    found: dict[str, Array] = {}
    for _, terms in walk.back(count, carry):
        for name, term in terms.items():
            log, arrays = map(to_numpy, term.all())
            with np.errstate(all="ignore"):
                share = np.exp(log).reshape((-1,) + (1,) * (arrays.ndim - 1)) * arrays
            found[name] = found[name] + share if name in found else share
    return found


def _flat(gradients: dict[str, Array]) -> Array:
    """All parameters side by side (count, size)."""
    return np.concatenate([g.reshape(len(g), -1) for g in gradients.values()], 1)


def _compared(rows: Array, whole: Array) -> tuple[Array, Array]:
    """Cosine and log ratio of norms of each row with the whole; nan where one of them is 0."""
    norms, size = np.linalg.norm(rows, axis=1), float(np.linalg.norm(whole))
    with np.errstate(all="ignore"):
        return (rows @ whole) / (norms * size), np.log(norms / size)


@unreported
def truncated(
    model: Any,
    loss_fn: Callable[..., Tensor],
    batch: Any,
    k: int | Sequence[int],
    *,
    layer: int | str | None = None,
) -> Truncated:
    """The gradient of a layer whose state is detached every k steps, against the whole gradient.

    That is what a program computes which reads a long sequence in pieces of k steps and hands the state on without
    its history: exact forward, and biased backward, by what lies further back than the last border.

    Args:
        model, loss_fn, batch: as for :func:`shares`.
        k: a number of steps, or several.
        layer: as for :func:`flow`; what arrives at it from layers above is the whole cotangent.

    Returns:
        :class:`Truncated`.

    Raises:
        ArgumentError: k is no positive number.

    Source: R. J. Williams and J. Peng (1990); C. Tallec and Y. Ollivier, "Unbiasing truncated backpropagation through
    time" (2017).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net, x = tg.nn.LSTM(2, 8), tg.randn(32, 4, 2)
    >>> found = truncated(net, lambda output: (output[0] ** 2).sum(), x, k=[1, 8, 32])
    >>> bool(found.cosine[0] < found.cosine[1] < found.cosine[2]), round(float(found.cosine[2]), 6)
    (True, 1.0)
    """
    lengths = [k] if isinstance(k, int) else list(k)
    if not lengths or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in lengths):
        raise ArgumentError(f"truncated(): k must be a number of steps, at least 1, or several; got {k!r}")
    walk = _walk(model, loss_fn, batch, layer)
    whole = _gradients(walk, 1, None)
    cosines, ratios, by_parameter = [], [], []
    for length in lengths:

        def cut(visit: int, g: Cotangents, n: int, length: int = length) -> None:
            if visit % length == 0:
                for values in g.values:
                    values[:n] = 0

        found = _gradients(walk, 1, cut)
        cosine, ratio = _compared(_flat(found), _flat(whole)[0])
        cosines.append(cosine[0])
        ratios.append(ratio[0])
        by_parameter.append([_compared(found[n].reshape(1, -1), whole[n].reshape(-1)) for n in whole])
    each = np.array([[(float(c[0]), float(r[0])) for c, r in row] for row in by_parameter], np.float64)
    return Truncated(
        walk.recurrence.place,
        np.array(lengths, np.float64),
        np.array(cosines),
        np.array(ratios),
        tuple(whole),
        each[..., 0],
        each[..., 1],
    )


@unreported
def randomised(
    model: Any,
    loss_fn: Callable[..., Tensor],
    batch: Any,
    p: float,
    draws: int = 50,
    *,
    seed: int = 0,
    layer: int | str | None = None,
) -> Randomised:
    """Gradients that are cut off at random, against the whole one: without bias, at the price of variance.

        carried cotangent <- 0 with probability p, else it / (1 - p),   between any two steps

    so that its mean is the whole cotangent.  One draw cuts all sequences of the batch at the same places.

    Args:
        model, loss_fn, batch, layer: as for :func:`truncated`.
        p: the probability of a cut; 1 / p steps are read on average before one.
        draws: how many gradients.
        seed: of the places.

    Returns:
        :class:`Randomised`.

    Raises:
        ArgumentError: p is no probability below 1, or there are fewer than two draws.

    Source: C. Tallec and Y. Ollivier (2017), section 4.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> net, x = tg.nn.GRU(2, 4), tg.randn(16, 2, 2)
    >>> found = randomised(net, lambda output: (output[0] ** 2).sum(), x, p=0.1, draws=100)
    >>> found.bias < 3 * found.bias_error
    True
    """
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise ArgumentError(f"randomised(): p must be a probability, 0 <= p < 1; got {p!r}")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise ArgumentError(f"randomised(): two draws are the least; got {draws!r}")
    walk = _walk(model, loss_fn, batch, layer)
    random = np.random.default_rng(seed)

    def cut(visit: int, g: Cotangents, n: int) -> None:
        factors = g.xp.asarray(np.where(random.random(draws) < p, 0.0, 1 / (1 - p)))
        for values in g.values:
            values[:n] *= factors[None, :, None]

    whole = _flat(_gradients(walk, 1, None))[0]
    found = _flat(_gradients(walk, draws, cut))
    size = float(np.linalg.norm(whole))
    cosine, ratio = _compared(found, whole)
    deviation = math.sqrt(float(((found - whole) ** 2).sum(1).mean()))
    bias = float(np.linalg.norm(found.mean(0) - whole))
    return Randomised(
        walk.recurrence.place,
        float(p),
        bias / size if size else math.nan,
        deviation / math.sqrt(draws) / size if size else math.nan,
        deviation / size if size else math.nan,
        cosine,
        ratio,
    )
