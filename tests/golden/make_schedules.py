"""Write schedules.json: what PyTorch's schedulers do in every case of schedule_cases.py.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_schedules.py
"""

from __future__ import annotations

import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import schedule_cases as cases

OUT = pathlib.Path(__file__).with_name("schedules.json")

if __name__ == "__main__":
    stored = {
        "rates": {name: cases.rates(torch, make) for name, make in cases.CASES.items()},
        "betas": {name: cases.rates(torch, cases.CASES[name], "Adam") for name in ("one-cycle", "one-cycle-three")},
        "jumps": {name: cases.jumps(torch, cases.CASES[name]) for name in cases.CLOSED_FORMS},
    }
    OUT.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")
