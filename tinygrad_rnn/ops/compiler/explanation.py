"""What became of a cell: its products, what is hoisted, the passes of a step, what is kept, who can run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .numba_layout import Layout
from .program import Program
from .reference import Applied
from .units import LEAVES, Expr, walk

__all__ = ["Explanation", "ProductUse", "explain"]

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@"}
BYTES = {"float32": 4, "float64": 8}


class ProductUse(NamedTuple):
    """One product of a step.

    Attributes:
        text: what is multiplied by what: ``state 0 @ weight_hh.T``.
        rows, columns: of the weight, as it is multiplied: the width of the operand, and of the result.
        segment: the part of the step that begins with it; 0: the operand is there before the step.
        before_loop: it is done for all steps at once.
    """

    text: str
    rows: int
    columns: int
    segment: int
    before_loop: bool


@dataclass(frozen=True)
class Explanation:
    """What a program does, in a few numbers.

    Attributes:
        name, input_size, widths: of the cell.
        masks, emitted: how many masks it is given, and how many values it gives beside its states.
        products: of a step, in the order in which they are done.
        prelude: what is computed once per call, of parameters alone.
        passes: for each segment of a step, between products, how many passes over the units it takes: a sum over units
            ends a pass.
        operations: what a step computes unit by unit, by name, and for how many columns.
        kept: what it keeps for the backward pass, by the operation that made it, and how many columns.
        numbers: how many numbers are in memory between forward and backward, for each row (one step of one sequence):
            products and what replaces them, what is kept, states, operands that are computed.
        refusals: by backend, why it cannot run there; None where it can.
        remarks: by backend, how it runs there, where there are several ways.
    """

    name: str
    input_size: int
    widths: tuple[int, ...]
    masks: int
    emitted: int
    products: tuple[ProductUse, ...]
    prelude: tuple[str, ...]
    passes: tuple[int, ...]
    operations: Mapping[str, int]
    kept: Mapping[str, int]
    numbers: int
    refusals: Mapping[str, str | None]
    remarks: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{self.name}: x of {_count(self.input_size, 'column')}, {self._states()}"]
        if self.masks:
            lines[0] += f", {_count(self.masks, 'mask')}"
        if self.emitted:
            lines[0] += f", {_count(self.emitted, 'emitted value')}"
        early = [use for use in self.products if use.before_loop]
        lines += _section("before the loop, from parameters alone", self.prelude)
        lines += _section("before the loop, for all steps at once (or in the loop, where rows are few)", _uses(early))
        steps = []
        for segment, passes in enumerate(self.passes):
            here = [use for use in self.products if use.segment == segment and not use.before_loop]
            steps += [*_uses(here), f"{_count(passes, 'pass', 'passes')} over the units"]
        columns = ", ".join(f"{op} {count}" for op, count in self.operations.items()) or "nothing"
        lines += _section("in the loop, at every step", [*steps, f"columns computed: {columns}"])
        sizes = ", ".join(f"{self.numbers * size:,} bytes in {dtype}" for dtype, size in BYTES.items())
        kept = ", ".join(f"{op} {count}" for op, count in self.kept.items()) or "nothing but states"
        lines += _section(
            "kept for the backward pass, for each step of each sequence",
            [f"columns kept: {kept}", f"with products and states {_count(self.numbers, 'number')}: {sizes}"],
        )
        backends = []
        for name, reason in self.refusals.items():
            backends.append(f"{name}: {'yes' if reason is None else f'no, {reason}'}")
            if self.remarks[name]:
                backends[-1] += f" ({self.remarks[name]})"
        return "\n".join(lines + _section("kernels", backends))

    def _states(self) -> str:
        of = " and ".join(map(str, self.widths))
        return f"{_count(len(self.widths), 'state')} of {of} column{'s' if self.widths != (1,) else ''}"


def explain(name: str, program: Program, refusals: Mapping[str, str | None], remarks: Mapping[str, str]) -> Explanation:
    """What a program does."""
    layout = Layout(program)
    uses = []
    for k in sorted(range(len(program.groups)), key=lambda k: (layout.segment(k), layout.source(k) != "x", k)):
        for number in program.groups[k].products:
            p = program.products[number]
            source = layout.source(k)
            operand = {"x": "x", "s": f"state {source[1:]}", "e": "computed values"}[source[0]]
            lo, hi = p.part
            weight = _called(program.prelude.matrices[p.weight])
            # of a joined operand, cat([x, h]) @ W, each part has its own part of the weight
            if sum(q.weight == p.weight for q in program.products) > 1:
                weight += f"[:, {lo}:{hi}]" if p.transposed else f"[{lo}:{hi}]"
            text = f"{operand} @ {weight}{'.T' if p.transposed else ''}"
            uses.append(ProductUse(text, hi - lo, p.width, layout.segment(k), source == "x"))
    stages = [layout.stage[e.number] for e in layout.forward_all] or [(0, 0)]
    last = max(segment for segment, _ in stages)
    passes = [max([step for s, step in stages if s == segment], default=0) + 1 for segment in range(last + 1)]
    roots = [*program.forward_roots(), *program.kept]
    computed = [e for e in walk(roots, lambda e: e.number in layout.slot_of) if e.number not in layout.slot_of]
    operands = sum(layout.operand_widths().values())
    return Explanation(
        name=name,
        input_size=program.input_size,
        widths=program.widths,
        masks=len(program.step_masks) + len(program.sequence_masks),
        emitted=len(program.emitted),
        products=tuple(uses),
        prelude=tuple([_called(v) for v in (*program.prelude.matrices, *program.prelude.vectors) if v.args]),
        passes=tuple(passes),
        operations=_columns([e for e in computed if e.op not in LEAVES]),
        kept=_columns(layout.held),
        numbers=layout.columns * bool(layout.held) + sum(program.widths) + operands,  # products are not kept alone
        refusals=dict(refusals),
        remarks=dict(remarks),
    )


def _columns(exprs: Iterable[Expr]) -> dict[str, int]:
    """How many columns each operation makes."""
    found: Counter[str] = Counter()
    for e in exprs:
        found[e.op] += max(e.width, 1)
    return dict(found.most_common())


def _called(v: Any) -> str:
    """A value of the prelude as a user would write it."""
    if not isinstance(v, Applied):
        return repr(v)
    if not v.args:
        return v.name or "a constant"
    if v.operation in INFIX:
        return f" {INFIX[v.operation]} ".join(f"({text})" if " " in text else text for text in map(_called, v.args))
    of = _called(v.args[0])
    if v.operation == "getitem":
        index = v.params["index"]
        index = index if isinstance(index, tuple) else (index,)
        return f"{of}[{', '.join(map(_sliced, index))}]"
    if v.operation in ("transpose", "permute") and len(v.shape) == 2:
        return f"{of}.T"
    return f"{v.operation.strip('_')}({', '.join(map(_called, v.args))})"


def _sliced(i: Any) -> str:
    if not isinstance(i, slice):
        return "..." if i is Ellipsis else repr(i)
    ends = ["" if end is None else str(end) for end in (i.start, i.stop)]
    return ":".join(ends)


def _uses(uses: Iterable[ProductUse]) -> list[str]:
    return [f"{use.text}: {use.rows} -> {use.columns} columns" for use in uses]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    found = [f"    {line}" for line in lines]
    return [f"  {title}", *found] if found else []


def _count(n: int, one: str, more: str = "") -> str:
    return f"{n:,} {one if n == 1 else more or one + 's'}"
