"""The debugger of the backward pass: one HTML file, which asks nobody for anything.

    page/page.html      the frame: what is shown without scripts, and the rest, deflated
    page/loader.js      inflates it
    page/unpack.js      unpacks what follows
    page/body.html, page/style.css
    page/*.js           in the order of SCRIPTS, all inside one function
    payload.py          the tape

A page of 30 time steps has 58 KiB, 8 of them the tape; shortened, but as text, its scripts alone would have 101.

The page works from a file, a mail, or the ``srcdoc`` of an iframe in a notebook.  Without scripts it shows the records
and the steps as text.
"""

from __future__ import annotations

import functools
import html
import os
import pathlib
import re
import struct
import tempfile
import webbrowser
from collections.abc import Iterable, Set

from ..tape.observe.tape import Tape
from .layout import layout
from .minify import short_script, short_style
from .payload import Failure, encoded, expansions, packed

try:
    import bz2
except ImportError:  # Python was built without it: pages are a sixth larger
    bz2 = None  # type: ignore[assignment]

__all__ = ["Page", "debugger"]

FOLDER = pathlib.Path(__file__).parent / "page"
SCRIPTS = ("data", "numbers", "moment", "view", "panel", "replay", "sliders", "quiz", "controls")
"""The order of the scripts: what a file uses at once stands before it."""
RULES = ("rules_shapes", "rules_elementwise", "rules_places", "rules_reductions", "rules_recurrent")
"""Rules of the replay, of which a page has those that its tape takes; they stand after ``replay``."""
KEYS = ("rules for", "needs")
SHOWN = 6
"""Without scripts, so many records and steps are shown."""


