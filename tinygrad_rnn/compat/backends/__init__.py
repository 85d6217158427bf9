"""Computing backends, as scripts query them to choose a device or to make results repeatable.

NumPy computes on the CPU, CuPy on the GPU.  There is no cuDNN and no Apple GPU: their ``is_available`` gives False.

>>> import tinygrad_rnn as tg
>>> tg.backends.mps.is_available(), tg.backends.cudnn.is_available()
(False, False)
"""

from __future__ import annotations

from . import cudnn, mps, recurrent

__all__ = ["cudnn", "mps", "recurrent"]
