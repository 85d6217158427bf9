"""Named tuples for functions that give several tensors, printed as PyTorch prints them."""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

__all__ = ["results"]


@functools.cache
def results(name: str, *fields: str) -> Any:
    """A named tuple class for the results of the function ``name``, made at its first use.

    Nine such classes would take 0.7 ms of every import of this package, and most programs use none.

    >>> results("max", "values", "indices")(3, 1)
    torch.return_types.max(
    values=3,
    indices=1)
    """
    base: Any = namedtuple(name, fields)  # type: ignore[misc]

    def show(self: Any) -> str:
        lines = [f"{field}={value!r}" for field, value in zip(fields, self, strict=True)]
        return f"torch.return_types.{name}(\n" + ",\n".join(lines) + ")"

    # a subclass, because namedtuple writes its own __repr__
    return type(name, (base,), {"__slots__": (), "__repr__": show, "__module__": __name__, "__doc__": base.__doc__})
