"""HTML from Python values: elements whose text is escaped, pictures that stand alone, and folds.

Everything here stands without scripts and style sheets, because notebooks are read where there are none.  JupyterLab
removes ``<svg>``, ``<math>``, ``<style>`` and ``<iframe>`` from a notebook that is not trusted, and keeps their *text*;
GitHub also removes ``style`` attributes.  Both keep tables, ``<details>``, and ``<img>`` with its data in the address.
So a picture is an ``<img>``, what matters is written in words and numbers, and colours only repeat it.

Colours are transparent layers over the colour of the page, so they do in light and dark notebooks alike, and the text
keeps the colour that it has there.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "BORDER",
    "EDGE",
    "FAINT",
    "ROWS",
    "Html",
    "box",
    "clipped",
    "code",
    "fold",
    "grid",
    "in_bytes",
    "joined",
    "more",
    "note",
]
__all__ += ["picture", "table", "tag", "visible"]

BORDER = "#8887"
FAINT = "#8882"
EDGE = f"border:1px solid {BORDER}"
ROWS = 50
"""Of a longer list, so many lines are shown."""
LONGEST = 200
"""Of a name or a line of source, so many characters are shown."""

VOID = frozenset({"br", "hr", "img"})
"""Elements without an end tag."""


class Html(str):
    """Text that is HTML: the functions here put it in as it is, and escape everything else."""

    __slots__ = ()


def visible(text: str) -> str:
    r"""Text in which characters that cannot be seen are spelled out.

    Control characters are not allowed in SVG, a lone surrogate cannot be sent at all, and marks that turn the direction
    of writing make a line of source look like another.

    >>> visible("a\x00b\u202ec")
    'a\\x00b\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text])


def clipped(text: str, longest: int = LONGEST) -> str:
    """A text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _escaped(value: Any) -> str:
    return value if isinstance(value, Html) else html.escape(visible(str(value)))


def joined(*parts: Any) -> Html:
    """Parts one after the other, those that are no Html escaped; None is nothing.

    >>> joined(tag("b", "x"), " < y")
    '<b>x</b> &lt; y'
    """
    return Html("".join([_escaped(part) for part in parts if part is not None]))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element.

    Args:
        name: of the element.
        children: texts, which are escaped, and Html, which is not; None is nothing.
        attributes: those that are None are left out, True stands alone; an underscore is a hyphen (``data_of``).  All
            are escaped; an Html keeps its characters that cannot be seen.

    >>> tag("td", "<script>", title='say "hi"', hidden=True, lang=None)
    '<td title="say &quot;hi&quot;" hidden>&lt;script&gt;</td>'
    """
    given = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    written = [
        f" {key}"
        if value is True
        else f' {key}="{html.escape(value if isinstance(value, Html) else visible(str(value)))}"'
        for key, value in given
        if value is not None
    ]
    start = f"<{name}{''.join(written)}>"
    return Html(start if name in VOID else f"{start}{joined(*children)}</{name}>")


def fold(summary: Any, *content: Any, opened: bool = False) -> Html:
    """Content that a click on its summary shows and hides."""
    head = tag("summary", summary, style="cursor:pointer")
    return tag("details", head, *content, open=True if opened else None, style="margin:2px 0")


def picture(svg: str, alt: str, width: int | None = None, height: int | None = None) -> Html:
    """An SVG as an image that carries its own data.

    Args:
        svg: the document, with its namespace.
        alt: what it shows, for readers who do not see it.
        width, height: in pixels, if not those that it says itself.
    """
    data = base64.b64encode(svg.encode()).decode()
    style = "max-width:100%;vertical-align:middle;margin:0;display:inline-block"
    return tag("img", src=f"data:image/svg+xml;base64,{data}", alt=alt, width=width, height=height, style=style)


def grid(
    columns: Sequence[Any] | None, rows: Iterable[Sequence[Any]], right: Iterable[int] = (), caption: Any = None
) -> Html:
    """A table of texts and Html.

    Args:
        columns: the heads; None for a table without.
        rows: the cells.
        right: numbers of columns that are aligned to the right.
        caption: stands above it.
    """
    cell = f"{EDGE};padding:2px 8px;vertical-align:top;white-space:nowrap;background:none;text-align:"
    sides = frozenset(right)

    def line(kind: str, cells: Sequence[Any]) -> Html:
        parts = [tag(kind, c, style=cell + ("right" if k in sides else "left")) for k, c in enumerate(cells)]
        return tag("tr", *parts, style="background:none")  # where every other row has a colour of its own

    body = tag("tbody", *[line("td", row) for row in rows])
    head = None if columns is None else tag("thead", line("th", columns))
    title = None if caption is None else tag("caption", caption, style="text-align:left;caption-side:top;padding:2px 0")
    return tag("table", title, head, body, style=f"border-collapse:collapse;margin:2px 0;{EDGE};font-size:inherit")


def table(columns: Sequence[str] | None, rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> Html:
    """A table without the columns in which there is nothing."""
    count = len(rows[0]) if rows else len(columns or ())
    kept = [k for k in range(count) if any(row[k] for row in rows)]
    heads = None if columns is None else [columns[k] for k in kept]
    return grid(heads, [[row[k] for k in kept] for row in rows], [kept.index(k) for k in right if k in kept])


# parts ---------------------------------------------------------------------------------------------------------------


def box(title: Any, *content: Any) -> Html:
    """What is shown of one object: a title, and content below it."""
    head = tag("div", title, style="font-weight:bold")
    return tag("div", head, *content, style="font-size:13px;line-height:1.4")


def code(text: Any) -> Html:
    """A name or a line of the program."""
    return tag("code", text, style="background:none;padding:0;color:inherit")


def note(*text: Any) -> Html:
    """A line in smaller letters."""
    return tag("div", *text, style="font-size:12px;opacity:.8")


def more(count: int, what: str) -> Html | None:
    """How many are not shown, if there are any."""
    return note(f"and {count} more {what}") if count > 0 else None


def in_bytes(size: int) -> str:
    """A number of bytes for people.

    >>> in_bytes(512), in_bytes(4096)
    ('512 bytes', '4.0 KiB')
    """
    if size < 1024:
        return f"{size} bytes"
    unit = next(k for k in (1, 2, 3, 4) if size < 1024 ** (k + 1) or k == 4)
    return f"{size / 1024**unit:.1f} {' KMGT'[unit]}iB"
