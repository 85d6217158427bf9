"""Deterministic algorithms: results that are bitwise the same from run to run, at the price of time.

On the CPU they always are.  On a GPU, the gradients of indexing and of embeddings add several values into one place in
the order in which threads happen to arrive, unless deterministic algorithms are switched on here.
"""

from __future__ import annotations

from ..errors import ArgumentError, ArgumentTypeError

__all__ = ["are_deterministic_algorithms_enabled", "get_deterministic_debug_mode"]
__all__ += ["is_deterministic_algorithms_warn_only_enabled", "set_deterministic_debug_mode"]
__all__ += ["use_deterministic_algorithms"]

MODES = ("default", "warn", "error")


class _Setting:
    mode = 0  # of MODES


_setting = _Setting()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Switch deterministic algorithms on or off.

    Every operation here has a deterministic form, so there is nothing to warn about.

    Args:
        mode: on or off.
        warn_only: accepted for PyTorch's signature; there is no operation that would warn or raise.

    >>> use_deterministic_algorithms(True)
    >>> are_deterministic_algorithms_enabled()
    True
    >>> use_deterministic_algorithms(False)
    """
    _setting.mode = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` switched them on.

    >>> import tinygrad_rnn as tg
    >>> tg.are_deterministic_algorithms_enabled()
    False
    """
    return _setting.mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether they are on with ``warn_only``.

    >>> import tinygrad_rnn as tg
    >>> tg.is_deterministic_algorithms_warn_only_enabled()
    False
    """
    return _setting.mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same switch as one of ``"default"``, ``"warn"`` and ``"error"``, or as 0, 1 or 2.

    Raises:
        ArgumentTypeError: neither a string nor a number. ArgumentError: an unknown mode.

    >>> import tinygrad_rnn as tg
    >>> tg.set_deterministic_debug_mode("error")
    >>> tg.are_deterministic_algorithms_enabled()
    True
    >>> tg.set_deterministic_debug_mode("default")
    """
    if not isinstance(debug_mode, (int, str)):
        raise ArgumentTypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (*MODES, 0, 1, 2):
        raise ArgumentError(
            f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, 0, 1 or 2, but got {debug_mode}"
        )
    _setting.mode = MODES.index(debug_mode) if isinstance(debug_mode, str) else int(debug_mode)


def get_deterministic_debug_mode() -> int:
    """0 (off), 1 (on, warn only) or 2 (on).

    >>> import tinygrad_rnn as tg
    >>> tg.get_deterministic_debug_mode()
    0
    """
    return _setting.mode
