"""Arrays as HTML: a table coloured by size where every number can be shown, else figures and a histogram.

    heat(array)         the table, or None if the array is too large for one
    raster(matrix)      a picture with a coloured square for each entry, or for the largest of several
    histogram(array)    how the entries are distributed
    figures(array)      least, mean, greatest; what is not finite
    show(value)         the best of these for an array, a Summary of one, or several

Blue is negative, orange positive, and the deeper the larger, in proportion to the largest entry of the array; the
numbers say it too.  What is not finite has a dashed frame and stands out in bold.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, is_array, to_numpy
from ..tape.observe.values import Summary, raw
from ..typing import Array
from .markup import BORDER, EDGE, Html, box, code, grid, joined, note, picture, tag

__all__ = ["Figures", "figures", "heat", "histogram", "number", "overview", "raster", "shade", "show", "shown_whole"]
__all__ += ["spelled", "tensor"]

ROWS = COLUMNS = 20
"""The largest table."""
ENTRIES = ROWS * COLUMNS
"""In all tables of one array."""
BINS = 32
SQUARES = 96
"""Of a picture of a matrix, along an axis."""
SAMPLED = 1 << 22
"""Of an array of more entries, the histogram takes every n-th, and says so."""

NEGATIVE, POSITIVE, STRANGE = "37,99,235", "234,88,12", "192,38,211"
DEEPEST = 0.5
"""With so much colour on white or black, text in the colour of the page still has a contrast of 4.5 and more."""

Spell = Callable[[Any], str]


def number(x: Any) -> str:
    """An entry as a short text.

    >>> [number(x) for x in (0.123456, 12, True, 1e-12, -0.0, float("nan"), 1 + 0.5j)]
    ['0.1235', '12', 'True', '1e-12', '-0', 'nan', '1+0.5j']
    """
    if isinstance(x, (bool, np.bool_, int, np.integer)):
        return str(x)
    return f"{x:.4g}"


def spelled(x: Any) -> str:
    """An entry with all its digits: the shortest text that reads as the same number of its type.

    >>> spelled(np.float32(0.1)), spelled(np.float16(0.1)), spelled(np.complex64(0.1j))
    ('0.1', '0.1', '0.1j')
    """
    return str(x)


def shade(x: float, largest: float) -> str | None:
    """The background of a number, if there is to be one.

    >>> shade(-1.0, 2.0), shade(0.0, 2.0)
    ('rgba(37,99,235,.25)', None)
    """
    if not math.isfinite(x):
        return f"rgba({STRANGE},.3)"
    depth = f"{DEEPEST * min(abs(x) / largest, 1.0):.2f}".lstrip("0") if largest else ".00"
    return None if depth == ".00" else f"rgba({NEGATIVE if x < 0 else POSITIVE},{depth})"


# the table ---------------------------------------------------------------------------------------------------------


def shown_whole(shape: Sequence[int]) -> bool:
    """Whether an array of this shape fits into tables."""
    if math.prod(shape) > ENTRIES:
        return False
    return len(shape) <= 1 or (shape[-1] <= COLUMNS and shape[-2] <= ROWS)


def heat(
    data: Array,
    *,
    spell: Spell = number,
    ringed: Collection[tuple[int, ...]] = (),
    muted: Array | None = None,
    dotted: bool = False,
    largest: float | None = None,
    heads: tuple[Sequence[Any], Sequence[Any]] | None = None,
) -> Html | None:
    """An array as a table, or several where it has more than two axes; None if it has too many entries.

    A vector is a row, and one of more than 20 entries is broken into rows of 20.

    Args:
        spell: gives the text of an entry.
        ringed: the indices of entries that get a heavy frame.
        muted: a mask of the entries that are written faintly and without colour.
        dotted: write a dot in place of these; a pointer over it still shows the number.
        largest: what the deepest colour stands for; by default the largest entry.
        heads: what stands above the columns and beside the rows of a matrix, in place of their numbers.

    >>> heat(np.array([1.0, -2.0])).count("<td"), heat(np.ones((21, 20)))
    (2, None)
    """
    if not shown_whole(data.shape) or not data.size:
        return None
    values = to_numpy(data)
    if largest is None:
        largest = _largest(values)
    style = _Style(spell, frozenset(ringed), muted, dotted, largest, heads)
    indices = [()] if values.ndim <= 2 else np.ndindex(values.shape[:-2])
    parts = [_table(values[index], index, style) for index in indices]
    return tag("div", *parts, style="overflow-x:auto;max-width:100%")


class _Style(NamedTuple):
    """How the entries of an array are written."""

    spell: Spell
    ringed: frozenset[tuple[int, ...]]
    muted: Array | None
    dotted: bool
    largest: float
    heads: tuple[Sequence[Any], Sequence[Any]] | None


def _largest(values: Array) -> float:
    """The size of the largest entry that is finite."""
    sizes = np.abs(values.astype(np.complex128 if values.dtype.kind == "c" else np.float64))
    return float(sizes[np.isfinite(sizes)].max(initial=0.0))


def _table(values: Array, before: tuple[int, ...], style: _Style) -> Html:
    """A table of the entries of a number, a vector or a matrix.

    Args:
        before: the indices of the axes in front of these.
    """
    ndim = values.ndim
    if ndim == 2:
        rows = [[(i, j) for j in range(values.shape[1])] for i in range(values.shape[0])]
    else:
        places: list[tuple[int, ...]] = [(j,) for j in range(values.size)] if ndim else [()]
        rows = [places[k : k + COLUMNS] for k in range(0, len(places), COLUMNS)]  # type: ignore[misc]
    above: Sequence[Any] = range(values.shape[1] if ndim == 2 else min(values.size, COLUMNS))
    beside: Sequence[Any] = range(len(rows)) if ndim == 2 else [COLUMNS * k for k in range(len(rows))]
    if style.heads is not None and ndim == 2:
        above, beside = style.heads
    with_sides = ndim == 2 or len(rows) > 1
    lines = []
    if ndim:
        corner = [_head("")] if with_sides else []
        lines.append(tag("thead", _line(*corner, *[_head(head) for head in above])))
    body = []
    for side, row in zip(beside, rows, strict=True):
        cells = [_cell(values[place], (*before, *place), style) for place in row]
        body.append(_line(*([_head(side)] if with_sides else []), *cells))
    lines.append(tag("tbody", *body))
    caption = None
    if before:
        caption = tag("caption", f"[{', '.join(map(str, before))}]", style="text-align:left;caption-side:top;padding:0")
    look = f"border-collapse:collapse;margin:2px 8px 2px 0;{EDGE};font-family:monospace;font-size:12px"
    return tag("table", caption, *lines, style=f"{look};display:inline-table;width:auto;vertical-align:top")


def _line(*cells: Html) -> Html:
    return tag("tr", *cells, style="background:none")  # where every other row has a colour of its own


def _head(text: Any) -> Html:
    look = "padding:1px 5px;text-align:right;white-space:nowrap;font-weight:normal;background:none;opacity:.75"
    return tag("th", text, style=f"{look};border:1px solid {BORDER}")


def _cell(x: Any, place: tuple[int, ...], style: _Style) -> Html:
    value = complex(x)
    size = abs(value) if np.iscomplexobj(x) else value.real
    finite = math.isfinite(value.real) and math.isfinite(value.imag)
    muted = style.muted is not None and bool(style.muted[place])
    background = None if muted else shade(size if finite else math.nan, style.largest)
    look = f"padding:1px 5px;text-align:right;background:{background or 'none'}"
    if muted:
        look += ";opacity:.6"
    if place in style.ringed:
        look += ";border:3px solid #d11;font-weight:bold"
    elif not finite:
        look += ";border:2px dashed;font-weight:bold"
    else:
        look += f";border:1px solid {BORDER}"
    where = f"[{', '.join(map(str, place))}] = " if place else ""
    text = "·" if muted and style.dotted else style.spell(x.item()).strip()
    return tag("td", text, title=where + spelled(x), style=look)


# the picture of a large matrix --------------------------------------------------------------------------------------


def raster(matrix: Array, alt: str, *, ringed: Collection[tuple[int, int]] = (), size: int = 320) -> Html:
    """A matrix as a picture: a square for each entry.

    Of a matrix with more rows or columns than there are squares, a square stands for a block of entries and shows the
    largest of them, so that one bad entry among many stays visible.

    Args:
        matrix: of two axes, with at least one entry.
        alt: what it shows, in words.
        ringed: the indices of entries that get a ring.
        size: how many pixels its longer side may have, about.
    """
    values = to_numpy(matrix)
    if values.dtype.kind == "c":
        values = np.abs(values)
    values, (down, across) = _blocks(values.astype(np.float64))
    rows, columns = values.shape
    side = max(2, min(16, size // max(rows, columns)))
    width, height = side * columns, side * rows
    image = base64.b64encode(_png(_pixels(values))).decode()
    parts = [
        f'<image width="{width}" height="{height}" preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{image}"/>',
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" fill="none" stroke="#888"/>',
    ]
    for i, j in ringed:
        x, y, radius = (j // across + 0.5) * side, (i // down + 0.5) * side, max(7.0, 0.8 * side)
        for colour, thick in (("#fff", 5), ("#d11", 2.5)):
            ring = f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'
            parts.append(ring)
    frame = f'width="{width + 20}" height="{height + 20}" viewBox="-10 -10 {width + 20} {height + 20}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>{"".join(parts)}</svg>'
    blocks = None
    if down * across > 1:
        blocks = tag("div", f"a square is the largest of {down} by {across} entries", style="font-size:11px;opacity:.8")
    return tag("div", picture(svg, alt), blocks, style="display:inline-block;vertical-align:top")


def _blocks(values: Array) -> tuple[Array, tuple[int, int]]:
    """The entry of the largest size in each block, and the size of the blocks; nan is larger than any number."""
    down, across = (-(-length // SQUARES) for length in values.shape)
    if down == across == 1:
        return values, (1, 1)
    rows, columns = (-(-length // each) for length, each in zip(values.shape, (down, across), strict=True))
    padded = np.zeros((rows * down, columns * across))
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, down, columns, across).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    # of an infinity and a nan the nan is shown
    sizes = np.where(np.isnan(blocks), np.inf, np.minimum(np.abs(blocks), np.finfo(np.float64).max))
    return np.take_along_axis(blocks, sizes.argmax(-1)[..., None], -1)[..., 0], (down, across)


def _pixels(values: Array) -> Array:
    """A colour, with its depth, for each entry."""
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max(initial=0.0)) or 1.0
    with np.errstate(invalid="ignore"):
        depths = np.where(finite, np.abs(values / largest) * 230, 255)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    for mask, colour in ((values < 0, NEGATIVE), (values > 0, POSITIVE), (~finite, STRANGE)):
        pixels[mask, :3] = [int(part) for part in colour.split(",")]
    pixels[..., 3] = np.nan_to_num(depths)
    return pixels


def _png(pixels: Array) -> bytes:
    """A PNG of red, green, blue and depth."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, 4 * width)], 1)  # 0: no filter
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines.tobytes()))
        + chunk(b"IEND", b"")
    )


