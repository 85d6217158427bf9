"""The tape as an object: every record in order, each step of each sweep, and what each use of a weight contributed.

A Tape only watches.  It holds on to the nodes that were recorded while it was open, so they live as long as it
does; the engine itself runs as always.  What it shows are copies: a value is what it was when it was recorded.

    records.py      what it holds: records, leaves, steps, shares
    values.py       copies of arrays, within a budget
    names.py        what the program calls its tensors
    scopes.py       in which module, layer, direction and time step an operation is applied
    shares.py       the terms of a gradient, through views
    expansion.py    the record of a fused layer, opened
    tape_json.py    a tape as text, and back
    pictures.py     the way to what draws a tape, which stands above the engine
"""

from __future__ import annotations

import itertools
import linecache
import operator
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, cast, overload

from ...backend import dtype
from ...errors import ArgumentError, ArgumentTypeError, GraphError
from ...source_line import user_frame
from ...typing import Array, Cotangent, Params, Value
from ..backward import backward
from ..modes import Operation, state, watched
from ..node import Leaf, Node
from ..partial_gradient import Part
from ..sweep import sweep as run_sweep
from ..tensor import Tensor
from .expansion import expanded
from .memory import MemoryReport, saved_arrays
from .module_paths import parameter_name
from .names import assigned, leaf_variable, named_tensors, place_of_leaf, stack_of_user
from .pictures import drawn_by, html_of
from .records import (
    CONSTANT,
    Contribution,
    Record,
    Reference,
    Share,
    Step,
    Sweep,
    TapeLeaf,
    argument_names,
    kept_names,
    kept_otherwise,
)
from .scopes import CALLS, NOWHERE, at
from .shares import Shares, shares_in
from .tape_json import loaded, written
from .text_table import table
from .values import Keeper, raw, short
from .watcher import Watching, out_of_turn

__all__ = ["Contribution", "Record", "Reference", "Share", "Step", "Sweep", "Tape"]

AnyNode = Node | Leaf
_keys = itertools.count(-1, -1)
"""Keys of open tapes in ``CALLS``; those of hooks are positive."""


class _UnderWay:
    """A sweep that has not ended: its last step, and the sums that it has so far."""

    def __init__(self) -> None:
        self.step: Step | None = None
        self.totals: dict[int, Any] = {}


