"""In-place methods (``add_`` ...) and augmented assignment: each is its out-of-place operation, and a write.

``x.mul_(w)`` computes ``x * w`` by the ordinary operation, applied to a stand-in for the old ``x``, then writes the
result into the memory of ``x`` and gives ``x`` the result's node.  So every in-place form has the gradient of the
operation that it is named after, and there is nothing to derive twice.  Where that operation keeps the old value
for its vjp, the stand-in holds a copy; what it keeps of the result is its own array, which later writes do not touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..backend import scalar_name
from ..errors import DtypeError, InplaceError, ShapeRuntimeError
from ..tape.hooks.tensor_hooks import move_retained
from ..tape.inplace.views import become_view, leave_family
from ..tape.inplace.writes import check_memory, check_write, commit, stamped
from ..tape.modes import quietly, state
from ..tape.node import VersionCounter
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor, as_array, wrap
from ..typing import Array
from . import assign
from .dtypes import cast

__all__ = ["applied", "forms", "in_place", "methods"]

OPERATORS = "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()
"""The operators with augmented assignment.  There is no ``@=``: the shape would have to change."""

FORMS = """
abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2
arctanh asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
bitwise_xor ceil clamp clamp_max clamp_min clip copysign cos cosh cumprod cumsum deg2rad digamma div divide elu eq erf
erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmod frac gcd ge greater greater_equal gt hypot i0
index_add index_copy index_fill index_put lcm le leaky_relu lerp less less_equal lgamma log log10 log1p log2
logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul multiply nan_to_num ne neg
negative not_equal pow put rad2deg reciprocal relu remainder renorm round rsqrt scatter scatter_add scatter_reduce
selu sgn sigmoid sign silu sin sinc sinh softplus sqrt square sub subtract tan tanh tril triu true_divide trunc xlogy
""".split()
"""The operations that have an in-place form ``name_`` in PyTorch."""

RESHAPING = ("squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze")
"""View operations whose in-place form makes the tensor itself the view of what it was."""


def in_place(name: str, f: Callable[..., Any]) -> Callable[..., Tensor]:
    """The in-place form ``name`` of the operation ``f``."""
    p = REGISTRY.get(getattr(f, "__name__", ""))
    # a function around the primitive may save other values
    known = p if p is not None and getattr(p, "apply", None) is getattr(f, "__wrapped__", f) else None
    ufunc = known.forward if known is not None and isinstance(known.forward, np.ufunc) else None

    def general(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        check_memory(self, name)  # before anything is computed
        check_write(self, name, False)
        history = state.here.recording and (self._node is not None or _recorded(args) or _recorded(kwargs.values()))
        if not history and ufunc is not None and not kwargs and _direct(ufunc, self._data, args, self._versions):
            return commit(self, None, name)
        old, args, kwargs = _stand_ins(self, args, kwargs, history and not _unread(known, self, args))
        out = f(old, *args, **kwargs)
        if out is NotImplemented:  # x += y: now y is asked
            return out
        out = _fitted(self, out, name)
        check_write(self, name, out._node is not None)  # again: only now is it known whether a gradient passes
        self._data[...] = out._data
        return commit(self, out._node, name)

    method = general if ufunc is None else _plain(name, ufunc, general)
    method.__name__ = method.__qualname__ = name
    plain = name.strip("_")
    method.__doc__ = f"In-place form of ``{plain}``: the result is written into the memory of this tensor."
    return method


def applied(name: str, function: Callable[..., Any], input: Tensor, inplace: bool, **options: Any) -> Tensor:
    """``function(input)``, or ``input`` turned into it.

    Args:
        name: of the function, for messages.
        options: passed on.

    Raises:
        InplaceError: in place, on a leaf that requires grad.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([-1.0, 2.0])
    >>> applied("relu", tg.relu, x, inplace=True) is x, x.tolist()
    (True, [0.0, 2.0])
    """
    if inplace:
        return in_place(f"{name}_", function)(input, **options)
    result: Tensor = function(input, **options)
    return result


def _plain(name: str, ufunc: np.ufunc, general: Callable[..., Any]) -> Callable[..., Any]:
    """The fast form for an update like ``p.add_(g, alpha=-0.1)``: one call of NumPy; all other calls go to ``general``.

    A plain call needs no checks of its arguments; other calls are checked as ``rest``, see ``arguments.py``.
    """
    rest = [general]  # in a list, in which arguments.py puts the checked form in its place
    takes_alpha = ufunc in (np.add, np.subtract)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and self._node is None and not self._is_view():
            other = args[0]
            kind = type(other)
            if (kind is Tensor and (other._node is None or not state.here.recording)) or kind is float or kind is int:
                check_memory(self, name)
                if kwargs:
                    scale = kwargs.get("alpha")
                    if not takes_alpha or type(scale) is not float or kind is not Tensor or len(kwargs) > 1:
                        return rest[0](self, *args, **kwargs)
                    other = _scaled(other, scale)
                if _direct(ufunc, self._data, (other,), self._versions):
                    return stamped(self, name)
        return rest[0](self, *args, **kwargs)

    vars(method)["rest"] = rest
    return method


def _scaled(a: Any, alpha: Any) -> Any:
    """``a * alpha``, where nothing is recorded: without the operator, in half the time, if no types mix."""
    if isinstance(a, Tensor) and type(alpha) is float and a._data.dtype.char in "fd":
        return wrap(as_array(quietly(np.multiply, a._data, alpha)))
    return a * alpha


def _recorded(values: Iterable[Any]) -> bool:
    """Whether one of them is a tensor that requires grad."""
    for value in values:
        if isinstance(value, Tensor) and value._node is not None:
            return True
    return False


def _direct(ufunc: np.ufunc, data: Array, args: tuple[Any, ...], versions: VersionCounter | None) -> bool:
    """Have NumPy write straight into the memory, where nothing is recorded and no types mix; False if it did not."""
    values: list[Array | float] = []
    for a in args:
        if isinstance(a, Tensor):
            # shared memory is for _stand_ins, which copies
            if a._data.dtype != data.dtype or (versions is not None and a._versions is versions):
                return False
            values.append(a._data)
        elif type(a) is float or type(a) is int:
            values.append(a)
        else:
            return False
    if data.dtype.char not in "fd":  # the operation itself knows what float16 does with a number
        return False
    try:
        quietly(ufunc, data, *values, out=data)
    except (TypeError, ValueError, OverflowError):
        return False  # nothing was written; the operation itself will say what is wrong
    return True


def _unread(known: Any, self: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether the operation keeps nothing of the old value, so that it may be overwritten."""
    # alpha, say: another record than that of the primitive alone
    if known is None or len(known.saves) != 1 + len(args):
        return False
    needs = (self._node is not None, *[isinstance(a, Tensor) and a._node is not None for a in args])
    return not known.keeps(needs)[0][0]


