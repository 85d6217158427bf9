"""What computes: asked by scripts that choose a device or want results to repeat.

NumPy computes on the CPU and CuPy on the GPU; there is no cuDNN and no Apple GPU, and their ``is_available`` says so.

>>> import tinygrad_rnn as tg
>>> tg.backends.mps.is_available(), tg.backends.cudnn.is_available()
(False, False)
"""

from __future__ import annotations

from . import cudnn, mps, recurrent

__all__ = ["cudnn", "mps", "recurrent"]
