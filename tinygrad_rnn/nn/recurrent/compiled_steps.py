"""Whether the steps of a layer run compiled, or one by one on the tape: the rules of ``impl``.

A layer whose steps are not those of a plain RNN, LSTM or GRU has two forms with the same results: *composed*, every
step on the tape, and *compiled*, a program of the step that runs over the whole sequence as one record
(:mod:`tinygrad_rnn.ops.compiler.cell`).  ``impl`` chooses:

* ``"composed"``: every step on the tape.
* ``"compiled"``: compiled; :class:`Refused`, with the reason and the line, where that is impossible.
* ``"auto"``: compiled as soon as it pays.  Machine code takes seconds to make, so a layer runs composed until
  :data:`PATIENCE` seconds have been spent in its steps, and no longer than that: at worst the time doubles.  If the
  machine code is on the disk from an earlier run (that of the way forward, where nothing is recorded), it is compiled
  at once.  Where a step cannot be compiled, it runs composed; a :class:`NotCompiled` warning says why, once for each
  layer.  In half precision and complex numbers everything runs composed, and nothing is said.

``"compiled"`` and ``"composed"`` give the same bits in every run.  ``"auto"`` may go from one to the other once in a
run, and its results then differ by roundings from what they would have been.

**Steps of ours**, options of RNN, LSTM and GRU, are known by their options; layers of equal sizes share a program.
**A user's cell** may do anything at the next call.  So once per call it is run on the first rows of the input, and
compared with what was traced (:mod:`tinygrad_rnn.ops.compiler.signature`); another step is traced anew.  Programs are
kept by what the step does, so that training and evaluation in turn compile each once.  Most cells read nothing that
can change unnoticed; for these a comparison of identities is enough, which takes a tenth of the time
(:mod:`tinygrad_rnn.nn.recurrent.guard`).

What is known of a layer is kept beside it, not in it: copies and checkpoints of a layer have none of it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ...backend import array_module
from ...errors import ArgumentError
from ...kernels.recurrent import dispatch
from ...kernels.recurrent.interface import DTYPES, KernelUnavailable, Options
from ...ops.compiler.cell import CompiledCell, compile_step
from ...ops.compiler.signature import Signature, signature
from ...ops.compiler.trace import Mask, Refused
from ...source_line import warn_user
from ...tape.modes import defaults, state
from ...tape.tensor import Tensor, wrap
from ..module import Module
from .guard import Guard, guard_of
from .options import Masking, States, Step, with_masks

__all__ = ["IMPLEMENTATIONS", "CompiledSteps", "Equations", "NotCompiled", "Ready", "Work", "steps_of", "tensors_of"]

IMPLEMENTATIONS = ("auto", "compiled", "composed")

PATIENCE = {"numba": 2.0, "cuda": 2.0, "numpy": 0.1}
"""Seconds to be spent in the steps of a layer before they are compiled, about what that takes, by kernel.

Numba needs 1.0 to 2.4 s for the forward and the backward loop of a cell (with layer normalisation 5.8 s), NumPy's text
5 to 25 ms, most of it for the trace."""

WITH_BACKWARD = 3
"""The time of forward and backward over that of forward, which is what is measured."""

BACKENDS = ("numba", "numpy", "cuda")
"""For which text is generated."""

STRUCTURES = 8
"""How many different steps of one cell are kept, those that ran last."""

OFTEN = 4
"""A step that is another one more often than once in so many calls is left composed: traces would take too long.

