"""``python -m tools.site.live DIR``: the live page alone."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.site.live import Unavailable, build

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.site.live DIR")
    try:
        print(build(Path(sys.argv[1])))
    except (Unavailable, OSError) as error:
        sys.exit(f"live page: {error}")
