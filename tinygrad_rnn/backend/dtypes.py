"""Dtypes: one object that serves as PyTorch's dtype and as NumPy's.

``np.dtype`` cannot be subclassed, and has neither ``is_floating_point`` nor ``torch.float32`` as its text.  A
:class:`dtype` here therefore holds NumPy's.  NumPy accepts it wherever it accepts a dtype, because it looks for an
attribute ``__numpy_dtype__`` (from 2.4) or ``dtype``.  Arrays keep NumPy's dtype; ``Tensor.dtype`` looks ours up by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, DtypeError, UnsupportedDtype

__all__ = ["DTYPES", "NUMBERS", "as_dtype", "check_numbers", "class_name", "dtype", "not_implemented", "only"]
__all__ += ["scalar_name", "tensor_type"]

_NUMPY_NAMES: tuple[str, ...] = ("kind", "char", "num", "str", "name", "type", "itemsize", "alignment", "byteorder")
_NUMPY_NAMES += ("flags", "hasobject", "isnative", "isbuiltin", "descr", "fields", "names", "subdtype", "newbyteorder")
"""Attributes of NumPy's dtype to forward.  Not ``shape`` and ``ndim``: an object with them counts as an array."""


DType: TypeAlias = "dtype"  # for annotations in the class, where the word is an attribute

_SCALAR_NAMES = {"b1": "Bool", "u1": "Byte", "i1": "Char", "i2": "Short", "i4": "Int", "i8": "Long", "f2": "Half"}
_SCALAR_NAMES |= {"f4": "Float", "f8": "Double", "c8": "ComplexFloat", "c16": "ComplexDouble"}
_SCALAR_NAMES |= {"u2": "UInt16", "u4": "UInt32", "u8": "UInt64"}


def scalar_name(dtype: Any) -> str:
    """PyTorch's name of a scalar type, as in its errors and legacy tensor types.

    >>> scalar_name(np.dtype("float32")), scalar_name(np.dtype("int64"))
    ('Float', 'Long')
    """
    return _SCALAR_NAMES.get(f"{dtype.kind}{dtype.itemsize}") or str(dtype.name)


def tensor_type(dtype: Any, on_gpu: bool = False) -> str:
    """PyTorch's name of the legacy tensor type of a dtype.

    >>> tensor_type(np.dtype("float32")), tensor_type(np.dtype("int64"), on_gpu=True)
    ('torch.FloatTensor', 'torch.cuda.LongTensor')
    """
    return f"torch.{'cuda.' if on_gpu else ''}{scalar_name(dtype)}Tensor"


def class_name(value: object) -> str:
    """The class of a value as in PyTorch's errors: with its module, unless it is a built-in.

    >>> class_name([1]), class_name(np.ones(1))
    ('list', 'numpy.ndarray')
    """
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def not_implemented(op: str, dtype: Any, remedy: str = "") -> UnsupportedDtype:
    """PyTorch's error where it has no kernel for a type: ``"max_all" not implemented for 'ComplexFloat'``."""
    more = remedy and f": {remedy}"
    return UnsupportedDtype(f"\"{op}\" not implemented for '{scalar_name(dtype)}'{more}")


