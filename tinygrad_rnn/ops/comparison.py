"""Comparisons, logic and bits: tensors without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import not_implemented, raw_array
from ..backend.quiet import converted
from ..errors import DtypeError
from ..tape.forward_errors import fail
from ..tape.modes import nested, state, tell
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array, Value
from .dtypes import mixed_type
from .nondifferentiable import plain, raw

__all__ = ["allclose", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift"]
__all__ += ["bitwise_xor", "eq", "equal", "ge", "greater", "greater_equal", "gt", "isclose", "isfinite", "isinf"]
__all__ += ["isnan", "isneginf", "isposinf", "isreal", "le", "less", "less_equal", "logical_and", "logical_not"]
__all__ += ["logical_or", "logical_xor", "lt", "ne", "not_equal", "signbit"]


def _compare(name: str, ufunc: Any, doc: str, typed: bool = True, ordered: bool = False) -> Any:
    """A function of two operands, brought to one dtype first if ``typed``, that is never recorded.

    Complex numbers have no order: of those, what is ``ordered`` is refused.
    """

    def apply(a: Value, b: Value) -> Any:
        x = a._data if isinstance(a, Tensor) else raw_array(a, name)
        z = b._data if isinstance(b, Tensor) else raw_array(b, name)
        tensors = isinstance(a, Tensor) or isinstance(b, Tensor)
        # NumPy compares int64 with float32 in float64, PyTorch in float32
        if tensors and typed and not _comparable(x, z, ordered):
            dtype = mixed_type(a, b)
            if ordered and dtype.kind == "c":
                raise not_implemented(f"{name}_cpu", dtype)
            x, z = _as(dtype, x, z), _as(dtype, z, x)
        here = state.here
        try:
            result = here.quiet(ufunc, x, z)
        except RuntimeError as error:
            result = nested(error, ufunc, x, z)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            fail(name, error, x, z)
        if not tensors:  # raw arrays in, raw arrays out, as of every operation
            return result
        out = wrap(as_array(result))
        if here.watchers:
            tell(ufunc, (a, b), {}, out)
        return out

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return apply


def _comparable(x: Any, z: Any, ordered: bool) -> bool:
    """Whether NumPy compares these two as PyTorch does: of one dtype, or a Python number of no higher kind."""
    if not hasattr(x, "dtype"):  # the number second, so that one test serves both orders
        x, z = z, x
    kind = x.dtype.kind
    if hasattr(z, "dtype"):
        return bool(x.dtype == z.dtype) and not (ordered and kind == "c")
    return (type(z) is int and kind in "iuf") or (type(z) is float and kind == "f")


def _as(dtype: Any, x: Any, other: Any) -> Any:
    if hasattr(x, "astype"):
        return x if x.dtype == dtype else converted(x, dtype)
    return converted(x, dtype, other)


eq = _compare("eq", np.equal, "a == b, entry by entry.")
ne = _compare("ne", np.not_equal, "a != b, entry by entry.")
lt = _compare("lt", np.less, "a < b, entry by entry.", ordered=True)
le = _compare("le", np.less_equal, "a <= b, entry by entry.", ordered=True)
gt = _compare("gt", np.greater, "a > b, entry by entry.", ordered=True)
ge = _compare("ge", np.greater_equal, "a >= b, entry by entry.", ordered=True)
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge

logical_and = _compare("logical_and", np.logical_and, "a and b, entry by entry; numbers count as a != 0.", False)
logical_or = _compare("logical_or", np.logical_or, "a or b, entry by entry; numbers count as a != 0.", False)
logical_xor = _compare("logical_xor", np.logical_xor, "Whether just one of a and b holds, entry by entry.", False)
bitwise_and = _compare("bitwise_and", np.bitwise_and, "The bits that a and b share; for bools: and.")
bitwise_or = _compare("bitwise_or", np.bitwise_or, "The bits that a or b has; for bools: or.")
bitwise_xor = _compare("bitwise_xor", np.bitwise_xor, "The bits that just one of a and b has; for bools: xor.")
bitwise_left_shift = _compare("bitwise_left_shift", np.left_shift, "The bits of a moved up by b places.")
bitwise_right_shift = _compare("bitwise_right_shift", np.right_shift, "The bits of a moved down by b places.")


def _test(name: str, ufunc: Any, doc: str) -> Any:
    def apply(a: Array) -> Array:
        found: Array = ufunc(a)
        return found

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return plain(apply)


def _real(a: Array, name: str) -> Array:
    if a.dtype.kind == "c":
        raise DtypeError(f"{name} does not support complex inputs.")
    return a


logical_not = _test("logical_not", np.logical_not, "not a, entry by entry; numbers count as a != 0.")
bitwise_not = _test("bitwise_not", np.invert, "The bits that a does not have; for bools: not.")
isnan = _test("isnan", np.isnan, "Where a is nan.")
isfinite = _test("isfinite", np.isfinite, "Where a is neither infinite nor nan.")
isinf = _test("isinf", np.isinf, "Where a is infinite.")
isposinf = _test("isposinf", lambda a: _real(a, "isposinf") == np.inf, "Where a is +infinity.")
isneginf = _test("isneginf", lambda a: _real(a, "isneginf") == -np.inf, "Where a is -infinity.")
isreal = _test("isreal", np.isreal, "Where a has no imaginary part.")
signbit = _test("signbit", np.signbit, "Where the sign bit of a is set, also at -0.0.")


@plain
def isclose(a: Array, b: Array, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Where ``|a - b| <= atol + rtol |b|``; infinities are close to themselves alone."""
    near: Array = a == b  # equal infinities, whose difference is nan
    if a.dtype.kind == "b":  # NumPy has no difference of two bools
        return near
    near = near | (np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= atol + rtol * np.abs(b)))
    return near | (np.isnan(a) & np.isnan(b)) if equal_nan else near


def allclose(a: Value, b: Value, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether ``isclose`` holds everywhere."""
    for watcher in state.here.watchers:
        watcher.taken("allclose")
    return bool(raw(isclose(a, b, rtol, atol, equal_nan)).all())


def equal(a: Value, b: Value) -> bool:
    """Whether two tensors have the same shape and the same entries."""
    for watcher in state.here.watchers:
        watcher.taken("equal")
    x, z = raw(a), raw(b)  # shapes first, below: == would broadcast
    return x.shape == z.shape and bool((x == z).all())
