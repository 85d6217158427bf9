"""Write training.json: losses and gradient norms of PyTorch in the runs of training_cases.py.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_training.py
"""

from __future__ import annotations

import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import training_cases as cases

OUT = pathlib.Path(__file__).with_name("training.json")

if __name__ == "__main__":
    stored = {kind: cases.losses(torch, kind) for kind in cases.OPTIMIZERS}
    OUT.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")
