"""Scratch memory of NumPy kernels of a program, and the views that their functions are given.

A loop over a thousand steps is given a thousand views of each table that it reads or writes.  Those of scratch memory
are the same in every run of the same shape, so both are made once: a :class:`Workspace` belongs to one run at a time
and serves the next one of its shape.  What a run leaves, and what it is given, has views of its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...backend import array_module
from ...errors import ArgumentError
from ...kernels.recurrent.interface import Options
from ...kernels.recurrent.numpy.products import FEW, PackedWeights, scratch_for
from ...kernels.recurrent.numpy.schedule import Blocks, Part, Plan, Trajectory
from ...typing import Array
from .array_statements import Place
from .numpy_text import Generated
from .program import Program
from .units import OPERATIONS, Expr, walk

__all__ = ["Workspace"]

SMALL = 1 << 16
"""Elements of a weight up to which one product for all blocks is worth another copy of it."""


class _Functions:
    """The functions that a text calls, of one array module."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        if xp is np:
            self.row_sum, self.row_max = np.add.reduce, np.maximum.reduce
        else:
            self.row_sum, self.row_max = xp.sum, xp.amax
        self.erf = OPERATIONS["erf"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.xp, name)

    @staticmethod
    def column_sum(a: Array) -> Array:
        """The sum of all rows (..., W), of any number of steps."""
        total: Array = a.reshape(-1, a.shape[-1]).sum(axis=0)
        return total


@functools.lru_cache(maxsize=4)
def _functions(xp: Any) -> _Functions:
    return _Functions(xp)


@dataclass
class _Prepared:
    """What a function is given for one part: what is there already, and the places of what each run has of its own."""

    values: list[Any]
    open: list[tuple[int, Place]]


