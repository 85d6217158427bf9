"""Which families there are, and how long each may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .cells import cells
from .check import check
from .host import host
from .job import job
from .latency import latency
from .layers import layers
from .loops import loops
from .micro import micro
from .optimisers import optimisers
from .places import Places
from .rows import Rows
from .tilings import tilings

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """Some measurements.

    Attributes:
        run: what to do.
        seconds: after which it is stopped; what it found until then is kept.
        together: it measures no times, and may run beside others.
    """

    run: Callable[[Rows, Places], None]
    seconds: int
    together: bool = False


FAMILIES = {
    "check-rnn": Family(partial(check, kinds=["RNN"]), 150, together=True),
    "check-gru": Family(partial(check, kinds=["GRU"]), 150, together=True),
    "check-lstm": Family(partial(check, kinds=["LSTM"]), 150, together=True),
    "micro": Family(micro, 30),
    "host": Family(host, 25),
    "lstm": Family(partial(layers, kind="LSTM"), 60),
    "gru": Family(partial(layers, kind="GRU"), 50),
    "rnn": Family(partial(layers, kind="RNN"), 45),
    "cells": Family(cells, 90),
    "job": Family(job, 60),
    "loops": Family(loops, 25),
    "optimisers": Family(optimisers, 25),
    "latency": Family(latency, 30),
    "tilings": Family(tilings, 60),
}
"""In the order in which they run: what may run together, then what is most wanted first."""
