"""Formulas with one mistake planted: what a check that can fail has to find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .agreement import Equations
from .latex import Node

__all__ = ["mutants"]

ZERO: Node = ("number", 0.0)
TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "!=", "!=": "="}


def planted(node: Any) -> Iterator[tuple[str, Node]]:
    """The node with a mistake at its top: what was done, and what came of it."""
    kind, *rest = node
    if kind == "sum":
        for k, (sign, term) in enumerate(rest[0]):
            for word, other in (("sign", (({"+": "-", "-": "+"}[sign], term),)), ("term missing", ())):
                terms = (*rest[0][:k], *other, *rest[0][k + 1 :])
                if terms:
                    yield f"{word} ({k})", ("sum", terms)
    elif kind == "product":
        for k in range(len(rest[0])):
            factors = (*rest[0][:k], *rest[0][k + 1 :])
            yield f"factor missing ({k})", factors[0][1] if len(factors) == 1 else ("product", factors)
    elif kind == "transpose":
        yield "not transposed", rest[0]
    elif kind == "fraction":
        yield "not divided", rest[0]
        yield "turned over", ("fraction", rest[1], rest[0])
    elif kind == "number":
        yield f"{rest[0]:g} + 1", ("number", rest[0] + 1)
    elif kind == "power":
        yield "power missing", rest[0]
    elif kind in ("root", "size", "floor", "ceil"):
        yield f"{kind} missing", rest[0]
    elif kind == "call" and len(rest) == 3:
        yield f"{rest[0]} missing", rest[2]
    elif kind == "call" and rest[0] in ("max", "min"):
        yield f"{rest[0]} exchanged", ("call", {"max": "min", "min": "max"}[rest[0]], *rest[1:])
    elif kind == "over":
        yield f"{rest[0]} missing", rest[3]
        for k in range(len(rest[2])):
            yield "condition missing", ("over", rest[0], rest[1], (*rest[2][:k], *rest[2][k + 1 :]), rest[3])
    elif kind == "relation":
        for k, relation in enumerate(rest[1]):
            yield f"{relation} turned", ("relation", rest[0], (*rest[1][:k], TURNED[relation], *rest[1][k + 1 :]))
    elif kind == "not":
        yield "not missing", rest[0]
    elif kind in ("and", "or"):
        yield f"{kind}: second missing", rest[0]
        yield f"{kind}: first missing", rest[1]
    elif kind == "cases":
        for k in range(len(rest[0]) - 1):
            yield f"case missing ({k})", ("cases", (*rest[0][:k], *rest[0][k + 1 :]))


def everywhere(node: Any) -> Iterator[tuple[str, Any]]:
    """The tree with a mistake at any one place of it."""
    if not isinstance(node, tuple):
        return
    if node and isinstance(node[0], str) and len(node) > 1 and node[0] not in ("", "odot", "+", "-"):
        yield from planted(node)
    for k, part in enumerate(node):
        for word, other in everywhere(part):
            yield word, (*node[:k], other, *node[k + 1 :])


def mutants(formula: Equations) -> Iterator[tuple[str, Equations]]:
    """Each formula that differs in one place: in which equation and how, and the whole."""

    def of_lines(lines: Any, part: str) -> Iterator[tuple[str, Any]]:
        for k, (of, what) in enumerate(lines):
            for word, other in [*(() if what == ZERO else [("sign", ("sum", (("-", what),)))]), *everywhere(what)]:
                yield f"{part} line {k}: {word}", (*lines[:k], (of, other), *lines[k + 1 :])

    for word, lines in of_lines(formula.value, "value"):
        yield word, formula._replace(value=lines)
    for word, lines in of_lines(formula.inner, "inner"):
        yield word, formula._replace(inner=lines)
    for name, equation in formula.vjps.items():
        for word, (changed,) in of_lines((equation,), f"vjp of {name}"):
            yield word, formula._replace(vjps={**formula.vjps, name: changed})
