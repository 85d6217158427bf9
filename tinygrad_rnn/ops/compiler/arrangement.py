"""Arrangement of a program: where products are added up, what is kept, and in which order things can be done.

Decisions that concern no value, only where it is and when it is there; they are made once the equations are known.

**Slots.**  Products that are only summed need one place: the second is added to what the first left (BLAS does that by
itself, ``C += A B``), and biases are added once.  A :class:`Slot` is such a sum: an LSTM's i is the slot of columns 0
to H of two products and two biases, and its cotangent is the dZ of both.

**Stages.**  A product of computed values needs these first, so a step falls into *segments*, between products.  A sum
over the units of a row (a mean, a softmax) needs all units first, so a segment falls into *passes* over the units.

**Keeping.**  The backward pass reads values of the forward pass.  What costs more than a read from memory is kept; sums
and products of kept values are computed again; states are tables already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .units import CHEAP, LEAVES, Expr, walk

__all__ = ["Block", "Group", "Part", "Product", "Slot", "kept_of", "quotients_of", "slots_of", "stages_of"]

Block = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Product:
    """``Z = A W``, one product of a step.

    Attributes:
        number: its place in ``Program.products``, to which leaves ``product`` and ``adjoint`` point.
        operand, operand_blocks: A (N, K), as the blocks of its K columns, and where these are.
        weight: W: its place in ``Prelude.matrices``.
        part: lo, hi, the K entries of the weight's inner axis that meet this operand: of ``linear(cat([x, h]), W)``
            each operand has its own.
        transposed: the inner axis is the last of the weight, as in ``linear``: Z = A W[:, lo:hi]^T; else it is the
            first, as in ``x @ W``: Z = A W[lo:hi].
        width: columns of Z.
        blocks: the cuts of Z.
        gradient: dZ, as the blocks of its columns; None where no gradient reaches it.
        source: "input", "state" or "computed": what the operand is.
        hoisted: the operand depends on the input alone.
    """

    number: int
    operand: tuple[Expr, ...]
    operand_blocks: tuple[Block, ...]
    weight: int
    part: Block
    transposed: bool
    width: int
    blocks: tuple[Block, ...]
    gradient: tuple[Expr, ...] | None
    source: str
    hoisted: bool


class Part(NamedTuple):
    """Rows of the weight of a product, those that meet one operand: the same of a matrix or of its transpose."""

    matrix: int  # its place in ``Prelude.matrices``
    transposed: bool  # as in ``linear``: the rows are those of the matrix itself
    first: int
    last: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Group:
    """Products of one operand, which are one product with their weights side by side."""

    operand: tuple[Expr, ...]
    products: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Slot:
    """A block of columns that products fill: their sum.

    Attributes:
        expr: the expression of the forward pass that the slot holds once products and vectors are added up; a leaf
            ``product`` where it is a single product that is read as it is.
        products: (p, lo) of each product that is added: its columns lo to lo + width.
        vectors: (v, lo) of each vector that is added: biases.
        width: how many columns.
        gradient: dZ, which is the same for all of its products, and for each row that of its vectors' sums; None where
            no gradient reaches it.
    """

    expr: Expr
    products: tuple[tuple[int, int], ...]
    vectors: tuple[tuple[int, int], ...]
    width: int
    gradient: Expr | None


def slots_of(products: Sequence[Product], roots: Sequence[Expr]) -> tuple[Slot, ...]:
    """The slots of all columns of all products: those of the input first, in the order of its weights' rows.

    Args:
        products: of the program.
        roots: every expression that is computed, forward and backward.
    """
    users: dict[int, set[int]] = {}
    asked: dict[int, Expr] = {}
    for e in walk(roots):
        if e.op == "product":
            asked[e.number] = e
        for a in e.args:
            users.setdefault(a.number, set()).add(e.number)
    every = {e.number: e for e in walk(roots)}
    own = {r.number for r in roots}
    holder: dict[int, Expr] = {}
    for e in every.values():
        inside = [e for e in walk([e]) if e.op in ("add", "product")] if _sum_of_products(e) and e.op == "add" else []
        # each part of the sum is read by the sum alone, and by it once
        if inside and all(users[a.number] <= {b.number for b in inside} and a.number not in own for a in inside[:-1]):
            if not any(a.args and a.args[0] is a.args[1] for a in inside) and _one_gradient(products, inside):
                for a in inside:
                    holder[a.number] = e  # a larger sum has a larger number, and comes later
    found: dict[int, Slot] = {}
    for leaf in asked.values():
        e = holder.get(leaf.number, leaf)
        if e.number not in found:
            leaves = [a for a in walk([e]) if not a.args]
            parts = [(a.at[0], a.at[1]) for a in leaves if a.op == "product"]
            biases = [(a.at[0], a.at[1]) for a in leaves if a.op == "vector"]
            found[e.number] = Slot(e, tuple(sorted(parts)), tuple(biases), e.width, _gradient(products, *parts[0]))

    def rank(slot: Slot) -> tuple[bool, int, int]:
        of_input = [part for part in slot.products if products[part[0]].source == "input"]
        return not of_input, *min(of_input or slot.products)

    return tuple(sorted(found.values(), key=rank))


def _gradient(products: Sequence[Product], number: int, lo: int) -> Expr | None:
    """dZ of the block of a product that begins in column lo."""
    p = products[number]
    return None if p.gradient is None else p.gradient[[start for start, _ in p.blocks].index(lo)]


def _one_gradient(products: Sequence[Product], inside: list[Expr]) -> bool:
    """Whether the products of a sum have one cotangent: then they are one sum on the way back, too."""
    return len({id(_gradient(products, *a.at)) for a in inside if a.op == "product"}) == 1


def _sum_of_products(e: Expr) -> bool:
    """Whether an expression is a sum of products, and perhaps of vectors."""
    if e.op == "add":
        return all(_sum_of_products(a) or a.op == "vector" for a in e.args)
    return e.op == "product"


def kept_of(backward: list[Expr], new_states: tuple[tuple[Expr, ...], ...]) -> tuple[Expr, ...]:
    """What the backward pass reads of the forward pass, in the order in which it was made."""
    tables = {e.number for blocks in new_states for e in blocks}

    def there(e: Expr) -> bool:
        return e.depends == 0 or e.number in tables or (e.op in LEAVES and e.op != "product")

    def dear(e: Expr) -> bool:
        return e.op == "product" or e.op not in CHEAP or _sum_of_products(e)

    below = walk(backward, stop=lambda e: e.depends < 3 and (there(e) or dear(e)))
    found = [e for e in below if e.depends < 3 and not there(e) and dear(e)]
    return tuple(sorted(found, key=lambda e: e.number))


def quotients_of(
    kept: tuple[Expr, ...], new_states: tuple[tuple[Expr, ...], ...], blocks: list[tuple[Block, ...]]
) -> dict[int, tuple[int, int, Expr]]:
    """Kept values that are a new state over a kept sigmoid, as tanh(c') = h' / o of the LSTM."""
    numbers, found = {e.number for e in kept}, {}
    for k, (state, bounds) in enumerate(zip(new_states, blocks, strict=True)):
        for e, (lo, _) in zip(state, bounds, strict=True):
            if e.op != "mul":
                continue
            for t, s in (e.args, e.args[::-1]):
                if t.number in numbers and s.number in numbers and s.op == "sigmoid" and t.op != "sigmoid":
                    found[t.number] = (k, lo, s)
    return found


def stages_of(products: tuple[Product, ...], results: tuple[tuple[Expr, ...], ...]) -> dict[int, tuple[int, int]]:
    """When each expression of the forward pass can be computed first: (segment, pass)."""
    found: dict[int, tuple[int, int]] = {}
    roots = [*[e for p in products for e in p.operand], *[e for blocks in results for e in blocks]]
    pending = list(walk(roots))
    while pending:  # a product waits for its operand, which may be met later
        later = []
        for e in pending:
            if e.op == "product":
                p = products[e.at[0]]
                if p.source == "computed":
                    if not all(a.number in found for a in p.operand):
                        later.append(e)
                        continue
                    found[e.number] = (max(found[a.number][0] for a in p.operand) + 1, 0)
                else:
                    found[e.number] = (0, 0)
            elif not all(a.number in found for a in e.args):
                later.append(e)
            else:
                segment, step = max((found[a.number] for a in e.args), default=(0, 0))
                found[e.number] = (segment, step + (e.op in ("rowsum", "rowmax")))
        pending = later
    return found
