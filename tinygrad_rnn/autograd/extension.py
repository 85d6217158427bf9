"""User-defined primitives: the function by which this package declares its operations, with checks of the vjps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, GraphError, ShapeRuntimeError
from ..ops import cast
from ..tape import apply as engine
from ..tape.formula import Formula
from ..tape.modes import state
from ..tape.node import Leaf, Node
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor
from ..typing import Value

__all__ = ["Formula", "primitive"]

_own: set[str] = set()
Vjp = Callable[..., Value]


def primitive(
    *vjps: Vjp | None, saves: Sequence[str] | None = None, name: str | None = None, formula: Formula | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of raw arrays an operation that is recorded and differentiated.

    The function gets raw arrays and returns one.  Its positional arguments are what it is differentiated by, in
    keyword arguments it gets anything else.  For each positional argument there is a vjp,

        vjp(g, y, *args, **keywords) = g . dy/d(this argument),

    which turns the cotangent of the output ``y`` into the argument's own, of the argument's shape.  It is written in
    operations (``tg.exp``, ``*``, ...), which take raw arrays and, where the sweep is itself recorded, Tensors: so a
    vjp gives every higher derivative too.

    Args:
        vjps: one for each positional argument; None for one that has no gradient.
        saves: for each vjp the values it reads: "y" the output, "a", "b", "c" ... the arguments in order.  What
            no vjp reads is not kept; in its place a vjp gets something that has ``shape``, ``dtype`` and ``ndim``
            only.  Left out, every vjp gets everything.
        name: shown on the tape; by default the function's own.
        formula: what it computes and the vjp of each argument, as equations, by the names of the arguments.

    Returns:
        A decorator.  The decorated function takes arrays (and then just computes) or Tensors.

    Raises:
        ArgumentError: the vjps, saves or formula do not fit the function, or the name is taken.
        GraphError: (in the backward pass) a vjp reads what it did not declare, or leaves the tape.
        ShapeRuntimeError: (in the backward pass) a vjp gives another shape than its argument's.

    >>> import numpy as np
    >>> import tinygrad_rnn as tg
    >>> @tg.autograd.primitive(
    ...     lambda g, y, a, b: g * a / y,
    ...     lambda g, y, a, b: g * b / y,
    ...     saves=("ya", "yb"),
    ... )
    ... def hypotenuse(a, b):
    ...     return np.hypot(a, b)
    >>> x, y = tg.tensor([3.0, 5.0], requires_grad=True), tg.tensor([4.0, 12.0], requires_grad=True)
    >>> z = hypotenuse(x, y)
    >>> z
    tensor([ 5., 13.], grad_fn=<HypotenuseBackward0>)
    >>> tg.autograd.grad(z.sum(), (x, y))
    (tensor([0.6000, 0.3846]), tensor([0.8000, 0.9231]))
    >>> tg.autograd.gradcheck(hypotenuse, (x.double(), y.double()))
    True
    """
    # undeclared: each vjp may read everything
    wanted = tuple(saves) if saves is not None else tuple(["y" + _letters(len(vjps)) if vjp else "" for vjp in vjps])

    def declare(forward: Callable[..., Any]) -> Callable[..., Any]:
        called = name or forward.__name__
        # before the old one goes: a wrong declaration leaves it in place
        _check_declaration(called, forward, vjps, wanted, formula)
        if called in _own:
            del REGISTRY[called]  # defined again, as in a notebook
        checked = tuple([None if vjp is None else _checked(called, k, vjp) for k, vjp in enumerate(vjps)])
        reads = wanted
        positional, any_number = _positional(forward)
        if positional > len(vjps) or any_number:  # arguments without gradients: one None stands for all of them
            checked, reads = (*checked, None), (*reads, "")
        apply = engine.primitive(called, forward, checked, reads, formula=formula, binds=False, doc=forward.__doc__)
        _own.add(called)

        @functools.wraps(forward)
        def operation(*args: Any, **keywords: Any) -> Any:
            for key, value in keywords.items():
                if isinstance(value, Tensor):
                    raise ArgumentTypeError(
                        f"{called}(): argument {key!r} is a Tensor given by keyword, where it would get no gradient. "
                        "Give it by position, with a vjp"
                    )
            for position in range(len(vjps), len(args)):
                if isinstance(args[position], Tensor):
                    raise ArgumentTypeError(
                        f"{called}(): argument {position} is a Tensor, but only {len(vjps)} vjp(s) were declared. Give "
                        "None as the vjp of an argument that has no gradient"
                    )
            return apply(*args, **keywords)

        REGISTRY[called].apply = operation  # by which gradcheck replays records
        return operation

    return declare


