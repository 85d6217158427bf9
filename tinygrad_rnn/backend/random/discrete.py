"""Discrete distributions: integers, permutations, Bernoulli, multinomial; bit for bit PyTorch's on the CPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ArgumentError, DtypeError, ShapeRuntimeError
from ...typing import Array, DType
from ..dtypes import as_dtype, scalar_name
from ..quiet import unreported
from .continuous import exponential, floating, fractions, in_memory_order, shape_of, source_of
from .generator import Generator, RandomError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["bernoulli", "dropout_mask", "multinomial", "randint", "random_", "randperm"]

# PyTorch's limit: float32 counts no further without gaps.
MAX_CATEGORIES = 2**24


def randint(low: int, high: int, shape: Any, dtype: Any = np.int64, generator: Generator | None = None) -> Array:
    """Integers uniform on low, ..., high - 1.

    >>> g = Generator().manual_seed(0)
    >>> randint(0, 10, 5, generator=g).tolist()
    [4, 9, 3, 0, 3]

    Raises:
        RandomError: low >= high, or a bound that the dtype cannot hold.
    """
    return random_(shape, low, high, dtype, generator)


@unreported
def random_(
    shape: Any,
    low: int | None = None,
    high: int | None = None,
    dtype: Any = np.int64,
    generator: Generator | None = None,
) -> Array:
    """Whole numbers on [low, high).

    If only ``high`` is given, on [0, high).  Without ``high`` on all that the dtype holds from ``low`` or 0 on: up to
    2**24 in float32, 2**53 in float64.  Ranges below 2**28 use 32 bits for each number, larger ones 64.
    """
    dtype, shape, source = as_dtype(dtype, "randint"), shape_of(shape), source_of(generator)
    count = math.prod(shape)
    if low is None and high is None:
        return _whole_dtype(count, dtype, source).astype(dtype).reshape(shape)
    start = 0 if low is None else int(low)
    lowest, largest = _bounds(dtype)
    stop = largest + 1 if high is None else int(high)
    if start >= stop:
        raise RandomError(f"random_ expects 'from' to be less than 'to', but got from={start} >= to={stop}")
    if dtype.kind != "f" and start < lowest:
        raise RandomError(f"from is out of bounds for {dtype}: {start} < {lowest}")
    if dtype.kind != "f" and stop - 1 > largest:
        raise RandomError(f"to - 1 is out of bounds for {dtype}: {stop - 1} > {largest}")
    size = stop - start
    offsets: Array
    if size < 2**28:
        offsets = source.words(count) % np.uint32(size)
    else:
        offsets = source.words64(count)
        # 2**64 does not fit uint64, and no remainder is needed: every word is in the range.
        offsets = offsets if size == 2**64 else offsets % np.uint64(size)
    # two's complement, as the sum wraps in C
    values = offsets.astype(np.uint64) + np.uint64(start % 2**64)
    return (values if dtype == np.uint64 else values.view(np.int64)).astype(dtype).reshape(shape)


def _bounds(dtype: DType) -> tuple[int, int]:
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        # The whole numbers that the type holds without a gap.
        digits = int(np.finfo(dtype).nmant) + 1
        return -(2**digits), 2**digits
    if dtype.kind == "c":
        raise DtypeError("check_random_bounds handles only integral, floating-point and boolean types")
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _whole_dtype(count: int, dtype: DType, source: Generator) -> Array:
    size = _bounds(dtype)[1] + 1
    if dtype.itemsize == 8:
        words = source.words64(count)
        return words if size == 2**64 else words % np.uint64(size)
    short = source.words(count)
    # As in random_: 2**32 does not fit uint32.
    return short if size == 2**32 else short % np.uint32(size)


def randperm(n: int, dtype: Any = np.int64, generator: Generator | None = None) -> Array:
    """A random order of 0, ..., n - 1: (n,).

    The shuffle of Fisher and Yates swaps i with j_i = i + (a word mod n - i), for i = 0, ..., n - 2.  Done without
    a loop: place i ends with what place j_i held before swap i.  That is what the last earlier swap t with
    j_t = j_i left there, namely what place t held before swap t; or j_i itself if there was none.  So every
    place points to an earlier one or holds its own number, and following pointers by doubling finds all.

    >>> g = Generator().manual_seed(0)
    >>> randperm(8, generator=g).tolist()
    [4, 0, 7, 3, 2, 5, 1, 6]

    Raises:
        ShapeRuntimeError: n < 0.
        RandomError: n - 1 does not fit the dtype.
    """
    dtype, source = as_dtype(dtype, "randperm"), source_of(generator)
    if n < 0:
        raise ShapeRuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if n - 1 > _bounds(dtype)[1]:
        raise RandomError(f"value cannot be converted to type {dtype} without overflow: randperm of {n}")
    if n < 2:
        return np.arange(n, dtype=dtype)
    step = np.arange(n)
    target: Array = step.copy()  # j; the last place stays
    target[:-1] += source.words(n - 1) % np.arange(n, 1, -1, dtype=np.uint32)
    # Swaps with the same target, in order: one sort of (target, step) pairs packed into integers.
    packed = np.sort((target << 32) | step)
    same, order = packed >> 32, packed & (2**32 - 1)
    before = np.full(n, -1)  # the last earlier swap with the same target, or -1
    before[order[1:]] = np.where(same[1:] == same[:-1], order[:-1], -1)
    root = step.copy()  # the last swap with target t, else t; a swap that stays keeps t, which is never read
    root[same] = order  # of equal indices the last assignment stays
    while True:
        further = root[root]
        if (further == root).all():
            break
        root = further
    return np.where(before < 0, target, root[before]).astype(dtype)


def bernoulli(p: Any, shape: Any = None, dtype: Any = np.float32, generator: Generator | None = None) -> Array:
    """1 with probability p, else 0.

    Args:
        p: a number, compared with 53 random bits; or an array of probabilities (float64: 53 bits, else 24),
            whose shape is the result's unless ``shape`` is given, to which it then broadcasts.

    Raises:
        RandomError: p outside [0, 1].

    >>> g = Generator().manual_seed(0)
    >>> bernoulli(0.5, 6, generator=g).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    """
    source = source_of(generator)
    if isinstance(p, np.ndarray):
        floating(p.dtype, "bernoulli_tensor_cpu_p_")
        # Negated, so that a nan is refused too.
        if not ((p >= 0) & (p <= 1)).all():
            raise RandomError("bernoulli_ expects p to be in [0, 1], but an element of p is not")
        p = p if shape is None else np.broadcast_to(p, shape_of(shape))
        drawn = fractions(p.size, p.dtype == np.float64, source).reshape(p.shape)
        hits: Array = drawn < p
        return hits.astype(dtype)
    if not 0 <= p <= 1:
        raise RandomError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    shape = shape_of(() if shape is None else shape)
    return _coins(math.prod(shape), float(p), source).astype(dtype).reshape(shape)


def _coins(count: int, p: float, source: Generator) -> npt.NDArray[np.bool_]:
    """``fractions53 < p`` by comparing integers, almost always their upper words alone."""
    high, low = source.halves(count)
    # u is a multiple of 2**-53: it is below p exactly if its integer is below p * 2**53 rounded up.
    top, rest = divmod(math.ceil(math.ldexp(p, 53)), 2**32)
    # The fraction keeps 53 bits of 64: the lower word and 21 bits of the upper.
    high = high & np.uint32(2**21 - 1)
    heads: npt.NDArray[np.bool_] = high < top
    if rest:  # upper words that equal p's are decided by the lower ones
        (ties,) = np.nonzero(high == top)
        heads[ties] = low[ties] < rest
    return heads


def dropout_mask(shape: Any, p: float, dtype: Any = np.float32, generator: Generator | None = None) -> Array:
    """What dropout multiplies by: 1 / (1 - p) with probability 1 - p, else 0.  Nothing is drawn for p = 1.

    Raises:
        ArgumentError: p outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")
    dtype, shape = as_dtype(dtype, "dropout"), shape_of(shape)
    if p == 1:
        return np.zeros(shape, dtype)
    keep = _coins(math.prod(shape), 1.0 - p, source_of(generator)).reshape(shape)
    # The reciprocal is rounded in the dtype, as PyTorch's mask.div_(1 - p) does it.
    mask: Array = keep * (dtype.type(1) / dtype.type(1 - p))
    return mask


