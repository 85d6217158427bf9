"""The classic tasks of long-term dependencies, as generators: vectorised, each with its baseline and its criterion.

Every function here gives a :class:`Task`; ``task.batch(rng, sequences)`` draws from it with NumPy's generator.
Sentences and pictures are in :mod:`.language` and :mod:`.pictures`.

>>> import numpy as np
>>> from tinygrad_rnn.lab import tasks
>>> task = tasks.adding(100)
>>> batch = task.batch(np.random.default_rng(0), 32)
>>> batch.inputs.shape, batch.targets.shape, round(task.baseline, 4)
((110, 32, 2), (32, 1), 0.0392)
>>> outputs = np.full((110, 32, 1), 0.5)                                     # always the mean
>>> bool(task.wrong(batch.answers(outputs), batch).mean() > 0.5)
True
"""

from .grammars import continual_reber, embedded_reber, reber
from .lag import blocks, noise_free_lag
from .marked import adding, multiplication
from .memory import copying, memorisation
from .noisy import latch, parity, two_sequence
from .order import temporal_order
from .task import Batch, Task

__all__ = ["Batch", "Task", "adding", "blocks", "continual_reber", "copying", "embedded_reber", "latch"]
__all__ += ["memorisation", "multiplication", "noise_free_lag", "parity", "reber", "temporal_order", "two_sequence"]
