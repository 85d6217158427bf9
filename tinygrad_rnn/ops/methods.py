"""Binding of operations to Tensor: a table, with a name on the left and a function on the right.

``Tensor`` cannot import operations, which are written in terms of it; so it gets its operators and methods here, when
``tinygrad_rnn.ops`` is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ArgumentRuntimeError, ArgumentTypeError, GraphError
from ..tape.backward import tensor_backward
from ..tape.hooks import tensor_hooks
from ..tape.modes import state
from ..tape.tensor import Tensor
from ..typing import Value
from . import (
    arguments,
    arithmetic,
    comparison,
    conversion,
    creation,
    cumulative,
    diagonals,
    dlpack,
    elementwise,
    host_values,
    index,
    inplace,
    linalg,
    random_draws,
    rearrange,
    reduce,
    rounding,
    scattering,
    shape,
    softmaxes,
    sorting,
    splitting,
    statistics,
    storage,
    transcendental,
)

__all__ = ["bind"]

FAMILIES: tuple[Any, ...] = (
    *(elementwise, arithmetic, transcendental, rounding, comparison, reduce, softmaxes, cumulative, statistics),
    *(sorting, linalg, shape, rearrange, splitting, diagonals, index, scattering),
)
"""All that these offer are methods, their first argument being the tensor, but for:"""

FUNCTIONS_ONLY = """
broadcast_shapes broadcast_tensors cat column_stack concat concatenate divide_rounded dstack embedding getitem hstack
linear meshgrid row_stack rsub stack sum_to tril_indices triu_indices vstack
""".split()


SEQUENCES = frozenset({list, tuple, str, bytes})


def _reflected(f: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    return lambda self, other: f(other, self)


def _or_not_implemented(f: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    def compare(self: Value, other: Any) -> Any:
        if other is None or isinstance(other, (str, dict, set)):  # then x == None is False, as in Python and PyTorch
            return NotImplemented
        return f(self, other)

    return compare


def _operators(**table: Callable[[Value, Value], Value]) -> dict[str, Any]:
    """Each operator and its reflected form."""
    plain = {f"__{name}__": f for name, f in table.items()}
    return plain | {f"__r{name}__": _reflected(f) for name, f in table.items()}


def _iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first axis."""
    if self._data.ndim == 0:
        raise ArgumentTypeError("iteration over a 0-d tensor")
    return iter(splitting.unbind(self))


def _contains(self: Tensor, value: Any) -> bool:
    """Whether one of the entries is this value."""
    if not isinstance(value, (Tensor, int, float, complex)) and not hasattr(value, "dtype"):
        raise ArgumentRuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}."
        )
    return bool((self == value).any())


def _repeats(self: Tensor, other: Any) -> Any:
    """``other * self``; a whole number repeats a list or a string, as it does in Python."""
    # so that Python repeats the list: [0] * t
    if type(other) in SEQUENCES and not self.ndim and self.dtype.kind in "iu":
        return NotImplemented
    return elementwise.mul(other, self)


# what is loaded at the first call ---------------------------------------------------------------------------------


def _repr(self: Tensor) -> str:
    """``tensor([1., 2.], requires_grad=True)``; see ``set_printoptions``."""
    from .tensor_text import tensor_repr

    return tensor_repr(self)


def _repr_html(self: Tensor) -> str | None:
    """What a notebook shows: the entries on colours, or a histogram; None with ``set_printoptions(html=False)``."""
    from .tensor_text import tensor_html

    return tensor_html(self)


def _format(self: Tensor, spec: str) -> str:
    """A 0-d tensor formatted as its number, any other as its text."""
    from .tensor_text import format_tensor

    return format_tensor(self, spec)


def _numpy_protocol() -> Any:
    """Load the module that answers NumPy; its functions replace the two below."""
    from . import numpy_protocol

    bind({"__array_ufunc__": numpy_protocol.array_ufunc, "__array_function__": numpy_protocol.array_function})
    return numpy_protocol


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """NEP 13: a ufunc, or a method of one, applied to arguments of which one is a Tensor."""
    return _numpy_protocol().array_ufunc(self, ufunc, method, *inputs, out=out, **kwargs)


