"""Single functions that programs call now and then: counts, places in sorted values, quantiles, covariances, shapes.

Loaded at their first use.  Those with gradients are made of other operations; what counts or compares has none.

>>> import tinygrad_rnn as tg
>>> tg.quantile(tg.tensor([1.0, 2.0, 3.0, 5.0]), 0.5)
tensor(2.5000)
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..backend import array_module, not_implemented
from ..errors import ArgumentRuntimeError, DtypeError, IndexOutOfRange, ShapeRuntimeError
from ..source_line import warn_user
from ..tape.modes import defaults
from ..tape.tensor import Tensor, as_array
from . import (
    comparison,
    conversion,
    creation,
    diagonals,
    elementwise,
    index,
    linalg,
    rearrange,
    reduce,
    shape,
    sorting,
    splitting,
    statistics,
    transcendental,
)
from .dtypes import cast, mixed_type
from .named_results import results
from .nondifferentiable import constant, raw, without_derivative

__all__ = ["channels_last", "contiguous_format", "layout", "memory_format", "preserve_format", "strided"]
__all__ += ["atleast_1d", "atleast_2d", "atleast_3d", "bincount", "block_diag", "bucketize", "cdist", "copysign"]
__all__ += ["corrcoef", "cov", "cross", "deg2rad", "diagflat", "dsplit", "float_power", "fmax", "fmin", "heaviside"]
__all__ += ["histc", "hsplit", "isin", "kron", "logaddexp2", "mode", "nanmean", "nanquantile", "nextafter", "quantile"]
__all__ += ["rad2deg", "range_with_end", "scalar_tensor", "searchsorted", "trapezoid", "trapz", "typename"]
__all__ += ["unique_consecutive", "vsplit"]

where = elementwise.where
LN2 = math.log(2)


def _float(x: Any) -> Any:
    """A tensor of floats: of whole numbers, in the default type."""
    return x if x.dtype.kind in "fc" else cast(x, dtype=defaults.dtype)


def _like(values: Any, x: Any) -> Any:
    return constant(as_array(values), x)


# shapes --------------------------------------------------------------------------------------------------------------


def _raised(tensors: tuple[Any, ...], one: Any) -> Any:
    many = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    found = tuple([one(x) for x in many])
    return found if many is not tensors or len(tensors) > 1 else found[0]


def atleast_1d(*tensors: Any) -> Any:
    """Numbers as vectors of one entry; of several tensors, or a list of them, a tuple."""
    return _raised(tensors, lambda x: x if x.ndim else shape.reshape(x, (1,)))


def atleast_2d(*tensors: Any) -> Any:
    """Vectors as matrices of one row."""
    return _raised(tensors, lambda x: x if x.ndim > 1 else shape.reshape(x, (1, -1)))


def atleast_3d(*tensors: Any) -> Any:
    """Matrices (m, n) as (m, n, 1), vectors as (1, n, 1)."""
    return _raised(
        tensors,
        lambda x: x if x.ndim > 2 else shape.unsqueeze(x, -1) if x.ndim == 2 else shape.reshape(x, (1, -1, 1)),
    )


def block_diag(*tensors: Any) -> Any:
    """The matrices along the diagonal of one, zeros elsewhere; vectors count as rows."""
    if any(x.ndim > 2 for x in tensors):
        bad = next(x for x in tensors if x.ndim > 2)
        raise ShapeRuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions, got {bad.ndim}")
    blocks = [atleast_2d(x) for x in tensors]
    dtype = mixed_type(*blocks)
    width, rows, left = sum(x.shape[1] for x in blocks), [], 0
    for x in blocks:
        x = x if x.dtype == dtype else cast(x, dtype=dtype)
        h, w = x.shape
        zeros = [_like(array_module(raw(x)).zeros((h, n), dtype), x) for n in (left, width - left - w)]
        rows.append(shape.cat([zeros[0], x, zeros[1]], 1))
        left += w
    return shape.cat(rows, 0)


def kron(input: Any, other: Any) -> Any:
    """The product of Kronecker: every entry of the first times all of the second."""
    n = max(input.ndim, other.ndim)
    a, b = [shape.reshape(x, (*(1,) * (n - x.ndim), *x.shape)) for x in (input, other)]
    wide = [k for pair in zip(a.shape, (1,) * n, strict=True) for k in pair]
    tall = [k for pair in zip((1,) * n, b.shape, strict=True) for k in pair]
    product = elementwise.mul(shape.reshape(a, wide), shape.reshape(b, tall))
    return shape.reshape(product, [p * q for p, q in zip(a.shape, b.shape, strict=True)])


def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """The cross product along an axis of three entries, by default the first such.

    Raises:
        ShapeRuntimeError: there is none.
    """
    if input.ndim != other.ndim:
        raise ShapeRuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {input.ndim} and {other.ndim}"
        )
    a, b = rearrange.broadcast_tensors(input, other)
    if dim is None:
        dim = next((k for k, n in enumerate(a.shape) if n == 3), None)
        if dim is None:
            raise ShapeRuntimeError("no dimension of size 3 in input")
    elif a.shape[shape.axis_of(dim, a.ndim)] != 3:
        raise ShapeRuntimeError(
            f"inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )

    def turned(x: Any, by: int) -> Any:
        return rearrange.roll(x, by, dim)

    return turned(a, -1) * turned(b, -2) - turned(a, -2) * turned(b, -1)


def diagflat(input: Any, offset: int = 0) -> Any:
    """A matrix with the entries on a diagonal."""
    return diagonals.diag(shape.reshape(input, (-1,)), offset)


def _split(name: str, x: Any, parts: Any, dim: int, least: int) -> Any:
    if x.ndim < least:
        raise ShapeRuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got {x.ndim}")
    if isinstance(parts, int) and (parts < 1 or x.shape[dim] % parts):
        raise ShapeRuntimeError(
            f"torch.{name} attempted to split along dimension {dim}, but the size of the dimension {x.shape[dim]} is "
            f"not divisible by the split_size {parts}!"
        )
    return splitting.tensor_split(x, parts, dim)


def hsplit(input: Any, indices_or_sections: Any) -> Any:
    """Parts side by side: along the second axis, of vectors along the first."""
    return _split("hsplit", input, indices_or_sections, min(input.ndim - 1, 1), 1)


def vsplit(input: Any, indices_or_sections: Any) -> Any:
    """Parts one above the other: along the first axis."""
    return _split("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Any, indices_or_sections: Any) -> Any:
    """Parts along the third axis."""
    return _split("dsplit", input, indices_or_sections, 2, 3)


def range_with_end(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None,
          requires_grad: bool = False) -> Tensor:  # fmt: skip
    """From start to end, which is in it; PyTorch has deprecated it for ``arange``.

    Raises:
        ArgumentRuntimeError: step is 0, or leads away from the end.
    """
    if end is None:
        start, end = 0, start
    warn_user(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end)."
    )
    if not step:
        raise ArgumentRuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise ArgumentRuntimeError("upper bound and lower bound inconsistent with step sign")
    count = math.floor((end - start) / step) + 1
    chosen = defaults.dtype if dtype is None else dtype
    steps = creation.arange(count, dtype=np.dtype(np.float64), device=device)
    made: Tensor = conversion.METHODS["to"](steps * step + start, dtype=chosen)
    return made.requires_grad_() if requires_grad else made


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A number as a 0-d tensor, of the default type."""
    return creation.full((), s, dtype=defaults.dtype if dtype is None else dtype, device=device,
                         requires_grad=requires_grad)  # fmt: skip


