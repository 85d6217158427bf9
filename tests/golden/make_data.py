"""Write data.json: the orders in which PyTorch's loaders and samplers give samples, and the batches it makes of them.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_data.py
"""

from __future__ import annotations

import json
import pathlib
import sys

import torch
import torch.utils.data

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import collate_cases
from tests.golden import data_cases as cases

OUT = pathlib.Path(__file__).with_name("data.json")

if __name__ == "__main__":
    OUT.write_text(
        json.dumps({**cases.everything(torch), **collate_cases.everything(torch)}, separators=(",", ":")) + "\n"
    )
    print(OUT, OUT.stat().st_size, "bytes")
