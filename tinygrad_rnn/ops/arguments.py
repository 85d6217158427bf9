"""Argument checking: PyTorch's names, kinds and refusals, from one table, for functions and methods alike.

``guarded`` takes functions by name and gives them as users see them.  A call whose arguments have types that were
found right before goes straight to the function: one look-up in a set.  Any other call is *bound* as PyTorch binds
it: its signatures (``signatures.py``) are tried in order, names are translated (NumPy's ``axis`` and ``keepdims``
too), NumPy's integers and 0-d tensors of integers become the ints that they stand for, and what does not fit is
refused in PyTorch's sentence, with the remedy.

Functions that are called so often that the look-up would be felt (``EAGER``) go without it: their calls are bound only
after the function has failed.

An error that Python or NumPy still raises becomes one of ours, with what was given.

>>> import tinygrad_rnn as tg
>>> tg.add(input=tg.ones(2), other=1), tg.ones(2, 3).sum(axis=1, keepdims=True).shape
(tensor([2., 2.]), torch.Size([2, 1]))
>>> tg.softmax((tg.ones(2),), 0)
Traceback (most recent call last):
    ...
tinygrad_rnn.errors.ArgumentTypeError: softmax(): argument 'input' (position 1) must be Tensor, not tuple. ...
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..backend import is_array
from ..errors import (
    ArgumentRuntimeError,
    ArgumentTypeError,
    IndexOutOfRange,
    OutOfMemory,
    TinygradRnnError,
    UnsupportedDtype,
)
from ..source_line import warn_user
from ..tape import forward_errors
from ..tape.tensor import Tensor, wrap
from . import signatures
from .dtypes import fitting, number_type
from .out import into

__all__ = ["declare", "guarded", "overloads", "rescue"]

FUNCTION, METHOD = "function", "method"

EAGER = frozenset(
    """
    sum mean linear cat stack cross_entropy reshape view transpose permute expand unsqueeze squeeze unbind flatten size
    relu zeros ones einsum
    """.split()
)
"""Functions whose calls are bound only after they failed."""

NUMPY = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}
"""NumPy's names of arguments, which PyTorch takes too."""

INSIDE = (
    *(TypeError, AttributeError, ValueError, LookupError, ArithmeticError, UnboundLocalError),
    *(AssertionError, MemoryError, RecursionError),
)
"""What Python and NumPy raise when they are given what they cannot use."""

OUT_KINDS = {"out": "Tensor", "outs": "tuple of Tensors"}
IGNORED = frozenset("layout pin_memory memory_format sparse_grad implicit non_blocking".split())
"""Arguments without a meaning on this engine's arrays: taken, and not passed on."""


class Parameter(NamedTuple):
    """One argument of a signature."""

    kind: str
    name: str
    default: str | None
    keyword: bool
    variadic: bool
    said: str  # how PyTorch's messages call it, and at which position
    place: int | None

    @property
    def optional(self) -> bool:
        """Whether it may be left out."""
        return self.default is not None

    def __str__(self) -> str:
        kind = OUT_KINDS.get(self.kind) or _spoken(self.kind)
        return f"{kind} {self.name}" + ("" if self.default is None else f" = {self.default}")


class Signature(NamedTuple):
    """What one form of a function takes."""

    parameters: tuple[Parameter, ...]
    old: bool = False  # from before PyTorch 0.4

    @property
    def out(self) -> bool:
        """Whether the function takes ``out=``."""
        return any(p.kind in OUT_KINDS for p in self.parameters)

    def __str__(self) -> str:
        words: list[str] = []
        for p in self.parameters:
            if p.keyword and "*" not in words:
                words.append("*")
            words.append(str(p))
        return f"({', '.join(words)})"


class Refused(Exception):
    """Arguments do not fit a signature: the rest of the sentence after the function's name."""


# the table ----------------------------------------------------------------------------------------------------------

CREATION = "dtype? dtype=None, any layout=None, any device=None, bool pin_memory=False, bool requires_grad=False"
_texts: dict[str, dict[str, str]] = {}


