"""Seeds and states of the GPU's random stream, which is the host's.

Random numbers are drawn on the host and moved, so that a GPU gets the numbers of the CPU.  There is one stream, and
``tg.manual_seed`` seeds it.  Scripts also seed the GPU, and save and restore its state beside the host's; neither may
restart the host's stream.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ..backend import Device
from ..backend.random import generator

__all__ = ["get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all"]
__all__ += ["set_rng_state", "set_rng_state_all"]


def manual_seed(seed: int) -> None:
    """Nothing to seed: numbers for the GPU come from the stream that ``tg.manual_seed`` seeds.

    Scripts call it after ``manual_seed``, with or without a GPU, and it must not restart the host's stream.

    >>> import tinygrad_rnn as tg
    >>> tg.cuda.manual_seed(0)  # also before a GPU is used, and without one
    """
    # Only to refuse what is no integer, as PyTorch does.
    operator.index(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Nothing to seed, as in :func:`manual_seed`.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.seed()
    """


seed_all = seed


def initial_seed() -> int:
    """The seed of the one stream.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.manual_seed(7)
    ...     assert tg.cuda.initial_seed() == 7
    """
    return generator.initial_seed()


def get_rng_state(device: Device | str | int = "cuda") -> Any:
    """The state of the one stream: (5056,) uint8.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_rng_state(tg.cuda.get_rng_state())
    """
    return generator.get_rng_state()


def get_rng_state_all() -> list[Any]:
    """The state of the one stream, in a list.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_rng_state_all(tg.cuda.get_rng_state_all())
    """
    return [generator.get_rng_state()]


def set_rng_state(new_state: Any, device: Device | str | int = "cuda") -> None:
    """Set the one stream to a state of :func:`get_rng_state`.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_rng_state(tg.cuda.get_rng_state())
    """
    generator.set_rng_state(new_state)


def set_rng_state_all(new_states: Sequence[Any]) -> None:
    """As :func:`set_rng_state`, from a list.

    >>> import tinygrad_rnn as tg
    >>> if tg.cuda.is_available():
    ...     tg.cuda.set_rng_state_all(tg.cuda.get_rng_state_all())
    """
    for state in new_states:
        generator.set_rng_state(state)