Not before there were more than :data:`STRUCTURES` of them."""

clock = time.thread_time  # of this thread alone: compiling takes as much of it, however busy the machine is


class NotCompiled(UserWarning):
    """A layer runs step by step, though its steps were to be compiled where possible."""


class Equations(NamedTuple):
    """A step of ours, as a value: equal ones have the same program."""

    cell: Callable[..., Any]  # a function of :mod:`tinygrad_rnn.ops.recurrent.cells`
    options: tuple[tuple[str, Any], ...] = ()

    def step(self, parameters: Mapping[str, Tensor]) -> Step:
        """``step(x, states)`` with these parameters."""
        cell = functools.partial(self.cell, **parameters, **dict(self.options))

        def step(x: Tensor, states: States) -> States:
            new = cell(x, *states)
            return new if isinstance(new, tuple) else (new,)

        return step


class Work(NamedTuple):
    """One layer in one direction: its step, and what that reads.

    Attributes:
        name: what it is called on the tape.
        place: which of the stack.
        input_size: I.
        step: ``step(x, states) -> (*states, *emitted)``.
        parameters: all tensors that it reads and that may change, by name.
        emitted: how many values it gives beside the states.
        equations: of a step of ours.
        cell: a user's.
    """

    name: str
    place: str
    input_size: int
    step: Step
    parameters: Mapping[str, Tensor]
    emitted: int = 0
    equations: Equations | None = None
    cell: Module | None = None


class Asked(NamedTuple):
    """What a program of ours depends on."""

    name: str
    equations: Equations
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    input_size: int
    widths: tuple[int, ...]
    masking: Masking
    emitted: int
    dtype: str


Outcome = CompiledCell | Refused


def _compiled(
    step: Step, input_size: int, widths: Sequence[int], parameters: Mapping[str, Tensor], masking: Masking, **more: Any
) -> Outcome:
    """The compiled form of a step with masks; or why there is none."""
    zoned = [Mask(w, boolean=True) for w, p in zip(widths, masking.zoneouts, strict=True) if p > 0 and masking.training]
    dropped = [Mask(widths[0])] if masking.recurrent_dropout else []
    masks: dict[str, Any] = {"step_masks": zoned, "sequence_masks": dropped}
    try:
        return compile_step(with_masks(step, masking), input_size, widths, parameters, **masks, **more)
    except Refused as error:
        return error.with_traceback(None)  # which would keep every frame on the way


@functools.lru_cache(maxsize=128)
def _ours(asked: Asked) -> Outcome:
    """The compiled form of a step of ours, shared by all layers that ask for the same."""
    random = np.random.default_rng(0)
    parameters = {
        name: wrap(random.uniform(-0.5, 0.5, shape).astype(asked.dtype)).requires_grad_()
        for name, shape in asked.shapes
    }
    step = asked.equations.step(parameters)
    more = {"dtype": asked.dtype, "emitted": asked.emitted, "name": asked.name}
    return _compiled(step, asked.input_size, asked.widths, parameters, asked.masking, **more)


def _asked(work: Work, masking: Masking, x: Tensor, states: States) -> Asked:
    """The program that a step of ours needs."""
    assert work.equations is not None
    shapes = tuple([(name, p._data.shape) for name, p in work.parameters.items()])
    widths = tuple([s._data.shape[-1] for s in states])
    dtype = x._data.dtype.char
    return Asked(work.name, work.equations, shapes, work.input_size, widths, masking, work.emitted, dtype)


@dataclass(frozen=True, eq=False)
class Known:
    """A step of a user's cell that was traced: what it did, and its compiled form."""

    signature: Signature | None
    outcome: Outcome


class Kept:
    """What is known of one user's cell: the steps that it was, the last one last; its calls, and its traces."""

    def __init__(self) -> None:
        self.steps: list[Known] = []
        self.calls = self.traces = 0
        self.guards = self.held = 0  # how many were made, and how often one held
        self.unguarded = -1  # the number of traces at which the step had no guard

    def guard(self, work: Work) -> Guard | None:
        """A guard of the step; None where there is none, or where guards do not hold for long."""
        assert work.cell is not None
        # to make one takes longer than to run the step
        if self.unguarded == self.traces or self.guards > STRUCTURES + self.held // OFTEN:
            return None
        self.guards += 1
        found = guard_of(work.cell, work.parameters)
        if found is None:
            self.unguarded = self.traces
        return found

    @property
    def changes(self) -> bool:
        """Whether it is another step all the time."""
        return self.traces >= STRUCTURES + self.calls // OFTEN


