"""A little of everything that has kernels of its own, in small sizes: to be run under compute-sanitizer.

compute-sanitizer --tool memcheck python -m benchmarks.gpu.sanitize
"""

from __future__ import annotations

import numpy as np

import tinygrad_rnn as tg

from .check import KINDS
from .reference import Work, prepared, uneven

__all__ = ["main"]


def main() -> None:
    """Layers with equal and with variable lengths, clipping and updates."""
    for kind, options in KINDS:
        for H, dtype in ((33, "float32"), (5, "float64")):
            for lengths in (None, uneven(5, 3)):
                work = Work(kind, H, 3, 5, lengths, options)
                results = prepared(tg, "cuda", work, work.numbers(), dtype).results()
                assert all(np.isfinite(value).all() for value in results.values())
    parameters = [tg.ones(n, device="cuda").requires_grad_() for n in (1, 3, 1000)]
    for make in (tg.optim.SGD, tg.optim.Adam, tg.optim.RMSprop, tg.optim.Adagrad):
        optimizer = make(parameters, lr=0.1)
        for p in parameters:
            p.grad = tg.ones_like(p)
        tg.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    assert all(np.isfinite(p.detach().cpu().numpy()).all() for p in parameters)
    print("everything ran")


if __name__ == "__main__":
    main()