def typename(obj: Any) -> str:
    """``torch.FloatTensor`` of a tensor, the qualified name of the class of anything else."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if isinstance(obj, type) or hasattr(obj, "__qualname__") else type(obj)
    module = kind.__module__ or ""
    return kind.__qualname__ if module in ("", "builtins", "__builtin__") else f"{module}.{kind.__qualname__}"


class layout:
    """How the entries of a tensor are stored: here always ``strided``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


class memory_format(layout):
    """The order of axes in memory, which functions take as ``memory_format=`` and do not look at."""


strided = layout("strided")
preserve_format, contiguous_format = memory_format("preserve_format"), memory_format("contiguous_format")
channels_last = memory_format("channels_last")

METHODS = {
    "is_cpu": property(lambda self: self.device.type == "cpu", doc="Whether it is on the host."),
    "is_sparse": property(lambda self: False, doc="False: tensors here are dense."),
    "layout": property(lambda self: strided, doc="``strided``."),
}
"""Attributes of every tensor."""


# entry by entry ------------------------------------------------------------------------------------------------------


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Both as tensors of one floating type."""
    dtype = mixed_type(a, b)
    dtype = dtype if dtype.kind in "fc" else defaults.dtype
    like = a if hasattr(a, "dtype") else b
    found = [x if hasattr(x, "dtype") else _like(np.asarray(x, dtype), like) for x in (a, b)]
    return tuple([x if x.dtype == dtype else cast(x, dtype=dtype) for x in found])


def copysign(input: Any, other: Any) -> Any:
    """|x| with the sign of the other, of which -0.0 has one too."""
    a, b = _pair(input, other)
    direction = np.where(np.signbit(raw(b)), -1, 1).astype(a.dtype)
    return elementwise.absolute(a) * _like(direction, a)


def nextafter(input: Any, other: Any) -> Any:
    """The next number of the dtype after x, towards the other."""
    if input.dtype.kind != "f":
        raise not_implemented("nextafter_cpu", input.dtype)
    return _refused("nextafter")(_like(np.nextafter(raw(input), raw(other)), input), input, other)


@functools.cache
def _refused(name: str) -> Any:
    mark = without_derivative(name, f"the derivative for '{name}' is not implemented. Detach what it is given")

    def apply(result: Any, *inputs: Any) -> Any:
        for x in inputs:
            if isinstance(x, Tensor) and x.requires_grad and isinstance(result, Tensor):
                return mark(result, x)
        return result

    return apply


def fmax(input: Any, other: Any) -> Any:
    """The larger of two, or the one that is no nan; the first at ties."""
    a, b = rearrange.broadcast_tensors(input, other)
    return where((a >= b) | comparison.isnan(b), a, b)


def fmin(input: Any, other: Any) -> Any:
    """The smaller of two, or the one that is no nan; the first at ties."""
    a, b = rearrange.broadcast_tensors(input, other)
    return where((a <= b) | comparison.isnan(b), a, b)


def heaviside(input: Any, values: Any) -> Any:
    """0 below 0, 1 above, and ``values`` at 0.

    Raises:
        DtypeError: the two have not one dtype.
    """
    if input.dtype != values.dtype:
        raise DtypeError("heaviside is not yet implemented for tensors with different dtypes.")
    x = raw(input)
    found = np.where(x == 0, raw(values), (x > 0).astype(x.dtype))
    return _refused("heaviside")(_like(found, input), input, values)


def float_power(input: Any, exponent: Any) -> Any:
    """A power, in float64."""
    wide = np.dtype(np.float64)
    a, b = [cast(x, dtype=wide) if hasattr(x, "dtype") and x.dtype.kind != "c" else x for x in (input, exponent)]
    return elementwise.power(a, b)


def logaddexp2(input: Any, other: Any) -> Any:
    """log2(2^a + 2^b) without overflow."""
    a, b = _pair(input, other)
    return transcendental.logaddexp(a * LN2, b * LN2) / LN2


def deg2rad(input: Any) -> Any:
    """Degrees as radians."""
    return _float(input) * (math.pi / 180)


def rad2deg(input: Any) -> Any:
    """Radians as degrees."""
    return _float(input) * (180 / math.pi)


# counts and places ---------------------------------------------------------------------------------------------------


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number 0, 1, 2, ... comes, or the sum of the weights that stand at it.

    Raises:
        ArgumentRuntimeError: not one axis of whole numbers, none negative; or weights of another shape.
    """
    x = raw(input)
    if x.dtype.kind not in "biu":
        raise not_implemented("bincount_cpu", x.dtype)
    if x.ndim != 1 or x.dtype.kind not in "iu" or (x.size and int(x.min()) < 0):
        raise ArgumentRuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise ArgumentRuntimeError("minlength should be >= 0")
    if weights is None:
        return _like(array_module(x).bincount(x.astype(np.int64), minlength=minlength).astype(np.int64), input)
    w = raw(weights)
    if w.shape != x.shape:
        raise ArgumentRuntimeError("weights should be 1-d and have the same length as input")
    dtype = np.float32 if w.dtype == np.float32 else np.float64
    counted = array_module(x).bincount(x.astype(np.int64), w.astype(np.float64), minlength).astype(dtype)
    return _refused("bincount")(_like(counted, input), weights)


