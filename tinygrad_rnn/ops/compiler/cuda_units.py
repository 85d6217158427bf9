"""Text of one unit of a program, for CUDA kernels that take a whole sequence in one launch.

Such a kernel keeps the states of a unit in registers, and the weights on the chip.  Its drivers
(``kernels/recurrent/cuda/sources``: ``persistent_forward.cu``, ``persistent_backward.cu``, ``scan.cu``) ask for less
than a program can be: all states of one width, of which each unit reads its own entries, and at most one product with
one state at each step.  :class:`Unfit` says what a program has beyond that.

**Slots.**  A sum of products of a unit, with its biases, is a slot; block g of the product with the state is in slot g,
the others follow.  If a sum is read by a tanh or a sigmoid alone, the slot holds that: the lanes of a unit then compute
the activations side by side.

**Slopes.**  Cotangents are linear in the cotangents of the new states: ``da = d * s`` with a factor s that is known
long before d is.  Each cotangent is taken apart into such products; the factors, the *slopes*, are what is computed
while a step waits for the one after it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...errors import TinygradRnnError
from ...kernels.recurrent.cuda.cells import Cell
from .cuda_forms import form
from .cuda_text import Generator
from .units import BOOLEAN, Expr, walk

__all__ = ["Unfit", "unit_cell"]

MOST_SLOTS, MOST_STATES = 4, 4
ACTIVATIONS = ("tanh", "sigmoid")
LOGICAL = (*BOOLEAN, "logical_not", "isnan", "isinf", "isfinite")

Factor = tuple[Any, ...]
"""A factor that depends on no cotangent: ("e", expression), or an operation of factors, as ("mul", f, g)."""

ONE: Factor = ("one",)

Form = Mapping[Expr, Factor]
"""A sum of products of late values and factors."""


class Unfit(TinygradRnnError, NotImplementedError):
    """A program has no kernel for whole sequences; the text says why."""


def unit_cell(generator: Generator) -> Cell:
    """The text of one unit, and what its drivers must know; it puts the generator's kept values in order.

    Raises:
        Unfit: the reason.
    """
    return _Unit(generator).cell()


class _Unit:
    """One unit of a program."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.program, self.layout = generator, generator.program, generator.layout
        self.forward_all = self.layout.forward_all
        below = list(walk(self._backward_roots()))
        self._check_values([*self.forward_all, *below])
        self.hidden = self.program.widths[0]
        self._check_products(below)
        self.parameters: list[tuple[int, int, int]] = []  # vector, first entry, width
        self._place_slots()
        self._place_kept()

    def _backward_roots(self) -> list[Expr]:
        """Those of units; the cotangent of x is that of products with it, and has its width."""
        p = self.program
        blocks = [*[q.gradient for q in p.products], *[v.gradient for v in p.vectors], *p.state_gradients]
        return [e for gradient in blocks if gradient is not None for e in gradient]

    # what fits ---------------------------------------------------------------------------------------------------

    def _check_values(self, every: Iterable[Expr]) -> None:
        p = self.program
        if len(set(p.widths)) > 1:
            raise Unfit(f"its states are of several widths, {p.widths}")
        if len(p.widths) > MOST_STATES:
            raise Unfit(f"it has {len(p.widths)} states, more than {MOST_STATES}")
        (hidden,) = set(p.widths)
        every = [e for e in every if e.op != "adjoint"]  # those of x have its width
        if any(e.op in ("rowsum", "rowmax") for e in every):
            raise Unfit("it sums over the units of a row")
        if any(
            blocks != ((0, hidden),) for blocks in (*p.new_state_blocks, *[b for b in p.state_gradient_blocks if b])
        ):
            raise Unfit("units read entries of other units")
        if p.emitted:
            raise Unfit("it gives values beside its states")
        if any(e.op == "input" for e in every):
            raise Unfit("units read entries of x itself")
        if any(e.width not in (0, hidden) and not (e.op == "vector" and e.width == 1) for e in every):
            raise Unfit("it has values of several widths")
        if any(
            e.at[-1] % hidden
            for e in every
            if e.op in ("product", "vector", "state", "mask", "cotangent") and e.width > 1
        ):
            raise Unfit("units read entries of other units")

    def _check_products(self, below: list[Expr]) -> None:
        p, generator = self.program, self.generator
        sources = [g.source for g in generator.groups]
        if any(s[0] == "e" for s in sources):
            raise Unfit("it multiplies computed values by a weight")
        if sources.count("x") > 1 or len(sources) - sources.count("x") > 1:
            raise Unfit(f"it does {len(sources) - sources.count('x')} products with states at each step, more than one")
        direct = {n for numbers, _ in generator.direct.values() for n in numbers}
        rest = [e for terms in generator.direct.values() for blocks in terms[1] for e in blocks]
        if any(e.op == "adjoint" for e in walk(rest)) or any(
            e.op == "adjoint" and e.at[0] not in direct for e in below
        ):
            raise Unfit("the cotangent of a product is read unit by unit")
        if any(generator.direct["x"][1]):
            raise Unfit("units read entries of x itself")
        by_source = {g.source: k for k, g in enumerate(generator.groups)}
        self.of_x = by_source.get("x")
        self.of_state = next((k for s, k in by_source.items() if s != "x"), None)
        for k in (self.of_x, self.of_state):
            if k is not None:
                numbers = generator.groups[k].products
                gradients = [p.products[n].gradient for n in numbers]
                if any(g is None for g in gradients) and any(g is not None for g in gradients):
                    raise Unfit("some columns of a product have no gradient")
                if k == self.of_state and all(g is None for g in gradients):
                    raise Unfit("no gradient reaches its product with a state")
                if any(hi - lo != self.hidden for n in numbers for lo, hi in p.products[n].blocks):
                    raise Unfit("it has values of several widths")
        self.sent = 0 if self.of_state is None else int(generator.groups[self.of_state].source[1:])

    def _blocks(self, group: int | None) -> list[tuple[int, int]]:
        """The blocks (product, lo) of a group, in the order of its columns."""
        if group is None:
            return []
        return [(n, lo) for n in self.generator.groups[group].products for lo, _ in self.program.products[n].blocks]

    # slots and kept values ---------------------------------------------------------------------------------------

    def _place_slots(self) -> None:
        """Which slot is which, with its block of either product; and what it holds."""
        of_x, of_state = self._blocks(self.of_x), self._blocks(self.of_state)
        self.rows, self.x_rows = len(of_state), len(of_x)
        places: list[tuple[int, int, Any]] = [(-1, g, None) for g in range(self.rows)]  # block of x, of h, the slot
        for slot in self.program.slots:
            xs = [of_x.index(part) for part in slot.products if part in of_x]
            hs = [of_state.index(part) for part in slot.products if part in of_state]
            if len(xs) > 1 or len(hs) > 1:
                raise Unfit("it adds columns of one product to each other")
            x = xs[0] if xs else -1
            if hs:
                places[hs[0]] = (x, hs[0], slot)
            else:
                places.append((x, -1, slot))
        self.places = places
        if self.rows and len(places) > MOST_SLOTS:
            raise Unfit(f"a unit is made of {len(places)} sums of products, more than {MOST_SLOTS}")
        # the lanes of a unit hold one slot or four; a thread that scans alone holds all of them
        alone = not self.rows
        self.slots = max(1, len(places)) if alone or len(places) == 1 else MOST_SLOTS
        kept = {e.number for e in self.generator.kept.values}
        roots = {e.number for e in self.program.forward_roots()}
        self.activation: list[Expr | None] = []
        self.slot_of: dict[int, int] = {}
        for i, (_, _, slot) in enumerate(places):
            users = [] if slot is None else self.layout.users.get(slot.expr.number, [])
            own: Expr | None = None
            if len(users) == 1 and slot.expr.number not in kept and slot.expr.number not in roots:
                (user,) = users
                own = user if user.op in ACTIVATIONS or (self.slots == 1 and len(user.args) == 1) else None
            self.activation.append(own)
            if slot is not None:
                self.slot_of[(slot.expr if own is None else own).number] = i

    def _place_kept(self) -> None:
        """The order of kept values: what slots hold in the places of the slots, the others where there is room."""
        values = list(self.generator.kept.values)
        own = {self.slot_of[e.number]: e for e in values if e.number in self.slot_of}
        others = [e for e in values if e.number not in self.slot_of]
        order: list[Expr] = []
        for place in range(len(values)):
            if place in own:
                order.append(own.pop(place))
            elif others:
                order.append(others.pop(0))
            else:
                order.append(own.pop(max(own)))
        self.kept = order
        self.generator.keep(order)
        self.was: list[tuple[str, int]] = []  # the tables of states that the way back reads: before, after

    # text --------------------------------------------------------------------------------------------------------

    def _vector(self, v: int, lo: int, width: int) -> str:
        if width == 1 and self.hidden > 1:
            return f"vectors[{v}][{lo}]"
        block = lo // self.hidden
        return f"vectors[{v}][{f'{block} * H + ' if block else ''}j]"

    def parameter(self, e: Expr) -> str:
        """A vector that units read by themselves."""
        key = (*e.at, e.width)
        if key not in self.parameters:
            self.parameters.append(key)
        return f"parameters[{self.parameters.index(key)}]"

    def _slot_functions(self) -> list[str]:
        slots = range(self.slots)
        places = [*self.places, *[(-1, -1, None)] * (self.slots - len(self.places))]
        lines = []
        for which, name in ((0, "x"), (1, "h")):
            blocks = [place[which] for place in places]
            lines.append(f"DEVICE int block_of_{name}(int slot) {{ return {_chosen([str(b) for b in blocks])}; }}")
        biases = [
            " + ".join([self._vector(v, lo, slot.width) for v, lo in slot.vectors]) if slot is not None else ""
            for _, _, slot in places
        ]
        lines += ["", "DEVICE real slot_bias(int slot, const real* const* vectors, int j, int H)", "{"]
        lines += [f"    if (slot == {i}) return {bias};" for i, bias in enumerate(biases) if bias]
        lines += ["    return 0;", "}", ""]
        kinds = [self.activation[i].op if i < len(self.places) and self.activation[i] else "" for i in slots]  # type: ignore[union-attr]
        lines += ["DEVICE real slot_value(int slot, real sum)", "{"]
        if self.slots == 1 or not self.rows:
            for i, kind in enumerate(kinds):
                if kind:
                    lines.append(f"    if (slot == {i}) return {form(kind, ['sum'])};")
            lines.append("    return sum;")
        else:  # one function for all: lanes that hold different slots do the same work
            twice = _any(i for i in slots if kinds[i] == "tanh")
            plain = _any(i for i in slots if not kinds[i])
            if twice:
                lines += [f"    const bool twice = {twice};  // tanh(x) = 2 sigmoid(2x) - 1"]
                lines += ["    const real s = sigmoid(twice ? 2 * sum : sum), v = twice ? 2 * s - 1 : s;"]
            elif any(kinds):
                lines += ["    const real v = sigmoid(sum);"]
            lines.append(
                f"    return {f'{plain} ? sum : v' if plain and any(kinds) else 'v' if any(kinds) else 'sum'};"
            )
        return [*lines, "}"]

    def _forward_function(self) -> list[str]:
        def leaf(e: Expr) -> str | None:
            if e.number in self.slot_of:
                return f"v[{self.slot_of[e.number]}]"
            return f"before[{e.at[0]}]" if e.op == "state" else self.early(e)

        writer = _Writer(leaf)
        results = [(f"state[{k}]", writer.value(e)) for k, (e,) in enumerate(self.program.new_states)]
        results += [(f"keep[{i}]", writer.value(e)) for i, e in enumerate(self.kept)]
        states = len(self.program.widths)
        return [
            "DEVICE void unit_forward(const real (&v)[SLOTS], const real* parameters, const real* masks, "
            "real (&state)[STATES],",
            "                         real (&keep)[KEPT + 1])",
            "{",
            f"    const real before[STATES] = {{{', '.join([f'state[{k}]' for k in range(states)])}}};",
            *writer.lines,
            *[f"    {place} = {text};" for place, text in results],
            "}",
        ]

    def _kept_function(self) -> list[str]:
        lines = ["DEVICE real kept_value(int round, int slot, real own, const real (&keep)[KEPT + 1])", "{"]
        for first in range(0, len(self.kept), self.slots):
            here = self.kept[first : first + self.slots]
            choices = []
            for i, e in enumerate(here):
                in_slot = first == 0 and self.slot_of.get(e.number) == i
                choices.append("own" if in_slot else f"keep[{first + i}]")
            lines.append(f"    if (round == {first // self.slots}) return {_chosen(choices)};")
        return [*lines, "    return own;", "}"]

    def _backward_functions(self) -> list[str]:
        program, generator = self.program, self.generator
        roots: list[tuple[str, Sequence[Expr]]] = []
        for name, group in (("da", self.of_state), ("dx", self.of_x)):
            table = None if group is None else generator.table_of[group]
            if name == "dx" and not self.separate:
                continue
            columns = [] if table is None else generator.tables[table]
            count = self.rows if name == "da" else self.x_rows
            roots += [(f"{name}[{i}]", [columns[i][0]] if columns else []) for i in range(count)]
        for k in range(len(program.widths)):
            (terms,) = generator.direct[f"s{k}"][1]
            roots.append((f"states[{k}]", terms))
        sums = generator.sums()
        slopes = _Slopes(self, [*[e for _, terms in roots for e in terms], *[e for e, *_ in sums]])
        results = [(place, slopes.total(terms)) for place, terms in roots]
        results += [(f"totals[{i}]", f"runs ? {slopes.total([e])} : 0") for i, (e, *_) in enumerate(sums)]
        self.totals = len(sums)
        found = slopes.functions()  # which tables of states are read
        backward = [
            "DEVICE void unit_backward(const real (&s)[SLOPES], const real* parameters, const real* masks, bool runs,",
            "                          real (&states)[STATES], real (&da)[ROWS + 1], real (&dx)[X_ROWS + 1],",
            "                          real* totals)",
            "{",
            *[f"    const real d{k} = states[{k}];" for k in range(len(program.widths))],
            *slopes.lines,
            *[f"    {place} {'+=' if place[0] == 't' else '='} {text};" for place, text in results],
            "}",
        ]
        return [*found, "", *backward]

    def cell(self) -> Cell:
        """All of it."""
        program, generator = self.program, self.generator
        of_x, of_state = [None if k is None else generator.table_of[k] for k in (self.of_x, self.of_state)]
        self.separate = of_x is not None and of_x != of_state
        functions = [*self._slot_functions(), "", *self._forward_function(), "", *self._kept_function(), ""]
        functions += self._backward_functions()
        states, vectors = len(program.widths), len(program.vectors)
        loads = [f"    p[{i}] = {self._vector(*key)};" for i, key in enumerate(self.parameters)]
        all_series = any(kind == "y" and k for kind, k in self.was)
        head = [
            '#line 1 "cell"',
            f"constexpr int ROWS = {self.rows}, X_ROWS = {self.x_rows}, SLOTS = {self.slots};",
            f"constexpr int STATES = {states}, SENT = {self.sent}, KEPT = {len(self.kept)}, WAS = {len(self.was)};",
            f"constexpr int PARAMETERS = {len(self.parameters)}, TOTALS = {self.totals};",
            f"constexpr int MASKS = {len(generator.masks)}, STEP_MASKS = {len(program.step_masks)};",
            f"constexpr bool SEPARATE_INPUT = {'true' if self.separate else 'false'};",
            *_each("EACH_STATE", states),
            *_each("EACH_VECTOR", vectors),
            *_each("EACH_MASK", len(generator.masks)),
            *_each("EACH_WAS", len(self.was)),
            "",
            "DEVICE void load_parameters(const real* const* vectors, int j, int H, real (&p)[PARAMETERS + 1])",
            "{",
            *loads,
            "}",
            "",
        ]
        return Cell(
            name="compiled",
            rows=self.rows,
            slots=self.slots,
            states=states,
            separate_input=self.separate,
            text="\n".join([*head, *functions, ""]),
            sent=self.sent,
            was=tuple(self.was),
            all_series=all_series,
            of_x=self.of_x,
            of_state=self.of_state,
        )

    def table(self, kind: str, k: int) -> str:
        """A table of states on the way back."""
        if (kind, k) not in self.was:
            self.was.append((kind, k))
        return f"was[{self.was.index((kind, k))}]"

    def back_leaf(self, e: Expr) -> str | None:
        """What the way back finds."""
        for i, kept in enumerate(self.kept):
            if kept is e:
                return f"v[{i}]"
        if e.number in self.generator.kept.after:
            return self.table("y", self.generator.kept.after[e.number][0])
        if e.op == "state":
            return self.table("s", e.at[0])
        return self.early(e)

    def early(self, e: Expr) -> str | None:
        """A leaf that is in a register before the step."""
        if e.op == "mask":
            return self.mask(e)
        return self.parameter(e) if e.op == "vector" else None

    def mask(self, e: Expr) -> str:
        """An entry of a mask."""
        (k, _), entry = e.at, f"masks[{e.at[0]}]"
        return f"({entry} != 0)" if self.generator.masks[k][1] else entry


