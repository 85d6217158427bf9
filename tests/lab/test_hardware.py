"""Item 43 where there is a GPU, or CuPy's strict double: the same curves there, and a verdict without a condition."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn import lab
from tinygrad_rnn.lab.items import i43_faster_hardware as item


def test_a_gpu_has_the_same_gradients(device_xp: Any) -> None:
    found = lab.run(43)
    assert found.passed and found.verdict == "holds", str(found)
    assert "CuPy" in found.numbers["compared"] and "CuPy" not in found.numbers["not run"]
    for layer in ("RNN", "LSTM"):
        here, there = found.arrays[f"{layer}, NumPy"], found.arrays[f"{layer}, CuPy"]
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-4)
        assert len(there) == 61 and here[0] - here[-1] > 1
    assert not item.speed_for_precision().check("machines agree, outputs and gradients").passed


def test_where_there_is_none_the_verdict_says_so(monkeypatch: Any) -> None:
    monkeypatch.setattr(item, "MACHINES", {**item.MACHINES, "CuPy": ("auto", "fused", "cuda:99")})
    found = lab.run(43)
    assert found.passed and found.verdict == "holds if" and found.because.startswith("a GPU computes the same")
    assert found.numbers["not run"] == "CuPy"


def test_rounding_to_ten_bits_keeps_ten_bits() -> None:
    a = np.array([1.0, 1 + 2**-10, 1 + 2**-12, -3.0, 0.0, 1e-20], np.float32)
    np.testing.assert_array_equal(item.coarse(a)[:5], np.array([1.0, 1 + 2**-10, 1.0, -3.0, 0.0], np.float32))
    np.testing.assert_allclose(item.coarse(a)[5], a[5], rtol=2**-11)
    assert item.coarse(a)[5] != a[5]
