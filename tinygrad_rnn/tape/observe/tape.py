"""The tape as an object: every record in order, each step of the sweep, and what each use of a weight contributed.

A Tape only watches.  It holds on to the nodes that were recorded while it was open, so they live as long as it
does; the engine itself runs as always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, overload

import numpy as np

from ...backend import dtype, is_array, to_numpy
from ...errors import ArgumentError, ArgumentTypeError, GraphError
from ...source_line import Line, user_frame, user_line
from ...typing import Array, Cotangent, Shape, Value
from ..backward import backward
from ..modes import state, watched
from ..node import Leaf, Node
from ..partial_gradient import Part
from ..tensor import Tensor
from .text_table import table
from .watcher import Watching

__all__ = ["Contribution", "Record", "Share", "Step", "Tape"]


class Record:
    """One line of the tape: an operation that was applied.

    Attributes:
        number: its place on the tape, from 0.
        name: the primitive.
        inputs: what it was applied to: names of leaves, ``%3`` for the result of record 3, ``const`` for values
            that no gradient goes to.
        shape, dtype: of the result.
        value: the result, as a raw array (a tuple of them for a fused layer).
        saved_bytes: how much memory its vjps keep alive.
        line: the line of the user's program.
        node: the engine's own node.
    """

    __slots__ = ("inputs", "line", "node", "number", "saved_bytes", "value")

    def __init__(
        self, number: int, node: Node, inputs: tuple[str, ...], value: Array | tuple[Array, ...], line: Line | None
    ) -> None:
        self.number = number
        self.node = node
        self.inputs = inputs
        self.value = value
        self.line = line
        self.saved_bytes = sum(array.nbytes for array in saved_arrays(node))

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.node.primitive.name

    @property
    def shape(self) -> Shape:
        """The shape of the result."""
        return self.node.shape

    @property
    def dtype(self) -> dtype:
        """The type of the entries of the result."""
        return dtype(self.node.dtype)

    def __repr__(self) -> str:
        return f"%{self.number} = {self.name}({', '.join(self.inputs)}) : {self.dtype.name}{list(self.shape)}"


class Contribution:
    """What one vjp gave to one parent.

    Attributes:
        to: the parent's name on the tape.
        position: which argument of the operation it was.
        value: the contribution, as a raw array.
    """

    __slots__ = ("node", "position", "to", "value")

    def __init__(self, to: str, position: int, value: Array, node: Node | Leaf) -> None:
        self.to, self.position, self.value, self.node = to, position, value, node

    def __repr__(self) -> str:
        return f"-> {self.to}: {_short(self.value)}"


class Step:
    """One step of a sweep: a record whose cotangent is complete, and what it passes on.

    Attributes:
        record: the record; None for a leaf, and for what was recorded before the tape was opened.
        name: how it is called on the tape.
        cotangent: the sum of all contributions that reached it.
        contributions: what it gives to its parents, in order; empty for a leaf.
    """

    __slots__ = ("contributions", "cotangent", "name", "node", "record")

    def __init__(self, name: str, record: Record | None, cotangent: Array, node: Node | Leaf) -> None:
        self.name = name
        self.record = record
        self.cotangent = cotangent
        self.node = node
        self.contributions: list[Contribution] = []

    def __repr__(self) -> str:
        what = "leaf" if isinstance(self.node, Leaf) else "recorded before this tape"
        head = repr(self.record) if self.record is not None else f"{self.name} ({what})"
        lines = [head, f"    cotangent {_short(self.cotangent)}"]
        return "\n".join(lines + [f"    {contribution!r}" for contribution in self.contributions])


class Share:
    """The contribution of one use of a tensor to its gradient.

    Attributes:
        record: the record that used it (None if that was recorded before the tape was opened).
        position: which argument it was there.
        value: the contribution, as a raw array.
    """

    __slots__ = ("position", "record", "value")

    def __init__(self, record: Record | None, position: int, value: Array) -> None:
        self.record, self.position, self.value = record, position, value

    def __repr__(self) -> str:
        source = "something recorded before this tape" if self.record is None else repr(self.record)
        return f"{_short(self.value)} from {source}"


class Tape(Watching):
    """Everything recorded inside ``with``, in order; then the sweep, step by step.

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

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.steps: list[Step] = []
        self._numbers: dict[int, int] = {}
        self._leaf_names: dict[int, str] = {}
        self._under_way: list[Step | None] = []  # the last step of each sweep that has not ended

    # recording -----------------------------------------------------------------------------------------------

    def name(self, module: Any = None, /, **tensors: Tensor) -> Tape:
        """Give leaves the names under which the tape shows them: ``tape.name(model)`` or ``tape.name(W=W)``."""
        named = dict(tensors)
        if module is not None:
            named.update(module.named_parameters())
        for name, t in named.items():
            if isinstance(t._node, Leaf):
                self._leaf_names[t._node.index] = name
        self._rename()
        return self

    def _rename(self) -> None:
        for record in self.records:
            record.inputs = self._input_names(record.node)

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        for parent in node.parents:
            if isinstance(parent, Leaf) and parent.index not in self._leaf_names:
                self._leaf_names[parent.index] = self._find_name(parent)
        record = Record(len(self.records), node, self._input_names(node), output, user_line())
        self._numbers[node.index] = record.number
        self.records.append(record)

    def _find_name(self, leaf: Leaf) -> str:
        """The user's variable that holds this leaf, or a number."""
        frame = user_frame()
        if frame is not None:
            for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:  # a function's own names first
                if isinstance(value, Tensor) and value._node is leaf:
                    return name
        return f"leaf{len(self._leaf_names)}"

    def _input_names(self, node: Node) -> tuple[str, ...]:
        return tuple("const" if parent is None else self._label(parent) for parent in node.parents)

    def _label(self, node: Node | Leaf) -> str:
        if isinstance(node, Leaf):
            return self._leaf_names.get(node.index, f"leaf#{node.index}")
        number = self._numbers.get(node.index)
        if number is None:  # the outputs of a fused primitive are places in its record
            if node.primitive.name == "output" and isinstance(node.parents[0], Node):
                return f"{self._label(node.parents[0])}.{node.params['number']}"
            return f"{node.primitive.name}#{node.index}"
        return f"%{number}"

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
        number = self._numbers.get(t._node.index) if isinstance(t._node, Node) else None
        if number is None and isinstance(t._node, Node) and isinstance(t._node.parents[0], Node):
            # an output of a fused operation: the record is of its node
            number = self._numbers.get(t._node.parents[0].index)
        if number is None:
            raise GraphError("this tensor was not computed by a record of this tape")
        return self.records[number]

    def table(self, *columns: str) -> str:
        """The records as text, one line each.

        Args:
            columns: which of ``record``, ``operation``, ``result``, ``saved bytes``, ``value``, ``line``; by default
                all but the value.
        """
        cells: dict[str, Callable[[Record], str]] = {
            "record": lambda r: f"%{r.number}",
            "operation": lambda r: f"{r.name}({', '.join(r.inputs)})",
            "result": lambda r: f"{r.dtype.name}{list(r.shape)}",
            "saved bytes": lambda r: str(r.saved_bytes),
            "value": lambda r: _short(r.value),
            "line": lambda r: f"{r.line}  {r.line.text}" if r.line else "",
        }
        for column in columns:
            if column not in cells:
                raise ArgumentError(f"Tape.table(): no column {column!r}; there are {', '.join(cells)}")
        chosen = columns or tuple(name for name in cells if name != "value")
        right = [k for k, name in enumerate(chosen) if name == "saved bytes"]
        return table(chosen, [[cells[name](r) for name in chosen] for r in self.records], right)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Tape of {len(self.records)} records>"

    def memory(self) -> MemoryReport:
        """What is held for the backward pass now, and by which record (nothing is, once a sweep has freed it)."""
        return MemoryReport(self)

    # the sweep ---------------------------------------------------------------------------------------------------

    def backward(self, tensors: Any, gradient: Any = None, **options: Any) -> list[Step]:
        """``tensors.backward(gradient)``, watched: fills ``.grad`` and returns the steps of the sweep, in order."""
        watched(self, backward, tensors, gradient, **options)
        return self.steps

    def sweep_begins(self) -> None:
        if state.here.memo is None:  # else a vjp that is recorded sweeps, too: its steps come in between
            self.steps = []
            self._under_way = []
        self._under_way.append(None)

    def sweep_ends(self, error: BaseException | None) -> None:
        self._under_way.pop()

    def reached(self, node: Node | Leaf, cotangent: Cotangent) -> None:
        number = self._numbers.get(node.index)
        record = None if number is None else self.records[number]
        if record is None and isinstance(node, Node) and node.primitive.name == "output":
            return  # part of the fused record that follows
        step = self._under_way[-1] = Step(self._label(node), record, _kept(cotangent), node)
        self.steps.append(step)

    def contributed(self, node: Node, position: int, parent: Node | Leaf, contribution: Value | Part) -> None:
        step = self._under_way[-1]
        if step is not None and node.primitive.name != "output":
            step.contributions.append(Contribution(self._label(parent), position, _kept(contribution), parent))

    def shares(self, t: Tensor) -> list[Share]:
        """What each use of ``t`` contributed to its gradient, in the order in which the sweep summed them.

        The gradient is ``((share0 + share1) + share2) + ...``, exactly, in this order and dtype; but where one use
        read an entry of ``t`` twice (a token that occurs twice), to rounding: its parts are added one by one; and on
        a GPU, where products are added to the sum as they are formed.

        Raises:
            GraphError: no sweep was watched yet, or ``t`` had no part in it.
        """
        if not isinstance(t, Tensor):
            raise ArgumentTypeError(f"shares(): expected a Tensor, got {type(t).__name__}")
        if not self.steps:
            raise GraphError(
                "shares(): this tape has watched no backward pass yet. Call loss.backward() inside the with block, "
                "or tape.backward(loss) after it"
            )
        found = [
            Share(step.record, contribution.position, contribution.value)
            for step in self.steps
            for contribution in step.contributions
            if contribution.node is t._node
        ]
        if not found:
            raise GraphError(
                f"shares(): the tensor of shape {t.shape} was not used by anything that the last sweep went through"
            )
        return found


