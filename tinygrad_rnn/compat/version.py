"""Which version this is, in the words of ``torch.version``.

``tg.__version__`` begins with the version of PyTorch whose names and rules this package follows, because programs
choose between an old and a new way of doing something by it; the package's own version stands after the plus sign.

>>> import tinygrad_rnn as tg
>>> tg.__version__ == f"{pytorch}+tinygrad.rnn.{package}"
True
>>> tuple(int(part) for part in tg.__version__.split(".")[:2]) >= (1, 0)
True
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "debug", "git_version", "hip", "package", "pytorch"]

package = "0.1.0"
pytorch = "2.13.0"
__version__ = f"{pytorch}+tinygrad.rnn.{package}"
debug = False
git_version: str | None = None
hip: str | None = None


def __getattr__(name: str) -> Any:
    """``cuda``: CUDA's version as "13.0", None where there is no GPU; asked for only now, because that takes time."""
    if name == "cuda":
        from ..backend.gpu import cupy_access

        return cupy_access.runtime_release() if cupy_access.unavailable_reason() is None else None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
