"""NumPy's reductions and statistics of Tensors: masks, starts and nan, quantiles, weights, covariances.

The keywords are NumPy's: ``where`` says which entries count, ``initial`` is one more of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import as_dtype, is_array
from ..errors import ArgumentError, ArgumentTypeError
from ..tape.tensor import as_array, wrap
from ..typing import Array, Value
from . import cumulative, elementwise, reduce, shape, statistics
from .dtypes import cast
from .linalg import matmul
from .numpy_moves import flattened
from .numpy_operands import alike, raw, tensor_of

__all__ = ["STATISTICS"]

Form = Callable[..., Any]
where, isnan = elementwise.where, np.isnan


def _prepared(a: Any, axis: Any, dtype: Any = None) -> tuple[Value, Any]:
    """``a`` in a dtype, and the axes; over none of them means over a new one of size 1."""
    a = tensor_of(a)
    a = a if dtype is None or a.dtype == dtype else cast(a, dtype=as_dtype(dtype))
    if isinstance(axis, (tuple, list)):
        # NumPy's axis=() reduces nothing, PyTorch's dim=() everything
        return (a, tuple(axis)) if len(axis) else (shape.unsqueeze(a, -1), -1)
    return a, axis


def _array(condition: Any) -> Array:
    """A mask as an array, on any device."""
    values = raw(condition)
    return values if is_array(values) else np.asarray(values)


def _over(axis: Any, condition: Any, keepdims: Any) -> tuple[Any, bool]:
    """The mask of what counts, and whether reduced axes stay: not the one added for the reduction over none."""
    none = isinstance(axis, (tuple, list)) and not len(axis)
    mask = condition if condition is True else _array(condition)
    return (mask[..., None] if none and mask is not True else mask), bool(keepdims) and not none


def _masked(a: Value, mask: Any, neutral: Any) -> Any:
    """``a`` with the entries that do not count replaced by what changes no result."""
    return a if mask is True else where(wrap(mask), a, neutral)


def _sum(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = False, initial: Any = None,
         where: Any = True) -> Any:  # fmt: skip
    x, axes = _prepared(a, axis, dtype)
    mask, keep = _over(axis, where, keepdims)
    total = reduce.sum_over(_masked(x, mask, 0), axes, keep)
    return total if initial is None else total + initial


def _prod(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = False, initial: Any = None,
          where: Any = True) -> Any:  # fmt: skip
    x, axes = _prepared(a, axis, dtype)
    mask, keep = _over(axis, where, keepdims)
    x = _masked(x, mask, 1)
    along = sorted(shape.axes_of(axes, x.ndim), reverse=True) if isinstance(axes, tuple) else [axes]
    for k in along:  # from the last axis, so that the numbers of those left stay the same
        x = cumulative.prod(x, k, keep)
    return x if initial is None else x * initial


def _extremum(reduction: Any, larger: Any) -> Form:
    def extremum(a: Any, axis: Any = None, out: None = None, keepdims: Any = False, initial: Any = None,
                 where: Any = True) -> Any:  # fmt: skip
        x, axes = _prepared(a, axis)
        mask, keep = _over(axis, where, keepdims)
        if initial is None:
            if mask is not True:
                raise ArgumentTypeError("np.max(where=), np.min(where=): give initial= for where nothing counts")
            return reduction(x, axes, keep)
        if 0 in x.shape:  # nothing is compared: initial, in the shape of the result
            return reduce.sum_over(x, axes, keep) + initial
        return larger(reduction(_masked(x, mask, initial), axes, keep), initial)

    return extremum


def _ptp(a: Any, axis: Any = None, out: None = None, keepdims: Any = False) -> Any:
    return _max(a, axis, None, keepdims) - _min(a, axis, None, keepdims)


def _mean(a: Any, axis: Any = None, dtype: Any = None, out: None = None, keepdims: Any = False, *,
          where: Any = True) -> Any:  # fmt: skip
    x, axes = _prepared(a, axis, dtype)
    mask, keep = _over(axis, where, keepdims)
    if mask is True:
        return reduce.mean(x, axes, keep)
    return _sum(x, axes, keepdims=keep, where=mask) / wrap(_count(x, axes, mask, keep))


def _count(x: Value, axes: Any, mask: Any, keep: bool) -> Array:
    """How many entries count in each place of the result."""
    return as_array(np.broadcast_to(mask, x.shape).sum(axis=axes, keepdims=keep)).astype(x.dtype)


def _var(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = False, *,
         where: Any = True, mean: Any = None, correction: Any = None) -> Any:  # fmt: skip
    x, axes = _prepared(a, axis, dtype)
    mask, keep = _over(axis, where, keepdims)
    freedom = _count(x, axes, mask, keep) - (ddof if correction is None else correction)
    # else ours would warn, as PyTorch does, and NumPy gives inf or nan
    if mask is True and mean is None and freedom.size and freedom.flat[0] > 0:
        return statistics.var(x, axes, None, keep, correction=ddof if correction is None else correction)
    centre = _mean(x, axes, keepdims=True, where=mask) if mean is None else mean
    squares = _sum(elementwise.square(x - centre), axes, keepdims=keep, where=mask)
    return squares / wrap(np.maximum(freedom, 0))  # NumPy divides by 0 rather than by less


def _std(*args: Any, **kwargs: Any) -> Any:
    return statistics.root(_var(*args, **kwargs))


# running -----------------------------------------------------------------------------------------------------------


def _running(f: Any) -> Form:
    def running(a: Any, axis: Any = None, dtype: Any = None, out: None = None) -> Any:
        x = tensor_of(a)
        return f(shape.reshape(x, (-1,)), 0, dtype=dtype) if axis is None else f(x, axis, dtype=dtype)

    return running


def _cumulative(f: Any, start: int) -> Form:
    """The functions of the array standard: an axis must be named, and the start can be shown."""

    def running(x: Any, /, *, axis: Any = None, dtype: Any = None, out: None = None,
                include_initial: bool = False) -> Any:  # fmt: skip
        x = tensor_of(x)
        axis = shape.axis_of(0 if axis is None else axis, x.ndim)
        y = f(x, axis, dtype=dtype)
        if not include_initial:
            return y
        first = np.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), start, y.dtype)
        return shape.cat([wrap(first), y], axis)

    return running


# without nan -------------------------------------------------------------------------------------------------------


def _numbers(a: Any, condition: Any = True) -> Array:
    mask: Array = ~isnan(raw(a))
    return mask if condition is True else mask & _array(condition)


def _without_nan(f: Form) -> Form:
    """``f`` of the entries that are no nan."""

    def counted(a: Any, *args: Any, where: Any = True, **kwargs: Any) -> Any:
        a = tensor_of(a)
        mask = _numbers(a, where)
        return f(_masked(a, mask, 0), *args, where=mask, **kwargs)  # 0, not nan: in a sum nan * 0 is still nan

    return counted


def _nan_moment(f: Form) -> Form:
    """Variances of the entries that are no nan; nan where there are too few of them."""
    moment = _without_nan(f)

    def counted(a: Any, axis: Any = None, dtype: Any = None, out: None = None, ddof: Any = 0, keepdims: Any = False, *,
                where: Any = True, mean: Any = None, correction: Any = None) -> Any:  # fmt: skip
        x = tensor_of(a)
        found = moment(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
        count = np.sum(_numbers(x, where), axis=axis, keepdims=bool(keepdims))
        few = np.asarray(count <= (ddof if correction is None else correction))
        return elementwise.where(wrap(few), math.nan, found)

    return counted


def _nan_extremum(f: Form, start: float) -> Form:
    def extremum(a: Any, axis: Any = None, out: None = None, keepdims: Any = False, initial: Any = None,
                 where: Any = True) -> Any:  # fmt: skip
        a = tensor_of(a)
        mask = _numbers(a, where)
        if initial is not None:
            return f(a, axis, None, keepdims, initial, mask)
        found = f(elementwise.where(wrap(mask), a, start), axis, None, keepdims)  # nan would win every comparison
        something = np.asarray(np.any(mask, axis=axis, keepdims=bool(keepdims)))
        return elementwise.where(wrap(something), found, math.nan)

    return extremum


def _nan_running(f: Form, neutral: int) -> Form:
    return lambda a, axis=None, dtype=None, out=None: f(_masked(tensor_of(a), _numbers(a), neutral), axis, dtype)


# in order ----------------------------------------------------------------------------------------------------------


def _quantile(name: str, scale: float = 1, nan: bool = False) -> Form:
    """Quantiles by any of NumPy's methods: NumPy says where among the sorted entries, by that of their places.

    Between two places the value is interpolated.  So ``q`` is a number, and no gradient reaches it.
    """

    def quantile(a: Any, q: Any, axis: Any = None, out: None = None, overwrite_input: bool = False,
                 method: str = "linear", keepdims: Any = False) -> Any:  # fmt: skip
        if getattr(q, "requires_grad", False):
            raise ArgumentTypeError(f"np.{name}(): no gradient flows to q. Detach it: q.detach()")
        x, axes = _prepared(a, axis)
        keep = _over(axis, True, keepdims)[1]
        kept = reduce.kept_shape(x.shape, shape.axes_of(axes, x.ndim))
        x = _lines(x, shape.axes_of(axes, x.ndim))
        line = flattened(np.take_along_axis)(x, np.argsort(x._data, -1, kind="stable"), -1)
        # nan sorts last, so the numbers of a line are its first entries
        whole, size, count = np.asarray(raw(q)) / scale, x.shape[-1], (~isnan(x._data)).sum(-1)
        # lines with as many numbers have their quantiles at the same places
        sizes, which = np.unique(count if nan else np.full(count.shape, size), return_inverse=True)
        spots = np.stack([_places(int(n), whole, method) for n in sizes], -1)[..., which.reshape(count.shape)]
        found = _interpolated(line, spots, np.maximum(count if nan else np.full_like(count, size), 1) - 1, method)
        if np.ndim(raw(q)) or isinstance(raw(q), np.generic):  # of one number the width does not count
            found = cast(found, dtype=np.result_type(x.dtype, whole.dtype))
        missing = (count == 0) if nan else (count < size)
        found = where(wrap(np.broadcast_to(missing, found.shape).copy()), math.nan, found)
        return shape.reshape(found, whole.shape + kept) if keep else found

    return quantile


def _lines(a: Value, axes: tuple[int, ...]) -> Any:
    """``a`` with the axes that are reduced as one, the last."""
    rest = [k for k in range(a.ndim) if k not in axes]
    return shape.reshape(
        shape.permute(a, *rest, *axes), (*[a.shape[k] for k in rest], math.prod([a.shape[k] for k in axes]))
    )


def _places(n: int, q: Array, method: str) -> Array:
    by: Any = "linear" if method == "mean" else method
    places: Array = np.asarray(np.quantile(np.arange(float(n)), q, method=by) if n else np.zeros(q.shape))
    return places


DISCRETE = frozenset({"lower", "higher", "nearest", "inverted_cdf", "closest_observation"})
"""Methods that choose an entry, and compute nothing."""


def _interpolated(line: Value, spots: Array, end: Array, method: str) -> Any:
    """The sorted entries at places between them, the places' own axes first; ``end`` is the last place of a line."""
    new = spots.ndim - end.ndim
    low = np.floor(spots)
    fraction = cast(wrap(np.asarray(spots - low)), dtype=line.dtype)
    last = np.moveaxis(low.reshape(-1, *low.shape[new:]), 0, -1).astype(np.int64)
    take = flattened(np.take_along_axis)
    below, above = [take(line, np.minimum(last + k, end[..., None]), -1) for k in (0, 1)]
    below, above = [shape.reshape(shape.permute(x, x.ndim - 1, *range(x.ndim - 1)), low.shape) for x in (below, above)]
    if method == "mean":  # the median's own: of two infinite entries it is infinite, and not inf - inf
        return where(fraction == 0, below, (below + above) / 2)
    return below if method in DISCRETE else below + (above - below) * fraction


