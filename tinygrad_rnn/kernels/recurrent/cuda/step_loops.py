"""Compiled cells step by step: products by cuBLAS and, between them, the kernels of the cell (``steps.py``).

Any GPU, any size, float32 and float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....backend.gpu.kernels import Kernel, kernel
from ....typing import Array
from .calls import Call, backward_product, forward_product
from .steps import StepKernel, Steps

__all__ = ["backward", "forward"]


class _Launcher:
    """The kernels of one way, with the arguments that do not change from launch to launch."""

    def __init__(self, steps: Steps, kernels: Sequence[StepKernel | None], call: Call) -> None:
        dtype = call.dtype
        real = {"f": "float", "d": "double"}[dtype.char]
        self.kinds = kernels
        self.compiled: list[Kernel | None] = [
            None if k is None else kernel(steps.source, k.name, (f"-DREAL={real}",), k.launch(dtype)) for k in kernels
        ]
        self.sizes = [
            () if k is None else (*map(np.int32, k.widths), *[dtype.type(c) for c in k.numbers]) for k in kernels
        ]
        self.pointers = [() if k is None else tuple([call.arrays[name] for name in k.pointers]) for k in kernels]

    def __call__(self, segment: int, count: int, where: tuple[Any, ...]) -> None:
        kind, run = self.kinds[segment], self.compiled[segment]
        if kind is not None and run is not None:
            run(kind.blocks(count), *self.pointers[segment], *where, *self.sizes[segment])


def _numbers(*numbers: int) -> tuple[np.int32, ...]:
    return tuple(map(np.int32, numbers))


def forward(steps: Steps, call: Call, states: Sequence[Array]) -> None:
    """Fill the tables of states, what is given at each step, and what is kept.

    Raises:
        KernelError: a kernel cannot be compiled here.
    """
    arrays, batch, save = call.arrays, call.rows.batch, call.save
    visits = [v for v in call.rows.visits() if v[1]]
    for k, width in enumerate(steps.widths):
        if not save:
            arrays[f"s{k}"] = call.room(2 * batch, width)
    if not save and steps.kept_always:
        arrays["kept"] = call.room(batch, steps.columns)
    for k, p in enumerate(steps.products):
        if p.source != "x":
            arrays[f"p{k}"] = call.room(batch, p.width)
        if p.source[0] == "e" and p.source not in arrays:
            arrays[p.source] = call.room(call.rows.total if save else batch, p.inner)
    launch = _Launcher(steps, steps.forward, call)
    in_loop = [
        [(k, p) for k, p in enumerate(steps.products) if p.source != "x" and p.segment == segment]
        for segment in range(len(steps.forward))
    ]
    before = 0
    for v, (row, count) in enumerate(visits):
        following, next_count = visits[v + 1] if v + 1 < len(visits) else (0, 0)
        here, kept = (row, row) if save else (v % 2 * batch, 0)
        if not save:
            following = (v + 1) % 2 * batch
        if count > before:  # these begin here
            for k, s in enumerate(states):
                call.array(f"s{k}")[here + before : here + count] = s[before:count]
        for segment, products in enumerate(in_loop):
            for k, p in products:
                first = here if p.source[0] == "s" else kept
                operand = call.array(p.source)[first : first + count]
                forward_product(call.array(f"p{k}"), operand, call.weights[k], p, count)
            launch(segment, count, _numbers(row, count, here, following, next_count, kept))
        before = count


def backward(steps: Steps, call: Call) -> None:
    """Fill the tables of cotangents and of sums.

    Raises:
        KernelError: a kernel cannot be compiled here.
    """
    arrays, batch = call.arrays, call.rows.batch
    visits = [v for v in call.rows.visits() if v[1]]
    for k, width in enumerate(steps.widths):
        arrays[f"d{k}"] = call.room(2 * batch, width)
    for k, p in enumerate(steps.products):
        if p.asked:
            arrays[f"b{k}"] = call.room(batch, p.inner)
    arrays["sums"] = call.room(batch, steps.sum_columns)
    launch = _Launcher(steps, steps.backward, call)
    for v in range(len(visits) - 1, -1, -1):
        row, count = visits[v]
        next_count = visits[v + 1][1] if v + 1 < len(visits) else 0
        before_count = min(visits[v - 1][1], count) if v else 0
        here, there = v % 2 * batch, (v + 1) % 2 * batch
        where = _numbers(row, count, next_count, before_count, here, there)
        for segment in range(len(steps.backward)):
            launch(segment, count, where)
            for k, p in enumerate(steps.products):
                if p.asked and p.ready == segment:
                    backward_product(call.array(f"b{k}"), call.dz(k, row, count), call.back(k), p, count, False)
        for state, carry in enumerate(steps.carries):
            for i, k in enumerate(carry.products):
                p, add = steps.products[k], carry.stored or i > 0
                if before_count:
                    target = call.array(f"d{state}")[there : there + before_count]
                    backward_product(target, call.dz(k, row, before_count), call.back(k), p, before_count, add)
                left = count - before_count
                if left:  # these began here
                    target = call.array(f"di{state}")[before_count:count]
                    backward_product(target, call.dz(k, row + before_count, left), call.back(k), p, left, add)
