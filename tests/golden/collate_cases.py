"""Batches for default_collate and default_convert, written once for PyTorch and for this package."""

from __future__ import annotations

from collections import OrderedDict, UserList, defaultdict, namedtuple
from typing import Any

import numpy as np

Point = namedtuple("Point", ["x", "y"])


class Frozen(dict):  # type: ignore[type-arg]
    """A mapping that cannot be copied and filled."""

    def update(self, *args: Any) -> None:
        raise TypeError("frozen")


def samples(lib: Any) -> list[list[Any]]:
    """Batches for default_collate."""
    return [
        [lib.tensor([1.0, 2.0]), lib.tensor([3.0, 4.0])],
        [lib.tensor(1), lib.tensor(2)],
        [np.array([1, 2], "int16"), np.array([3, 4], "int16")],
        [np.float32(1), np.float32(2)],
        [np.float64(1), np.float64(2)],
        [np.int64(1), np.int64(2)],
        [np.bool_(True), np.bool_(False)],
        [1.5, 2.5],
        [1, 2],
        [True, False],
        ["a", "b"],
        [b"a", b"b"],
        [(1, "a"), (2, "b")],
        [[1, 2.0], [3, 4.0]],
        [{"x": 1, "y": [1.0, 2.0]}, {"x": 2, "y": [3.0, 4.0]}],
        [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
        [defaultdict(int, a=1), defaultdict(int, a=2)],
        [Frozen(a=1), Frozen(a=2)],
        [Point(1, [2.0]), Point(3, [4.0])],
        [UserList([1, 2]), UserList([3, 4])],
        [(lib.tensor([1.0]), 3, "x", {"k": (1, 2.0)}), (lib.tensor([2.0]), 4, "y", {"k": (3, 4.0)})],
        [range(3), range(3)],
    ]


def described(x: Any) -> Any:
    """Types, dtypes and values, without saying whose tensor it is."""
    if hasattr(x, "detach"):
        return ["tensor", str(x.numpy().dtype), x.tolist()]
    if isinstance(x, dict):
        return [type(x).__name__, [[k, described(v)] for k, v in x.items()]]
    if isinstance(x, (list, tuple, UserList)):
        return [type(x).__name__, [described(v) for v in x]]
    return [type(x).__name__, repr(x)]


def everything(lib: Any) -> dict[str, Any]:
    names = ("default_collate", "default_convert")
    return {name: [described(getattr(lib.utils.data, name)(batch)) for batch in samples(lib)] for name in names}