def _letters(count: int) -> str:
    return "".join(chr(97 + k) for k in range(count))


def _positional(forward: Callable[..., Any]) -> tuple[int, bool]:
    """How many arguments by position it names, and whether it takes any number more."""
    kinds = [p.kind for p in inspect.signature(forward).parameters.values()]
    named = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    return named, inspect.Parameter.VAR_POSITIONAL in kinds


def _check_declaration(
    name: str,
    forward: Callable[..., Any],
    vjps: tuple[Vjp | None, ...],
    saves: tuple[str, ...],
    formula: Formula | None,
) -> None:
    if name in REGISTRY and name not in _own:
        raise ArgumentError(f"primitive(): there is an operation {name!r} already; choose another with name=")
    if not any(vjps):
        raise ArgumentError(f"primitive(): {name} has no vjp, so there is nothing to record; use the function as it is")
    positional, any_number = _positional(forward)
    if len(vjps) > positional and not any_number:
        raise ArgumentError(f"primitive(): {len(vjps)} vjps for {name}, which has {positional} positional argument(s)")
    if len(saves) != len(vjps):
        raise ArgumentError(
            f"primitive(): {name} has {len(vjps)} vjp(s), but saves= says of {len(saves)} of them what they read"
        )
    known = "y" + _letters(len(vjps))
    for position, letters in enumerate(saves):
        if not set(letters) <= set(known):
            raise ArgumentError(
                f"primitive(): saves[{position}] of {name} is {letters!r}; expected letters of {known!r}: y is the "
                "output, a the first argument, b the second"
            )
    arguments = tuple(inspect.signature(forward).parameters)[: len(vjps)]
    if formula is not None and formula.arguments != arguments:
        raise ArgumentError(
            f"primitive(): the formula of {name} has equations of ({', '.join(formula.arguments)}), and the arguments "
            f"with vjps are ({', '.join(arguments)}). Give one of each by its name, None where there is no gradient"
        )


def _checked(name: str, position: int, vjp: Vjp) -> Vjp:
    """The vjp, with what it gives looked at: its shape, its dtype, and that it stayed on the tape."""

    def run(g: Value, y: Value, *args: Value, **keywords: Any) -> Value:
        try:
            found = vjp(g, y, *args, **keywords)
        except (TypeError, AttributeError) as error:  # which a node in the place of a value raises
            # a vjp finds the node in the place of what was not saved
            absent = [_letters(k + 1)[-1] for k, a in enumerate(args) if isinstance(a, (Leaf, Node))]
            absent += ["y"] if y is None else []
            if absent:
                raise GraphError(
                    f"the vjp of argument {position} of {name} failed: {error}. It may have read a value that it did "
                    f"not declare; not saved were: {', '.join(absent)}. Add what it reads to saves[{position}]"
                ) from error
            raise
        if state.recording and not isinstance(found, Tensor):
            raise GraphError(
                f"the vjp of argument {position} of {name} returned a {type(found).__name__} while being recorded "
                "(create_graph=True): it left the tape. Write it in operations of tinygrad_rnn"
            )
        shape, expected = tuple(getattr(found, "shape", ())), tuple(args[position].shape)
        if shape != expected:
            raise ShapeRuntimeError(
                f"the vjp of argument {position} of {name} gave a cotangent of shape {list(shape)} for an argument of "
                f"shape {list(expected)}. Where the argument was broadcast, sum: tinygrad_rnn.ops.sum_to(g, a.shape)"
            )
        dtype = args[position].dtype
        # as where a vjp multiplies by an array of float64
        return found if found.dtype == dtype else cast(found, dtype=dtype)

    return run