def declare(where: str, table: str) -> None:
    """Add the signatures of a table; they are read when they are first wanted."""
    found = _texts.setdefault(where, {})
    names: list[str] = []
    for line in table.replace("\n    ", " ").splitlines():
        before, bracket, after = line.partition("(")
        names += before.split()
        if bracket:
            found.update(dict.fromkeys(names, bracket + after))
            names = []


def _parameter(text: str, keyword: bool) -> Parameter:
    if text in OUT_KINDS:
        return Parameter(text, "out", "None", keyword, False, "out", None)
    kind, _, rest = text.partition(" ")
    name, equals, default = rest.partition("=")
    variadic = name.startswith("*")
    name, _, said = name.strip("*").partition("@")
    said, _, place = said.partition(":")
    name = sys.intern(name)  # so that names can be compared by identity with those of a call
    return Parameter(
        kind, name, default if equals else None, keyword, variadic, said or name, int(place) if place else None
    )


def _split(text: str) -> Iterator[str]:
    """At commas outside of brackets."""
    depth, start = 0, 0
    for k, char in enumerate(text):
        depth += (char in "([") - (char in ")]")  # a default may hold commas: ints dims=(0, 1)
        if char == "," and not depth:
            yield text[start:k].strip()
            start = k + 1
    if text[start:].strip():
        yield text[start:].strip()


def _signature(text: str) -> Signature:
    found: list[Parameter] = []
    keyword = False
    old = text.strip().startswith("old ")
    for part in _split(text.strip().removeprefix("old ")[1:-1].replace("~", CREATION)):
        if part == "*":
            keyword = True
        else:
            found.append(_parameter(part, keyword))
    return Signature(tuple(found), old)


@functools.cache
def overloads(where: str, name: str) -> tuple[Signature, ...]:
    """The signatures of a public function, in the order in which they are tried; none if the table has no such name."""
    text = _texts.get(where, {}).get(name)
    if text is not None:
        return tuple(_signature(part) for part in text.split(" | "))
    if where != METHOD:
        return ()
    # add_ takes what add takes; some names end in _ of themselves
    plain = name if name in _texts[FUNCTION] else name.rstrip("_")
    forms = overloads(METHOD if plain in _texts[METHOD] else FUNCTION, plain)
    found = [Signature(tuple(p for p in s.parameters if p.kind not in OUT_KINDS), s.old) for s in forms]
    # of a method the tensor itself comes first
    return tuple(
        Signature(tuple(sorted(s.parameters, key=lambda p: p.name != "input")), True) if s.old else s for s in found
    )


# binding ------------------------------------------------------------------------------------------------------------

_SPOKEN = {"ints": "tuple of ints", "Tensors": "tuple of Tensors", "dtype": "torch.dtype", "any": "object"}
_SPOKEN |= {"Generator": "torch.Generator", "int/ints": "tuple of ints", "Tensor/Number": "Tensor"}


def _spoken(kind: str) -> str:
    kind = kind.rstrip("?")
    return _SPOKEN.get(kind) or kind.split("/")[0]


def _typename(value: Any) -> str:
    name = type(value).__name__
    # with the module: "must be Tensor, not Tensor" would help little
    return f"{type(value).__module__}.Tensor" if name == "Tensor" and not isinstance(value, Tensor) else name


def _advice(value: Any, kind: str) -> str:
    """What to do about an argument of a wrong type."""
    name = type(value).__name__
    if kind == "PackedSequence" and isinstance(value, tuple) and value and hasattr(value[0], "batch_sizes"):
        return ". nn.LSTM, nn.GRU and nn.RNN return (output, state): take [0]"
    if kind.rstrip("?").split("/")[0] == "Tensor" and not isinstance(value, Tensor):
        if name == "PackedSequence":
            return ". Its values are in .data; pad_packed_sequence unpacks it"
        if isinstance(value, tuple) and value and isinstance(value[0], Tensor):
            return ". nn.LSTM, nn.GRU and nn.RNN return (output, state): take [0]"
        if isinstance(value, (list, tuple, int, float, complex)):
            return ". Make one with tinygrad_rnn.tensor(...)"
        if name == "Tensor":
            return ". It belongs to another library: tinygrad_rnn.from_dlpack(x) shares its memory"
    return ""


class _Unfit(Exception):
    """A value is not of the kind; the argument says what it is instead, unless its type says it."""


