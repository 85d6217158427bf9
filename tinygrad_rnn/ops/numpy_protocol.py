"""NumPy's functions applied to Tensors: ``np.tanh(t)``, ``array @ t``, ``np.concatenate([t, u])``.

By the protocols of NEP 13 (ufuncs) and NEP 18 (functions) NumPy hands a call to us, and each legal one ends in one of
two ways.

* Where no gradient is wanted (no tensor requires grad, or recording is off) the values are NumPy's, with all of its
  keywords; arrays come as tensors.  Functions of which no gradient could be wanted (``np.shape``, ``np.argsort``) are
  answered so for every tensor.
* Where one is wanted our form of the function computes, and records.  If there is none, or it does not know a keyword,
  the call is refused: nothing ever leaves the tape silently.

Forms that give views are used in both cases, so that the tensors know of each other; so are ufuncs, whose mixtures of
dtypes are those of ``tensor + array``.  The tables are in ``numpy_ufuncs`` and ``numpy_functions``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import is_array, raw_array
from ..errors import ArgumentError, ArgumentTypeError, GraphError, IndexOutOfRange, TinygradRnnError
from ..tape.modes import quietly, state
from ..tape.tensor import Tensor, wrap
from .numpy_functions import BINNED, FUNCTIONS, IN_PLACE, REASONS, WITHOUT_GRADIENT
from .numpy_moves import PERMUTED, RESHAPED, SPLIT
from .numpy_operands import alike, operand, raw, shown, tensors_in
from .numpy_ufuncs import METHODS, OPERATORS, UFUNCS
from .numpy_ufuncs import WITHOUT_GRADIENT as PREDICATES

__all__ = ["FUNCTIONS", "UFUNCS", "array_function", "array_ufunc"]

NOT_GIVEN: Any = inspect.signature(np.sum).parameters["initial"].default
"""NumPy's own mark of a keyword that was left out."""

WITHOUT_EFFECT = frozenset({"subok", "overwrite_input", "kind", "stable", "order", "optimize", "device"})
"""Keywords that say how a result is computed or laid out, and change no value."""

VIEWS = frozenset({*PERMUTED, *RESHAPED, *SPLIT, np.reshape, np.ravel, np.broadcast_to, np.broadcast_arrays})
VIEWS |= {np.diagonal, np.real, np.real_if_close, np.asarray, np.asanyarray, np.ascontiguousarray, np.linalg.diagonal}
VIEWS |= {getattr(np, name) for name in ("astype", "unstack") if hasattr(np, name)}

REMEDIES = {
    "out": "Leave out out=: assign what it returns",
    "where": "Leave out where=: choose afterwards, np.where(mask, result, other)",
    "dtype": "Leave out dtype=: convert what it is given, or what it returns",
}


@functools.cache
def public_name(function: Any) -> str:
    """``np.linalg.svd``, ``np.add``: how a user writes it."""
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy.lib.scimath", "numpy.emath")
    return f"np{module.removeprefix('numpy') if module.startswith('numpy') else ''}.{function.__name__}"


def wanted(value: Any) -> bool:
    """Whether a gradient is wanted with respect to a tensor among these arguments."""
    return state.recording and any(t.requires_grad for t in tensors_in(value))


def _complex(value: Any) -> bool:
    return any(t._data.dtype.kind == "c" for t in tensors_in(value))


def _given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords that say something."""
    if not kwargs:
        return kwargs
    silent = {"out": (None,), "where": (True,), "dtype": (None,), "signature": (None,)}
    return {
        key: value
        for key, value in kwargs.items()
        # by identity: == would compare arrays
        if value is not NOT_GIVEN and not any(value is nothing for nothing in silent.get(key, ()))
    }


# refusing ----------------------------------------------------------------------------------------------------------


def _refusal(name: str, why: str, remedy: str = "Detach, or use an operation of tinygrad_rnn") -> GraphError:
    return GraphError(
        f"Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead: {name} {why}. {remedy}"
    )


def _refuse_writing(name: str, out: Any) -> None:
    if tensors_in(out):
        raise ArgumentTypeError(
            f"{name}(out=): NumPy cannot write into a Tensor, whose history would be lost. Use the in-place form "
            f"(x.add_(y), x += y), or assign: x[...] = {name}(...)"
        )


def _unknown(name: str, keywords: list[str]) -> GraphError:
    """The refusal of keywords that a form does not know."""
    remedy = REMEDIES.get(keywords[0], f"Leave out {keywords[0]}=, or detach")
    return _refusal(f"{name}({'=, '.join(keywords)}=)", "has no form here that records", remedy)


def _named(error: Exception, name: str, on_gpu: bool) -> Exception:
    """NumPy's error as one of ours, with the name of the function; our own errors as they are."""
    if isinstance(error, TinygradRnnError):
        return error
    if isinstance(error, TypeError):
        return ArgumentTypeError(f"{name}(): {error}" + (". On the host NumPy computes it: x.cpu()" * on_gpu))
    kinds = {ValueError: ArgumentError, IndexError: IndexOutOfRange}
    return kinds[type(error)](f"{name}(): {error}") if type(error) in kinds else error


