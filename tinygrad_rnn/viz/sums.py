"""A gradient as the sum that it is, in words and numbers: which use gave how much, and what is lost in rounding.

For shares s_1, s_2, ... in the order of the sweep, and their sum g:

    part of s_k    (s_k . g) / (g . g), how much of the sum it makes up; the parts add up to 1
    cosine         (s_k . g) / (|s_k| |g|), whether it points along the sum
    no change      s_1 + ... + s_k equals s_1 + ... + s_(k-1) in this dtype, entry for entry
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..errors import ArgumentError, ArgumentTypeError, GraphError
from ..tape.observe.records import Record, Share, Sweep, is_whole
from ..tape.observe.tape import Tape
from ..tape.observe.text_table import table
from ..tape.primitive import REGISTRY
from ..tape.tensor import Tensor
from .layout import layout
from .sizes import Size

__all__ = ["Explanation", "SumOfShares", "Term", "explain", "is_fused", "shares_of_leaf", "terms_of"]

MOST = 36
"""So many terms of a sum are listed; of more, those in the middle are counted."""
LAST = 8
"""Of which so many at the end."""


@dataclass(frozen=True)
class Term:
    """One share of a sum.

    Attributes:
        record: the record that used the tensor; None if it was recorded before the tape was opened.
        position: which argument it was there.
        through: the views by way of which it was used.
        size: the norm of the share.
        part: how much of the sum it makes up, from the product of both; None if that is not known, or the sum is 0.
        cosine: of the angle between it and the sum; None likewise.
        so_far: the norm of the sum of the shares up to this one; None if it is not known.
        changes: whether the sum is another for it, in any entry; None if it is not known.
    """

    record: Record | None
    position: int
    through: tuple[str, ...]
    size: Size
    part: float | None
    cosine: float | None
    so_far: Size | None
    changes: bool | None


@dataclass(frozen=True)
class SumOfShares:
    """What one sweep gave to a tensor.

    Attributes:
        sweep: the number of the sweep.
        kind: ``"backward"``, which adds to ``.grad``, or ``"grad"``.
        terms: in the order in which the sweep added them.
        total: the norm of the sum.
    """

    sweep: int
    kind: str
    terms: tuple[Term, ...]
    total: Size


@dataclass(frozen=True)
class Explanation:
    """A gradient in words and numbers: ``print`` it.

    Attributes:
        name: of the tensor.
        sums: one for each sweep that came to it.
        text: what is printed.
    """

    name: str
    sums: tuple[SumOfShares, ...]
    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


# numbers -------------------------------------------------------------------------------------------------------------


def terms_of(shares: Sequence[Share]) -> tuple[tuple[Term, ...], Size]:
    """The terms of a sum of shares that have one shape, and the norm of the sum."""
    values = [share.value for share in shares]
    sizes = [Size.of(value) for value in values]
    if not all(map(is_whole, values)) or any(isinstance(value, (list, tuple)) for value in values):
        bare = [
            Term(s.record, s.position, s.through, size, None, None, None, None)
            for s, size in zip(shares, sizes, strict=True)
        ]
        return tuple(bare), Size(math.nan, "unknown")
    arrays = [to_numpy(value) for value in values]
    with np.errstate(all="ignore"):
        sums = [arrays[0]]
        for array in arrays[1:]:
            sums.append(sums[-1] + array)
        total = sums[-1]
        norm = Size.of(total)
        terms = []
        for k, (share, array, size) in enumerate(zip(shares, arrays, sizes, strict=True)):
            cosine = _cosine(array, total)
            part = None if cosine is None or norm.kind not in ("number", "tiny") else cosine * size.norm / norm.norm
            before = np.zeros_like(array) if k == 0 else sums[k - 1]
            changes = not np.array_equal(before, sums[k], equal_nan=before.dtype.kind in "fc")
            so_far = Size.of(sums[k])
            terms.append(Term(share.record, share.position, share.through, size, part, cosine, so_far, changes))
    return tuple(terms), norm


def _cosine(a: Any, b: Any) -> float | None:
    """Of the angle between two arrays; None if one of them has no direction."""
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    a, b = a.astype(wide).ravel(), b.astype(wide).ravel()
    high = [float(abs(x).max(initial=0)) for x in (a, b)]
    if not all(0 < x < math.inf for x in high):
        return None
    a, b = a / high[0], b / high[1]
    return float(np.vdot(a, b).real) / math.sqrt(float(np.vdot(a, a).real) * float(np.vdot(b, b).real))


def shares_of_leaf(tape: Tape, name: str, sweep: Sweep) -> list[Share]:
    """The shares of a leaf in one sweep; none if it had no part in it."""
    try:
        return list(tape.shares(name, sweep))
    except GraphError:
        return []


def _shares_of_output(number: int, output: int, sweep: Sweep) -> list[Share]:
    """The contributions to one output of a record."""
    return [
        Share(step.record, contribution.position, contribution.value, sweep.number)
        for step in sweep.steps
        for contribution in step.contributions
        if contribution.target.kind == "record" and contribution.target[1:3] == (number, output)
    ]


# words ---------------------------------------------------------------------------------------------------------------


class _Places:
    """What records are called in a picture, and at which time step they are."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.layout = layout(tape)
        self.places = self.layout.places()

    def time(self, record: Record | None) -> str:
        """The time step; empty outside of loops."""
        if record is None:
            return ""
        b, _, column = self.places[record.number]
        band = self.layout.bands[b]
        return str(band.times[column]) if band.kind == "loop" else ""

    def label(self, record: Record | None) -> str:
        """The operation in the names of the program."""
        if record is None:
            return "before this tape"
        b, row, _ = self.places[record.number]
        return self.layout.bands[b].rows[row].label

    def at(self, term: Term) -> str:
        """Number and time step of the record of a term."""
        number = "a record before this tape" if term.record is None else f"%{term.record.number}"
        when = self.time(term.record)
        return f"{number} (t={when})" if when else number