def _is_flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        if value.ndim or value.dtype.kind not in "iu":
            raise _Unfit
        return int(value.item())
    if _is_flag(value):  # operator.index takes True for 1, PyTorch does not
        raise _Unfit
    try:
        return operator.index(value)
    except TypeError:
        raise _Unfit from None


def _ints(value: Any) -> Any:
    # sizes that were computed, as np.array(x.shape) // 2
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        return tuple(value.tolist())
    if not isinstance(value, (list, tuple)):
        raise _Unfit
    found = []
    for place, entry in enumerate(value):
        try:
            found.append(_int(entry))
        except _Unfit:
            raise _Unfit(f", but found element of type {_typename(entry)} at pos {place}") from None
    # the same object, by which _same() knows that nothing was translated
    return value if all(type(entry) is int for entry in value) else tuple(found)


def _number(value: Any) -> Any:
    # np.float64 is a float, too
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return value
    if isinstance(value, (Tensor, np.ndarray, np.generic)) and not value.ndim and value.dtype.kind in "biufc":
        if not (isinstance(value, Tensor) and value.requires_grad):  # as a number it would lose its history
            return value.item()
    raise _Unfit


def _float(value: Any) -> Any:
    value = _number(value)
    if isinstance(value, complex):
        raise _Unfit
    return value