class Ready(NamedTuple):
    """What runs at the next call, without another look at it.

    Attributes:
        cell: the user's.
        compiled: its step.
        parameters: what it reads, by name.
        guard: says whether the step is still the same.
        kept: what is known of the cell.
    """

    cell: Module | None
    compiled: CompiledCell
    parameters: Mapping[str, Tensor]
    guard: Guard
    kept: Kept


class CompiledSteps:
    """What is known of the steps of one layer: compiled forms, the time spent without them, what was said."""

    def __init__(self) -> None:
        self.guarded: dict[Hashable, Ready] = {}  # by place, impl, options and dtype
        self.current: dict[Hashable, Known] = {}  # by place, options and modes
        self.kept: dict[Hashable, Kept] = {}  # by place and options
        self.spent: dict[Hashable, float] = {}  # seconds, by options and modes
        # the same, and whether the way back is needed, too:
        self.looked_for: set[Hashable] = set()  # on the disk, and not found
        self.ready: set[Hashable] = set()
        self.said: set[str] = set()

    # at every call -----------------------------------------------------------------------------------------------

    def again(self, key: Hashable, cell: Module | None) -> Ready | None:
        """What ran at the last call of a user's cell, if nothing has changed; ``key`` as for :meth:`choose`."""
        found = self.guarded.get(key)
        if found is None or found.cell is not cell or not found.guard.holds():
            return None
        found.kept.calls += 1
        found.kept.held += 1
        return found

    def choose(
        self, key: Hashable, name: str, impl: str, work: Work, masking: Masking, x: Tensor, states: States
    ) -> CompiledCell | None:
        """The compiled form of a step, if it is to run compiled now; None: step by step.

        Args:
            key: under which it is to be found again: all that the choice depends on, but for the step itself.
            name: of the layer, for messages.
            impl: of the layer.
            work, masking: the step, and what the options do to it.
            x, states: on which it is to run.

        Raises:
            Refused: ``impl`` is "compiled", and it cannot be compiled.
        """
        outcome: Outcome | None
        if impl == "auto" and x._data.dtype not in DTYPES:  # no fault of the step, and nothing to be said
            return None
        if work.equations is not None:
            outcome = self._of_ours(impl, work, masking, x, states)
        else:
            outcome = self._of_user(key, impl, work, masking, x, states)
        if not isinstance(outcome, Refused):
            return outcome
        if impl != "auto":
            raise Refused(outcome.reason, outcome.line)
        self._say(name, outcome)
        return None

    def _of_ours(self, impl: str, work: Work, masking: Masking, x: Tensor, states: States) -> Outcome | None:
        group, back = _group(work, masking, x), _goes_back(work, x, states)
        if impl == "auto" and (group, back) not in self.ready and self._too_early(group, x):
            return None
        return self._in_time(impl, group, back, _ours(_asked(work, masking, x, states)), x, states)

    def _of_user(
        self, key_of_call: Hashable, impl: str, work: Work, masking: Masking, x: Tensor, states: States
    ) -> Outcome | None:
        assert work.cell is not None
        group, back = _group(work, masking, x), _goes_back(work, x, states)
        if impl == "auto" and (group, back) not in self.ready and self._too_early(group, x):
            return None
        base, key = (work.place, *group[:2]), (work.place, *group)  # in other modes the step may be the same
        found, kept = self.current.get(key), self.kept.setdefault(base, Kept())
        kept.calls += 1
        # a step that was refused is not asked again, as long as it runs in the same modes
        if found is None or (isinstance(found.outcome, Refused) and impl != "auto"):
            found = self.current[key] = _known(kept, work, masking, x, states, _signature(work, x, states))
        outcome = self._in_time(impl, group, back, found.outcome, x, states)
        if isinstance(outcome, CompiledCell) and found.signature != (now := _signature(work, x, states)):
            found = _known(kept, work, masking, x, states, now)
            if impl == "auto" and kept.changes:
                changing = f"it was {kept.traces} different steps in {kept.calls} calls"
                found = Known(now, Refused(f"{changing}. Numbers that change belong in a buffer"))
            self.current[key], outcome = found, found.outcome
        self.guarded.pop(key_of_call, None)
        if isinstance(outcome, CompiledCell) and (guard := kept.guard(work)) is not None:
            self.guarded[key_of_call] = Ready(work.cell, outcome, work.parameters, guard, kept)
        return outcome

    def _too_early(self, group: Hashable, x: Tensor) -> bool:
        """Whether even a trace would cost more than was spent so far."""
        return self.spent.get(group, 0.0) < PATIENCE["numpy"] and dispatch.preferred(x._data) == "numpy"

    def _in_time(
        self, impl: str, group: Hashable, back: bool, outcome: Outcome, x: Tensor, states: States
    ) -> Outcome | None:
        """The outcome, or None where compiling it would take longer than what was spent so far."""
        if isinstance(outcome, Refused):
            return outcome
        kernel = _kernel(outcome, x, states)
        if isinstance(kernel, Refused):
            return kernel
        if impl != "auto" or (group, back) in self.ready:
            return outcome
        spent = self.spent.get(group, 0.0)
        if spent >= PATIENCE[kernel]:
            _inform(f"{outcome.name}: compiled after {spent:.1f} s of steps on the tape")
        elif (group, back) in self.looked_for or not outcome.compiled_already(kernel, x._data.dtype, back):
            self.looked_for.add((group, back))
            return None
        self.ready.add((group, back))
        return outcome

    def timed(self, run: Callable[[], Any], work: Work, masking: Masking, x: Tensor) -> Any:
        """``run()``, which goes step by step, on the clock."""
        start = clock()
        result = run()
        seconds = clock() - start
        if state.here.recording:
            seconds *= WITH_BACKWARD
        group = _group(work, masking, x)
        self.spent[group] = self.spent.get(group, 0.0) + seconds
        return result

    # explained ---------------------------------------------------------------------------------------------------

    def explain(
        self,
        name: str,
        impl: str,
        fused: bool,
        works: Sequence[Work],
        widths: Sequence[int],
        masking: Masking,
        backend: str | None,
    ) -> str:
        """What the steps of a layer compute, and how they run; or the text that is generated for a backend.

        Args:
            name, impl: of the layer.
            fused: the layer is a plain one, with kernels of its own.
            works: of all layers and directions.
            widths: of the states.
            masking: what the options do to a step.
            backend: whose text is wanted.

        Raises:
            ArgumentError: there is no backend of that name.
        """
        if backend is not None and backend not in BACKENDS:
            raise ArgumentError(f"explain(): expected one of {', '.join(BACKENDS)}, got {backend!r}")
        places: dict[str, list[str]] = {}
        refused = early = False
        spent = 0.0
        for work in works:
            x, states = _like(work, widths)
            if work.equations is not None:
                outcome = _ours(_asked(work, masking, x, states))
            else:
                kept = self.kept.setdefault((work.place, *_group(work, masking, x)[:2]), Kept())
                outcome = _known(kept, work, masking, x, states, _signature(work, x, states)).outcome
            if isinstance(outcome, Refused):
                refused = True
                text = f"step by step, it cannot be compiled: {outcome}"
            elif backend is None:
                text = outcome.explain()
            else:
                try:
                    text = outcome.text(backend)
                except KernelUnavailable as error:
                    text = f"no kernel: {error}"
            places.setdefault(text, []).append(work.place)
            group = _group(work, masking, x)
            early = early or ((group, True) not in self.ready and (group, False) not in self.ready)
            spent = max(spent, self.spent.get(group, 0.0))
        if backend is not None:
            comment = "//" if backend == "cuda" else "#"
            parts = [f"{comment} {'; '.join(where)}\n{text}" for text, where in places.items()]
            return next(iter(places)) if len(places) == 1 else "\n\n".join(parts)
        seconds = PATIENCE[dispatch.preferred(x._data)]
        how = "compiled"
        if impl == "composed":
            how = "every step on the tape, as impl says; compiled it would be"
        elif fused:
            how = "by the kernels of plain layers; compiled from its equations it would be"
        elif impl == "auto" and early:
            how = f"every step on the tape until that has taken {seconds} s, {spent:.1f} s so far; then compiled"
        parts = [f"{'; '.join(where)}\n{_indented(text)}" for text, where in places.items()]
        return "\n".join([name if refused else f"{name}: {how}", *parts])

    def _say(self, name: str, refused: Refused) -> None:
        text = " ".join(str(refused).split())
        if text not in self.said:
            self.said.add(text)
            warn_user(f"{name} runs step by step, it cannot be compiled: {text}", NotCompiled)


