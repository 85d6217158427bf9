"""Cotangents as sums of factors times what comes back from later steps.

The backward pass of a step is linear in its cotangents, so each of its expressions is a sum

    g = F_1 c_1 + F_2 c_2 + ...

of *cores* c, which are known only when the step after has been done, and *factors* F, which the forward pass left: they
can be computed for many steps at once, before any of these is done.  An LSTM's four dZ are so four factors, of which
three are times the cotangent of c' and one is times that of h': two products at a step.

The rules: ``(g a) b -> g (a b)``, ``g / a -> g (1 / a)``, ``g a + g b -> g (a + b)``, and the sum of the adjoints of
all products of one operand is one adjoint.  They hold up to rounding as long as cotangents are finite; with an infinite
one ``g a + g b`` may be nan where ``g (a + b)`` is infinite.  What is read more than once stays a core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .program import Program
from .units import Expr, Units, walk

__all__ = ["LinearForms"]

Form = dict[int, tuple[Expr, Expr | None]]
"""By number of a core: the core and its factor, None for 1."""


class LinearForms:
    """Rewrites the expressions of a program's backward pass.

    Args:
        program: of the cell.
        roots: all that is computed on the way back.
    """

    def __init__(self, program: Program, roots: Sequence[Expr]) -> None:
        every = list(walk([*program.forward_roots(), *program.kept, *[s.expr for s in program.slots], *roots]))
        every += list(walk([e for p in program.products for e in p.operand]))
        self.units = Units({e.number: e for e in every}.values())
        self.group_of = {number: k for k, g in enumerate(program.groups) for number in g.products}
        reached = {number for s in program.slots if s.gradient is not None for number, _ in s.products}
        self.reached = [tuple([n for n in g.products if n in reached]) for g in program.groups]
        self._users: Counter[int] = Counter([e.number for e in roots])
        for e in walk(roots):
            self._users.update([a.number for a in e.args])
        self._moves: dict[int, bool] = {}
        self._forms: dict[int, Form] = {}

    def moves(self, e: Expr) -> bool:
        """Whether a value is known only once the step after has been done."""
        known = self._moves
        for a in walk([e], lambda a: a.number in known or a.depends < 3):
            if a.number not in known:
                known[a.number] = a.op in ("cotangent", "adjoint") or (
                    a.depends == 3 and any(known[b.number] for b in a.args)
                )
        return known[e.number]

    def split(self, e: Expr) -> tuple[Expr | None, list[Expr]]:
        """The adjoints that are terms of an expression, and the sum of its other terms, None if there are none."""
        if not self.moves(e):
            return e, []
        terms = self._terms(self._form(e))
        others = [t for t in terms if t.op != "adjoint"]
        return (self._total(others) if others else None), [t for t in terms if t.op == "adjoint"]

    def value(self, e: Expr) -> Expr:
        """The expression, rewritten."""
        return self._sum(self._form(e)) if self.moves(e) else e

    def _form(self, root: Expr) -> Form:
        for e in walk([root], lambda e: e.number in self._forms or not self.moves(e)):
            if e.number not in self._forms:
                form: Form = self._made(e) if self.moves(e) else {e.number: (e, None)}
                if len(form) > 1 and self._users[e.number] > 1:  # computed once
                    core = self._sum(form)
                    form = {core.number: (core, None)}
                self._forms[e.number] = form
        return self._forms[root.number]

    def _made(self, e: Expr) -> Form:
        u = self.units
        if not e.args:
            return {e.number: (e, None)}
        if e.op in ("add", "sub"):
            one, other = (self._forms[a.number] for a in e.args)
            return self._added(one, other if e.op == "add" else self._negated(other))
        if e.op == "neg":
            return self._negated(self._forms[e.args[0].number])
        if e.op == "mul":
            a, b = e.args if self.moves(e.args[0]) else e.args[::-1]
            if not self.moves(b):
                return self._scaled(self._forms[a.number], b)
        if e.op == "div" and not self.moves(e.args[1]):
            return self._scaled(self._forms[e.args[0].number], e.args[1], "div")
        args = [self.value(a) for a in e.args]
        if e.op in ("rowsum", "rowmax"):
            core = u.over(e.op, [(a, b.width) for a, b in zip(args, e.args, strict=True)])
        elif e.op == "spread":
            core = u.spread(args[0], e.width)
        else:
            core = u.apply(e.op, *args)
        return {core.number: (core, None)}

    def _scaled(self, form: Form, by: Expr, op: str = "mul") -> Form:
        u = self.units
        if len(form) > 1:
            core = self._sum(form)
            form = {core.number: (core, None)}
        ((number, (core, factor)),) = form.items()
        return {number: (core, u.apply(op, u.value(1.0) if factor is None else factor, by))}

    def _negated(self, form: Form) -> Form:
        u = self.units
        return {n: (c, u.value(-1.0) if f is None else u.apply("neg", f)) for n, (c, f) in form.items()}

    def _added(self, one: Form, other: Form) -> Form:
        u, total = self.units, dict(one)
        for number, (core, factor) in other.items():
            if number in total:
                first, second = (u.value(1.0) if f is None else f for f in (total[number][1], factor))
                total[number] = core, u.apply("add", first, second)
            else:
                total[number] = core, factor
        return total

    def _terms(self, form: Form) -> list[Expr]:
        u = self.units
        adjoints: dict[tuple[int, int], list[int]] = {}
        for core, factor in form.values():
            if self._is_single(core) and factor is None:
                adjoints.setdefault((self.group_of[core.at[0]], core.at[1]), []).append(core.at[0])
        found = []
        joined: set[tuple[int, int]] = set()
        for core, factor in form.values():
            if self._is_single(core):
                at = (self.group_of[core.at[0]], core.at[1])
                together = factor is None and tuple(sorted(adjoints[at])) == self.reached[at[0]]
                if together and at in joined:
                    continue
                joined.update([at] if together else [])
                core = self._adjoint(self.reached[at[0]] if together else (core.at[0],), core)
            found.append(core if factor is None else u.apply("mul", core, factor))
        return found

    def _is_single(self, e: Expr) -> bool:
        """Whether it is the adjoint of one product, as the program has it."""
        return e.op == "adjoint" and not isinstance(e.at[0], tuple)

    def _adjoint(self, products: Iterable[int], e: Expr) -> Expr:
        """That of several products of one operand; its place begins with their numbers."""
        return self.units.leaf("adjoint", (tuple(products), e.at[1]), e.width, 3)

    def _sum(self, form: Form) -> Expr:
        return self._total(self._terms(form))

    def _total(self, terms: list[Expr]) -> Expr:
        """Their sum; what is subtracted comes last."""
        u = self.units
        minus = u.value(-1.0)
        plus = [e for e in terms if e.op != "mul" or e.args[1] is not minus]
        less = [e.args[0] for e in terms if e.op == "mul" and e.args[1] is minus]
        total = plus[0] if plus else u.apply("neg", less.pop(0))
        for e in plus[1:]:
            total = u.apply("add", total, e)
        for e in less:
            total = u.apply("sub", total, e)
        return total
