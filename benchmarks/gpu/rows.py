"""What a family found: rows of numbers by key, saved whenever one comes."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Rows"]


class Rows:
    """The rows of one family.

    Args:
        path: a JSON file, written anew with every row; None keeps them in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._path = path
        self._start = time.perf_counter()

    def add(self, key: str, **values: Any) -> None:
        """Put numbers, or a note, into a row; shown and saved at once."""
        self.found.setdefault(key, {}).update(values)
        shown = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                          for name, value in values.items())  # fmt: skip
        print(f"[{time.perf_counter() - self._start:6.1f} s] {key}: {shown}", flush=True)
        if self._path is not None:
            beside = self._path.with_suffix(".tmp")
            beside.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
            os.replace(beside, self._path)

    def attempt(self, key: str, job: Callable[[], object]) -> None:
        """Do ``job``; what it raises becomes a note of the row, and the next one has its turn."""
        try:
            job()
        except Exception as error:
            traceback.print_exc()
            first = (str(error).strip().splitlines() or [""])[0]
            self.add(key, failed=f"{type(error).__name__}: {first}"[:200])