def _stand_ins(
    self: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], kept: bool
) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    """The old value, and in place of arguments in the same memory copies with their history."""
    versions = self._versions

    def apart(a: Any) -> Any:
        if isinstance(a, Tensor) and (a is self or (versions is not None and a._versions is versions)):
            return wrap(a._data.copy(), a._node)
        return a

    old = wrap(self._data.copy() if kept else self._data, self._node)  # no copy where nothing was saved: most updates
    return old, tuple([apart(a) for a in args]), {key: apart(a) for key, a in kwargs.items()}


_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def _fitted(self: Tensor, out: Tensor, name: str) -> Tensor:
    """The result in the shape and dtype of the tensor that it is written to.

    Raises:
        ShapeRuntimeError: it was broadcast to another shape.
        DtypeError: its kind is higher: a float does not go into an integer tensor.
    """
    if out._data.shape != self._data.shape:
        raise ShapeRuntimeError(
            f"output with shape {list(self._data.shape)} doesn't match the broadcast shape {list(out._data.shape)}. "
            f"{name}() writes into this tensor, whose shape stays; use the out-of-place form"
        )
    if out._data.dtype == self._data.dtype:
        return out
    if _RANK[out._data.dtype.kind] > _RANK[self._data.dtype.kind]:  # within a kind the result is rounded, as in PyTorch
        raise DtypeError(
            f"result type {scalar_name(out._data.dtype)} can't be cast to the desired output type "
            f"{scalar_name(self._data.dtype)}. {name}() writes into this tensor, whose dtype stays; convert it first"
        )
    converted: Tensor = cast(out, dtype=self._data.dtype)
    return converted


