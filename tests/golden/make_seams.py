"""Write seams.npz: what PyTorch computes for seam_cases.py.

Run from the root of the repository with PyTorch installed:  python -m tests.golden.make_seams
"""

from __future__ import annotations

import pathlib

import torch

from tests.golden import packed, seam_cases

FILE = pathlib.Path(__file__).with_name("seams.npz")


def main() -> None:
    values = {
        f"{expression}: {dtype}": seam_cases.evaluated(torch, expression, dtype, alone=True)
        for expression in seam_cases.CASES
        for dtype in seam_cases.DTYPES
    }
    packed.write(FILE, values)
    print(FILE.name, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
