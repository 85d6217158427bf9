"""Sample calls: for every primitive a strategy of arguments, from which the property tests of the registry draw.

A row is a strategy of calls.  Arguments stay away from kinks, poles and ties, where no gradient can be checked; the
rules for those points (``relu'(0) = 0`` and so on) are tested one by one.  Shapes include 0-d, size-1 and empty ones,
layouts include transposed, strided and reversed memory.

:func:`add_samples` adds a row, also for primitives defined elsewhere.  ``table.py`` holds the table, the other files
its rows by family.
"""

from __future__ import annotations

from ...errors import ArgumentError
from ...tape.primitive import REGISTRY
from . import activations, elementwise, indexing, losses, recurrent, reductions, shapes  # noqa: F401
from .table import INEXACT, SAMPLES, Call, Calls, add_samples, inexact

__all__ = ["INEXACT", "SAMPLES", "Call", "add_samples", "inexact", "samples"]


def samples(name: str) -> Calls:
    """The strategy of calls for one primitive.

    Raises:
        ArgumentError: the primitive has no row.
    """
    if name not in SAMPLES:
        known = "is not registered" if name not in REGISTRY else "has no samples: declare some with add_samples"
        raise ArgumentError(f"samples(): primitive {name!r} {known}")
    return SAMPLES[name]()
