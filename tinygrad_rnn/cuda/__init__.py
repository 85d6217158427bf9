"""CUDA devices, PyTorch-shaped: availability, properties, synchronisation, streams, seeds, memory.

>>> import tinygrad_rnn as tg
>>> device = tg.device("cuda" if tg.cuda.is_available() else "cpu")

All of it rests on CuPy.  Without CuPy, or without a device that works, there is no GPU, and
``tinygrad_rnn.backend.gpu.cupy_access.unavailable_reason()`` gives the reason.

    devices.py    the GPUs, the current one, their properties
    memory.py     memory in use, reserved and free
    streams.py    streams and events
    seeds.py      the random stream, which is the host's
"""

from __future__ import annotations

from typing import Any

from ..unknown_names import absent
from . import devices, memory, seeds, streams
from .devices import *  # noqa: F403
from .memory import *  # noqa: F403
from .seeds import *  # noqa: F403
from .streams import *  # noqa: F403

__all__ = devices.__all__ + memory.__all__ + seeds.__all__ + streams.__all__

_refuse = absent(__name__, __all__)


def __getattr__(name: str) -> Any:
    return out_of_memory_error() if name == "OutOfMemoryError" else _refuse(name)


def out_of_memory_error() -> type[BaseException]:
    """The exception of a GPU out of memory: CuPy's; MemoryError where there is no CuPy."""
    return memory.out_of_memory_error()
