"""A tape so simple that one can see that it is right.  It shares nothing with the engine but NumPy.

Values are numbered.  Each record holds the number of its result and, for each argument, a function that pulls a
cotangent back.  The backward pass goes through the records from the last to the first and adds up in a dictionary.

Where a value depends linearly on an argument (up to a constant), its derivative needs no formula: the entry k of
the pulled cotangent is ``<g, f(e_k) - f(0)>`` with the unit array e_k.  Slow, and plain from the definition.  For the
others the derivative is written out, element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["FORWARD", "NaiveTape"]

Array = np.ndarray


def softmax(a: Array, dim: int) -> Array:
    e = np.exp(a)
    return e / e.sum(axis=dim, keepdims=True)


def place(a: Array, index: Any, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape)
    np.add.at(out, index, a)
    return out


def scatter_add(a: Array, source: Array, index: Any) -> Array:
    return a + place(source, index, a.shape)


def sum_to(a: Array, shape: tuple[int, ...]) -> Array:
    a = a.sum(axis=tuple(range(a.ndim - len(shape))))
    return a.sum(axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True)


def written(a: Array, v: Array, index: Any, last: Any) -> Array:
    out = a.copy()
    out[index] = v
    return out


AFFINE: dict[str, Callable[..., Array]] = {  # in each argument, the others held fixed
    "neg": np.negative,
    "clone": np.copy,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "matmul": np.matmul,
    "linear": lambda x, weight, bias: np.einsum("...i,oi->...o", x, weight) + bias,
    "sum": lambda a, axes, keepdims: a.sum(axis=axes, keepdims=keepdims),
    "mean": lambda a, axes, keepdims: a.mean(axis=axes, keepdims=keepdims),
    "sum_to": sum_to,
    "broadcast_to": np.broadcast_to,
    "reshape": np.reshape,
    "transpose": np.swapaxes,
    "permute": lambda a, dims: a.transpose(dims),
    "cat": lambda *parts, dim, sizes: np.concatenate(parts, dim),
    "stack": lambda *parts, dim: np.stack(parts, dim),
    "getitem": lambda a, index: a[index],
    "gather": lambda a, index: a[index],
    "embedding": lambda weight, index, padding_idx: weight[index],
    "place": place,
    "scatter_add": scatter_add,
    "contiguous": np.copy,
    "cumsum": lambda a, dim, reverse: np.flip(np.cumsum(np.flip(a, dim), dim), dim) if reverse else np.cumsum(a, dim),
    "flip": lambda a, dims: np.flip(a, dims),
    "roll": lambda a, shifts, dims: np.roll(a, shifts, dims),
    "repeat": lambda a, repeats: np.tile(a, repeats),
    "diagonal": lambda a, offset, dim1, dim2: np.diagonal(a, offset, dim1, dim2),
    "contract": lambda a, b, left, right, out: np.einsum(f"{left},{right}->{out}", a, b),
    "setitem": written,
}

CURVED: dict[str, tuple[Callable[..., Array], list[Callable[..., Array]]]] = {  # value; derivative by each argument
    "exp": (np.exp, [np.exp]),
    "log": (np.log, [lambda a: 1 / a]),
    "tanh": (np.tanh, [lambda a: 1 / np.cosh(a) ** 2]),
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), [lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2]),
    "square": (np.square, [lambda a: 2 * a]),
    "sqrt": (np.sqrt, [lambda a: 0.5 * a**-0.5]),
    "rsqrt": (lambda a: a**-0.5, [lambda a: -0.5 * a**-1.5]),
    "reciprocal": (lambda a: 1 / a, [lambda a: -(a**-2.0)]),
    "abs": (np.abs, [lambda a: np.where(a > 0, 1.0, -1.0)]),
    "sign": (np.sign, [lambda a: 0 * a]),
    "relu": (lambda a: np.where(a > 0, a, 0.0), [lambda a: np.where(a > 0, 1.0, 0.0)]),
    "sin": (np.sin, [np.cos]),
    "cos": (np.cos, [lambda a: -np.sin(a)]),
    "tan": (np.tan, [lambda a: 1 / np.cos(a) ** 2]),
    "sinh": (np.sinh, [np.cosh]),
    "cosh": (np.cosh, [np.sinh]),
    "asin": (np.arcsin, [lambda a: (1 - a**2) ** -0.5]),
    "atan": (np.arctan, [lambda a: 1 / (1 + a**2)]),
    "expm1": (np.expm1, [np.exp]),
    "log1p": (np.log1p, [lambda a: 1 / (1 + a)]),
    "log2": (np.log2, [lambda a: 1 / (a * np.log(2))]),
    "clamp_number": (lambda a, low, high: np.clip(a, low, high), [lambda a, low, high: 1.0 * ((a > low) & (a < high))]),
    "logaddexp": (np.logaddexp, [lambda a, b: 1 / (1 + np.exp(b - a)), lambda a, b: 1 / (1 + np.exp(a - b))]),
    "atan2": (np.arctan2, [lambda a, b: b / (a**2 + b**2), lambda a, b: -a / (a**2 + b**2)]),
    "div": (np.divide, [lambda a, b: 1 / b + 0 * a, lambda a, b: -a / b**2]),
    "pow": (np.power, [lambda a, b: b * a ** (b - 1), lambda a, b: np.log(a) * a**b]),
    "pow_number": (
        lambda a, exponent: np.power(a, exponent),
        [lambda a, exponent: exponent * np.power(a, exponent - 1.0)],
    ),
    "maximum": (np.maximum, [lambda a, b: 1.0 * (a > b), lambda a, b: 1.0 * (b > a)]),
    "minimum": (np.minimum, [lambda a, b: 1.0 * (a < b), lambda a, b: 1.0 * (b < a)]),
}

WHOLE: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {  # value; derivative along a direction u
    "softmax": (softmax, lambda a, u, dim: softmax(a, dim) * (u - (softmax(a, dim) * u).sum(axis=dim, keepdims=True))),
    "log_softmax": (
        lambda a, dim: np.log(softmax(a, dim)),
        lambda a, u, dim: u - (softmax(a, dim) * u).sum(axis=dim, keepdims=True),
    ),
    "amax": (
        lambda a, axes, keepdims: a.max(axis=axes, keepdims=keepdims),
        lambda a, u, axes, keepdims: ((a == a.max(axis=axes, keepdims=True)) * u).sum(axis=axes, keepdims=keepdims),
    ),
    "amin": (
        lambda a, axes, keepdims: a.min(axis=axes, keepdims=keepdims),
        lambda a, u, axes, keepdims: ((a == a.min(axis=axes, keepdims=True)) * u).sum(axis=axes, keepdims=keepdims),
    ),
}

FORWARD = {**AFFINE, **{name: f for name, (f, _) in CURVED.items()}, **{name: f for name, (f, _) in WHOLE.items()}}


def derivative(name: str, args: Sequence[Array], k: int, u: Array, params: dict[str, Any]) -> Array:
    """How the value changes if argument k moves in the direction u."""
    if name in CURVED:
        return CURVED[name][1][k](*args, **params) * u
    if name in WHOLE:
        return WHOLE[name][1](args[0], u, **params)
    moved, still = list(args), list(args)
    moved[k], still[k] = u, np.zeros_like(u)
    return AFFINE[name](*moved, **params) - AFFINE[name](*still, **params)


class NaiveTape:
    """Values by number, and the records that made them."""

    def __init__(self) -> None:
        self.values: list[Array] = []
        self.records: list[tuple[int, str, tuple[int, ...], dict[str, Any]]] = []

    def leaf(self, value: Any) -> int:
        self.values.append(np.array(value, np.float64))
        return len(self.values) - 1

    def apply(self, name: str, *numbers: int, **params: Any) -> int:
        y = self.leaf(FORWARD[name](*[self.values[n] for n in numbers], **params))
        self.records.append((y, name, numbers, params))
        return y

    def gradients(self, y: int, seed: Any = 1.0) -> dict[int, Array]:
        """The gradient of ``<seed, value y>`` by every value that it depends on."""
        total = {y: np.broadcast_to(np.asarray(seed, np.float64), self.values[y].shape)}
        for result, name, numbers, params in reversed(self.records):
            if result not in total:
                continue
            args = [self.values[n] for n in numbers]
            for k, n in enumerate(numbers):
                units = np.eye(args[k].size).reshape(args[k].size, *args[k].shape)
                pulled = [(total[result] * derivative(name, args, k, u, params)).sum() for u in units]
                total[n] = total.get(n, 0.0) + np.array(pulled).reshape(args[k].shape)
        return total
