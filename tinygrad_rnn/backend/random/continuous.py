"""Continuous distributions: uniform, normal, exponential; and helpers that all draws share.

Each draw equals PyTorch's on the CPU bit for bit.  float16 is drawn as float32 and rounded, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ArgumentTypeError, ShapeRuntimeError
from ...typing import Array, DType, Shape
from ..dtypes import as_dtype, not_implemented
from ..quiet import converted, unreported
from .box_muller import fma, libm, normal_pair32, normal_pair64
from .generator import Generator, RandomError, default_generator

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["exponential", "floating", "fractions", "in_memory_order", "memory_order", "normal", "rand", "randn"]
__all__ += ["shape_of", "source_of", "uniform"]


def source_of(generator: Generator | None) -> Generator:
    """The generator to draw from: the default one for None."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise ArgumentTypeError(f"generator: expected a Generator, got {type(generator).__name__}")
    return generator


def floating(dtype: Any, op: str) -> np.dtype[Any]:
    """``dtype`` if it is floating; ``op`` is named in the error if it is not."""
    found = as_dtype(dtype)
    if found.kind != "f":
        raise not_implemented(op, found, "draw a floating point dtype and convert it")
    return found


def shape_of(shape: Any) -> Shape:
    """A shape from a number or a sequence of sizes, none negative."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    for size in sizes:
        if size < 0:
            raise ShapeRuntimeError(f"Trying to create tensor with negative dimension {size}: {list(sizes)}")
    return sizes


def memory_order(array: Array) -> tuple[int, ...]:
    """The axes from the one with the longest stride to the one with the shortest.

    Axes keep their order where strides do not determine it: broadcast or reversed axes.

    >>> memory_order(np.empty((2, 3, 4)).transpose(2, 0, 1))
    (1, 2, 0)
    """
    axes = range(array.ndim)
    if any(stride <= 0 for stride, size in zip(array.strides, array.shape, strict=True) if size > 1):
        return tuple(axes)
    return tuple(sorted(axes, key=lambda axis: -array.strides[axis]))


def in_memory_order(draw: Callable[[Shape], Array], array: Array) -> Array:
    """``draw(shape)`` with the axes of ``array`` from longest to shortest stride, transposed back to their order."""
    order = memory_order(array)
    values = draw(tuple(array.shape[axis] for axis in order))
    return values.transpose(np.argsort(order)) if array.ndim > 1 else values


def fractions(count: int, double: bool, source: Generator) -> Array:
    """``count`` numbers on [0, 1), with 53 bits if ``double``, else 24."""
    return source.fractions53(count) if double else source.fractions24(count)


def _narrow(values: Array, dtype: DType) -> Array:
    """float64 to ``dtype``; to float16 by way of float32, which rounds twice, as PyTorch does."""
    narrow: Array = converted(values.astype(np.float32) if dtype == np.float16 else values, dtype)
    return narrow


def rand(shape: Any, dtype: Any = np.float32, generator: Generator | None = None) -> Array:
    """Uniform on [0, 1): multiples of 2**-24 (2**-53 in float64).

    >>> g = Generator().manual_seed(0)
    >>> rand((2, 2), generator=g).round(4).tolist() == np.float32([[0.4963, 0.7682], [0.0885, 0.1320]]).tolist()
    True
    """
    return uniform(shape, 0.0, 1.0, dtype, generator)


def uniform(
    shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = np.float32, generator: Generator | None = None
) -> Array:
    """Uniform on [low, high): low + u (high - low), rounded once.

    Raises:
        RandomError: low > high.
        DtypeError: the dtype is not floating.
    """
    dtype, shape, source = floating(dtype, "check_uniform_bounds"), shape_of(shape), source_of(generator)
    # Negated, so that a nan is refused too; likewise in the distributions below.
    if not low <= high:
        raise RandomError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    working = np.float64 if dtype == np.float64 else np.float32
    start, stop = working(low), working(high)
    values = fractions(math.prod(shape), working is np.float64, source)
    # The default range skips what would change no bit.
    if low != 0 or high != 1:
        values = fma(values, stop - start, start, working)
    values = values.astype(dtype, copy=False).reshape(shape)
    values[values == dtype.type(high)] = dtype.type(low)  # rounding may have reached the open end
    return values


def randn(shape: Any, dtype: Any = np.float32, generator: Generator | None = None) -> Array:
    """Normal with mean 0 and standard deviation 1; see ``normal``."""
    return normal(shape, 0.0, 1.0, dtype, generator)


@unreported
def normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = np.float32,
    generator: Generator | None = None,
    *,
    blocks: bool = True,
) -> Array:
    """Normal numbers by Box-Muller.

    16 elements and more: element j of a block of 16 pairs with element j + 8; if the size is no multiple of 16,
    the last 16 elements are drawn once more.  Fewer (or ``blocks=False``, which is how PyTorch fills memory with
    gaps): pairs in float64, the unused half of a pair waits in the generator for the next small draw.

    Raises:
        RandomError: std < 0.
        DtypeError: the dtype is not floating.

    >>> g = Generator().manual_seed(0)
    >>> normal(3, generator=g).round(4).tolist() == np.float32([1.5410, -0.2934, -2.1788]).tolist()
    True
    """
    dtype, shape, source = floating(dtype, "normal_kernel_cpu"), shape_of(shape), source_of(generator)
    if not std >= 0:
        raise RandomError(f"normal expects std >= 0.0, but found std {std}")
    count = math.prod(shape)
    if count < 16 or not blocks:  # as PyTorch's scalar loop
        return _narrow(_paired_normals(count, mean, std, source), dtype).reshape(shape)
    working = np.float64 if dtype == np.float64 else np.float32
    double, tail = working is np.float64, count % 16
    values = np.empty(count, working)
    # float16 skips the uniforms of the tail, which is drawn again below
    drawn = fractions(count if dtype != np.float16 else count - tail, double, source)
    values[: count - tail] = _block_normals(drawn[: count - tail], mean, std, double)
    if tail:
        values[count - 16 :] = _block_normals(fractions(16, double, source), mean, std, double)
    return values.astype(dtype, copy=False).reshape(shape)


def _block_normals(u: Array, mean: float, std: float, double: bool) -> Array:
    """(16 n,) fractions -> (16 n,) normal numbers."""
    blocks = u.reshape(-1, 2, 8)
    pair = (normal_pair64 if double else normal_pair32)(blocks[:, 0], blocks[:, 1])
    values: Array = np.stack(pair, axis=1).ravel()
    if (mean, std) == (0, 1):
        values += values.dtype.type(0)  # -0.0 becomes 0.0, as adding the mean makes it
        return values
    scaled: Array = fma(values, values.dtype.type(std), values.dtype.type(mean), values.dtype)
    return scaled


def _paired_normals(count: int, mean: float, std: float, source: Generator) -> npt.NDArray[np.float64]:
    """Normal numbers one by one, in float64: of each pair the cosine first, then the sine."""
    waiting = [] if source.next_normal is None or not count else [source.next_normal]
    pairs = (count - len(waiting) + 1) // 2
    # PyTorch's scalar loop draws the angle first and the radius second, the reverse of its blocks above.
    turn, depth = source.fractions53(2 * pairs).reshape(pairs, 2).T
    radius, angle = np.sqrt(-2.0 * libm("log1p", -depth)), (2.0 * np.pi) * turn
    fresh = np.stack([radius * libm("cos", angle), radius * libm("sin", angle)], axis=1).ravel()
    # An empty draw takes nothing, not even the number that waits.
    values = np.concatenate([waiting, fresh])
    if count:
        source.next_normal = float(values[count]) if len(values) > count else None
    result: npt.NDArray[np.float64] = fma(values[:count], std, mean, np.float64)
    return result


def exponential(shape: Any, rate: float = 1.0, dtype: Any = np.float32, generator: Generator | None = None) -> Array:
    """Exponential: -log(1 - u) / rate, in float64, then rounded.

    Raises:
        RandomError: rate <= 0.
        DtypeError: the dtype is not floating.
    """
    dtype, shape, source = floating(dtype, "exponential_"), shape_of(shape), source_of(generator)
    if not rate > 0:
        raise RandomError(f"exponential_ expects lambda > 0.0, but found lambda={rate}")
    values = -source.fractions53(math.prod(shape))
    values = libm("log1p", values) if dtype == np.float64 else np.log1p(values)  # rounding hides the last place
    return _narrow((-1.0 / rate) * values, dtype).reshape(shape)
