"""Family ``job``: the main job on the GPU: characters per second against the same program in PyTorch, and its curve.

All three start from the same weights and read the same text: we on the GPU, PyTorch there, and we on the CPU.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend.random.draws import fork_rng

from .clock import synchronize
from .places import Places
from .reference import host
from .rows import Rows

__all__ = ["job", "program_of"]

V, E = 100, 64  # characters, size of their vectors


class _Program:
    """A language model and its training in either library: SGD with Nesterov momentum, the gradient clipped."""

    def __init__(self, lib: Any, device: str, cell: str, size: tuple[int, int, int], tokens: Any, weights: Any) -> None:
        self.lib, self.device = lib, device
        H, self.N, self.T = size
        self.model = lib.nn.ModuleDict(
            {"embedding": lib.nn.Embedding(V, E), "rnn": getattr(lib.nn, cell)(E, H), "output": lib.nn.Linear(H, V)}
        )
        if weights is not None:
            self.model.load_state_dict({name: lib.tensor(value) for name, value in weights.items()})
        self.model.to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = lib.optim.SGD(self.parameters, lr=1.0, momentum=0.9, nesterov=True)
        self.inputs, self.targets = [lib.tensor(t).to(device) for t in (tokens[:-1], tokens[1:])]
        self.chunk = 0
        self.state: Any = None

    def weights(self) -> dict[str, Any]:
        return {name: np.array(host(value)) for name, value in self.model.state_dict().items()}

    def step(self) -> Any:
        """One update; the loss stays on the device."""
        lib, begin = self.lib, self.chunk * self.T
        self.chunk = (self.chunk + 1) % (len(self.inputs) // self.T)
        y, state = self.model["rnn"](self.model["embedding"](self.inputs[begin : begin + self.T]), self.state)
        logits = self.model["output"](y).reshape(-1, V)
        loss = lib.nn.functional.cross_entropy(logits, self.targets[begin : begin + self.T].reshape(-1))
        self.optimizer.zero_grad()
        loss.backward()
        lib.nn.utils.clip_grad_norm_(self.parameters, 0.25)
        self.optimizer.step()
        self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return loss.detach()

    def curve(self, updates: int) -> Any:
        return np.array([float(loss) for loss in [self.step() for _ in range(updates)]])

    def speed(self, updates: int, rounds: int) -> float:
        """Characters per second, the median of some rounds."""
        found = []
        for _ in range(rounds):
            synchronize(self.lib, self.device)
            begin = time.perf_counter()
            for _ in range(updates):
                self.step()
            synchronize(self.lib, self.device)
            found.append(updates * self.N * self.T / (time.perf_counter() - begin))
        return float(np.median(found))


def program_of(lib: Any, device: str, cell: str, size: tuple[int, int, int]) -> Any:
    """The program of (H, N, T), from seed 0: its ``step()`` is one update."""
    with fork_rng():
        tg.manual_seed(0)
        return _Program(lib, device, cell, size, _text(size[2] * 50 + 1, size[1]), None)


def job(rows: Rows, places: Places) -> None:
    """Curve and speed for each cell."""
    for cell in ("LSTM", "GRU", "RNN"):
        for size in places.sizes([(256, 32, 64), (128, 16, 64)], [(256, 32, 64)], [(4, 2, 3)]):
            key = f"main job {cell} H={size[0]} N={size[1]} T={size[2]}"
            rows.attempt(key, partial(_one, rows, places, key, cell, size))


def _one(rows: Rows, places: Places, key: str, cell: str, size: tuple[int, int, int]) -> None:
    H, N, T = size
    updates, timed = (3, 2) if places.dry else (40, 100)
    tokens = _text(T * 50 + 1, N)
    torch = places.torch()
    ours = program_of(tg, places.ours, cell, size)
    weights = ours.weights()
    curve = ours.curve(updates)
    rows.add(key, **{"first loss": float(curve[0]), "last loss": float(curve[-1])})
    speed = ours.speed(timed, 3)
    rows.add(key, **{"characters per second": speed})
    if torch is not None:
        theirs = _Program(torch, places.theirs, cell, size, tokens, weights)
        apart = float(np.abs(theirs.curve(updates) - curve).max())
        rate = theirs.speed(timed, 3)
        rows.add(key, **{"torch characters per second": rate, "ratio": rate / speed, "goal": 1.0})
        rows.add(key, **{"curve from torch's": apart})
    if H == 256 or places.dry:
        few = updates if places.dry else 15
        on_cpu = _Program(tg, "cpu", cell, size, tokens, weights).curve(few)
        rows.add(key, **{"curve from the CPU's": float(np.abs(on_cpu - curve[:few]).max())})


def _text(length: int, streams: int) -> Any:
    """Text that can be learnt: each character is one of three that may follow the one before: (length, streams)."""
    rng = np.random.default_rng(0)
    followers = rng.integers(0, V, (V, 3))
    found = np.zeros((length, streams), np.int64)
    for t in range(1, length):
        found[t] = followers[found[t - 1], rng.integers(0, 3, streams)]
    return found
