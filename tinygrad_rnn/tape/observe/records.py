"""What a Tape holds: records of operations, leaves, and of each sweep its steps with what they contributed.

These are plain data, which viewers read without asking the engine: a record says where its inputs came from by
:class:`Reference`, so that no text has to be taken apart, and a tape that was read from a file has no nodes at all.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...backend import dtype, is_array
from ...source_line import Line
from ...typing import Params, Shape
from ..formula import Formula
from ..node import Leaf, Node
from ..primitive import REGISTRY, Primitive
from .pictures import drawn_by, html_of, notebooks
from .scopes import NOWHERE, Scope
from .values import Keeper, Kept, short

__all__ = ["CONSTANT", "Contribution", "Record", "Reference", "Share", "Step", "Sweep", "TapeLeaf", "argument_names"]
__all__ += ["is_whole", "kept_names", "kept_otherwise"]


class Reference(NamedTuple):
    """Where an argument of a record comes from, and where a contribution goes to.

    Attributes:
        kind: ``"record"``; ``"leaf"``, a tensor that requires grad and was not computed; ``"earlier"``, what was
            recorded before the tape was opened; ``"constant"``, which no gradient goes to.
        number: of the record or of the leaf on the tape; of what is earlier, the number of the engine's node; of a
            constant 0.
        output: which output of the record, where it has several.
        version: of a leaf: its value was ``tape.leaves[number].values[version]``.
    """

    kind: str
    number: int = 0
    output: int = 0
    version: int = 0


CONSTANT = Reference("constant")


class TapeLeaf:
    """A leaf as the tape met it.

    Attributes:
        number: its place among ``tape.leaves``.
        name: the variable, entry, attribute or parameter that holds it, or a number.
        shape, dtype: of the tensor.
        values: what it was when it was used: one array for each version, as an update in place makes a new one.
        node: the engine's own node; None on a tape that was read from a file.
    """

    __slots__ = ("dtype", "name", "node", "number", "shape", "values")

    def __init__(self, number: int, name: str, shape: Shape, kind: dtype, node: Leaf | None = None) -> None:
        self.number, self.name, self.shape, self.dtype, self.node = number, name, shape, kind, node
        self.values: list[Kept] = []

    def __repr__(self) -> str:
        return f"{self.name} : {self.dtype.name}{list(self.shape)}"

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "leaf", self)


class Record:
    """One line of the tape: an operation that was applied.

    Attributes:
        number: its place on the tape, from 0.
        name: the primitive.
        inputs: what it was applied to: names of leaves, ``%3`` for the result of record 3, ``const`` for values
            that no gradient goes to.
        references: the same as data.
        arguments: the value of each argument at that time: an array, a number, or None where it is not known.
        params: the keywords of the operation, such as an axis.
        argument_names: what its formula calls them.
        shape, dtype: of the result.
        value: the result as it was then, as a raw array (a tuple of them for a fused layer), or a ``Summary`` where the
            tape keeps no more.
        variables: for each output, the first variable of the program that held it; None if none did.
        saved_bytes: how much memory its vjps keep alive.
        scope: module, layer, direction and time step, which are attributes of the record, too.
        sweep: the number of the sweep that recorded it (``create_graph=True``); None for what the program computed.
        line: the line of the user's program.
        stack: the lines that were running there: that line, the line that called its function, and so on.
        node: the engine's own node; None on a tape that was read from a file.
    """

    __slots__ = (
        *("_kept_names", "argument_names", "arguments", "dtype", "inputs", "line", "name", "node", "number"),
        *("_more", "params", "references", "saved_bytes", "scope", "shape", "stack", "sweep", "value", "variables"),
    )

    def __init__(
        self,
        number: int,
        name: str,
        shape: Shape,
        kind: dtype,
        value: Any,
        *,
        references: tuple[Reference, ...] = (),
        inputs: tuple[str, ...] = (),
        arguments: tuple[Any, ...] = (),
        argument_names: tuple[str, ...] = (),
        kept_names: tuple[str, ...] = (),
        more: dict[str, Kept] | None = None,
        params: Params | None = None,
        variables: Sequence[str | None] = (),
        saved_bytes: int = 0,
        scope: Scope = NOWHERE,
        sweep: int | None = None,
        stack: tuple[Line, ...] = (),
        node: Node | None = None,
    ) -> None:
        self.number, self.name, self.shape, self.dtype, self.value = number, name, shape, kind, value
        self.references, self.inputs, self.arguments, self.argument_names = (
            references,
            inputs,
            arguments,
            argument_names,
        )
        self._kept_names, self._more, self.params = kept_names, more or {}, params or {}
        count = len(value) if isinstance(value, tuple) else 1
        self.variables: list[str | None] = list(variables) or [None] * count
        self.saved_bytes, self.scope, self.sweep, self.stack, self.node = saved_bytes, scope, sweep, stack, node
        self.line: Line | None = stack[0] if stack else None

    @property
    def variable(self) -> str | None:
        """The variable that held the result; of several outputs, those that have names, with a comma between."""
        known = [name for name in self.variables if name is not None]
        return ", ".join(known) if known else None

    @property
    def module(self) -> str | None:
        """The path of the module whose ``forward`` ran, such as ``model.encoder``; None outside of modules."""
        return self.scope.module

    @property
    def layer(self) -> int | None:
        """The layer of a stack of recurrent layers."""
        return self.scope.layer

    @property
    def direction(self) -> int | None:
        """The direction in such a layer: 0 from the beginning, 1 from the end."""
        return self.scope.direction

    @property
    def time(self) -> int | None:
        """The time step, where the loop is a layer's or the user said so (:meth:`Tape.at`)."""
        return self.scope.time

    @property
    def formula(self) -> Formula | None:
        r"""Its value and its vjps as equations; None if it is an operation of the user's that gives none.

        >>> import tinygrad_rnn as tg
        >>> x = tg.ones(1, requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     y = x.tanh()
        >>> print(tape[0].formula.vjps["a"])
        \bar{a} = \bar{y} \odot (1 - y^2)
        """
        primitive = REGISTRY.get(self.name) if self.node is None else self.node.primitive
        return None if primitive is None else primitive.formula

    @property
    def saved(self) -> dict[str, Kept]:
        """What its vjps read, by the names of its formula: arguments, and ``"y"``, the output.

        Of a custom Function it is what that saved: ``"argument 0"``, ``"output 0"``.  What the kernel of a fused layer
        leaves for its way back has no names; ``saved_bytes`` counts it.

        >>> import tinygrad_rnn as tg
        >>> w = tg.tensor(3.0, requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     y = tg.tanh(w * 0.5)
        >>> [(record.name, record.saved) for record in tape]
        [('mul', {'b': 0.5}), ('tanh', {'y': array(0.9051482, dtype=float32)})]
        """
        known = dict(zip(self.argument_names, self.arguments, strict=False))
        return {name: self.value if name == "y" else known[name] for name in self._kept_names} | self._more

    def __repr__(self) -> str:
        text = f"%{self.number} = {self.name}({', '.join(self.inputs)}) : {self.dtype.name}{list(self.shape)}"
        comment = ", ".join(part for part in (self.variable, self._when()) if part)
        return f"{text}  # {comment}" if comment else text

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "record", self)

    def _repr_latex_(self) -> str | None:
        return drawn_by("written_out").latex_of_record(self) if notebooks.html else None

    def _when(self) -> str:
        """Layer, direction and time, without the module, which the line says."""
        return str(self.scope._replace(module=None))


