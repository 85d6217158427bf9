"""Times of raw forms of vjps beside the mathematics: the figures in ``tinygrad_rnn/ops/fast_paths.py``.

    python -m benchmarks.raw_forms

Both are called in turns on the same float32 arrays, as in a sweep that is not recorded; each time is the minimum of the
turns.  Printed are the fraction and the two times in microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn  # noqa: F401  (declares the primitives)
from tinygrad_rnn.backend.quiet import QUIET, numpy_errors
from tinygrad_rnn.tape.modes import state
from tinygrad_rnn.tape.primitive import REGISTRY

TURNS, CALLS = 60, 100
SIZES = [(8, 64), (32, 128)]
random = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    """Numbers of both signs, none of them near 0."""
    return random.uniform(0.5, 1.5, shape).astype(np.float32) * random.choice([-1, 1], shape).astype(np.float32)


def fastest(functions: Sequence[Callable[[], object]]) -> list[float]:
    """The shortest time of one call of each, in microseconds."""
    found = [float("inf")] * len(functions)
    for _ in range(TURNS):
        for k, function in enumerate(functions):
            begin = time.perf_counter()
            for _ in range(CALLS):
                function()
            found[k] = min(found[k], (time.perf_counter() - begin) / CALLS * 1e6)
    return found


def show(name: str, position: int, shape: tuple[int, ...], g: Any, *args: Any, **params: Any) -> None:
    """One line for the vjp of one argument; ``shape`` is that of the output."""
    p, y = REGISTRY[name], numbers(*shape)
    vjp, raw = p.vjps[position], p.raw_vjps[position]
    assert vjp is not None and raw is not None and raw is not vjp, f"{name} has no raw form of argument {position}"
    mathematics, form = fastest([lambda: vjp(g, y, *args, **params), lambda: raw(g, y, *args, **params)])
    what = f"{name} {position} {args[0].shape}" + "".join(f" {key}={value}" for key, value in params.items())
    print(f"{what:<64} {form / mathematics:5.2f}   {mathematics:8.2f} -> {form:8.2f}", flush=True)


def main() -> None:
    """Print a line for each raw form."""
    state.here.recording, state.here.memo = False, {}  # as in a sweep
    numpy_errors.set(QUIET)
    one = np.ones((), np.float32)
    for rows, width in SIZES:
        shape = rows, width
        g, a, weight, bias = numbers(*shape), numbers(*shape), numbers(width, width), numbers(width)
        for name in ("tanh", "sigmoid", "relu", "square"):
            show(name, 0, shape, g, a)
        show("softplus", 0, shape, g, a, beta=1.0, threshold=20.0)
        for exponent in (1, 2):
            show("pow_number", 0, shape, g, a, exponent=exponent)
        for name in ("sum", "mean"):
            show(name, 0, (), one, a, axes=(0, 1), keepdims=False)
        for position in (0, 1):
            show("add", position, shape, g, a, bias)
            show("matmul", position, shape, g, a, weight)
        for position in (0, 1, 2):
            show("linear", position, shape, g, a, weight, bias)
    for size in (64, 4096):
        show("prod", 0, (), one, numbers(size), dim=0, keepdims=False)
        show("cumprod", 0, (size,), numbers(size), numbers(size), dim=0, reverse=False)


if __name__ == "__main__":
    main()
