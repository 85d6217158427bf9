"""The record of a fused operation, opened: its reference composition, run on its arguments, on a tape of its own.

A fused layer is one record, computed by a kernel.  Its reference says the same in ordinary operations, and defines
what the kernel has to give.  So to look inside, the reference is run again, and its sweep starts from the cotangents
that the fused record received.
"""

from __future__ import annotations

from typing import Any

from ...backend import is_array
from ...errors import GraphError
from ..modes import spelled_out, state
from ..tensor import Tensor, wrap
from .records import Record, Step, is_whole

__all__ = ["expanded"]


def expanded(tape: Any, record: Record, step: Step | None) -> None:
    """Fill the empty ``tape`` with the reference of a record, and with a sweep of it if ``step`` came to the record."""
    assert record.node is not None
    reference = record.node.primitive.reference
    if reference is None:
        raise GraphError(
            f"expand(): %{record.number} = {record.name} is an ordinary operation. Fused ones, such as whole "
            "recurrent layers, can be opened"
        )
    cotangents = None if step is None else step.cotangent
    arrays = [value for value in record.arguments if value is not None and not isinstance(value, (int, float))]
    if not all(map(is_whole, arrays)) or (cotangents is not None and not is_whole(cotangents)):
        raise GraphError(
            f"expand(): this tape did not keep the arguments of %{record.number} = {record.name}, or what arrived "
            "there. Open it as Tape(values='all')"
        )
    arguments: list[Any] = []
    names: set[str] = set()
    for name, label, target, value in zip(
        record.argument_names, record.inputs, record.references, record.arguments, strict=True
    ):
        if not is_array(value):
            arguments.append(value)
            continue
        t = wrap(value.copy())
        if target.kind != "constant":
            t.requires_grad_()
            called = label if target.kind == "leaf" else name
            tape.name(**{called if called not in names else f"{called} as {name}": t})  # given twice
            names.add(called)
        arguments.append(t)
    params = record.params
    here = state.here
    recording, watchers, memo, scope = here.recording, here.watchers, here.memo, here.scope
    try:  # the user's tapes do not show this, and it is recorded whatever the mode is
        here.recording, here.watchers, here.memo, here.scope = True, (), None, record.scope
        with tape:
            outputs = spelled_out(reference, *arguments, **params)
            if cotangents is not None:
                given = cotangents if isinstance(cotangents, list) else [cotangents]
                pairs = [
                    (y, wrap(g.copy()))
                    for y, g in zip(outputs, given, strict=True)
                    if g is not None and isinstance(y, Tensor) and y._node is not None
                ]
                if pairs:
                    y, g = zip(*pairs, strict=True)
                    tape.backward(list(y), list(g), retain_graph=True)
    finally:
        here.recording, here.watchers, here.memo, here.scope = recording, watchers, memo, scope
    for inner in tape.records:  # what ran there was one line of the user's program
        inner.line, inner.stack = record.line, record.stack
