"""Printing of tensors, in PyTorch's form.

All numbers of a tensor are printed in one format, chosen from the finite non-zero ones: integers as ``2.``, else
four decimals, else (a ratio above 1000, or very large or very small entries) four decimals and an exponent.
Rows break at 80 columns; above 1000 entries only three at each end of every axis are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, to_numpy
from ..errors import ArgumentTypeError
from ..tape.modes import defaults
from ..tape.node import Leaf
from ..tape.observe.pictures import html_of, notebooks
from ..tape.tensor import Tensor
from ..typing import Array

__all__ = ["PrintOptions", "format_tensor", "set_printoptions", "tensor_html", "tensor_repr"]


class PrintOptions(NamedTuple):
    """How numbers are printed: decimals, entries from which on to summarise, entries left at an edge, columns."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=float("inf")),
}
options = PROFILES["default"]


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
    *,
    html: bool | None = None,
) -> None:
    """Choose how tensors are printed; what is None stays, except that ``sci_mode=None`` means "as fits".

    Args:
        precision: digits after the point.
        threshold: the number of entries above which the middle is left out.
        edgeitems: how many entries are left at each end then.
        linewidth: columns of a line.
        profile: ``"default"``, ``"short"`` or ``"full"``: the options from which these start.
        sci_mode: always or never with an exponent.
        html: False: notebooks show the text of tensors, modules, tapes and what is on them; True: pictures again.

    >>> import tinygrad_rnn as tg
    >>> tg.set_printoptions(precision=2)
    >>> tg.tensor([1.2345])
    tensor([1.23])
    >>> tg.set_printoptions(profile="default")
    """
    global options
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    options = (options if profile is None else PROFILES[profile])._replace(**chosen, sci_mode=sci_mode)
    if html is not None:
        notebooks.html = html


def tensor_repr(t: Tensor) -> str:
    """``tensor([1., 2.], requires_grad=True)``.

    >>> import tinygrad_rnn as tg
    >>> tg.tensor([[0.5, 100.0], [-1.0, 2.0]])
    tensor([[  0.5000, 100.0000],
            [ -1.0000,   2.0000]])
    >>> tg.tensor([1, 2], dtype=tg.float64)
    tensor([1., 2.], dtype=torch.float64)
    """
    prefix = "tensor("
    # an empty tensor shows no brackets of its shape, but says size=
    text = prefix + ("[]" if t._data.size == 0 else _entries(t._data, len(prefix)))
    width = len(text) - text.rfind("\n") + 1
    for suffix in _suffixes(t):
        if width + len(suffix) + 2 > options.linewidth:
            text += f",\n{' ' * len(prefix)}{suffix}"
            width = len(prefix) + len(suffix)
        else:
            text += f", {suffix}"
            width += len(suffix) + 2
    return text + ")"


def tensor_html(t: Tensor) -> str | None:
    """What a notebook shows of a tensor: its numbers as its text has them, on colours, or their distribution."""
    graph = [suffix for suffix in _suffixes(t) if not suffix.startswith(("size=", "dtype="))]
    return html_of("heat", "tensor", t._data, type(t).__name__, graph, _speller)


def _speller(data: Array) -> Spell:
    return _number_format(data)[0]


def format_tensor(t: Tensor, spec: str) -> str:
    """A 0-d tensor formatted as its number, any other as its text.

    Raises:
        ArgumentTypeError: a format was given for a tensor with axes.
    """
    if t._data.ndim == 0:
        return str(format(t._data.item(), spec))
    if spec:
        raise ArgumentTypeError(
            f"unsupported format string passed to Tensor.__format__: {spec!r} for a tensor of shape {t.shape}. "
            "Only 0-d tensors format as a number; take one entry: t[i].item()"
        )
    return str(t)


def _suffixes(t: Tensor) -> list[str]:
    found = []
    if t.is_cuda:
        found.append(f"device='{t.device}'")
    dtype = t._data.dtype
    if t._data.ndim != 1 if t._data.size == 0 else not options.edgeitems:  # where the brackets do not show the shape
        found.append(f"size={tuple(t._data.shape)}")
    # types that the digits tell; an empty tensor has none
    usual = (np.int64, np.bool_, np.result_type(defaults.dtype, np.complex64)) if t._data.size else ()
    if dtype not in (defaults.dtype, *usual):
        found.append(f"dtype=torch.{dtype}")
    if t._node is not None:
        found.append("requires_grad=True" if isinstance(t._node, Leaf) else f"grad_fn=<{t._node.name()}>")
    return found


