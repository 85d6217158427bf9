"""Write random_streams.npz: numbers that PyTorch draws on the CPU, for tests on machines without PyTorch.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_random.py
Each entry is named by the recipe that tests/backend/test_random.py replays: a seed, then draws in this order.
"""

from __future__ import annotations

import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).with_name("random_streams.npz")
SIZES = (1, 3, 15, 16, 17, 33, 100)
FLOATS = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
INTS = {"bool": torch.bool, "uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32,
        "int64": torch.int64}  # fmt: skip
HIGHS = (1, 10, 2**28 - 1, 2**28, 2**40)
LENGTHS = (0, 1, 2, 10, 300)
SEEDS = (0, -1, 2**40 + 7)


def floats(n: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """One draw of each kind, in the order that the test replays."""

    def empty() -> torch.Tensor:
        return torch.empty(n, dtype=dtype)

    return [
        torch.rand(n, dtype=dtype),
        empty().uniform_(-0.3, 0.7),
        torch.randn(n, dtype=dtype),
        empty().normal_(0.1, 2.5),
        empty().exponential_(1.7),
        empty().bernoulli_(0.3),
    ]


def draws() -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    out = {"first/state": torch.get_rng_state().numpy()}
    for seed in SEEDS:
        torch.manual_seed(seed)
        for name, dtype in FLOATS.items():
            out[f"{seed}/{name}"] = torch.cat([x for n in SIZES for x in floats(n, dtype)]).numpy()
        for name, dtype in INTS.items():
            out[f"{seed}/random_/{name}"] = torch.empty(20, dtype=dtype).random_().numpy()
        out[f"{seed}/randint"] = torch.stack([torch.randint(-5, high, (20,)) for high in HIGHS]).numpy()
        out[f"{seed}/randperm"] = torch.cat([torch.randperm(n) for n in LENGTHS]).numpy().astype(np.int16)
        weights = torch.tensor([[0.1, 0.0, 2.0, 3.0], [5.0, 1.0, 1.0, 0.5]])
        out[f"{seed}/multinomial/False"] = torch.multinomial(weights, 3).numpy()
        out[f"{seed}/multinomial/True"] = torch.multinomial(weights, 30, replacement=True).numpy()
        out[f"{seed}/dropout"] = torch.nn.functional.dropout(torch.ones(3, 10), 0.3).numpy()
    torch.randn(3)  # so that half of a pair waits
    out["last/state"] = torch.get_rng_state().numpy()
    out["last/randn"] = torch.randn(3).numpy()
    return out


if __name__ == "__main__":
    np.savez_compressed(OUT, **draws())
    print(OUT, OUT.stat().st_size, "bytes")
