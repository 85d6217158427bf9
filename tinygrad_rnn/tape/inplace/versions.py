"""When memory was written, and where: how a saved value is known to be stale.

One counter numbers recorded operations and writes in place alike.  Memory has a clock, shared by a tensor, its
detached twins and its views, and each write leaves its stamp there, with the place that was written.  A value that
a node saved is stale exactly if a later stamp belongs to a write to the memory of that very value: so

    outputs[t] = f(outputs[t - 1])

is no error, though all steps share one memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...backend import array_module, on_gpu
from ...typing import Array

if TYPE_CHECKING:
    import weakref

    from ..tensor import Tensor

__all__ = ["Clock", "Write", "now", "overlap", "stamp_write", "touch", "writes"]

now: Callable[[], int] = itertools.count(1).__next__
"""The next tick of the one counter, for nodes and writes alike."""


class Writes:
    """When any tensor was last written in place: nodes recorded later than ``latest`` need no check."""

    latest = 0


writes = Writes()

shares_memory: Any = np.shares_memory  # some releases of NumPy type its max_work too narrowly

MOST = 1 << 15
"""Of how many places the last write is remembered; beyond it a value may be called stale that is not."""


class Write(NamedTuple):
    """One write: when, which version of the memory it made, to which entries (None: all), by what."""

    stamp: int
    version: int
    place: Array | None
    writer: str


_write: Any = tuple.__new__  # a third of the time of Write(...)


class Clock:
    """The writes in place to a piece of memory.  A tensor and its views share one."""

    # Class attributes until the first write: most clocks are made with a tensor and never written.
    stamp = 0
    count = 0
    views: dict[weakref.ref[Tensor], None] | None = None  # in order of creation; the dead strike themselves out
    _log: list[Write] | None = None  # what still matters of the writes, in order
    _limit = 128
    _reach: tuple[int, list[int], list[int]] = (0, [], [])

    def first_overwrite(self, value: Array | None, index: int) -> Write | None:
        """A write after tick ``index`` to the memory of ``value`` (None: to any)."""
        log = self._log or []
        later = _after(log, index)
        if value is None:
            return log[later]
        if isinstance(value, np.ndarray) and log[later].place is not None:
            low, high = _bounds(value)
            lowest, highest = self._reaches()
            if high <= lowest[later] or low >= highest[later]:
                return None  # as in a loop over time: all that came later lies on one side
        return next((write for write in log[later:] if write.place is None or shared(value, write.place)), None)

    def version_at(self, index: int) -> int | None:
        """How many writes there had been at tick ``index``; None if that is forgotten."""
        log = self._log or []
        later = _after(log, index)
        if later:
            return log[later - 1].version
        return 0 if log and log[0].version == 1 else None

    def _reaches(self) -> tuple[list[int], list[int]]:
        """For each write, the lowest and the highest address of all writes from it on."""
        if self._reach[0] != self.stamp:
            lowest: list[int] = []
            highest: list[int] = []
            for write in reversed(self._log or []):
                low, high = (0, 1 << 64) if write.place is None else _bounds(write.place)
                lowest.append(min(low, lowest[-1]) if lowest else low)
                highest.append(max(high, highest[-1]) if highest else high)
            self._reach = self.stamp, lowest[::-1], highest[::-1]
        return self._reach[1:]


def _after(log: list[Write], index: int) -> int:
    """Where the writes later than tick ``index`` begin."""
    from bisect import bisect_right  # not wanted where nothing is written in place

    return bisect_right(log, index, key=lambda write: write.stamp)


def stamp_write(clock: Clock, place: Array | None = None, writer: str = "") -> None:
    """Note that the memory behind ``clock`` was written just now: at ``place`` (None: all over), by what."""
    clock.stamp = writes.latest = stamp = now()
    clock.count += 1
    if place is not None and place.base is None:
        place = None  # it owns the memory: this is all of it
    write = _write(Write, (stamp, clock.count, place, writer))
    log = clock._log
    if log is None:
        log = clock._log = []
    log.append(write)
    if len(log) > clock._limit:
        _shorten(clock)


def touch(tensors: Iterable[Tensor]) -> None:
    """Declare that the memory of all ``tensors`` was just written in place."""
    for t in tensors:
        stamp_write(t._clock or t._own_clock(), t._data)


def _shorten(clock: Clock) -> None:
    """Keep the last write to each place; if there are too many, call the older half one write to all of them."""
    kept = sorted({_key(write.place): write for write in clock._log or []}.values())
    everywhere = max((k for k, write in enumerate(kept) if write.place is None), default=0)
    kept = kept[everywhere:]
    if len(kept) > MOST:
        half = len(kept) // 2
        kept = [kept[half]._replace(place=None), *kept[half + 1 :]]
    clock._log = kept
    clock._limit = max(128, 2 * len(kept))


def _key(place: Array | None) -> object:
    return None if place is None else (_address(place), place.shape, place.strides)


def _address(a: Array) -> int:
    return int(a.data.ptr) if on_gpu(a) else int(a.__array_interface__["data"][0])


def _bounds(a: Array) -> tuple[int, int]:
    """The addresses between which the entries lie."""
    low = high = _address(a)
    if a.size == 0:
        return low, low
    for step, length in zip(a.strides, a.shape, strict=True):
        if step < 0:
            low += step * (length - 1)
        else:
            high += step * (length - 1)
    return low, high + a.itemsize


def overlap(x: Array, y: Array) -> bool:
    """Whether the memory of one array begins inside that of the other: False is certain, True is not."""
    return bool(array_module(x).may_share_memory(x, y))


def shared(x: Array, y: Array) -> bool:
    """Whether two arrays have an entry in common; True if that is too hard to find out."""
    if not overlap(x, y):
        return False
    if on_gpu(x):
        return True
    try:
        return bool(shares_memory(x, y, max_work=10_000))
    except np.exceptions.TooHardError:
        return True
