"""What notebooks show of a tape, and of what is on it: HTML that stands without scripts.

Jupyter asks an object for ``_repr_html_``; the objects ask the function here that is called like their kind, by way of
``tape/observe/pictures.py``.  All of them give bounded HTML: of large things the beginning, and how to see the rest.
What it may consist of says ``markup.py``; tensors are shown by ``heat.py``, modules by ``model_tree.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import dtype, is_array
from ..source_line import Line
from ..tape.node import Leaf, Node
from ..tape.observe.memory import MemoryReport
from ..tape.observe.records import Contribution, Record, Share, Step, Sweep, TapeLeaf, argument_names
from ..tape.observe.shares import Shares
from ..tape.observe.tape import Tape
from ..tape.observe.values import short, size_of_norm
from .debugger import debugger
from .heat import NEGATIVE, number, show
from .markup import (
    BORDER,
    FAINT,
    ROWS,
    Html,
    box,
    clipped,
    code,
    fold,
    grid,
    in_bytes,
    joined,
    more,
    note,
    picture,
    table,
    tag,
)
from .still import to_svg
from .written_out import Equation, drawn, of_contribution, of_result

__all__ = ["contribution", "leaf", "memory", "node", "record", "share", "shares", "step", "sweep", "tape"]

LARGEST_PAGE = 600_000
"""A larger page of the debugger, in bytes, is not put into a notebook, which keeps it in its file."""
LONGEST_TAPE = 10_000
"""Of tapes with more records the debugger is not even made."""


# a tape --------------------------------------------------------------------------------------------------------------


def tape(shown: Tape, error: BaseException | None = None) -> Html:
    """A tape: the still picture, its records, its sweeps, and the debugger behind a fold.

    Args:
        shown: the tape.
        error: what ended the program that it watched.
    """
    sweeps = len(shown.sweeps)
    count = f"Tape of {_plural(len(shown), 'record')}, {_plural(len(shown.leaves), 'leaf', 'leaves')}, "
    parts: list[Any] = [] if error is None else [_failure("the program", f"{type(error).__name__}: {error}")]
    parts += [_failed(s) for s in shown.sweeps if s.error]
    if not shown.records:
        parts.append(note("nothing was recorded: no operation had an argument that requires grad"))
    if shown.records:
        parts.append(fold("picture", _still(shown), opened=True))
        parts.append(fold("records", _records(shown.records)))
    if shown.leaves:
        lines = [leaf_line(found) for found in shown.leaves[:ROWS]]
        lines_below = more(len(shown.leaves) - ROWS, "leaves")
        parts.append(fold("leaves", grid(["leaf", "type", "value", "versions"], lines), lines_below))
    if shown.sweeps:
        found = [joined(sweep(each)) for each in shown.sweeps[-5:]]
        parts.append(fold(_plural(sweeps, "sweep"), more(sweeps - 5, "sweeps before these"), *found))
    if shown.records:
        parts.append(_debugger(shown, error))
    return box(count + _plural(sweeps, "sweep"), *parts)


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _still(shown: Tape) -> Html:
    svg = to_svg(shown)
    words = f"the records of the tape, {len(shown)} in all: rows are operations, columns time steps"
    return tag("div", picture(svg, words), style="overflow-x:auto;max-width:100%")


def _debugger(shown: Tape, error: BaseException | None) -> Html:
    """The page that steps through the tape, which is loaded when its fold is opened, where a notebook may run it."""
    call = code("tape.show()")
    if len(shown) > LONGEST_TAPE:
        return note(call, " opens the debugger in the browser")
    page = debugger(shown, error=error)
    size = len(page.html.encode())
    if size > LARGEST_PAGE:
        return note(call, f" opens the debugger in the browser; for a notebook its {in_bytes(size)} are too many")
    # a sandbox without the origin of the notebook: the page can touch nothing of it
    frame = tag(
        "iframe",
        title=page.title,
        srcdoc=Html(page.html.replace("\0", "\ufffd")),  # as every reader of HTML does
        sandbox="allow-scripts",
        loading="lazy",
        style=f"width:100%;height:720px;border:1px solid {BORDER}",
    )
    where = note(
        "if nothing follows, this notebook is not trusted, or is only shown: ", call, " opens it in the browser"
    )
    return fold("step through it", where, frame)


def _records(records: Sequence[Record]) -> Html:
    columns = ["record", "operation", "name", "result", "value", "where", "line"]
    lines = [
        [
            f"%{r.number}",
            code(clipped(f"{r.name}({', '.join(r.inputs)})", 100)),
            clipped(r.variable or "", 40),
            f"{r.dtype.name}{list(r.shape)}",
            clipped(short(r.value), 80),
            str(r.scope),
            "" if r.line is None else joined(str(r.line), ": ", code(clipped(r.line.text, 100))),
        ]
        for r in records[:ROWS]
    ]
    return tag(
        "div",
        table(columns, lines),
        more(len(records) - ROWS, "records; print(tape) shows all"),
        style="overflow-x:auto",
    )


def leaf_line(found: TapeLeaf) -> list[Any]:
    """A leaf as a line of a table: its name, type, last value, and how many it had."""
    last = found.values[-1] if found.values else None
    kind = f"{found.dtype.name}{list(found.shape)}"
    return [code(clipped(found.name, 80)), kind, clipped(short(last), 80), str(len(found.values))]


def leaf(found: TapeLeaf) -> Html:
    """A leaf: each of the values that it had when it was used."""
    parts = [
        joined(note(f"version {k}") if len(found.values) > 1 else None, show(value))
        for k, value in enumerate(found.values[-8:])
    ]
    return box(joined("leaf ", code(clipped(found.name))), *parts)


# one record ----------------------------------------------------------------------------------------------------------


def record(shown: Record) -> Html:
    """A record: its formula with names and with numbers, its arguments, its result, and the line that computed it."""
    return box(code(clipped(repr(shown), 300)), *_formulas(of_result(shown)), _arguments(shown), _lines(shown.stack))


def _formulas(equations: Sequence[Equation]) -> list[Html]:
    """Equations with names, and below them with numbers."""
    found = []
    for equation in equations:
        numbers = equation.drawn_numbers
        found.append(tag("div", equation.drawn, style="margin:4px 12px;font-size:15px"))
        if numbers is not None:
            found.append(tag("div", numbers, style="margin:4px 12px;overflow-x:auto"))
    return found


PLAIN = (bool, int, float, complex, str, type(None), tuple, list, dict, slice, np.generic, np.dtype, dtype)
"""Keywords of these types are shown."""


def _arguments(shown: Record) -> Html:
    lines = []
    saved = shown.saved
    for k, value in enumerate(shown.arguments):
        name = shown.argument_names[k] if k < len(shown.argument_names) else str(k)
        label = shown.inputs[k] if k < len(shown.inputs) else ""
        kept = "kept" if name in saved else ""
        lines.append([code(name), code(clipped(label, 60)), _value(value), kept])
    for name, value in shown.params.items():
        if not isinstance(value, PLAIN):  # of the kernels' concern
            continue
        lines.append([code(name), "", clipped(repr(value), 120), ""])
    for name, value in saved.items():
        if name not in shown.argument_names and name != "y":
            lines.append([code(name), "", show(value), "kept"])
    lines.append(
        [
            code("y"),
            code(clipped(shown.variable or f"%{shown.number}", 60)),
            show(shown.value),
            "kept" if "y" in saved else "",
        ]
    )
    return tag("div", grid(["", "", "value", "for the way back"], lines), style="overflow-x:auto")


def _value(value: Any) -> Any:
    return number(value) if isinstance(value, (bool, int, float, complex)) else show(value)


def _lines(stack: Sequence[Line]) -> Html | None:
    """The lines of the program that were running."""
    if not stack:
        return None
    return tag("div", *[note(f"{line} in {line.function}: ", code(clipped(line.text, 160))) for line in stack[:8]])


# sweeps --------------------------------------------------------------------------------------------------------------


def step(shown: Step) -> Html:
    """A step of a sweep: the cotangent that had arrived, and by which equation each contribution came of it."""
    what = repr(shown.record) if shown.record is not None else shown.name
    kind = None
    if shown.record is None:
        kind = note("a leaf, where the sweep ends" if shown.is_leaf else "recorded before the tape was opened")
    parts: list[Any] = [note("cotangent"), show(shown.cotangent, "nothing arrived")]
    for each in shown.contributions:
        parts += [note("to ", code(clipped(each.to, 80))), *_formulas(of_contribution(shown, each)), show(each.value)]
        parts.append(_sums(each))
    return box(code(clipped(what, 300)), kind, *parts)


def contribution(shown: Contribution) -> Html:
    """What one vjp gave to one parent."""
    return box(joined("contribution to ", code(clipped(shown.to, 80))), show(shown.value), _sums(shown))


def _sums(shown: Contribution) -> Html | None:
    """What was there before, and what is there with it, on a tape that keeps totals."""
    if shown.after is None:
        return None
    before = tag("i", "nothing") if shown.before is None else show(shown.before)
    return grid(["before", "with it"], [[before, show(shown.after)]])


def sweep(shown: Sweep) -> Html:
    """A sweep: its steps in order, and the exception that ended it."""
    title = f"sweep {shown.number}: {shown.kind}, {_plural(len(shown.steps), 'step')}"
    lines = [
        [
            str(k),
            code(clipped(each.name, 60)),
            "leaf" if each.is_leaf else "" if each.record is None else each.record.name,
            clipped(short(each.cotangent), 60),
            clipped(", ".join([f"{c.to}: {short(c.value)}" for c in each.contributions[:4]]), 160),
        ]
        for k, each in enumerate(shown.steps[:ROWS])
    ]
    moves = grid(["step", "of", "operation", "cotangent", "gives"], lines, right=(0,))
    return box(
        title, _failed(shown), tag("div", moves, style="overflow-x:auto"), more(len(shown.steps) - ROWS, "steps")
    )


def _failed(shown: Sweep) -> Html | None:
    return _failure(f"sweep {shown.number}", shown.error) if shown.error else None


def _failure(what: str, error: str) -> Html:
    look = "border-left:4px solid #d11;padding:2px 8px;margin:2px 0"
    return tag("div", tag("b", f"{what} was ended by "), clipped(error, 500), style=look)


def share(shown: Share) -> Html:
    """What one use of a tensor contributed to its gradient."""
    source = "something recorded before this tape" if shown.record is None else code(clipped(repr(shown.record), 300))
    way = note("by way of ", code(", ".join(shown.through))) if shown.through else None
    return box(joined("share from ", source), way, show(shown.value))


def shares(shown: Shares) -> Html:
    """The terms of a gradient: each with its size as a bar, then their sum, which is the gradient."""
    sizes = [size_of_norm(each.value) for each in shown]
    largest = max([size for size in sizes if np.isfinite(size)], default=0.0)
    lines = []
    for each, size in zip(shown[:ROWS], sizes, strict=False):
        source = "recorded before this tape" if each.record is None else f"%{each.record.number} {each.record.name}"
        time = "" if each.record is None or each.record.time is None else f"t={each.record.time}"
        lines.append([str(each.sweep), source, time, clipped(short(each.value), 60), number(size), bar(size, largest)])
    terms = table(["sweep", "use", "time", "share", "norm", ""], lines)
    total = None
    if shown and all(is_array(each.value) for each in shown):
        total = joined(note("their sum"), show(shown.total()))
    return box(_plural(len(shown), "share"), terms, more(len(shown) - ROWS, "shares"), total)


def bar(size: float, largest: float, width: int = 160) -> Html | None:
    """A bar of a length in proportion to a size."""
    if not (np.isfinite(size) and largest > 0):
        return None
    length = max(1, round(width * size / largest)) if size else 0
    style = f"width:{length}px;height:10px;background:rgba({NEGATIVE},.6);border-right:1px solid {BORDER}"
    return tag("div", tag("div", style=style), style=f"width:{width}px;background:{FAINT}")


def memory(report: MemoryReport) -> Html:
    """What is held for the backward pass: by which record, and how much."""
    most = report.by_record[0][1] if report.by_record else 0
    lines = [[f"{size:,}", bar(size, most), code(clipped(repr(found), 200))] for found, size in report.by_record[:ROWS]]
    rest = more(len(report.by_record) - ROWS, "records")
    title = f"{in_bytes(report.total)} held for the backward pass"
    return box(title, grid(["bytes", "", "held by"], lines, right=(0,)) if lines else None, rest)


def node(shown: Node) -> Html:
    """A node of the graph: its formula, its parents, and what it saved."""
    names = argument_names(shown.primitive, len(shown.parents))
    lines = []
    for k, parent in enumerate(shown.parents):
        saved = "" if shown.args is None or k >= len(shown.args) else _saved(shown.args[k])
        what = "a constant" if parent is None else _leaf_or_node(parent)
        lines.append([code(names[k] if k < len(names) else str(k)), what, saved])
    formula = shown.primitive.formula
    parts = [] if formula is None else [formula.value, *filter(None, formula.vjps.values())]
    result = f"{np.dtype(shown.dtype).name}{list(shown.shape)}"
    where = note(clipped(shown.info, 500)) if shown.info else None
    return box(
        joined(code(repr(shown)), f" {shown.primitive.name}, which gave {result}"),
        *[tag("div", drawn(text), style="margin:4px 12px") for text in parts],
        table(["", "computed from", "saved of it"], lines),
        note("freed: a backward pass went through it") if shown.args is None else None,
        where,
    )


def _leaf_or_node(parent: Leaf | Node) -> Html:
    kind = "leaf" if isinstance(parent, Leaf) else parent.primitive.name
    return joined(kind, " ", code(repr(parent)), f" {np.dtype(parent.dtype).name}{list(parent.shape)}")


def _saved(value: Any) -> Any:
    data = getattr(value, "_data", value)
    if isinstance(value, (Node, Leaf)) or value is None:
        return ""
    return f"{data.dtype.name}{list(data.shape)}" if is_array(data) else clipped(repr(value), 80)
