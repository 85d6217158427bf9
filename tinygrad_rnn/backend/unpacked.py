"""Whether the BLAS multiplies small matrices as they lie in memory."""

from __future__ import annotations

import functools
from typing import Any

from .blas import _function, _library, blas

__all__ = ["multiplies_unpacked", "product_threads"]


@functools.cache
def multiplies_unpacked() -> bool:
    """Whether small products are computed without copying ("packing") an operand before.

    OpenBLAS does so with its AVX-512 kernels, up to about 10^6 multiplications per product.
    """
    return blas().kernel in ("SkylakeX", "Cooperlake", "SapphireRapids")


@functools.cache
def _counter() -> Any:
    return _function(_library(), "get_num_threads") or (lambda: 1)


def product_threads() -> int:
    """How many threads a large product uses now; 1 if the BLAS does not tell.  Takes less than a microsecond."""
    return int(_counter()())
