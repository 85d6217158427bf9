"""Tensors of random numbers: the numbers that PyTorch's CPU draws for the same seed, on any device.

Each function takes ``generator``, by default the default one.  Numbers for a GPU are drawn on the host and moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import Device, random, to_device, to_numpy
from ..backend.fill import fill_bernoulli, fill_normal, fill_random, fill_uniform
from ..backend.random import Generator, RandomError
from ..errors import ArgumentTypeError, ShapeRuntimeError
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Shape
from .dtypes import as_dtype, get_default_dtype
from .shape import sizes_of

__all__ = ["bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like"]
__all__ += ["randperm"]


def _filled(shape: Shape, dtype: Any, device: Any, requires_grad: bool, fill: Callable[[Array], None]) -> Tensor:
    values = np.empty(shape, get_default_dtype() if dtype is None else as_dtype(dtype))
    return _finished(values, device, requires_grad, fill)


def _finished(values: Array, device: Any, requires_grad: bool, fill: Callable[[Array], None]) -> Tensor:
    fill(values)
    out = wrap(values if device is None else to_device(values, Device(device)))
    return out.requires_grad_() if requires_grad else out


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1).

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> rand(2)
    tensor([0.4963, 0.7682])
    """
    return _filled(sizes_of(size), dtype, device, requires_grad, lambda a: fill_uniform(a, 0.0, 1.0, generator))


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal, with mean 0 and standard deviation 1.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> randn(3)
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    return _filled(sizes_of(size), dtype, device, requires_grad, lambda a: fill_normal(a, 0.0, 1.0, generator))


def randint(
    low: int,
    high: Any = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = np.int64,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers uniform on low, ..., high - 1: ``randint(high, size)`` or ``randint(low, high, size)``.

    Raises:
        RandomError: low >= high, or a bound that the dtype cannot hold.
        ArgumentTypeError: no size was given.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> randint(10, (4,))
    tensor([4, 9, 3, 0])
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if size is None:
        raise ArgumentTypeError("randint(): size is missing: randint(high, size) or randint(low, high, size)")
    return _filled(
        sizes_of((size,)), dtype, device, requires_grad, lambda a: fill_random(a, int(low), int(high), generator)
    )


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = np.int64, device: Any = None) -> Tensor:
    """A random order of 0, ..., n - 1.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> randperm(4)
    tensor([2, 0, 1, 3])
    """
    values = random.randperm(n, as_dtype(dtype), generator)
    return wrap(values if device is None else to_device(values, Device(device)))


def _like(input: Tensor, dtype: Any, device: Any) -> tuple[Array, Any]:
    """An empty host array laid out in memory as the input, and the device to move it to."""
    chosen = input.dtype if dtype is None else as_dtype(dtype)
    return np.empty_like(to_numpy(input._data), chosen), input.device if device is None else device


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1), in the shape, dtype and device of ``input``."""
    values, place = _like(input, dtype, device)
    return _finished(values, place, requires_grad, lambda a: fill_uniform(a, 0.0, 1.0, generator))


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal, with mean 0 and standard deviation 1, in the shape, dtype and device of ``input``."""
    values, place = _like(input, dtype, device)
    return _finished(values, place, requires_grad, lambda a: fill_normal(a, 0.0, 1.0, generator))


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Whole numbers uniform on low, ..., high - 1 (from 0 if only one is given), shaped as ``input``."""
    low, high = (0, low) if high is None else (low, high)
    values, place = _like(input, dtype, device)
    return _finished(values, place, False, lambda a: fill_random(a, low, high, generator))


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that ``input`` gives for the place (or with probability p), else 0.

    Raises:
        RandomError: a probability outside [0, 1].
        DtypeError: the probabilities are not floating.
    """
    values, place = _like(input, None, None)
    odds = to_numpy(input._data) if p is None else p
    return _finished(values, place, False, lambda a: fill_bernoulli(a, odds, generator))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Numbers of categories, drawn with probabilities proportional to the weights.

    Shapes:
        input ``(K,)`` or ``(N, K)``, result ``(num_samples,)`` or ``(N, num_samples)`` int64.

    Raises:
        RandomError: impossible weights or number of samples.
        DtypeError: the weights are not floating.

    >>> import tinygrad_rnn as tg
    >>> multinomial(tg.tensor([0.0, 5.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    chosen = random.multinomial(to_numpy(input._data), num_samples, replacement, generator)
    return wrap(to_device(chosen, input.device))


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
) -> Tensor:
    """Normal, with mean and standard deviation for each place (tensors) or for all (numbers and a size).

    Raises:
        RandomError: a negative standard deviation.
        ShapeRuntimeError: numbers without a size.
    """
    means, deviations = isinstance(mean, Tensor), isinstance(std, Tensor)
    if not means and not deviations:
        if size is None:
            raise ShapeRuntimeError("normal(): mean and std are numbers, so a size is needed")
        return _filled(sizes_of((size,)), dtype, device, False, lambda a: fill_normal(a, mean, std, generator))
    first = mean if means else std
    if deviations and (std._data < 0).any():
        raise RandomError("normal expects all elements of std >= 0.0")
    shape = np.broadcast_shapes(*[t.shape for t in (mean, std) if isinstance(t, Tensor)])
    values = np.empty(shape, first.dtype)
    fill_normal(values, 0.0, 1.0 if deviations else float(std), generator)
    drawn = to_device(values, first.device)
    scaled = drawn * std._data if deviations else drawn
    return wrap(scaled + (mean._data if means else first.dtype.type(mean)))