def histc(input: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Any:
    """How many entries lie in each of ``bins`` equal parts of [min, max]; by default, of the range of the entries.

    Raises:
        ArgumentRuntimeError: no bins, or max below min, or a range that is not finite.
    """
    x = raw(input)
    if x.dtype.kind != "f":
        raise not_implemented("histogram_cpu", x.dtype)
    if bins <= 0:
        raise ArgumentRuntimeError(f"torch.histc(): bins must be > 0, but got {bins}")
    low, high = float(min), float(max)
    if low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ArgumentRuntimeError(f"torch.histc(): range of [{low}, {high}] is not finite")
    if low > high:
        raise ArgumentRuntimeError("torch.histc(): max must be larger than min")
    inside = x[(x >= low) & (x <= high)].astype(np.float64)
    places = ((inside - low) * (bins / (high - low))).astype(np.int64)
    places[places == bins] = bins - 1
    counted = array_module(x).bincount(places, minlength=bins).astype(x.dtype)
    return _refused("histc")(_like(counted, input), input)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each entry is among others."""
    like = elements if isinstance(elements, Tensor) else test_elements
    xp = array_module(raw(like))
    a, b = [raw(x) if hasattr(x, "dtype") else xp.asarray(x) for x in (elements, test_elements)]
    return _like(xp.isin(a, b, assume_unique=assume_unique, invert=invert), like)


def searchsorted(sorted_sequence: Any, input: Any, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None, sorter: Any = None) -> Any:  # fmt: skip
    """Before which entry of sorted values each number would stand; of several rows, each in its own.

    Args:
        sorted_sequence: (K) or (..., K). input: a number, or of any shape if that is (K), else (..., M).
        right, side: behind equal entries: ``right=True`` or ``side="right"``.
        sorter: places that sort the sequence, if it is not sorted itself.

    Raises:
        ArgumentRuntimeError: shapes that do not fit, or right and side that contradict each other.
    """
    if side not in (None, "left", "right"):
        raise ArgumentRuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise ArgumentRuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
        )
    rows = raw(sorted_sequence)
    xp = array_module(rows)
    values = raw(input) if hasattr(input, "dtype") else xp.asarray(input)
    if sorter is not None:
        if raw(sorter).shape != rows.shape:
            raise ArgumentRuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(rows.shape)}and got sorter tensor {list(raw(sorter).shape)}"
            )
        rows = xp.take_along_axis(rows, raw(sorter), -1)
    if not rows.ndim:
        raise ArgumentRuntimeError("torch.searchsorted(): sorted_sequence must have at least 1 dimension")
    if rows.ndim > 1 and (rows.ndim != values.ndim or rows.shape[:-1] != values.shape[:-1]):
        raise ArgumentRuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(rows.shape)} and input "
            f"value tensor {list(values.shape)}"
        )
    where_equal: Any = "right" if right or side == "right" else "left"
    kind = np.int32 if out_int32 else np.int64
    if rows.ndim == 1:
        found = xp.searchsorted(rows, values, where_equal)
    else:
        found = xp.empty(values.shape, kind)
        for place in np.ndindex(*rows.shape[:-1]):
            found[place] = xp.searchsorted(rows[place], values[place], where_equal)
    like = input if isinstance(input, Tensor) else sorted_sequence
    return _like(xp.asarray(found).astype(kind), like)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """Between which boundaries each number lies: ``searchsorted`` with the arguments exchanged.

    Raises:
        ArgumentRuntimeError: boundaries have more axes than one.
    """
    if raw(boundaries).ndim != 1:
        raise ArgumentRuntimeError(f"boundaries tensor must be 1 dimension, but got dim({raw(boundaries).ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def unique_consecutive(input: Any, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Any:  # fmt: skip
    """The entries (or slices along ``dim``) without those that equal the one before.

    Args:
        return_inverse: also where each entry went. return_counts: also how often each came.
    """
    x = raw(input)
    xp = array_module(x)
    line = x.reshape(-1) if dim is None else xp.moveaxis(x, dim, 0)
    flat = line.reshape(len(line), math.prod(line.shape[1:]))
    starts = xp.ones(len(line), bool)
    if len(line):
        starts[1:] = (flat[1:] != flat[:-1]).any(1)
    places = xp.nonzero(starts)[0]
    kept = line[places]
    given = [kept if dim is None else xp.moveaxis(kept, 0, dim)]
    if return_inverse:
        inverse = xp.cumsum(starts) - 1
        given.append(inverse.reshape(x.shape) if dim is None else inverse)
    if return_counts:
        given.append(xp.diff(xp.concatenate([places, xp.asarray([len(line)])])))
    found = tuple([_like(part, input) for part in given])
    found = (_refused("unique_consecutive")(found[0], input), *found[1:])
    return found if len(found) > 1 else found[0]


# statistics ----------------------------------------------------------------------------------------------------------


def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean of the entries that are no nan."""
    if input.dtype.kind not in "fc":
        raise ArgumentRuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}"
        )
    number = comparison.logical_not(comparison.isnan(input))
    total = reduce.sum_over(where(number, input, 0), dim, keepdim)
    mean = total / cast(reduce.sum_over(number, dim, keepdim), dtype=total.dtype)
    return mean if dtype is None else conversion.METHODS["to"](mean, dtype=dtype)


INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Any:  # fmt: skip
    """The value below which a part q of the entries lies; nan where one of them is.

    Args:
        q: in [0, 1]: a number, or a vector, whose axis comes first in the result.
        dim: None takes all entries as one line.
        interpolation: between two entries: linear, lower, higher, midpoint or nearest.

    Raises:
        ArgumentRuntimeError: q outside of [0, 1] or of more axes, no entries, another dtype or interpolation.

    >>> import tinygrad_rnn as tg
    >>> tg.quantile(tg.tensor([0.0, 1.0, 3.0]), tg.tensor([0.25, 0.5]))
    tensor([0.5000, 1.0000])
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


def nanquantile(input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Any:  # fmt: skip
    """``quantile`` of the entries that are no nan; see there."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _quantile(name: str, x: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip: bool) -> Any:
    if x.dtype not in (np.float32, np.float64):
        raise ArgumentRuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not raw(x).size:
        raise ArgumentRuntimeError(f"{name}() input tensor must be non-empty")
    if interpolation not in INTERPOLATIONS:
        raise ArgumentRuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if hasattr(q, "dtype") and q.dtype != x.dtype:
        raise ArgumentRuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    parts = np.asarray(q if not hasattr(q, "dtype") else q.detach().cpu().numpy(), np.float64)
    if parts.ndim > 1:
        raise ArgumentRuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if not ((parts >= 0) & (parts <= 1)).all():
        raise ArgumentRuntimeError(f"{name}() q values must be in the range [0, 1]")
    axes = None if dim is None else shape.axis_of(dim, x.ndim)
    line = shape.reshape(x, (-1,)) if axes is None else rearrange.movedim(x, axes, -1)
    line = sorting.sort(line, -1)[0]  # nan last
    n, xp = line.shape[-1], array_module(raw(line))
    whole = (~xp.isnan(raw(line))).sum(-1)[..., None]  # (..., 1)
    count = xp.maximum(whole, 1) if skip else n
    missing = whole == 0 if skip else whole < n
    rank = xp.where(missing, n - 1, xp.asarray(parts.reshape(-1)) * (count - 1))  # (..., Q)
    low, high = xp.floor(rank), xp.ceil(rank)
    if interpolation in ("lower", "higher", "nearest"):
        chosen = {"lower": low, "higher": high, "nearest": xp.rint(rank)}[interpolation]
        found = index.gather(line, -1, _like(chosen.astype(np.int64), x))
    else:
        below, above = [index.gather(line, -1, _like(k.astype(np.int64), x)) for k in (low, high)]
        weight = rank - low if interpolation == "linear" else xp.full(rank.shape, 0.5)
        found = _between(below, above, _like(weight.astype(x.dtype), x))
    found = rearrange.movedim(found, -1, 0)  # (Q, ...)
    if keepdim:
        found = (
            shape.reshape(found, (found.shape[0], *(1,) * x.ndim)) if axes is None else shape.unsqueeze(found, axes + 1)
        )
    return found if parts.ndim else found[0]