# figures and the histogram -------------------------------------------------------------------------------------------


class Figures(NamedTuple):
    """What is said of an array whose entries are not shown; of complex entries, of their sizes.

    Attributes:
        least, mean, greatest: of the entries that are finite; None if there are none.
        nans, infinities: how many there are.
        zeros: how many entries are exactly 0.
        size: the number of entries.
    """

    least: float | None
    mean: float | None
    greatest: float | None
    nans: int
    infinities: int
    zeros: int
    size: int

    def __str__(self) -> str:
        parts = []
        if self.least is not None and self.mean is not None and self.greatest is not None:
            parts.append(f"min {self.least:.4g}, mean {self.mean:.4g}, max {self.greatest:.4g}")
        parts += [f"{count} {name}" for count, name in ((self.nans, "nan"), (self.infinities, "inf")) if count]
        if self.zeros:
            parts.append(f"{self.zeros} of {self.size} are 0")
        return ", ".join(parts)


def figures(data: Array) -> Figures:
    """Least, mean and greatest entry, and how many are not finite, computed where the array is.

    >>> print(figures(np.array([1.0, 3.0, np.nan, 0.0], np.float32)))
    min 0, mean 1.333, max 3, 1 nan, 1 of 4 are 0
    """
    xp = array_module(data)
    flat = data.reshape(-1)
    zeros = int((flat == 0).sum())
    if data.dtype.kind == "c":
        flat = xp.abs(flat)
    nans = infinities = 0
    if flat.dtype.kind == "f":
        nans, infinities = int(xp.isnan(flat).sum()), int(xp.isinf(flat).sum())
        if nans or infinities:
            flat = flat[xp.isfinite(flat)]
    if not flat.size:
        return Figures(None, None, None, nans, infinities, zeros, data.size)
    with np.errstate(all="ignore"):
        mean = float(flat.mean(dtype=np.float64))
        if not math.isfinite(mean):  # the sum is beyond the range
            mean = float((flat / flat.size).sum(dtype=np.float64))
    return Figures(float(flat.min()), mean, float(flat.max()), nans, infinities, zeros, data.size)


