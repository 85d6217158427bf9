"""The GPU as PyTorch's scripts ask for it: is there one, how many, wait for it, seed it, what does it hold.

>>> import tinygrad_rnn as tg
>>> device = tg.device("cuda" if tg.cuda.is_available() else "cpu")

All answers come from CuPy; without it, or without a device that answers, there is no GPU, and
``tinygrad_rnn.backend.gpu.cupy_access.unavailable_reason()`` says why.

    devices.py    which GPUs there are, which is current, what they can do
    memory.py     what arrays hold of their memory
    streams.py    streams and events
    seeds.py      the random numbers: one stream, the host's
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
    """What is raised when the GPU has no memory left: CuPy's error; MemoryError where there is no CuPy."""
    return memory.out_of_memory_error()
