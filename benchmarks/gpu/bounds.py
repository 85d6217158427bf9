"""What a time step must take at least on a GPU, forward, in microseconds: three bounds, of which the largest counts.

With G gates (1, 3 or 4), H hidden units and N sequences, a step of the recurrence

* multiplies and adds G H^2 N times, on every float32 lane at every clock;
* reads w_hh, 4 G H^2 bytes, from the second-level cache, unless it is kept in registers: then this bound does not hold;
* reads the projected input and writes gates, h and c, 4 (2 G + 2) H N bytes, from and to memory.

Backward is about as much for the recurrence, and the products for the weights come on top of both.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GATES", "Machine", "bounds"]

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
CACHE = 5.5e12
"""Bytes per second out of the second-level cache of an H100 or H200; others are not far."""


@dataclass(frozen=True)
class Machine:
    """Multiplications per second with an addition each, and bytes per second of memory."""

    products: float = 33.4e12
    memory: float = 4.3e12

    @classmethod
    def of(cls, multiprocessors: int, megahertz: float, gigabytes: float | None) -> Machine:
        """128 lanes per multiprocessor; memory as measured, where it was."""
        return cls(multiprocessors * 128 * megahertz * 1e6, gigabytes * 1e9 if gigabytes else cls.memory)


def bounds(machine: Machine, kind: str, H: int, N: int) -> dict[str, float]:
    """Microseconds per step, forward, by what bounds it.

    >>> {name: round(us, 2) for name, us in bounds(Machine(), "LSTM", 256, 64).items()}
    {'arithmetic': 0.5, 'weights': 0.19, 'memory': 0.15}
    """
    gates = GATES[kind]
    return {
        "arithmetic": gates * H * H * N / machine.products * 1e6,
        "weights": 4 * gates * H * H / CACHE * 1e6,
        "memory": 4 * (2 * gates + 2) * H * N / machine.memory * 1e6,
    }
