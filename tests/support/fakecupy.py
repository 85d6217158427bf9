"""A strict double of CuPy 14 on top of NumPy, so that the code for GPU arrays runs where there is no GPU.

It refuses what CuPy refuses: arrays of host and device in one operation, implicit conversion to NumPy, functions that
CuPy lacks.  It also refuses two things that CuPy does silently and that are mistakes in a library: indexing a device
array with a host array (a hidden copy), and a fancy assignment that names a place twice (undefined on a GPU).  It
counts transfers from device to host in ``syncs``, so that a test can ask for none.

It knows no kernels: code that compiles some must have a form without.
"""

from __future__ import annotations

import numbers
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.support import fakecuda

__version__ = "14.2.0"
MODULES = ("cupy", "cupy.cuda", "cupy.linalg", "cupyx")

syncs = 0
"""How often a value went from device to host."""

MISSING = frozenset(
    """asmatrix block bmat einsum_path errstate frompyfunc fromregex geomspace histogram_bin_edges insert matrix matvec
    memmap nanpercentile nanquantile ndenumerate nditer recarray seterr spacing unstack vecdot vecmat""".split()
)
ATTRIBUTES = frozenset("shape dtype ndim size nbytes itemsize strides".split())
METHODS = frozenset(
    """all any argmax argmin argpartition argsort astype choose clip compress conj copy cumprod cumsum dot
    flatten max mean min nonzero prod ravel repeat reshape round searchsorted squeeze std sum swapaxes take trace
    transpose var view""".split()
)
METHODS_IN_PLACE = frozenset(["sort", "partition", "put"])
AT = frozenset(["add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"])
REDUCIBLE = frozenset(["add", "multiply"])
SCALARS = (numbers.Number, np.generic, bool, type(...), str, np.dtype, type, slice)


def _refuse(x: object) -> Any:
    raise TypeError(f"Unsupported type {type(x)}")


def _operand(x: Any) -> Any:
    """The host array behind an operand of a ufunc, which must be a device array or a number."""
    if isinstance(x, ndarray):
        return x._a
    return x if x is None or isinstance(x, SCALARS) else _refuse(x)


def _argument(x: Any) -> Any:
    """As ``_operand`` for other functions, whose arguments may be lists and tuples of device arrays."""
    if isinstance(x, (list, tuple)):
        return type(x)(_argument(item) for item in x)
    if isinstance(x, np.ndarray):
        return _refuse(x)
    return x._a if isinstance(x, ndarray) else x


def _device(result: Any) -> Any:
    """A result of NumPy's as a device array; also inside tuples and lists."""
    if isinstance(result, (np.ndarray, np.generic)):
        wrapped = object.__new__(ndarray)
        wrapped._a = np.asarray(result)
        return wrapped
    if isinstance(result, (tuple, list)):
        return type(result)(_device(item) for item in result)
    return result


def _sync() -> None:
    global syncs
    syncs += 1


def _index(index: Any, store: bool = False) -> Any:
    items = index if isinstance(index, tuple) else (index,)
    found = []
    for item in items:
        if isinstance(item, ndarray):
            item = item._a
            if store and item.dtype.kind in "iu" and len(items) == 1 and np.unique(item).size != item.size:
                raise RuntimeError("duplicate indices in a fancy assignment: undefined in CuPy, use add.at")
        elif isinstance(item, np.ndarray):
            raise TypeError("a host array as an index of a device array: CuPy copies it in silence")
        found.append(item)
    return tuple(found) if isinstance(index, tuple) else found[0]


class Flags:
    """What CuPy tells about the layout of memory; it has no ``writeable``."""

    def __init__(self, flags: Any) -> None:
        self.c_contiguous: bool = flags.c_contiguous
        self.f_contiguous: bool = flags.f_contiguous
        self.owndata: bool = flags.owndata


