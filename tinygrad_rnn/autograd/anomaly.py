"""Anomaly mode: who made the first nan, and which line of the program recorded the operation that failed.

A watcher notes for every recorded operation its number, the user's line, and the time step if a loop over ``t`` is
running; and whether its output was the first with a nan.  In the sweep it looks at every contribution.  What it
knows goes into the exception itself: the first line is PyTorch's sentence, the others say where and why.
"""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

from ..backend import array_module
from ..errors import GraphError, TinygradRnnError
from ..source_line import Line, user_frame
from ..tape.modes import Watcher, state
from ..tape.node import Leaf, Node
from ..tape.partial_gradient import Part
from ..tape.tensor import Tensor
from ..typing import Array, Cotangent, Value

__all__ = ["AnomalyError", "detect_anomaly", "is_anomaly_enabled", "set_detect_anomaly"]

STEP_NAMES = ("t", "time_step", "timestep", "time", "step")  # of a loop over time, the likeliest first
TIME_FIRST = ("rnn", "lstm", "gru")  # fused layers: the first axis of their first argument and output is time
_NOTES = hasattr(BaseException, "add_note")  # Python 3.11
UNSAFE = {"sqrt", "rsqrt", "log", "log1p", "log2", "log10", "pow", "pow_number", "div", "reciprocal"}
UNSAFE |= {"acos", "asin", "acosh", "atanh"}


class AnomalyError(GraphError):
    """A nan, found by anomaly mode.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.0], requires_grad=True)
    >>> try:
    ...     with tg.autograd.detect_anomaly(check_nan=True):
    ...         (x.sqrt() * 0).backward()
    ... except tg.autograd.AnomalyError as error:
    ...     print(isinstance(error, RuntimeError))
    True
    """


class _Watcher(Watcher):
    """Sees every operation of its thread while anomaly mode is on."""

    def __init__(self, check_nan: bool, check_forward: bool) -> None:
        self.check_nan, self.check_forward = check_nan, check_forward
        self.count = 0
        self.passes: Counter[tuple[Any, int]] = Counter()
        self.nans: set[int] = set()
        self.first_nan: str | None = None
        self.swept: list[Node | Leaf | None] = []  # the node last reached, for each sweep under way
        self.incoming: Cotangent | None = None

    # the forward pass ----------------------------------------------------------------------------------------------

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        frame = user_frame()
        place = "?" if frame is None else _place(frame)
        step = _time_step(self.passes, frame)
        node.info = f"{place}{step} (record {self.count})"
        self.count += 1
        if not any(_has_nan(item) for item in _items(output)):
            return
        self.nans.add(node.index)
        # by this operation: neither an argument nor a saved value had one
        born = not any(map(self._is_nan, node.parents)) and not any(map(_holds_nan, node.args or ()))
        if born and self.first_nan is None:
            self.first_nan = f"{node.primitive.name}, recorded at {node.info}"
        if born and self.check_forward:
            raise AnomalyError(
                f"Function '{node.primitive.name}' returned nan values in the forward pass, of inputs without any.\n"
                f"  Recorded at {node.info}.{_hint(node)}"
            )

    def _is_nan(self, parent: Node | Leaf | None) -> bool:
        """Whether an argument had a nan already."""
        if isinstance(parent, Leaf):
            return _holds_nan(parent.tensor())
        return parent is not None and parent.index in self.nans

    # the sweep -----------------------------------------------------------------------------------------------------

    def sweep_begins(self, seeds: Any) -> None:
        if state.here.memo is None:  # no sweep within a sweep; what an interrupt left is over
            self.swept.clear()
            self.passes.clear()
        self.swept.append(None)

    def sweep_ends(self, error: BaseException | None) -> None:
        node = self.swept.pop()
        if not self.swept:  # one training step is over: the next counts its time steps from 0
            self.passes.clear()
        # an interrupt is no fault of the operation that it hit
        if isinstance(error, AnomalyError) or not isinstance(error, Exception) or not isinstance(node, Node):
            return
        # a sweep inside of this one may have named the place
        if node.info is not None and node.info not in str(error) and not getattr(error, "anomaly_noted", False):
            _append(error, f"\n  The backward pass had last reached {node.name()}, recorded at {node.info}.")

    def reached(self, node: Node | Leaf, cotangent: Cotangent) -> None:
        self.swept[-1] = node
        self.incoming = cotangent

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Value | Part) -> None:
        if not self.check_nan or node.primitive.name == "output":  # an output only puts its cotangent into a list
            return
        value = next((item for item in _items(contribution) if _has_nan(item)), None)
        if value is None:
            return
        lines = [
            f"Function '{node.name()}' returned nan values in its {position}th output.",
            f"That is the gradient of argument {position} of {node.primitive.name}, {_nans_of(node, position, value)}.",
            f"Recorded at {node.info or 'a place before anomaly mode was switched on'}.",
            f"The gradient that came in: {'; '.join(_range(item) for item in _items(self.incoming))}.",
        ]
        saved = [item for item in (node.ans, *(node.args or ())) if hasattr(item, "min") and hasattr(item, "dtype")]
        if saved:
            lines.append(f"Values saved for it: {'; '.join(_range(item) for item in saved)}.")
        if self.first_nan is not None:
            lines.append(f"The forward pass had made a nan before: {self.first_nan}.")
        raise AnomalyError("\n  ".join(lines) + _hint(node))


