"""Primitives: a forward function on raw arrays, and for each argument the vjp that pulls a cotangent back.

For ``y = f(a, b)`` and a scalar loss L, the vjp of argument a turns the cotangent ``g = dL/dy`` into
``g . dy/da``, the share of dL/da that this one use of ``a`` contributes.  It is called as
``vjp(g, y, a, b, **params)`` and is itself written in operations that take raw arrays or Tensors: on raw arrays
it just computes, on Tensors it is recorded, which gives the next order.

A declaration says which values each vjp reads: "y" is the output, "a", "b", "c" ... the arguments.  Nothing else
is saved; in place of an argument that was not saved the vjp finds its node, which knows ``shape``, ``dtype``
and ``ndim``.  Applying a primitive to raw arrays records nothing and costs one test.

Those of one argument, and ``binary``, are applied with the loops over arguments unrolled: per recorded operation of
an RNN step this halves the time spent outside NumPy.  They fill their nodes themselves, which takes a third less than
``Node(...)``, and assign line by line, because one assignment of eight values would first make a tuple of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import array_module, is_array, raw_array
from ..typing import Array, Params, Value
from . import forward_errors
from .defaults import defaults
from .forward_errors import fail
from .modes import nested, quietly, state
from .node import Clock, Node, now
from .tensor import Tensor, as_array, wrap

__all__ = ["REGISTRY", "Primitive", "binary", "primitive", "record", "unary"]

ndarray = np.ndarray
Vjp = Callable[..., Value]
NO_PARAMS: Params = {}
NO_CLOCKS: tuple[Clock | None, ...] = ()
NOTHING = object()
"""In the place of a third argument, which only a wrong call gives.  It stands before ``out``, which is so reached
by its name alone: a keyword-only argument would make every operator 15 ns slower."""
_new = object.__new__
INSIDE = (TypeError, ValueError, AttributeError, OverflowError, MemoryError)
"""What a forward raises for arguments that it cannot use."""

REGISTRY: dict[str, Primitive] = {}
"""Every primitive by name: what the property tests run over."""


class Primitive:
    """One row of the table of primitives.

    ``arity`` is 1 for those of one argument, 2 for those of two and no parameters, which the sweep calls without loops:
    with 0, for any other form, a node of an RNN step costs a third more.  ``fresh``: the cotangents that it
    gives are arrays made for the purpose, each with memory of its own, which the sweep may keep and add into.
    ``passes``: the cotangent of the only argument is that of the result in another shape, owned by whoever owned that.

    ``vjps`` are mathematics, on arrays and Tensors alike.  ``raw_vjps`` are what an unrecorded sweep calls in their
    place, on arrays alone: the same functions, but for those that have a faster form (``add_raw_form``).  Assigning
    ``vjps`` sets ``raw_vjps`` too, so that a vjp that is exchanged is exchanged in every sweep.
    """

    __slots__ = (
        "_keeps",
        "_raw_forms",
        "_vjps",
        "apply",
        "arity",
        "backward_name",
        "forward",
        "frees",
        "fresh",
        "joint",
        "name",
        "passes",
        "raw_vjps",
        "recorded_joint",
        "saves",
        "view",
    )

    apply: Callable[..., Any]  # the function that users call, on arrays or Tensors
    raw_vjps: tuple[Vjp | None, ...]

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjps: tuple[Vjp | None, ...],
        saves: tuple[str, ...],
        *,
        view: bool = False,
        joint: Callable[..., Sequence[Value]] | None = None,
        recorded_joint: Callable[..., Sequence[Value]] | None = None,
        residual: bool = False,
        listed: bool = True,
        arity: int = 0,
        fresh: bool = False,
        passes: bool = False,
    ) -> None:
        if len(vjps) != len(saves):
            raise ValueError(f"primitive {name}: {len(vjps)} vjps, but {len(saves)} declarations of what they read")
        known = {"y", *map(chr, range(97, 97 + len(vjps)))}
        if not known.issuperset("".join(saves)):
            raise ValueError(f"primitive {name}: saves {saves}, but there are only {', '.join(sorted(known))}")
        self.name = name
        self.backward_name = "".join(word.capitalize() for word in name.split("_")) + "Backward0"
        self.forward = forward
        self._raw_forms: dict[Vjp, Vjp] = {}
        self.vjps = vjps
        self.saves = saves
        self.frees = residual or any(saves)
        self.view = view
        self.arity = arity
        self.fresh = fresh
        self.passes = passes
        self.joint = joint
        self.recorded_joint = recorded_joint or joint
        self._keeps: dict[tuple[bool, ...], tuple[tuple[bool, ...], bool]] = {}
        if not listed:
            return
        if name in REGISTRY:
            raise ValueError(f"there is a primitive {name!r} already")
        REGISTRY[name] = self

    @property
    def vjps(self) -> tuple[Vjp | None, ...]:
        return self._vjps

    @vjps.setter
    def vjps(self, vjps: tuple[Vjp | None, ...]) -> None:
        self._vjps = vjps
        self.raw_vjps = tuple([vjp and self._raw_forms.get(vjp, vjp) for vjp in vjps])

    def add_raw_form(self, position: int, form: Vjp) -> None:
        """Let unrecorded sweeps call ``form`` in place of the vjp of this argument: the same numbers, but faster."""
        vjp = self._vjps[position]
        assert vjp is not None
        self._raw_forms[vjp] = form  # by the vjp, not its position: it comes back with the vjp after an exchange
        self.vjps = self._vjps

    def keeps(self, needs: tuple[bool, ...]) -> tuple[tuple[bool, ...], bool]:
        """Which arguments, and whether the output, are saved if gradients of ``needs`` are wanted."""
        found = self._keeps.get(needs)
        if found is None:
            letters = "".join(s for s, need in zip(self.saves, needs, strict=False) if need)
            found = tuple(chr(97 + k) in letters for k in range(len(needs))), "y" in letters
            self._keeps[needs] = found
        return found

    def with_joint(self, joint: Callable[..., Sequence[Value]]) -> Primitive:
        """This primitive, but that ``joint`` gives the cotangents of its arguments."""
        import copy

        other = copy.copy(self)
        other.joint = other.recorded_joint = joint
        other.arity, other.fresh, other.passes = 0, False, False
        return other

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def record(p: Primitive, inputs: Sequence[Any], values: Sequence[Array], params: Params, out: Tensor) -> None:
    """Give ``out`` a node: parents, the values that the vjps of its parents read, their clocks."""
    parents = tuple([t._node if isinstance(t, Tensor) else None for t in inputs])
    y = out._data
    args: tuple[Value, ...] = parents
    ans, clocks = None, NO_CLOCKS
    if p.frees:
        keep, keep_output = p.keeps(tuple([node is not None for node in parents]))
        saved: list[Value] = list(parents)
        watched: list[Clock | None] = [None] * (len(saved) + 1)
        for position, kept in enumerate(keep):
            if kept:
                t = inputs[position]
                if isinstance(t, Tensor):
                    saved[position], watched[position] = values[position], t._clock or t._own_clock()
                else:  # a user's array has no clock: what is saved of it must not change
                    saved[position] = t.copy() if is_array(t) else t
        if keep_output:
            ans, watched[-1] = y, out._own_clock()
        args, clocks = tuple(saved), tuple(watched)
    out._node = node = Node(p, parents, args, params, ans, clocks, y.shape, y.dtype)
    for watcher in state.watchers:
        watcher.recorded(node, y)


def unary(
    name: str,
    forward: Callable[[Array], Array],
    vjp: Vjp,
    saves: str = "",
    *,
    floating: bool = False,
    doc: str | None = None,
) -> Callable[[Any], Any]:
    """Declare ``y = forward(a)``.  ``floating``: integer input is converted to the default float first.

    Users call it as it is: what it cannot take it hands to ``misfit.bind``, which knows PyTorch's signatures.
    """
    p = Primitive(name, forward, (vjp,), (saves,), arity=1)
    return _binding(named(p, _of_one(p, floating, bare=True), doc), _ONE)


def _of_one(p: Primitive, floating: bool, bare: bool = False) -> Callable[..., Any]:
    """What applies a primitive of one argument, and, if it is not ``bare``, of parameters without gradients."""
    name, forward = p.name, p.forward
    keep_input, keep_output = "a" in p.saves[0], "y" in p.saves[0]

    def apply(a: Any = None, **params: Any) -> Any:
        if not isinstance(a, Tensor) or (bare and params):
            if not bare:
                return forward(a if type(a) is ndarray else raw_array(a, name), **params)
            if type(a) is ndarray and not params and state.here.memo is not None:  # in a sweep, which is quiet
                return forward(a)
            return _unusual(p, apply, () if a is None and params else (a,), params)
        x = a._data
        if floating and x.dtype.kind not in "fc":
            x = x.astype(defaults.dtype)
        here = state.here
        try:
            y = here.quiet(forward, x, **params) if params else here.quiet(forward, x)  # which is faster
        except RuntimeError as error:
            y = nested(error, forward, x, **params)
        except INSIDE as error:
            fail(name, error, x)
        if type(y) is not ndarray:
            y = as_array(y)
        out = _new(Tensor)
        out._data = y
        out._node = out._clock = None
        parent = a._node
        if parent is not None and here.recording and y.dtype.kind in "fc":  # no gradient passes an integer
            parents = args = (parent,)
            clocks, ans = NO_CLOCKS, None
            if keep_input or keep_output:
                clock_a = clock_y = None
                if keep_input:
                    args, clock_a = (x,), a._clock or a._own_clock()
                if keep_output:
                    ans = y
                    out._clock = clock_y = Clock()
                clocks = (clock_a, clock_y)
            out._node = node = _new(Node)
            node.index = now()
            node.primitive = p
            node.parents = parents
            node.args = args
            node.params = params
            node.ans = ans
            node.clocks = clocks
            node.shape = y.shape
            node.dtype = y.dtype
            node.hooks = None
            if here.watchers:
                for watcher in here.watchers:
                    watcher.recorded(node, y)
        return out

    return apply


_PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD
_ONE = inspect.Signature([inspect.Parameter("input", _PLAIN)])
_ONE_AND_PARAMS = inspect.Signature(
    [inspect.Parameter("a", _PLAIN), inspect.Parameter("params", inspect.Parameter.VAR_KEYWORD)]
)
_TWO = inspect.Signature([inspect.Parameter("input", _PLAIN), inspect.Parameter("other", _PLAIN)])


def _binding(apply: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Mark a function that users call as it is, since it has what it cannot take bound itself."""
    vars(apply)["binds"] = True
    return _signed(apply, signature)


