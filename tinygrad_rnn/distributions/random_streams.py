"""Draws of gamma, Poisson and binomial numbers, one after the other: those of PyTorch on the CPU for the same seed.

Each number takes as many fractions of the random stream as its rejections need, so they cannot be drawn side by side.

Sources: G. Marsaglia and W. Tsang, "A simple method for generating gamma variables" (2000); W. Hoermann, "The
transformed rejection method for generating Poisson random variables" (1993), algorithm PTRS, and "The generation of
binomial random variates" (1993), algorithm BTRS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..backend.random.generator import Generator, default_generator
from ..tape.tensor import Tensor, wrap

__all__ = ["binomial", "gamma", "poisson"]

AHEAD = 4
"""So many fractions for each number are drawn ahead; what is not used goes back."""


class Fractions:
    """The fractions of a generator, one at a time; at the end it stands where PyTorch's does."""

    def __init__(self, source: Generator, count: int) -> None:
        self.source, self.block, self.place = source, max(AHEAD * count, 16), 0
        self.before, self.waiting = source.get_state(), source.next_normal
        self.values: list[float] = []
        self.used = 0

    def __call__(self) -> float:
        if self.place == len(self.values):
            self.values, self.place = self.source.fractions53(self.block).tolist(), 0
        self.place += 1
        self.used += 1
        return self.values[self.place - 1]

    def normal(self) -> float:
        """Of a pair first the cosine, then the sine."""
        if self.waiting is not None:
            value, self.waiting = self.waiting, None
            return value
        turn, depth = self(), self()
        radius, angle = math.sqrt(-2.0 * math.log1p(-depth)), 2.0 * math.pi * turn
        self.waiting = radius * math.sin(angle)
        return radius * math.cos(angle)

    def finish(self) -> None:
        """Give back what was drawn ahead."""
        self.source.set_state(self.before)
        self.source.fractions53(self.used)
        self.source.next_normal = self.waiting


THIRD, EDGE = float(np.float32(1.0) / np.float32(3.0)), float(np.float32(0.0331))
"""PyTorch has these constants in float32."""


def _gamma(alpha: float, u: Fractions, rounded: Callable[[float], float] = float) -> float:
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - u()) ** rounded(1 / alpha)
        alpha = rounded(alpha + 1)
    d = rounded(alpha - THIRD)
    c = 1 / math.sqrt(9 * d)
    while True:
        x = u.normal()
        y = 1 + c * x
        while y <= 0:
            x = u.normal()
            y = 1 + c * x
        v = y * y * y
        w, square = 1 - u(), x * x
        if w < 1 - EDGE * square * square or math.log(w) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v


def _poisson(rate: float, u: Fractions) -> float:
    if rate < 10:
        least, product, count = math.exp(-rate), 1.0, 0
        while rate:
            product *= u()
            if product <= least:
                break
            count += 1
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse, limit, log_rate = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2), math.log(rate)
    while True:
        x = u() - 0.5
        v = u()
        s = 0.5 - abs(x)
        k = math.floor((2 * a / s + b) * x + rate + 0.43)
        if s >= 0.07 and v <= limit:
            return k
        if k < 0 or (s < 0.013 and v > s):
            continue
        if math.log(v) + math.log(inverse) - math.log(a / (s * s) + b) <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def _binomial(count: float, p: float, u: Fractions) -> float:
    if count <= 0 or p <= 0:
        return 0.0
    if p >= 1:
        return count
    if p > 0.5:
        return count - _rare(count, 1 - p, u)
    return _rare(count, p, u)


def _rare(count: float, p: float, u: Fractions) -> float:
    if count * p < 10:
        total, trials, log = 0.0, -1, math.log1p(-p)
        while total <= count:
            total += math.ceil(math.log(u()) / log)
            trials += 1
        return trials
    deviation = math.sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c, limit, r = count * p + 0.5, 0.92 - 4.2 / b, p / (1 - p)
    alpha, m = (2.83 + 5.1 / b) * deviation, math.floor((count + 1) * p)
    while True:
        x = u() - 0.5
        v = u()
        s = 0.5 - abs(x)
        k = math.floor((2 * a / s + b) * x + c)
        if s >= 0.07 and v <= limit:
            return k
        if k < 0 or k > count:
            continue
        v = math.log(v * alpha / (a / (s * s) + b))
        bound = (m + 0.5) * math.log((m + 1) / (r * (count - m + 1)))
        bound += (count + 1) * math.log((count - m + 1) / (count - k + 1))
        bound += (k + 0.5) * math.log(r * (count - k + 1) / (k + 1))
        bound += _tail(m) + _tail(count - m) - _tail(k) - _tail(count - k)
        if v <= bound:
            return k


def _tail(k: float) -> float:
    """log(k!) less Stirling's (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2."""
    if k <= 9:
        return math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - 0.5 * math.log(2 * math.pi)
    square = (k + 1) ** 2
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def _each(draw: Callable[..., float], *parameters: Tensor) -> Any:
    arrays = [to_numpy(p._data).astype(np.float64) for p in parameters]
    like = parameters[0]
    fractions = Fractions(default_generator, arrays[0].size)
    rows: Iterator[Any] = zip(*[a.ravel().tolist() for a in arrays], strict=True)
    try:
        values = [draw(*row, fractions) for row in rows]
    finally:
        fractions.finish()
    made = np.array(values, np.float64).reshape(arrays[0].shape).astype(like.dtype)
    return wrap(made).to(like.device)


def _single(value: float) -> float:
    return float(np.float32(value))


def gamma(concentration: Tensor) -> Any:
    """A number of the standard gamma distribution for each concentration, at least the smallest normal one."""
    if concentration.dtype == np.float64:
        drawn = _each(_gamma, concentration)
    else:  # PyTorch's concentration is of float32 in the computation
        drawn = _each(lambda alpha, u: _gamma(alpha, u, _single), concentration)
    return drawn.clamp(min=float(np.finfo(drawn.dtype).tiny))


def poisson(rate: Tensor) -> Any:
    """A Poisson number for each rate."""
    return _each(_poisson, rate)


def binomial(count: Tensor, p: Tensor) -> Any:
    """How many of ``count`` coins fell on the side that has probability p."""
    return _each(_binomial, count, p)