def _median(name: str, nan: bool = False) -> Form:
    quantile = _quantile(name, nan=nan)
    return lambda a, axis=None, out=None, overwrite_input=False, keepdims=False: quantile(
        a, 0.5, axis, method="mean", keepdims=keepdims
    )


# weights and covariances -------------------------------------------------------------------------------------------


def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    a = tensor_of(a)
    if weights is None:
        mean = _mean(a, axis, keepdims=keepdims)
        total: Any = wrap(np.full(mean.shape, a._data.size / max(mean._data.size, 1), mean.dtype))
        return (mean, total) if returned else mean
    a, w = alike(a, weights)
    np.average(a._data, axis, w._data)  # raises if the shapes do not fit, or the weights sum to 0
    if w.shape != a.shape:
        axes = shape.axes_of(axis, a.ndim)
        # weights have their axes in the order in which axis names them
        w = shape.permute(w, *np.argsort(axes).tolist())
        w = shape.expand(shape.reshape(w, [n if k in axes else 1 for k, n in enumerate(a.shape)]), a.shape)
    total = _sum(w, axis, keepdims=keepdims)
    mean = _sum(a * w, axis, keepdims=keepdims) / total
    return (mean, total) if returned else mean


def _cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
         aweights: Any = None, *, dtype: Any = None) -> Any:  # fmt: skip
    given = [tensor_of(t) for t in ([m] if y is None else [m, y])]
    dtype = np.result_type(*[t.dtype for t in given], np.float64) if dtype is None else dtype
    x, *others = alike(*given, dtype=dtype)
    rows = [_rows(t, rowvar) for t in (x, *others)]
    x = shape.cat(rows, 0) if len(rows) > 1 else rows[0]
    ddof = (0 if bias else 1) if ddof is None else ddof
    if ddof != int(ddof):
        raise ArgumentError(f"np.cov(): ddof must be integer, got {ddof}")
    w = None
    if fweights is not None:
        w = tensor_of(np.asarray(raw(fweights), x.dtype))
    if aweights is not None:
        importance = cast(tensor_of(aweights), dtype=x.dtype)
        w = importance if w is None else w * importance
    if w is None:
        # NumPy divides by 0 where ddof leaves nothing
        mean, freedom = reduce.mean(x, 1, keepdim=True), wrap(np.asarray(max(x.shape[1] - ddof, 0), x.dtype))
        weighted = x - mean
    else:
        np.average(x._data, 1, w._data)  # raises if the weights sum to 0
        total = reduce.sum_over(w)
        mean = shape.unsqueeze(reduce.sum_over(x * w, 1) / total, 1)
        freedom = total - (ddof if aweights is None else ddof * reduce.sum_over(w * importance) / total)
        freedom = where(freedom > 0, freedom, 0)
        weighted = (x - mean) * w
    return shape.squeeze(matmul(weighted, shape.t(x - mean)) / freedom)


