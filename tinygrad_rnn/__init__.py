"""tinygrad_rnn: a tape-based autodiff engine on NumPy and CuPy, with recurrent layers, to see, trust and run."""

from __future__ import annotations

import numpy as np

from .backend import Device as device
from .ops import *
from .tape.modes import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .tape.tensor import Size, Tensor

float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
