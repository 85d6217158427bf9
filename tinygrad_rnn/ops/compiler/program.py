"""Programs: a traced step as products of matrices, and between them expressions of one unit.

A trace (:mod:`.trace`) is a graph of whole arrays, (N, H).  What a fast kernel needs is another view of it:

* the **products**, which BLAS does: ``Z_p = A_p W_p`` for an operand ``A_p`` of x, of a state, or of computed values;
* all else, **one unit** at a time, as expressions of the columns of those products, of states and of vectors
  (:mod:`.units`), so that a loop over units needs no array in between.

Lowering is one walk from the results back.  ``at(v, lo, hi)`` asks: what is value v in columns lo to hi, of one unit?
An elementwise operation is that operation of its arguments in the same columns; a slice ``a[:, 4:8]`` is ``a`` four
columns further on; of ``cat`` it is the part in which the columns are.  So slices and joins vanish, into offsets.

**Blocks.**  ``at`` must be asked for columns that are one expression.  First, therefore, every value gets its *cuts*: a
slice cuts what it is taken from, a join cuts its result, and values that meet in an elementwise operation share their
cuts.  Between two cuts a value is one block.  An LSTM's 4H columns are so cut in four.

**Backward.**  The trace has the cotangent of every value.  Of these a kernel needs few: those of products (``dZ_p``,
blocks of expressions that read cotangents of new states), of states, of x and of vectors.  A product in them,
``dZ_p W_p^T``, is the *adjoint* of a product of the step, a leaf.  Gradients of weights are not expressions:

    dW_p = sum over steps of A_p^T dZ_p,        dv = sum over steps and sequences of its expression.

**Hoisting.**  What depends on parameters alone (slices of weights, ``W - W.T``, ``exp(scale)``) is computed once for
each call by the ``Prelude``; the derivatives of that are the engine's.  A product whose operand depends on the input
alone (``Product.hoisted``) may be done for all steps at once.

Where values are and when they are computed is the subject of :mod:`.arrangement`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...tape.primitive import REGISTRY
from ...tape.tensor import Tensor
from .arrangement import Block, Group, Product, Slot, kept_of, quotients_of, slots_of, stages_of
from .reference import Prelude, Reference
from .trace import Mask, Refused, Trace, Traced
from .units import OPERATIONS, SYNONYMS, Expr, Symbol, Units, Unknown, walk

__all__ = ["Group", "Prelude", "Product", "Program", "Vector", "lower"]

MOST_BLOCKS = 64
JOINED = ("cat", "stack", "place", "place_all")
REDUCTIONS = ("sum", "mean", "amax", "amin", "norm", "var", "logsumexp", "softmax", "log_softmax", "sum_to")
SAME = ("detach", "clone", "alias", "contiguous", "constant_in", "reshape", "broadcast_to", "positive")


@dataclass(frozen=True, eq=False)
class Vector:
    """A vector that expressions read, and its gradient: for each block the expression to be summed over all rows.

    ``gradient`` is None where no gradient reaches it or none is wanted.
    """

    width: int
    blocks: tuple[Block, ...]
    gradient: tuple[Expr, ...] | None


@dataclass(frozen=True, eq=False)
class Program:
    """One step of a cell, forward and backward, over units.

    Attributes:
        input_size, widths: I, and H_k for each state.
        step_masks, sequence_masks: the masks that the step is given; leaves ``mask`` count both, in this order.
        prelude: what is computed once for each call.
        products, vectors: see these.
        groups: the products by operand.
        new_states, new_state_blocks: for each state the expressions of its blocks, and where these are.
        emitted, emitted_blocks: the same of each value that the step gives beside its states.
        state_gradients, state_gradient_blocks: for each state before the step, the expressions of its cotangent, and
            where they are; None where there is none.
        input_gradient, input_blocks: the same of x.
        slots: the sums of products that a step needs, each a block of columns; each column of a product that is read is
            in one of them.
        kept: what the backward pass reads of the forward pass; beside these, states before and after, x, vectors.
        quotients: of an expression that is kept, by number: the new state (k, lo) and the kept factor s > 0 of which it
            is the quotient, ``t = s' / s``.  A kernel may divide instead of keeping t, if its sigmoid is never 0.
        stages: by number of an expression of the forward pass, the segment and the pass of it in which it can be
            computed first.  Segment s begins when s products of computed values have been done, one after the other;
            a pass begins when the sums over rows are known that the pass before ended with.
        reference: the step as it was traced, for derivatives of higher orders.
    """

    input_size: int
    widths: tuple[int, ...]
    step_masks: tuple[Mask, ...]
    sequence_masks: tuple[Mask, ...]
    prelude: Prelude
    products: tuple[Product, ...]
    vectors: tuple[Vector, ...]
    groups: tuple[Group, ...]
    new_states: tuple[tuple[Expr, ...], ...]
    new_state_blocks: tuple[tuple[Block, ...], ...]
    emitted: tuple[tuple[Expr, ...], ...]
    emitted_blocks: tuple[tuple[Block, ...], ...]
    state_gradients: tuple[tuple[Expr, ...] | None, ...]
    state_gradient_blocks: tuple[tuple[Block, ...], ...]
    input_gradient: tuple[Expr, ...] | None
    input_blocks: tuple[Block, ...]
    slots: tuple[Slot, ...]
    kept: tuple[Expr, ...]
    quotients: Mapping[int, tuple[int, int, Expr]]
    stages: Mapping[int, tuple[int, int]]
    reference: Reference

    def forward_roots(self) -> list[Expr]:
        """What a step computes: operands of products, new states, and what is emitted."""
        operands = [e for p in self.products if p.source == "computed" for e in p.operand]
        return [*operands, *[e for blocks in (*self.new_states, *self.emitted) for e in blocks]]

    def backward_roots(self) -> list[Expr]:
        """What the backward pass of a step computes."""
        of_products = [p.gradient for p in self.products]
        every = [*of_products, *[v.gradient for v in self.vectors], *self.state_gradients, self.input_gradient]
        return [e for blocks in every if blocks is not None for e in blocks]

    def __str__(self) -> str:
        """All equations, each once."""
        lines = [f"product[{p.number}] = {p.operand} @ {self.prelude.matrices[p.weight]}" for p in self.products]
        forward = list(walk(self.forward_roots()))
        lines += [f"slot {k} of {s.width} columns: {s.expr!r}" for k, s in enumerate(self.slots)]
        lines += [e.equation() for e in forward if e.args]
        lines += [f"state {k} = {exprs}" for k, exprs in enumerate(self.new_states)]
        lines += [f"emitted {k} = {exprs}" for k, exprs in enumerate(self.emitted)]
        lines.append(f"kept: {self.kept}")
        seen = {e.number for e in forward}
        lines += [e.equation() for e in walk(self.backward_roots()) if e.args and e.number not in seen]
        lines += [f"of product[{p.number}]: {p.gradient}" for p in self.products]
        lines += [f"of vector[{k}]: {v.gradient}" for k, v in enumerate(self.vectors)]
        lines += [f"of state {k}: {exprs}" for k, exprs in enumerate(self.state_gradients)]
        return "\n".join([*lines, f"of x: {self.input_gradient}"])


# lowering ------------------------------------------------------------------------------------------------------------


def lower(t: Trace) -> Program:
    """The program of a traced step.

    Raises:
        Refused: an operation that is not computed unit by unit.
    """
    return _Lowering(t).program()


class _Lowering:
    """The walk from results back to leaves."""

    def __init__(self, t: Trace) -> None:
        self.t, self.units = t, Units()
        self.depends = self._dependences()
        self.state_of = {v.number: k for k, v in enumerate(t.states)}
        # the leaf that an input is
        self.leaves = {t.x.number: ("input", -1)}
        named = {"state": t.states, "mask": t.masks, "cotangent": t.seeds, "emitted": t.emitted_seeds}
        self.leaves |= {v.number: (op, k) for op, given in named.items() for k, v in enumerate(given)}
        self.matrices: dict[int, int] = {}
        self.vectors: dict[int, int] = {}
        self.parts: dict[int, list[int]] = {}  # by number of a product's value, its places in self.products
        self.products: list[tuple[Traced, Traced, Block]] = []  # value, operand, part
        self.cuts: dict[int, set[int]] = {}
        self.memo: dict[tuple[int, int, int], Expr] = {}
        self.adjoints: dict[int, int] = {}  # by number of a product of the backward pass: that of the step

    # which value is what -----------------------------------------------------------------------------------------

    def _dependences(self) -> list[int]:
        """By number of a value: 0 if it depends on parameters alone, 1 on the input, 2 on states, 3 on cotangents."""
        t = self.t
        found: list[int] = []
        own = {v.number: 1 for v in (t.x, *t.masks)} | {v.number: 2 for v in t.states}
        own |= {v.number: 3 for v in (*t.seeds, *t.emitted_seeds)}
        for v in t.values:
            of_args = [found[a.number] for a in v.args if isinstance(a, Traced)]
            found.append(own.get(v.number, max(of_args, default=0)))
        return found

    def _fixed(self, v: Any) -> bool:
        """Whether a value depends on parameters alone, and not on how many sequences there are."""
        return isinstance(v, Traced) and self.depends[v.number] == 0 and self.t.rows not in v.shape

    def _is_product(self, v: Traced) -> bool:
        """Whether it is a product of the forward pass of a changing value with a fixed matrix."""
        return (
            v.operation in ("linear", "matmul")
            and v.number < self.t.forward
            and self.depends[v.number] > 0
            and self._fixed(v.args[1])
            and v.args[1].array.ndim in (1, 2)
            and v.args[0].array.ndim == 2
        )

    def _width(self, v: Traced) -> int:
        """The columns of a value in a row; 1 for one number for a row."""
        shape, rows = v.shape, self.t.rows
        if len(shape) == 2 and shape[0] in (rows, 1) and shape[1] != rows:
            return shape[1]
        if len(shape) <= 1:
            return 1 if shape in ((), (rows,)) else shape[0]
        named = ", ".join("N" if n == rows else str(n) for n in shape)
        raise Refused(f"{_called(v)} of shape ({named}): values are rows of units, (N, H)", v.line)

    def _columns(self, v: Traced) -> list[tuple[Traced, int, int, int]]:
        """What the columns of a value are columns of: (argument, its first, first in v, how many)."""
        args = [a for a in v.args if isinstance(a, Traced)]
        if v.operation == "getitem":
            lo, hi = self._slice(v)
            return [(args[0], lo, 0, hi - lo)]
        if v.operation == "cat":
            if v.params["dim"] != v.array.ndim - 1:
                raise Refused("cat() along the batch, whose sequences are independent of each other", v.line)
            spans, start = [], 0
            for a, size in zip(v.args, v.params["sizes"], strict=True):
                spans.append((a, 0, start, size))
                start += size
            return spans
        if v.operation == "stack":
            if v.params["dim"] != 1 or v.array.ndim != 2:
                raise Refused("stack() along another axis than that of the units of a row", v.line)
            return [(a, 0, k, 1) for k, a in enumerate(v.args)]
        if v.operation in ("place", "place_all"):
            indices = v.params["indices"] if v.operation == "place_all" else [v.params["index"]]
            spans = []
            for a, index in zip(v.args, indices, strict=True):
                lo, hi = self._span(v, index, v.shape)
                spans.append((a, 0, lo, hi - lo))
            return spans
        if v.operation in ("reshape", "broadcast_to") and not self._keeps_rows(v, args[0]):
            shape = ", ".join("N" if n == self.t.rows else str(n) for n in v.shape)
            raise Refused(f"{v.operation}() to ({shape}), which rearranges units", v.line)
        if v.operation in REDUCTIONS:
            axes = v.params.get("axes", (v.params.get("dim", 1) % 2,))
            if args[0].array.ndim != 2 or axes != (1,) or (v.operation == "sum_to" and v.shape != (self.t.rows, 1)):
                raise Refused(f"{_called(v)} over the batch, whose sequences are independent of each other", v.line)
            return []
        width = self._width(v)
        return [(a, 0, 0, width) for a in args if self._width(a) == width]

    def _keeps_rows(self, v: Traced, a: Traced) -> bool:
        """Whether a reshape or a broadcast leaves every unit in its row and column, or repeats one along the row."""
        rows, old, new = self.t.rows, a.shape, v.shape
        if len(old) > 2 or len(new) > 2:
            return False
        if old == new or (new == (rows,) and old == (rows, 1)):
            return True
        return new[:1] == (rows,) and (
            old in ((rows,), (rows, 1), (), (1,), (1, 1)) or (old[:-1] in ((), (1,)) and old[-1:] == new[1:])
        )

    def _slice(self, v: Traced) -> Block:
        return self._span(v, v.params["index"], v.args[0].shape)

    def _span(self, v: Traced, index: Any, shape: tuple[int, ...]) -> Block:
        """The columns that an index reads or writes, of all rows."""
        index = index if isinstance(index, tuple) else (index,)
        if shape == (self.t.rows,) and index in ((slice(None), None), (Ellipsis, None)):  # one number for each row
            return 0, 1
        if any(i is None for i in index) or any(isinstance(i, (np.ndarray, Tensor)) for i in index):
            raise Refused(f"{_called(v)}: an index that is no slice", v.line)
        if any(i is Ellipsis for i in index):
            at = next(k for k, i in enumerate(index) if i is Ellipsis)
            index = (*index[:at], *[slice(None)] * (len(shape) - len(index) + 1), *index[at + 1 :])
        index = (*index, *[slice(None)] * (len(shape) - len(index)))
        last = index[-1]
        if len(shape) == 2 and shape[0] == self.t.rows and isinstance(last, int):  # one column
            start = last % shape[-1]
            index = (*index[:-1], slice(start, start + 1))
        if not all(isinstance(i, slice) for i in index):
            raise Refused(f"{_called(v)}: an index that is no slice", v.line)
        for i, n in zip(index[:-1], shape[:-1], strict=True):
            if i.indices(n) != (0, n, 1):
                raise Refused("it takes some sequences of the batch, and sequences are independent", v.line)
        lo, hi, step = index[-1].indices(shape[-1])
        if shape[-1] == self.t.rows or step != 1:
            raise Refused("a slice that leaves columns out in between, or of the batch", v.line)
        return lo, hi

    # cuts --------------------------------------------------------------------------------------------------------

    def _live(self, roots: list[Traced]) -> list[Traced]:
        """What ``roots`` are made of, down to leaves and products, whose operands are roots in their turn."""
        seen: dict[int, Traced] = {}
        stack = list(roots)
        while stack:
            v = stack.pop()
            if v.number in seen:
                continue
            seen[v.number] = v
            if v.operation == "input" or v.operation == "constant" or self._fixed(v):
                continue
            if self._is_product(v):
                stack.extend([v.args[0], *[a for a in v.args[2:] if isinstance(a, Traced)]])
                g = self.t.gradients.get(v.number)
                if g is not None:
                    stack.append(g)
            elif self._adjoint_of(v) is not None:
                continue  # whose cotangent is a root already: of a product that is live
            else:
                args = [a for a in v.args if isinstance(a, Traced)]
                if any(self._fixed(a) and a.array.ndim > 1 and a.array.size != a.shape[-1] for a in args):
                    raise Refused(f"{_called(v)} of a matrix of parameters; matrices are used in products", v.line)
                stack.extend(args)
        return [seen[n] for n in sorted(seen)]

    def _adjoint_of(self, v: Traced) -> int | None:
        """The product of the step of which a product of the backward pass is the adjoint, ``dZ W^T``."""
        if v.operation not in ("linear", "matmul") or self._is_product(v):
            return None
        found = self.adjoints.get(v.number)
        if found is None:
            found = self.adjoints[v.number] = self._find_adjoint(v)
        return found

    def _find_adjoint(self, v: Traced) -> int:
        g, w = v.args[0], v.args[1]
        if v.number >= self.t.forward and self._fixed(w):
            w = _attached(w)
            for number, gradient in self.t.gradients.items():
                p = self.t.values[number]
                if gradient is g and self._is_product(p):
                    turned = p.operation == "matmul" and w.operation in ("transpose", "permute")
                    if (_attached(w.args[0]) if turned else w) is _attached(p.args[1]):
                        return number
        if self._fixed(w):
            raise Refused(f"a product over {g.array.ndim} axes: values are rows of units, (N, H)", v.line)
        if self._fixed(g):
            raise Refused("a product with a matrix on the left, (W @ h.T).T: write h @ W.T", v.line)
        raise Refused("a product of two values that both change from step to step", v.line)

    def _split(self, v: Traced) -> None:
        """Note a product, one for each part of a joined operand."""
        operand = v.args[0]
        pieces = [(operand, 0)]
        if operand.operation == "cat":
            pieces = [(a, start) for a, _, start, _ in self._columns(operand)]
        self.parts[v.number] = []
        if any(self.depends[a.number] == 0 for a, _ in pieces):  # as cat([h, ones]): one operand
            pieces = [(operand, 0)]
        for piece, start in pieces:
            self.parts[v.number].append(len(self.products))
            self.products.append((v, piece, (start, start + piece.shape[1])))

    def _cut(self, live: list[Traced], ties: list[tuple[Traced, int, Traced, int, int]]) -> None:
        """Give values their cuts: the columns at which one of their blocks ends and the next begins.

        A tie ``(v, i, a, j, count)`` says that columns i.. of v are columns j.. of a, and have the same cuts.
        """
        for v in live:
            self.cuts.setdefault(v.number, {0, self._width(v)})
            if v.operation in ("input", "constant") or self._fixed(v):
                continue
            if self._is_product(v):
                ties += [(v, 0, a, 0, self._width(v)) for a in v.args[2:] if isinstance(a, Traced)]
                g = self.t.gradients.get(v.number)
                if g is not None:
                    ties.append((v, 0, g, 0, self._width(v)))
                continue
            number = self._adjoint_of(v)
            if number is not None:  # cut where the operand was joined
                self.cuts[v.number] |= {bound for p in self.parts[number] for bound in self.products[p][2]}
                continue
            for a, of_a, of_v, count in self._columns(v):
                ties.append((v, of_v, a, of_a, count))
                self.cuts.setdefault(a.number, {0, self._width(a)})
                self.cuts[a.number] |= {of_a, of_a + count}
                self.cuts[v.number] |= {of_v, of_v + count}
        for k, v in enumerate(self.t.states):
            ties.append((v, 0, self.t.new_states[k], 0, self._width(v)))
        changed = True
        while changed:
            changed = False
            for v, of_v, a, of_a, count in ties:
                one, other = self.cuts.setdefault(v.number, set()), self.cuts.setdefault(a.number, set())
                down = {c - of_v + of_a for c in one if of_v <= c <= of_v + count}
                up = {c - of_a + of_v for c in other if of_a <= c <= of_a + count}
                if not down <= other or not up <= one:
                    changed = True
                    other |= down
                    one |= up
                    if max(len(one), len(other)) > MOST_BLOCKS + 1:
                        raise Refused(f"units shifted against each other: more than {MOST_BLOCKS} blocks", v.line)

    def _blocks(self, v: Traced) -> tuple[Block, ...]:
        bounds = sorted(self.cuts.get(v.number, {0, self._width(v)}))
        return tuple(itertools.pairwise(bounds))

    def _exprs(self, v: Traced) -> tuple[Expr, ...]:
        """All columns of a value, block by block."""
        return tuple([self._at(v, lo, hi) for lo, hi in self._blocks(v)])

    # one unit ----------------------------------------------------------------------------------------------------

    def _at(self, v: Any, lo: int, hi: int) -> Expr:
        """Value ``v`` in columns lo to hi."""
        if v is None:
            raise Unknown("an argument is None")
        if not isinstance(v, Traced):
            return self.units.value(v)
        found = self.memo.get((v.number, lo, hi))
        if found is None:
            try:
                found = self._expression(v, lo, hi)
            except Unknown as error:
                raise Refused(f"{_called(v)} is not known to the compiler: {error}", v.line) from None
            self.memo[v.number, lo, hi] = found
        return found

    def _expression(self, v: Traced, lo: int, hi: int) -> Expr:
        u, n = self.units, v.number
        total: Expr | None = None
        if n in self.leaves:
            op, k = self.leaves[n]
            return u.leaf(op, (lo,) if op == "input" else (k, lo), hi - lo, self.depends[n])
        if _uniform(v):
            return u.value(v.array.flat[0].item())
        if self._fixed(v):
            place = self.vectors.setdefault(n, len(self.vectors))
            return u.leaf("vector", (place, lo), hi - lo, 0)
        if self._is_product(v):
            for p in self.parts[n]:
                leaf = u.leaf("product", (p, lo), hi - lo, self.depends[self.products[p][1].number])
                total = leaf if total is None else u.apply("add", total, leaf)
            assert total is not None
            bias = v.args[2] if v.operation == "linear" else None
            return total if bias is None else u.apply("add", total, self._at(bias, lo, hi))
        number = self._adjoint_of(v)
        if number is not None:
            for p in self.parts[number]:
                start, stop = self.products[p][2]
                if start <= lo and hi <= stop:
                    return u.leaf("adjoint", (p, lo - start), hi - lo, 3)
        if v.operation == "getitem" or v.operation in JOINED:
            for a, of_a, of_v, count in self._columns(v):
                if of_v <= lo and hi <= of_v + count:  # more than one where columns were read several times
                    e = self._at(a, lo - of_v + of_a, hi - of_v + of_a)
                    total = e if total is None else u.apply("add", total, e)
            return u.value(0.0) if total is None else total  # nought where nothing was placed
        if v.operation == "cast":
            return self._cast(v, lo, hi)
        if v.operation in SAME:
            return self._same_columns(v.args[0], v, lo, hi)
        reduced = self._reduction(v, lo, hi)
        if reduced is not None:
            return reduced
        if any(isinstance(a, Traced) and a.array.ndim > 2 for a in v.args):
            self._width(next(a for a in v.args if isinstance(a, Traced) and a.array.ndim > 2))
        if v.operation == "clamp":  # by tensors, of which one may be None
            e = self._same_columns(v.args[0], v, lo, hi)
            for op, bound in zip(("maximum", "minimum"), v.args[1:], strict=True):
                e = e if bound is None else u.apply(op, e, self._same_columns(bound, v, lo, hi))
            return e
        args = [self._same_columns(a, v, lo, hi) for a in v.args]
        return self._elementwise(v, args)

    def _same_columns(self, a: Any, v: Traced, lo: int, hi: int) -> Expr:
        """An argument in the columns of its result: the same, or the one that it has."""
        if isinstance(a, Traced) and self._width(a) == 1 and self._width(v) > 1:
            return self._at(a, 0, 1)
        return self._at(a, lo, hi)

    def _cast(self, v: Traced, lo: int, hi: int) -> Expr:
        a = v.args[0]
        if a.array.dtype.kind == "b" and v.array.dtype.kind == "f":
            return self.units.apply("where", self._at(a, lo, hi), self.units.value(1.0), self.units.value(0.0))
        if a.array.dtype != v.array.dtype:
            raise Refused(f"it computes in {a.array.dtype} and in {v.array.dtype}", v.line)
        return self._at(a, lo, hi)

    def _reduction(self, v: Traced, lo: int, hi: int) -> Expr | None:
        """Sums, means and maxima over the units of a row, and what is made of them."""
        u = self.units
        if v.operation in ("sum", "mean", "amax", "amin", "norm", "var", "logsumexp"):
            a = v.args[0]
            return self._over_row(v, self._pieces(a), self._width(a))
        if v.operation == "sum_to":
            return u.over("rowsum", self._pieces(v.args[0]))
        if v.operation in ("softmax", "log_softmax"):
            a = v.args[0]
            top = u.over("rowmax", self._pieces(a))
            exps = [(u.apply("exp", u.apply("sub", e, top)), w) for e, w in self._pieces(a)]
            shifted = u.apply("sub", self._at(a, lo, hi), top)
            total = u.over("rowsum", exps)
            if v.operation == "log_softmax":
                return u.apply("sub", shifted, u.apply("log", total))
            return u.apply("div", u.apply("exp", shifted), total)
        return None

    def _over_row(self, v: Traced, blocks: list[tuple[Expr, int]], count: int) -> Expr:
        """A reduction of a row to one number."""
        u = self.units

        def total(f: Callable[[Expr], Expr], op: str = "rowsum") -> Expr:
            return u.over(op, [(f(e), width) for e, width in blocks])

        def square(e: Expr) -> Expr:
            return u.apply("mul", e, e)

        if v.operation == "sum":
            return total(lambda e: e)
        if v.operation == "amax":
            return total(lambda e: e, "rowmax")
        if v.operation == "amin":
            return u.apply("neg", total(lambda e: u.apply("neg", e), "rowmax"))
        if v.operation == "norm":
            if v.params["p"] not in (1, 2):
                raise Unknown(f"a norm of order {v.params['p']}")
            return total(lambda e: u.apply("abs", e)) if v.params["p"] == 1 else u.apply("sqrt", total(square))
        if v.operation == "logsumexp":
            top = total(lambda e: e, "rowmax")
            top = u.apply("where", u.apply("isfinite", top), top, u.value(0.0))  # inf - inf would be nan
            return u.apply("add", u.apply("log", total(lambda e: u.apply("exp", u.apply("sub", e, top)))), top)
        mean = u.apply("div", total(lambda e: e), u.value(count))
        if v.operation == "mean":
            return mean
        freedom = count - v.params["correction"]
        squares = total(lambda e: square(u.apply("sub", e, mean)))
        return u.apply("mul", squares, u.value(1 / freedom if freedom > 0 else math.nan))

    def _pieces(self, v: Traced) -> list[tuple[Expr, int]]:
        return [(self._at(v, lo, hi), hi - lo) for lo, hi in self._blocks(v)]

    def _elementwise(self, v: Traced, args: list[Expr]) -> Expr:
        """An operation that is done unit by unit: known, or made of known ones."""
        u, name = self.units, SYNONYMS.get(v.operation, v.operation)
        if name == "square":
            return u.apply("mul", args[0], args[0])
        if name == "pow_number":
            return u.apply("pow", args[0], u.value(v.params["exponent"]))
        if name == "clamp_number":
            low, high = v.params["low"], v.params["high"]
            e = args[0] if low is None else u.apply("maximum", args[0], u.value(low))
            return e if high is None else u.apply("minimum", e, u.value(high))
        if name in OPERATIONS and not v.params:
            return u.apply(name, *args)
        primitive = REGISTRY.get(v.operation)
        if primitive is None or primitive.view or primitive.vjp_all is not None:
            raise Unknown("it is not computed unit by unit")
        equation = EQUATIONS.get(v.operation, primitive.forward)
        # its own forward function, applied to one unit, says what it is made of
        try:
            found = equation(*[Symbol(u, e) for e in args], **v.params)
        except Unknown:
            raise
        except Exception as error:
            raise Unknown("it is not computed unit by unit") from error
        if not isinstance(found, Symbol):
            raise Unknown("its function of arrays gives no expression")
        return found.expr

    # gradients of vectors ------------------------------------------------------------------------------------------

    def _rows_of(self, g: Traced) -> list[Traced]:
        """Of the cotangent of a vector the terms that are sums over the batch, as the values in rows that are summed.

        Other terms come from other values of the prelude, which has derivatives of its own.
        """
        if g.operation == "add":
            return [r for a in g.args if isinstance(a, Traced) for r in self._rows_of(a)]
        if g.operation == "sum_to" or (g.operation == "sum" and g.params["axes"] == (0,)):
            return [g.args[0]] if self.t.rows in g.args[0].shape else []
        return []

    def _summed(self, v: Traced, rows: list[Traced]) -> tuple[Expr, ...] | None:
        """What is summed over the batch to give the cotangent of a vector, block by block."""
        if not rows:
            return None
        found = []
        for lo, hi in self._blocks(v):
            total: Expr | None = None
            for r in rows:
                narrow = self._width(v) == 1 and self._width(r) > 1  # one number for all units
                e = self.units.over("rowsum", self._pieces(r)) if narrow else self._at(r, lo, hi)
                total = e if total is None else self.units.apply("add", total, e)
            assert total is not None
            found.append(total)
        return tuple(found)

    # results -----------------------------------------------------------------------------------------------------

    def program(self) -> Program:
        """All of it."""
        t = self.t
        of_states = [t.gradients.get(v.number) for v in t.states]
        of_x = t.gradients.get(t.x.number)
        live = self._live([*t.new_states, *t.emitted, *[g for g in [*of_states, of_x] if g is not None]])
        # vectors that the step reads, with what their gradients sum up
        read = {v.number: v for v in live if self._fixed(v) and not _uniform(v)}
        rows = {n: [] if (g := t.gradients.get(n)) is None else self._rows_of(g) for n in read}
        live = self._live([*live, *[r for rs in rows.values() for r in rs]])
        ties = [
            (read[n], 0, r, 0, self._width(r)) for n in rows for r in rows[n] if self._width(r) == self._width(read[n])
        ]
        for v in live:
            if not self._fixed(v) and self._is_product(v):
                self._split(v)
        self._cut(live, ties)
        for v in live:  # in the order of the step, so that no recursion is deep
            self._exprs(v)
        new_states, emitted = (tuple([self._exprs(v) for v in values]) for values in (t.new_states, t.emitted))
        state_gradients = tuple([None if g is None else self._exprs(g) for g in of_states])
        input_gradient = None if of_x is None else self._exprs(of_x)
        vectors = []
        for n in self.vectors:
            v = t.values[n]
            vectors.append(Vector(self._width(v), self._blocks(v), self._summed(v, rows.get(n, []))))
        products = self._made_products()
        together: dict[tuple[int, ...], list[int]] = {}
        for p in products:
            together.setdefault(tuple([e.number for e in p.operand]), []).append(p.number)
        state_blocks = [self._blocks(v) for v in t.new_states]
        of_all = [*[p.gradient for p in products], *state_gradients, input_gradient, *[w.gradient for w in vectors]]
        operands = [e for p in products if p.gradient is not None for e in p.operand]  # which gradients of weights read
        backward = [*operands, *[e for blocks in of_all if blocks is not None for e in blocks]]
        results = [e for blocks in (*new_states, *emitted) for e in blocks]
        roots = [*[e for p in products for e in p.operand], *results, *backward]
        kept = kept_of(backward, new_states)
        given = [[t.values[n] for n in chosen] for chosen in (self.matrices, self.vectors)]
        masks = tuple([Mask(v.shape[1], v.array.dtype.kind == "b") for v in t.masks])
        return Program(
            input_size=t.x.shape[1],
            widths=tuple([v.shape[1] for v in t.states]),
            step_masks=masks[: t.step_masks],
            sequence_masks=masks[t.step_masks :],
            prelude=Prelude.of(t, *given),
            products=products,
            vectors=tuple(vectors),
            groups=tuple([Group(products[ks[0]].operand, tuple(ks)) for ks in together.values()]),
            new_states=new_states,
            new_state_blocks=tuple(state_blocks),
            emitted=emitted,
            emitted_blocks=tuple([self._blocks(v) for v in t.emitted]),
            state_gradients=state_gradients,
            state_gradient_blocks=tuple([() if g is None else self._blocks(g) for g in of_states]),
            input_gradient=input_gradient,
            input_blocks=() if of_x is None else self._blocks(of_x),
            slots=slots_of(products, roots),
            kept=kept,
            quotients=quotients_of(kept, new_states, state_blocks),
            stages=stages_of(products, (*new_states, *emitted)),
            reference=Reference.of(t, *given),
        )

    def _made_products(self) -> tuple[Product, ...]:
        found: list[Product] = []
        for k, (v, a, part) in enumerate(self.products):
            g = self.t.gradients.get(v.number)
            operand = self._exprs(a)
            found.append(
                Product(
                    number=k,
                    operand=operand,
                    operand_blocks=self._blocks(a),
                    weight=self.matrices.setdefault(v.args[1].number, len(self.matrices)),
                    part=part,
                    transposed=v.operation == "linear",
                    width=self._width(v),
                    blocks=self._blocks(v),
                    gradient=None if g is None else self._exprs(g),
                    source="input" if a is self.t.x else "state" if a.number in self.state_of else "computed",
                    hoisted=self.depends[a.number] < 2,
                )
            )
        return tuple(found)


def _called(v: Traced) -> str:
    return f"{v.operation.strip('_')}()" if v.operation not in ("input", "constant") else f"{v.operation} {v.name}"


def _attached(v: Traced) -> Traced:
    """A value, without regard to whether its history is used."""
    while v.operation == "detach":
        v = v.args[0]
    return v


def _uniform(v: Traced) -> bool:
    """Whether a value is a constant that is one number everywhere."""
    return v.operation == "constant" and bool((v.array == v.array.flat[0]).all())


# primitives whose function of arrays uses other primitives -----------------------------------------------------------


EQUATIONS: dict[str, Callable[..., Any]] = {
    "silu": lambda a: a * a.call("sigmoid"),
    "gelu": lambda a: a * (0.5 * (1 + (a * math.sqrt(0.5)).call("erf"))),
    # equal infinities have no difference
    "logaddexp": lambda a, b: np.where(
        np.equal(a, b), a + math.log(2), np.maximum(a, b) + np.log1p(np.exp(-np.abs(a - b)))
    ),
    "log_sigmoid": lambda a: np.minimum(a, 0) - np.log1p(np.exp(-np.abs(a))),
}
"""By name of a primitive: the same in functions of NumPy alone."""
