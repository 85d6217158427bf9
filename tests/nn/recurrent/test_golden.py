"""Layers and cells against numbers that PyTorch computed (tests/golden/make_recurrent.py), from the seed on."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.golden import packed, recurrent_cases

GOLDEN = packed.read(pathlib.Path(__file__).parents[2] / "golden" / "recurrent.npz")

TOLERANCE = 1e-10
"""A hundred or so roundings of float64 on values of order 1 leave 1e-14; the rest is margin for other BLAS."""


def same(got: dict[str, np.ndarray], group: str) -> None:
    expected = {key.removeprefix(group): array for key, array in GOLDEN.items() if key.startswith(group)}
    assert list(got) == list(expected)
    for key, array in expected.items():
        assert got[key].shape == array.shape, key
        np.testing.assert_allclose(got[key], array, rtol=TOLERANCE, atol=TOLERANCE, err_msg=key)
    assert max(np.abs(array).max() for array in expected.values()) > 0.1


@pytest.mark.parametrize("impl", ["fused", "composed"])
@pytest.mark.parametrize("name", recurrent_cases.LAYERS)
def test_layer_gives_pytorchs_numbers_from_the_same_seed(name: str, impl: str) -> None:
    same(recurrent_cases.run_layer(tg, recurrent_cases.LAYERS[name], "float64", impl=impl), f"layer/{name}/")


@pytest.mark.parametrize("name", recurrent_cases.CELLS)
def test_cell_gives_pytorchs_numbers_from_the_same_seed(name: str) -> None:
    same(recurrent_cases.run_cell(tg, recurrent_cases.CELLS[name], "float64"), f"cell/{name}/")
