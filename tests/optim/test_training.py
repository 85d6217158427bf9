"""A whole training run, from one seed, gives PyTorch's losses and gradient norms, update by update."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import training_cases as cases

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "training.json").read_text())


@pytest.mark.parametrize("kind", cases.OPTIMIZERS)
def test_losses_and_norms_are_those_of_pytorch(kind: str) -> None:
    ours, theirs = np.array(cases.losses(tg, kind)), np.array(GOLDEN[kind])
    # float64 throughout; products sum in another order, and training carries that along for sixty updates
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert theirs[:, 1].max() > 0.5 > theirs[:, 1].min()  # some gradients were clipped, some not
    assert theirs[-5:, 0].mean() < theirs[:5, 0].mean() / 2  # and it learned
