"""A tape as a graph in the languages of Graphviz and of Mermaid.

Loops are folded: a node is a row of a loop, an operation that every time step does once; solid edges are within a step,
dashed ones lead to the next.  So a thousand steps take no more room than one, and the recurrence is to be seen as the
circle that it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..errors import ArgumentError
from ..tape.observe.records import Record, Reference, Sweep
from ..tape.observe.tape import Tape
from .layout import Band, layout
from .row_labels import label_of
from .sizes import Scale, Size, sizes_in, sweep_of, text_of
from .svg import LIGHT, class_of, shortened

__all__ = ["to_dot", "to_mermaid"]

MOST_NODES = 120
"""So many nodes are written; what is left out is counted."""
MOST_EDGES = 450
"""Mermaid draws no more than 500."""
MOST_UNFOLDED = 400
"""So many records can be drawn one by one."""


@dataclass
class _Node:
    """A box: its name in the text, what it says, and its shade, a class of ``svg.py``."""

    name: str
    lines: list[str]
    shade: str = ""
    leaf: bool = False


@dataclass
class _Cluster:
    """A band, with the nodes of its rows and the bands inside of it."""

    name: str
    title: str
    nodes: list[_Node] = field(default_factory=list)
    inside: list[_Cluster] = field(default_factory=list)


@dataclass
class _Graph:
    """What both languages write.

    Attributes:
        leaves, clusters: the nodes.
        edges: by name of both ends, and whether the second is in a later step: how many times.
        left_out: edges that would be too many.
    """

    leaves: list[_Node]
    clusters: list[_Cluster]
    edges: Counter[tuple[str, str, bool]]
    left_out: int = 0


def to_dot(tape: Tape, sweep: int | Sweep | None, fold: bool) -> str:
    """The tape in the language of Graphviz; :meth:`Tape.to_dot` tells the arguments."""
    graph = _folded(tape, sweep) if fold else _unfolded(tape, sweep)
    lines = [
        "digraph tape {",
        '  graph [fontname="Helvetica", fontsize=11, labeljust=l, color="#9aa1ab", bgcolor="#ffffff"];',
        '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#9aa1ab", fontname="DejaVu Sans Mono", '
        "fontsize=10];",
        '  edge [color="#565e6c", fontname="Helvetica", fontsize=9, arrowsize=0.7];',
    ]
    lines += [f"  {_dot_node(node)}" for node in graph.leaves]
    for cluster in graph.clusters:
        lines += _dot_cluster(cluster, "  ")
    for (a, b, later), count in graph.edges.items():
        options = [f'label="{count}"'] if count > 1 else []
        options += ['style=dashed, constraint=false, color="#2464a7"'] if later else []
        lines.append(f"  {a} -> {b}" + (f" [{', '.join(options)}]" if options else "") + ";")
    if graph.left_out:
        lines.append(f"  // {graph.left_out} more edges")
    return "\n".join([*lines, "}"])


def _dot_cluster(cluster: _Cluster, space: str) -> Iterator[str]:
    yield f"{space}subgraph cluster_{cluster.name} {{"
    yield f'{space}  label="{_in_dot(cluster.title)}";'
    for node in cluster.nodes:
        yield f"{space}  {_dot_node(node)}"
    for inner in cluster.inside:
        yield from _dot_cluster(inner, space + "  ")
    yield f"{space}}}"


def _dot_node(node: _Node) -> str:
    options = ['label="' + "\\n".join(map(_in_dot, node.lines)) + '"']
    if node.leaf:
        options.append('shape=ellipse, style=filled, fillcolor="#fbeadb", color="#b4540a"')
    elif node.shade.startswith("c"):
        number = int(node.shade[1:])
        options.append(f'fillcolor="{LIGHT[number]}"' + (', fontcolor="#ffffff"' if number >= 5 else ""))
    elif node.shade:
        options.append('style="rounded,filled,dashed"')
    return f"{node.name} [{', '.join(options)}];"


def _in_dot(text: str) -> str:
    r"""Text between quotation marks of Graphviz, where a backslash begins an escape.

    >>> _in_dot('a["i"] = b\\N')
    'a[\\"i\\"] = b\\\\N'
    """
    return "".join(" " if ord(c) < 32 else c for c in text).replace("\\", "\\\\").replace('"', '\\"')


def to_mermaid(tape: Tape, sweep: int | Sweep | None) -> str:
    """The tape as a Mermaid flowchart; :meth:`Tape.to_mermaid` tells the arguments."""
    graph = _folded(tape, sweep)
    lines = ["flowchart TB"]
    lines += [f'  {node.name}(["{_mermaid_label(node)}"])' for node in graph.leaves]
    for cluster in graph.clusters:
        lines += _mermaid_cluster(cluster, "  ")
    for (a, b, later), count in graph.edges.items():
        begin, end = ("-.", ".->") if later else ("--", "-->")
        arrow = f'{begin} "{count}" {end}' if count > 1 else "-.->" if later else "-->"
        lines.append(f"  {a} {arrow} {b}")
    if graph.left_out:
        lines.append(f"  %% {graph.left_out} more edges")
    return "\n".join([*lines, *_mermaid_styles(graph)])


def _mermaid_cluster(cluster: _Cluster, space: str) -> Iterator[str]:
    yield f'{space}subgraph {cluster.name}["{_in_mermaid(cluster.title)}"]'
    for node in cluster.nodes:
        yield f'{space}  {node.name}["{_mermaid_label(node)}"]'
    for inner in cluster.inside:
        yield from _mermaid_cluster(inner, space + "  ")
    yield f"{space}end"


def _mermaid_label(node: _Node) -> str:
    return "<br/>".join(map(_in_mermaid, node.lines))


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,()=+/:@%|·…")


def _in_mermaid(text: str) -> str:
    """Text between quotation marks of Mermaid: whatever could be Markdown, HTML or syntax by its number.

    >>> _in_mermaid('a["i"]')
    'a#91;#34;i#34;#93;'
    """
    escaped = "".join(c if c in _PLAIN else " " if ord(c) < 32 else f"#{ord(c)};" for c in text)
    # what begins like an item of a list is one
    first = escaped[:1]
    return f"#{ord(first)};{escaped[1:]}" if first and first in "+0123456789" else escaped


def _mermaid_styles(graph: _Graph) -> Iterator[str]:
    shades: dict[str, list[str]] = {}
    for node in _all_nodes(graph.clusters):
        if node.shade.startswith("c"):
            shades.setdefault(node.shade, []).append(node.name)
    if not shades:
        return
    for shade, names in sorted(shades.items()):
        number = int(shade[1:])
        ink = "#ffffff" if number >= 5 else "#1b1f2a"
        yield f"  classDef {shade} fill:{LIGHT[number]},stroke:#9aa1ab,color:{ink}"
        yield f"  class {','.join(names)} {shade}"


def _all_nodes(clusters: list[_Cluster]) -> Iterator[_Node]:
    for cluster in clusters:
        yield from cluster.nodes
        yield from _all_nodes(cluster.inside)


# graphs --------------------------------------------------------------------------------------------------------------


class _Sizes:
    """The cotangents of a sweep, in words and as shades."""

    def __init__(self, tape: Tape, sweep: int | Sweep | None) -> None:
        found = sweep_of(tape, sweep)
        self.there = found is not None
        self.sizes: dict[int, Size] = {} if found is None else sizes_in(found)
        self.scale = Scale.of(self.sizes.values())

    def of(self, numbers: list[int]) -> tuple[list[str], str]:
        """A line that says how large the cotangents of some records are, and the shade of the largest."""
        if not self.there:
            return [], ""
        found = [self.sizes[n] for n in numbers if n in self.sizes]
        if not found:
            return ["no gradient"], "k"
        norms = [size.norm for size in found if size.kind in ("number", "tiny")]
        if not norms:
            return [f"cotangent: {found[0]}"], class_of(found[0], self.scale)
        low, high = min(norms), max(norms)
        if low == high:
            largest = max((size for size in found if size.kind in ("number", "tiny")), key=lambda size: size.norm)
            return [f"cotangent: {text_of(high)}"], class_of(largest, self.scale)
        return [f"cotangent: {low:.2g} … {high:.2g}"], ""  # the largest of each row would be much the same


def _leaf_nodes(tape: Tape) -> list[_Node]:
    """The leaves that were used, as many as there is room for."""
    return [_Node(f"l{leaf.number}", [shortened(leaf.name, 48)], leaf=True) for leaf in tape.leaves[: MOST_NODES // 3]]


def _folded(tape: Tape, sweep: int | Sweep | None) -> _Graph:
    """A node for each row of each band."""
    sizes, found = _Sizes(tape, sweep), layout(tape)
    bands = [b for b, band in enumerate(found.bands) if band.rows]
    kept = bands if len(bands) <= 20 else [*bands[:14], *bands[-6:]]
    # what a kept band lies in is kept as well, though it may have no rows of its own
    around = {p for b in kept for p in _parents(found.bands, b)}
    each = max(4, (MOST_NODES * 2 // 3) // max(1, len(kept)))
    if sum(len(found.bands[b].rows) for b in kept) <= MOST_NODES * 2 // 3:
        each = MOST_NODES
    names: dict[int, str] = {}  # of records
    clusters: dict[int, _Cluster] = {}
    top: list[_Cluster] = []
    rest = [n for b in bands if b not in kept for row in found.bands[b].cells for n in row if n >= 0]
    for b in sorted({*kept, *around}):
        band = found.bands[b]
        count = len(band.times)
        title = band.title + (f", {count:,} steps" if band.kind == "loop" and count != 1 else "")
        cluster = clusters[b] = _Cluster(f"b{b}", shortened(title, 90))
        if b in kept:
            cluster.nodes = _nodes_of(band, b, each, names, sizes)
        (clusters[band.parent].inside if band.parent in clusters else top).append(cluster)
        if rest and b == kept[13]:
            text = [f"… {len(bands) - len(kept)} more loops and stretches", f"{len(rest):,} records"]
            top.append(_Cluster("rest", "left out", [_Node("rest0", text, sizes.of(rest)[1])]))
    names.update(dict.fromkeys(rest, "rest0"))
    leaves = _leaf_nodes(tape)
    place = found.places()

    def later(a: int, b: int) -> bool:
        """Whether the second record is in a later step of the same loop than the first."""
        (band, _, c), (other, _, d) = place[a], place[b]
        return band == other and d > c

    return _linked(tape, names, leaves, top, later)


def _parents(bands: tuple[Band, ...], b: int) -> Iterator[int]:
    parent = bands[b].parent
    while parent is not None:
        yield parent
        parent = bands[parent].parent


def _nodes_of(band: Band, b: int, each: int, names: dict[int, str], sizes: _Sizes) -> list[_Node]:
    """The nodes of a band; the rows in the middle as one, if they are too many."""
    rows = list(range(len(band.rows)))
    first = rows if len(rows) <= each else rows[: each - each // 2]
    last = [] if len(rows) <= each else rows[-(each // 2) :]
    nodes = []
    for r in first + last:
        if last and r == last[0]:
            inside = [n for k in rows[len(first) : -len(last)] for n in band.cells[k] if n >= 0]
            names.update(dict.fromkeys(inside, f"b{b}x"))
            lines, shade = sizes.of(inside)
            nodes.append(_Node(f"b{b}x", [f"… {len(rows) - each:,} more", *lines], shade))
        numbers = [n for n in band.cells[r] if n >= 0]
        names.update(dict.fromkeys(numbers, f"b{b}r{r}"))
        lines, shade = sizes.of(numbers)
        nodes.append(_Node(f"b{b}r{r}", [band.rows[r].label, *lines], shade))
    return nodes


def _unfolded(tape: Tape, sweep: int | Sweep | None) -> _Graph:
    """A node for each record, in a cluster for each time step."""
    if len(tape.records) > MOST_UNFOLDED:
        raise ArgumentError(
            f"to_dot(): {len(tape.records)} records are too many to draw each: at most {MOST_UNFOLDED}. "
            "fold=True draws a loop as one body"
        )
    sizes, found = _Sizes(tape, sweep), layout(tape)
    clusters: dict[int, _Cluster] = {}
    top: list[_Cluster] = []
    names = {record.number: f"r{record.number}" for record in tape.records}
    for b, band in enumerate(found.bands):
        cluster = clusters[b] = _Cluster(f"b{b}", shortened(band.title, 90))
        for c, t in enumerate(band.times):
            numbers = [row[c] for row in band.cells if row[c] >= 0]
            nodes = [_record_node(tape.records[n], tape, sizes) for n in numbers]
            if band.kind == "loop" and nodes:
                cluster.inside.append(_Cluster(f"b{b}c{c}", f"t={t}", nodes))
            else:
                cluster.nodes += nodes
        (clusters[band.parent].inside if band.parent in clusters else top).append(cluster)
    return _linked(tape, names, _leaf_nodes(tape), top, lambda a, b: False)


def _record_node(record: Record, tape: Tape, sizes: _Sizes) -> _Node:
    lines, shade = sizes.of([record.number])
    return _Node(f"r{record.number}", [label_of([record], tape), *lines], shade)


def _linked(
    tape: Tape, names: dict[int, str], leaves: list[_Node], top: list[_Cluster], later: Callable[[int, int], bool]
) -> _Graph:
    edges: Counter[tuple[str, str, bool]] = Counter()
    known = {leaf.name for leaf in leaves}
    for record in tape.records:
        b = names[record.number]
        for reference in record.references:
            a = _end(reference, names, known)
            if a is not None and (a != b or reference.kind == "record"):
                carried = reference.kind == "record" and later(reference.number, record.number)
                if a != b or carried:
                    edges[a, b, carried] += 1
    # how often an edge is taken in a loop is the number of its steps: said of leaves alone
    for key in edges:
        if not key[0].startswith("l"):
            edges[key] = 1
    kept = dict(list(edges.items())[:MOST_EDGES])
    return _Graph(leaves, top, Counter(kept), len(edges) - len(kept))


def _end(reference: Reference, names: dict[int, str], leaves: set[str]) -> str | None:
    if reference.kind == "record":
        return names[reference.number]
    name = f"l{reference.number}"
    return name if reference.kind == "leaf" and name in leaves else None
