"""Shares of which the sum is the gradient to rounding, and not bit for bit."""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.tape.observe.records import Share


def is_rounded(tape: tg.Tape, share: Share) -> bool:
    """Whether the use may have read an entry twice, by number or by a view that repeats entries."""
    params = share.record.params if share.record is not None else {}
    found = [value for item in params.values() for value in (item if isinstance(item, tuple) else (item,))]
    views = {tape[int(name[1:])].name for name in share.through}
    numbers = any(isinstance(value, np.ndarray) and value.dtype.kind in "iu" for value in found)
    return numbers or bool(views & {"broadcast_to", "unfold"})