def _array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18: a function of NumPy's with a Tensor among its arguments."""
    return _numpy_protocol().array_function(self, func, types, args, kwargs)


def _mask(self: Tensor) -> Any:
    """Raise, since a Tensor has no mask; NumPy's masked arrays then take the values as they are."""
    if self.requires_grad and state.recording:
        raise GraphError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead: masked arrays have "
            "no form here that records. Use masked_fill() or where()"
        )
    raise AttributeError("'Tensor' object has no attribute '_mask'")


METHODS: dict[str, Any] = {
    **{name: getattr(family, name) for family in FAMILIES for name in family.__all__ if name not in FUNCTIONS_ONLY},
    # names of builtins, which have another name inside ops/
    "abs": elementwise.absolute,
    "all": reduce.all_over,
    "any": reduce.any_over,
    "max": reduce.max_over,
    "min": reduce.min_over,
    "pow": elementwise.power,
    "round": rounding.rounded,
    "sum": reduce.sum_over,
    # operators
    **_operators(add=elementwise.add, sub=elementwise.sub, mul=elementwise.mul, truediv=elementwise.div),
    "__rmul__": _repeats,
    **_operators(pow=elementwise.power, matmul=linalg.matmul, floordiv=rounding.floor_divide, mod=rounding.remainder),
    "__and__": comparison.bitwise_and,
    "__or__": comparison.bitwise_or,
    "__xor__": comparison.bitwise_xor,
    "__rand__": comparison.bitwise_and,
    "__ror__": comparison.bitwise_or,
    "__rxor__": comparison.bitwise_xor,
    **_operators(lshift=comparison.bitwise_left_shift, rshift=comparison.bitwise_right_shift),
    "__neg__": elementwise.neg,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.absolute,
    "__invert__": comparison.bitwise_not,
    "__eq__": _or_not_implemented(comparison.eq),
    "__ne__": _or_not_implemented(comparison.ne),
    "__lt__": comparison.lt,
    "__le__": comparison.le,
    "__gt__": comparison.gt,
    "__ge__": comparison.ge,
    "__getitem__": index.getitem,
    "__iter__": _iterate,
    # PyTorch's is a tensor, Python's own would be an iterator
    "__reversed__": lambda self: rearrange.flip(self, 0) if self.ndim else self,
    "__contains__": _contains,
    # arguments in another order, or no functions
    "where": lambda self, condition, other: elementwise.where(condition, self, other),
    "broadcast_to": shape.expand,
    "expand_as": lambda self, other: shape.expand(self, tuple(other.shape)),
    "t": shape.t,
    "T": property(shape.reverse_axes),
    "mT": property(lambda self: shape.swapaxes(self, -1, -2), doc="The last two axes exchanged."),
    "bernoulli": random_draws.bernoulli,
    "multinomial": random_draws.multinomial,
    # of the same dtype and device
    "new_tensor": creation.new_tensor,
    "new_zeros": creation.new_zeros,
    "new_ones": creation.new_ones,
    "new_empty": creation.new_empty,
    "new_full": creation.new_full,
    **storage.METHODS,
    # types, devices, memory; other libraries; text; the graph
    **conversion.METHODS,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "__array_priority__": 1000,  # so that CuPy leaves array * tensor to the tensor
    "_mask": property(_mask),
    "__dlpack__": dlpack.dlpack,
    "__dlpack_device__": dlpack.dlpack_device,
    "__repr__": _repr,
    "_repr_html_": _repr_html,
    "__format__": _format,
    "backward": tensor_backward,
    **tensor_hooks.METHODS,
}

METHODS.update(inplace.methods(METHODS))  # first, so that the in-place forms are guarded, too
METHODS.update(arguments.guarded(METHODS, "method"))


def bind(table: dict[str, Any]) -> None:
    """Give Tensor operators and methods."""
    for name, function in table.items():
        setattr(Tensor, name, function)


bind(METHODS)
bind(host_values.METHODS | {"__init__": creation.construct})
