"""Backward passes that people get wrong, each in its own way: what the tools for users must find and name.

``BROADCAST`` are wrong backwards of ``f(x, c) = c x / sqrt(1 + x^2)``, a Function of two arguments that broadcast.
``NATURAL`` are wrong derivatives of functions of one argument, to be had as Functions and as primitives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.ops import sum_to

__all__ = ["BROADCAST", "NATURAL", "Natural", "Wrong", "right"]


class Wrong(NamedTuple):
    """A wrong backward pass.

    Attributes:
        name: the class of the Function.
        backward: ``(g, x, c) -> (gradient of x, gradient of c)``.
        says: a regular expression for the report of ``assert_gradients``.
        laws: one for the report of ``assert_laws``, where they must find it.
        forward: instead of f.
        at: the smallest example at which it shows: values of x and c.
        order: the order at which it shows.
    """

    name: str
    backward: Callable[[Any, Any, Any], tuple[Any, Any]]
    says: str
    laws: str | None = None
    forward: Callable[[Any, Any], Any] | None = None
    at: tuple[Any, Any] = (1.0, 1.0)
    order: int = 1

    def function(self) -> Any:
        """The Function."""
        wrong = self

        class Function(tg.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, c: Any) -> Any:
                ctx.save_for_backward(x, c)
                return (wrong.forward or value)(x, c)

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return wrong.backward(g, *ctx.saved_tensors)

        Function.__name__ = self.name
        return Function


def value(x: Any, c: Any) -> Any:
    return c * x / tg.sqrt(1 + x * x)


def dx(x: Any, c: Any) -> Any:
    return c * (1 + x * x) ** -1.5


def dc(x: Any) -> Any:
    return x / tg.sqrt(1 + x * x)


def right(g: Any, x: Any, c: Any) -> tuple[Any, Any]:
    """The right one.  The engine sums over axes that were broadcast, as PyTorch's does."""
    return g * dx(x, c), g * dc(x)


def mean_for_sum(g: Any, x: Any, c: Any) -> tuple[Any, Any]:
    gradient = g * dc(x)
    return g * dx(x, c), sum_to(gradient, tuple(c.shape)) * (c.numel() / gradient.numel())


def written_cotangent(g: Any, x: Any, c: Any) -> tuple[Any, Any]:
    return g.mul_(dx(x, c)), g * dc(x)


def writes_its_input(x: Any, c: Any) -> Any:
    x._data += 1e-7
    return value(x, c)


def zero_sum(g: Any, x: Any, c: Any) -> tuple[Any, Any]:
    error = np.zeros(x.shape)
    if error.size > 1:
        error.flat[0], error.flat[-1] = 0.1, -0.1
    return g * (dx(x, c) + tg.tensor(error)), g * dc(x)


