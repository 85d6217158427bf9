"""Whole training steps: a language-model update, and an optimiser with clipping over many small parameters."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .layers import two_of_ours, with_numpy_kernels
from .measure import NUMPY_KERNELS, OURS, Job

__all__ = ["UNWATCHED", "diagnosed_jobs", "optimiser_jobs", "update_jobs"]


UNWATCHED = "not watched"


def update_jobs(peers: list[str], vocabulary: int = 100, embedding: int = 64, hidden: int = 256) -> dict[str, Job]:
    """A language model's update, from embedding to optimiser step, for us and for peers with PyTorch's interface."""
    T, N = 64, 32
    tokens = np.random.default_rng(0).integers(0, vocabulary, (T + 1, N))

    def job(name: str) -> Job:
        return _update(importlib.import_module(name), tokens, vocabulary, embedding, hidden)

    again = {NUMPY_KERNELS: with_numpy_kernels(job(OURS))} if two_of_ours() else {}
    return {OURS: job(OURS)} | again | {name: job(name) for name in peers}


def diagnosed_jobs(vocabulary: int = 100, embedding: int = 64, hidden: int = 256) -> dict[str, Job]:
    """The same update of ours, watched as ``tinygrad-rnn train --diagnose`` does it, every time; and not watched."""
    tg = importlib.import_module(OURS)
    tokens = np.random.default_rng(0).integers(0, vocabulary, (65, 32))
    return {
        name: _update(tg, tokens, vocabulary, embedding, hidden, watched=name == OURS) for name in (OURS, UNWATCHED)
    }


def _update(lib: Any, tokens: Any, vocabulary: int, embedding: int, hidden: int, watched: bool = False) -> Job:
    nn, clip = lib.nn, importlib.import_module(f"{lib.__name__}.nn.utils").clip_grad_norm_
    cross_entropy = importlib.import_module(f"{lib.__name__}.nn.functional").cross_entropy
    lib.manual_seed(0)
    table, lstm, head = nn.Embedding(vocabulary, embedding), nn.LSTM(embedding, hidden), nn.Linear(hidden, vocabulary)
    model = nn.Sequential(table, lstm, head)
    parameters = list(model.parameters())
    optimizer = importlib.import_module(f"{lib.__name__}.optim").SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)
    inputs, targets = lib.tensor(tokens[:-1]), lib.tensor(tokens[1:]).reshape(-1)
    state: list[Any] = [None]

    def run() -> Any:
        if not watched:
            return update()
        with lib.diagnostics.Monitor(model, every=1, optimizer=optimizer):
            return update()

    def update() -> Any:
        optimizer.zero_grad()
        output, (h, c) = lstm(table(inputs), state[0])
        # Carried on without its history, as truncated backpropagation does.
        state[0] = (h.detach(), c.detach())
        loss = cross_entropy(head(output).reshape(-1, vocabulary), targets)
        loss.backward()
        clip(parameters, 0.25)
        optimizer.step()
        # Read, as by a training loop that reports its loss.
        return loss.item()

    return run


def optimiser_jobs(
    name: str, peers: list[str], count: int = 100, shape: tuple[int, ...] = (32, 32), **options: Any
) -> dict[str, Job]:
    """Clip and step over ``count`` small parameters, for us and for peers with PyTorch's interface."""
    return {lib: _optimise(importlib.import_module(lib), name, count, shape, options) for lib in [OURS, *peers]}


def _optimise(lib: Any, name: str, count: int, shape: tuple[int, ...], options: dict[str, Any]) -> Job:
    clip = importlib.import_module(f"{lib.__name__}.nn.utils").clip_grad_norm_
    parameters = [lib.nn.Parameter(lib.ones(*shape)) for _ in range(count)]
    optimizer = getattr(importlib.import_module(f"{lib.__name__}.optim"), name)(parameters, **options)
    # The same gradients in all runs: from the second on the clip scales by almost 1, at the same cost.
    for p in parameters:
        p.grad = lib.ones(*shape)

    def run() -> None:
        clip(parameters, 1.0)
        optimizer.step()

    return run
