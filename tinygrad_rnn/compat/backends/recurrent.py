"""Which kernels compute the fused recurrent layers.

They are chosen by themselves: CUDA's on a GPU, those compiled by Numba on the CPU where Numba is installed and the
size favours them, NumPy's otherwise.  ``only`` chooses another for a test or a comparison; so does the environment
variable ``TINYGRAD_RNN_KERNELS`` (numpy, numba or cuda).

>>> import tinygrad_rnn as tg
>>> with tg.backends.recurrent.only("numpy"):
...     y, h = tg.nn.GRU(2, 3)(tg.zeros(5, 1, 2))
"""

from __future__ import annotations

from ...kernels.recurrent.dispatch import KERNELS, only, reasons

__all__ = ["KERNELS", "only", "reasons"]
