"""A checkpoint made on a GPU goes on on the CPU, without a GPU at hand, and the reverse."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support import arrays


class Training:
    """A small model in the middle of its training."""

    def __init__(self, device: str, kind: str) -> None:
        self.device = device
        layers = (tg.nn.Linear(3, 4), tg.nn.Tanh(), tg.nn.Dropout(0.3), tg.nn.Linear(4, 2))
        self.model = tg.nn.Sequential(*layers).to(device)
        options = {"momentum": 0.9} if kind == "SGD" else {}
        self.optimizer = getattr(tg.optim, kind)(self.model.parameters(), lr=0.05, **options)
        self.scheduler = tg.optim.lr_scheduler.StepLR(self.optimizer, 2)

    def step(self) -> float:
        x = tg.rand(5, 3).to(self.device)
        loss = (self.model(x) ** 2).sum()
        self.optimizer.zero_grad()
        loss.backward()
        tg.nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
        self.optimizer.step()
        self.scheduler.step()
        return float(loss.detach())

    def state(self) -> bytes:
        file = io.BytesIO()
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        tg.save({**{k: v.state_dict() for k, v in parts.items()}, "random": tg.get_rng_state()}, file)
        return file.getvalue()

    def go_on(self, saved: bytes, **options: Any) -> None:
        state = tg.load(io.BytesIO(saved), **options)
        for name in ("model", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        tg.set_rng_state(state["random"])


def run(device: str, kind: str, begin: bytes | None, steps: int, **options: Any) -> tuple[list[float], bytes]:
    tg.manual_seed(7)
    training = Training(device, kind)
    if begin is not None:
        tg.manual_seed(12345)  # what comes next is the checkpoint's
        training.go_on(begin, **options)
        assert {p.device.type for p in training.model.parameters()} == {device}
        moments = [t for state in training.optimizer.state.values() for k, t in state.items() if k != "step"]
        assert moments and {t.device.type for t in moments} == {device}
    return [training.step() for _ in range(steps)], training.state()


@pytest.mark.parametrize("name", ["double", pytest.param("cupy", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_the_losses_after_are_those_of_a_run_that_stayed(kind: str, name: str) -> None:
    whole, _ = run("cpu", kind, None, 6)
    _, on_cpu = run("cpu", kind, None, 3)
    with arrays.module(name):
        _, on_gpu = run("cuda", kind, None, 3)
        forth = [run("cuda", kind, on_cpu, 3, **options)[0] for options in ({}, {"map_location": "cuda"})]
    back = [run("cpu", kind, on_gpu, 3, map_location=where)[0] for where in (None, "cpu", {"cuda:0": "cpu"})]
    for after in [*forth, *back]:
        np.testing.assert_allclose(after, whole[3:], rtol=1e-5)  # float32, sums in another order
    assert len(set(whole)) == 6


def test_tensors_come_back_to_the_host_unless_told_otherwise(double: Any) -> None:
    saved = io.BytesIO()
    tg.save({"w": tg.ones(2, device="cuda")}, saved)
    saved.seek(0)
    assert tg.load(saved)["w"].device == tg.device("cpu")
    saved.seek(0)
    assert tg.load(saved, map_location=lambda t, place: t.cuda())["w"].is_cuda
