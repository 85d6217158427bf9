"""Versions of memory: when it was written, and where; how a saved value is known to be stale.

One counter numbers recorded operations and writes in place alike.  Memory has a version counter, shared by a tensor,
its detached twins and its views, and each write leaves its stamp there, with the place that was written.  A value that
a node saved is stale exactly if a later stamp belongs to a write to the memory of that very value: so

    outputs[t] = f(outputs[t - 1])

is no error, though all steps share one memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ...backend import array_module, is_array, on_gpu, tensor_type
from ...errors import InplaceError
from ...typing import Array
from ..node import Leaf, Node, VersionCounter, last_write, now
from ..tensor import Tensor

__all__ = ["Write", "overlap", "stamp_write", "touch"]

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


class Log(list[Write]):
    """The writes to a piece of memory, in order, as far as they still matter."""

    __slots__ = ("limit", "reach")

    def __init__(self) -> None:
        self.limit = 128
        self.reach: tuple[int, list[int], list[int]] = (0, [], [])

    def later(self, index: int) -> int:
        """Where the writes later than tick ``index`` begin."""
        return bisect_right(self, index, key=lambda write: write.stamp)

    def first_overwrite(self, value: Array | None, index: int) -> Write | None:
        """A write after tick ``index`` to the memory of ``value`` (None: to any)."""
        later = self.later(index)
        if value is None:
            return self[later]
        if isinstance(value, np.ndarray) and self[later].place is not None:
            low, high = _bounds(value)
            lowest, highest = self._reaches()
            if high <= lowest[later] or low >= highest[later]:
                return None  # as in a loop over time: all that came later is on one side
        return next((write for write in self[later:] if write.place is None or shared(value, write.place)), None)

    def version_at(self, index: int) -> int | None:
        """How many writes there had been at tick ``index``; None if that is forgotten."""
        later = self.later(index)
        if later:
            return self[later - 1].version
        return 0 if self and self[0].version == 1 else None

    def _reaches(self) -> tuple[list[int], list[int]]:
        """For each write, the lowest and the highest address of all writes from it on."""
        last = self[-1].stamp
        if self.reach[0] != last:  # once after each write: a sweep asks for every saved value
            lowest: list[int] = []
            highest: list[int] = []
            for write in reversed(self):  # so that one comparison clears a value of all writes from some tick on
                low, high = (0, 1 << 64) if write.place is None else _bounds(write.place)
                lowest.append(min(low, lowest[-1]) if lowest else low)
                highest.append(max(high, highest[-1]) if highest else high)
            self.reach = last, lowest[::-1], highest[::-1]
        return self.reach[1:]

    def shorten(self) -> None:
        """Keep the last write to each place; if there are too many, call the older half one write to all of them."""
        kept = sorted({_key(write.place): write for write in self}.values())
        # a write to all of the memory makes those before it irrelevant
        everywhere = max((k for k, write in enumerate(kept) if write.place is None), default=0)
        kept = kept[everywhere:]
        if len(kept) > MOST:
            half = len(kept) // 2
            kept = [kept[half]._replace(place=None), *kept[half + 1 :]]
        self[:] = kept
        self.limit = max(128, 2 * len(kept))


def stamp_write(versions: VersionCounter, place: Array | None = None, writer: str = "") -> None:
    """Note that the memory behind ``versions`` was written just now: at ``place`` (None: all over), by what."""
    versions.stamp = last_write[0] = stamp = now()
    versions.count += 1
    if place is not None and place.base is None:
        place = None  # it owns the memory: this is all of it
    write = _write(Write, (stamp, versions.count, place, writer))
    log = versions.log
    if log is None:
        log = versions.log = Log()
    log.append(write)
    if len(log) > log.limit:
        log.shorten()


def touch(tensors: Iterable[Tensor]) -> None:
    """Declare that the memory of all ``tensors`` was just written in place."""
    for t in tensors:
        stamp_write(t._versions or t._own_versions(), t._data)


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
    if on_gpu(x):  # CuPy has no exact test
        return True
    try:
        return bool(shares_memory(x, y, max_work=10_000))
    except np.exceptions.TooHardError:  # the exact test is NP-hard; better an error too many than a wrong gradient
        return True


def check_saved(node: Node) -> None:
    """Raise if a saved value was written in place after it was saved.

    Raises:
        InplaceError: names the operation that saved the value.
    """
    for position, versions in enumerate(node.versions):
        if versions is not None and versions.stamp > node.index:
            write = versions.log.first_overwrite(_saved(node, position), node.index)
            if write is not None:
                raise InplaceError(_stale(node, position, versions, write))


def _saved(node: Node, position: int) -> Any:
    """The array of a version counter, first those of the arguments, then of the output; None if not at hand."""
    if position < len(node.parents):
        value = node.args and node.args[position]  # None once a sweep has freed them
    else:  # a fused primitive has its residual there
        value = node.ans if node.primitive.vjp_all is None else None
    return value if is_array(value) else None


def _stale(node: Node, position: int, versions: VersionCounter, write: Write) -> str:
    number = position - len(node.parents)  # first the arguments, then the outputs
    value: Any = node
    maker: Leaf | Node | None = node
    made, role = number, "its output"
    if number < 0:
        value, maker = (node if node.args is None else node.args[position]), node.parents[position]
        made = maker.params.get("number", 0) if isinstance(maker, Node) else 0
        role = f"its argument {position}"
    which = f", which is output {made} of {maker.name()}," if isinstance(maker, Node) else ""
    version = versions.log.version_at(node.index)
    expected = "an earlier version" if version is None else f"version {version}"
    where = f" at {node.info}" if node.info else ""
    return (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{tensor_type(value.dtype)} {list(value.shape)}]{which} is at version {versions.count}; expected {expected} "
        f"instead. Hint: {node.primitive.name} saved it ({role}) for its gradient{where}, and "
        f"{write.writer or 'an optimiser or the like'} wrote to it later. Write to a copy (x.clone()), use the "
        "out-of-place form, or call backward() first; autograd.detect_anomaly() shows the lines."
    )


def _touch(self: Tensor) -> None:
    """Declare that ``_data`` was just written in place."""
    stamp_write(self._own_versions(), self._data)


Node.check_saved = check_saved  # type: ignore[assignment]
Tensor._touch = _touch  # type: ignore[method-assign]
