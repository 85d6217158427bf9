"""Recurrent layers compiled by Numba (extra ``fast``), for arrays on the CPU.

Numba is imported, and the loops compiled or taken from the disk, when a layer first runs here.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["stamp"]


@functools.cache
def stamp() -> str:
    """Of the sources of this package: machine code that is kept on the disk is made anew when one of them changes."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join([path.read_bytes() for path in files])).hexdigest()