def _reshaped(name: str, f: Callable[..., Any]) -> Callable[..., Tensor]:
    """The tensor becomes the view ``f(tensor)`` of a twin that takes its former place."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_write(self, name, False, shape_only=True)
        if not state.recording and not self.is_leaf:
            raise InplaceError(f"{name}(): under no_grad() the shape of a tensor with a history cannot change")
        out = f(self, *args, **kwargs)
        if out is not self:  # t() of a vector is itself
            leave_family(self)  # first: its views keep the shape that they were taken from
            self._data = out._data
            if state.recording:
                before, self._node = self._node, out._node
                move_retained(self, before)  # retain_grad() was asked of the tensor, not of its old node
                become_view(self, out._view)
            elif self._node is not None:
                self._node.shape = out._data.shape  # a leaf under no_grad(): its gradients will have this shape
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place form of ``{name[:-1]}``: this tensor itself gets the other shape, the memory stays."
    return method


# random numbers ------------------------------------------------------------------------------------------------


def _filled(self: Tensor, kind: str, *how: Any) -> Tensor:
    """Fill with random numbers; the generators are loaded at the first call."""
    from ..backend.random import inplace

    draw = getattr(inplace, f"fill_{kind}")
    return assign.overwrite(self, lambda array: draw(array, *how), f"{kind}_")


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    return _filled(self, "normal", mean, std, generator)


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with numbers uniform on [a, b)."""
    return _filled(self, "uniform", a, b, generator)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 1 with probability p (a number or a tensor that broadcasts), else 0."""
    odds = p._data if isinstance(p, Tensor) else p
    return _filled(self, "bernoulli", odds, generator)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of the given rate."""
    return _filled(self, "exponential", lambd, generator)


def random_(self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Any = None) -> Tensor:
    """Fill with whole numbers: ``random_()`` over the type's range, ``random_(to)`` or ``random_(from, to)``."""
    # random_(5) is up to 5, although the first argument is from
    low, high = (None, from_) if to is None else (from_, to)
    return _filled(self, "random", low, high, generator)


def forms(table: Mapping[str, Any]) -> dict[str, Any]:
    """``name_`` for the operations of a table that have such a form."""
    return {f"{name}_": in_place(f"{name}_", table[name]) for name in FORMS if name in table}


def methods(table: Mapping[str, Any]) -> dict[str, Any]:
    """The in-place forms of the operations in a table of Tensor's methods.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 4.0])
    >>> x += 1
    >>> x.mul_(2).sub_(tg.tensor([0.0, 1.0]))
    tensor([4., 9.])
    """
    bound: dict[str, Any] = {
        "__setitem__": assign.setitem,
        "bernoulli_": bernoulli_,
        "copy_": assign.copy_,
        "exponential_": exponential_,
        "fill_": assign.fill_,
        "normal_": normal_,
        "random_": random_,
        "uniform_": uniform_,
        "zero_": assign.zero_,
    }
    bound |= forms(table)
    for name in RESHAPING:
        if name in table:
            bound[f"{name}_"] = _reshaped(f"{name}_", table[name])
    for name in OPERATORS:
        if f"__{name}__" in table:
            bound[f"__i{name}__"] = in_place(f"__i{name}__", table[f"__{name}__"])
    return bound