def _between(a: Any, b: Any, weight: Any) -> Any:
    """a + weight (b - a)."""
    return where(weight == 0, a, a + weight * (b - a))  # of two infinite entries the difference is nan


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The commonest value of each line, the least of several, and the last place where it stands."""
    axis = shape.axis_of(dim, input.ndim)
    x = raw(input)
    if not x.ndim:
        places: Any = np.zeros((), np.int64)
        return results("mode", "values", "indices")(elementwise.clone(input), _like(places, input))
    if not x.shape[axis]:
        raise IndexOutOfRange(f"mode(): Expected reduction dim {axis} to have non-zero size.")
    xp = array_module(x)
    line = xp.moveaxis(x, axis, -1)
    order = xp.argsort(line, -1, kind="stable")
    ranked = xp.take_along_axis(line, order, -1)
    n = ranked.shape[-1]
    steps = xp.arange(n)
    fresh = xp.concatenate([xp.ones((*ranked.shape[:-1], 1), bool), ranked[..., 1:] != ranked[..., :-1]], -1)
    start = xp.maximum.accumulate(xp.where(fresh, steps, 0), -1)
    length = steps - start  # how many equal ones stand before
    last = xp.argmax(length, -1)[..., None]
    places = xp.expand_dims(xp.take_along_axis(order, last, -1)[..., 0], axis)
    values = index.gather(input, axis, _like(places, input))
    indices = _like(places, input)
    if not keepdim:
        values, indices = shape.squeeze(values, axis), shape.squeeze(indices, axis)
    return results("mode", "values", "indices")(values, indices)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = "") -> Any:
    """The p-norms of the differences of all pairs of rows: (..., P, M) and (..., R, M) to (..., P, R).

    Raises:
        ShapeRuntimeError: fewer axes than two, or rows of different lengths.
    """
    for place, x in enumerate((x1, x2)):
        if x.ndim < 2:
            raise ShapeRuntimeError(f"cdist only supports at least 2D tensors, X{place + 1} got: {x.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeRuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    return statistics.norm(shape.unsqueeze(x1, -2) - shape.unsqueeze(x2, -3), p, -1)


def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariances of variables, which are rows, over observations, which are columns.

    Args:
        correction: what is taken off the number of observations. fweights: how often each counts, whole numbers.
            aweights: its importance.

    Raises:
        ArgumentRuntimeError: more axes than two, or weights that do not fit.
    """
    if input.ndim > 2:
        raise ArgumentRuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input.dtype.kind == "b":
        raise ArgumentRuntimeError("cov(): bool dtype is not supported for input")
    x = _float(atleast_2d(input))
    count = x.shape[1]
    weights: Any = None
    for name, given, kinds in (("fweights", fweights, "iu"), ("aweights", aweights, "f")):
        if given is None:
            continue
        if given.ndim > 1 or given.numel() != count or given.dtype.kind not in kinds:
            what = "integers" if kinds == "iu" else "floating point numbers"
            raise ArgumentRuntimeError(
                f"cov(): expected {name} to be one-dimensional {what}, as many as there are observations, {count}; got "
                f"{given.dtype}{list(given.shape)}"
            )
        if (raw(given) < 0).any():
            raise ArgumentRuntimeError(f"cov(): {name} cannot be negative")
        given = cast(given, dtype=x.dtype)
        weights = given if weights is None else weights * given
    total: Any = count if weights is None else reduce.sum_over(weights)
    weighted = x if weights is None else x * weights
    away = x - shape.unsqueeze(reduce.sum_over(weighted, 1) / total, 1)
    freedom = total - correction
    if aweights is not None and correction:
        freedom = total - correction * reduce.sum_over(weights * aweights) / total
    if float(freedom) <= 0:
        warn_user(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations."
        )
        freedom = 0.0
    products = linalg.matmul(away, shape.t(away if weights is None else away * weights))
    return shape.squeeze(products / freedom if freedom else products * math.nan)


def corrcoef(input: Any) -> Any:
    """The correlations of variables, which are rows: covariances over the product of two standard deviations."""
    c = cov(input)
    if not c.ndim:
        return c / c
    scale = elementwise.sqrt(c.diagonal())
    found = c / shape.unsqueeze(scale, 1) / shape.unsqueeze(scale, 0)
    return elementwise.maximum(elementwise.minimum(found, 1.0), -1.0) if c.dtype.kind == "f" else found


def trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The integral of values at places x, or at steps dx, by the trapezoidal rule."""
    y = _float(y)
    axis = shape.axis_of(dim, y.ndim)

    def part(a: Any, start: int | None, stop: int | None, at: int) -> Any:
        return a[(*(slice(None),) * at, slice(start, stop))]

    width: Any = dx
    if x is not None:
        along = 0 if x.ndim == 1 else shape.axis_of(dim, x.ndim)
        width = part(x, 1, None, along) - part(x, None, -1, along)
        width = shape.reshape(width, (-1, *(1,) * (y.ndim - axis - 1))) if x.ndim == 1 else width
    return reduce.sum_over(width * (part(y, 1, None, axis) + part(y, None, -1, axis)) / 2.0, axis)


trapz = trapezoid