class Tape(Watching):
    """Everything recorded inside ``with``, in order; then each sweep, step by step.

    Args:
        values: what is kept of arrays: ``"all"``; a number, those of up to so many entries, and of larger ones a
            summary (first entries, norm, least and greatest); or ``"shapes"``.
        totals: keep at each contribution the sum of what had arrived there before it, and with it.

    Attributes:
        records: what was recorded.
        leaves: the tensors that require grad and were used, with their values at that time.
        sweeps: each backward sweep.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor(3.0, requires_grad=True)
    >>> with tg.Tape() as tape:
    ...     y = w * w + w
    ...     y.backward()
    >>> [record.name for record in tape]
    ['mul', 'add']
    >>> [float(share.value) for share in tape.shares(w)]     # one for each use of w, in the sweep's order
    [1.0, 3.0, 3.0]
    >>> float(w.grad)
    7.0
    """

    def __init__(self, *, values: str | int = "all", totals: bool = False) -> None:
        self._keep = Keeper(values)
        self._totals = totals
        self.records: list[Record] = []
        self.leaves: list[TapeLeaf] = []
        self.sweeps: list[Sweep] = []
        self._numbers: dict[int, int] = {}  # by the index of a node, of records and of leaves
        self._leaf_numbers: dict[int, int] = {}
        self._given_names: dict[int, str] = {}  # of leaves
        self._earlier: dict[int, tuple[str, bool]] = {}  # by index: the primitive, and whether it has several outputs
        self._named: set[int] = set()  # the nodes whose variable is known
        self._under_way: list[_UnderWay] = []  # one for each sweep that has not ended
        self._assigned: tuple[tuple[int, int], str, Record] | None = None  # to be named when a statement is over
        self._keys: list[int] = []
        self._bottom: int | None = None  # the id of the frame in which it was opened
        self._read: dict[int, list[Share]] | None = None  # the shares of each leaf, on a tape that was read from text
        self._sources: dict[str, str] = {}  # by file, likewise

    @property
    def values(self) -> str | int:
        """What is kept of arrays."""
        return self._keep.values

    # recording -----------------------------------------------------------------------------------------------

    def __enter__(self) -> Tape:
        self._must_be_live("be opened")
        if _watches(self):  # opened within itself: it sees everything once
            self._keys.append(0)
            return self
        frame = user_frame()
        self._open(None if frame is None else id(frame))
        here = state.here
        here.watchers = (*here.watchers, self)  # last, and not by super(): a signal could come as a call returns
        return self

    def _open(self, bottom: int | None) -> None:
        """Be ready to be told of records; ``bottom`` is the id of the outermost frame that is looked at."""
        self._bottom = bottom
        key = next(_keys)
        self._keys.append(key)
        # weakly: a tape that a Ctrl-C left open slows modules down no longer than it lives
        CALLS[key] = weakref.ref(self, lambda _: CALLS.pop(key, None) and None)

    def __exit__(self, *exc: Any) -> None:
        here = state.here
        if self._keys[-1:] != [0]:
            if here.watchers and here.watchers[-1] is self:  # without a call, before which a signal could come
                here.watchers = here.watchers[:-1]
            else:
                out_of_turn(here, self)
        self._close()

    def _close(self) -> None:
        key = self._keys.pop() if self._keys else 0
        if key:
            CALLS.pop(key, None)
            self._settle()
            self._look_for_names()

    def at(self, t: int | None = None, *, layer: int | None = None, direction: int | None = None) -> at:
        """Inside ``with``, records are of time step ``t``, as those of a composed recurrent layer are by themselves.

        Args:
            t: the time step; whole numbers, from 0 on by custom.
            layer, direction: for layers that are written by hand; direction 1 reads from the end.

        >>> import tinygrad_rnn as tg
        >>> W = tg.tensor(0.5, requires_grad=True)
        >>> h = tg.tensor(1.0)
        >>> with tg.Tape() as tape:
        ...     for t, x in enumerate([1.0, -1.0]):
        ...         with tape.at(t=t):
        ...             h = tg.tanh(W * h + x)
        >>> print(tape.table("record", "operation", "name", "time"))
        record  operation      name  time
        %0      mul(W, const)           0
        %1      add(%0, const)          0
        %2      tanh(%1)       h        0
        %3      mul(W, %2)              1
        %4      add(%3, const)          1
        %5      tanh(%4)       h        1

        Raises:
            ArgumentTypeError: something that is no integer.
            ArgumentError: a direction that is not 0 or 1.
        """
        return at(t, layer, direction)

    def name(self, module: Any = None, /, **tensors: Tensor) -> Tape:
        """Give tensors the names under which the tape shows them: ``tape.name(model)`` or ``tape.name(W=W, h=h)``.

        Without it a leaf has the name of the user's variable that holds it, or the way to it through containers,
        attributes and modules, as ``P["f"]`` or ``model.rnn.weight_hh_l0``; a result that of the first variable that
        held it.

        Raises:
            ArgumentTypeError: something that is no Tensor.
        """
        named = dict(tensors)
        if module is not None:
            named.update(module.named_parameters())
        for name, t in named.items():
            if not isinstance(t, Tensor):
                raise ArgumentTypeError(f"Tape.name(): {name} must be a Tensor, not {type(t).__name__}")
            node = t._node
            if isinstance(node, Leaf):
                self._given_names[node.index] = name
                if node.index in self._leaf_numbers:
                    self.leaves[self._leaf_numbers[node.index]].name = name
            elif node is not None:
                self._call(node, name, again=True)
        self._rename()
        return self

    def _rename(self) -> None:
        for record in self.records:
            record.inputs = tuple([self._label(reference) for reference in record.references])
        for sweep in self.sweeps:
            for step in sweep.steps:
                step.name = self._label(step.target, whole=True)
                for contribution in step.contributions:
                    contribution.to = self._label(contribution.target)

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        self._look_for_names()
        references = tuple([self._reference(parent, used=True) for parent in node.parents])
        scope = (state.here.scope or NOWHERE)._replace(owner=None, origin=0)
        names = argument_names(node.primitive, len(references))
        record = Record(
            len(self.records),
            node.primitive.name,
            node.shape,
            dtype(node.dtype),
            self._keep(output),
            references=references,
            inputs=tuple([self._label(reference) for reference in references]),
            arguments=tuple([self._known(reference) for reference in references]),
            argument_names=names,
            kept_names=kept_names(node, names),
            more=kept_otherwise(node, self._keep),
            params=node.params,
            saved_bytes=sum(array.nbytes for array in saved_arrays(node)),
            scope=scope,
            sweep=len(self.sweeps) - 1 if self._under_way else None,
            stack=stack_of_user(self._bottom),
            node=node,
        )
        self._numbers[node.index] = record.number
        self.records.append(record)
        found = assigned()
        if found is None or self._assigned is None or found[0] != self._assigned[0]:
            self._settle()
        self._assigned = None if found is None else (*found, record)

    def _settle(self) -> None:
        """Name the last result that a cell's equations assigned to a variable."""
        if self._assigned is not None:
            _, name, record = self._assigned
            if record.variables[0] is None:
                record.variables[0] = name
            self._assigned = None

    def applied(self, operation: Operation, inputs: Sequence[Any], params: Params, output: Any) -> None:
        """Note the values of the arguments, which only a part of the records saves."""
        outputs = output if isinstance(output, tuple) else (output,)
        node = next((t._node for t in outputs if isinstance(t, Tensor) and t._node is not None), None)
        place = None if node is None else self._place(node)
        if place is None:
            return
        record = self.records[place[0]]
        if len(record.references) == len(inputs):
            record.arguments = tuple(map(self._argument, inputs, record.references))

    def _argument(self, value: Any, reference: Reference) -> Any:
        """What is kept of an argument as it is now."""
        if reference.kind == "record" and isinstance(value, Tensor):  # which may have been written to under no_grad
            return self._keep.version(value, self._known(reference))[1]
        return self._known(reference) if reference.kind == "leaf" else self._keep.argument(value)

    def _known(self, reference: Reference) -> Any:
        """The value of what a reference is to, as far as the tape has it."""
        if reference.kind == "leaf":
            values = self.leaves[reference.number].values
            return values[reference.version] if values else None
        if reference.kind != "record":
            return None
        value = self.records[reference.number].value
        return value[reference.output] if isinstance(value, tuple) else value

    # names and places ----------------------------------------------------------------------------------------

    def _look_for_names(self) -> None:
        """Find the variables that hold what was computed so far."""
        for name, t in named_tensors(self._bottom):
            node = t._node
            if isinstance(node, Node) and node.index not in self._named:
                self._call(node, name)

    def _call(self, node: Node, name: str, again: bool = False) -> None:
        self._named.add(node.index)
        place = self._place(node)
        if place is None:
            return
        variables = self.records[place[0]].variables
        if again or variables[place[1]] is None:
            variables[place[1]] = name

    def _place(self, node: AnyNode) -> tuple[int, int] | None:
        """The record of a node and the number of the output there; None if it is not of this tape."""
        number, output = self._numbers.get(node.index), 0
        if number is None and isinstance(node, Node) and node.primitive.name == "output":
            # the outputs of a fused primitive are places in its record
            number, output = self._numbers.get(node.parents[0].index), node.params["number"]  # type: ignore[union-attr]
        return None if number is None else (number, output)

    def _reference(self, node: AnyNode | None, used: bool = False) -> Reference:
        """What a node is to this tape; ``used``: by an operation just now, so that a leaf's value is wanted."""
        if node is None:
            return CONSTANT
        if isinstance(node, Leaf):
            leaf = self._leaf(node, used)
            return Reference("leaf", leaf.number, 0, max(0, len(leaf.values) - 1))
        place = self._place(node)
        if place is not None:
            return Reference("record", *place)
        output, several = 0, node.primitive.name == "output"
        if several and isinstance(node.parents[0], Node):
            output, node = node.params["number"], node.parents[0]
        self._earlier.setdefault(node.index, (node.primitive.name, several))
        return Reference("earlier", node.index, output)

    def _leaf(self, node: Leaf, used: bool) -> TapeLeaf:
        number = self._leaf_numbers.get(node.index)
        if number is None:
            number = self._leaf_numbers[node.index] = len(self.leaves)
            name = self._given_names.get(node.index) or self._found_name(node)
            self.leaves.append(TapeLeaf(number, name, node.shape, dtype(node.dtype), node))
        leaf = self.leaves[number]
        t = node.tensor()
        if used and t is not None:
            kept = self._keep.version(t)[1]
            if not leaf.values or leaf.values[-1] is not kept:
                leaf.values.append(kept)
        return leaf

    def _found_name(self, node: Leaf) -> str:
        """The user's variable that holds a leaf, its path in a module that runs, another way to it, or a number."""
        found = leaf_variable(node) or parameter_name(node) or place_of_leaf(node)
        if found is None:
            return f"leaf{len(self.leaves)}"
        taken = {leaf.name for leaf in self.leaves}
        if found in taken:  # the variable held another leaf before, as in a loop
            found = next(name for k in itertools.count(2) if (name := f"{found} ({k})") not in taken)
        return found

    def _label(self, reference: Reference, whole: bool = False) -> str:
        """How a place is called; ``whole``: a record with all of its outputs."""
        kind, number, output, _ = reference
        if kind == "constant":
            return "const"
        if kind == "leaf":
            return self.leaves[number].name
        if kind == "record":
            several = isinstance(self.records[number].value, tuple)
            label = f"%{number}"
        else:
            name, several = self._earlier[number]
            label = f"{name}#{number}"
        return f"{label}.{output}" if several and not whole else label

    # looking ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self.records[index]

    def record_of(self, t: Tensor) -> Record:
        """The record that computed a tensor.

        Raises:
            GraphError: it was not recorded while this tape was open.
        """
        place = None if t._node is None else self._place(t._node)
        if place is None:
            raise GraphError("this tensor was not computed by a record of this tape")
        return self.records[place[0]]

    def table(self, *columns: str) -> str:
        """The records as text, one line each.

        Args:
            columns: which of ``record``, ``operation``, ``name``, ``result``, ``saved bytes``, ``value``, ``module``,
                ``layer``, ``direction``, ``time``, ``where`` (these four in one) and ``line``; by default record,
                operation, result, saved bytes and line, and name and where if a record has one.
        """
        cells: dict[str, Callable[[Record], str]] = {
            "record": lambda r: f"%{r.number}",
            "operation": lambda r: f"{r.name}({', '.join(r.inputs)})",
            "name": lambda r: r.variable or "",
            "result": lambda r: f"{r.dtype.name}{list(r.shape)}",
            "saved bytes": lambda r: str(r.saved_bytes),
            "value": lambda r: short(r.value),
            "module": lambda r: r.module or "",
            "layer": lambda r: "" if r.layer is None else str(r.layer),
            "direction": lambda r: "" if r.direction is None else str(r.direction),
            "time": lambda r: "" if r.time is None else str(r.time),
            "where": lambda r: str(r.scope),
            "line": lambda r: f"{r.line}  {r.line.text}" if r.line else "",
        }
        for column in columns:
            if column not in cells:
                raise ArgumentError(f"Tape.table(): no column {column!r}; there are {', '.join(cells)}")
        if not columns:
            left_out = {"value", "module", "layer", "direction", "time"}
            left_out |= {name for name in ("name", "where") if not any(map(cells[name], self.records))}
            columns = tuple(name for name in cells if name not in left_out)
        right = [k for k, name in enumerate(columns) if name in ("saved bytes", "layer", "direction", "time")]
        return table(columns, [[cells[name](r) for name in columns] for r in self.records], right)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Tape of {len(self.records)} records>"

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "tape", self)

    def source(self, file: str) -> str:
        """The text of a file whose lines the records name; empty if it cannot be read.

        On a tape that was read from JSON it is the text that was written with it.
        """
        return self._sources.get(file, "") if self._read is not None else "".join(linecache.getlines(file))

    def memory(self) -> MemoryReport:
        """What is held for the backward pass now, and by which record (nothing is, once a sweep has freed it)."""
        return MemoryReport(self.records)

    # sweeps ------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> list[Step]:
        """The steps of the last sweep, in order; those of a sweep that runs within it (``create_graph``) in between."""
        return self.sweeps[-1].steps if self.sweeps else []

    def backward(self, tensors: Any, gradient: Any = None, **options: Any) -> list[Step]:
        """``tensors.backward(gradient)``, watched: fills ``.grad`` and returns the steps of the sweep, in order."""
        self._must_be_live("run a backward pass")
        if _watches(self):
            backward(tensors, gradient, **options)
        else:
            watched(self, backward, tensors, gradient, **options)
        return self.steps

    def sweep_begins(self, seeds: Sequence[tuple[AnyNode, Value]]) -> None:
        self._settle()
        self._look_for_names()
        if state.here.memo is None or not self._under_way:  # else a vjp that is recorded sweeps, too
            self._under_way = []
            caller: FrameType | None = sys._getframe(1)
            while caller is not None and caller.f_code is not run_sweep.__code__:  # a watcher may have handed it on
                caller = caller.f_back
            caller = None if caller is None else caller.f_back  # what called sweep()
            kind = "backward" if caller is not None and caller.f_code is backward.__code__ else "grad"
            self.sweeps.append(Sweep(len(self.sweeps), kind))
            self.sweeps[-1].seeds = [(self._reference(node), self._keep(g)) for node, g in seeds]
        now = _UnderWay()
        self._under_way.append(now)
        if self._totals:
            for node, g in seeds:
                _add(now.totals, node, g)

    def sweep_ends(self, error: BaseException | None) -> None:
        self._under_way.pop()
        if error is not None and not self._under_way:
            self.sweeps[-1].error = f"{type(error).__name__}: {error}"

    def reached(self, node: AnyNode, cotangent: Cotangent) -> None:
        number = self._numbers.get(node.index)
        record = None if number is None else self.records[number]
        if record is None and isinstance(node, Node) and node.primitive.name == "output":
            return  # part of the fused record that follows
        target = self._reference(node)
        step = Step(
            self._label(target, whole=True), target, record, self._keep(cotangent), node, len(self._under_way) - 1
        )
        self._under_way[-1].step = step
        self.sweeps[-1].steps.append(step)

    def contributed(self, node: Node, position: int, parent: AnyNode, contribution: Value | Part) -> None:
        now = self._under_way[-1]
        if now.step is None or node.primitive.name == "output":
            return
        target = self._reference(parent)
        sums: tuple[Any, ...] = ()
        if self._totals:
            before = now.totals.get(parent.index)
            after = _add(now.totals, parent, contribution)
            sums = (None if before is None else self._keep(before), self._keep(after))
        value = self._keep(contribution)
        now.step.contributions.append(Contribution(self._label(target), target, position, value, parent, *sums))

    def shares(self, t: Tensor | str, sweep: int | Sweep | None = None) -> Shares:
        """What each use of ``t`` contributed to its gradient, in the order in which the sweeps summed them.

        A use by way of views, such as ``x @ W.T``, is that of the record that computed with the view; ``share.through``
        has the views.

        Args:
            t: a tensor, or the name of a leaf on this tape.
            sweep: one of ``tape.sweeps`` or its number; by default all that add to ``.grad``, or, if ``t`` had a part
                in none of these, those that return gradients (``autograd.grad``).

        The gradient is their ``total()``, exactly: within a sweep ``((share0 + share1) + share2) + ...`` in this dtype,
        where what came by way of one view is summed there first; and then sweep by sweep, if no gradient was there
        before and none was set to None in between.  To rounding: where one use read an entry of ``t`` twice (a token
        that occurs twice), whose parts are added one by one, or a view repeats entries (``expand``, ``unfold``); where
        the sweep is itself recorded; and on a GPU, where products are added to the sum as they are formed.

        Raises:
            GraphError: no sweep was watched yet, or ``t`` had no part in it.

        >>> import tinygrad_rnn as tg
        >>> W = tg.tensor([[2.0, 1.0]], requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     for x in ([1.0, 1.0], [5.0, 3.0]):
        ...         (tg.tensor([x]) @ W.T).sum().backward()
        >>> for share in tape.shares(W):
        ...     print(share.sweep, share)
        0 [[1., 1.]] from %1 = matmul(const, %0) : float32[1, 1]
        1 [[5., 3.]] from %4 = matmul(const, %3) : float32[1, 1]
        >>> bool((tape.shares(W).total() == W.grad.numpy()).all())
        True
        """
        if not isinstance(t, (Tensor, str)):
            raise ArgumentTypeError(f"shares(): expected a Tensor, or the name of a leaf, got {type(t).__name__}")
        if not self.sweeps:
            raise GraphError(
                "shares(): this tape has watched no backward pass yet. Call loss.backward() inside the with block, "
                "or tape.backward(loss) after it"
            )
        of, what = self._shares_of(t)
        if sweep is not None:
            found = Shares(of(self._sweep(sweep)))
        else:
            found = Shares([share for s in self.sweeps if s.kind == "backward" for share in of(s)])
            found = found or Shares([share for s in self.sweeps for share in of(s)])
        if not found:
            which = "the last sweep" if len(self.sweeps) == 1 else "any sweep" if sweep is None else "this sweep"
            raise GraphError(f"shares(): {what} was not used by anything that {which} went through")
        return found

    def _shares_of(self, t: Tensor | str) -> tuple[Callable[[Sweep], Iterator[Share]], str]:
        """The function that gives the shares of a tensor in a sweep, and what to call the tensor in an error."""
        if isinstance(t, Tensor):
            self._must_be_live("find the shares of a tensor: give the name of a leaf")
            node = t._node
            return (lambda s: iter(()) if node is None else shares_in(s, node)), f"the tensor of shape {t.shape}"
        leaves = [leaf for leaf in self.leaves if leaf.name == t]
        if not leaves:
            known = ", ".join(leaf.name for leaf in self.leaves)
            raise ArgumentError(f"shares(): no leaf on this tape has the name {t!r}; there are {known}")
        leaf = leaves[0]
        if self._read is not None:
            read = self._read.get(leaf.number, [])
            return (lambda s: iter([share for share in read if share.sweep == s.number])), f"the leaf {t}"
        assert leaf.node is not None
        return (lambda s: shares_in(s, leaf.node)), f"the leaf {t}"

    def _sweep(self, sweep: int | Sweep) -> Sweep:
        if isinstance(sweep, Sweep):
            return sweep
        try:
            return self.sweeps[operator.index(sweep)]
        except IndexError:
            raise ArgumentError(f"this tape has watched {len(self.sweeps)} sweeps, and no sweep {sweep}") from None
        except TypeError:
            raise ArgumentTypeError(f"sweep must be a Sweep or its number, not {type(sweep).__name__}") from None

    def expand(self, record: Record | int, sweep: int | Sweep | None = None) -> Tape:
        """The record of a fused operation, opened: a tape of its reference composition, run on the same arguments.

        If a sweep came to the record, the tape has a sweep, too, which starts from the cotangents that arrived there.
        What it gives to its leaves is what the record contributed, to rounding.

        Args:
            record: the record or its number.
            sweep: which sweep; by default the last that came to the record.

        Raises:
            GraphError: an operation that is not fused, or whose arguments this tape did not keep.

        >>> import tinygrad_rnn as tg
        >>> rnn = tg.nn.RNN(1, 1)
        >>> with tg.Tape() as tape:
        ...     rnn(tg.ones(3, 1, 1))[0].sum().backward()
        >>> inner = tape.expand(0)
        >>> [record.name for record in tape[:1]], [r.name for r in inner if r.time == 2]
        (['rnn'], ['linear', 'linear', 'add', 'tanh'])
        >>> [share.record.time for share in inner.shares("rnn.weight_hh_l0")]     # one for each step
        [2, 1, 0]
        """
        self._must_be_live("expand a record")
        chosen = self.records[record] if isinstance(record, int) else record
        sweeps = self.sweeps[::-1] if sweep is None else [self._sweep(sweep)]
        step = next((found for s in sweeps if (found := s.step_of(chosen)) is not None), None)
        inner = Tape(values=self.values, totals=self._totals)
        expanded(inner, chosen, step)
        return inner

    # as text -----------------------------------------------------------------------------------------------------

    def to_json(self, *, version: int = 1, sources: bool = True) -> str:
        """The tape as JSON: the one form that viewers, files and tests read.

        Numbers are exact: arrays are the bytes of their entries in base64.  ``docs/tape-format.md`` describes it.

        Args:
            version: of the format; there is 1.
            sources: with the text of the files whose lines the records name.

        Raises:
            ArgumentError: an unknown version.

        >>> import tinygrad_rnn as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     (w * w).backward()
        >>> again = tg.Tape.from_json(tape.to_json())
        >>> print(again.table("operation", "value"))
        operation  value
        mul(w, w)  9
        >>> [float(share.value) for share in again.shares("w")]
        [3.0, 3.0]
        """
        return written(self, version, sources)

    @classmethod
    def from_json(cls, text: str) -> Tape:
        """A tape from its JSON, to be looked at: its records have no nodes, and nothing can be recorded on it.

        Raises:
            ArgumentError: text that is no tape, or one of another version.
        """
        tape = cls()
        loaded(tape, text)
        return tape

    # as pictures -------------------------------------------------------------------------------------------------

    def show(self, path: str | os.PathLike[str] | None = None, *, open: bool = True) -> Any:
        """The tape as a page to step through, forwards and backwards: one HTML file that asks for nothing else.

        Args:
            path: where to write it; by default a temporary file.
            open: show it in the browser.

        Returns:
            The page, a ``tg.viz.Page``.
        """
        return drawn_by("debugger").show(self, path, open)

    def to_svg(
        self,
        step: int | None = None,
        sweep: int | Sweep | None = None,
        *,
        width: float = 960,
        title: str | None = None,
    ) -> str:
        """A still picture, without script: rows are operations, columns time steps, a cell is a record.

        A cell is shaded by the norm of its cotangent, and hatched where that is zero or below the smallest normal
        number.  Below a loop stand the weights that it uses, with a bar for what each time step contributed, pale
        where that is below the rounding of the sum.  A program without a loop is drawn as a graph.

        Args:
            step: show the sweep as it is at this step (a number; from the end, if negative): what it has come to, where
                the contributions of this step go, and what waits.  By default the sweep as a whole.
            sweep: one of ``tape.sweeps`` or its number; by default the last.  Without any, cells are shaded by the norm
                of the values.
            width: in pixels.
            title: of the picture.

        Returns:
            An SVG that stands alone, inline or as ``<img>``; light or dark as the reader prefers.  Its size is bounded:
            of a long tape the middle is counted, and several time steps may share a column.

        Raises:
            ArgumentError: no such step, sweep or width.

        >>> import tinygrad_rnn as tg
        >>> W, h = tg.tensor(0.5, requires_grad=True), tg.tensor(1.0)
        >>> with tg.Tape() as tape:
        ...     for x in (1.0, -1.0, 2.0):
        ...         h = tg.tanh(W * h + x)
        ...     h.backward()
        >>> svg = tape.to_svg(title="three steps")
        >>> svg[:4], "for x in (1.0, -1.0, 2.0)" in svg, "h = tanh(·)" in svg
        ('<svg', True, True)
        """
        return cast("str", drawn_by("still").to_svg(self, step, sweep, width=width, title=title))

    def to_dot(self, sweep: int | Sweep | None = None, *, fold: bool = True) -> str:
        """The tape as a graph in the language of Graphviz: ``dot -Tsvg``.

        Args:
            sweep: whose cotangents shade the nodes; by default the last.
            fold: a loop as one body, with dashed edges to the next step; else a node for each record.

        Raises:
            ArgumentError: no such sweep; too many records to draw each.

        >>> import tinygrad_rnn as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     y = w * w
        >>> print(tape.to_dot())
        digraph tape {
        ...
          l0 -> b0r0 [label="2"];
        }
        """
        return cast("str", drawn_by("graph_text").to_dot(self, sweep, fold))

    def to_mermaid(self, sweep: int | Sweep | None = None) -> str:
        """The tape as a Mermaid flowchart, which Markdown viewers such as GitHub's draw; loops are one body.

        Args:
            sweep: whose cotangents shade the nodes; by default the last.

        >>> import tinygrad_rnn as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     y = w * w
        >>> print(tape.to_mermaid())
        flowchart TB
          l0(["w"])
          subgraph b0["line 2"]
            b0r0["y = w #42; w"]
          end
          l0 -- "2" --> b0r0
        """
        return cast("str", drawn_by("graph_text").to_mermaid(self, sweep))

    def tree(self, width: int = 100, sweep: int | Sweep | None = None) -> str:
        """The tape as a picture in text: a line for each operation of a loop's body, a character for each time step.

        Args:
            width: in characters.
            sweep: whose cotangents the bars show; by default the last.  Without any, they show the values.

        >>> import tinygrad_rnn as tg
        >>> W, h = tg.tensor(0.5, requires_grad=True), tg.tensor(1.0)
        >>> with tg.Tape() as tape:
        ...     for t in range(8):
        ...         h = tg.tanh(W * h)
        ...     h.backward()
        >>> print(tape.tree(70))
        16 records, sweep 0 (backward) of 17 steps: bars show the size of cotangents
        <BLANKLINE>
        for t in range(8), t = 0 to 7
          W * h        ▁▂▃▄▅▆▆▇
          h = tanh(·)  ▁▂▃▄▅▆▆▇
          W.grad       ▁▃▃▄▄▄▄▄
                       8 shares, 0.005729 to 0.007054; the sum 0.05468
        <BLANKLINE>
        ▁ to █: norms of cotangents, here from 0.005729 to 1, on a logarithmic scale

        Raises:
            ArgumentError: no such sweep; a width under 40.
        """
        return cast("str", drawn_by("tree").tree(self, width, sweep))

    def explain(self, what: Tensor | Record | str | int) -> Any:
        """The gradient of a tensor as the sum that it is, in words and numbers: ``print(tape.explain(W))``.

        For each use of it: in which record and time step, the norm of its share, which part of the sum that is, its
        cosine with the sum, the sum so far, and whether it is below the rounding of the sum.

        Args:
            what: a tensor; the name of a leaf, or of a variable that held one result; a record or its number.

        Returns:
            A ``tg.viz.Explanation``: text when printed, with the numbers in ``sums``.

        Raises:
            ArgumentError: a name that nothing or more than one result has, or a number that no record has.

        >>> import tinygrad_rnn as tg
        >>> W, h = tg.tensor(0.5, requires_grad=True), tg.tensor(1.0)
        >>> with tg.Tape() as tape:
        ...     for x in (1.0, -1.0, 2.0):
        ...         h = tg.tanh(W * h + x)
        ...     h.backward()
        >>> print(tape.explain(W))
        W.grad (float32[]) is the sum of 3 shares, one for each use:
        <BLANKLINE>
        record  use    line  t      norm       part   cosine  sum so far
        %6      W * h     3  2   0.05667   400.24 %   1.0000     0.05667
        %3      W * h     3  1   0.03865  -272.99 %  -1.0000     0.01802
        %0      W * h     3  0  0.003858   -27.25 %  -1.0000     0.01416
        <BLANKLINE>
        The norm of the sum is 0.01416.
        The largest share is that of %6 (t=2), of norm 0.05667.
        The smallest that is not zero, of %0 (t=0), is 1.2 decades below it.
        2 shares are against the sum (a negative cosine).
        part: (share . sum) / (sum . sum); the parts add up to 100 %.
        """
        return drawn_by("sums").explain(self, what)

    def _must_be_live(self, what: str) -> None:
        if self._read is not None:
            raise GraphError(f"a tape that was read from JSON is there to be looked at, and cannot {what}")


def _watches(watcher: Tape) -> bool:
    """Whether this thread tells it of what it records."""
    return any(other is watcher for other in state.here.watchers)


def _add(totals: dict[int, Any], node: AnyNode, contribution: Any) -> Any:
    """Add to the sum at a node as the sweep does, but into no array that is there already."""
    before, value = totals.get(node.index), raw(contribution)
    after = totals[node.index] = value.copy() if before is None else before + value
    return after