class _Writer:
    """Statements that compute values of one unit."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf
        self.lines: list[str] = []
        self.names: dict[int, str] = {}

    def value(self, e: Expr) -> str:
        """The name of a value, or its place, after the statements that compute it."""
        if e.op == "number":
            return _number(e.at[0])
        found = self.names.get(e.number)
        if found is None:
            found = self.leaf(e)
            if found is None:
                text = form(e.op, [self.value(a) for a in e.args])
                found = f"t{e.number}"
                self.lines.append(f"    const auto {found} = {text};")
            self.names[e.number] = found
        return found


class _Slopes:
    """Cotangents of one unit as sums of products: of a cotangent that arrives late, and of a factor that is early."""

    def __init__(self, unit: _Unit, roots: Iterable[Expr]) -> None:
        self.unit = unit
        self.lines: list[str] = []
        self.named: dict[int, str] = {}
        self.forms: dict[int, Form] = {}
        self.slopes: list[Factor] = []
        roots = [e for e in roots if e.depends > 2]
        self.uses = Counter([e.number for e in roots])
        for e in walk(roots, lambda e: e.depends < 3):
            self.uses.update([a.number for a in e.args])

    def total(self, terms: Sequence[Expr]) -> str:
        """The sum of some cotangents."""
        late = [self._linear(e) for e in terms if e.depends > 2]
        early = [self.factor(("e", e)) for e in terms if e.depends < 3 and not (e.op == "number" and e.at[0] == 0)]
        together = [self._text(functools.reduce(_sum, late))] if late else []
        return " + ".join([*together, *early]) or "0"

    def _text(self, form: Form) -> str:
        return " + ".join([self._product(e, factor) for e, factor in form.items()])

    def _product(self, e: Expr, factor: Factor) -> str:
        name = self._name(e)
        return name if factor == ONE else f"-{name}" if factor == ("neg", ONE) else f"{name} * {self.factor(factor)}"

    def _linear(self, e: Expr) -> Form:
        """The late values that a cotangent is linear in, with their factors: one, or its own value alone."""
        found = self.forms.get(e.number)
        if found is None:
            found = self._form(e) if self.uses[e.number] < 2 else None
            # a sum of several is a value by itself, which others are linear in; so is what is used twice
            if found is None or len(found) > 1:
                found = {e: ONE}
            self.forms[e.number] = found
        return found

    def _form(self, e: Expr) -> Form | None:
        """What an operation is linear in; None if it is not."""
        late = [a for a in e.args if a.depends > 2]
        if e.op == "neg":
            return {atom: ("neg", f) for atom, f in self._linear(e.args[0]).items()}
        if e.op == "mul" and len(late) == 1:
            (other,) = [a for a in e.args if a is not late[0]]
            return {atom: _times(f, ("e", other)) for atom, f in self._linear(late[0]).items()}
        if e.op == "div" and e.args[1].depends < 3:
            return {atom: ("div", f, ("e", e.args[1])) for atom, f in self._linear(e.args[0]).items()}
        if e.op in ("add", "sub") and len(late) == 2:
            return _sum(self._linear(e.args[0]), self._linear(e.args[1]), e.op)
        return None

    def _name(self, e: Expr) -> str:
        """The name of a late value, after the statements that compute it."""
        if e.op == "cotangent":
            return f"d{e.at[0]}"
        if e.number not in self.named:
            linear = self._form(e)
            if linear is not None:
                text = self._text(linear)
            else:
                texts = [self.factor(("e", a)) if a.depends < 3 else self._text(self._linear(a)) for a in e.args]
                text = form(e.op, [f"({t})" if " " in t or t[0] == "-" else t for t in texts])
            self.named[e.number] = f"t{e.number}"
            self.lines.append(f"    const real t{e.number} = {text};")
        return self.named[e.number]

    def factor(self, f: Factor) -> str:
        """A factor: a slope, or what is a number in a register anyway."""
        if f[0] == "e":
            e = f[1]
            if e.op == "number":
                return _number(e.at[0])
            found = self.unit.early(e)
            if found is not None:
                return found
        if f not in self.slopes:
            self.slopes.append(f)
        place = f"s[{self.slopes.index(f)}]"
        return f"{place} != 0" if f[0] == "e" and f[1].op in LOGICAL else place

    def functions(self) -> list[str]:
        """The function that computes all factors."""
        writer = _Writer(self.unit.back_leaf)

        def text(f: Factor) -> str:
            if f == ONE:
                return "1"
            if f[0] == "e":
                return writer.value(f[1])
            parts = [text(g) for g in f[1:]]
            return form(f[0], [f"({t})" if " " in t or t[0] == "-" else t for t in parts])

        results = [text(f) for f in self.slopes]
        return [
            f"constexpr int SLOPES = {max(1, len(self.slopes))};",
            "",
            "DEVICE void unit_slopes(const real* v, const real* was, const real* parameters, const real* masks, "
            "real (&s)[SLOPES])",
            "{",
            *writer.lines,
            *[f"    s[{i}] = {t};" for i, t in enumerate(results)],
            "}",
        ]


def _sum(one: Form, other: Form, op: str = "add") -> Form:
    """One form plus or minus the other."""
    found = dict(one)
    for e, f in other.items():
        if e in found:
            found[e] = (op, found[e], f)
        else:
            found[e] = f if op == "add" else ("neg", f)
    return found


def _times(f: Factor, g: Factor) -> Factor:
    return g if f == ONE else ("mul", f, g)


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value != value or value in (float("inf"), -float("inf")):
        raise Unfit(f"it computes with {value}")
    return f"real({value!r})"


def _chosen(choices: Sequence[str]) -> str:
    """What belongs to a slot: ``slot == 0 ? a : b``."""
    if choices == [str(i) for i in range(len(choices))]:
        return "slot"
    text = choices[-1]
    for i in reversed(range(len(choices) - 1)):
        if choices[i] != text:
            text = f"slot == {i} ? {choices[i]} : {text}"
    return text


def _any(slots: Iterable[int]) -> str:
    text = " || ".join([f"slot == {i}" for i in slots])
    return f"({text})" if "||" in text else text


def _each(name: str, count: int) -> list[str]:
    every = " ".join([f"ARGUMENT({i}, name)" for i in range(count)])
    return [f"#define {name}(ARGUMENT, name) {every}".rstrip()]
