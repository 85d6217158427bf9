"""Graphs for Graphviz and Mermaid: valid, complete, bounded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.support.taped_programs import (
    PROGRAMS,
    Program,
    epochs,
    no_loop,
    packed,
    second_order,
    tanh_rnn,
    taped,
    weight,
)
from tinygrad_rnn.errors import ArgumentError

EDGE = re.compile(r"^ *(\w+) -> (\w+)( \[.*\])?;$")
NODE = re.compile(r'^ *(\w+) \[label="((?:[^"\\]|\\.)*)".*\];$')
MERMAID_EDGE = re.compile(r'^ *(\w+) (?:-->|-\.->|-- "\d+" -->|-\. "\d+" \.->) (\w+)$')
MERMAID_NODE = re.compile(r'^ *(\w+)(?:\["([^"]*)"\]|\(\["([^"]*)"\]\))$')
DOT = shutil.which("dot")


def in_dot(text: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """The nodes with their labels, and the edges; every line is one of the few kinds that there are."""
    lines = text.split("\n")
    assert lines[0] == "digraph tape {" and lines[-1] == "}"
    nodes, edges, depth = {}, [], 1
    for line in lines[1:-1]:
        if re.fullmatch(r" *subgraph cluster_\w+ {", line):
            depth += 1
        elif line.strip() == "}":
            depth -= 1
        elif found := EDGE.match(line):
            edges.append((found[1], found[2], found[3] or ""))
        elif (found := NODE.match(line)) and found[1] not in ("graph", "node", "edge"):
            assert found[1] not in nodes
            nodes[found[1]] = found[2]
        else:
            assert re.fullmatch(r'  (graph|node|edge) \[.*\];| *label="(?:[^"\\]|\\.)*";|  // \d+ more edges', line), (
                line
            )
    assert depth == 1
    return nodes, edges


def in_mermaid(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    lines = text.split("\n")
    assert lines[0] == "flowchart TB"
    nodes, edges, depth = {}, [], 0
    for line in lines[1:]:
        assert line == line.rstrip() and not line.startswith("   " * 20)
        if re.fullmatch(r' *subgraph \w+\["[^"]*"\]', line):
            depth += 1
        elif line.strip() == "end":
            depth -= 1
        elif found := MERMAID_EDGE.match(line):
            edges.append((found[1], found[2]))
        elif found := MERMAID_NODE.match(line):
            assert found[1] not in nodes
            nodes[found[1]] = found[2] or found[3] or ""
        else:
            assert re.fullmatch(
                r"  classDef c\d fill:#\w+,stroke:#\w+,color:#\w+|  class [\w,]+ c\d|  %% \d+ more edges", line
            ), line
    assert depth == 0
    return nodes, edges


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("values", ["all", "shapes"])
def test_every_edge_has_its_ends(program: Program, values: Any) -> None:
    tape = taped(program, values=values)
    nodes, edges = in_dot(tape.to_dot())
    assert {name for a, b, _ in edges for name in (a, b)} <= set(nodes)
    others, arrows = in_mermaid(tape.to_mermaid())
    assert set(others) == set(nodes) and arrows == [(a, b) for a, b, _ in edges]
    assert len(arrows) <= 450 and len(tape.to_mermaid()) < 50_000  # what Mermaid takes by default


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.skipif(DOT is None, reason="graphviz is not installed")
def test_graphviz_draws_it(program: Program) -> None:
    tape = taped(program)
    for fold in (True, False) if len(tape) <= 100 else (True,):
        done = subprocess.run([str(DOT), "-Tjson0"], input=tape.to_dot(fold=fold), capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""
        nodes, edges = in_dot(tape.to_dot(fold=fold))
        drawn = json.loads(done.stdout)
        boxes = [thing for thing in drawn.get("objects", []) if not thing["name"].startswith("cluster")]
        assert {thing["name"] for thing in boxes} == set(nodes)
        assert len(drawn.get("edges", [])) == len(edges)


def test_a_loop_is_one_body_with_a_dashed_edge_to_the_next_step() -> None:
    nodes, edges = in_dot(taped(tanh_rnn).to_dot())
    by_label = {label.split("\\n")[0]: name for name, label in nodes.items()}
    assert len(nodes) == 2 + 4 + 2
    dashed = [(a, b) for a, b, options in edges if "dashed" in options]
    assert dashed == [(by_label["h = tanh(a)"], by_label["W @ h"])]
    assert (by_label["W"], by_label["W @ h"], ' [label="30"]') in edges
    assert (by_label["W @ h"], by_label["a = · + ·"], "") in edges


@pytest.mark.parametrize("program", [tanh_rnn, no_loop, second_order])
def test_unfolded_there_is_an_edge_for_each_reference(program: Program) -> None:
    tape = taped(program)
    nodes, edges = in_dot(tape.to_dot(fold=False))
    wanted = {
        (f"r{r.number}" if r.kind == "record" else f"l{r.number}", f"r{record.number}")
        for record in tape
        for r in record.references
        if r.kind in ("record", "leaf")
    }
    assert {(a, b) for a, b, _ in edges} == wanted and len(edges) == len(wanted)
    assert len(nodes) == len(tape) + len(tape.leaves)


def test_nested_loops_are_clusters_in_clusters() -> None:
    text = taped(epochs).to_dot()
    outer = text.index('label="for _ in range(3), 3 steps"')
    assert text[:outer].count("subgraph") == 1
    inner = text.index('label="for _ in range(20), 20 steps"')
    assert outer < inner and text[outer:inner].count("}") == 0


def test_shades_and_words_are_those_of_the_sweep_that_is_asked_for() -> None:
    tape = taped(epochs)
    first, last = tape.to_dot(sweep=0), tape.to_dot(sweep=2)
    assert first != last and tape.to_dot() == last
    assert "no gradient" in first and "cotangent" in first
    with pytest.raises(ArgumentError, match="sweep must be"):
        tape.to_dot(sweep=3)
    with pytest.raises(ArgumentError, match="sweep must be"):
        tape.to_mermaid(sweep=3)


def test_too_many_records_to_draw_each_are_refused() -> None:
    with pytest.raises(ArgumentError, match="fold=True"):
        taped(packed).to_dot(fold=False)


def awkward(name: str) -> Any:
    w = h = weight(2)
    with tg.Tape() as tape:
        tape.name(**{name: w})
        for _ in range(3):
            h = tg.tanh(h * w)
        h.sum().backward()
    return tape


@pytest.mark.parametrize(
    "name",
    [
        'a"b',
        "a\\",
        "a\\N",
        "]|{}<br>",
        "`*x*`",
        "%% end",
        "1. one",
        "- one",
        "end",
        "#35;",
        "\x00\n\t",
        "x" * 9999,
        "ß日本",
    ],
)
def test_names_are_labels_and_nothing_else(name: str) -> None:
    tape = awkward(name)
    nodes, _ = in_dot(tape.to_dot())
    label = re.sub(r"\\(.)", r"\1", nodes["l0"])
    assert label == "".join(
        " " if ord(c) < 32 else c for c in (name if len(name) < 48 else "x" * 47 + "…")
    ).strip() or ("\n" in name or "\t" in name or len(label.split()) <= len(name))
    others, _ = in_mermaid(tape.to_mermaid())
    assert not re.match(r"[-+*`\d]", others["l0"])  # an item of a list, a text in Markdown
    back = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), others["l0"])
    assert back == label
    if DOT:
        done = subprocess.run([DOT, "-Tjson0"], input=tape.to_dot(), capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""


def test_long_programs_are_cut() -> None:
    names: dict[str, Any] = {"w": weight(2), "tg": tg}
    with tg.Tape() as tape:
        exec("v = w\n" + "\n".join(["v = tg.tanh(v) * w"] * 500) + "\nv.sum().backward()", names)
    nodes, edges = in_dot(tape.to_dot())
    assert len(nodes) <= 125 and any("more" in label for label in nodes.values())
    in_mermaid(tape.to_mermaid())
    assert len(edges) <= 450
