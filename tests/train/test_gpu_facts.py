"""What the doctor tells of a GPU, on the double and where there is one."""

from __future__ import annotations

from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.support import arrays
from tinygrad_rnn.train.doctor import gpu_facts


def test_the_gpu_its_versions_and_its_kernels_are_told(device_xp: Any) -> None:
    told = dict(gpu_facts())
    first = told.get("GPU") or told["GPU 0"]
    assert first.startswith(f"{tg.cuda.get_device_name(0)}, compute capability ") and "GB free" in first
    assert "driver for 1" in told["CUDA"] and f"CuPy {device_xp.__version__}" in told["CUDA"]
    assert "compute capability" in told["recurrent layers on the GPU"]


def test_several_gpus_have_numbers(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.fakecuda.DEVICES", 2)
    assert [what for what, _ in gpu_facts()][:2] == ["GPU 0", "GPU 1"]


def test_without_a_gpu_the_reason_is_told() -> None:
    reason = arrays.no_gpu_reason()
    if reason is None:
        pytest.skip("there is a GPU")
    assert list(gpu_facts()) == [("GPU", f"not usable: {reason}")]
