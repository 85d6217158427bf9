"""Write recurrent.npz: what PyTorch's layers and cells give in every case of recurrent_cases.py, in float64.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_recurrent.py
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import packed
from tests.golden import recurrent_cases as cases

OUT = pathlib.Path(__file__).with_name("recurrent.npz")


def everything() -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for name, layer in cases.LAYERS.items():
        for key, array in cases.run_layer(torch, layer, "float64").items():
            out[f"layer/{name}/{key}"] = array
    for name, cell in cases.CELLS.items():
        for key, array in cases.run_cell(torch, cell, "float64").items():
            out[f"cell/{name}/{key}"] = array
    return out


if __name__ == "__main__":
    packed.write(OUT, everything())
    print(OUT, OUT.stat().st_size, "bytes")