def histogram(data: Array, found: Figures | None = None) -> Html | None:
    """How the finite entries are distributed: a picture, with the ends of its axis below; None if there are none.

    Args:
        found: the figures of the array, if they are known.
    """
    found = found or figures(data)
    low, high = found.least, found.greatest
    if low is None or high is None:
        return None
    flat = data.reshape(-1)
    step = -(-flat.size // SAMPLED)
    flat = flat[::step]
    xp = array_module(data)
    flat = (xp.abs(flat) if data.dtype.kind == "c" else flat).astype(np.float64)
    counts, edges = _counted(flat[xp.isfinite(flat)], low, high)
    sample = "" if step == 1 else f", of every {step}. entry"
    most = int(counts.max())
    alt = f"histogram{sample}: {len(counts)} bins from {low:.4g} to {high:.4g}, at most {most} entries in one"
    ends = tag(
        "table",
        _line(
            tag("td", f"{low:.4g}", style="text-align:left;padding:0;border:none;background:none"),
            tag("td", f"{high:.4g}", style="text-align:right;padding:0;border:none;background:none"),
        ),
        style="width:260px;border:none;border-collapse:collapse;margin:0;font-size:11px;font-family:monospace",
    )
    most_in_one = tag("div", f"at most {most} in a bin{sample}", style="font-size:11px;opacity:.8")
    return tag(
        "div",
        picture(_bars(counts, edges), alt, 260, 64),
        ends,
        most_in_one,
        style="margin:2px 12px 2px 0;width:260px;display:inline-block;vertical-align:top",
    )


def _counted(values: Array, low: float, high: float) -> tuple[Array, Array]:
    """The number of values in each bin, and the edges of the bins."""
    if low == high:
        return np.array([values.size]), np.array([low, high])
    # the distance between the ends may be beyond the range, and half of the least number is 0
    half = 2.0 if math.isinf(high - low) else 1.0
    low, high, values = low / half, high / half, values / half
    where = (values - low) / (high - low) * BINS
    places = array_module(values).clip(where.astype(np.int64), 0, BINS - 1)
    counts = to_numpy(array_module(values).bincount(places, minlength=BINS))
    return counts, (low + (high - low) * (np.arange(BINS + 1) / BINS)) * half


def _bars(counts: Array, edges: Array) -> str:
    """The picture of a histogram: bars, and a line where 0 is."""
    width, height = 260, 64
    each = width / len(counts)
    most = max(int(counts.max()), 1)
    parts = []
    for k, count in enumerate(counts.tolist()):
        size = count and max(1.0, (height - 2) * count / most)
        middle = (edges[k] + edges[k + 1]) / 2
        colour = NEGATIVE if middle < 0 else POSITIVE
        place = f'x="{k * each:.1f}" y="{height - 1 - size:.1f}" width="{max(each - 1, 1):.1f}" height="{size:.1f}"'
        title = f"<title>{edges[k]:.4g} to {edges[k + 1]:.4g}: {count}</title>"
        parts.append(f'<rect {place} fill="rgb({colour})" fill-opacity=".7">{title}</rect>')
    low, high = float(edges[0]), float(edges[-1])
    if low < 0 < high:
        x = width / (1 - high / low)
        parts.append(f'<path d="M{x:.1f} 0V{height}" stroke="#888" stroke-dasharray="2 2"/>')
    parts.append(f'<path d="M0 {height - 0.5}H{width}" stroke="#888"/>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'


# whatever there is --------------------------------------------------------------------------------------------------


def show(value: Any, absent: str = "not known") -> Html:
    """A value of a tape: an array, a Summary of one, a number, None, or several of them.

    Args:
        value: what is shown.
        absent: what None means.
    """
    if isinstance(value, (list, tuple)):
        return grid(None, [[f"output {k}", show(item, absent)] for k, item in enumerate(value)])
    if value is None:
        return tag("i", absent)
    if isinstance(value, Summary):
        return _of_summary(value)
    array = value if is_array(value) else raw(value)
    if array is None:
        return joined(str(value))
    head = tag("div", f"{array.dtype.name}{list(array.shape)}", style="font-size:11px;opacity:.8")
    if not array.size:
        return joined(head, tag("i", "no entries"))
    table = heat(array)
    if table is not None:
        return joined(head if array.ndim else None, table)
    return joined(head, overview(array))


def overview(array: Array) -> Html:
    """Figures and histogram of an array, and a picture of it if it is a matrix."""
    found = figures(array)
    view = None
    if array.ndim == 2 and min(array.shape) > 1 and array.size <= SAMPLED:
        view = raster(array, f"the entries of a matrix of {array.shape[0]} rows and {array.shape[1]} columns")
    return joined(tag("div", str(found)), histogram(array, found), view)


def _of_summary(value: Summary) -> Html:
    head = tag("div", f"{value.dtype.name}{list(value.shape)}", style="font-size:11px;opacity:.8")
    if value.norm is None:
        return joined(head, tag("i", "the tape kept the shape alone"))
    parts = [f"norm {value.norm:.4g}"]
    if value.minimum is not None and value.maximum is not None:
        parts.append(f"min {value.minimum:.4g}, max {value.maximum:.4g}")
    first = heat(value.head)
    begins = None if first is None else joined("first entries: ", first)
    return joined(head, tag("div", ", ".join(parts)), begins)


def tensor(data: Array, title: str, notes: Sequence[str], speller: Callable[[Array], Spell]) -> Html:
    """A tensor: its entries, or figures and histogram, under what its text says of type, device and graph.

    Args:
        data: the array.
        title: the kind of tensor.
        notes: what its text says after the entries, as ``requires_grad=True``.
        speller: gives for a NumPy array what gives the text of an entry.
    """
    head = joined(title, " ", code(f"{data.dtype.name}{list(data.shape)}"))
    said = note(", ".join(notes)) if notes else None
    if not data.size:
        return box(head, said, tag("i", "no entries"))
    if shown_whole(data.shape):
        values = to_numpy(data)
        return box(head, said, heat(values, spell=speller(values)))
    return box(head, said, overview(data))
