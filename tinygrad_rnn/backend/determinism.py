"""Whether results must be the same bits from run to run, at the price of time.

On the CPU they always are.  On a GPU, gradients that add several values into one place (of indexing, of embeddings)
add them in the order in which threads happen to arrive, unless it is asked here that they do not.
"""

from __future__ import annotations

from ..errors import ArgumentError, ArgumentTypeError

__all__ = ["are_deterministic_algorithms_enabled", "get_deterministic_debug_mode"]
__all__ += ["is_deterministic_algorithms_warn_only_enabled", "set_deterministic_debug_mode"]
__all__ += ["use_deterministic_algorithms"]

MODES = ("default", "warn", "error")


class _Wish:
    mode = 0  # of MODES


_wish = _Wish()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask that everything gives the same bits from run to run, or no longer.

    Every operation here has a form that does, so there is nothing to warn of.

    Args:
        mode: whether to ask for it.
        warn_only: accepted for PyTorch's sake; an operation without such a form would warn instead of raising.

    >>> use_deterministic_algorithms(True)
    >>> are_deterministic_algorithms_enabled()
    True
    >>> use_deterministic_algorithms(False)
    """
    _wish.mode = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` asked for it."""
    return _wish.mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it was asked with ``warn_only``."""
    return _wish.mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same wish as one of ``"default"``, ``"warn"`` and ``"error"``, or as 0, 1 or 2.

    Raises:
        ArgumentTypeError: neither a string nor a number. ArgumentError: another one.
    """
    if not isinstance(debug_mode, (int, str)):
        raise ArgumentTypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (*MODES, 0, 1, 2):
        raise ArgumentError(
            f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, 0, 1 or 2, but got {debug_mode}"
        )
    _wish.mode = MODES.index(debug_mode) if isinstance(debug_mode, str) else int(debug_mode)


def get_deterministic_debug_mode() -> int:
    """The wish as 0 (not asked), 1 (warn only) or 2."""
    return _wish.mode
