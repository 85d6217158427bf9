"""Text of NumPy kernels on the way back: the functions ``slopes``, ``steps_back`` and ``sums`` of :mod:`.numpy_text`.

What a step of the loop computes is what the step before needs: the cotangents of the states.  All else follows the
loop, for many steps at once; of this, dZ of the same core as one in the loop is part of the same call there, and costs
nothing.
"""

from __future__ import annotations

from .array_statements import MASKS, Operand, Place, Statements, overlap
from .linear_forms import LinearForms
from .numpy_layout import BackRun, merged
from .numpy_writer import PRODUCT, Writer
from .units import Expr, walk

__all__ = ["BackwardText"]


class BackwardText:
    """The way back.

    Attributes:
        back_runs: products of the loop.
        late_runs: products of ``sums``.
        totals: what the gradient of a vector sums: (vector, lo, hi, dZ), or None for one of ``sums``.
        x_runs: of dZ with the weights of x, for the gradient of x.
        late_x: what ``sums`` writes of the gradient of x.
    """

    def __init__(self, writer: Writer, forms: LinearForms) -> None:
        self.writer, self.forms = writer, forms
        self._plan_back()
        self._plan_late()
        self.factors: dict[int, Place] = {}
        self.of_factors: list[Expr] = []
        self.back_runs = self._steps_back()
        self._slopes()
        self._late()

    # backward ----------------------------------------------------------------------------------------------------

    def _there(self, e: Expr) -> Place | None:
        """Where the forward pass left a value."""
        return self.writer.layout.z.get(e.number) or self.writer.layout.state_at.get(e.number)

    def _plan_back(self) -> None:
        """Which expressions are computed in the loop, and which after it."""
        p, layout, forms = self.writer.program, self.writer.layout, self.forms
        self.dz = {j: forms.value(layout.slots[j].slot.gradient) for j in layout.order_back}  # type: ignore[arg-type]
        slots_of: dict[int, list[int]] = {}
        for j in layout.order_back:
            for number, _ in layout.slots[j].slot.products:
                slots_of.setdefault(number, []).append(j)
        self.slots_of = slots_of
        self.carries: list[tuple[Place, Expr | None, list[Expr]]] = []
        for k, gradient in enumerate(p.state_gradients):
            if gradient is None:
                self.carries.append((Place("d", k, 0, p.widths[k]), forms.units.value(0.0), []))
                continue
            for e, (lo, hi) in zip(gradient, p.state_gradient_blocks[k], strict=True):
                self.carries.append((Place("d", k, lo, hi), *forms.split(e)))
        self.inside: dict[int, Expr] = {}
        self.dz_inside: set[int] = set()
        stack = [e for _, rest, adjoints in self.carries for e in [*([] if rest is None else [rest]), *adjoints]]
        self._reach(stack)
        cores = {
            (layout.slots[j].kind, self.dz[j].args[0].number) for j in self.dz_inside if self._is_factored(self.dz[j])
        }
        for j, e in self.dz.items():
            if j not in self.dz_inside and self._is_factored(e):
                if (layout.slots[j].kind, e.args[0].number) in cores:
                    self._reach([e])
                    self.dz_inside.add(j)

    def _is_factored(self, e: Expr) -> bool:
        return e.op == "mul" and self.forms.moves(e.args[0]) and not self.forms.moves(e.args[1])

    def _reach(self, stack: list[Expr]) -> None:
        """Note what the loop computes."""
        while stack:
            e = stack.pop()
            if e.number in self.inside or not self.forms.moves(e):
                continue
            self.inside[e.number] = e
            stack += e.args
            if e.op == "adjoint":
                for number in e.at[0]:
                    for j in self.slots_of.get(number, []):
                        self.dz_inside.add(j)
                        stack.append(self.dz[j])

    def _plan_late(self) -> None:
        """What the loop leaves to what follows it: the roots of that, and what it reads of the loop."""
        p, layout, forms = self.writer.program, self.writer.layout, self.forms
        self.late: list[tuple[Expr, Place]] = []
        for j in layout.order_back:
            b = layout.slots[j].b
            assert b is not None
            if j not in self.dz_inside:
                self.late.append((self.dz[j], b))
        self.totals: list[tuple[int, int, int, Place | None]] = []
        self.late_totals: list[tuple[Expr, Place]] = []
        whole = {self.dz[j].number: layout.slots[j] for j in reversed(layout.order_back) if self.dz[j].args}
        for v, vector in enumerate(p.vectors):
            for g, (lo, hi) in zip(vector.gradient or (), vector.blocks, strict=vector.gradient is not None):
                e = forms.value(g)
                s = whole.get(e.number)
                if s is not None and s.slot.width == hi - lo:
                    self.totals.append((v, lo, hi, s.b))
                else:
                    self.totals.append((v, lo, hi, None))
                    self.late_totals.append((e, Place("total", v, lo, hi)))
        # the cotangent of x
        self.x_runs: list[BackRun] = []
        self.late_x: list[tuple[Expr, Place]] = []
        if p.input_gradient is not None:
            splits = [forms.split(e) for e in p.input_gradient]
            found = [
                {a.at[0]: a for a in adjoints if p.products[a.at[0][0]].source == "input"} for _, adjoints in splits
            ]
            direct = set.intersection(*[set(f) for f in found])
            for products in sorted(direct):
                self.x_runs += layout.back_runs(products, len(self.x_runs))
            rests = [
                [*([] if rest is None else [rest]), *[a for a in adjoints if a.at[0] not in direct]]
                for rest, adjoints in splits
            ]
            if any(rests):
                for terms, (lo, hi) in zip(rests, p.input_blocks, strict=True):
                    total = terms[0] if terms else forms.units.value(0.0)
                    for e in terms[1:]:
                        total = forms.units.apply("add", total, e)
                    self.late_x.append((total, Place("j", 0, lo, hi)))
        self.stored: dict[int, Place] = {}
        self.stored_exprs: dict[int, Expr] = {}
        of_dz = {self.dz[j].number: layout.slots[j].b for j in layout.order_back if j in self.dz_inside}
        stack = [e for e, _ in (*self.late, *self.late_totals, *self.late_x)]
        seen: set[int] = set()
        while stack:
            e = stack.pop()
            if e.number in seen or not forms.moves(e):
                continue
            seen.add(e.number)
            if e.number in self.inside or e.op == "cotangent":
                place = of_dz.get(e.number)
                self.stored[e.number] = place or self.writer.new_block("i", e.width)
                self.stored_exprs[e.number] = e
                if e.op == "adjoint":
                    continue
            elif e.op == "adjoint":
                stack += [self.dz[j] for number in e.at[0] for j in self.slots_of.get(number, [])]
            else:
                stack += e.args
        # the cotangent of a state that is dZ as it is
        for j in layout.order_back:
            if j in self.dz_inside and self.dz[j].op == "cotangent" and self.dz[j].number not in self.stored:
                b = layout.slots[j].b
                assert b is not None
                self.stored[self.dz[j].number] = b
                self.stored_exprs[self.dz[j].number] = self.dz[j]

    def _leaf_back(self, e: Expr) -> Operand | None:
        """What depends on no cotangent of a later step and is there."""
        return self._there(e) or self.writer.leaf(e)

    def _leaf_of_steps_back(self, e: Expr) -> Operand | None:
        if not self.forms.moves(e):
            found = self._leaf_back(e)
            if found is None:
                found = self.factors.get(e.number)
            if found is None:
                found = self.factors[e.number] = self.writer.new_block("h" if e.op in MASKS else "f", e.width)
                self.of_factors.append(e)
            return found
        if e.op == "cotangent":
            k, lo = e.at
            return self.stored.get(e.number) or Place("d", k, lo, lo + max(e.width, 1))
        if e.op == "adjoint":
            return self._adjoint(e)
        j = self.by_factor.get(e.number)
        if j is not None:
            self._dz(j)
            return self.writer.layout.slots[j].b
        return None

    def _adjoint(self, e: Expr) -> Operand:
        """The sum of the terms of an adjoint."""
        code, terms = self.code, self._terms_of(e)
        if len(terms) == 1 and e.number not in self.stored:
            return terms[0]
        out: Operand = self.stored.get(e.number) or code.temporary(e.width)
        if len(terms) == 1:
            code.copy(terms[0], out)
            return out
        code.add("add({0}, {1}, out={out})", terms[:2], out)
        for term in terms[2:]:
            code.add("add({0}, {1}, out={out})", [out, term], out)
        return out

    def _terms_of(self, e: Expr, into: Place | None = None) -> list[Operand]:
        """The terms of an adjoint, after the products that give them."""
        products, lo = e.at
        runs = self.runs_of.get(products)
        if runs is None:
            runs = self.runs_of[products] = self.writer.layout.back_runs(products, len(self.runs))
            self.runs += runs
            for run in runs:
                for j in run.slots:
                    self._dz(j)
            alone = len(runs) == 1 and (lo, e.width) == (0, runs[0].width)
            alone = alone and len(runs[0].slots) == 1
            for run in runs:
                run.into = into if alone else None
                i = run.number
                first, last = run.first, run.first + len(run.slots)
                left = Place("left", i, 0, 0) if last - first > 1 else Place("b", run.kind, first, last)
                group = self.writer.layout.group_of[products[0]]
                self.code.note(f"# back through {self.writer.layout.named(run.weights, group)}")
                dot, w, rest, to, to_rest = (Place(t, i, 0, 0) for t in PRODUCT)
                self.code.add("{3}({0}, {1}, out={2})", [left, w, to, dot], elementwise=False)
                self.code.add("if {1} is not None: matmul({0}, {1}, out={2})", [left, rest, to_rest], elementwise=False)
        width = runs[0].width
        columns = None if (lo, e.width) == (0, width) else (lo, lo + max(e.width, 1))
        return [run.into or Place("r", run.number, g, g + 1, columns) for run in runs for g in range(len(run.slots))]

    def _dz(self, j: int) -> None:
        """Have the dZ of a slot in its place."""
        code, layout = self.code, self.writer.layout
        if j in self.done:
            return
        e, b = self.dz[j], layout.slots[j].b
        assert b is not None
        if not self.forms.moves(e):
            self.done.add(j)  # which ``slopes`` does
            return
        if j in self.factor_of:
            core = code.value(e.args[0])
            if j in self.done:  # by way of the core
                return
            alike = [
                i
                for i in layout.order_back
                if i in self.factor_of
                and i not in self.done
                and layout.slots[i].kind == b.which
                and self.dz[i].args[0] is e.args[0]
            ]
            rows = [(q,) for i in alike if (q := layout.slots[i].b) is not None]
            for (place,) in merged(rows):
                if place.lo <= b.lo < place.hi:
                    code.add("multiply({0}, {1}, out={out})", [place, core], place)
                    for i in alike:
                        q = layout.slots[i].b
                        if q is not None and place.lo <= q.lo < place.hi:
                            code.known.setdefault(self.dz[i].number, q)
                            self.done.add(i)
            return
        code.store(e, b)
        self.done.add(j)

    def _steps_back(self) -> list[BackRun]:
        """The loop."""
        layout = self.writer.layout
        self.runs: list[BackRun] = []
        self.runs_of: dict[tuple[int, ...], list[BackRun]] = {}
        self.done: set[int] = set()
        self.factor_of: dict[int, Expr] = {}
        for j in self.dz_inside:
            e = self.dz[j]
            if self._is_factored(e) and e.args[1].depends > 0 and e.args[1].width == layout.slots[j].slot.width:
                self.factor_of[j] = e.args[1]
        self.by_factor = {self.dz[j].number: j for j in self.factor_of}
        targets = {n: [place] for n, place in self.stored.items() if self.stored_exprs[n].args}
        for j in self.dz_inside:
            b = layout.slots[j].b
            if b is not None and j not in self.factor_of and self.dz[j].args:
                places = targets.setdefault(self.dz[j].number, [])
                places += [b] if b not in places else []
        code = self.code = Statements(self._leaf_of_steps_back, self.writer.number, self.writer.block_width, targets)
        self._receive(code)
        for j in layout.order_back:
            if j in self.dz_inside:
                self._dz(j)
        for e in self.stored_exprs.values():
            code.value(e)
        self._carry(code)
        self.writer.add("steps_back", code, True, "Take the cotangents back through the time.")
        return self.runs

    def _receive(self, code: Statements) -> None:
        """What reaches the states of a step."""
        leaves = [e for e in self._leaves() if e.op == "cotangent"]
        for k, width in enumerate(self.writer.program.widths):
            mine = sorted({(e.at[1], e.at[1] + max(e.width, 1)): e for e in leaves if e.at[0] == k}.items())
            mine = [(span, e) for span, e in mine if e.number in self.stored]
            spans = [span for span, _ in mine]
            every = {(e.at[1], e.at[1] + max(e.width, 1)) for e in leaves if e.at[0] == k}
            apart = all(a == b or a[1] <= b[0] or b[1] <= a[0] for a in spans for b in every)
            at = 0
            for lo, hi in [*spans, (width, width)] if apart else [(width, width)]:
                if at < lo:  # between what is stored
                    d, g = Place("d", k, at, lo), Place("g", k, at, lo)
                    code.add("if {1} is not None: add({0}, {1}, out={out})", [d, g], d)
                at = hi
            for (lo, hi), e in mine:
                d, g, to = Place("d", k, lo, hi), Place("g", k, lo, hi), self.stored[e.number]
                if apart:
                    code.add("if {1} is None: copyto({out}, {0})", [d, g], to)
                    code.add("else: add({0}, {1}, out={out})", [d, g], to)
                else:
                    code.copy(d, to)

    def _leaves(self) -> list[Expr]:
        """The leaves of all that is computed on the way back."""
        roots = [*self.dz.values(), *self.stored_exprs.values()]
        roots += [e for _, rest, _ in self.carries for e in ([] if rest is None else [rest])]
        roots += [e for e, _ in (*self.late, *self.late_totals, *self.late_x)]
        return [e for e in walk(roots) if not e.args]

    def _carry(self, code: Statements) -> None:
        """The cotangents of the states before the step."""
        pending = list(self.carries)
        direct: dict[int, list[Operand]] = {}
        for i, (place, rest, adjoints) in enumerate(pending):
            others = [other for k, (_, other, _) in enumerate(pending) if other is not None and k != i]
            if rest is None and len(adjoints) == 1 and not any(self._reads(other, place) for other in others):
                direct[i] = self._terms_of(adjoints[0], into=place)
            else:
                direct[i] = [t for e in adjoints for t in self._terms_of(e)]
        while pending:
            i = len(self.carries) - len(pending)
            place, rest, _ = pending.pop(0)
            terms = direct[i]
            for _, later, _ in pending:  # what is yet to be computed of what this overwrites goes first
                if later is not None and self._reads(later, place, rest):
                    there = code.value(later)
                    if overlap(place, there):
                        held = code.temporary(later.width)
                        code.copy(there, held)
                        code.known[later.number] = held
            if rest is not None:
                code.store(rest, place)
            elif len(terms) == 1:
                code.copy(terms[0], place)
            else:
                code.add("add({0}, {1}, out={out})", terms[:2], place)
                terms = terms[2:]
            if rest is not None or len(terms) > 1 or terms != direct[i]:
                for term in terms:
                    code.add("add({0}, {1}, out={out})", [place, term], place)

    def _reads(self, root: Expr, place: Place, shared: Expr | None = None) -> bool:
        """Whether a value yet to be computed is made of what is in a place of ``d``, or of a value to be put there."""
        for e in walk([root], lambda e: e.number in self.code.known):
            if shared is not None and shared.args and e is shared:
                return True
            if e.op == "cotangent" and overlap(place, self.code.operand(e)):
                return True
        return False

    def _slopes(self) -> None:
        code = Statements(self._leaf_back, self.writer.number, self.writer.block_width, {})
        for e in self.of_factors:
            code.targets.setdefault(e.number, []).append(self.factors[e.number])
        layout = self.writer.layout
        for j in layout.order_back:
            b = layout.slots[j].b
            assert b is not None
            wanted = self.factor_of.get(j) or (self.dz[j] if not self.forms.moves(self.dz[j]) else None)
            if wanted is not None:
                code.store(wanted, b)
        for e in self.of_factors:
            code.store(e, self.factors[e.number])
        self.writer.add("slopes", code, False, "The factors of cotangents, of many steps at once.")

    def _late(self) -> None:
        """What follows the loop."""
        layout, forms = self.writer.layout, self.forms
        self.late_runs: list[BackRun] = []
        late_dz = {e.number: (e, b) for e, b in self.late}

        def leaf(e: Expr) -> Operand | None:
            if not forms.moves(e):
                return self.factors.get(e.number) or self._leaf_back(e)
            found = self.stored.get(e.number)
            if found is None and e.op == "adjoint":
                products, lo = e.at
                for j in dict.fromkeys(j for n in products for j in self.slots_of.get(n, [])):
                    b = layout.slots[j].b
                    if self.dz[j].number in late_dz and b is not None:
                        code.store(self.dz[j], b)
                terms: list[Operand] = []
                for run in layout.back_runs(products, len(self.late_runs)):
                    self.late_runs.append(run)
                    b_rows = Place("b rows", run.kind, run.first, run.first + len(run.slots))
                    to = Place("r", run.number, 0, 1, (0, run.width))
                    code.note(f"# back through {layout.named(run.weights, layout.group_of[products[0]])}")
                    code.add("{0}({1}, {2})", [Place("back", run.number, 0, 0), b_rows, to], elementwise=False)
                    terms.append(to._replace(columns=(lo, lo + max(e.width, 1))))
                for term in terms[1:]:
                    code.add("add({0}, {1}, out={out})", [terms[0], term], terms[0])
                return terms[0]
            return found

        code = Statements(leaf, self.writer.number, self.writer.block_width, {})
        for e, b in self.late:
            if forms.moves(e):
                code.targets.setdefault(e.number, []).append(b)
        for e, b in self.late:
            if forms.moves(e):
                code.store(e, b)
        for e, place in self.late_totals:
            value = code.value(e)
            if isinstance(value, str) or e.depends == 0 or e.op == "mask":  # the same in all rows
                held = code.temporary(place.hi - place.lo)
                code.copy(value, held)
                value = held
            code.add("add({out}, column_sum({0}), out={out})", [value], place)
        for e, place in self.late_x:
            code.store(e, place)
        self.writer.add("sums", code, False, "What the steps before do not wait for, of many steps at once.")
