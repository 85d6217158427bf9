"""Where a module keeps its hooks: by number, in order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..tape.hooks import RemovableHandle

__all__ = ["HookTable", "RemovableHandle"]

HookTable = OrderedDict[int, Callable[..., Any]]
