"""NumPy's calculus of Tensors: ranges, differences, integrals, interpolation and a few formulas."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import as_dtype
from ..errors import ArgumentTypeError
from ..tape.tensor import Tensor, wrap
from ..typing import Value
from . import cumulative, elementwise, rearrange, reduce, rounding, scattering, shape, splitting, transcendental
from .dtypes import cast
from .numpy_operands import alike, raw, tensor_of
from .shape import expand, reshape

__all__ = ["CALCULUS"]

Form = Callable[..., Any]
where = elementwise.where


# ranges --------------------------------------------------------------------------------------------------------------


def _linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
              axis: int = 0, *, device: Any = None) -> Any:  # fmt: skip
    if dtype is not None and np.dtype(dtype).kind in "iu":
        raise ArgumentTypeError(f"np.linspace(dtype={dtype}): no gradient flows through whole numbers")
    np.linspace(0.0, 1.0, num)  # raises if it is illegal
    a, b = rearrange.broadcast_tensors(*alike(start, stop))
    parts = (num - 1) if endpoint else num
    steps: Any = wrap(np.arange(num, dtype=a.dtype).reshape(-1, *(1,) * a.ndim))
    step = (b - a) / parts if parts > 0 else (b - a) * math.nan  # nan is what NumPy gives as the step of one point
    line = a + steps * step if parts > 0 else a + steps * (b - a)
    if endpoint and num > 1:
        line = where(steps == num - 1, b, line)  # exactly b, whatever rounding made of the last step
    line = rearrange.movedim(line if dtype is None else cast(line, dtype=as_dtype(dtype)), 0, axis)
    return (line, step) if retstep else line


def _logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
              axis: int = 0) -> Any:  # fmt: skip
    if np.ndim(raw(base)):
        raise ArgumentTypeError("np.logspace(base=): several bases have no form here that records. Call it for each")
    line = elementwise.power(tensor_of(base), _linspace(start, stop, num, endpoint, axis=axis))
    return line if dtype is None else cast(line, dtype=as_dtype(dtype))


def _geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    a, b = alike(start, stop)
    a, b = rearrange.broadcast_tensors(*alike(a, b, dtype=np.result_type(a.dtype, np.float64)))
    np.geomspace(a._data, b._data, 2)  # raises if there is a 0
    parts = max((num - 1) if endpoint else num, 1)
    fraction: Any = wrap((np.arange(num, dtype=a.dtype) / parts).reshape(-1, *(1,) * a.ndim))
    line = where(fraction == 1, b, a * (b / a) ** fraction)
    return rearrange.movedim(line if dtype is None else cast(line, dtype=as_dtype(dtype)), 0, axis)


# differences and integrals -------------------------------------------------------------------------------------------


def _along(axis: int, *places: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, *places)


def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    a = tensor_of(a)
    axis = shape.axis_of(axis, a.ndim)
    if n == 0:
        return a
    if prepend is not None or append is not None:
        ends = [None if x is None else _end(tensor_of(x), a, axis) for x in (prepend, append)]
        a = shape.cat(alike(*[x for x in (ends[0], a, ends[1]) if x is not None]), axis)
    return cumulative.diff(a, n, axis)


def _end(x: Tensor, a: Value, axis: int) -> Any:
    """The entries to put before or after ``a``: a number stands for one in each line."""
    return expand(x, [1 if k == axis else n for k, n in enumerate(a.shape)]) if x.ndim == 0 else x


def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    a = reshape(tensor_of(ary), (-1,))
    ends = [[] if x is None else [reshape(cast(tensor_of(x), dtype=a.dtype), (-1,))] for x in (to_begin, to_end)]
    return shape.cat([*ends[0], a[1:] - a[:-1], *ends[1]])


def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = tensor_of(y)
    axis = shape.axis_of(axis, y.ndim)
    if x is None:
        widths = dx
    else:
        x = tensor_of(x)
        widths = cumulative.diff(x, 1, 0 if x.ndim == 1 else axis)
        widths = reshape(widths, (-1, *(1,) * (y.ndim - axis - 1))) if x.ndim == 1 else widths
    sums = y[_along(axis, slice(1, None))] + y[_along(axis, slice(None, -1))]
    return reduce.sum_over(widths * sums / 2.0, axis)


def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = tensor_of(f)
    axes = [shape.axis_of(k, f.ndim) for k in (range(f.ndim) if axis is None else np.atleast_1d(axis).tolist())]
    spacings = varargs if len(varargs) == len(axes) else (varargs or (1.0,)) * len(axes)
    for k, h in zip(axes, spacings, strict=False):
        line: Any = np.arange(f.shape[k]) if np.ndim(raw(h)) == 0 else raw(h)
        checked: Any = np.gradient
        checked(np.zeros(f.shape[k]), line, edge_order=edge_order)  # raises if it is illegal
    slopes = [_slope(f, k, h, edge_order) for k, h in zip(axes, spacings, strict=True)]
    return slopes[0] if len(axes) == 1 else tuple(slopes)


def _slope(f: Value, axis: int, spacing: Any, edge_order: int) -> Any:
    """The derivative of the parabola through three neighbours, and at the ends of a line or a parabola."""
    n = f.shape[axis]
    x = spacing if np.ndim(raw(spacing)) else spacing * wrap(np.arange(n, dtype=f.dtype))
    h = reshape(cumulative.diff(tensor_of(x)), (-1, *(1,) * (f.ndim - axis - 1)))
    lines = cumulative.diff(f, 1, axis) / h
    start, stop = lines[_along(axis, slice(0, 1))], lines[_along(axis, slice(n - 2, None))]
    if n == 2:
        return cast(shape.cat([start, stop], axis), dtype=f.dtype)
    before, after = h[:-1], h[1:]
    first, second = lines[_along(axis, slice(None, -1))], lines[_along(axis, slice(1, None))]
    inside = (first * after + second * before) / (before + after)
    if edge_order == 2:
        bend = (second - first) / (before + after)
        start = start - bend[_along(axis, slice(0, 1))] * h[:1]
        stop = stop + bend[_along(axis, slice(n - 3, None))] * h[-1:]
    return cast(shape.cat([start, inside, stop], axis), dtype=f.dtype)


def _unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Any:
    p = tensor_of(p)
    straight = np.unwrap(p._data, discont, axis, period=period)
    # an infinite entry would differ from itself by nan
    return p + wrap(np.where(straight == p._data, 0, straight - p._data))


def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """All products, row j of them moved by j places, summed."""
    a, v = [reshape(x, (-1,)) for x in alike(tensor_of(a), tensor_of(v))]
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    n, m = a.shape[0], v.shape[0]
    checked: Any = np.convolve
    size = checked(np.arange(n), np.ones(m), mode).size  # raises if it is illegal
    rows = shape.cat([shape.unsqueeze(v, 1) * a, wrap(np.zeros((m, m), a.dtype))], 1)
    moved = reshape(reshape(rows, (-1,))[: m * (n + m - 1)], (m, n + m - 1))  # each row begins one place earlier
    start = (n + m - 1 - size) // 2
    return reduce.sum_over(moved, 0)[start : start + size]


def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = tensor_of(a), tensor_of(v)
    # NumPy exchanges the two then, and its middle begins one place later
    if mode == "same" and a.shape[0] < v.shape[0] and (a.shape[0] + v.shape[0]) % 2 == 0:
        return rearrange.flip(_convolve(v, rearrange.flip(a, 0), mode), 0)
    return _convolve(a, rearrange.flip(v, 0), mode)


# formulas ------------------------------------------------------------------------------------------------------------


def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, xp, fp = alike(tensor_of(x), tensor_of(xp), tensor_of(fp), dtype=np.float64)
    np.interp(0.0, xp._data, fp._data, period=period)  # raises if it is illegal
    if period is not None:
        period, left, right = abs(period), None, None  # NumPy, too, ignores left and right then
        x, xp = rounding.remainder(x, period), rounding.remainder(xp, period)
        order = np.argsort(xp._data)
        xp, fp = xp[order], fp[order]
        # the line goes on across the seam
        xp, fp = shape.cat([xp[-1:] - period, xp, xp[:1] + period]), shape.cat([fp[-1:], fp, fp[:1]])
    last = xp.shape[0] - 1
    if not last:
        inside = fp[0] + 0 * x  # in the shape of x, and a function of x
    else:
        k = np.clip(np.searchsorted(xp._data, x._data, "right") - 1, 0, last - 1)
        start, slope = xp[k], (fp[k + 1] - fp[k]) / (xp[k + 1] - xp[k])
        inside = fp[k] + slope * (x - start)
        inside = where(wrap(np.asarray(x._data == xp._data[-1])), fp[-1] + slope * (x - xp[-1]), inside)
    below = where(wrap(np.asarray(x._data < xp._data[0])), fp[0] if left is None else left, inside)
    return where(wrap(np.asarray(x._data > xp._data[-1])), fp[-1] if right is None else right, below)


def _sinc(x: Any) -> Any:
    """Near 0 by its series, so that every derivative there is right."""
    y = tensor_of(x) * math.pi
    near = elementwise.absolute(y) < 0.5
    square = where(near, y, 0) ** 2
    series = functools.reduce(
        lambda total, k: total * square + (-1) ** k / math.factorial(2 * k + 1), range(8, -1, -1), 0 * square
    )
    away = where(near, 1, y)  # of y = 0 the quotient is nan, and so would be the gradient that where() leaves out
    return where(near, series, transcendental.sin(away) / away)


def _polyval(p: Any, x: Any) -> Any:
    coefficients, x = splitting.unbind(tensor_of(p)), tensor_of(x)
    return functools.reduce(lambda y, c: y * x + c, coefficients, 0 * x)


def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    x = tensor_of(x)
    x = cast(x, dtype=np.promote_types(x.dtype, np.int64))
    powers = np.arange(x.shape[0] if N is None else N)
    return shape.unsqueeze(x, 1) ** wrap((powers if increasing else powers[::-1]).astype(x.dtype))


def _bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    numbers, w = np.asarray(raw(x)), cast(tensor_of(weights), dtype=np.dtype(np.float64))
    zeros = wrap(np.zeros(np.bincount(numbers, minlength=minlength).shape))
    return scattering.index_add(zeros, 0, wrap(numbers), w)


# table ---------------------------------------------------------------------------------------------------------------

CALCULUS: dict[Any, Form] = {
    np.interp: _interp,
    np.linspace: _linspace,
    np.logspace: _logspace,
    np.geomspace: _geomspace,
    np.diff: _diff,
    np.ediff1d: _ediff1d,
    np.gradient: _gradient,
    np.trapezoid: _trapezoid,
    np.unwrap: _unwrap,
    np.convolve: _convolve,
    np.correlate: _correlate,
    np.sinc: _sinc,
    np.polyval: _polyval,
    np.vander: _vander,
    np.bincount: _bincount,
}