def _signature(work: Work, x: Tensor, states: States) -> Signature | None:
    return signature(work.step, x._data, [s._data for s in states], work.parameters)


def _known(kept: Kept, work: Work, masking: Masking, x: Tensor, states: States, now: Signature | None) -> Known:
    """A step of a user's cell with that signature, from those that are kept or by a new trace."""
    for one in kept.steps:
        if one.signature == now:
            kept.steps.remove(one)
            kept.steps.append(one)
            return one
    if now is None:
        return Known(now, Refused("it raises for two sequences"))
    kept.traces += 1
    widths = [s._data.shape[-1] for s in states]
    more = {"dtype": x._data.dtype, "emitted": work.emitted, "name": work.name}
    found = Known(now, _compiled(work.step, work.input_size, widths, work.parameters, masking, **more))
    if isinstance(found.outcome, CompiledCell):
        kept.steps = [*kept.steps, found][-STRUCTURES:]
    return found


def _group(work: Work, masking: Masking, x: Tensor) -> tuple[Hashable, ...]:
    """What decides whether a step is compiled yet: dtype, options, and the modes of a user's modules."""
    modes = () if work.cell is None else tuple([m.training for m in work.cell.modules()])
    return x._data.dtype.char, masking, modes


def _goes_back(work: Work, x: Tensor, states: States) -> bool:
    """Whether a run is recorded, so that the way back is needed as well."""
    return state.here.recording and any(t._node is not None for t in (x, *states, *work.parameters.values()))