def only(kinds: str, kernel: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward``, restricted to first arguments of these kinds: PyTorch has no ``kernel`` for others.

    Raises (when it is called):
        UnsupportedDtype: the array is of another kind.

    >>> only("f", "elu_cpu", np.negative)(np.ones(1)).item()
    -1.0
    """

    def checked(a: Any, *rest: Any, **params: Any) -> Any:
        if a.dtype.kind not in kinds:
            raise not_implemented(kernel, a.dtype)
        return forward(a, *rest, **params)

    vars(checked)["__wrapped__"] = forward
    return checked


class dtype:
    """The type of a tensor's entries: ``tinygrad_rnn.float32``.

    There is one object for each, made once: ``x.dtype is tg.float32``.  It equals NumPy's dtype, in both directions
    and as the key of a dict, and NumPy takes it as a dtype.  Called, it gives that object for whatever NumPy
    understands as a dtype.

    Attributes:
        dtype: NumPy's dtype.
        is_floating_point: whether the entries are real floating-point numbers.
        is_complex: whether they are complex numbers.
        is_signed: whether there are negative ones.
        itemsize: the bytes of one entry.
        abbr: the letter of the kind, and the bits: ``"f32"``.
        kind, char, num, name, type, str ...: as on NumPy's dtype.

    >>> import tinygrad_rnn as tg
    >>> tg.float32, tg.float32.is_floating_point, tg.float32.itemsize
    (torch.float32, True, 4)
    >>> tg.float32 == np.dtype("float32"), {np.dtype("float32"): 1}[tg.float32], np.zeros(2, tg.float32).dtype
    (True, 1, dtype('float32'))
    >>> tg.dtype("float32") is tg.float32
    True
    """

    __slots__ = ("__numpy_dtype__", "abbr", "dtype", "is_complex", "is_floating_point", "is_signed", *_NUMPY_NAMES)

    dtype: np.dtype[Any]
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    itemsize: int
    kind: str
    name: str

    def __new__(cls, dtype: Any) -> DType:
        of_numpy = np.dtype(dtype)
        found = DTYPES.get(of_numpy)
        if found is None:
            found = DTYPES[of_numpy] = object.__new__(cls)
            facts = {name: getattr(of_numpy, name) for name in _NUMPY_NAMES}
            facts |= {"dtype": of_numpy, "__numpy_dtype__": of_numpy, "is_floating_point": of_numpy.kind == "f"}
            facts |= {"is_complex": of_numpy.kind == "c", "is_signed": of_numpy.kind in "ifc"}
            facts["abbr"] = f"{of_numpy.name[0]}{8 * of_numpy.itemsize}"
            for name, value in facts.items():
                object.__setattr__(found, name, value)
        return found

    def __setattr__(self, name: Any, *value: Any) -> None:
        raise AttributeError(f"attribute '{name}' of 'torch.dtype' objects is not writable")

    __delattr__ = __setattr__

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self.dtype == (other.dtype if isinstance(other, dtype) else other))

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        # The name does not tell the byte order or the length of strings; other dtypes are pickled whole.
        return dtype, (self.name if self.isbuiltin == 1 and self.isnative else self.dtype,)

    if TYPE_CHECKING:  # the forwarded attributes that have no annotation above

        def __getattr__(self, name: str) -> Any: ...

    def to_complex(self) -> DType:
        """The complex type whose parts have this type; itself if it is complex.

        Raises:
            DtypeError: there is none: of integers, and (as NumPy has no complex32) of float16.

        >>> import tinygrad_rnn as tg
        >>> tg.float64.to_complex(), tg.complex64.to_complex()
        (torch.complex128, torch.complex64)
        """
        if self.is_complex:
            return self
        if self.kind != "f" or self.itemsize < 4:
            raise DtypeError(f"Unknown Complex ScalarType for {scalar_name(self)}: only float32 and float64 have one")
        return dtype("complex64" if self.itemsize == 4 else "complex128")

    def to_real(self) -> DType:
        """The type of the parts of a complex number; itself if it is real.

        >>> import tinygrad_rnn as tg
        >>> tg.complex128.to_real(), tg.float16.to_real()
        (torch.float64, torch.float16)
        """
        return dtype("float64" if self.itemsize == 16 else "float32") if self.is_complex else self


DTYPES: dict[np.dtype[Any], dtype] = {}
"""The object of each of NumPy's dtypes; those that tensors have are there from the start."""
for _of_numpy in "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 float32 float64".split():
    # Made for the entry in DTYPES.
    dtype(_of_numpy)
dtype("complex64"), dtype("complex128")
# A fixed copy: look-ups of other dtypes add entries to DTYPES later.
NUMBERS = frozenset(DTYPES)
"""The types that tensors have: numbers and bool in the machine's byte order."""

_NUMBER_TYPES = (np.generic, bool, int, float, complex)


def as_dtype(d: Any, op: str = "") -> np.dtype[Any]:
    """NumPy's dtype for a dtype (ours or NumPy's), a NumPy scalar type or a name; Python's ``float`` is float64.

    Args:
        d: the argument of a user.
        op: the function that received it, for the error.

    Raises:
        ArgumentTypeError: not a dtype, or not one of numbers: object, str, longdouble, another byte order.

    >>> as_dtype("float32"), as_dtype(int)
    (dtype('float32'), dtype('int64'))
    """
    found: Any = d.dtype if isinstance(d, dtype) else None
    # Not just anything: np.dtype(None) is float64, and from a list it makes a record.
    if found is None and (isinstance(d, (np.dtype, str)) or (isinstance(d, type) and issubclass(d, _NUMBER_TYPES))):
        try:
            found = np.dtype(d)
        except TypeError:
            pass
    if found is None or found not in NUMBERS:
        where = f"{op}(): " if op else ""
        kind, got = type(d).__name__, d.__name__ if isinstance(d, type) else repr(d)
        raise ArgumentTypeError(
            f"{where}argument 'dtype' must be torch.dtype, not {kind}: got {got}. Use float32, int64, bool ..."
        )
    # The canonical one among equal dtypes: np.longlong equals int64 but has another ``char``.
    return DTYPES[found].dtype


def check_numbers(dtype: np.dtype[Any]) -> None:
    """Refuse dtypes other than numbers in the byte order of this machine.

    Raises:
        ArgumentTypeError: object, str, longdouble, dates, records.
        ArgumentError: another byte order.
    """
    if dtype in NUMBERS:
        return
    if not dtype.isnative and dtype.newbyteorder("=") in NUMBERS:
        raise ArgumentError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported. array.astype(array.dtype.newbyteorder('=')) converts it"
        )
    raise ArgumentTypeError(
        f"can't convert np.ndarray of type numpy.{dtype.type.__name__}. The only supported types are: float64, "
        "float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and "
        "bool."
    )
