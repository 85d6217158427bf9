"""A program without a loop as a graph: boxes from the leaves at the top to the result at the bottom.

Layers are drawn as Sugiyama, Tagawa and Toda do (1981): each record stands below what it uses; an edge that passes
layers has a place of its own in each; the order in a layer follows the mean of its neighbours, which leaves few
crossings.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from ..tape.observe.records import Contribution, Reference, Step, Sweep
from ..tape.observe.tape import Tape
from ..tape.observe.values import short
from .layout import Layout
from .row_labels import label_of
from .sizes import Scale, Size
from .sums import is_fused, shares_of_leaf, terms_of
from .svg import Picture, class_of, hover, number, shortened

__all__ = ["draw_graph", "fits_a_graph", "waiting"]

MOST = 48
"""So many boxes are drawn at most."""
WIDE, TALL, LEAF_TALL, APART, BETWEEN, DUMMY = 164.0, 50.0, 36.0, 18.0, 40.0, 16.0
"""The size of boxes, the space between them and between layers, and the room of an edge that passes."""

Node = Hashable
"""A record's number, ``("leaf", number)``, or of an edge that passes ``(from, to, layer)``."""


@dataclass
class _Graph:
    """Boxes with their layers; edges with the layers that they pass."""

    layers: list[list[Node]]
    links: list[tuple[Node, Node]]  # between neighbouring layers
    ways: dict[tuple[Node, Node], list[Node]]  # of each edge, all its places
    x: dict[Node, float]  # of middles
    width: float


def fits_a_graph(tape: Tape, found: Layout, width: float) -> bool:
    """Whether there is no loop, and room for a box for each record."""
    if any(band.kind == "loop" for band in found.bands) or not 0 < len(tape.records) + len(tape.leaves) <= MOST:
        return False
    return _arranged(tape).width <= width


def _arranged(tape: Tape) -> _Graph:
    edges = list(dict.fromkeys(_edges(tape)))
    depth: dict[Node, int] = {}
    for record in tape.records:
        depth[record.number] = 1 + max((depth.get(a, 0) for a, b in edges if b == record.number), default=0)
    for leaf in tape.leaves:  # just above what uses it first
        below = [depth[b] for a, b in edges if a == ("leaf", leaf.number)]
        depth["leaf", leaf.number] = min(below) - 1 if below else 0
    layers: list[list[Node]] = [[] for _ in range(max(depth.values()) + 1)]
    for node, d in sorted(depth.items(), key=lambda item: isinstance(item[0], int)):
        layers[d].append(node)
    links: list[tuple[Node, Node]] = []
    ways: dict[tuple[Node, Node], list[Node]] = {}
    for a, b in edges:
        way: list[Node] = [a, *[(a, b, d) for d in range(depth[a] + 1, depth[b])], b]
        for d, dummy in enumerate(way[1:-1], depth[a] + 1):
            layers[d].append(dummy)
        ways[a, b] = way
        links += itertools.pairwise(way)
    layers = [layer for layer in layers if layer]
    _ordered(layers, links)
    x = _across(layers, links)
    low = min(x[node] - _wide(node) / 2 for node in x)
    high = max(x[node] + _wide(node) / 2 for node in x)
    return _Graph(layers, links, ways, {node: at - low for node, at in x.items()}, high - low)


def _edges(tape: Tape) -> Iterable[tuple[Node, Node]]:
    for record in tape.records:
        for reference in record.references:
            if reference.kind == "record":
                yield reference.number, record.number
            elif reference.kind == "leaf":
                yield ("leaf", reference.number), record.number


def _wide(node: Node) -> float:
    return DUMMY if isinstance(node, tuple) and len(node) == 3 else WIDE


