"""Write functions.npz and inits.npz: what PyTorch computes for function_cases.py and init_cases.py.

Run from the root of the repository with PyTorch installed:  python -m tests.golden.make_functions
"""

from __future__ import annotations

import pathlib

import torch

from tests.golden import function_cases, init_cases, packed

HERE = pathlib.Path(__file__).parent


def main() -> None:
    values = {}
    for name in function_cases.CASES:
        for key, value in function_cases.evaluated(torch, name).items():
            values[f"{name}: {key}"] = value
    packed.write(HERE / "functions.npz", values)
    packed.write(HERE / "inits.npz", init_cases.initialised(torch) | init_cases.layers(torch))
    for name in ("functions.npz", "inits.npz"):
        print(name, (HERE / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
