"""What is left of a gradient that has become small: it carries, it is lost in rounding, it has underflowed, or it is 0.

"The gradient has vanished" may mean four things, of which only the last is about mathematics:

* ``carries``: adding the term to the sum changes it;
* ``below rounding of the sum``: the term is a number like any other, but adding it to what is there changes no bit:
  training goes on as if it were not there, and a larger format would show it;
* ``below smallest normal``: so small that it has fewer digits than others (in float32 below 1.2e-38), or that many
  processors round it to 0;
* ``zero: underflow``: it is stored as 0, but is not (in float32 below 1.4e-45), as its logarithm shows;
* ``zero: structural``: there is no path, or a factor on it is exactly 0, as of a relu that is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..backend import is_array, to_numpy
from ..backend.quiet import unreported
from ..errors import ArgumentError, ArgumentTypeError
from ..tape.tensor import Tensor
from ..typing import Array
from .result import COLOURS, GREY, Result

__all__ = ["LABELS", "Resolution", "log_norm_of", "resolution", "shade", "zones"]

CARRIES = "carries"
ROUNDING = "below rounding of the sum"
SUBNORMAL = "below smallest normal"
UNDERFLOW = "zero: underflow"
STRUCTURAL = "zero: structural"
LABELS = (CARRIES, ROUNDING, SUBNORMAL, UNDERFLOW, STRUCTURAL)
HATCHES = dict(zip(LABELS, ("", "..", "//", "xx", "\\\\"), strict=True))


@dataclass(frozen=True, eq=False)
class Resolution(Result):
    """What each term of a sum is worth, in the dtype in which it is added.

    Attributes:
        labels: of each term, in the order in which they are added; of :data:`LABELS`.
        log_norm: the natural logarithm of its norm.
        naive_norm: what ``numpy.linalg.norm`` says of it, which squares entries and so calls 0 what is not.
        dtype: the dtype.
    """

    labels: tuple[str, ...]
    log_norm: Array
    naive_norm: Array
    dtype: str

    def first(self, label: str) -> int | None:
        """The number of the first term with a label, or None."""
        return self.labels.index(label) if label in self.labels else None

    def head(self) -> str:
        counts = ", ".join(f"{self.labels.count(label)} {label}" for label in LABELS if label in self.labels)
        return f"{len(self.labels)} terms in {self.dtype}: {counts}"

    def columns(self) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        rows = [
            (k, float(log), float(naive), label)
            for k, (log, naive, label) in enumerate(zip(self.log_norm, self.naive_norm, self.labels, strict=True))
        ]
        return ("term", "log norm", "linalg.norm", "label"), rows

    def draw(self, ax: Any) -> None:
        ax.plot(self.log_norm, color=COLOURS[0], marker="o", markersize=2.5, linewidth=1, label="term")
        shade(ax, range(len(self.labels)), self.labels)
        ax.set_xlabel("term, in the order of addition")
        ax.set_ylabel("log norm (nats)")
        ax.legend()


def shade(ax: Any, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Shade the zones of a picture by what is left of its terms, one stripe for each run of equal labels."""
    if not len(labels):
        return
    edges = [0, *[k for k in range(1, len(labels)) if labels[k] != labels[k - 1]], len(labels)]
    named: set[str] = set()
    for lo, hi in pairwise(edges):
        label = labels[lo]
        if label == CARRIES:
            continue
        strength = 0.06 * LABELS.index(label)
        left, right = sorted((float(positions[lo]), float(positions[hi - 1])))
        name = None if label in named else label
        named.add(label)
        ax.axvspan(left - 0.5, right + 0.5, color=GREY, alpha=strength, hatch=HATCHES[label], linewidth=0, label=name)


def log_norm_of(array: Any) -> float:
    """The natural logarithm of the Frobenius norm of an array, whatever its entries; -inf only if all are 0."""
    flat = abs(np.asarray(array).astype(np.float64).reshape(-1))
    largest = float(flat.max(initial=0))
    if not largest > 0:
        return -np.inf if largest == 0 else np.nan
    if not np.isfinite(largest):
        return np.inf
    return float(np.log(largest) + 0.5 * np.log(((flat / largest) ** 2).sum()))


