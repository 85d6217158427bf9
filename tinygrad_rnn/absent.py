"""What a module says of a name that it does not have: the nearest ones, or what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["absent"]

OUT_OF_SCOPE = {
    "conv": "convolutions are outside the scope of this package, which is about recurrent networks",
    "pool": "pooling is outside the scope of this package, which is about recurrent networks",
    "batchnorm": "batch normalisation is outside the scope of this package; LayerNorm and RMSNorm are here",
    "batch_norm": "batch normalisation is outside the scope of this package; layer_norm and rms_norm are here",
    "transformer": "transformers are outside the scope of this package; RNN, LSTM and GRU are here",
    "attention": "attention is composed where it is needed: softmax(scores, dim=-1) @ values",
}
"""Of names that contain the word."""

MANY = 90
"""Longer lists than this help nobody."""


def absent(module: str, names: Sequence[str], hints: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: raises AttributeError with a hint.

    Args:
        module: its name.
        names: what it has.
        hints: what to say of certain names.

    >>> absent("nn", ["LSTM", "LSTMCell", "GRU"])("LSTMcell")
    Traceback (most recent call last):
        ...
    AttributeError: module 'nn' has no attribute 'LSTMcell': did you mean LSTMCell or LSTM?
    """

    def refuse(name: str) -> Any:
        hint = (hints or {}).get(name)
        if hint is None and not name.startswith("_"):
            import difflib  # not wanted where no mistake is made

            close = difflib.get_close_matches(name, names, n=3)
            if close:
                hint = f"did you mean {' or '.join(close)}?"
            else:
                words = (text for word, text in OUT_OF_SCOPE.items() if word in name.lower())
                hint = next(words, _all(names))
        raise AttributeError(f"module '{module}' has no attribute '{name}'" + (f": {hint}" if hint else ""))

    return refuse


def _all(names: Sequence[str]) -> str:
    if len(names) > MANY:
        return "it is outside the scope of this package"
    return f"the names here are {', '.join(sorted(names))}"