def off_for(condition: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    return lambda g, x, c: (g * dx(x, c) * (1.01 if condition(x, c) else 1.0), g * dc(x))


def where(condition: Callable[[Any], Any], other: float) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The gradient of x times ``other`` where the condition holds."""
    return lambda g, x, c: (tg.where(condition(x), other * g * dx(x, c), g * dx(x, c)), g * dc(x))


def noise(g: Any, x: Any, c: Any) -> tuple[Any, Any]:
    return g * dx(x, c) + 1e-9 * float(NOISE.standard_normal()), g * dc(x)


NOISE = np.random.default_rng(0)
NUMBERS = itertools.count()

VJP = r"tape: the error first appears in record 0 of 1, {name}\(.*, which has a wrong vjp"
SECOND = r"tape: the error first appears in record 0 of \d+, {name}\(.*, which has a right vjp with a wrong derivative"
SINGLE = "backward computes in float32 somewhere"
ROW, PAIR = [[1.0], [1.0]], [1.0, 1.0]

BROADCAST = [
    Wrong("MeanForSum", mean_for_sum, VJP, at=(PAIR, 1.0)),
    Wrong("SignBelowZero", where(lambda x: x < 0, -1.0), VJP, at=(-1.0, 1.0)),
    Wrong("SlightlyTooLarge", lambda g, x, c: (g * dx(x, c) * (1 + 1e-6), g * dc(x)), VJP),
    Wrong("WrongFarOut", where(lambda x: tg.abs(x) > 1.9, 1.1), VJP, at=(2.0, 1.0)),
    Wrong("NotTimesG", lambda g, x, c: (dx(x, c) + 0 * g, dc(x) + 0 * g), VJP, "the vjp is not linear"),
    Wrong("Swapped", lambda g, x, c: (g * dc(x), g * dx(x, c)), VJP),
    Wrong("WritesCotangent", written_cotangent, VJP),  # its cotangent is its own: what it writes is wrong here alone
    Wrong("Detached", lambda g, x, c: (g * dx(x.detach(), c), g * dc(x)), SECOND, order=2),
    Wrong("LastAxisOfOne", off_for(lambda x, c: x.ndim > 0 and x.shape[-1] == 1), VJP, at=([1.0], 1.0)),
    Wrong("Transposed", off_for(lambda x, c: not x._data.flags.c_contiguous), VJP),
    Wrong("NegativeStrides", off_for(lambda x, c: min(x._data.strides, default=0) < 0), VJP),
    Wrong("ZeroAtZero", where(lambda x: x == 0, 0.0), VJP, at=(0.0, 1.0)),
    Wrong("FloatInside", lambda g, x, c: (g * dx(x, c).float().double(), g * dc(x)), SINGLE, order=2),
    Wrong("FloatOfBoth", lambda g, x, c: ((g * dx(x, c)).float(), (g * dc(x)).float()), SINGLE, SINGLE, order=2),
    Wrong("Noise", noise, "Backward is not reentrant", "two runs gave different gradients of input 0", order=2),
    Wrong("FirstAxisOfFour", off_for(lambda x, c: x.ndim > 0 and x.shape[0] >= 4), VJP, at=([1.0] * 4, 1.0)),
    Wrong("WritesInput", right, "func wrote into input 0", "input 0 was written to", forward=writes_its_input),
    Wrong("NoneFor0d", lambda g, x, c: (g * dx(x, c), g * dc(x) if c.ndim else None), VJP),
    Wrong("SecondOff", lambda g, x, c: (g * (dx(x, c) + 0.01 * (x - x.detach())), g * dc(x)), SECOND, order=2),
    Wrong("SumIsZero", zero_sum, VJP, at=(PAIR, 1.0)),
]  # fmt: skip


class Natural(NamedTuple):
    """A function of one argument and a derivative that is not its own.

    Attributes:
        name: for the class and the primitive.
        value: the function.
        slope: ``(x, y) -> wrong derivative``.
    """

    name: str
    value: Callable[[Any], Any]
    slope: Callable[[Any, Any], Any]

    def function(self) -> Any:
        """As a Function's ``apply``."""
        wrong = self

        class Function(tg.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                y = wrong.value(x)
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return g * wrong.slope(*ctx.saved_tensors)

        Function.__name__ = self.name
        return Function.apply

    def primitive(self) -> Any:
        """As a primitive, which is then in the registry."""

        def forward(a: Any) -> Any:
            return self.value(a)

        forward.__name__ = f"{self.name}{next(NUMBERS)}"
        return tg.autograd.primitive(lambda g, y, a: g * self.slope(a, y), saves=["ya"])(forward)


NATURAL = [
    Natural("Softclip", lambda x: x / tg.sqrt(1 + x * x), lambda x, y: (1 + x * x) ** -0.5),
    Natural("TanhToTheFourth", tg.tanh, lambda x, y: 1 - y**4),
    Natural("CosineCutOff", tg.sin, lambda x, y: 1 - x * x / 2),
    Natural("ExpCutOff", tg.exp, lambda x, y: 1 + x + x * x / 2),
    Natural("FactorOfTwo", lambda x: (1 + x * x) ** 2, lambda x, y: 2 * x * (1 + x * x)),
    Natural("SinhIsX", tg.cosh, lambda x, y: x),
    Natural("LostGauss", lambda x: tg.exp(-x * x), lambda x, y: -2 * x),
    Natural("LostOneMinusY", tg.sigmoid, lambda x, y: y),
    Natural("NotSquared", lambda x: tg.log(1 + x * x), lambda x, y: 2 * x / (1 + x * x) ** 2),
    Natural("PowerTooLow", lambda x: x**3, lambda x, y: 3 * x),
]
