"""Sums of products named by letters: ``einsum`` and ``tensordot``, through one primitive that contracts two operands.

``contract(a, b, "ij", "jk", "ik")`` multiplies and sums over the letters absent from the result.  Each letter of an
operand is in the other operand or in the result, and no operand repeats a letter; then the cotangent of ``a`` is the
contraction of ``g`` and ``b`` to the letters of ``a``, so the family is closed under differentiation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ArgumentTypeError, ShapeRuntimeError
from ..tape.apply import Applied, primitive
from ..tape.formula import Formula
from ..typing import Array, V, Value
from .diagonals import diagonal
from .reduce import sum_over
from .shape import _same_type, broadcast_to, permute

__all__ = ["einsum", "tensordot"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Plan(NamedTuple):
    """How one batched matrix product contracts two operands."""

    batch: list[int]  # axes of the left that both and the result have
    rows: list[int]  # axes of the left alone
    summed: list[int]  # axes of the left that both have, and the result has not
    columns: list[int]  # axes of the right alone
    right: list[int]  # all axes of the right: batch, summed, columns
    out: list[int]  # of (batch, rows, columns), in the order of the result


@functools.lru_cache(maxsize=1024)
def _plan(left: str, right: str, out: str) -> _Plan:
    batch = [x for x in left if x in right and x in out]
    summed = [x for x in left if x in right and x not in out]
    rows = [x for x in left if x not in right]
    columns = [x for x in right if x not in left]

    def places(letters: list[str], among: str) -> list[int]:
        return [among.index(x) for x in letters]

    return _Plan(
        batch=places(batch, left),
        rows=places(rows, left),
        summed=places(summed, left),
        columns=places(columns, right),
        right=places(batch + summed + columns, right),
        out=places(list(out), "".join(batch + rows + columns)),
    )


def _contract(a: Array, b: Array, left: str, right: str, out: str) -> Array:
    """One batched matrix product: letters of both and the result are the batch, letters of both alone are summed."""
    plan = _plan(left, right, out)
    batch, rows, summed = [[a.shape[k] for k in axes] for axes in plan[:3]]
    columns = [b.shape[k] for k in plan.columns]
    inner = math.prod(summed)
    a = a.transpose(plan.batch + plan.rows + plan.summed).reshape(*batch, math.prod(rows), inner)
    b = b.transpose(plan.right).reshape(*batch, inner, math.prod(columns))
    return (a @ b).reshape(batch + rows + columns).transpose(plan.out)


_contract_primitive: Applied = primitive(
    "contract",
    _contract,
    (
        lambda g, y, a, b, left, right, out: _contract_primitive(g, b, left=out, right=right, out=left),
        lambda g, y, a, b, left, right, out: _contract_primitive(g, a, left=out, right=left, out=right),
    ),
    ("b", "a"),
    formula=Formula(
        r"y_{o} = \sum a_{\ell} b_{r}",
        a=r"\bar{a}_{\ell} = \sum \bar{y}_{o} b_{r}",
        b=r"\bar{b}_{r} = \sum \bar{y}_{o} a_{\ell}",
    ),
    doc="The sum of products of two operands over the letters absent from the result.",
)


# reading the equation ----------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def _parse(equation: str, ranks: tuple[int, ...]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, one per axis; an ellipsis is replaced by unused letters."""
    source, arrow, target = equation.replace(" ", "").partition("->")
    terms = source.split(",")
    if len(terms) != len(ranks):
        which = "more" if len(ranks) > len(terms) else "fewer"
        raise ShapeRuntimeError(f"einsum(): {which} operands were provided than specified in the equation {equation!r}")
    for letter in source + target:
        if letter not in LETTERS + ".,":
            raise ShapeRuntimeError(
                f"einsum(): invalid subscript given at index {equation.index(letter)} in the equation string, "
                "subscripts must be in [a-zA-Z]"
            )
    spare = [x for x in LETTERS if x not in equation]
    hidden = max([rank - len(t.replace("...", "")) for t, rank in zip(terms, ranks, strict=True) if "..." in t] or [0])
    ellipsis = "".join(spare[: max(hidden, 0)])
    letters = []
    for k, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        missing = rank - len(term.replace("...", ""))
        if "..." in term and missing >= 0:
            term = term.replace("...", ellipsis[len(ellipsis) - missing :])
        if len(term) != rank:
            raise ShapeRuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(term)}) does not match the number of "
                f"dimensions ({rank}) for operand {k}" + ("" if "..." in terms[k] else " and no ellipsis was given")
            )
        letters.append(term)
    if not arrow:  # the letters that occur once, in order
        named = source.replace(",", "").replace(".", "")
        return letters, ellipsis + "".join(sorted(x for x in set(named) if named.count(x) == 1))
    result = target.replace("...", ellipsis)
    for x in result:
        if not any(x in term for term in letters):
            raise ShapeRuntimeError(
                f"einsum(): output subscript {x} does not appear in the equation for any input operand"
            )
        if result.count(x) > 1:
            raise ShapeRuntimeError(f"einsum(): output subscript {x} appears more than once in the output")
    return letters, result


