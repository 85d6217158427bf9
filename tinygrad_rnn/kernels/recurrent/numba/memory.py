"""Tables whose rows lie well in the caches."""

from __future__ import annotations

from ....backend import aligned_empty
from ....backend.memory import CACHE_LINE
from ....typing import Array

__all__ = ["room"]


def room(rows: int, width: int, like: Array) -> Array:
    """An array (rows, width or more), not filled.

    It has a cache line more in each row if rows would begin a multiple of 1 KiB apart, for those share places in the
    caches.
    """
    size = like.itemsize
    return aligned_empty((rows, width + (CACHE_LINE // size if width * size % 1024 == 0 else 0)), like)
