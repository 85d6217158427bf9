"""What a Tape keeps of the arrays that it sees: copies, or only what is needed to speak of them.

A value on a tape is what it was when it was recorded, whatever the program wrote to that memory later.  So arrays are
copied; and a budget says which:

    "all"       every array
    64          arrays of up to 64 entries; of larger ones a :class:`Summary`
    "shapes"    none: shape and dtype
"""

from __future__ import annotations

import math
import weakref
from typing import Any, TypeAlias

import numpy as np

from ...backend import dtype, is_array, to_numpy
from ...errors import ArgumentError
from ...typing import Array, Shape
from ..node import VersionCounter
from ..partial_gradient import Part
from ..tensor import Tensor

__all__ = ["Keeper", "Kept", "Summary", "raw", "shape_of", "short", "size_of_norm"]

HEAD = 8
"""Of an array that is not kept, so many entries are."""


class Summary:
    """What is kept of an array that is not kept whole.

    Attributes:
        shape, dtype: of the array.
        head: its first entries, flattened; empty if nothing but the shape is kept.
        norm: the square root of the sum of its squares, as a float; None if nothing but the shape is kept.
        minimum, maximum: its least and greatest entry (of those that are numbers); None if there are none, or if they
            have no order, as complex ones.
    """

    __slots__ = ("dtype", "head", "maximum", "minimum", "norm", "shape")

    def __init__(
        self,
        shape: Shape,
        kind: dtype,
        head: Array,
        norm: float | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> None:
        self.shape, self.dtype, self.head = shape, kind, head
        self.norm, self.minimum, self.maximum = norm, minimum, maximum

    @classmethod
    def of(cls, array: Array) -> Summary:
        """The summary of an array."""
        flat = array.reshape(-1)
        head = to_numpy(flat[:HEAD]).copy()
        low = high = None
        if array.dtype.kind != "c" and array.size:
            numbers = flat[flat == flat]  # a nan is not equal to itself
            if numbers.size:
                low, high = float(numbers.min()), float(numbers.max())
        return cls(array.shape, dtype(array.dtype), head, size_of_norm(array), low, high)

    @classmethod
    def shape_alone(cls, array: Array) -> Summary:
        """Nothing but the shape and the dtype."""
        return cls(array.shape, dtype(array.dtype), np.empty(0, array.dtype))

    @property
    def size(self) -> int:
        """The number of entries of the array."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __repr__(self) -> str:
        text = f"{self.dtype.name}{list(self.shape)}"
        return text if self.norm is None else f"{text} of norm {self.norm:.4g}"


Kept: TypeAlias = "Array | Summary | list[Array | Summary | None] | tuple[Array | Summary, ...]"
"""What a tape has of a value: of an operation with several outputs, one for each."""


class Keeper:
    """Copies arrays within a budget; of the arguments of operations it makes one copy for each version.

    Args:
        values: ``"all"``, ``"shapes"``, or the number of entries up to which an array is kept.

    Raises:
        ArgumentError: anything else.
    """

    def __init__(self, values: str | int) -> None:
        number = not isinstance(values, str) and not isinstance(values, bool) and isinstance(values, (int, np.integer))
        if (number and int(values) < 0) or (not number and values not in ("all", "shapes")):
            raise ArgumentError(
                f"Tape(): values must be 'all', 'shapes' or the number of entries up to which an array is kept, not "
                f"{values!r}"
            )
        self.values: str | int = int(values) if number else values
        # by id: the tensor, its memory and its version, then what was kept of it.  Weakly: it keeps no tensor alive
        self._copies: dict[int, tuple[weakref.ref[Tensor], Any, VersionCounter | None, int, Any]] = {}

    def __call__(self, value: Any) -> Any:
        """What is kept of an array, of a Tensor's, or of each of several; of a number, an array."""
        value = raw(value)
        if isinstance(value, (list, tuple)):
            return type(value)([None if item is None else self(item) for item in value])
        if value is None:
            return None
        if self.values == "all" or (self.values != "shapes" and value.size <= int(self.values)):
            return value.copy()
        return Summary.shape_alone(value) if self.values == "shapes" else Summary.of(value)

    def argument(self, value: Any) -> Any:
        """What is kept of an argument of an operation: numbers as they are, None for what has no value."""
        if isinstance(value, Tensor):
            return self.version(value)[1]
        if is_array(value):
            return self(value)
        return value if isinstance(value, (bool, int, float, complex)) else None

    def version(self, t: Tensor, like: Any = None) -> tuple[bool, Any]:
        """Whether this version of ``t`` is new, and what is kept of it.

        Args:
            like: what was kept of its value before; given again if it still is that value.
        """
        found = self._copies.get(id(t))
        data, versions = t._data, t._versions
        count = 0 if versions is None else versions.count
        if found is not None:
            tensor, memory, before, number, kept = found
            # a counter is made when it is first needed: without one there was no write
            same = before is versions or (before is None and count == 0)
            if tensor() is t and memory() is data and same and number == count:
                return False, kept
        kept = like if like is not None and _equal(like, data) else self(data)
        self._copies[id(t)] = weakref.ref(t), weakref.ref(data), versions, count, kept
        return True, kept


def _equal(kept: Any, data: Array) -> bool:
    """Whether a copy is the same as an array, bit for bit."""
    if isinstance(kept, Summary) or not is_array(kept) or kept.shape != data.shape or kept.dtype != data.dtype:
        return False
    return bool(((kept == data) | ((kept != kept) & (data != data))).all())


def raw(value: Any) -> Any:
    """A raw array, or a list or tuple of them, for what a watcher is given; None for what is neither.

    A custom Function may give anything beside its tensors.
    """
    if isinstance(value, Part):
        value = value.start()
    if isinstance(value, Tensor):
        return value._data
    if isinstance(value, (list, tuple)):
        return type(value)([raw(item) for item in value])
    if isinstance(value, (np.generic, bool, int, float, complex)):
        return np.array(value)
    return value if is_array(value) else None


def shape_of(value: Any) -> Shape | None:
    """The shape of what is kept of one array."""
    return getattr(value, "shape", None)


def size_of_norm(value: Any) -> float:
    """The square root of the sum of squares, in float64, without overflow and underflow on the way.

    >>> size_of_norm(np.array([3e-30, 4e-30], np.float32))        # whose squares are 0 in float32
    5.0000000...e-30
    """
    if isinstance(value, Summary):
        return float("nan") if value.norm is None else value.norm
    sizes = abs(value.astype(np.complex128 if value.dtype.kind == "c" else np.float64))
    largest = float(sizes.max()) if sizes.size else 0.0
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * math.sqrt(float(((sizes / largest) ** 2).sum()))


def short(value: Any) -> str:
    """The numbers to 4 digits if they are few, else shape and norm."""
    if isinstance(value, (list, tuple)):
        return ", ".join("None" if item is None else short(item) for item in value)
    if value is None or isinstance(value, Summary):
        return str(value)
    value = raw(value)
    if value.ndim == 0:
        return f"{value.item():.4g}"
    if 0 < value.size <= 6:
        return np.array2string(to_numpy(value), precision=4, separator=", ").replace("\n", "")
    shape = f"{value.dtype}{list(value.shape)}"
    return f"{shape} of norm {size_of_norm(value):.4g}" if value.size else shape
