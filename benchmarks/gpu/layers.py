"""Families ``rnn``, ``gru`` and ``lstm``: a layer forward and backward against cuDNN's, both in full float32."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import tinygrad_rnn as tg

from .clock import milliseconds
from .places import Places, poison
from .reference import Work, distance, prepared, reference, uneven
from .rows import Rows

__all__ = ["goal", "layers", "works"]

CELLS_UP_TO = 64
"""Steps of the loop over cells, which takes a tenth of a millisecond for each."""


def goal(work: Work) -> float:
    """What our time over cuDNN's is meant to stay under."""
    return 0.5 if work.H >= 256 else 1.0


def works(places: Places, kind: str) -> list[Work]:
    """The grid; then variable lengths, and two layers in both directions."""
    grid = places.sizes(
        list(itertools.product((64, 128, 256, 512), (1, 16, 64), (64, 512))),
        [(64, 16, 64), (256, 16, 64), (512, 16, 64)],
        [(4, 2, 3)],
    )
    more = places.sizes([(128, 16, 64), (256, 16, 64)], [(256, 16, 64)], [(4, 2, 3)])
    found = [Work(kind, *size) for size in grid]
    for H, N, T in more:
        found.append(Work(kind, H, N, T, uneven(T, N)))
        found.append(Work(kind, H, N, T, None, {"num_layers": 2, "bidirectional": True}))
    return found


def layers(rows: Rows, places: Places, kind: str) -> None:
    """Time every work, once its results are known to be right."""
    for work in works(places, kind):
        rows.attempt(work.key, partial(_one, rows, places, work))


def _one(rows: Rows, places: Places, work: Work) -> None:
    numbers, torch = work.numbers(), places.torch()
    expected = reference(places, work, numbers)
    if not places.dry:
        poison(places.ours)
    ours = prepared(tg, places.ours, work, numbers)
    error, where = distance(ours.results(), expected)
    rows.add(work.key, kind=work.kind, H=work.H, N=work.N, T=work.T, error=error, worst=where, goal=goal(work))
    if not error < 1e-3:
        rows.add(work.key, failed=f"wrong result in {where}")
        return

    def timed(lib: Any, device: str, work: Any) -> tuple[float, float]:
        return milliseconds(lib, device, work.forward), milliseconds(lib, device, work.both)

    mine = timed(tg, places.ours, ours)
    rows.add(work.key, forward=mine[0], both=mine[1], **{"us per step": mine[1] * 1e3 / work.T})
    if torch is None:
        return
    theirs = prepared(torch, places.theirs, work, numbers)
    cudnn = timed(torch, places.theirs, theirs)
    rows.add(work.key, **{"cudnn forward": cudnn[0], "cudnn both": cudnn[1], "ratio": mine[1] / cudnn[1]})
    if work.T <= CELLS_UP_TO and work.lengths is None and not work.options:
        loop = milliseconds(torch, places.theirs, _cells(torch, places.theirs, work, numbers), repetitions=5)
        rows.add(work.key, **{"cells both": loop, "cells ratio": mine[1] / loop})


def _cells(torch: Any, device: str, work: Work, numbers: dict[str, Any]) -> Any:
    """A loop over PyTorch's cell, forward and backward."""
    cell = getattr(torch.nn, f"{work.kind}Cell")(work.H, work.H)
    cell.load_state_dict({name: torch.tensor(numbers[f"{name}_l0"]) for name, _ in cell.named_parameters()})
    cell.to(device)
    names = ["h", "c"][: 1 + (work.kind == "LSTM")]
    x = torch.tensor(numbers["x"]).to(device).requires_grad_()
    states = [torch.tensor(numbers[f"{s}0"][0]).to(device).requires_grad_() for s in names]
    cotangents = [torch.tensor(numbers[n]).to(device) for n in ("dy", *[f"d{s}n" for s in names])]
    cotangents[1:] = [c[0] for c in cotangents[1:]]
    inputs = [x, *states, *cell.parameters()]

    def both() -> Any:
        state: Any = states[0] if len(states) == 1 else tuple(states)
        outputs = []
        for x_t in x.unbind(0):
            state = cell(x_t, state)
            outputs.append(state[0] if len(states) == 2 else state)
        finals = state if isinstance(state, tuple) else (state,)
        return torch.autograd.grad([torch.stack(outputs), *finals], inputs, cotangents)

    return both