class ndarray:
    """A device array.  No subclass of ``numpy.ndarray``, as CuPy's is none."""

    __slots__ = ("__weakref__", "_a")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _a: np.ndarray

    def __init__(self, shape: Any, dtype: Any = float, order: Any = "C") -> None:
        self._a = np.empty(shape, dtype, order)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._a, name)
        if name in METHODS:
            method = getattr(self._a, name)
            return lambda *args, **kwargs: _device(method(*map(_argument, args), **_each(kwargs, _argument)))
        if name in METHODS_IN_PLACE:
            method = getattr(self._a, name)
            return lambda *args, **kwargs: method(*map(_argument, args), **_each(kwargs, _argument))
        raise AttributeError(f"'cupy.ndarray' object has no attribute '{name}'")

    T = property(lambda self: _device(self._a.T))
    mT = property(lambda self: _device(self._a.mT))
    real = property(lambda self: _device(self._a.real))
    imag = property(lambda self: _device(self._a.imag))
    base = property(lambda self: None if self._a.base is None else _device(self._a.base))
    flags = property(lambda self: Flags(self._a.flags))
    device = property(lambda self: cuda.Device(0))
    data = property(lambda self: types.SimpleNamespace(ptr=self._a.__array_interface__["data"][0]))

    # to the host: each of these waits for the device

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        _sync()
        if out is None:
            return self._a.copy()
        out[...] = self._a
        return out

    def item(self, *args: Any) -> Any:
        _sync()
        return self._a.item(*args)

    def tolist(self) -> Any:
        _sync()
        return self._a.tolist()

    def __float__(self) -> float:
        _sync()
        return float(self._a)

    def __int__(self) -> int:
        _sync()
        return int(self._a)

    def __bool__(self) -> bool:
        _sync()
        return bool(self._a)

    def __complex__(self) -> complex:
        _sync()
        return complex(self._a)

    def __format__(self, spec: str) -> str:
        _sync()
        return format(self._a.item() if self._a.ndim == 0 else self._a, spec)

    def __repr__(self) -> str:
        return f"device {self._a!r}"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # on the device

    def set(self, array: Any, stream: Any = None) -> None:
        if not isinstance(array, np.ndarray) or array.dtype != self._a.dtype or array.shape != self._a.shape:
            raise TypeError("ndarray.set: a host array of the same shape and dtype is needed")
        self._a[...] = array

    def fill(self, value: Any) -> None:
        value = value._a if isinstance(value, ndarray) else np.asarray(value)
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._a.fill(value)

    def diagonal(self, *args: Any) -> ndarray:
        line = self._a.diagonal(*args)
        line.flags.writeable = True
        return _device(line)

    def __len__(self) -> int:
        return len(self._a)

    def __copy__(self) -> ndarray:
        return _device(self._a.copy())

    def __deepcopy__(self, memo: Any) -> ndarray:
        return _device(self._a.copy())

    def __iter__(self) -> Iterator[ndarray]:
        if self._a.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (_device(row) for row in self._a)

    def __getitem__(self, index: Any) -> ndarray:
        found = self._a[_index(index)]
        if isinstance(found, np.generic):  # one entry is a view here, where NumPy gives a number
            found = self._a[(*_index(index if isinstance(index, tuple) else (index,)), ...)]
        return _device(found)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, (np.ndarray, list, tuple)):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._a[_index(index, store=True)] = _operand(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        mine = __getattr__(ufunc.__name__)
        if isinstance(kwargs.get("out"), tuple):
            kwargs["out"] = kwargs["out"][0]
        return (mine if method == "__call__" else getattr(mine, method))(*args, **kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        try:
            inside_linalg = function.__module__ not in ("numpy", None)
            mine = getattr(linalg, function.__name__) if inside_linalg else __getattr__(function.__name__)
        except AttributeError:
            return NotImplemented
        return mine(*args, **kwargs)


def _each(kwargs: dict[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: convert(value) for name, value in kwargs.items()}


def _operator(name: str, ufunc: Any, kind: str) -> Callable[[Any, Any], Any]:
    def apply(self: Any, other: Any) -> Any:
        if kind == "in place":
            ufunc(self._a, _operand(other), out=self._a)
            return self
        if isinstance(other, (str, list, tuple)) or other is None:
            return NotImplemented if name in ("__eq__", "__ne__") else _refuse(other)
        pair = (self._a, _operand(other))
        return _device(ufunc(*(pair[::-1] if kind == "reflected" else pair)))

    return apply


ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "xor": np.bitwise_xor,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
COMPARISONS = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal}
COMPARISONS["ne"] = np.not_equal
for _name, _ufunc in ARITHMETIC.items():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", _ufunc, "plain"))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__", _ufunc, "reflected"))
    if _name != "matmul":  # CuPy has no __imatmul__ either: ``a @= b`` binds a new array
        setattr(ndarray, f"__i{_name}__", _operator(f"__i{_name}__", _ufunc, "in place"))
for _name, _ufunc in COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", _ufunc, "plain"))
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(ndarray, f"__{_name}__", lambda self, ufunc=_ufunc: _device(ufunc(self._a)))