def _hint(node: Node) -> str:
    if node.primitive.name not in UNSAFE:
        return ""
    return (
        "\n  Hint: entries that where() or a mask leaves out must be harmless all the same, since 0 * inf is nan: "
        "sqrt(where(x > 0, x, 1)), not where(x > 0, sqrt(x), 0)."
    )


def _append(error: Exception, note: str) -> None:
    """Put a note into an exception: into the message of ours, under the message of others."""
    error.anomaly_noted = True  # type: ignore[attr-defined]
    if error.args and isinstance(error.args[0], str) and (isinstance(error, TinygradRnnError) or not _NOTES):
        error.args = (error.args[0] + note, *error.args[1:])
    elif _NOTES:
        error.add_note(note.strip())  # type: ignore[attr-defined, unused-ignore]


def _place(frame: FrameType) -> str:
    line = Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    text = f": {line.text}" if line.text else ""
    return f"{line.file}:{line.number} in {line.function}{text}"


def _time_step(passes: Counter[tuple[Any, int]], frame: FrameType | None) -> str:
    """The time step, from a loop variable that is called as one; else how often this place was passed before."""
    if frame is None:
        return ""
    key = frame.f_code, frame.f_lasti  # one instruction: a line may hold several operations
    times = passes[key]
    passes[key] += 1
    inner: FrameType | None = sys._getframe(2)  # first a loop inside of the layer that the user called
    while inner is not None and inner is not frame.f_back:
        found = _step_of(inner)
        if found:
            return found
        inner = inner.f_back
    outer = frame.f_back
    # a global t may be left over from a loop that has ended
    while outer is not None and outer.f_code.co_name != "<module>":
        found = _step_of(outer)
        if found:
            return found
        outer = outer.f_back
    return f", the {times + 1}th time in this pass" if times else ""


def _step_of(frame: FrameType) -> str:
    values = frame.f_locals
    for name in STEP_NAMES:
        value = values.get(name)
        if type(value) is int:  # a float or a Tensor named t is a time, and no time step
            return f", with {name} = {value}"
    return ""


def _items(value: Any) -> list[Any]:
    """The raw arrays in a cotangent: of a recorded sweep, of several outputs, or of a part."""
    if isinstance(value, (list, tuple)):
        return [item for v in value if v is not None for item in _items(v)]
    if isinstance(value, Part):
        return _items(getattr(value, "g", None))
    if isinstance(value, Tensor):
        return [value._data]
    return [value] if hasattr(value, "dtype") and hasattr(value, "nbytes") else []