def explain(tape: Tape, what: Any) -> Explanation:
    """The gradient of a leaf, of a computed tensor or of a record, as the sum of the shares of its uses."""
    if isinstance(what, bool) or not isinstance(what, (Tensor, str, int, Record)):
        raise ArgumentTypeError(
            f"Tape.explain(): expected a Tensor, the name of a leaf or of a variable, or a record or its number, "
            f"not {type(what).__name__}"
        )
    leaf = None
    if isinstance(what, str):
        leaf = next((leaf for leaf in tape.leaves if leaf.name == what), None)
        if leaf is None:
            what = _record_called(tape, what)
    elif isinstance(what, Tensor):
        leaf = next((leaf for leaf in tape.leaves if leaf.node is not None and leaf.node is what._node), None)
    elif isinstance(what, int):
        if not -len(tape.records) <= what < len(tape.records):
            raise ArgumentError(f"Tape.explain(): there are {len(tape.records)} records, and no record {what}")
        what = tape.records[what]
    places = _Places(tape)
    if leaf is not None:
        found = [(leaf.name, sweep, _shares(tape, what, sweep)) for sweep in tape.sweeps]
        kind = f"{leaf.dtype.name}{list(leaf.shape)}"
        return _explained(places, leaf.name, kind, found, f"{leaf.name}.grad")
    if isinstance(what, Tensor):
        try:
            record = tape.record_of(what)
        except GraphError:
            kind = f"{what.dtype.name}{list(what.shape)}"
            text = f"This tensor, {kind}, was neither used nor computed while the tape was open."
            return Explanation("this tensor", (), text)
        name = _variable(what, record) or f"%{record.number}"
        found = [(name, sweep, _shares(tape, what, sweep)) for sweep in tape.sweeps]
    else:
        record, name = what, what.variable or f"%{what.number}"
        several = isinstance(record.value, tuple)
        names = [v or f"%{record.number}.{k}" for k, v in enumerate(record.variables)] if several else [name]
        found = [
            (names[k], sweep, _shares_of_output(record.number, k, sweep))
            for sweep in tape.sweeps
            for k in range(len(names))
        ]
    return _explained(places, name, _detail(record, places), found, None, record)


def _record_called(tape: Tape, name: str) -> Record:
    found = [record for record in tape.records if name in record.variables]
    if len(found) == 1:
        return found[0]
    if not found:
        known = dict.fromkeys([leaf.name for leaf in tape.leaves])
        known |= dict.fromkeys(v for record in tape.records for v in record.variables if v is not None)
        names = list(known)
        listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        raise ArgumentError(f"Tape.explain(): nothing on this tape has the name {name!r}; there are {listed}")
    numbers = [f"%{record.number}" for record in found]
    listed = ", ".join([*numbers[:3], "...", numbers[-1]] if len(numbers) > 5 else numbers)
    raise ArgumentError(
        f"Tape.explain(): {name!r} is the name of {len(found)} results, {listed}. Give the record, or its number, as "
        f"in tape.explain({found[-1].number})"
    )


