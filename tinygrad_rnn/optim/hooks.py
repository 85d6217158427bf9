"""A hook's receipt: who registered it can take it back."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["RemovableHandle"]

_ids = itertools.count()


class RemovableHandle:
    """Removes one hook from the table it was put in; also a context manager that does so at its end."""

    def __init__(self, table: OrderedDict[int, Callable[..., Any]]) -> None:
        self.id = next(_ids)
        self._table = weakref.ref(table)

    @classmethod
    def register(cls, table: OrderedDict[int, Callable[..., Any]], hook: Callable[..., Any]) -> RemovableHandle:
        """Put a hook at the end of a table."""
        handle = cls(table)
        table[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Take the hook out.  Doing so twice, or after the owner is gone, is no error."""
        table = self._table()
        if table is not None:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
