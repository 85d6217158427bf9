"""What is held for the backward pass: by a node, and by all records of a tape."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ...backend import is_array
from ...typing import Array
from ..node import Leaf, Node
from ..tensor import Tensor
from .pictures import html_of
from .records import Record
from .text_table import table

__all__ = ["MemoryReport", "saved_arrays"]


class MemoryReport:
    """Which record keeps how many bytes alive for the backward pass.

    Attributes:
        total: bytes, each array counted once.
        by_record: pairs of record and bytes, the largest first.
    """

    def __init__(self, records: list[Record]) -> None:
        seen: set[int] = set()
        self.by_record: list[tuple[Record, int]] = []
        for record in records:
            size = 0
            for array in [] if record.node is None else saved_arrays(record.node):
                owner = array if array.base is None else array.base
                if id(owner) not in seen:
                    seen.add(id(owner))
                    size += array.nbytes
            if size:
                self.by_record.append((record, size))
        self.by_record.sort(key=lambda pair: -pair[1])
        self.total = sum(size for _, size in self.by_record)

    def __str__(self) -> str:
        rows = [(f"{size}", repr(record)) for record, size in self.by_record]
        return table(("bytes", "held by"), [*rows, (f"{self.total}", "in all")], right=(0,))

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "memory", self)


def saved_arrays(node: Node) -> list[Array]:
    """The raw arrays that a node keeps for its vjps."""
    kept: list[Array] = []
    met: set[int] = set()  # what a custom function keeps may refer to itself
    pending: list[Any] = [node.ans, *(node.args or ())]
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor) or is_array(value):
            kept.append(value._data if isinstance(value, Tensor) else value)
        elif not isinstance(value, (Node, Leaf, ModuleType)) and not callable(value) and id(value) not in met:
            met.add(id(value))
            if isinstance(value, (tuple, list)):
                pending.extend(value)
            elif isinstance(value, dict) or hasattr(value, "__dict__"):
                pending.extend((value if isinstance(value, dict) else vars(value)).values())
    return kept