class Page:
    """A page for the browser.

    Attributes:
        html: the whole of it.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> with tg.Tape() as tape:
    ...     (w * w).backward()
    >>> page = tg.viz.debugger(tape)
    >>> page
    <Page 'backward pass of 1 record', ... KiB>
    >>> "http" in page.html.replace("http://www.w3.org/", "")          # nothing outside of the file
    False
    """

    def __init__(self, title: str, text: str) -> None:
        self.title, self.html = title, text

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the page to a file, and return its path."""
        pathlib.Path(path).write_text(self.html, encoding="utf-8", newline="\n")
        return os.fspath(path)

    def open(self, path: str | os.PathLike[str] | None = None) -> str:
        """Show the page in the browser; without ``path`` from a file in the folder for temporary files."""
        if path is None:
            handle, path = tempfile.mkstemp(prefix="tinygrad_rnn-", suffix=".html")
            os.close(handle)
        saved = os.path.abspath(self.save(path))
        webbrowser.open(pathlib.Path(saved).as_uri())
        return saved

    def _repr_html_(self) -> str:
        """In a notebook: an iframe that holds the page."""
        style = "width:100%;height:720px;border:1px solid #8884;border-radius:6px"
        title = html.escape(self.title, quote=True)
        return f'<iframe title="{title}" srcdoc="{html.escape(self.html, quote=True)}" style="{style}"></iframe>'

    def __repr__(self) -> str:
        return f"<Page {self.title!r}, {len(self.html.encode()) / 1024:.0f} KiB>"


def debugger(
    tape: Tape, *, title: str | None = None, error: BaseException | str | None = None, expand: bool = True
) -> Page:
    """The page that steps through what a tape saw, forward and backward.

    Args:
        tape: open or closed, or one that was read from JSON.  ``Tape(values=64)`` makes small pages of large models.
        title: what stands above; by default what it is.
        error: the exception that ended the program, which the page names at its line.
        expand: with fused records opened (:meth:`Tape.expand`), where the tape kept what it takes.

    >>> import tinygrad_rnn as tg
    >>> rnn = tg.nn.RNN(2, 3)
    >>> with tg.Tape() as tape:
    ...     rnn(tg.ones(5, 1, 2))[0].sum().backward()
    >>> tg.viz.debugger(tape, title="a layer").title
    'a layer'
    """
    if title is None:
        what = "backward pass" if tape.sweeps else "forward pass"
        title = f"{what} of {len(tape)} record{'s' if len(tape) != 1 else ''}"
    failure = None if error is None else Failure.of(error, _files(tape))
    inner = expansions(tape) if expand else {}
    payload = packed(tape, layout, title=title, failure=failure, inner=inner)
    primitives = {record.name for each in (tape, *inner.values()) for record in each.records}
    parts = {
        "title": html.escape(title),
        "content": encoded(code(rules(primitives)) + payload),
        "text": html.escape(as_text(tape, failure)),
        "loader": short_script(_read("loader.js")),
    }
    return Page(title, re.sub(r"@@(\w+)@@", lambda found: parts[found[1]], _read("page.html")))


def show(tape: Tape, path: str | os.PathLike[str] | None = None, open: bool = True) -> Page:
    """The page of ``tape.show()``."""
    page = debugger(tape)
    if open:
        page.open(path)
    elif path is not None:
        page.save(path)
    return page


def _files(tape: Tape) -> Iterable[str]:
    """The files of the program."""
    return {line.file for record in tape.records for line in record.stack}


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def rules(primitives: Set[str]) -> tuple[str, ...]:
    """Which files of rules a replay of these primitives takes; each says on its first lines for which it has them.

    >>> rules({"matmul", "tanh"}), rules({"lstm", "add"})
    ((), ('rules_shapes', 'rules_recurrent'))
    """
    chosen = {name for name, (known, _) in _rules().items() if known & primitives}
    chosen |= {needed for name in chosen for needed in _rules()[name][1]}
    return tuple(name for name in RULES if name in chosen)


@functools.cache
def _rules() -> dict[str, tuple[frozenset[str], tuple[str, ...]]]:
    found = {}
    for name in RULES:
        text = _read(f"{name}.js")
        known, needed = (" ".join(re.findall(rf"^// {what}: (.*)", text, re.MULTILINE)).split() for what in KEYS)
        found[name] = frozenset(known), tuple(needed)
    return found


@functools.cache
def code(rules: tuple[str, ...] = ()) -> bytes:
    """Style, body and scripts, by bzip2, and before them the script that unpacks them."""
    body = "".join(line.strip() for line in _read("body.html").splitlines())
    parts = "\0".join((short_style(_read("style.css")), body, short_script(script(rules)))).encode()
    small = parts if bz2 is None else bz2.compress(parts)
    return short_script(_read("unpack.js")).encode() + b"\0" + struct.pack("<I", len(small)) + small


def script(rules: tuple[str, ...] = ()) -> str:
    """All scripts in one function."""
    after = SCRIPTS.index("replay") + 1
    files = "\n".join(_read(f"{name}.js") for name in (*SCRIPTS[:after], *rules, *SCRIPTS[after:]))
    return f'(async () => {{\n"use strict";\n{files}\n}})();'


def as_text(tape: Tape, failure: Failure | None) -> str:
    """What the page shows without scripts: records and steps."""
    lines = []
    if failure is not None:
        lines += [f"Stopped by {failure.text}" + (f" at {failure.line}" if failure.line else ""), ""]
    lines += [repr(record)[:200] for record in tape.records[:SHOWN]]
    if len(tape) > SHOWN:
        lines.append(f"... and {len(tape) - SHOWN} more records")
    for sweep in tape.sweeps:
        lines += ["", f"sweep {sweep.number} ({sweep.kind})" + (f", ended by {sweep.error}" if sweep.error else "")]
        for step in sweep.steps[:SHOWN]:
            lines += [line[:200] for line in repr(step).splitlines()]
        if len(sweep.steps) > SHOWN:
            lines.append(f"... and {len(sweep.steps) - SHOWN} more steps")
    return "\n".join(lines)