@unreported
def multinomial(
    weights: Array, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> Array:
    """Categories drawn with probabilities proportional to ``weights``.

    Without replacement (or for one sample): the ``num_samples`` largest of weight / exponential, a race that
    category k wins with its probability.  With: the cumulative sum searched at uniform numbers.

    Args:
        weights: (K,) or (N, K) floating, non-negative, finite, no row all zero.

    Returns:
        (num_samples,) or (N, num_samples) int64.

    Raises:
        RandomError: impossible weights or number of samples.
        DtypeError: the weights are not floating.

    >>> g = Generator().manual_seed(0)
    >>> multinomial(np.array([1.0, 0.0, 3.0]), 2, generator=g).tolist()
    [2, 0]
    """
    source = source_of(generator)
    weights = np.asarray(weights)
    if weights.dtype.kind != "f":
        raise DtypeError(
            f"multinomial only supports floating-point dtypes for input, got: {scalar_name(weights.dtype)}"
        )
    if weights.ndim not in (1, 2):
        raise RandomError(f"prob_dist must be 1 or 2 dim, got shape {weights.shape}")
    if num_samples <= 0:
        raise RandomError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    categories = weights.shape[-1]
    if not replacement and num_samples > categories:
        raise RandomError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{num_samples} of {categories}. Pass replacement=True"
        )
    if categories > MAX_CATEGORIES:
        raise RandomError(f"number of categories cannot exceed 2^24, got {categories}")
    _check_weights(weights, replacement and num_samples > 1)
    if replacement and num_samples > 1:
        return _with_replacement(weights, num_samples, source)
    race = weights / in_memory_order(lambda shape: exponential(shape, 1.0, weights.dtype, source), weights)
    if num_samples == 1:  # as in PyTorch
        first: Array = race.argmax(axis=-1, keepdims=True)
        return first
    return np.ascontiguousarray(np.argsort(-race, axis=-1, kind="stable")[..., :num_samples])


