"""cuDNN is not used.  Its two switches can be set, as scripts do, and say what holds here in any case.

Nothing is chosen by timing it (``benchmark``), and no recurrent kernel here adds in an order that changes from run to
run (``deterministic``).  On a GPU the gradients of indexing and embeddings do, unless
``tg.use_deterministic_algorithms(True)``; on the CPU the same seed on the same machine gives the same numbers.
"""

from __future__ import annotations

__all__ = ["benchmark", "deterministic", "enabled", "is_available", "version"]

enabled = False
benchmark = False
deterministic = True


def is_available() -> bool:
    """False: recurrent layers have kernels of their own."""
    return False


def version() -> None:
    """None, for there is no cuDNN."""