@unreported
def resolution(
    terms: Any, total: Any = None, *, log_norms: Sequence[float] | Array | None = None, dtype: Any = None
) -> Resolution:
    """What each term of a sum is worth: ``S = ((total + t_0) + t_1) + ...``, in the order of ``terms``.

    Args:
        terms: arrays of one shape, or an array (K, ...): terms as they are stored, in the order in which they are
            added, for the gradient of a weight from the last step to the first.
        total: what is there before; None: nothing.
        log_norms: the true natural logarithms of their norms, as :func:`shares` has them, from which terms that are
            stored as 0 are told apart: -inf is structural, anything else an underflow.  None: a stored 0 is taken for
            one that is structural.
        dtype: in which they are added; None: that of the terms.

    Returns:
        :class:`Resolution`.

    Raises:
        ArgumentError: no terms, or terms of different shapes.
        ArgumentTypeError: terms that are no numbers of floating point.

    Source: IEEE 754; N. J. Higham, "Accuracy and stability of numerical algorithms" (2002), chapter 4.

    >>> import numpy as np
    >>> terms = np.array([1.0, 1e-9, 1e-40, 0.0, 0.0], np.float32)
    >>> for label in resolution(terms, log_norms=[0.0, -20.7, -92.1, -120.0, -np.inf]).labels:
    ...     print(label)
    carries
    below rounding of the sum
    below smallest normal
    zero: underflow
    zero: structural
    """
    arrays = [_array(t) for t in (terms if not is_array(terms) and not isinstance(terms, Tensor) else _array(terms))]
    if not arrays:
        raise ArgumentError("resolution(): there are no terms")
    kind = np.dtype(dtype) if dtype is not None else arrays[0].dtype
    if kind.kind != "f":
        raise ArgumentTypeError(f"resolution(): terms must be numbers of floating point, got {kind}")
    if len({a.shape for a in arrays}) != 1:
        raise ArgumentError("resolution(): terms must have one shape")
    if log_norms is not None and len(log_norms) != len(arrays):
        raise ArgumentError(f"resolution(): {len(arrays)} terms, but {len(log_norms)} log_norms")
    smallest = float(np.finfo(kind).smallest_normal)
    labels, logs, naive = [], [], []
    with np.errstate(all="ignore"):
        running = np.zeros(arrays[0].shape, kind) if total is None else _array(total).astype(kind)
        for k, a in enumerate(arrays):
            term = a.astype(kind)
            after = running + term
            log = log_norm_of(a) if log_norms is None else float(log_norms[k])
            label = CARRIES
            if not (term != 0).any():
                label = STRUCTURAL if log == -np.inf else UNDERFLOW
            elif float(abs(term).max()) < smallest:
                label = SUBNORMAL
            elif np.array_equal(after, running, equal_nan=True):
                label = ROUNDING
            labels.append(label)
            logs.append(log)
            naive.append(float(np.linalg.norm(term.reshape(-1))))
            running = after
    return Resolution(tuple(labels), np.array(logs, np.float64), np.array(naive, np.float64), kind.name)


def _array(value: Any) -> Array:
    return np.asarray(to_numpy(value._data if isinstance(value, Tensor) else value))


def zones(log_norms: Array, dtype: Any) -> tuple[str, ...]:
    """The labels of terms of which only the norms are known, as if each were one number, added in this order."""
    info = np.finfo(dtype)
    least, normal = np.log(float(info.smallest_subnormal)) - np.log(2), np.log(float(info.smallest_normal))
    half = np.log(float(info.eps) / 2)
    labels, largest = [], -np.inf
    for log in log_norms:
        if log == -np.inf:
            labels.append(STRUCTURAL)
        elif log <= least:
            labels.append(UNDERFLOW)
        elif log < normal:
            labels.append(SUBNORMAL)
        else:
            labels.append(ROUNDING if log < largest + half else CARRIES)
        largest = max(largest, float(log))
    return tuple(labels)
