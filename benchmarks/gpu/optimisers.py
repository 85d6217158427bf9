"""Family ``optimisers``: clipping and an update, over many small parameters and over those of the main job."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg

from .clock import milliseconds
from .places import Places
from .reference import host
from .rows import Rows

__all__ = ["optimisers"]

JOB = [(100, 64), (1024, 64), (1024, 256), (1024,), (1024,), (100, 256), (100,)]
KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"lr": 1e-3},
    "AdamW": {"lr": 1e-3},
    "RMSprop": {"lr": 1e-3},
}


def optimisers(rows: Rows, places: Places) -> None:
    """Ours against PyTorch's own choice, and against its fused kernels where there are some."""
    many, few = ("100 x (32, 32)", [(32, 32)] * 100), ("two", [(2,), (3,)])
    sets: Any = places.sizes([many, ("main job", JOB)], [("main job", JOB)], [few])
    for name, shapes in sets:
        for kind in KINDS:
            key = f"clip + {kind}, {name}"
            rows.attempt(key, partial(_one, rows, places, key, kind, shapes))


def _one(rows: Rows, places: Places, key: str, kind: str, shapes: list[Any]) -> None:
    mine, _after = _job(tg, places.ours, kind, shapes, {})
    time = milliseconds(tg, places.ours, mine, repetitions=30, budget=0.4)
    rows.add(key, both=time)
    torch = places.torch()
    if torch is None:
        return
    theirs, _theirs_after = _job(torch, places.theirs, kind, shapes, {})
    usual = milliseconds(torch, places.theirs, theirs, repetitions=30, budget=0.4)
    rows.add(key, **{"torch both": usual, "ratio": time / usual, "goal": 1.0})
    _, fresh = _job(tg, places.ours, kind, shapes, {})
    _, expected = _job(torch, places.theirs, kind, shapes, {})
    pairs = zip(fresh(3), expected(3), strict=True)
    rows.add(key, error=max(float(np.abs(a - b).max()) for a, b in pairs))
    if kind != "RMSprop":
        fused, _ = _job(torch, places.theirs, kind, shapes, {"fused": True})
        rows.add(key, **{"torch fused": milliseconds(torch, places.theirs, fused, repetitions=30, budget=0.4)})


def _job(lib: Any, device: str, kind: str, shapes: list[Any], more: dict[str, Any]) -> tuple[Any, Any]:
    """A clipped step, and a function that gives the parameters after some of them."""
    rng = np.random.default_rng(0)
    parameters = [lib.tensor(rng.standard_normal(s).astype(np.float32)).to(device).requires_grad_() for s in shapes]
    for p, s in zip(parameters, shapes, strict=True):
        p.grad = lib.tensor(rng.standard_normal(s).astype(np.float32)).to(device)
    optimizer = getattr(lib.optim, kind)(parameters, **KINDS[kind], **more)

    def run() -> None:
        lib.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def after(steps: int) -> list[Any]:
        for _ in range(steps):
            run()
        return [host(p) for p in parameters]

    return run, after