def _signed(apply: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """The function with the signature that its users are to see, without what is there for wrong calls alone."""
    vars(apply)["__signature__"] = signature
    return apply


def _unusual(p: Primitive, apply: Callable[..., Any], args: tuple[Any, ...], params: Params) -> Any:
    """A primitive applied to what is no tensor: raw arrays, or what a user gave and has to be bound first."""
    if forward_errors.bind is not None and (params or not any(is_array(a) for a in args)):
        bound = forward_errors.bind(p.name, apply, args, params)
        if bound is not NotImplemented:
            return bound
    raw = [a if type(a) is ndarray else raw_array(a, p.name) for a in args]
    try:
        return p.forward(*raw, **params) if state.here.memo is not None else quietly(p.forward, *raw, **params)
    except INSIDE as error:
        fail(p.name, error, *raw)


def binary(
    name: str,
    forward: Callable[[Array, Array], Array],
    vjps: tuple[Vjp | None, Vjp | None],
    saves: tuple[str, str],
    *,
    promote: Callable[[Any, Any], tuple[Any, Any]] | None = None,
    mismatch: Callable[[Any, Any], Exception | None] | None = None,
    scales: bool = False,
    binds: bool = True,
    doc: str | None = None,
) -> Callable[[Any, Any], Any]:
    """Declare ``y = forward(a, b)``.

    Where the dtypes of the arguments differ, ``promote(a, b)`` brings both to the dtype of the result by
    recorded casts, so that forward and vjps see one dtype.  ``mismatch(a, b)`` is the error for shapes that do
    not fit, or None; by default that they do not broadcast.  ``scales``: a Python number is used as it is with float16,
    which cannot hold it: ``h * 1e5`` is not infinite.  ``binds``: users call it as it is, see ``unary``.
    """
    p = Primitive(name, forward, vjps, saves, arity=2)
    saving = p.frees
    keeps = [p.keeps(needs) for needs in ((False, False), (True, False), (False, True), (True, True))]

    def apply(input: Any = None, other: Any = None, excess: Any = NOTHING, out: Any = None) -> Any:
        if out is not None or excess is not NOTHING:
            more = () if excess is NOTHING else (excess,)
            return _unusual(p, apply, (input, other, *more), {"out": out} if out is not None else {})
        if isinstance(input, Tensor):
            x, parent_a = input._data, input._node
            if isinstance(other, Tensor):
                z, parent_b = other._data, other._node
                if x.dtype is not z.dtype and promote is not None and x.dtype != z.dtype:
                    return apply(*promote(input, other))
            else:
                z, parent_b = other, None
                if type(z) is not float or x.dtype.char not in "fd":
                    if scales and x.dtype.char == "e" and _rounded(z):
                        return _in_single(apply, input, z)
                    if type(z) is ndarray or promote is not None:
                        promoted = _admit(name, promote, input, z)
                        if promoted is not None:
                            return apply(*promoted)
        elif isinstance(other, Tensor):
            x, parent_a = input, None
            z, parent_b = other._data, other._node
            if type(x) is not float or z.dtype.char not in "fd":
                if scales and z.dtype.char == "e" and _rounded(x):
                    return _in_single(apply, x, other)
                promoted = _admit(name, promote, other, x)
                if promoted is not None:
                    return apply(promoted[1], promoted[0])
        else:
            return _unusual(p, apply, (input, other), {})
        here = state.here
        try:
            y = here.quiet(forward, x, z)
        except RuntimeError as error:
            y = nested(error, forward, x, z)
        except INSIDE as error:
            fail(name, error, x, z, mismatch=mismatch)
        if type(y) is not ndarray:
            y = as_array(y)
        out = _new(Tensor)
        out._data = y
        out._node = out._clock = None
        if (parent_a is not None or parent_b is not None) and here.recording:
            parents = args = (parent_a, parent_b)
            clocks, ans = NO_CLOCKS, None
            if saving:
                (keep_a, keep_b), keep_output = keeps[(parent_a is not None) + 2 * (parent_b is not None)]
                args = (x if keep_a else parent_a, z if keep_b else parent_b)
                clock_y = None
                if keep_output:
                    ans = y
                    out._clock = clock_y = Clock()
                clocks = (
                    (input._clock or input._own_clock()) if keep_a and isinstance(input, Tensor) else None,
                    (other._clock or other._own_clock()) if keep_b and isinstance(other, Tensor) else None,
                    clock_y,
                )
            out._node = node = _new(Node)
            node.index = now()
            node.primitive = p
            node.parents = parents
            node.args = args
            node.params = NO_PARAMS
            node.ans = ans
            node.clocks = clocks
            node.shape = y.shape
            node.dtype = y.dtype
            node.hooks = None
            if here.watchers:
                for watcher in here.watchers:
                    watcher.recorded(node, y)
        return out

    found = named(p, apply, doc)
    return _binding(found, _TWO) if binds else _signed(found, _TWO)


def primitive(
    name: str,
    forward: Callable[..., Array],
    vjps: tuple[Vjp | None, ...] = (),
    saves: tuple[str, ...] = (),
    *,
    joint: Callable[..., Sequence[Value]] | None = None,
    view: bool = False,
    passes: bool = False,
    fresh: bool = False,
    floating: bool = False,
    doc: str | None = None,
) -> Callable[..., Any]:
    """Declare ``y = forward(*args, **params)``: positional arguments are differentiable, keywords are not.

    Args:
        joint: instead of ``vjps``, for any number of arguments: one function that gives the cotangents of all,
            ``joint(g, y, *args, needs, **params)``.  It reads no values, only shapes.
        view: the output may share memory with the first argument.
        passes: the cotangent of the only argument is that of the output in another shape.
        fresh: the vjps give new arrays, which nobody else has: a leaf keeps them as its gradient, without a copy.
        floating: integer input is converted to the default float first.
    """
    arity = 1 if len(vjps) == 1 and joint is None else 0
    p = Primitive(name, forward, vjps, saves, view=view, joint=joint, arity=arity, passes=passes, fresh=fresh)
    if view:
        from .inplace.views import (
            viewer,  # which needs Tensor, as this file does, and the primitive only to remember it
        )

        return named(p, viewer(p), doc)
    if arity == 1:
        return _signed(named(p, _of_one(p, floating), doc), _ONE_AND_PARAMS)

    def apply(*args: Any, **params: Any) -> Any:
        values = []
        tensors = needed = False
        for a in args:
            if isinstance(a, Tensor):
                tensors = True
                needed = needed or a._node is not None
                x = a._data
                if floating and x.dtype.kind not in "fc":
                    x = x.astype(defaults.dtype)
                values.append(x)
            else:
                values.append(a)
        if not tensors:
            return forward(*values, **params)
        here = state.here
        try:
            y = here.quiet(forward, *values, **params)
        except RuntimeError as error:
            y = nested(error, forward, *values, **params)
        except INSIDE as error:
            fail(name, error, *values)
        if type(y) is not ndarray:
            y = as_array(y)
        out = wrap(y)
        if needed and here.recording and y.dtype.kind in "fc":  # no gradient passes an integer
            record(p, args, values, params, out)
        return out

    return named(p, apply, doc)


def named(p: Primitive, apply: Callable[..., Any], doc: str | None) -> Callable[..., Any]:
    p.apply = apply
    apply.__name__ = apply.__qualname__ = p.name
    apply.__doc__ = doc
    return apply


def _rounded(number: Any) -> bool:
    """Whether an operand is a real number that float16 does not hold exactly."""
    if not isinstance(number, (int, float, np.integer, np.floating)):
        return False
    return number == number and float(quietly(np.float16, number)) != number


def _in_single(apply: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """``apply``, on the tensor of float16 in float32, and the result rounded, as PyTorch's kernels do it."""
    cast = REGISTRY["cast"].apply
    single, half = np.dtype(np.float32), np.dtype(np.float16)
    return cast(apply(*[cast(v, dtype=single) if isinstance(v, Tensor) else v for v in (a, b)]), dtype=half)


def _admit(name: str, promote: Any, t: Tensor, other: Any) -> Any:
    """What to do with an operand that is no Tensor: None if it can be used as it is, else the promoted pair."""
    if isinstance(other, np.generic):  # counts as a Python number, also np.float64, which NumPy finds strong
        raw_array(other, name)
        return (t, wrap(np.asarray(other))) if promote is None else promote(t, other.item())
    if isinstance(other, (bool, int, float, complex)):
        kind = t._data.dtype.kind
        if promote is None or kind == "c" or (kind == "f" and not isinstance(other, complex)):
            return None
        if kind in "iu" and isinstance(other, int):
            return None if 0 <= other < 128 else promote(t, other)  # others may not fit, then their low bits count
        return promote(t, other)
    if not is_array(other) and forward_errors.bind is not None:
        forward_errors.bind(name, REGISTRY[name].apply, (t, other), {})  # which refuses it
    raw_array(other, name)
    pair = t, wrap(array_module(other).array(other))  # a copy: the vjp may read it, and the user may write to his
    return pair if promote is None or pair[0]._data.dtype == pair[1]._data.dtype else promote(*pair)
