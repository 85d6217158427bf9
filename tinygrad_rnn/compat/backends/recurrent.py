"""The choice of kernels for the fused recurrent layers.

It is automatic: CUDA's on a GPU; on the CPU those compiled by Numba, where it is installed and the size favours them;
NumPy's otherwise.  ``only`` chooses others for a test or a comparison, and so does the environment variable
``TINYGRAD_RNN_KERNELS`` (numpy, numba or cuda).

>>> import tinygrad_rnn as tg
>>> with tg.backends.recurrent.only("numpy"):
...     y, h = tg.nn.GRU(2, 3)(tg.zeros(5, 1, 2))
"""

from __future__ import annotations

from ...kernels.recurrent.dispatch import KERNELS, only
from ...ops.recurrent.sequence import reasons

__all__ = ["KERNELS", "only", "reasons"]