# computing ---------------------------------------------------------------------------------------------------------


def _by_numpy(name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What NumPy makes of the values; of those on a GPU, CuPy."""
    tensors = tensors_in([args, kwargs])
    try:
        result = quietly(function, *raw(args), **raw(kwargs))
    except (TypeError, ValueError, IndexError) as error:
        raise _named(error, name, any(t.is_cuda for t in tensors)) from error
    outputs = kwargs.get("out")
    given = outputs if isinstance(outputs, tuple) else (outputs,)
    # NumPy gives out= itself back
    return result if any(result is array for array in given if array is not None) else shown(result, tensors)


def _recorded(name: str, function: Any, form: Callable[..., Any], args: Any, given: dict[str, Any], want: bool) -> Any:
    """What our form gives; and if it cannot, NumPy's value, its error, or a refusal."""
    kept = given
    if given and "**" not in (known := _parameters(form)):
        # what only says how to compute is dropped if the form does not know it
        kept = {key: value for key, value in given.items() if key in known or key not in WITHOUT_EFFECT}
        unknown = [key for key in kept if key not in known]
        if want and unknown:
            raise _unknown(name, unknown)
    try:
        return form(*args, **kept)
    except (TinygradRnnError, TypeError, ValueError, IndexError, AttributeError) as error:
        ours = isinstance(error, TinygradRnnError)
        if (ours and want) or function in IN_PLACE:  # never by NumPy where it writes: no version counter would see that
            raise
        try:
            value = _by_numpy(name, function, args, given)
        except Exception as theirs:
            raise (error if ours else theirs) from None  # NumPy's own sentence for what is illegal in NumPy
        if want:
            raise _refusal(name, _why(function)) from error
        return value


@functools.cache
def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # before NumPy 2.4 some of its functions do not say
        return None


@functools.cache
def _parameters(form: Any) -> frozenset[str]:
    """The names that a form knows, and ``**`` if it takes all."""
    signature = _signature(form)
    parameters = signature.parameters.values() if signature else ()
    return frozenset("**" if p.kind is p.VAR_KEYWORD else p.name for p in parameters)


def _outputs(function: Any, form: Any, args: Any, given: dict[str, Any]) -> Any:
    """``out``, by its name or by its place."""
    place = _place_of_out(function, form)
    return given.get("out") if place >= len(args) else args[place]


@functools.cache
def _place_of_out(function: Any, form: Any) -> int:
    """Which argument ``out`` is, if it is not given by its name."""
    signature = _signature(function) or (_signature(form) if form else None)
    parameters = signature.parameters if signature else {}
    if "out" not in parameters or parameters["out"].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return 1 << 30  # behind all places: it is given by its name alone
    return list(parameters).index("out")


def _why(function: Any) -> str:
    return REASONS.get(getattr(function, "__module__", ""), "has no form here that records")


# the two protocols -------------------------------------------------------------------------------------------------


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """NEP 13: a ufunc, or a method of one, applied to arguments of which one is a Tensor."""
    if method == "__call__" and out is None and not kwargs:
        operands = _plain(ufunc, inputs)  # array * t, which is called often
        if operands is not None:
            return UFUNCS[ufunc](*operands)
    name = public_name(ufunc) + ("" if method == "__call__" else f".{method}")
    for x in inputs:
        if not isinstance(x, (Tensor, int, float, complex, list, tuple)) and not is_array(x):
            if hasattr(x, "__array_ufunc__"):  # it implements the protocol itself
                return NotImplemented
            if not hasattr(x, "__array__"):
                kind = type(x).__name__
                raise ArgumentTypeError(f"{name}(): unsupported operand of type {kind}. Give a number or an array")
        elif isinstance(x, np.ndarray):
            raw_array(x, name)
    outputs = tuple(y for y in out or () if y is not None)
    _refuse_writing(name, outputs)
    form, given = METHODS[method](ufunc) if method in METHODS else None, _given(kwargs)
    written = method == "at" and not isinstance(inputs[0], Tensor)  # np.add.at(array, i, t): NumPy writes into an array
    if method == "at" and not written:
        return form(*inputs)  # type: ignore[misc]
    want = wanted([inputs, kwargs]) and (written or ufunc not in PREDICATES)
    if want and ufunc not in OPERATORS and _complex(inputs):
        raise _refusal(name, REASONS["numpy.fft"])
    if want and written:
        raise _refusal(name, "would write a result with a history into an array")
    if want and outputs:
        raise _refusal(name, "would write a result with a history into an array", REMEDIES["out"])
    kinds = {t._data.dtype.kind for t in tensors_in(inputs)}
    other = ufunc not in OPERATORS and (kinds <= {*"biu"} or "c" in kinds)  # our forms are for real numbers
    if not want and (form is None or given or outputs or other or method != "__call__"):
        return _by_numpy(name, getattr(ufunc, method), inputs, {**given, **({"out": out} if outputs else {})})
    if form is None:
        raise _refusal(name, _why(ufunc))
    if method == "__call__":
        operands, given = _typed(name, [operand(x) for x in inputs], given)
        return _recorded(name, ufunc, form, operands, given, want)
    return _recorded(name, getattr(ufunc, method), form, inputs, given, want)


def _plain(ufunc: Any, inputs: Any) -> list[Any] | None:
    """The operands of a common call, ``array * t`` of real numbers, which needs no further checks; else None."""
    if ufunc not in UFUNCS:
        return None
    operands: list[Any] = []
    kinds = set()
    for x in inputs:
        if isinstance(x, Tensor):
            kinds.add(x._data.dtype.kind)
        elif type(x) is np.ndarray and x.dtype.kind in "biuf":
            x = wrap(x.copy())  # a copy, which nothing else writes to
        elif type(x) is not float and type(x) is not int:
            return None
        operands.append(x)
    return operands if kinds == FLOATS else None


FLOATS = {"f"}


def _typed(name: str, inputs: list[Any], given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The operands in the requested dtype, and the remaining keywords."""
    rest = {key: value for key, value in given.items() if key not in ("dtype", "casting", "order", "subok")}
    dtype = given.get("dtype")
    if dtype is None:
        return inputs, rest
    casting = given.get("casting", "same_kind")
    for x in tensors_in(inputs):
        if not np.can_cast(x.dtype, dtype, casting):
            raise ArgumentTypeError(f"{name}(dtype=): cannot cast {x.dtype} to {np.dtype(dtype)} by rule {casting!r}")
    return alike(*inputs, dtype=dtype), rest


def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18: a function of NumPy's with a Tensor among its arguments."""
    name, form, given = public_name(func), FUNCTIONS.get(func), _given(kwargs)
    out = _outputs(func, form, args, given)
    if out is not None:
        _refuse_writing(name, out)
    tensors = tensors_in((args, given) if given else args)
    want = state.recording and func not in WITHOUT_GRADIENT and any(t._node is not None for t in tensors)
    if want and func in BINNED:
        want = wanted([args[4:], given.get("weights")])  # through weights alone; the counts themselves are steps
    if want:
        if out is not None:
            raise _unknown(name, ["out"])
        if any(t._data.dtype.kind == "c" for t in tensors):
            raise _refusal(name, REASONS["numpy.fft"])
        if form is None:
            raise _refusal(name, _why(func))
        return _recorded(name, func, form, args, given, True)
    if form is not None and out is None:
        if func in VIEWS or (func in IN_PLACE and isinstance([*args, *given.values()][0], Tensor)):
            return _recorded(name, func, form, args, given, False)  # unrecorded, yet known as a view, or as a write
    return _by_numpy(name, func, args, given)
