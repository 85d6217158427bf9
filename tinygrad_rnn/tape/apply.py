"""Applying a primitive: run its forward function on raw arrays, and record a node where a gradient is wanted.

Applying a primitive to raw arrays records nothing and costs one test.  Applied to Tensors, it gives a Tensor; and if
one of them has a node and recording is on, a node with the parents, the parameters and the values that the vjps read.

``primitive``, by which every operation of this package is declared, chooses among three forms, of which a learner may
skip two: ``_of_any`` is the general one, with loops over its arguments; ``_of_one`` and ``_of_two`` unroll these loops
for one and for two arguments, and are called by users as they are, so they also see to what is no tensor.  With the
general form alone, an update (forward and backward) takes 1.42 times as long for an RNN of width 8, 1.22 at width 64,
1.10 for an LSTM written out in operations and 1.86 for a chain of scalars.  The unrolled forms also fill their nodes
line by line, in two thirds of the time of ``Node(...)``; one assignment of eight values would first make a tuple.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, overload

import numpy as np

from ..backend import array_module, is_array, raw_array
from ..typing import Array, Number, Params, V
from . import forward_errors
from .formula import Formula
from .forward_errors import fail
from .modes import defaults, nested, quietly, state, tell
from .node import Node, VersionCounter, now
from .primitive import REGISTRY, Primitive, Vjp, Vjps
from .tensor import Tensor, as_array, wrap

__all__ = ["Applied", "named", "primitive", "record"]

ndarray = np.ndarray
Promotion = Callable[[Any, Any], tuple[Any, Any]]
Mismatch = Callable[[Any, Any], Exception | None]
NO_PARAMS: Params = {}
NO_VERSIONS: tuple[VersionCounter | None, ...] = ()
NOTHING = object()
"""In the place of a third argument, which only a wrong call gives.  It stands before ``out``, which is so reached
by its name alone: a keyword-only argument would make every operator 15 ns slower."""
_new = object.__new__
INSIDE = (TypeError, ValueError, AttributeError, OverflowError, MemoryError)
"""What a forward raises for arguments that it cannot use."""

viewer: Callable[[Primitive], Callable[..., Any]] | None = None
"""What makes the function that applies a primitive whose result may be a view; given by ``inplace/views.py``."""


class Applied(Protocol):
    """What applies a primitive: of Tensors it gives a Tensor, of raw arrays a raw array."""

    @overload
    def __call__(self, input: Tensor, /, *args: Any, **params: Any) -> Tensor: ...
    @overload
    def __call__(self, input: Number, other: Tensor, /) -> Tensor: ...
    @overload
    def __call__(self, *args: V | Number | None, **params: Any) -> V: ...
    @overload
    def __call__(self, *args: Any, **params: Any) -> Any: ...


def record(p: Primitive, inputs: Sequence[Any], values: Sequence[Array], params: Params, out: Tensor) -> None:
    """Give ``out`` a node: parents, the values that the vjps of its parents read, their versions."""
    parents = tuple([t._node if isinstance(t, Tensor) else None for t in inputs])
    y = out._data
    args: tuple[Any, ...] = parents
    ans, versions = None, NO_VERSIONS
    if p.saves_anything:
        keep, keep_output = p.keeps(tuple([node is not None for node in parents]))
        saved: list[Any] = list(parents)
        watched: list[VersionCounter | None] = [None] * (len(saved) + 1)
        for position, kept in enumerate(keep):
            if kept:
                t = inputs[position]
                if isinstance(t, Tensor):
                    saved[position], watched[position] = values[position], t._versions or t._own_versions()
                else:  # a user's array has no version counter: what is saved of it must not change
                    saved[position] = t.copy() if is_array(t) else t
        if keep_output:
            ans, watched[-1] = y, out._own_versions()
        args, versions = tuple(saved), tuple(watched)
    out._node = Node(p, parents, args, params, ans, versions, y.shape, y.dtype)


def _of_one(p: Primitive, floating: bool, bare: bool = False) -> Callable[..., Any]:
    """What applies a primitive of one argument, and, if it is not ``bare``, of parameters without gradients."""
    name, forward = p.name, p.forward
    keep_input, keep_output = "a" in p.saves[0], "y" in p.saves[0]

    def apply(a: Any = None, **params: Any) -> Any:
        # keywords of a bare primitive are for the binder: input=, out=
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
        out._node = out._versions = None
        parent = a._node
        if parent is not None and here.recording and y.dtype.kind in "fc":  # no gradient passes an integer
            args: tuple[Any, ...]
            parents = args = (parent,)
            versions, ans = NO_VERSIONS, None
            if keep_input or keep_output:
                version_a = version_y = None
                if keep_input:
                    args, version_a = (x,), a._versions or a._own_versions()
                if keep_output:
                    ans = y
                    out._versions = version_y = VersionCounter()
                versions = (version_a, version_y)
            out._node = node = _new(Node)
            node.index = now()
            node.primitive = p
            node.parents = parents
            node.args = args
            node.params = params
            node.ans = ans
            node.versions = versions
            node.shape = y.shape
            node.dtype = y.dtype
            node.hooks = None
        if here.watchers:
            tell(p, (a,), params, out)
        return out

    return apply


_PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD
_ONE = inspect.Signature([inspect.Parameter("input", _PLAIN)])
_ONE_AND_PARAMS = inspect.Signature(
    [inspect.Parameter("a", _PLAIN), inspect.Parameter("params", inspect.Parameter.VAR_KEYWORD)]
)
_TWO = inspect.Signature([inspect.Parameter("input", _PLAIN), inspect.Parameter("other", _PLAIN)])


def _unusual(p: Primitive, apply: Callable[..., Any], args: tuple[Any, ...], params: Params) -> Any:
    """A primitive applied to what is no tensor: raw arrays, or what a user gave and has to be bound first."""
    if forward_errors.bind is not None and (params or not any(is_array(a) for a in args)):
        bound = forward_errors.bind(p.name, apply, args, params)
        if bound is not NotImplemented:  # it is for a primitive without a signature, one used within ops/ alone
            return bound
    raw = [a if type(a) is ndarray else raw_array(a, p.name) for a in args]
    try:
        return p.forward(*raw, **params) if state.here.memo is not None else quietly(p.forward, *raw, **params)
    except INSIDE as error:
        fail(p.name, error, *raw)


def _of_two(p: Primitive, promote: Promotion, mismatch: Mismatch | None, scales: bool) -> Callable[..., Any]:
    """What applies a primitive of two arguments that are brought to one dtype first."""
    name, forward, saving = p.name, p.forward, p.saves_anything
    keeps = [p.keeps(needs) for needs in ((False, False), (True, False), (False, True), (True, True))]

    def apply(input: Any = None, other: Any = None, excess: Any = NOTHING, out: Any = None) -> Any:
        if out is not None or excess is not NOTHING:
            more = () if excess is NOTHING else (excess,)
            return _unusual(p, apply, (input, other, *more), {"out": out} if out is not None else {})
        if isinstance(input, Tensor):
            x, parent_a = input._data, input._node
            if isinstance(other, Tensor):
                z, parent_b = other._data, other._node
                # NumPy's dtypes are mostly singletons, and `is` is faster
                if x.dtype is not z.dtype and x.dtype != z.dtype:
                    return apply(*promote(input, other))  # of one dtype now, so this ends
            else:
                z, parent_b = other, None
                if type(z) is not float or x.dtype.char not in "fd":
                    if scales and x.dtype.char == "e" and _rounded(z):  # NumPy would round the number to float16 first
                        return _in_single(apply, input, z)
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
        out._node = out._versions = None
        if (parent_a is not None or parent_b is not None) and here.recording:
            args: tuple[Any, ...]
            parents = args = (parent_a, parent_b)
            versions, ans = NO_VERSIONS, None
            if saving:
                (keep_a, keep_b), keep_output = keeps[(parent_a is not None) + 2 * (parent_b is not None)]
                args = (x if keep_a else parent_a, z if keep_b else parent_b)
                version_y = None
                if keep_output:
                    ans = y
                    out._versions = version_y = VersionCounter()
                versions = (
                    (input._versions or input._own_versions()) if keep_a and isinstance(input, Tensor) else None,
                    (other._versions or other._own_versions()) if keep_b and isinstance(other, Tensor) else None,
                    version_y,
                )
            out._node = node = _new(Node)
            node.index = now()
            node.primitive = p
            node.parents = parents
            node.args = args
            node.params = NO_PARAMS
            node.ans = ans
            node.versions = versions
            node.shape = y.shape
            node.dtype = y.dtype
            node.hooks = None
        if here.watchers:
            tell(p, (input, other), NO_PARAMS, out)
        return out

    return apply


def _of_any(p: Primitive, floating: bool) -> Callable[..., Any]:
    """What applies a primitive of any number of arguments, and of parameters without gradients."""
    name, forward = p.name, p.forward

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
        if here.watchers:
            tell(p, args, params, out)
        return out

    return apply


def primitive(
    name: str,
    forward: Callable[..., Array],
    vjps: Vjp | tuple[Vjp | None, ...] = (),
    saves: str | tuple[str, ...] = (),
    *,
    vjp_all: Vjps | None = None,
    formula: Formula | None = None,
    floating: bool = False,
    promote: Promotion | None = None,
    mismatch: Mismatch | None = None,
    scales: bool = False,
    view: bool = False,
    reshapes_only: bool = False,
    gives_new: bool = False,
    binds: bool = True,
    doc: str | None = None,
) -> Applied:
    """Declare ``y = forward(*args, **params)``: positional arguments are differentiable, keywords are not.

    Args:
        name: on the tape and in errors.
        forward: on raw arrays.
        vjps: one for each argument, or None where there is no gradient; of one argument, the function alone.
        saves: for each vjp the values that it reads: "y" the output, "a", "b", "c" ... the arguments.
        vjp_all: instead of ``vjps``, for any number of arguments: one function that gives the cotangents of all,
            ``vjp_all(g, y, *args, needs, **params)``.  It reads no values, only shapes.
        formula: forward and vjps as equations; every primitive of this package has one, and a test compares the two.
        floating: integer input is converted to the default float first.
        promote: of two arguments; where their dtypes differ, ``promote(a, b)`` brings both to the dtype of the result
            by recorded casts, so that forward and vjps see one dtype.
        mismatch: with ``promote``; ``mismatch(a, b)`` is the error for shapes that do not fit, or None.  By default
            that they do not broadcast.
        scales: with ``promote``; a Python number is used as it is with float16, which cannot hold it: ``h * 1e5`` is
            not infinite.
        view: the output may share memory with the first argument.
        reshapes_only: the cotangent of the only argument is that of the output in another shape.
        gives_new: the vjps give new arrays that nothing else holds: a leaf keeps them as its gradient, without a copy.
        binds: of one or two arguments and no parameters; users call it as it is, and what it cannot take it hands to
            ``forward_errors.bind``, which knows PyTorch's signatures.

    Returns:
        The function that applies it, to raw arrays or Tensors.
    """
    if not isinstance(vjps, tuple):
        vjps = (vjps,)
    if isinstance(saves, str):
        saves = (saves,)
    arity = 2 if promote is not None else 1 if len(vjps) == 1 else 0  # the sweep unrolls 1 and 2; 0 is its general case
    p = Primitive(name, forward, vjps, saves or ("",) * len(vjps), view=view, vjp_all=vjp_all, arity=arity)
    p.reshapes_only, p.gives_new, p.formula = reshapes_only, gives_new, formula
    if view:
        assert viewer is not None
        return named(p, viewer(p), doc)
    if promote is not None:
        apply, signature = _of_two(p, promote, mismatch, scales), _TWO
    elif arity == 1:
        binds = binds and not _takes_parameters(forward)
        apply, signature = _of_one(p, floating, bare=binds), _ONE if binds else _ONE_AND_PARAMS
    else:
        return named(p, _of_any(p, floating), doc)
    vars(apply)["__signature__"] = signature  # without what is there for wrong calls alone
    if binds:
        vars(apply)["binds"] = True
    return named(p, apply, doc)


def _takes_parameters(forward: Callable[..., Any]) -> bool:
    """Whether a function of one argument takes anything else."""
    code = getattr(inspect.unwrap(forward), "__code__", None)  # a ufunc has none
    return code is not None and code.co_argcount + code.co_kwonlyargcount > 1


def named(p: Primitive, apply: Callable[..., Any], doc: str | None) -> Applied:
    """Make ``apply`` the function by which users apply ``p``: its name and docstring are those of the operation."""
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
    """``apply`` in float32 where a tensor is of float16, rounded at the end, as PyTorch's kernels do it."""
    cast = REGISTRY["cast"].apply
    single, half = np.dtype(np.float32), np.dtype(np.float16)
    return cast(apply(*[cast(v, dtype=single) if isinstance(v, Tensor) else v for v in (a, b)]), dtype=half)


def _admit(name: str, promote: Promotion, t: Tensor, other: Any) -> Any:
    """What to do with an operand that is no Tensor: None if it can be used as it is, else the promoted pair."""
    if isinstance(other, np.generic):  # counts as a Python number, even np.float64, which NumPy would promote to
        raw_array(other, name)
        return promote(t, other.item())
    if isinstance(other, (bool, int, float, complex)):
        kind = t._data.dtype.kind
        if kind == "c" or (kind == "f" and not isinstance(other, complex)):
            return None
        if kind in "iu" and isinstance(other, int):
            return (
                None if 0 <= other < 128 else promote(t, other)
            )  # larger ones may not fit the dtype: then, as in PyTorch, they wrap
        return promote(t, other)
    if not is_array(other) and forward_errors.bind is not None:
        forward_errors.bind(name, REGISTRY[name].apply, (t, other), {})  # raises
    raw_array(other, name)
    pair = t, wrap(array_module(other).array(other))  # a copy: the vjp may read it after the user wrote to theirs
    return pair if pair[0]._data.dtype == pair[1]._data.dtype else promote(*pair)