def _has_nan(x: Array) -> bool:
    return x.dtype.kind in "fc" and bool(array_module(x).isnan(x).any())


def _holds_nan(value: Any) -> bool:
    return any(map(_has_nan, _items(value)))


def _nans_of(node: Node, position: int, value: Array) -> str:
    """How many entries are nan, and which is the first; of a fused layer, at which time steps."""
    where = array_module(value).argwhere(array_module(value).isnan(value))
    if not value.ndim:
        return "a number"
    first = ", ".join(str(int(k)) for k in where[0])
    found = f"{len(where)} of {value.size} entries, the first at [{first}]"
    if node.primitive.name in TIME_FIRST and position == 0:
        steps = where[:, 0]
        found += f", at time steps {int(steps.min())} to {int(steps.max())}"
    return found


def _range(x: Array) -> str:
    if not x.size or x.dtype.kind not in "fiu":
        return f"{x.dtype.name}{list(x.shape)}"
    return f"{x.dtype.name}{list(x.shape)} from {float(x.min()):.4g} to {float(x.max()):.4g}"


# switching it on ---------------------------------------------------------------------------------------------------


def _watchers() -> tuple[Any, ...]:
    return tuple([watcher for watcher in state.watchers if isinstance(watcher, _Watcher)])


def _with(*ours: _Watcher) -> tuple[Any, ...]:
    return (*[watcher for watcher in state.watchers if not isinstance(watcher, _Watcher)], *ours)


class _Switch:
    """The watchers of this thread with others of anomaly mode in place of those that are there, and back again."""

    def __init__(self) -> None:
        self._before: tuple[Any, Any, Any] | None = None  # what was before, what is now, and the same of the outer use

    def __exit__(self, *exc: Any) -> None:
        if self._before is None:
            return
        here = state.here
        before, now, self._before = self._before
        if here.watchers is now:  # without a call, before which a signal could come
            here.watchers = before
        else:  # others came or went inside
            others = [watcher for watcher in here.watchers if not isinstance(watcher, _Watcher)]
            here.watchers = (*others, *[watcher for watcher in before if isinstance(watcher, _Watcher)])


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on in this thread.

    >>> import tinygrad_rnn as tg
    >>> with tg.autograd.detect_anomaly():
    ...     print(tg.autograd.is_anomaly_enabled())
    True
    """
    return bool(_watchers())


class detect_anomaly(_Switch):
    """Inside ``with``, a backward pass that gives a nan raises, naming the operation and the line that recorded it.

    The forward pass must run inside as well, for the lines to be known.  Errors of other kinds in a backward pass (a
    saved value that was overwritten, an error in a custom Function) get the same information.  It is slow.

    It is a mode of the thread, as ``no_grad`` is: other threads run on as they were, and a thread started inside starts
    without it.  (PyTorch's is one setting for all threads.)

    Args:
        check_nan: raise at a nan in a gradient.
        check_forward: raise already where the forward pass makes a nan.

    Raises:
        AnomalyError: at the first nan.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([0.0, 4.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     y = tg.where(x > 0, x.sqrt(), 0.0)
    ...     y.sum().backward()  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    tinygrad_rnn.autograd.anomaly.AnomalyError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True, check_forward: bool = False) -> None:
        super().__init__()
        self._check = check_nan, check_forward

    def __enter__(self) -> None:
        here = state.here
        now = _with(_Watcher(*self._check))
        self._before = here.watchers, now, self._before
        here.watchers = now


class set_detect_anomaly(_Switch):
    """Anomaly mode on or off from now on; used in ``with``, until its end.  It is a setting of the thread.

    >>> import tinygrad_rnn as tg
    >>> with tg.autograd.set_detect_anomaly(True):
    ...     print(tg.autograd.is_anomaly_enabled())
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True, check_forward: bool = False) -> None:
        super().__init__()
        now = _with(*[_Watcher(check_nan, check_forward)] * bool(mode))
        self._before = state.watchers, now, None
        state.here.watchers = now

    def __enter__(self) -> None:
        """The switch was thrown when the object was made."""