def _neighbours(links: Sequence[tuple[Node, Node]]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for a, b in links:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    return above, below


def _ordered(layers: list[list[Node]], links: Sequence[tuple[Node, Node]]) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turns; keep the best."""
    above, below = _neighbours(links)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, links)
    for turn in range(12):
        down = turn % 2 == 0
        place = {node: k for layer in layers for k, node in enumerate(layer)}
        for layer in layers if down else layers[::-1]:
            near = above if down else below
            means = {
                node: sum(place[other] for other in near[node]) / len(near[node]) if near.get(node) else place[node]
                for node in layer
            }
            layer.sort(key=means.__getitem__)
            place.update({node: k for k, node in enumerate(layer)})
        count = _crossings(layers, links)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    layers[:] = best


def _crossings(layers: Sequence[Sequence[Node]], links: Sequence[tuple[Node, Node]]) -> int:
    place = {node: (d, k) for d, layer in enumerate(layers) for k, node in enumerate(layer)}
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for a, b in links:
        by_layer.setdefault(place[a][0], []).append((place[a][1], place[b][1]))
    return sum(
        (a[0] - b[0]) * (a[1] - b[1]) < 0 for pairs in by_layer.values() for k, a in enumerate(pairs) for b in pairs[:k]
    )


def _across(layers: Sequence[Sequence[Node]], links: Sequence[tuple[Node, Node]]) -> dict[Node, float]:
    """The middle of each box: near the mean of its neighbours, in order and without overlap."""
    above, below = _neighbours(links)
    x: dict[Node, float] = {}
    for layer in layers:
        at = 0.0
        for node in layer:
            x[node] = at + _wide(node) / 2
            at += _wide(node) + APART
    widest = max(layers, key=lambda layer: sum(_wide(node) + APART for node in layer))
    middle = (x[widest[0]] + x[widest[-1]]) / 2
    for layer in layers:
        shift = middle - (x[layer[0]] + x[layer[-1]]) / 2
        x.update({node: x[node] + shift for node in layer})
    for turn in range(80):
        for layer in layers if turn % 2 == 0 else layers[::-1]:
            wanted = []
            for node in layer:
                near = [*above.get(node, []), *below.get(node, [])]
                # an edge that passes several layers had better be straight
                weights = [4.0 if _wide(node) == _wide(other) == DUMMY else 1.0 for other in near]
                total = sum(weight * x[other] for weight, other in zip(weights, near, strict=True))
                wanted.append(total / sum(weights) if near else x[node])
            forward, back = list(wanted), list(wanted)
            for k in range(1, len(layer)):
                least = (_wide(layer[k - 1]) + _wide(layer[k])) / 2 + APART
                forward[k] = max(wanted[k], forward[k - 1] + least)
            for k in range(len(layer) - 2, -1, -1):
                least = (_wide(layer[k + 1]) + _wide(layer[k])) / 2 + APART
                back[k] = min(wanted[k], back[k + 1] - least)
            x.update({node: (a + b) / 2 for node, a, b in zip(layer, forward, back, strict=True)})
    for layer in layers:  # what stands alone in its layer stands straight below
        near = above.get(layer[0], [])
        if len(layer) == len(near) == 1 and len(below.get(near[0], [])) == 1:
            x[layer[0]] = x[near[0]]
    return x


# drawing -------------------------------------------------------------------------------------------------------------


def draw_graph(
    picture: Picture,
    tape: Tape,
    sizes: dict[int, Size],
    sweep: Sweep | None,
    scale: Scale,
    number_of_step: int | None,
    margin: float,
) -> None:
    """Draw all records and leaves, each with its value and its cotangent, and on edges what was contributed."""
    current = None if sweep is None or number_of_step is None else sweep.steps[number_of_step]
    waits = {} if sweep is None or number_of_step is None else waiting(sweep, number_of_step)
    graph = _arranged(tape)
    left = margin + max(0.0, (picture.width - 2 * margin - graph.width) / 2)
    top = picture.y + 4
    y: dict[Node, float] = {}
    for layer in graph.layers:
        tall = max((_tall(node) for node in layer), default=TALL)
        y.update(dict.fromkeys(layer, top))
        top += tall + BETWEEN
    picture.y = top - BETWEEN + 6
    _draw_edges(picture, graph, y, left, _given(sweep, None if current is None else sizes), current)
    for node in graph.x:
        if isinstance(node, int) or (isinstance(node, tuple) and len(node) == 2):
            x = left + graph.x[node] - WIDE / 2
            if isinstance(node, int):
                _draw_record(picture, tape, node, x, y[node], sizes.get(node), scale, _state(node, sizes, waits, sweep))
            else:
                text = _gradient(tape, node[1], sweep) if current is None else _state(node, sizes, waits, sweep)
                _draw_leaf(picture, tape, node[1], x, y[node], text)
            if node in waits:
                picture.add(_box("wait", x - 3, y[node] - 3, WIDE + 6, _tall(node) + 6, _round(node) + 3))
            if current is not None and _is_target(node, current):
                picture.add(_box("ring", x - 2, y[node] - 2, WIDE + 4, _tall(node) + 4, _round(node) + 2))


def _tall(node: Node) -> float:
    return TALL if isinstance(node, int) else LEAF_TALL if isinstance(node, tuple) and len(node) == 2 else 0.0


def _is_target(node: Node, step: Step) -> bool:
    if isinstance(node, int):
        return step.record is not None and step.record.number == node
    return isinstance(node, tuple) and step.target.kind == "leaf" and node == ("leaf", step.target.number)


def _given(sweep: Sweep | None, only: dict[int, Size] | None) -> dict[tuple[Node, Node], list[Contribution]]:
    """By edge, what the vjps of its lower end gave to its upper end; ``only``: of the records that are there."""
    given: dict[tuple[Node, Node], list[Contribution]] = {}
    for step in [] if sweep is None else sweep.steps:
        if step.record is None or (only is not None and step.record.number not in only):
            continue
        for contribution in step.contributions:
            target = contribution.target
            if target.kind in ("record", "leaf"):
                end: Node = target.number if target.kind == "record" else ("leaf", target.number)
                given.setdefault((end, step.record.number), []).append(contribution)
    return given


def _draw_edges(
    picture: Picture,
    graph: _Graph,
    y: dict[Node, float],
    left: float,
    given: dict[tuple[Node, Node], list[Contribution]],
    current: Step | None,
) -> None:
    few = len(graph.ways) <= 28
    entering: dict[Node, list[tuple[Node, Node]]] = {}
    for a, b in graph.ways:
        entering.setdefault(b, []).append((a, b))
    for edges in entering.values():
        edges.sort(key=lambda edge: graph.x[graph.ways[edge][-2]])
    leaving: dict[Node, list[tuple[Node, Node]]] = {}
    for a, b in graph.ways:
        leaving.setdefault(a, []).append((a, b))
    for edges in leaving.values():
        edges.sort(key=lambda edge: graph.x[graph.ways[edge][1]])
    for (a, b), way in graph.ways.items():
        points = [(left + graph.x[node], y[node]) for node in way]
        start = points[0][0] + _spread(leaving[a], (a, b)), points[0][1] + _tall(a)
        end = points[-1][0] + _spread(entering[b], (a, b)), points[-1][1] - 2
        d = f"M{number(start[0])} {number(start[1])}"
        at = start
        for k, (px, py) in enumerate([*points[1:-1], end]):
            last = k == len(points) - 2
            bend = max(14.0, (py - at[1]) / 2)
            d += f"C{number(at[0])} {number(at[1] + bend)} {number(px)} {number(py - bend)} {number(px)} {number(py)}"
            at = (px, py)
            if not last:  # straight down through the layer
                at = (px, py + TALL)
                d += f"V{number(py + TALL)}"
        active = current is not None and current.record is not None and current.record.number == b
        kind, tip = ("go", "tg-gotip") if active else ("arc", "tg-tip")
        # an edge points as the values go; of the step that is shown, as its contributions go
        marker = f'marker-start="url(#{tip}-back)"' if active else f'marker-end="url(#{tip})"'
        picture.add(f'<path class="{kind}" d="{d}" {marker}/>')
        found = given.get((a, b), [])
        if few and found:
            edges = leaving[a]
            k = edges.index((a, b))
            if len(edges) == 1:
                right = points[1][0] <= start[0] + 4  # beside the curve, not on it
            else:
                right = k > 0
            lower = 11 if 0 < k < len(edges) - 1 else 0
            place = start[0] + (4 if right else -4), start[1] + 12 + lower
            picture.text(*place, _given_in_words(found), "t halo", "" if right else "end")


def _given_in_words(found: Sequence[Contribution]) -> str:
    """The norms of what came back along an edge."""
    norms = [str(Size.of(contribution.value)) for contribution in found]
    return f"{len(norms)} times {norms[0]}" if len(norms) > 1 and len(set(norms)) == 1 else " + ".join(norms)


def _spread(edges: Sequence[tuple[Node, Node]], edge: tuple[Node, Node]) -> float:
    """Where an edge meets its box, so that several do not meet in one point."""
    each = min(56.0, (WIDE - 30) / len(edges))
    return (list(edges).index(edge) - (len(edges) - 1) / 2) * each


def _round(node: Node) -> float:
    """The radius of the corners of a box."""
    return 5.0 if isinstance(node, int) else LEAF_TALL / 2


def _box(kind: str, x: float, y: float, w: float, h: float, r: float = 5) -> str:
    place = f'x="{number(x)}" y="{number(y)}" width="{number(w)}" height="{number(h)}"'
    return f'<rect class="{kind}" {place} rx="{number(r)}"/>'


def waiting(sweep: Sweep, step: int) -> dict[Node, tuple[int, int]]:
    """What something has been given to in the first steps of a sweep, and the sweep has not come to.

    With the number of contributions that have arrived, and of those that will.
    """
    there: set[Node] = set()
    arrived: Counter[Node] = Counter()
    for one in sweep.steps[: step + 1]:
        if one.target.kind in ("record", "leaf"):
            there.add(_end(one.target))
        arrived.update(_end(c.target) for c in one.contributions if c.target.kind in ("record", "leaf"))
    waits = {node: count for node, count in arrived.items() if node not in there}
    all_of_them = Counter(
        end for one in sweep.steps for contribution in one.contributions if (end := _end(contribution.target)) in waits
    )
    return {node: (count, all_of_them[node]) for node, count in waits.items()}


def _end(target: Reference) -> Node:
    return target.number if target.kind == "record" else (target.kind, target.number)


def _state(node: Node, sizes: dict[int, Size], waits: dict[Node, tuple[int, int]], sweep: Sweep | None) -> str:
    """What a box says of its gradient."""
    if sweep is None:
        return ""
    if isinstance(node, int) and node in sizes:
        return f"cotangent: norm {sizes[node]}"
    if node in waits:
        arrived, expected = waits[node]
        return "complete, its turn will come" if arrived == expected else f"{arrived} of {expected} shares arrived"
    return "not yet" if waits else "no gradient"


def _gradient(tape: Tape, n: int, sweep: Sweep | None) -> str:
    """The gradient of a leaf, in a word."""
    leaf = tape.leaves[n]
    kind = f"{leaf.dtype.name}{list(leaf.shape)}"
    if sweep is None:
        return kind
    shares = shares_of_leaf(tape, leaf.name, sweep)
    if not shares:
        return f"{kind}, no gradient"
    count = f", {len(shares)} shares" if len(shares) > 1 else ""
    return f"grad: norm {terms_of(shares)[1]}{count}"


def _draw_record(
    picture: Picture, tape: Tape, n: int, x: float, y: float, size: Size | None, scale: Scale, state: str
) -> None:
    record = tape.records[n]
    picture.add(_box("ground", x, y, WIDE, TALL), _box("n", x, y, WIDE, TALL))
    picture.cells([(class_of(size, scale), x + 1, y + 6, 9, TALL - 12), ("k", x + 1, y + 6, 9, TALL - 12)])
    picture.text(x + 16, y + 15, shortened(label_of([record], tape), 22), "m")
    several = isinstance(record.value, tuple) and len(record.value) > 1
    value = f"{len(record.value)} results" if several else short(record.value)
    if is_fused(record):
        value += f", tape.expand({n}) opens it"
    picture.text(x + 16, y + 29, shortened(f"= {value}", 27), "t")
    picture.text(x + 16, y + 43, shortened(state, 30), "t")
    text = f"{record!r}\nvalue: {shortened(short(record.value), 200)}"
    picture.add(hover(x, y, WIDE, TALL, text))


def _draw_leaf(picture: Picture, tape: Tape, n: int, x: float, y: float, text: str) -> None:
    leaf = tape.leaves[n]
    place = f'x="{number(x)}" y="{number(y)}" width="{number(WIDE)}" height="{number(LEAF_TALL)}"'
    picture.add(f'<rect class="ground leaf" {place} rx="18"/>')
    picture.text(x + WIDE / 2, y + 15, shortened(leaf.name, 22), "m b", "middle")
    picture.text(x + WIDE / 2, y + 28, shortened(text, 30), "t", "middle")
    picture.add(hover(x, y, WIDE, LEAF_TALL, f"{leaf!r}\n{text}"))
