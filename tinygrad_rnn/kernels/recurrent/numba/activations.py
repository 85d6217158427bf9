"""Activations: tanh, the logistic function and exp as arithmetic that a compiler turns into vector instructions.

All are made of ``exp(u) = 2^k exp(r)`` with u = k log 2 + r and |r| <= log(2) / 2, where exp(r) - 1 is its Taylor
polynomial, cut where the rest is less than half a unit in the last place:

    tanh(x) = e / (e + 2)   with e = exp(2x) - 1 = 2^k (exp(r) - 1) + (2^k - 1), which loses nothing near 0
    sigmoid(x) = E / (E + 1)   with E = exp(x)
    exp(x) = exp(x / 2)^2, as 2^k has no exponent for the largest and the smallest results

``u / log 2 + MAGIC`` is too large to have a fraction, so it rounds to a whole number, k, and k stands in its lowest
bits: shifted to where a number has its exponent, and added to those of 1, they are 2^k.  Arguments beyond which the
result no longer changes are cut off first.  nan stays nan.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .jit import compiled, overload, types

__all__ = ["exp", "expm1", "sigmoid", "tanh"]


def _split_32(u: Any) -> Any:
    """2^k and exp(r) - 1, in float32."""
    magic = np.float32(1.5 * 2**23)
    shifted = u * np.float32(1.4426950408889634) + magic  # 1 / log 2
    k = shifted - magic
    r = u - k * np.float32(0.693359375) - k * np.float32(-2.1219444005469057e-4)  # log 2 in two parts
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    power = np.int32((np.float32(shifted).view(np.int32) << np.int32(23)) + np.int32(0x3F800000))
    return power.view(np.float32), p * r * r + r


def _split_64(u: Any) -> Any:
    """2^k and exp(r) - 1, in float64."""
    magic = 1.5 * 2.0**52
    shifted = u * 1.4426950408889634 + magic
    k = shifted - magic
    r = u - k * 0.6931471803691238 - k * 1.9082149292705877e-10
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 1 / 2
    power = np.int64((np.float64(shifted).view(np.int64) << 52) + 0x3FF0000000000000)
    return power.view(np.float64), p * r * r + r


def _split(u: Any) -> Any:
    raise NotImplementedError("only in compiled code")


@overload(_split)
def _choose_split(u: Any) -> Any:
    return _split_32 if u == types.float32 else _split_64


def _beyond_32(u: Any) -> Any:
    """A number of the type of u whose exp has an infinite square, and that of its negative one that is 0."""
    return np.float32(60)


def _beyond_64(u: Any) -> Any:
    return 400.0


def _beyond(u: Any) -> Any:
    raise NotImplementedError("only in compiled code")


@overload(_beyond)
def _choose_beyond(u: Any) -> Any:
    return _beyond_32 if u == types.float32 else _beyond_64


@compiled
def tanh(x: Any) -> Any:
    """tanh(x), within 3 units in the last place."""
    kind = type(x)
    u = x + x
    if u > kind(40):
        u = kind(40)
    if u < kind(-40):
        u = kind(-40)
    power, p = _split(u)
    e = power * p + (power - kind(1))
    return e / (e + kind(2))


@compiled
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), within 3 units in the last place down to x = -87, where it is 2e-38; below it is 0."""
    kind = type(x)
    u = x
    if u > kind(80):
        u = kind(80)
    power, p = _split(u)  # below -87 they mean nothing
    power = power * p + power
    y = power / (power + kind(1))
    return kind(0) if x < kind(-87) else y


@compiled
def exp(x: Any) -> Any:
    """exp(x), within 4 units in the last place; infinite and 0 where NumPy's is, subnormal where it is."""
    kind = type(x)
    u = x * kind(0.5)
    most = _beyond(x)
    if u > most:
        u = most
    if u < -most:
        u = -most
    power, p = _split(u)
    root = power * p + power
    return root * root


@compiled
def expm1(x: Any) -> Any:
    """exp(x) - 1, within 4 units in the last place, near 0 too."""
    kind = type(x)
    u = x
    if u > kind(40):
        u = kind(40)
    if u < kind(-40):
        u = kind(-40)
    power, p = _split(u)
    near = power * p + (power - kind(1))
    return exp(x) if x > kind(40) else near
