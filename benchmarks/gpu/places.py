"""Where a measurement runs, and in which sizes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import tinygrad_rnn as tg

__all__ = ["Places", "poison"]

Size = TypeVar("Size")


@dataclass(frozen=True)
class Places:
    """The devices of the two libraries, and how much is to be done.

    Attributes:
        ours, theirs: names of devices.
        dry: small sizes and few repetitions, to see that everything runs.
        quick: a part of the shapes.
    """

    ours: str = "cuda"
    theirs: str = "cuda"
    dry: bool = False
    quick: bool = False

    @classmethod
    def on(cls, dry: bool, quick: bool) -> Places:
        """The GPU, or the CPU for a dry run."""
        return cls("cpu", "cpu", True, quick) if dry else cls("cuda", "cuda", False, quick)

    def sizes(self, usual: Sequence[Size], quick: Sequence[Size], dry: Sequence[Size]) -> Sequence[Size]:
        """The shapes to measure."""
        return dry if self.dry else quick if self.quick else usual

    def torch(self) -> Any:
        """PyTorch in full float32, if it is installed and can compute on its device; None otherwise."""
        if importlib.util.find_spec("torch") is None:
            return None
        torch: Any = importlib.import_module("torch")
        if self.theirs == "cuda" and not torch.cuda.is_available():
            return None
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        return torch


def poison(device: str, floats: int = 1 << 28) -> None:
    """Fill the memory that the next arrays get with nan, so that an entry that nobody wrote is seen."""
    if device != "cpu":
        tg.cuda.empty_cache()
        tg.full((floats,), tg.nan, device=device)
