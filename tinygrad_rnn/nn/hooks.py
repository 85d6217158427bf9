"""A hook's receipt: who registered it can take it back."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["HookTable", "RemovableHandle"]

HookTable = OrderedDict[int, Callable[..., Any]]
_ids = itertools.count()


class RemovableHandle:
    """Takes one hook out of the tables it was put in; used in ``with``, does so at the end.

    >>> table = OrderedDict()
    >>> handle = RemovableHandle(table)
    >>> table[handle.id] = print
    >>> handle.remove()
    >>> len(table)
    0
    """

    def __init__(self, *tables: Any) -> None:
        self.id = next(_ids)
        self._tables = [weakref.ref(table) for table in tables]

    def remove(self) -> None:
        """Take the hook out.  Doing so twice, or after the owner is gone, is no error."""
        for reference in self._tables:
            table = reference()
            if table is not None:
                table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