class Contribution:
    """What one vjp gave to one parent.

    Attributes:
        to: the parent's name on the tape.
        target: the same as data.
        position: which argument of the operation it was.
        value: the contribution, as a raw array.
        before, after: the sum of what had arrived at the parent before this and with this, on a ``Tape(totals=True)``;
            ``before`` is None for the first.
    """

    __slots__ = ("after", "before", "node", "position", "target", "to", "value")

    def __init__(
        self, to: str, target: Reference, position: int, value: Any, node: Node | Leaf | None, *sums: Any
    ) -> None:
        self.to, self.target, self.position, self.value, self.node = to, target, position, value, node
        self.before, self.after = sums or (None, None)

    def __repr__(self) -> str:
        return f"-> {self.to}: {short(self.value)}"

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "contribution", self)


class Step:
    """One step of a sweep: a record whose cotangent is complete, and what it passes on.

    Attributes:
        record: the record; None for a leaf, and for what was recorded before the tape was opened.
        name: how it is called on the tape.
        target: the same as data.
        is_leaf: whether it is a leaf, where the sweep ends.
        cotangent: the sum of all contributions that reached it (a list, one for each output, for a fused layer).
        contributions: what it gives to its parents, in order; empty for a leaf.
        depth: 0; 1 and more in a sweep that a vjp made inside of this one.
    """

    __slots__ = ("contributions", "cotangent", "depth", "name", "node", "record", "target")

    def __init__(
        self,
        name: str,
        target: Reference,
        record: Record | None,
        cotangent: Any,
        node: Node | Leaf | None,
        depth: int = 0,
    ) -> None:
        self.name, self.target, self.record, self.cotangent, self.node = name, target, record, cotangent, node
        self.depth = depth
        self.contributions: list[Contribution] = []

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf, where the sweep ends."""
        return self.target.kind == "leaf"

    def __repr__(self) -> str:
        what = "leaf" if self.is_leaf else "recorded before this tape"
        head = repr(self.record) if self.record is not None else f"{self.name} ({what})"
        lines = [head, f"    cotangent {short(self.cotangent)}"]
        return "\n".join(lines + [f"    {contribution!r}" for contribution in self.contributions])

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "step", self)

    def _repr_latex_(self) -> str | None:
        return drawn_by("written_out").latex_of_step(self) if notebooks.html else None


class Sweep:
    """One backward sweep that the tape watched.

    Attributes:
        number: its place among ``tape.sweeps``.
        kind: ``"backward"``, which adds to ``.grad``, or ``"grad"``, which returns gradients.
        seeds: what it started from: pairs of a target and the cotangent that was given to it.
        steps: in order, those of sweeps within this one (of ``create_graph=True``) in between.
        error: the type and the sentence of the exception that ended it; None if it ran to its end.
    """

    __slots__ = ("_uses", "error", "kind", "number", "seeds", "steps")

    def __init__(self, number: int, kind: str) -> None:
        self.number, self.kind = number, kind
        self.seeds: list[tuple[Reference, Any]] = []
        self.steps: list[Step] = []
        self.error: str | None = None
        self._uses: tuple[Any, dict[int, list[tuple[Step, Contribution]]]] = (None, {})

    def uses(self) -> dict[int, list[tuple[Step, Contribution]]]:
        """The contributions to each node, in order, by the id of that node."""
        seen, found = self._uses
        size = len(self.steps), self.steps and len(self.steps[-1].contributions)
        if seen != size:  # a sweep under way goes on
            found = {}
            for step in self.steps:
                for contribution in step.contributions:
                    found.setdefault(id(contribution.node), []).append((step, contribution))
            self._uses = size, found
        return found

    def step_of(self, record: Record) -> Step | None:
        """The step at which the sweep came to a record; None if it did not."""
        return next((step for step in self.steps if step.record is record), None)

    def __repr__(self) -> str:
        end = f", ended by {self.error}" if self.error else ""
        return f"<Sweep {self.number}, {self.kind}, of {len(self.steps)} steps{end}>"

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "sweep", self)


class Share:
    """The contribution of one use of a tensor to its gradient.

    Attributes:
        record: the record that used it (None if that was recorded before the tape was opened).
        position: which argument it was there.
        value: the contribution, as a raw array.
        sweep: the number of the sweep.
        through: the views by way of which the record used it, as ``x @ W.T`` does: their names on the tape, the one
            next to the tensor first.
    """

    __slots__ = ("position", "record", "sweep", "through", "value")

    def __init__(
        self, record: Record | None, position: int, value: Any, sweep: int = 0, through: tuple[str, ...] = ()
    ) -> None:
        self.record, self.position, self.value = record, position, value
        self.sweep, self.through = sweep, through

    def __repr__(self) -> str:
        source = "something recorded before this tape" if self.record is None else repr(self.record)
        return f"{short(self.value)} from {source}"

    def _repr_html_(self) -> str | None:
        return html_of("notebook", "share", self)


# arguments ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def argument_names(primitive: Primitive, count: int) -> tuple[str, ...]:
    """What a primitive calls its arguments: as its formula says, or its vjps; else ``a``, ``b``, ``c`` ...

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.tape.primitive import REGISTRY
    >>> argument_names(REGISTRY["linear"], 3), argument_names(REGISTRY["cat"], 2)
    (('x', 'weight', 'bias'), ('a', 'b'))
    """
    formula = getattr(primitive, "formula", None)
    names: tuple[str, ...] = () if formula is None else formula.arguments
    if len(names) < count:
        vjp: Any = primitive.vjp_all or next((vjp for vjp in primitive.vjps if vjp is not None), None)
        code = getattr(inspect.unwrap(vjp), "__code__", None) if vjp is not None else None
        names = code.co_varnames[2 : code.co_argcount] if code is not None else ()  # after g and y
    if len(names) < count:  # of any number
        names = tuple([chr(97 + k) if count <= 24 else f"a{k}" for k in range(count)])
    return tuple(names[:count])


def kept_names(node: Node, names: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments whose values a node saved, by name, and ``"y"`` if it saved the output."""
    primitive = node.primitive
    if not primitive.saves_anything or node.args is None:
        return ()
    found = [
        name
        for name, value, parent in zip(names, node.args, node.parents, strict=False)
        if value is not None and value is not parent
    ]
    return (*found, "y") if primitive.vjp_all is None and is_array(node.ans) else tuple(found)


def kept_otherwise(node: Node, keep: Keeper) -> dict[str, Any]:
    """What a custom Function saved in its context, by what it is there."""
    found: dict[str, Any] = {}
    for saved in getattr(node.ans, "_saved", ()):
        if saved is not None and is_array(saved.data):  # not if a hook packed it
            name = saved.what.rpartition(" of ")[0] or saved.what
            found[name if name not in found else f"{name} ({len(found)})"] = keep(saved.data)
    return found


def is_whole(value: Any) -> bool:
    """Whether a value was kept whole: an array, or arrays."""
    if isinstance(value, (list, tuple)):
        return all(item is None or is_array(item) for item in value)
    return bool(is_array(value))
