"""The number of clusters that run at the same time, asked of a driver that is a stand-in."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import pytest

from tests.support.nvrtc import compile_cuda, needs_nvrtc
from tinygrad_rnn.backend.gpu import clusters
from tinygrad_rnn.backend.gpu.kernels import Gpu, KernelError
from tinygrad_rnn.kernels.recurrent.cuda.cells import CELLS
from tinygrad_rnn.kernels.recurrent.cuda.tilings import candidates, step_time

ADDRESS = 0x123456789ABC


def test_the_configuration_is_laid_out_as_in_cuda_h() -> None:
    config = clusters.LaunchConfig
    assert ctypes.sizeof(config) == 56
    offsets = {name: getattr(config, name).offset for name in ("gridx", "blockx", "shared", "stream", "attributes")}
    assert offsets == {"gridx": 0, "blockx": 12, "shared": 24, "stream": 32, "attributes": 40}
    assert config.count.offset == 48


@pytest.mark.parametrize(("status", "answer", "expected"), [(0, 13, 13), (0, 0, None), (1, 13, None)])
def test_the_driver_is_asked_once(status: int, answer: int, expected: int | None, monkeypatch: Any) -> None:
    asked = []

    def occupancy(found: Any, function: Any, config: Any) -> int:
        found._obj.value = answer
        asked.append((function.value, config._obj.gridx, config._obj.blockx, config._obj.shared))
        return status

    clusters._asked.cache_clear()
    monkeypatch.setattr(clusters, "_driver", lambda: occupancy)
    monkeypatch.setattr(clusters, "kernel", lambda *args: types.SimpleNamespace(address=ADDRESS))
    monkeypatch.setattr(clusters, "gpu", lambda: Gpu(0, 90, 132, 227 << 10))
    monkeypatch.setattr(clusters, "module", lambda: types.SimpleNamespace(RawModule=None))
    assert [clusters.clusters_at_once(8), clusters.clusters_at_once(8)] == [expected] * 2
    assert asked == [(ADDRESS, 8, 256, 120 << 10)]
    clusters._asked.cache_clear()


def test_without_an_answer_there_is_none(monkeypatch: Any) -> None:
    def fails(*args: Any) -> Any:
        raise KernelError("no")

    monkeypatch.setattr(clusters, "kernel", fails)
    monkeypatch.setattr(clusters, "_driver", lambda: pytest.fail("nobody should be asked"))
    assert clusters._asked(4, 0, "a compiler that fails") is None
    monkeypatch.setattr(clusters, "_driver", lambda: None)
    assert clusters.clusters_at_once(4) is None


def test_fewer_clusters_than_were_hoped_for_take_another_wave(monkeypatch: Any) -> None:
    gpu = Gpu(0, 90, 132, 227 << 10)
    module = "tinygrad_rnn.kernels.recurrent.cuda.tilings.clusters_at_once"
    one, two = candidates(CELLS["lstm"], 256, gpu)[:2]  # samples per group
    monkeypatch.setattr(module, lambda size: 16)
    assert step_time(one, 16, gpu) < step_time(two, 16, gpu)
    monkeypatch.setattr(module, lambda size: 15)
    assert step_time(one, 16, gpu) > step_time(two, 16, gpu)


@needs_nvrtc
@pytest.mark.parametrize("size", [2, 16])
def test_the_probe_compiles(size: int) -> None:
    assert compile_cuda(clusters.PROBE, (f"-DCTAS={size}",), 90)["probe"].stack == 0