def _kernel(cell: CompiledCell, x: Tensor, states: States) -> str | Refused:
    """The kernel that runs a cell; or why there is none."""
    arrays, reasons = tuple([s._data for s in states]), []
    for kernel in dict.fromkeys((dispatch.preferred(x._data), "numpy")):
        reason = cell.refusal(kernel, x._data, arrays, (), Options())
        if reason is None:
            return kernel
        reasons.append(f"{kernel}: {reason}")
    return Refused("; ".join(reasons))


def _inform(text: str) -> None:
    import logging

    logging.getLogger(__name__).info(text)


def _indented(text: str) -> str:
    return "\n".join([f"  {line}" for line in text.splitlines()])


def _like(work: Work, widths: Sequence[int]) -> tuple[Tensor, States]:
    """Input and states for a step, of the dtype and on the device of its parameters."""
    floats = [p._data for p in work.parameters.values() if p._data.dtype.kind == "f"]
    like = floats[0] if floats else np.zeros(0, defaults.dtype)
    zeros = array_module(like).zeros
    x, *states = [wrap(zeros((1, width), like.dtype)) for width in (work.input_size, *widths)]
    return x, tuple(states)


def tensors_of(cell: Module) -> dict[str, Tensor]:
    """Parameters and buffers of a cell, by name."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for place, module in cell.named_modules():  # once for both kinds: it is done at every call of a layer
        for members in (module._parameters, module._buffers):
            for name, t in members.items():
                if t is not None and id(t) not in seen:
                    seen.add(id(t))
                    found[f"{place}.{name}" if place else name] = t
    return found


_layers: WeakKeyDictionary[Module, CompiledSteps] = WeakKeyDictionary()


def steps_of(layer: Module) -> CompiledSteps:
    """What is known of the steps of a layer."""
    found = _layers.get(layer)
    return _layers.setdefault(layer, CompiledSteps()) if found is None else found
