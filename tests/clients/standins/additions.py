"""Names inside modules of ours that scripts under test mention, and that are out of scope: classes to stand there.

They can be subclassed and listed, as ``model.py`` and ``generate.py`` of PyTorch's word_language_model do with
transformers when they train an LSTM; making one raises.
"""

from __future__ import annotations

import types
from typing import Any


def add(torch: Any) -> None:
    """Put them there."""
    nn = torch.nn

    def absent(name: str) -> type:
        def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(f"{name} is out of scope: only its name stands here")

        return type(name, (nn.Module,), {"__init__": refuse})

    outside = ("MultiheadAttention", "NonDynamicallyQuantizableLinear")
    outside += ("Transformer", "TransformerEncoder", "TransformerEncoderLayer")
    classes = {name: absent(name) for name in outside}
    nn.Transformer = classes["Transformer"]
    files = ("activation", "container", "dropout", "linear", "loss", "module", "normalization", "rnn", "sparse")
    inside = {name: value for name, value in vars(nn).items() if isinstance(value, type)}
    every = types.SimpleNamespace(**{**classes, **inside})
    nn.modules = types.SimpleNamespace(**dict.fromkeys((*files, "transformer"), every), **vars(every))