class MemoryReport:
    """Which record keeps how many bytes alive for the backward pass.

    Attributes:
        total: bytes, each array counted once.
        by_record: pairs of record and bytes, the largest first.
    """

    def __init__(self, tape: Tape) -> None:
        seen: set[int] = set()
        self.by_record: list[tuple[Record, int]] = []
        for record in tape.records:
            size = 0
            for array in saved_arrays(record.node):
                owner = array if array.base is None else array.base
                if id(owner) not in seen:
                    seen.add(id(owner))
                    size += array.nbytes
            if size:
                self.by_record.append((record, size))
        self.by_record.sort(key=lambda pair: -pair[1])
        self.total = sum(size for _, size in self.by_record)

    def __str__(self) -> str:
        rows = [(f"{size}", repr(record)) for record, size in self.by_record]
        return table(("bytes", "held by"), [*rows, (f"{self.total}", "in all")], right=(0,))


def saved_arrays(node: Node) -> list[Array]:
    """The raw arrays that a node keeps for its vjps."""
    kept: list[Array] = []
    met: set[int] = set()  # what a custom function keeps may refer to itself
    pending: list[Any] = [node.ans, *(node.args or ())]
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor) or is_array(value):
            kept.append(value._data if isinstance(value, Tensor) else value)
        elif not isinstance(value, (Node, Leaf, ModuleType)) and not callable(value) and id(value) not in met:
            met.add(id(value))
            if isinstance(value, (tuple, list)):
                pending.extend(value)
            elif isinstance(value, dict) or hasattr(value, "__dict__"):
                pending.extend((value if isinstance(value, dict) else vars(value)).values())
    return kept


def _kept(value: Any) -> Any:
    """A copy to look at later: totals are added to in place as the sweep goes on."""
    if isinstance(value, Part):
        value = value.start()
    if isinstance(value, list):
        return [None if item is None else _kept(item) for item in value]
    return value.detach() if isinstance(value, Tensor) else np.array(value) if np.isscalar(value) else value.copy()


def _short(value: Any) -> str:
    """The numbers to 4 digits if they are few, else shape and norm."""
    if isinstance(value, (list, tuple)):
        return ", ".join("None" if item is None else _short(item) for item in value)
    if isinstance(value, Tensor):
        value = value._data
    if value.ndim == 0:
        return f"{value.item():.4g}"
    if value.size <= 6:
        return np.array2string(to_numpy(value), precision=4, separator=", ").replace("\n", "")
    return f"{value.dtype}{list(value.shape)} of norm {float((value * value).sum()) ** 0.5:.4g}"
