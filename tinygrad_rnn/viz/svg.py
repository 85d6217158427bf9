"""SVG as text: escaping, colours for light and dark, and what all still pictures have in common.

A picture stands alone: no script, no font and no file from elsewhere, so that it works inline and as ``<img>``.
Its colours follow the reader's ``prefers-color-scheme``.  Both scales of shades change in lightness in one direction
only, and go from blue to yellow, so that those who see fewer colours tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from .sizes import Scale, Size

__all__ = ["DARK", "LIGHT", "Picture", "class_of", "escaped", "hover", "number", "shortened", "width_of"]

LIGHT = ("#eef3c6", "#d2ebb3", "#a2d9b5", "#6bc3bd", "#39a8c2", "#2389ba", "#2464a7", "#253e91", "#0b1e63")
"""The shades of the scale on a light ground, from small to large."""
DARK = ("#20324b", "#244870", "#27628f", "#2b7ea2", "#3b9ba4", "#63b69b", "#9ccd8b", "#d4e180", "#fcf39c")
"""The same on a dark ground."""

MONO = "ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace"
SANS = "system-ui,'DejaVu Sans','Liberation Sans',Helvetica,Arial,sans-serif"

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_COLOURS = {
    "bg": ("#fdfdfb", "#14171d"),
    "ink": ("#1b1f2a", "#e7e9ee"),
    "soft": ("#565e6c", "#a3abb9"),
    "line": ("#d5d8de", "#343a45"),
    "bar": ("#b4540a", "#f0a35e"),
    "ring": ("#c2185b", "#ff7eb6"),
    "odd": ("#8f979f", "#6b7380"),
}


def _style() -> str:
    def variables(k: int) -> str:
        shades = (LIGHT, DARK)[k]
        named = [f"--{name}:{pair[k]}" for name, pair in _COLOURS.items()]
        return ";".join(named + [f"--c{n}:{shade}" for n, shade in enumerate(shades)])

    rules = [
        f".tg-still{{{variables(0)};color-scheme:light dark}}",
        f"@media(prefers-color-scheme:dark){{.tg-still{{{variables(1)}}}}}",
        f".tg-still text{{font:12px {SANS};fill:var(--ink)}}",
        f".tg-still .m{{font:11px {MONO}}}",
        ".tg-still .h{font-weight:600;font-size:15px}.tg-still .b{font-weight:600}",
        ".tg-still .s{fill:var(--soft)}.tg-still .t{font-size:10px;fill:var(--soft)}.tg-still .e{fill:var(--ring)}",
        ".tg-still .halo{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}",
        ".tg-still .ground{fill:var(--bg)}.tg-still .n{fill:none;stroke:var(--line)}",
        *[f".tg-still .c{n}{{fill:var(--c{n})}}" for n in range(len(LIGHT))],
        ".tg-still .z{fill:url(#tg-zero)}.tg-still .u{fill:url(#tg-tiny)}.tg-still .x{fill:var(--ring)}",
        ".tg-still .q{fill:var(--odd)}.tg-still .k{fill:none;stroke:var(--line);stroke-width:.6}",
        ".tg-still .bar{fill:var(--bar)}.tg-still .lost{fill:var(--bar);opacity:.32}",
        ".tg-still .ring{fill:none;stroke:var(--ring);stroke-width:2}",
        ".tg-still .wait{fill:none;stroke:var(--ring);stroke-width:1.2;stroke-dasharray:3 2}",
        ".tg-still .arc{fill:none;stroke:var(--soft);stroke-width:1.2}.tg-still .tip{fill:var(--soft)}",
        ".tg-still .go{fill:none;stroke:var(--ring);stroke-width:1.6}.tg-still .gotip{fill:var(--ring)}",
        ".tg-still .hit{fill:transparent}.tg-still .leaf{stroke:var(--bar);stroke-width:1.2}",
        "@media print{.tg-still{" + variables(0) + "}}",
    ]
    return "".join(rules)


_DEFINITIONS = (
    '<defs><pattern id="tg-zero" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<path d="M0 5L5 0" stroke="var(--odd)" stroke-width=".9"/></pattern>'
    '<pattern id="tg-tiny" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<rect width="4" height="4" fill="var(--c0)"/><path d="M0 0L4 4" stroke="var(--odd)" stroke-width=".9"/></pattern>'
    '<marker id="tg-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path class="tip" d="M0 .5L7.5 4L0 7.5z"/></marker>'
    '<marker id="tg-gotip-back" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto-start-reverse"><path class="gotip" d="M0 .5L7.5 4L0 7.5z"/></marker>'
    '<marker id="tg-gotip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path class="gotip" d="M0 .5L7.5 4L0 7.5z"/></marker></defs>'
)


def escaped(text: str) -> str:
    r"""Text for an element or an attribute; what XML cannot hold at all is a question mark.

    >>> escaped('</svg>&"\x00')
    '&lt;/svg&gt;&amp;&quot;?'
    """
    return escape(_NO_XML.sub("?", text), {'"': "&quot;", "'": "&#39;"})


def number(value: float) -> str:
    """A coordinate, to a tenth of a unit.

    >>> number(3.0), number(2.25), number(-0.01)
    ('3', '2.2', '0')
    """
    text = f"{value:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def width_of(text: str, mono: bool = True) -> float:
    """About how wide a text is: exactly, if it is set in DejaVu Sans Mono."""
    return len(text) * (6.63 if mono else 6.9)


def shortened(text: str, most: int) -> str:
    """The text, cut to so many characters, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"


