"""A chain of many operations: no recursion, and time linear in its length."""

from __future__ import annotations

import sys
import time
import tracemalloc

import pytest

import tinygrad_rnn as tg


def chain(n: int) -> tuple[tg.Tensor, tg.Tensor]:
    x = tg.tensor(1.0, requires_grad=True)
    h = x
    for _ in range(n):
        h = h * 1.0
    return x, h


def timed(n: int) -> tuple[float, float, float]:
    """Seconds of this process for forward, backward and release of a chain of n nodes."""
    start = time.process_time()
    x, h = chain(n)
    recorded = time.process_time()
    h.backward()
    swept = time.process_time()
    assert x.grad is not None and x.grad.item() == 1.0
    del h
    return recorded - start, swept - recorded, time.process_time() - swept


def test_a_chain_far_beyond_the_recursion_limit() -> None:
    n = 20 * sys.getrecursionlimit()
    x, h = chain(n)
    h.backward(retain_graph=True)
    (g,) = tg.autograd.grad(h, x)
    del h
    assert x.grad is not None and x.grad.item() == g.item() == 1.0


def test_a_second_derivative_far_beyond_the_recursion_limit() -> None:
    n = 2 * sys.getrecursionlimit()
    x = tg.tensor(1.0, requires_grad=True)
    h = x
    for _ in range(n):
        h = h * 1.0 + 0.0 * x
    (g,) = tg.autograd.grad(h * h, x, create_graph=True)
    (gg,) = tg.autograd.grad(g, x)
    assert (g.item(), gg.item()) == (2.0, 2.0)


@pytest.mark.thorough
def test_a_million_nodes_in_linear_time(capsys: pytest.CaptureFixture[str]) -> None:
    """From 10^5 to 10^6 nodes time grows at most 12-fold: a logarithm is allowed, a square is not."""
    timed(10_000)
    small = min((timed(100_000) for _ in range(3)), key=sum)
    large = timed(1_000_000)
    tracemalloc.start()
    x, h = chain(10_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del x, h
    ratio = sum(large) / sum(small)
    with capsys.disabled():
        parts = [f"{name} {s:.2f} us" for name, s in zip(("forward", "backward", "release"), large, strict=True)]
        print(f"\n10^6 nodes, per node: {', '.join(parts)}; {held / 1e4:.0f} bytes; {ratio:.1f} times 10^5 nodes")
    assert ratio < 12
