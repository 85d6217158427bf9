"""Causality: whether a prediction has seen its answer, told by which gradients are exactly 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import array_module, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentTypeError, LeakError, ShapeError
from ..tape.grad import grad
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .cotangents import logarithm
from .result import COLOURS, GREY, Result, colour_bar

__all__ = ["Causality", "causality"]


@dataclass(frozen=True, eq=False)
class Causality(Result):
    """Which elements of a sequence each prediction reads, and which its target.

    Attributes:
        log_norm: log |d prediction_t / d sequence_s|, (T, S); -inf where it does not read it.
        first_read_by_target: of each prediction, the first element that its target reads (T); t + 1 if no targets were
            given, S where a target reads none.
    """

    log_norm: Array
    first_read_by_target: Array

    @property
    def leaks(self) -> list[tuple[int, int]]:
        """``(t, s)`` of every prediction t that reads an element s which its target reads, or a later one."""
        reads = np.isfinite(self.log_norm) & (np.arange(self.log_norm.shape[1]) >= self.first_read_by_target[:, None])
        return [(int(t), int(s)) for t, s in np.argwhere(reads)]

    @property
    def last_read(self) -> Array:
        """The last element that each prediction reads (T); -1 if it reads none."""
        read = np.isfinite(self.log_norm)
        found: Array = np.where(read.any(1), read.shape[1] - 1 - read[:, ::-1].argmax(1), -1)
        return found

    def check(self) -> Causality:
        """This result, if no prediction has seen its answer.

        Raises:
            LeakError: one has; the message names it, and what to look for.
        """
        if not self.leaks:
            return self
        t, s = self.leaks[0]
        where = f"prediction {t} depends on element {s} of the sequence, which is in its target or comes after it"
        forwards = len(set(self.last_read - np.arange(len(self.last_read)))) == 1  # the last one read moves with t
        likely = (
            "The target is not shifted: prediction t must be compared with element t + 1"
            if forwards
            else "Look for a bidirectional layer, a normalisation over time, or attention without a mask"
        )
        raise LeakError(f"{where} ({len(self.leaks)} such pairs). {likely}")

    def head(self) -> str:
        count = len(self.leaks)
        return "causal: no prediction has seen its answer" if not count else f"not causal: {count} gradients leak"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (t, int(last), int(first))
            for t, (last, first) in enumerate(zip(self.last_read, self.first_read_by_target, strict=True))
        ]
        return ("prediction", "last element read", "first element of its target"), rows

    def draw(self, ax: Any) -> None:
        image = ax.imshow(
            np.ma.masked_invalid(self.log_norm), cmap="cividis", interpolation="nearest", aspect="auto", origin="lower"
        )
        colour_bar(ax, image, "log norm (nats)")
        steps = np.arange(len(self.log_norm) + 1) - 0.5
        first = np.append(self.first_read_by_target, self.first_read_by_target[-1]) - 0.5
        ax.step(first, steps, where="pre", color=COLOURS[3], linewidth=2, label="the answer begins")
        if self.leaks:
            t, s = np.array(self.leaks).T
            ax.plot(s, t, "x", color=GREY, markersize=4, label="leak")
        ax.set_xlabel("element s of the sequence")
        ax.set_ylabel("prediction t")
        ax.set_title("|d prediction_t / d element_s|; empty: exactly 0")
        ax.legend(loc="upper left", fontsize=8)


@unreported
def causality(predict: Callable[[Tensor], Any], sequence: Any, *, seed: int = 0) -> Causality:
    """Which elements of a sequence each prediction depends on, and whether its answer is among them.

    A language model predicts element t + 1 from the elements up to t.  Where the answer gets into the input, the loss
    becomes small and the model worthless; the loss does not tell, but the gradients do:

        d prediction_t / d sequence_s = 0 exactly   for all s from the first element on that target t reads

    because nothing is computed from these.  A gradient that vanishes is not exactly 0, unless it underflows: use
    float64 for long sequences.

    Args:
        predict: ``predict(sequence)`` gives the predictions (T, N, ...), and beside them, as a pair, the targets
            (T, N, ...) if there are any.  Both are computed from the sequence, so that it is seen which of its elements
            each reads.  Without targets, prediction t must read nothing beyond element t.
        sequence: (S, N, ...), floating point: of words their one-hot vectors, ``one_hot @ embedding.weight``.
        seed: of the random cotangents, one draw for each prediction, which make it impossible that gradients cancel.

    Returns:
        :class:`Causality`; ``causality(...).check()`` raises if there is a leak.

    Raises:
        ArgumentTypeError: a sequence of whole numbers, or ``predict`` gives something else.
        ShapeError: predictions and targets differ in length.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> text = tg.randn(6, 2, 3)
    >>> one, both = tg.nn.GRU(3, 4), tg.nn.GRU(3, 4, bidirectional=True)
    >>> causality(lambda s: (one(s[:-1])[0], s[1:]), text).check().leaks        # from t, predict t + 1
    []
    >>> causality(lambda s: (one(s)[0], s), text).check()                       # from t, predict t
    Traceback (most recent call last):
        ...
    tinygrad_rnn.errors.LeakError: prediction 0 depends on element 0 of the sequence, which is in its target or comes \
after it (6 such pairs). The target is not shifted: prediction t must be compared with element t + 1
    >>> len(causality(lambda s: both(s[:-1])[0], text).leaks)                   # element s > t, of 5
    10
    """
    given = sequence if isinstance(sequence, Tensor) else wrap(np.asarray(sequence))
    if given.dtype.kind != "f" or given.ndim < 2:
        raise ArgumentTypeError(
            "causality(): sequence must be floating point, (S, N, ...); of words take one_hot @ embedding.weight"
        )
    xp = array_module(given._data)
    leaf = wrap(given._data.copy())
    leaf.requires_grad_(True)
    found = predict(leaf)
    predictions, targets = found if isinstance(found, tuple) else (found, None)
    for name, value in (("predictions", predictions), ("targets", targets)):
        if value is not None and not isinstance(value, Tensor):
            raise ArgumentTypeError(f"causality(): predict() must give Tensors, got {name} of {type(value).__name__}")
    if targets is not None and len(targets) != len(predictions):
        raise ShapeError(f"causality(): {len(predictions)} predictions, but {len(targets)} targets")
    draws = np.random.default_rng(seed)
    log_norm = _norms(predictions, leaf, xp, draws)
    if targets is None:
        return Causality(log_norm, np.arange(1, len(log_norm) + 1))
    read = np.isfinite(_norms(targets, leaf, xp, draws))
    return Causality(log_norm, np.where(read.any(1), read.argmax(1), read.shape[1]))


def _norms(of: Tensor, leaf: Tensor, xp: Any, draws: np.random.Generator) -> Array:
    """Logarithms of the norms of the derivatives of each row of a tensor by each row of a leaf."""
    logs = np.full((len(of), len(leaf)), -np.inf)
    if not of.requires_grad:
        return logs
    for t in range(len(of)):
        seed = xp.zeros(of._data.shape, of._data.dtype)
        seed[t] = xp.asarray(draws.uniform(0.5, 1.5, of._data.shape[1:]), seed.dtype)
        g = grad(of, leaf, wrap(seed), retain_graph=True, allow_unused=True)[0]
        if g is not None:
            rows = to_numpy(g._data).astype(np.float64).reshape(len(leaf), -1)
            largest = abs(rows).max(1)  # first, as squares of small numbers are 0
            scaled = rows / np.where(largest > 0, largest, 1)[:, None]
            logs[t] = logarithm(largest) + 0.5 * logarithm((scaled**2).sum(1))
    return logs