class Workspace:
    """The arrays of one run, forward or back.

    Args:
        program, text, module: of the cell; the text, and what runs it.
        plan: the visits.
        like: an array of the dtype and module of all.
        most_rows: of a part.
        back: it is for backward runs.
    """

    def __init__(
        self, program: Program, text: Generated, module: Any, plan: Plan, like: Array, most_rows: int, back: bool
    ) -> None:
        self.program, self.text, self.module, self.plan, self.back = program, text, module, plan, back
        self.xp, self.dtype = array_module(like), like.dtype
        self.functions = _functions(self.xp)
        self.parts = plan.parts(most_rows)
        self.key: Any = None
        self.most = most = max((part.size for part in self.parts), default=0)
        self.of_part: dict[tuple[str, int], Array] = {}
        self.shared: dict[tuple[str, int], Blocks | dict[int, Array]] = {}
        self.numbers = [
            self.xp.full((), number, bool if isinstance(number, bool) else self.dtype) for number in text.numbers
        ]
        self._prepared: dict[tuple[str, int], _Prepared] = {}
        every = [q for f in text.functions.values() for q in (*f.arguments.values(), *(f.visits or {}).values())]
        self._reads_vectors = any(q.table in "vk" for q in every)
        layout = text.layout
        # one sequence: its blocks are side by side in memory, and so one operand
        single = plan.batch == 1 and not plan.packed
        self.one = single and bool(text.joined_runs) if back else single and plan.steps >= FEW
        self.back_runs = text.joined_runs if back and self.one else text.back_runs
        blocks = {**text.blocks, **{("a", kind): n for kind, n in layout.blocks_a.items()}}
        if back:
            blocks |= {("b", kind): n for kind, n in layout.blocks_b.items() if n > 1 and not self.one}
        for (table, kind), count in blocks.items():
            if (table in "asq") != back:
                self.of_part[table, kind] = self._scratch(count, layout.classes[kind], table in "hq", like)
        for run in text.late_runs if back else ():
            self.of_part["r", run.number] = scratch_for(like, 1, most, run.width)
        for name in ("slopes", "sums") if back else ("inputs",):
            for (width, boolean), count in text.rooms.get(name, {}).items():
                self.of_part[f"{name} {'tu'[boolean]}", layout.kind(width)] = self._scratch(count, width, boolean, like)
        for (width, boolean), count in text.rooms.get(self._loop_name() if back else "steps", {}).items():
            self._share("tu"[boolean], layout.kind(width), count, width, boolean)
        for run in self.back_runs if back else ():
            if run.into is None:
                self._share("r", run.number, 1 if self.one else len(run.slots), run.width)
        for product in () if back else layout.runs:
            self._share("p", product.number, len(product.slots), layout.classes[product.kind])
        self.columns: dict[int, PackedWeights] = {}
        self.nbytes = sum([a.nbytes for a in self.of_part.values()])  # of the larger tables
        self.begin_run()

    def _scratch(self, count: int, width: int, boolean: bool, like: Array) -> Array:
        if boolean:
            made: Array = self.xp.empty((count, self.most, width), bool)
            return made
        return scratch_for(like, count, self.most, width)

    def _share(self, table: str, which: int, count: int, width: int, boolean: bool = False) -> None:
        """Room for one visit, which all share."""
        if boolean:
            sizes = set(self.plan.sizes)
            self.shared[table, which] = {n: self.xp.empty((count, n, width), bool) for n in sizes}
        else:
            like = self.xp.empty((0, width), self.dtype)
            self.shared[table, which] = Blocks(self.plan, count, like, keep=False)

    # a run -------------------------------------------------------------------------------------------------------

    def begin_run(self) -> None:
        """Forget what the run before was given."""
        self.rows: dict[tuple[str, int], Array] = {}
        self.kept: dict[int, Blocks] = {}
        self.states: tuple[Trajectory, ...] = ()
        self.given: dict[tuple[str, int], Any] = {}
        self.carried: list[Array] = []
        self.series: dict[int, Sequence[Array | None]] = {}
        self.vectors: list[Array] = []
        self._arguments: dict[str, list[Any]] = {}
        self._sides: dict[int, tuple[list[Array], list[Array]]] = {}
        self._of_b: dict[Place, list[Array]] = {}

    def give(self, x: Array, vectors: Sequence[Array], options: Options) -> None:
        """The arguments of a run.

        Raises:
            ArgumentError: the masks are not those that the cell was compiled for.
        """
        self.rows["x", 0] = x.reshape(self.plan.rows, x.shape[-1])
        if options.step_masks or options.sequence_masks or self.program.step_masks or self.program.sequence_masks:
            self._give_masks(options)
        if self._reads_vectors:
            self.vectors = [v.reshape(1, -1) for v in vectors]
        for k, e in enumerate(self.text.constants):
            self.given["k", k] = _evaluated(e, self.vectors, self.xp, self.dtype)

    def _give_masks(self, options: Options) -> None:
        program, plan = self.program, self.plan
        asked = (*program.step_masks, *program.sequence_masks)
        given = (*options.step_masks, *options.sequence_masks)
        count = len(program.step_masks)
        if len(options.step_masks) != count or len(asked) != len(given):
            raise ArgumentError(
                f"the cell has {count} masks of a step and {len(program.sequence_masks)} of a sequence, "
                f"got {len(options.step_masks)} and {len(options.sequence_masks)}"
            )
        for k, (mask, a) in enumerate(zip(asked, given, strict=True)):
            rows = plan.rows if k < count else plan.batch
            kind = np.dtype(bool) if mask.boolean else self.dtype
            if a.dtype != kind or a.shape[-1] != mask.width or a.size != rows * mask.width:
                raise ArgumentError(
                    f"mask {k} must have {rows} rows of {mask.width} columns, and be {kind}; got {a.dtype} {a.shape}"
                )
            self.rows["m", k] = a.reshape(rows, mask.width)

    def weights(self, number: int, packed: PackedWeights, several: bool) -> None:
        """The right operands of a product of every step."""
        known = self.columns.get(number)
        if known is None or known.main.shape != packed.main.shape:
            self._prepared.clear()  # of which some are views shaped like those
        self.columns[number] = packed
        main, rest = packed.main, packed.rest
        if several and self.one and main.ndim == 3 and main.size <= SMALL:
            main = self.xp.ascontiguousarray(main.swapaxes(0, 1)).reshape(main.shape[1], -1)
        elif not several:
            main, rest = main[0], None if rest is None else rest[0]
        elif self.back and rest is not None:  # beside the left operand of ``main``, which has an axis of blocks
            rest = rest[:, None]
        self.given["w", number], self.given["w rest", number] = main, rest

    def begin(self, part: Part) -> None:
        """The next functions are about the visits of ``part``."""
        self.part = part
        self._sides.clear()
        self._of_b.clear()

    # what a function is given ------------------------------------------------------------------------------------

    def _lasting(self, table: str, which: int) -> bool:
        """Whether the views of a table are the same in every run."""
        if table == "left":
            return ("b", self.back_runs[which].kind) in self.of_part
        if table in ("w into", "w into rest"):
            return not self.back or self.back_runs[which].into is None
        if table in ("b", "b rows"):
            return ("b", which) in self.of_part
        return table in "asqfhiptur#" or table == "a rows"

    def _whole(self, name: str, place: Place) -> Any:
        """An argument of a function without loop."""
        table, which, lo, hi, columns = place
        part, plan = self.part, self.plan
        if table[0] == "b" and table != "back":
            b = self.of_part.get(("b", which))
            b = self.given["b", which] if b is None else b[:, : part.size]
            return b if table == "b rows" else plan.by_step(b, part)
        found = self.given.get((table, which))
        if found is not None:
            return found
        if table == "#":
            return self.numbers[which]
        if table == "v":
            return self.vectors[which][:, lo:hi]
        if table == "total":
            return self.given["totals", which][lo:hi]
        if table == "z":
            return self.kept[which].table(part)
        if table.endswith(" rows"):
            if table[0] == "a":
                return self.of_part["a", which][:, : part.size]
            if table[0] == "n":
                return self.states[which].values[None, part.rows]
            return self.rows[table[0], which][part.rows]
        if table in "on":
            values = self.states[which].earlier if table == "o" else self.states[which].values
            return plan.by_step(values[part.rows, lo:hi], part)
        if table == "m" and which >= len(self.program.step_masks):
            mask = self.rows["m", which][:, lo:hi]
            if not plan.packed:
                return mask
            sizes = plan.sizes_of(part)
            return self.xp.concatenate([mask[:n] for n in (reversed(sizes) if plan.reverse else sizes)])
        if (table, which) in self.rows:
            return plan.by_step(self.rows[table, which][part.rows, lo:hi], part)
        key = f"{name} {table}" if table in "tu" else table
        blocks = plan.by_step(self.of_part[key, which][:, : part.size], part)
        return blocks if columns is None else blocks[lo][..., columns[0] : columns[1]]

    def _views(self, place: Place) -> Sequence[Any]:
        """What each visit of the part has, the first visit first."""
        table, which, lo, hi, _ = place
        part, plan = self.part, self.plan
        block: Any = lo if hi == lo + 1 else slice(lo, hi)
        if table == "z":
            return self.kept[which].views(part, block)
        if table in "on":
            sides = self._sides.get(which)
            if sides is None:
                sides = self._sides[which] = self.states[which].views(part)
            side = sides[table == "n"]
            if hi - lo == self.program.widths[which]:
                return side
            return [a[:, lo:hi] for a in side]
        if table == "g":
            series = self.series[which][part.first : part.last]
            if hi - lo == self.program.widths[which]:
                return series
            return [None if g is None else g[:, lo:hi] for g in series]
        if table == "b":
            known = self._of_b.get(place)
            if known is None:
                b = self.of_part.get(("b", which))
                b = self.given["b", which] if b is None else b[:, : part.size]
                known = self._of_b[place] = plan.split_part(b[block], part)
            return known
        if table == "left":
            run = self.back_runs[which]
            b = self.of_part.get(("b", run.kind))
            b = self.given["b", run.kind] if b is None else b[:, : part.size]
            count = len(run.slots)
            if count > 1 and self.one:
                flat = b[run.first : run.first + count].swapaxes(0, 1)
                return plan.split_part(flat.reshape(part.size, -1), part)
            columns = self.columns.get(which)
            if count == 1 or columns is None:
                return self._views(Place("b", run.kind, run.first, run.first + 1))
            views = plan.split_part(b[run.first : run.first + count], part)
            return [columns.left(v) for v in views] if columns.main.ndim == 4 else views
        if (table, which) in self.rows:
            return plan.split_part(self.rows[table, which][part.rows, lo:hi], part)
        return plan.split_part(self.of_part[table, which][block, : part.size], part)

    def _unchanging(self, place: Place, n: int) -> Any:
        """What all visits of n sequences share."""
        table, which, lo, hi, columns = place
        if table == "#":
            return self.numbers[which]
        found = self.given.get((table, which))
        if found is not None or table == "w rest":
            return found
        if table == "v":
            return self.vectors[which][:, lo:hi]
        if table == "c":
            biases = self.given["biases", which]
            return biases[lo] if hi == lo + 1 else biases[lo:hi]
        if table == "d":
            d = self.carried[which]
            return d if (n, hi - lo) == d.shape else d[:n, lo:hi]
        if table == "m":
            return self.rows["m", which][:n, lo:hi]
        if table == "dot":  # which takes two thirds of the time of ``matmul`` for small matrices
            into = self._unchanging(Place("w into", which, 0, 0), n)
            plain = self.xp is np and into.ndim == 2 and into.flags.c_contiguous and self.given["w", which].ndim == 2
            return np.dot if plain else self.xp.matmul
        if table in ("w into", "w into rest"):
            into, packed = self._product(which, n), self.columns.get(which)
            if packed is None:  # of one sequence
                return into if table == "w into" else None
            if not self.back and into.ndim == 3 and self.given["w", which].ndim == 2:
                return into.reshape(1, -1) if table == "w into" else None
            if table == "w into":
                return packed.seen(into)
            rest = packed.rest_of(into)
            return rest[:, None] if rest is not None and rest.ndim == 3 and self.back else rest
        blocks = self._room(table, which, n)
        if columns is not None:
            return blocks[lo][:, columns[0] : columns[1]]
        return blocks[lo] if hi == lo + 1 else blocks[lo:hi]

    def _room(self, table: str, which: int, n: int) -> Array:
        """The blocks (G, n, W) of a visit of n sequences."""
        found = self.shared[table, which]
        return found[n] if isinstance(found, dict) else found.of(n)

    def _product(self, which: int, n: int) -> Array:
        """Where the product of a run goes."""
        if self.back:
            into = self.back_runs[which].into
            if into is not None:
                return self._unchanging(into, n)  # type: ignore[no-any-return]
        room = self._room("r" if self.back else "p", which, n)
        return room[0] if len(room) == 1 else room

    # calls -------------------------------------------------------------------------------------------------------

    def call(self, name: str) -> None:
        """Run a function without loop on the part, if there is one."""
        function = self.text.functions.get(name)
        if function is None:
            return
        prepared = self._prepared.get((name, self.part.first))
        if prepared is None:
            prepared = self._prepared[name, self.part.first] = _Prepared([], [])
            for i, place in enumerate(function.arguments.values()):
                lasting = self._lasting(place.table, place.which)
                prepared.values.append(self._whole(name, place) if lasting else None)
                if not lasting:
                    prepared.open.append((i, place))
        arguments = prepared.values.copy()
        for i, place in prepared.open:
            arguments[i] = self._whole(name, place)
        getattr(self.module, name)(self.functions, *arguments)

    def _loop_name(self) -> str:
        return "steps_back_of_one" if self.one else "steps_back"

    def loop(self, name: str) -> None:
        """Run a loop over the visits of the part, if there is one."""
        name = self._loop_name() if self.back else name
        function = self.text.functions.get(name)
        if function is None or function.visits is None:
            moving = [] if self.back else [s for s in self.states if s.running is not None]
            for _ in _moving(range(self.part.last - self.part.first), self.part.first, moving):
                pass  # states that ``inputs`` computed
            return
        if self.plan.packed:
            self._loop_packed(name, list(function.arguments.values()), list(function.visits.values()))
            return
        back = self.back
        arguments = self._arguments.get(name)
        if arguments is None:  # the same for all parts
            arguments = self._arguments[name] = self._once(name, list(function.arguments.values()))
        prepared = self._prepared.get((name, self.part.first))
        if prepared is None:
            prepared = self._prepared[name, self.part.first] = _Prepared([], [])
            for i, place in enumerate(function.visits.values()):
                if self._lasting(place.table, place.which):
                    views = self._views(place)
                    prepared.values.append(views[::-1] if back else views)
                else:
                    prepared.values.append(None)
                    prepared.open.append((i, place))
        lists = prepared.values.copy()
        for i, place in prepared.open:
            views = self._views(place)
            lists[i] = reversed(views) if back else views
        visits: Any = zip(*lists) if lists else [()] * (self.part.last - self.part.first)  # noqa: B905
        getattr(self.module, name)(self.functions, visits, *arguments)

    def _once(self, name: str, places: list[Place]) -> list[Any]:
        """What all visits of all parts share."""
        n = self.plan.batch
        prepared = self._prepared.get((name, -1))
        if prepared is None:
            prepared = self._prepared[name, -1] = _Prepared([], [])
            for i, place in enumerate(places):
                lasting = self._lasting(place.table, place.which)
                prepared.values.append(self._unchanging(place, n) if lasting else None)
                if not lasting:
                    prepared.open.append((i, place))
        arguments = prepared.values.copy()
        for i, place in prepared.open:
            arguments[i] = self._unchanging(place, n)
        return arguments

    def _loop_packed(self, name: str, arguments: list[Place], visits: list[Place]) -> None:
        """The same for packed rows: a loop for each run of visits of as many sequences."""
        lists = [self._views(place) for place in visits]
        part, sizes, back = self.part, self.plan.sizes_of(self.part), self.back
        moving = [] if back else [s for s in self.states if s.running is not None]
        bounds = _runs_of(sizes)
        for first, last in reversed(bounds) if back else bounds:
            some = [a[first:last] for a in lists]
            visit: Any = zip(*(map(reversed, some) if back else some), strict=True) if some else [()] * (last - first)
            if moving:
                visit = _moving(visit, part.first + first, moving)
            given = [self._unchanging(place, sizes[first]) for place in arguments]
            getattr(self.module, name)(self.functions, visit, *given)


