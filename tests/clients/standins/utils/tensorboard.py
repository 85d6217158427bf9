"""TensorBoard's writer, as far as a script under test calls it: it keeps nothing."""

from __future__ import annotations

from typing import Any


class SummaryWriter:
    """Takes what it is given and drops it."""

    def __init__(self, log_dir: Any = None, *args: Any, **kwargs: Any) -> None:
        self.log_dir = log_dir

    def add_scalar(self, tag: str, scalar_value: float, global_step: int | None = None, *args: Any) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
