"""Which tensors share memory, and that they know it."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.cases import CASES, Case, evaluate, flat


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_that_share_memory_share_its_clock(case: Case) -> None:
    """Else a write to one could not be seen by a node that saved the other."""
    inputs = [tg.tensor(array) for array in case.inputs()]
    results = [y for y in flat(evaluate(tg, case, inputs)) if isinstance(y, tg.Tensor)]
    tensors = inputs + results
    for k, y in enumerate(tensors):
        for x in tensors[:k]:
            if x is not y and np.shares_memory(x._data, y._data):
                assert x._clock is not None and x._clock is y._clock
