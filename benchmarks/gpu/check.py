"""Families ``check-rnn``, ``-gru``, ``-lstm``: every fused path against float64, and once more for errors that move.

A result is right if it is within 1e-5 of float64, relative in the norm, in float32 (1e-12 in float64), and if a second
run gives the same bits.  Memory is filled with nan before, so that an entry nobody wrote shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.kernels.recurrent import dispatch
from tinygrad_rnn.kernels.recurrent.cuda import describe, explain
from tinygrad_rnn.kernels.recurrent.interface import Options, Weights

from .places import Places, poison
from .reference import Work, distance, layer, prepared, reference, uneven
from .rows import Rows

__all__ = ["check", "works"]

LIMITS = {"float32": 1e-5, "float64": 1e-12}
KINDS: list[tuple[str, dict[str, Any]]] = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {})]


def works(places: Places, kinds: Sequence[str]) -> Iterator[tuple[Work, str]]:
    """The shapes, and their dtypes: the kinds over the grid; then packed, deep, both directions, odd sizes."""
    grid = places.sizes(
        [*itertools.product((32, 64, 128, 256, 512), (1, 16, 64), (64,)), (64, 3, 1), (256, 5, 7), (128, 64, 1000)],
        [(64, 16, 64), (256, 3, 7)],
        [(4, 3, 5)],
    )
    odd = places.sizes([(48, 7, 33), (200, 2, 20), (600, 4, 10)], [(48, 7, 33)], [(3, 2, 4)])
    uneven_sizes = places.sizes([(64, 16, 64), (256, 16, 64), (512, 5, 40)], [(64, 16, 64)], [(4, 3, 5)])
    for kind, options in [k for k in KINDS if k[0] in kinds]:
        for H, N, T in [*grid, *odd]:
            if not (options and (T == 1000 or H == 512)):
                yield Work(kind, H, N, T, options=options), "float32"
        for H, N, T in uneven_sizes:
            yield Work(kind, H, N, T, uneven(T, N), options), "float32"
            both = {**options, "bidirectional": True, "num_layers": 2}
            yield Work(kind, H, N, T, uneven(T, N), both), "float32"
            yield Work(kind, H, N, T, None, both), "float32"
        yield Work(kind, *odd[0], options=options), "float64"


def check(rows: Rows, places: Places, kinds: Sequence[str] = ("RNN", "GRU", "LSTM")) -> None:
    """Compute every work twice and compare."""
    rows.add("kernels", note=describe())
    for work, dtype in works(places, kinds):
        rows.attempt(f"{work.key} {dtype}", partial(_one, rows, places, work, dtype))


def _one(rows: Rows, places: Places, work: Work, dtype: str) -> None:
    numbers = work.numbers()
    expected = reference(places, work, numbers)
    if not places.dry:
        poison(places.ours)
    made = layer(tg, places.ours, work, numbers, dtype)
    run = prepared(tg, places.ours, work, numbers, dtype, made)
    runs = [run.results() for _ in range(2)]
    error, where = distance(runs[0], expected)
    moves = [name for name in runs[0] if not np.array_equal(runs[0][name], runs[1][name])]
    right = error <= LIMITS[dtype] and not moves
    values: dict[str, Any] = {"error": error, "worst": where, "right": right, "how": _how(run)}
    rows.add(f"{work.key} {dtype}", **values, **({"moves": ", ".join(moves)} if moves else {}))


def _how(run: prepared) -> str:
    """Which kernels do the first layer's recurrence."""
    if not run.x.is_cuda:
        return "on the CPU"
    options = Options(nonlinearity=run.layer.nonlinearity) if run.work.kind == "RNN" else Options()
    states = tuple([state._data[0] for state in run.states])
    weights = Weights(*[w._data for w in run.layer._flat_weights[:4]])
    return explain(dispatch.CELLS[run.work.kind.lower()], run.x._data, states, weights, options)