def _rows(t: Value, rowvar: bool) -> Any:
    t = shape.reshape(t, (1, -1)) if t.ndim < 2 else t
    return t if rowvar or t.shape[0] == 1 else shape.t(t)


def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = _cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c  # 1, or nan for a constant
    scale = elementwise.sqrt(c.diagonal())
    return c / shape.unsqueeze(scale, 1) / shape.unsqueeze(scale, 0)


_max, _min = _extremum(reduce.amax, elementwise.maximum), _extremum(reduce.amin, elementwise.minimum)

STATISTICS: dict[Any, Form] = {
    np.sum: _sum,
    np.prod: _prod,
    np.mean: _mean,
    np.var: _var,
    np.std: _std,
    np.max: _max,
    np.min: _min,
    np.amax: _max,
    np.amin: _min,
    np.ptp: _ptp,
    np.cumsum: _running(cumulative.cumsum),
    np.cumprod: _running(cumulative.cumprod),
    np.nansum: _without_nan(_sum),
    np.nanprod: _without_nan(_prod),
    np.nanmean: _without_nan(_mean),
    np.nanvar: _nan_moment(_var),
    np.nanstd: _nan_moment(_std),
    np.nanmax: _nan_extremum(_max, -math.inf),
    np.nanmin: _nan_extremum(_min, math.inf),
    np.nancumsum: _nan_running(_running(cumulative.cumsum), 0),
    np.nancumprod: _nan_running(_running(cumulative.cumprod), 1),
    np.quantile: _quantile("quantile"),
    np.percentile: _quantile("percentile", 100),
    np.median: _median("median"),
    np.nanquantile: _quantile("nanquantile", nan=True),
    np.nanpercentile: _quantile("nanpercentile", 100, nan=True),
    np.nanmedian: _median("nanmedian", nan=True),
    np.average: _average,
    np.cov: _cov,
    np.corrcoef: _corrcoef,
}
for _name, _f, _start in (("cumulative_sum", cumulative.cumsum, 0), ("cumulative_prod", cumulative.cumprod, 1)):
    if hasattr(np, _name):  # since NumPy 2.1
        STATISTICS[getattr(np, _name)] = _cumulative(_f, _start)