# the entries -------------------------------------------------------------------------------------------------------

Spell = Callable[[Any], str]


def _entries(data: Array, indent: int) -> str:
    """The nested brackets of a non-empty array, ``indent`` columns from the left."""
    shape: tuple[int, ...] = data.shape
    ndim = len(shape)
    edge = options.edgeitems
    shortened = [data.size > options.threshold and length > 2 * edge for length in shape]
    for axis, length in enumerate(shape):
        if shortened[axis]:
            before = (slice(None),) * axis
            # on its device: what is not shown is not copied to the host
            ends = data[before + (slice(0, edge),)], data[before + (slice(length - edge, length),)]
            data = array_module(data).concatenate(ends, axis)
    data = to_numpy(data)
    spell, width = _number_format(data)
    per_line = max(1, (options.linewidth - indent - ndim + 1) // (width + 2))
    return _nested(data, 0, _Layout(indent, per_line, edge, shortened, spell))


class _Layout(NamedTuple):
    """The format of the entries of an array: see ``_entries``."""

    indent: int
    per_line: int
    edge: int
    shortened: list[bool]
    spell: Spell


def _nested(data: Array, level: int, layout: _Layout) -> str:
    """The brackets of one entry of axis ``level - 1``; no closure, which would be a cycle of references."""
    rank: int = data.ndim  # of what is left to print
    spell = layout.spell
    if rank == 0:
        return spell(data.item())
    items = [spell(x) for x in data.tolist()] if rank == 1 else [_nested(part, level + 1, layout) for part in data]
    if layout.shortened[level]:
        # with no entries left at an edge the dots stand alone
        items.insert(layout.edge, " ..." if rank == 1 and layout.edge else "...")
    newline = "\n" + " " * (layout.indent + level + 1)
    if rank > 1:
        return "[" + ("," + "\n" * (rank - 2) + newline).join(items) + "]"
    lines = [", ".join(items[k : k + layout.per_line]) for k in range(0, len(items), layout.per_line)]
    return "[" + ("," + newline).join(lines) + "]"


def _number_format(data: Array) -> tuple[Spell, int]:
    """The formatter of the numbers of ``data``, and its width."""
    if data.dtype.kind == "c":
        return _complex_format(data)
    if data.dtype.kind != "f":
        width = max([len(str(x)) for x in data.reshape(-1).tolist()], default=1)
        return (lambda x: str(x).rjust(width)), width
    values = data.reshape(-1).astype(np.float64)  # in float16 the ratios below would overflow
    values = values[np.isfinite(values) & (values != 0)]  # inf and nan are padded to the width of the others
    whole = bool((values == np.ceil(values)).all())
    scientific = False
    if len(values):
        low, high = float(np.abs(values).min()), float(np.abs(values).max())
        uneven = high > 1000 * low or high > 1e8 or low < 1e-4  # PyTorch's own bounds
        scientific = bool(uneven if options.sci_mode is None else options.sci_mode)
    kind = f".{options.precision}e" if scientific else ".0f" if whole else f".{options.precision}f"
    point = "." if kind == ".0f" else ""

    def spell(x: float) -> str:
        return format(x, kind) + (point if math.isfinite(x) else "")  # a whole number is 2., an infinity inf

    width = max([len(spell(x)) for x in values.tolist()], default=1)
    return (lambda x: spell(x).rjust(width)), width


def _complex_format(data: Array) -> tuple[Spell, int]:
    real, real_width = _number_format(data.real)
    imaginary, imaginary_width = _number_format(data.imag)

    def spell(x: complex) -> str:
        second = imaginary(x.imag).lstrip()  # the sign takes the place of the padding
        return real(x.real) + ("" if second.startswith("-") else "+") + second + "j"

    return spell, real_width + imaginary_width + 1
