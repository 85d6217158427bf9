"""Write module_hooks.json.gz: what hooks of modules see and do in PyTorch, for every program of module_hook_cases.py.

Run from the root of the repository with PyTorch installed:  python tests/golden/make_module_hooks.py
"""

from __future__ import annotations

import gzip
import json
import pathlib
import sys

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.golden import module_hook_cases as cases

OUT = pathlib.Path(__file__).with_name("module_hooks.json.gz")

if __name__ == "__main__":
    found = {" | ".join(names): cases.run(torch, *names) for names in cases.combinations()}
    OUT.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0))
    print(OUT, OUT.stat().st_size, "bytes", len(found), "programs")
