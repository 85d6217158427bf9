"""An interrupt at any place where Python looks for signals leaves nothing switched on, or off.

Python looks for signals when a function is entered, when a loop goes round and after a call.  A trace function raises
KeyboardInterrupt at one such place after the other, and what is switched on in this thread is looked at afterwards.
"""

from __future__ import annotations

import dis
import gc
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.observe.calls import Calls
from tinygrad_rnn.tape.primitive import REGISTRY

ROOT = os.path.dirname(os.path.abspath(tg.__file__))
SAMPLE = 150
LOOKS = ("RESUME", "CALL", "CALL_FUNCTION", "CALL_FUNCTION_KW", "CALL_FUNCTION_EX", "CALL_METHOD", "CALL_KW")
LOOKS += ("JUMP_BACKWARD", "JUMP_ABSOLUTE", "YIELD_VALUE")
_after: dict[CodeType, set[int]] = {}


def after_a_look(code: CodeType) -> set[int]:
    """The offsets of the instructions before which Python has just looked for signals."""
    found = _after.get(code)
    if found is None:
        instructions = list(dis.get_instructions(code))
        found = {second.offset for first, second in itertools.pairwise(instructions) if first.opname in LOOKS}
        found |= {i.argval for i in instructions if i.opname in ("JUMP_BACKWARD", "JUMP_ABSOLUTE")}
        if instructions[0].opname not in ("RESUME", "GEN_START", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_GENERATOR"):
            found.add(0)  # before Python 3.11 a function begins without an instruction for it
        _after[code] = found
    return found


class Interrupting:
    """Counts the places where Python looks for signals, in code of this package and NumPy, and raises at one of them.

    Args:
        at: which; -1 for none.
        spared: names of functions at whose entry nothing is raised.
    """

    def __init__(self, at: int, spared: tuple[str, ...] = ()) -> None:
        self.at, self.spared, self.count = at, spared, 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        if not (file.startswith(ROOT) or "numpy" in file or file == __file__):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.within

    def within(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "opcode" and frame.f_lasti in after_a_look(frame.f_code):
            first = min(after_a_look(frame.f_code))
            if frame.f_code.co_name in self.spared and frame.f_lasti == first:
                return self.within
            self.count += 1
            if self.count - 1 == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self.within


def interrupted(program: Callable[[], Any], at: int, spared: tuple[str, ...] = ()) -> Interrupting:
    tracer = Interrupting(at, spared)
    before = sys.gettrace()
    gc.disable()  # finalizers of what came before would be counted
    try:
        sys.settrace(tracer)
        program()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
        gc.enable()
    return tracer


def left_on() -> dict[str, Any]:
    here = state.here
    modes = {"recording": here.recording, "memo": here.memo, "watchers": here.watchers, "errors": np.geterr()}
    return modes | {"saving": {p.name: p.keeps((False,) * len(p.saves)) for p in REGISTRY.values()}}


def weights() -> Any:
    return tg.tensor([0.5, -0.5], requires_grad=True)


def a_backward() -> None:
    w = weights()
    (w.tanh() * w + w.exp()).sum().backward()


def a_recorded_backward() -> None:
    w = weights()
    (g,) = tg.autograd.grad((w.tanh() * w).sum(), w, create_graph=True)
    g.sum().backward()


def a_hooked_backward() -> None:
    w = weights()
    h = w * w
    h.register_hook(lambda g: g * 2)
    h.sum().backward()


def a_layer() -> None:
    layer = nn.RNN(2, 2)
    layer(tg.ones(2, 1, 2))[0].sum().backward()


def a_step() -> None:
    w = weights()
    w.grad = tg.ones(2)
    tg.optim.Adam([w], lr=0.1).step()
    tg.optim.SGD([w], lr=0.1, momentum=0.9).step(lambda: (w * w).sum())
    nn.utils.clip_grad_norm_([w], 0.1)


def a_decorated_function() -> None:
    @tg.no_grad()
    def f(x: Any) -> Any:
        return x * 2

    @tg.enable_grad()
    def g(x: Any) -> Any:
        return f(x) + x

    g(weights())


def a_decorated_generator() -> None:
    @tg.no_grad()
    def values(x: Any) -> Iterator[Any]:
        yield x * 2
        yield x * 3

    list(values(weights()))


def a_checkpoint() -> None:
    w = weights()
    tg.utils.checkpoint.checkpoint(lambda v: v.tanh() * v, w, use_reentrant=False).sum().backward()


def a_jacobian() -> None:
    tg.autograd.functional.jacobian(lambda x: x * x, tg.ones(2))


def a_conversion() -> None:
    nn.Linear(2, 1).double()


def a_no_grad_block() -> None:
    with tg.no_grad():
        weights() * 2
        with tg.enable_grad():
            weights() * 3


def a_set_grad_enabled_block() -> None:
    with tg.set_grad_enabled(False):
        weights() * 2


def an_inference_block() -> None:
    with tg.inference_mode():
        weights() * 2


def a_tape_block() -> None:
    w = weights()
    with tg.Tape() as tape:
        (w * w).sum().backward()
    tape.shares(w)


def a_tape_sweep() -> None:
    w = weights()
    with tg.Tape() as tape:
        loss = (w * w).sum()
    tape.backward(loss)


def a_block_of_calls() -> None:
    w = weights()
    with Calls() as calls:
        (w * w).sum().backward()
    calls.tape()


def an_anomaly_block() -> None:
    w = weights()
    with tg.autograd.detect_anomaly():
        (w * w).sum().backward()


def a_saved_tensors_block() -> None:
    w = weights()
    with tg.autograd.graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t):
        y = (w * w).sum()
    y.backward()


def a_custom_function() -> None:
    class Twice(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        @tg.autograd.function.once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    class Apart(tg.autograd.Function):
        forward = staticmethod(lambda x, function, recording: x * 2)
        setup_context = staticmethod(lambda ctx, inputs, output: None)
        backward = staticmethod(lambda ctx, g: (g * 2, None, None))

    Apart.apply(Twice.apply(weights()), 1, recording=2).sum().backward()


def a_result_written_out() -> None:
    tg.exp(tg.ones(2), out=tg.empty(2))


def a_gradcheck() -> None:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    tg.autograd.gradcheck(lambda x: x * x, (x,))


def a_wrong_gradient() -> None:
    x = tg.tensor(0.5, dtype=tg.float64, requires_grad=True)
    tg.autograd.gradcheck(lambda x: x.detach() * x, (x,), raise_exception=False)


WHOLE = [a_custom_function, a_result_written_out, a_gradcheck, a_wrong_gradient]
WHOLE += [a_backward, a_recorded_backward, a_hooked_backward, a_layer, a_step, a_decorated_function]
WHOLE += [a_decorated_generator, a_checkpoint, a_jacobian, a_conversion]
BLOCKS = [a_no_grad_block, an_inference_block, a_tape_block, a_tape_sweep, an_anomaly_block]
BLOCKS += [a_saved_tensors_block, a_block_of_calls]


def check(program: Callable[[], None], spared: tuple[str, ...], places: Any) -> None:
    program()  # what is loaded and compiled the first time
    total = interrupted(program, -1, spared).count
    assert total > 20
    before = left_on()
    wrong = []
    for at in places(total):
        tracer = interrupted(program, at, spared)
        if left_on() != before:
            wrong.append((at, tracer.where, left_on()))
            state.here.recording, state.here.memo, state.here.watchers = True, None, ()
            np.seterr(**before["errors"])
    assert wrong == []


def sample(total: int) -> Any:
    """Places all over, the same ones at each run."""
    return range(total) if total <= SAMPLE else sorted({k * total // SAMPLE for k in range(SAMPLE)})


@pytest.mark.parametrize("program", WHOLE)
def test_an_interrupt_leaves_nothing_switched(program: Callable[[], None]) -> None:
    check(program, (), sample)


@pytest.mark.parametrize("program", BLOCKS)
def test_an_interrupt_leaves_nothing_switched_by_a_block(program: Callable[[], None]) -> None:
    """But where ``__exit__`` is entered: that cannot be closed in Python."""
    check(program, ("__exit__",), sample)


@pytest.mark.thorough
@pytest.mark.parametrize("program", WHOLE + BLOCKS)
def test_an_interrupt_at_every_place_leaves_nothing_switched(program: Callable[[], None]) -> None:
    check(program, ("__exit__",) if program in BLOCKS else (), range)


def places_that_leave_it_off(program: Callable[[], None]) -> list[str]:
    found = []
    for at in range(interrupted(program, -1).count):
        tracer = interrupted(program, at)
        if not state.here.recording:
            found.append(tracer.where.rpartition(" ")[2])
            state.here.recording = True
    return found


def test_the_only_place_of_a_block_is_the_entry_of_its_exit() -> None:
    """The tracer finds it, so that it would find others."""
    assert places_that_leave_it_off(a_no_grad_block) == ["__exit__"]


def test_the_forward_of_a_custom_function_has_none() -> None:
    class Twice(tg.autograd.Function):
        forward = staticmethod(lambda ctx, x: x * 2)
        backward = staticmethod(lambda ctx, g: g * 2)

    w = weights()
    assert places_that_leave_it_off(lambda: Twice.apply(w)) == []


def test_a_switch_has_more_of_them_between_its_end_and_the_block() -> None:
    places = ["a_set_grad_enabled_block", "__enter__", "__exit__"]
    assert places_that_leave_it_off(a_set_grad_enabled_block) == places


def test_a_tape_shows_the_sweep_after_one_that_was_interrupted() -> None:
    w = weights()
    tape = tg.Tape()

    def stop(g: Any) -> None:
        raise KeyboardInterrupt

    with tape:
        h = w * w
        handle = h.register_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            h.sum().backward()
        handle.remove()
        tape._under_way.append(None)  # what is left where the signal comes before the end of a sweep is told
        (w * w).sum().backward()
    assert len(tape.steps) == 3 and len(tape.shares(w)) == 2


# generators and threads ----------------------------------------------------------------------------------------------


def holding() -> Iterator[int]:
    with tg.no_grad():
        yield 1
        yield 2


def test_a_generator_that_another_thread_finishes_ends_the_mode_where_it_began() -> None:
    values = holding()
    next(values)
    assert not tg.is_grad_enabled()
    seen: list[Any] = []

    def finish() -> None:
        values.close()  # type: ignore[attr-defined]
        seen.append(tg.is_grad_enabled())

    other = threading.Thread(target=finish)
    other.start()
    other.join()
    assert seen == [True] and tg.is_grad_enabled()


def test_a_generator_that_another_thread_collects_ends_the_mode_where_it_began() -> None:
    box = [holding()]
    next(box[0])
    other = threading.Thread(target=box.clear)
    other.start()
    other.join()
    assert tg.is_grad_enabled()


def test_a_mode_that_is_left_without_having_been_entered_changes_nothing() -> None:
    tg.no_grad().__exit__(None, None, None)
    assert tg.is_grad_enabled()


def test_a_tape_that_another_thread_leaves_is_no_error_there() -> None:
    tape = tg.Tape()
    with tape:
        other = threading.Thread(target=tape.__exit__, args=(None, None, None))
        other.start()
        other.join()
        weights() * 2
    assert state.here.watchers == () and len(tape) == 1
