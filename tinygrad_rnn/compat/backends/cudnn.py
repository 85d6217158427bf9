"""Switches of cuDNN, which is not used: scripts may set them, without effect.

Their values describe what holds here in any case.  No kernel is chosen by timing it (``benchmark``), and no recurrent
kernel adds in an order that changes from run to run (``deterministic``).  On a GPU the gradients of indexing and
embeddings do, unless ``tg.use_deterministic_algorithms(True)``; on the CPU the same seed on the same machine gives the
same numbers.
"""

from __future__ import annotations

__all__ = ["benchmark", "deterministic", "enabled", "is_available", "version"]

enabled = False
benchmark = False
deterministic = True


def is_available() -> bool:
    """False: recurrent layers use the kernels of this package."""
    return False


def version() -> None:
    """None: there is no cuDNN."""
