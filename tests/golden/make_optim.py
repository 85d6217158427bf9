"""Write optim.npz: what PyTorch's optimisers do in every case of optim_cases.py, step by step.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_optim.py
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import optim_cases as cases
from tests.golden import packed

OUT = pathlib.Path(__file__).with_name("optim.npz")


def everything() -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for dtype in ("float64", "float32"):
        for name, case in cases.CASES.items():
            for key, array in cases.trajectory(torch, case, dtype).items():
                out[f"{dtype}/{name}/{key}"] = array
    for name, options in cases.LBFGS_CASES.items():
        for key, array in cases.lbfgs_trajectory(torch, options, "float64").items():
            out[f"float64/{name}/{key}"] = array
    return out


if __name__ == "__main__":
    packed.write(OUT, everything())
    print(OUT, OUT.stat().st_size, "bytes")
