"""Whether the BLAS multiplies small matrices as they lie in memory."""

from __future__ import annotations

import functools

from .cpu.blas import blas

__all__ = ["multiplies_unpacked"]


@functools.cache
def multiplies_unpacked() -> bool:
    """Whether small products are computed without copying ("packing") an operand before.

    OpenBLAS does so with its AVX-512 kernels, up to about 10^6 multiplications per product.
    """
    return blas().kernel in ("SkylakeX", "Cooperlake", "SapphireRapids")
