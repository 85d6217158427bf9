"""Write logs/: what the programs in programs/ print with PyTorch.

Run from the root of the repository with PyTorch installed:  python tests/clients/make_logs.py
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.clients.running import HERE, run

if __name__ == "__main__":
    for program in sorted(HERE.glob("programs/*.py")):
        lines = run(program, real=True)
        (HERE / "logs" / f"{program.stem}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(program.stem, len(lines), "lines")