def _shares(tape: Tape, what: Tensor | str, sweep: Sweep) -> list[Share]:
    try:
        return list(tape.shares(what, sweep))
    except GraphError:
        if isinstance(what, str):
            return []
    # one output of several, which no step of its own comes to
    return [
        Share(step.record, contribution.position, contribution.value, sweep.number)
        for step in sweep.steps
        for contribution in step.contributions
        if contribution.node is not None and contribution.node is what._node
    ]


def _variable(t: Tensor, record: Record) -> str | None:
    """The variable of a result, of several outputs that of its own."""
    number = getattr(t._node, "params", {}).get("number", 0) if isinstance(record.value, tuple) else 0
    return record.variables[number] if isinstance(number, int) and number < len(record.variables) else None


def _detail(record: Record, places: _Places) -> str:
    inputs = ", ".join(record.inputs[:4]) + (", ..." if len(record.inputs) > 4 else "")
    when = places.time(record)
    parts = [f"%{record.number} = {record.name}({inputs})", f"{record.dtype.name}{list(record.shape)}"]
    return ", ".join(parts + ([f"t={when}"] if when else []))


def _explained(
    places: _Places,
    name: str,
    detail: str,
    found: Sequence[tuple[str, Sweep, list[Share]]],
    grad: str | None,
    record: Record | None = None,
) -> Explanation:
    """The sums of all sweeps, in words; ``grad``: of a leaf, what ``backward`` adds to."""
    sums, words = [], []
    several = len({sweep.number for _, sweep, _ in found}) > 1
    for called, sweep, shares in found:
        if not shares:
            continue
        terms, total = terms_of(shares)
        sums.append(SumOfShares(sweep.number, sweep.kind, terms, total))
        of = f"The cotangent of {called}"
        if grad:
            of = grad if sweep.kind == "backward" else f"The gradient of {called}"
        if several:
            of += f" in sweep {sweep.number} ({'backward' if sweep.kind == 'backward' else 'autograd.grad'})"
        words.append(_in_words(f"{of} ({detail})", name, sums[-1], places))
    if not sums:
        words = [_no_shares(places.tape, f"{name} ({detail})", record)]
    added = [s.sweep for s in sums if s.kind == "backward"]
    if grad and len(added) > 1:
        numbers = ", ".join(map(str, added[:-1])) + f" and {added[-1]}"
        words.append(f"{grad} is the sum over the sweeps {numbers}, unless it was set to None or zero in between.")
    return Explanation(name, tuple(sums), "\n\n".join(words))


def _no_shares(tape: Tape, described: str, record: Record | None) -> str:
    if not tape.sweeps:
        return (
            f"{described}: this tape has watched no backward pass yet. Call loss.backward() inside the with block, or "
            "tape.backward(loss) after it."
        )
    steps = (step for sweep in tape.sweeps for step in sweep.steps)
    step = None if record is None else next((step for step in steps if step.record is record), None)
    if step is not None:
        return (
            f"A sweep started from {described}: no record gave anything to it. Its cotangent is what backward() was "
            f"called with, of norm {Size.of(step.cotangent)}."
        )
    errors = [sweep.error for sweep in tape.sweeps if sweep.error]
    which = "the sweep" if len(tape.sweeps) == 1 else f"any of the {len(tape.sweeps)} sweeps"
    why = f" It ended with {errors[-1]}" if errors else ""
    return f"{described} had no part in what {which} went through, so no gradient came to it.{why}"


def _in_words(beginning: str, name: str, s: SumOfShares, places: _Places) -> str:
    count = len(s.terms)
    what = "is one share, of its one use:" if count == 1 else f"is the sum of {count} shares, one for each use:"
    return "\n".join(
        [f"{beginning} {what}", "", _table(s.terms, places), "", *_remarks(s, places), *_fused(name, s, places)]
    )