def _check_weights(weights: Array, replacement: bool) -> None:
    finite, positive = np.isfinite(weights).all(), (weights >= 0).all()
    if not (finite and positive):
        # PyTorch's two algorithms word the same mistake differently.
        if replacement:
            kind = "< 0" if not (weights >= 0).all() else "= infinity or NaN"
            raise RandomError(f"invalid multinomial distribution (encountering probability entry {kind})")
        raise RandomError("probability tensor contains either `inf`, `nan` or element < 0")
    if not (weights.sum(axis=-1) > 0).all():
        raise RandomError("invalid multinomial distribution (sum of probabilities <= 0)")


def _with_replacement(weights: Array, num_samples: int, source: Generator) -> Array:
    rows = weights.reshape(-1, weights.shape[-1])
    # A sum in float16 would stop growing long before its end.
    working = np.float32 if weights.dtype == np.float16 else weights.dtype
    drawn = source.fractions53(len(rows) * num_samples).reshape(len(rows), num_samples)
    chosen = np.empty(drawn.shape, np.int64)
    for row, u, out in zip(rows, drawn, chosen, strict=True):
        cumulative = np.cumsum(row, dtype=working)
        cumulative /= cumulative[-1]  # the last one is 1
        out[:] = np.searchsorted(cumulative.astype(np.float64), u, side="left")
    return chosen.reshape((*weights.shape[:-1], num_samples))
