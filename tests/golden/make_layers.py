"""Write layers.npz: what PyTorch computes for layer_cases.py.

Run from the root of the repository with PyTorch installed:  python -m tests.golden.make_layers
"""

from __future__ import annotations

import pathlib

import torch

from tests.golden import layer_cases, packed

FILE = pathlib.Path(__file__).with_name("layers.npz")


def main() -> None:
    values = layer_cases.drawn(torch)
    for kind in layer_cases.KINDS:
        for number in range(layer_cases.STORED):
            for key, value in layer_cases.evaluated(torch, kind, number).items():
                values[f"{kind}/{number}: {key}"] = value
    packed.write(FILE, values)
    print(FILE.name, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
