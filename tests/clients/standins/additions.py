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

    nn.Transformer = absent("Transformer")
    nn.modules.activation.MultiheadAttention = absent("MultiheadAttention")
    nn.modules.linear.NonDynamicallyQuantizableLinear = absent("NonDynamicallyQuantizableLinear")
    names = ("TransformerEncoder", "TransformerEncoderLayer")
    nn.modules.transformer = types.SimpleNamespace(**{name: absent(name) for name in names})