def class_of(size: Size | None, scale: Scale) -> str:
    """The class of a cell: a shade, or the pattern of what has no place on the scale; ``k`` for no size at all."""
    if size is None:
        return "k"
    if size.kind != "number":
        return {"zero": "z", "tiny": "u", "not finite": "x"}.get(size.kind, "q")
    last = len(LIGHT) - 1
    return f"c{last if scale.count == 1 else round(scale.shade(size) * last / (scale.count - 1))}"


def hover(x: float, y: float, w: float, h: float, text: str) -> str:
    """A place that says something when the mouse is over it."""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(w)}" height="{number(h)}"'
    return f'<rect class="hit" {place}><title>{escaped(text)}</title></rect>'


class Picture:
    """An SVG that grows downwards.

    Args:
        width: in pixels.
        name, description: what is read out in place of the picture.
    """

    def __init__(self, width: float, name: str, description: str) -> None:
        self.width, self.name, self.description = width, name, description
        self.y = 0.0
        self.parts: list[str] = []

    def add(self, *parts: str) -> None:
        """Put elements into the picture."""
        self.parts += parts

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "") -> None:
        """A line of text; ``kind``: its classes."""
        if text:
            classes = f' class="{kind}"' if kind else ""
            place = f' text-anchor="{anchor}"' if anchor else ""
            space = ' xml:space="preserve"' if "  " in text else ""
            self.parts.append(f'<text x="{number(x)}" y="{number(y)}"{classes}{place}{space}>{escaped(text)}</text>')

    def cells(self, cells: Iterable[tuple[str, float, float, float, float]], *, crisp: bool = False) -> None:
        """Rectangles by class, x, y, width and height: one path for each class; ``crisp``: without seams between."""
        extra = ' shape-rendering="crispEdges"' if crisp else ""
        paths: dict[str, list[str]] = {}
        for kind, x, y, w, h in cells:
            w_ = number(w)
            paths.setdefault(kind, []).append(f"M{number(x)} {number(y)}h{w_}v{number(h)}h-{w_}z")
        self.parts += [f'<path class="{kind}" d="{"".join(d)}"{extra}/>' for kind, d in sorted(paths.items())]

    def done(self) -> str:
        """The whole SVG."""
        w, h = number(self.width), number(self.y)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tg-still" width="{w}" height="{h}" viewBox="0 0 {w} {h}" '
            f'role="img" aria-label="{escaped(self.name)}">'
            f"<title>{escaped(self.name)}</title><desc>{escaped(self.description)}</desc>"
            f'<style>{_style()}</style>{_DEFINITIONS}<rect class="ground" width="{w}" height="{h}" rx="6"/>'
            f"{''.join(self.parts)}</svg>\n"
        )