def _runs_of(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbouring visits of as many sequences."""
    if not sizes or sizes[0] == sizes[-1]:
        return [(0, len(sizes))] if sizes else []
    cuts = [0, *[k for k in range(1, len(sizes)) if sizes[k] != sizes[k - 1]], len(sizes)]
    return list(itertools.pairwise(cuts))


def _moving(visits: Any, first: int, states: Sequence[Trajectory]) -> Iterator[Any]:
    """Visits of packed rows, around which running states are read and written."""
    for k, visit in enumerate(visits, first):
        for s in states:
            s.enter(k)
        yield visit
        for s in states:
            s.leave(k)


def _evaluated(root: Expr, vectors: Sequence[Array], xp: Any, dtype: Any) -> Array:
    """An expression of vectors alone, (1, W)."""
    values: dict[int, Any] = {}
    for e in walk([root]):
        args = [values[a.number] for a in e.args]
        if e.op == "number":
            values[e.number] = e.at[0]
        elif e.op == "vector":
            values[e.number] = vectors[e.at[0]][:, e.at[1] : e.at[1] + max(e.width, 1)]
        elif e.op == "spread":
            values[e.number] = xp.empty((1, e.width), dtype)
            values[e.number][...] = args[0]
        elif e.op == "rowsum":
            values[e.number] = sum([a.sum(-1, keepdims=True) for a in args])
        elif e.op == "rowmax":
            values[e.number] = functools.reduce(np.maximum, [a.max(-1, keepdims=True) for a in args])
        else:
            values[e.number] = OPERATIONS[e.op](*args)
    found: Array = values[root.number]
    return found
