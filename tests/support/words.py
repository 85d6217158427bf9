"""What a function promises to whoever reads ``help``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["signature"]


def signature(f: Callable[..., Any]) -> str:
    """The arguments of a function, without their types, and what is left out stands for; without the first bracket."""
    given = inspect.signature(f)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in given.parameters.values()]
    return str(inspect.Signature(bare))[1:]