def _bool(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return value if isinstance(value, bool) else bool(value)
    raise _Unfit


def _is_tensor(value: Any) -> bool:
    """Raw arrays too: they are computed with, and not recorded.  NumPy's scalars are what 0-d ones turn into: a > 0."""
    return isinstance(value, (Tensor, np.generic)) or is_array(value)


def _tensor(value: Any) -> Any:
    if _is_tensor(value):
        return value
    raise _Unfit


def _tensors(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise _Unfit
    for place, entry in enumerate(value):
        if not _is_tensor(entry):
            raise Refused(  # PyTorch has a sentence of its own here, which counts arguments from 0
                f"expected Tensor as element {place} in argument 0, but got {_typename(entry)}"
                f"{_advice(entry, 'Tensor')}"
            )
    return value


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise _Unfit


def _dtype(value: Any) -> Any:
    # names and types go on to as_dtype, which knows them
    if value is None or isinstance(value, (int, float, complex, list, tuple, dict, Tensor)) or is_array(value):
        raise _Unfit
    return value


def _packed(value: Any) -> Any:
    if not hasattr(value, "batch_sizes"):
        raise _Unfit
    return value


def _any(value: Any) -> Any:
    return value


CHECKS: dict[str, Callable[[Any], Any]] = {
    "Tensor": _tensor,
    "Tensors": _tensors,
    "Number": _number,
    "float": _float,
    "int": _int,
    "ints": _ints,
    "bool": _bool,
    "str": _text,
    "dtype": _dtype,
    "Generator": _any,
    "PackedSequence": _packed,
    "any": _any,
}


def _checked(p: Parameter, value: Any, place: int | None) -> Any:
    """A value as the argument ``p``.

    Raises:
        Refused: it is of another kind.
    """
    if p.kind == "any":
        return value
    if value is None and p.kind.endswith("?"):
        return None
    found = ""
    for kind in p.kind.rstrip("?").split("/"):
        try:
            return CHECKS[kind](value)
        except _Unfit as unfit:
            found = str(unfit) or found  # of several kinds the last that had something to say
    where = f" (position {p.place or place})" if place is not None else ""
    what = found or f", not {_typename(value)}{_advice(value, p.kind)}"
    raise Refused(f"(): argument '{p.said}'{where} must be {_spoken(p.kind)}{what}")


def _bound(s: Signature, args: Sequence[Any], options: dict[str, Any], spare: Sequence[str], skip: int) -> list[Any]:
    """The value of each argument of a signature, ``...`` for those that are not given.

    Args:
        spare: our own names of the positional arguments, taken as well.
        skip: 1 for a method, whose first argument does not count.

    Raises:
        Refused: they do not fit.
    """
    args, options = list(args), dict(options)  # copies: the next signature is tried with the same call
    for theirs, ours in NUMPY.items():
        # in some signatures x and a are PyTorch's own names
        if theirs in options and not any(p.name == theirs for p in s.parameters):
            options.setdefault(ours, options.pop(theirs))
    positional = [p for p in s.parameters if not p.keyword]
    if positional and positional[-1].variadic and len(args) >= len(positional):
        first = len(positional) - 1
        alone = args[first] if len(args) == len(positional) else 0
        # a 0-d array is one size
        many = isinstance(alone, (list, tuple)) or (isinstance(alone, np.ndarray) and alone.ndim)
        if positional[-1].kind == "any" or not many:
            args[first:] = [tuple(args[first:])]
    if len(args) > len(positional):
        most, given = len(positional) - skip, len(args) - skip
        verb = "was" if given == 1 else "were"
        raise Refused(f"() takes {most} positional argument{'s' * (most != 1)} but {given} {verb} given")
    values: list[Any] = []
    for k, p in enumerate(s.parameters):
        if not p.keyword and k < len(args):
            if p.name in options:
                raise Refused(f"() got multiple values for argument '{p.name}'")
            values.append(_checked(p, args[k], k + 1 - skip))
            continue
        name = p.name if p.name in options else spare[k] if not p.keyword and k < len(spare) else p.name
        if name in options:
            # out= is checked by into(), when the results are known
            values.append(_checked(p, options.pop(name), None) if p.kind not in OUT_KINDS else options.pop(name))
        elif p.optional or (p.variadic and p.kind in ("any", "Tensors")):
            values.append(...)
        else:
            missing = [f'"{q.name}"' for q in s.parameters[k:] if not q.optional]
            raise Refused(f"() missing {len(missing)} required positional arguments: {', '.join(missing)}")
    if options:
        raise Refused(f"() got an unexpected keyword argument '{next(iter(options))}'")
    return values


def _matched(
    name: str, forms: Sequence[Signature], args: Sequence[Any], options: dict[str, Any], spare: Sequence[str], skip: int
) -> tuple[Signature, list[Any]]:
    """The first signature that fits, and its values.

    Raises:
        ArgumentTypeError: none does.
    """
    for theirs, ours in NUMPY.items():
        if theirs in options and ours in options:
            raise ArgumentTypeError(f"{name}() got both {theirs} and {ours}, which mean the same")
    refusals: list[tuple[Signature, str]] = []
    for form in forms:
        try:
            values = _bound(form, args, options, spare, skip)
        except Refused as refused:
            if not form.old:
                refusals.append((form, str(refused)))
            continue
        return _modern(name, form, values, forms[0], skip) if form.old else (form, values)
    forms = [form for form in forms if not form.old]
    given = len(args) + len(options)
    # if only one form takes so many arguments, its sentence is the right one
    likely = [text for form, text in refusals if _admits(form, given)] if len(forms) > 1 else [refusals[0][1]]
    if len(set(likely)) == 1:
        text = likely[0]
        raise ArgumentTypeError(f"{name}{text}" if text[0] == "(" else f"{text}: {name}()")
    got = [_typename(a) for a in args[skip:]] + [f"{key}={_typename(value)}" for key, value in options.items()]
    lines = "".join(f"\n * {Signature(form.parameters[skip:])}" for form in forms)
    advice = next((a for p in args if (a := _advice(p, "Tensor")) and not isinstance(p, (int, float))), "")
    raise ArgumentTypeError(
        f"{name}() received an invalid combination of arguments - got ({', '.join(got)}), but expected one of:{lines}"
        f"{advice and chr(10) + advice[2:]}"
    )


def _modern(name: str, old: Signature, values: list[Any], form: Signature, skip: int) -> tuple[Signature, list[Any]]:
    """A call in a form of before PyTorch 0.4 as one in today's, with a warning."""
    said = [Signature(s.parameters[skip:]) for s in (old, form)]
    warn_user(
        f"This overload of {name} is deprecated:\n\t{name}{said[0]}\nConsider using one of the following signatures "
        f"instead:\n\t{name}{said[1]}"
    )
    given = dict(zip([p.name for p in old.parameters], values, strict=True))
    return form, [given.get(p.name, ...) for p in form.parameters]


def _admits(form: Signature, given: int) -> bool:
    least = sum(not p.optional for p in form.parameters)
    return least <= given and (given <= len(form.parameters) or any(p.variadic for p in form.parameters))


# calling ------------------------------------------------------------------------------------------------------------


class Callee:
    """A function with its signatures: calls of types not seen before are bound, failures explained.

    Args:
        name: for messages.
        f: the function itself, which takes its arguments in PyTorch's order.
        where: the table that it is in.
    """

    def __init__(self, name: str, f: Any, where: str) -> None:
        self.name, self.f, self.where = name, f, where
        self.seen: set[tuple[Any, ...]] = set()
        self.quick: tuple[set[type], ...] = (set(), set(), set())  # of one and two arguments: the last one's types
        inner = getattr(f, "__wrapped__", f) if f.__code__.co_flags & 12 == 12 else f  # names behind (*args, **params)
        code = inner.__code__ if isinstance(inner, types.FunctionType) else None
        count = code.co_argcount if code is not None else 0
        self.names: tuple[str, ...] = code.co_varnames[:count] if code is not None else ()
        self.keywords: tuple[str, ...] = code.co_varnames[count : count + code.co_kwonlyargcount] if code else ()
        self.variadic = bool(code is not None and code.co_flags & 4)  # CO_VARARGS: it takes *args
        self.open = bool(code is not None and code.co_flags & 8)  # CO_VARKEYWORDS: it takes **kwargs

    def bind(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
        """The arguments as the function takes them, and the tensor to write the result to, if any.

        Raises:
            ArgumentTypeError: they do not fit.
        """
        skip = 1 if self.where == METHOD else 0
        form, values = _matched(self.name, overloads(self.where, self.name), args, options, self.names, skip)
        if self.where == FUNCTION and form.parameters[0].kind == "Tensor/Number":
            # two numbers: the first is a 0-d tensor, as to PyTorch
            if not any(isinstance(value, (Tensor, np.ndarray)) for value in values):
                dtype = number_type(values[0])
                values[0] = wrap(np.asarray(fitting(values[0], dtype, self.name), dtype))
        given: list[Any] = []
        named: dict[str, Any] = {}
        out = None
        for k, (p, value) in enumerate(zip(form.parameters, values, strict=True)):
            if value is ...:
                continue
            if p.kind in OUT_KINDS:
                out = value
            elif p.variadic and self.variadic:
                given.extend(value or [()])  # an empty shape is an argument, not the lack of one
            elif p.name in options and self.names[k : k + 1] == (p.name,):
                named[p.name] = value
            elif not p.keyword and k == len(given) and (k < len(self.names) or self.variadic or self.open):
                given.append(value)
            elif not p.keyword and k < len(self.names):
                named[self.names[k]] = value
            elif p.name in self.keywords or p.name in self.names or (self.open and p.name not in IGNORED):
                named[p.name] = value
            elif p.name not in IGNORED and value is not None and value is not False:  # None and False ask for nothing
                raise ArgumentTypeError(f"{self.name}(): argument '{p.name}' has no meaning here: got {value!r}")
        return tuple(given), named, out

    def first(self, key: tuple[Any, ...], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Make a call whose types were not seen before: bind it first."""
        given, named, out = self.bind(args, options)
        if out is not None:
            return into(self.name, functools.partial(self.call, given, named), out)
        # nothing was translated: calls of these types need not be bound again
        if given == () == args or (_same(given, args) and _same(tuple(named.items()), tuple(options.items()))):
            self.seen.add(key)
            if not options and 0 < len(args) < 3 and type(args[0]) is Tensor:
                self.quick[len(args)].add(type(args[-1]))
        return self.call(given, named)

    def call(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The function, and what it raises as ours."""
        try:
            return self.f(*args, **options)
        except TinygradRnnError:
            raise
        except INSIDE as error:
            explain(self.name, error, args, options)

    def failed(self, error: Exception, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Bind a call that failed without having been bound, and make it again if that changes anything."""
        try:
            # of values, not of types: binding would change nothing
            if isinstance(error, TinygradRnnError) and not isinstance(error, (TypeError, UnsupportedDtype)):
                raise error
            given, named, out = self.bind(args, options)
            if out is not None:
                return into(self.name, functools.partial(self.call, given, named), out)
            # made again, it would fail again
            if _same(given, args) and _same(tuple(named.items()), tuple(options.items())):
                if isinstance(error, TinygradRnnError):
                    raise error
                explain(self.name, error, args, options)
            return self.call(given, named)
        finally:
            del error  # which holds this frame


def _same(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    """Whether nothing was translated."""
    if len(ours) != len(theirs):
        return False
    for a, b in zip(ours, theirs, strict=True):
        # by identity: == of tensors is elementwise, and 1 == True
        if a is not b and not (type(a) is tuple and type(b) is tuple and _same(a, b)):
            return False
    return True


def explain(name: str, error: Exception, args: tuple[Any, ...], options: dict[str, Any]) -> NoReturn:
    """Raise an error of Python's or NumPy's as ours, with what was given."""
    given = ", ".join([_shown(a) for a in args] + [f"{key}={_shown(value)}" for key, value in options.items()])
    text = f"{name}(): {error or type(error).__name__}. Given: {given}"
    raise _kind(error)(text) from error


def _kind(error: Exception) -> type[TinygradRnnError]:
    if isinstance(error, MemoryError):
        return OutOfMemory
    if isinstance(error, IndexError):
        return IndexOutOfRange
    if isinstance(error, TypeError) and forward_errors.is_of_dtypes(error):
        return UnsupportedDtype
    if isinstance(error, (TypeError, AttributeError)) and not isinstance(error, UnboundLocalError):
        return ArgumentTypeError
    return ArgumentRuntimeError


def _shown(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        kind = "" if isinstance(value, Tensor) else "ndarray "
        return f"{kind}{value.dtype}{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else f"a {_typename(value)}"


def guarded(table: dict[str, Any], where: str = FUNCTION) -> dict[str, Any]:
    """The functions of a table that have signatures, with the checks that users meet."""
    return {
        name: _guard(name, f, where)
        for name, f in table.items()
        # a primitive that binds has its own way to _bind_primitive
        if isinstance(f, types.FunctionType) and "binds" not in vars(f) and _has(where, name)
    }


def _has(where: str, name: str) -> bool:
    if where != METHOD:
        return name in _texts[where]
    return name in _texts[METHOD] or name in _texts[FUNCTION] or name.rstrip("_") in _texts[FUNCTION]


def _guard(name: str, f: Callable[..., Any], where: str) -> Callable[..., Any]:
    rest = vars(f).get("rest")
    if rest is not None:  # it handles correct plain calls itself
        rest[0] = _guard(name, rest[0], where)
        return f
    callee = Callee(name, f, where)
    seen, first, quick = callee.seen, callee.first, callee.quick

    if name in EAGER:

        @functools.wraps(f)
        def call(*args: Any, **options: Any) -> Any:
            try:
                return f(*args, **options)
            except INSIDE as error:
                return callee.failed(error, args, options)

    else:

        @functools.wraps(f)
        def call(*args: Any, **options: Any) -> Any:
            n = len(args)
            if not options and 0 < n < 3 and type(args[-1]) in quick[n] and type(args[0]) is Tensor:
                pass  # seen before: the shortest test, in half the time
            # types alone: what a list holds shows when f fails, and then the call is bound
            elif (key := (*map(type, args), *options, *map(type, options.values()))) not in seen:
                return first(key, args, options)
            try:
                return f(*args, **options) if options else f(*args)
            except TinygradRnnError:
                raise
            except INSIDE as error:
                return callee.failed(error, args, options)

    call.__name__ = call.__qualname__ = name
    return call


@functools.cache
def _callee(name: str, f: Callable[..., Any], where: str) -> Callee:
    return Callee(name, f, where)


def rescue(where: str, f: Callable[..., Any], error: Exception, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Bind a failed call of a function that does its own checks; make it again, or explain the error."""
    return _callee(f.__name__, f, where).failed(error, args, options)


def _bind_primitive(name: str, f: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Bind a call of a primitive that users call directly, with arguments that it cannot take as they are."""
    if name not in _texts[FUNCTION]:
        return NotImplemented
    return _callee(name, f, FUNCTION).first((), args, options)


forward_errors.bind = _bind_primitive
declare(FUNCTION, signatures.FUNCTIONS)
declare(METHOD, signatures.METHODS)