def _table(terms: Sequence[Term], places: _Places) -> str:
    listed = terms if len(terms) <= MOST else [*terms[: MOST - LAST], *terms[-LAST:]]
    uses = Counter(None if term.record is None else term.record.number for term in terms)
    rows = []
    for term in listed:
        record = term.record
        use = places.label(record)
        if record is not None and uses[record.number] > 1:  # which of its arguments
            use += f", as {(*record.argument_names, *'?' * 99)[term.position]}"
        rows.append(
            [
                "" if record is None else f"%{record.number}",
                use,
                "" if record is None or record.line is None else str(record.line.number),
                places.time(record),
                str(term.size),
                "" if term.part is None else _percent(term.part),
                "" if term.cosine is None else f"{term.cosine:.4f}",
                "" if term.so_far is None else str(term.so_far),
                _remark(term),
            ]
        )
    head = ["record", "use", "line", "t", "norm", "part", "cosine", "sum so far", ""]
    if len(terms) > MOST:
        rows.insert(MOST - LAST, ["", f"... {len(terms) - MOST} more", *[""] * (len(head) - 2)])
    used = [k for k in range(len(head)) if any(row[k] for row in rows)]
    right = [n for n, k in enumerate(used) if 2 <= k <= 7]
    return table([head[k] for k in used], [[row[k] for k in used] for row in rows], right)


def _percent(part: float) -> str:
    """A part as a percentage: two digits behind the point, and never 0 for what is not."""
    percent = 100 * part
    return f"{percent:.2f} %" if percent == 0 or abs(percent) >= 0.005 else f"{percent:.0e} %"


def _remark(term: Term) -> str:
    if term.size.kind in ("zero", "not finite"):
        return term.size.kind
    if term.changes is False and term.size.kind in ("number", "tiny"):
        return "below rounding: changes nothing"
    return "below the smallest normal number" if term.size.kind == "tiny" else ""


def _remarks(s: SumOfShares, places: _Places) -> list[str]:
    terms, at = s.terms, places.at
    if s.total.kind == "unknown":
        lines = [
            "The tape did not keep these arrays, so parts and cosines are not known: open it as Tape(values='all')."
        ]
    else:
        lines = [f"The norm of the sum is {s.total}."]
    known = [term for term in terms if term.size.kind in ("number", "tiny")]
    if len(terms) > 1 and known:
        largest, smallest = (f(known, key=lambda term: term.size.norm) for f in (max, min))
        lines.append(f"The largest share is that of {at(largest)}, of norm {largest.size}.")
        decades = math.log10(largest.size.norm) - math.log10(smallest.size.norm)
        if decades >= 1:
            lines.append(f"The smallest that is not zero, of {at(smallest)}, is {decades:.1f} decades below it.")
        against = [term for term in known if term.cosine is not None and term.cosine < 0 and term.changes]
        if against:
            lines.append(f"{_count(against)} against the sum (a negative cosine).")
    lost = [term for term in known if term.changes is False]
    if lost:
        lines.append(
            f"{_count(lost)} below the rounding of the sum, without effect on any bit of it: {_span(lost, at)}."
        )
    zero = [term for term in terms if term.size.kind == "zero"]
    if zero:
        lines.append(f"{_count(zero)} exactly zero: {_span(zero, at)}.")
    broken = [term for term in terms if term.size.kind == "not finite"]
    if broken:
        lines.append(f"{_count(broken)} not finite; the first is that of {at(broken[0])}.")
    if len(terms) > 1 and any(term.part is not None for term in terms):
        lines.append("part: (share . sum) / (sum . sum); the parts add up to 100 %.")
    return lines


def _count(terms: Sequence[Term]) -> str:
    return "1 share is" if len(terms) == 1 else f"{len(terms)} shares are"


def _span(terms: Sequence[Term], at: Callable[[Term], str]) -> str:
    if len(terms) <= 3:
        return ", ".join(at(term) for term in terms)
    return f"{at(terms[0])}, {at(terms[1])}, ..., {at(terms[-1])}"


def _fused(name: str, s: SumOfShares, places: _Places) -> list[str]:
    """What to do with the shares of whole layers."""
    records = {term.record.number: term.record for term in s.terms if term.record is not None}
    layers = [r for r in records.values() if is_fused(r)]
    return [
        f"%{r.number} = {r.name} is a fused record, several operations in one; tape.expand({r.number})"
        f".explain({name!r}) has the shares of each."
        for r in layers[:3]
    ]


def is_fused(record: Record) -> bool:
    """Whether a record is a whole layer or cell, which ``tape.expand`` opens."""
    primitive = REGISTRY.get(record.name) if record.node is None else record.node.primitive
    return isinstance(record.value, tuple) and primitive is not None and primitive.reference is not None