class Ufunc:
    """One of NumPy's ufuncs on device arrays, with those of its methods that CuPy has."""

    def __init__(self, ufunc: Any) -> None:
        self._ufunc, self.__name__, self.nin, self.nout = ufunc, ufunc.__name__, ufunc.nin, ufunc.nout

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _device(self._ufunc(*map(_operand, args), **_each(kwargs, _operand)))

    def _only(self, method: str, allowed: frozenset[str]) -> None:
        if self.__name__ not in allowed:
            raise NotImplementedError(f"`{self.__name__}.{method}` is not supported yet")

    def at(self, a: Any, index: Any, values: Any) -> None:
        self._only("at", AT)
        if not isinstance(a, ndarray):
            _refuse(a)
        self._ufunc.at(a._a, _index(index), _operand(values))

    def reduce(self, a: Any, *args: Any, **kwargs: Any) -> Any:
        self._only("reduce", REDUCIBLE)
        return _device(self._ufunc.reduce(_operand(a), *args, **_each(kwargs, _argument)))

    def accumulate(self, a: Any, *args: Any, **kwargs: Any) -> Any:
        self._only("accumulate", REDUCIBLE)
        return _device(self._ufunc.accumulate(_operand(a), *args, **_each(kwargs, _argument)))

    def outer(self, a: Any, b: Any) -> Any:
        return _device(self._ufunc.outer(_operand(a), _operand(b)))


def _function(f: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return _device(f(*map(_argument, args), **_each(kwargs, _argument)))

    call.__name__ = getattr(f, "__name__", "function")
    return call


def array(x: Any, dtype: Any = None, copy: bool = True, order: Any = "K", ndmin: int = 0) -> ndarray:
    if isinstance(x, (list, tuple)) and any(isinstance(item, ndarray) for item in x):
        x = _argument(x)
    return _device(np.array(x._a if isinstance(x, ndarray) else x, dtype=dtype, copy=True, order=order, ndmin=ndmin))


def asarray(x: Any, dtype: Any = None, order: Any = None) -> ndarray:
    return x if isinstance(x, ndarray) and (dtype is None or np.dtype(dtype) == x.dtype) else array(x, dtype)


def ascontiguousarray(x: Any, dtype: Any = None) -> ndarray:
    return _device(np.ascontiguousarray(asarray(x, dtype)._a))


def asnumpy(x: Any, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
    return x.get(out=out) if isinstance(x, ndarray) else np.asarray(x)


def _like(name: str) -> Callable[..., Any]:
    """``empty_like`` and its kin, in which ``shape=()`` counts as none: the result has the shape of ``a``."""
    function = _function(getattr(np, name))
    return lambda *args, shape=None, **kwargs: function(*args, shape=shape or None, **kwargs)


zeros_like, ones_like, empty_like, full_like = map(_like, ("zeros_like", "ones_like", "empty_like", "full_like"))


def is_available() -> bool:
    return True


def get_array_module(*args: Any) -> Any:
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else np


def _no_kernels(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError("the double of CuPy compiles no kernels")


ElementwiseKernel = ReductionKernel = RawKernel = RawModule = _no_kernels


_MADE: dict[str, Any] = {}  # not in globals(): there cupy's any, sum and max would hide Python's from this file


def __getattr__(name: str) -> Any:
    """Whatever NumPy has and CuPy has too, made to take device arrays only."""
    if name.startswith("__") or name in MISSING:
        raise AttributeError(f"module 'cupy' has no attribute '{name}'")
    if name in _MADE:
        return _MADE[name]
    found = getattr(np, name)
    if isinstance(found, types.ModuleType):
        raise AttributeError(f"module 'cupy' has no attribute '{name}'")
    if isinstance(found, np.ufunc):
        found = Ufunc(found)
    elif callable(found) and not isinstance(found, type):
        found = _function(found)
    _MADE[name] = found
    return found


linalg = types.ModuleType("cupy.linalg")
for _name in ("norm", "inv", "solve", "svd", "qr", "cholesky", "det", "eigh", "pinv", "matrix_rank", "matrix_power"):
    setattr(linalg, _name, _function(getattr(np.linalg, _name)))


def _windows(x: ndarray, size: Any, axis: Any = None) -> ndarray:
    return _device(np.lib.stride_tricks.sliding_window_view(x._a, size, axis, writeable=True))


lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(sliding_window_view=_windows))


cuda: Any = fakecuda.module()
get_default_memory_pool = fakecuda.get_default_memory_pool


def install() -> None:
    """Let ``import cupy`` find this module, with a GPU in its first state."""
    global cuda
    cuda = fakecuda.module()
    extras = types.ModuleType("cupyx")
    extras.rsqrt = lambda x: 1 / _device(np.sqrt(x._a))  # type: ignore[attr-defined]
    extras.empty_pinned = fakecuda.empty_pinned  # type: ignore[attr-defined]
    me = sys.modules[__name__]
    sys.modules.update({"cupy": me, "cupy.cuda": cuda, "cupy.linalg": linalg, "cupyx": extras})