def _from_numbers(args: Sequence[Any]) -> tuple[str, list[Value]]:
    """``einsum(a, [0, 1], b, [1, 2], [0, 2])`` as an equation."""
    pairs, rest = list(zip(args[0::2], args[1::2], strict=False)), args[len(args) // 2 * 2 :]

    def spell(places: Sequence[Any]) -> str:
        return "".join(["..." if p is Ellipsis else LETTERS[p] for p in places])

    equation = ",".join([spell(places) for _, places in pairs])
    return equation + (f"->{spell(rest[0])}" if rest else ""), [operand for operand, _ in pairs]


def _prepared(a: V, letters: str, size: dict[str, int], elsewhere: str) -> tuple[V, str]:
    """Repeated letters taken on the diagonal, size-1 axes broadcast, letters that occur nowhere else summed."""
    a = broadcast_to(a, tuple([size[x] for x in letters]))
    for x in dict.fromkeys(letters):  # each once, in order; a set would follow the hash seed
        while letters.count(x) > 1:
            first = letters.index(x)
            second = letters.index(x, first + 1)
            a = diagonal(a, 0, first, second)  # its entries become the last axis
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + x
    alone = tuple([k for k, x in enumerate(letters) if x not in elsewhere])
    return (sum_over(a, alone) if alone else a), "".join([x for x in letters if x in elsewhere])


def einsum(equation: Any, *operands: Any) -> Any:
    """Products of operands, summed over the letters absent from the result.

    Args:
        equation: such as ``"ij,jk->ik"``; ``...`` stands for any number of axes that broadcast; without ``->`` the
            result has the letters that occur once, in alphabetical order.
        operands: the tensors, one per term; two at a time are contracted, from left to right, by matrix products.

    Raises:
        ShapeRuntimeError: the equation does not fit the operands.

    >>> import tinygrad_rnn as tg
    >>> tg.einsum("ij,ij->i", tg.tensor([[1, 2], [3, 4]]), tg.tensor([[1, 1], [1, 0]]))
    tensor([3, 3])
    """
    if not isinstance(equation, str):
        equation, operands = _from_numbers((equation, *operands))[0], tuple(_from_numbers((equation, *operands))[1])
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ArgumentTypeError("einsum(): must provide at least one operand")
    values = _same_type("einsum", operands)
    letters, out = _parse(equation, tuple([a.ndim for a in values]))
    size: dict[str, int] = {}
    for k, (a, term) in enumerate(zip(values, letters, strict=True)):
        for x, n in zip(term, a.shape, strict=True):
            if size.setdefault(x, n) not in (1, n) and n != 1:
                raise ShapeRuntimeError(
                    f"einsum(): subscript {x} has size {n} for operand {k} which does not broadcast with previously "
                    f"seen size {size[x]}"
                )
            size[x] = n if size[x] == 1 else size[x]
    a, left = _prepared(values[0], letters[0], size, out + "".join(letters[1:]))
    for k in range(1, len(values)):
        later = out + "".join(letters[k + 1 :])
        b, right = _prepared(values[k], letters[k], size, left + later)
        kept = "".join([x for x in dict.fromkeys(left + right) if x in later])
        if k == len(values) - 1:  # the last product gives the axes in their order, without a permute
            kept = out
        a, left = _contract_primitive(a, b, left=left, right=right, out=kept), kept
    return permute(a, [left.index(x) for x in out]) if left != out else a


def tensordot(a: V, b: V, dims: Any = 2) -> V:
    """The sum of products over the last ``dims`` axes of a and the first of b, or over two given lists of axes."""
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeRuntimeError(f"tensordot expects dims from 0 to {min(a.ndim, b.ndim)}, but got dims={dims}")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = [[d] if isinstance(d, int) else [int(k) for k in d] for d in dims]
    left, right = [k % a.ndim for k in left], [k % b.ndim for k in right]
    for first, second in zip(left, right, strict=True):
        if a.shape[first] != b.shape[second]:
            raise ShapeRuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[first]} in dim {first} and second "
                f"has size {b.shape[second]} in dim {second}"
            )
    a, b = _same_type("tensordot", (a, b))
    names = LETTERS
    of_a = names[: a.ndim]
    of_b = list(names[a.ndim : a.ndim + b.ndim])
    for first, second in zip(left, right, strict=True):
        of_b[second] = of_a[first]
    out = "".join([x for k, x in enumerate(of_a) if k not in left] + [x for k, x in enumerate(of_b) if k not in right])
    return _contract_primitive(a, b, left=of_a, right="".join(of_b), out=out)
