"""Write clip.npz: what PyTorch's gradient clipping does in every case of clip_cases.py.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_clip.py
"""

from __future__ import annotations

import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import clip_cases as cases
from tests.golden import packed

OUT = pathlib.Path(__file__).with_name("clip.npz")

if __name__ == "__main__":
    stored = {}
    for name, case in cases.BY_NORM.items():
        stored.update({f"norm/{name}/{key}": array for key, array in cases.clipped(torch, case).items()})
    for name, bound in cases.BY_VALUE.items():
        stored.update({f"value/{name}/{key}": array for key, array in cases.clamped(torch, bound).items()})
    packed.write(OUT, stored)
    print(OUT, OUT.stat().st_size, "bytes")
