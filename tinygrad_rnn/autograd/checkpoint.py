"""Checkpointing: forget the values inside a function, and compute them again when the backward pass needs them.

While the function runs, its nodes are recorded as always; only what they would have saved is dropped at once.  When
the sweep comes to the first of them, the function runs a second time, on the same inputs and random numbers, and
the values that its nodes save are handed to the first ones, one by one in the order of recording.  So the graph
is the same as without checkpointing: weights that the function finds by itself get their gradients, ``grad`` and
hooks and ``create_graph`` work, and an in-place write between the two runs is noticed.

Memory falls from the values of every operation to the inputs of the function (and some hundred bytes per operation);
the function runs twice.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..backend.quiet import unreported
from ..backend.random.draws import default_generator
from ..errors import ArgumentError, GraphError, InplaceError
from ..tape.hooks.node_hooks import replace_primitive
from ..tape.modes import Watcher, state, watched
from ..tape.node import Leaf, Node, now
from ..tape.partial_gradient import Contributions
from ..tape.primitive import Primitive
from ..tape.sweep import contributions
from ..typing import Array, Cotangent, Params
from .nested import tensors_in

__all__ = ["checkpoint", "checkpoint_sequential", "decided"]

T = TypeVar("T")

NOTHING: Params = {}


class Segment(Watcher):
    """One checkpointed call: how to run it again, and the nodes that wait for their values."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, random: bool, compare: bool) -> None:
        self.function: Callable[..., Any] | None = function
        self.args, self.kwargs = args, kwargs
        # the second run must draw the same dropout masks
        self.random = default_generator.get_state() if random else None
        self.compare = compare
        self.begin = now()
        self.nodes: list[weakref.ref[Node]] = []  # weakly: each of them holds this segment, by its ticket
        self.names: list[str] = []
        self.leaves: dict[int, Leaf] = {}  # weights that the function finds by itself: they must not change either
        self.kinds: list[Any] = []
        self.decisions: list[Any] = []
        self.result: Any = None

    # the first run -----------------------------------------------------------------------------------------------

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        """Drop what a node has just saved."""
        for parent in node.parents:
            if isinstance(parent, Leaf):
                self.leaves[parent.index] = parent
        self.nodes.append(weakref.ref(node))
        self.names.append(node.primitive.name)
        self.kinds.append((node.shape, node.dtype))
        # an inner checkpoint has dropped its own already
        if (node.primitive.saves_anything or node.ans is not None) and not isinstance(node.ans, Ticket):
            node.ans = Ticket(self, node)
            node.args, node.params = node.parents, NOTHING  # params may hold arrays, as those of an index do
            node.primitive = _waiting(node.primitive)

    # the second run ------------------------------------------------------------------------------------------------

    def refill(self) -> None:
        """Run the function again and give every node what it would have saved."""
        function = self.function
        if function is None:
            raise GraphError("checkpoint: this segment was recomputed already, and gave this node no values")
        self._check_inputs()
        run = Rerun(self.decisions)
        # afterwards the stream goes on as if there had been no second run
        before = default_generator.get_state() if self.random is not None else None
        here = state.here
        watchers, recording = here.watchers, here.recording
        try:  # the user's tape and anomaly mode have seen these operations before
            here.watchers, here.recording = (run,), True  # on, because a sweep switches it off
            if self.random is not None:
                default_generator.set_state(self.random)
            result = function(*self.args, **self.kwargs)
        finally:
            here.watchers, here.recording = watchers, recording
            if before is not None:
                default_generator.set_state(before)
        self._check_run(run, result)
        for reference, again in zip(self.nodes, run.nodes, strict=True):
            node = reference()
            if node is not None and isinstance(node.ans, Ticket):  # None: the function dropped the result itself
                node.ans.redeem(node, again)
        self.function = self.args = self.kwargs = None  # the inputs need not live any longer

    def _check_inputs(self) -> None:
        """The inputs must be what they were; a saved one is checked by its own node, as always."""
        tensors = tensors_in((self.args, self.kwargs))
        tensors += [t for t in (leaf.tensor() for leaf in self.leaves.values()) if t is not None]
        for t in tensors:
            if t._versions is not None and t._versions.stamp > self.begin:
                raise InplaceError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: a "
                    f"tensor of shape {t.shape}, which a checkpointed function reads, was written after (or by) its "
                    "first run, so the second would compute something else. Write to a copy (x.clone()), or after "
                    "the backward pass"
                )

    def _check_run(self, run: Rerun, result: Any) -> None:
        names = [node.primitive.name for node in run.nodes]
        if names != self.names:
            where = next((k for k, pair in enumerate(zip(names, self.names, strict=False)) if pair[0] != pair[1]), None)
            found = f"{len(self.names)} operations at first, {len(names)} now"
            if where is not None:
                found = f"operation {where} was {self.names[where]}, and is {names[where]} now"
            raise GraphError(
                "checkpoint: A different number of tensors was saved during the original forward and recomputation. "
                f"The function must do the same both times: {found}"
            )
        kinds = [(node.shape, node.dtype) for node in run.nodes]
        if kinds != self.kinds or (self.compare and not _equal(self.result, fingerprint(result))):
            raise GraphError(
                "checkpoint: Recomputed values for the following tensors have different metadata than during the "
                f"forward pass, or other values: the results of {getattr(self.function, '__name__', self.function)}. "
                "Something that the function reads has changed, or it draws random numbers that are not "
                "tinygrad_rnn's; determinism_check='none' switches the comparison of values off"
            )


class Rerun(Watcher):
    """Collects the nodes of the second run, with everything that they save; knows what the first run decided."""

    def __init__(self, decisions: Sequence[Any]) -> None:
        self.nodes: list[Node] = []
        self.decisions = iter(decisions)

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        self.nodes.append(node)


class Ticket:
    """In a node's ``ans``: what will bring its values back."""

    __slots__ = ("node", "primitive", "segment")

    def __init__(self, segment: Segment, node: Node) -> None:
        self.segment = segment
        self.primitive = node.primitive
        self.node = weakref.ref(node)

    def redeem(self, node: Node, again: Node) -> None:
        """Give ``node`` what its twin of the second run saved, with its own parents in place of the twin's."""
        assert again.args is not None
        pairs = zip(again.args, again.parents, node.parents, strict=True)
        # what was not saved is represented by its parent
        node.args = tuple([mine if value is theirs else value for value, theirs, mine in pairs])
        node.ans, node.params = again.ans, again.params
        replace_primitive(node, self.primitive)
        if hasattr(node.ans, "adopt"):  # the context of a custom Function refers to its node
            node.ans.adopt(node)


@functools.lru_cache(maxsize=1024)
def _waiting(original: Primitive) -> Primitive:  # cached: one for each primitive, not for each node
    """The primitive of nodes that wait for their values."""
    return original.with_vjp_all(_arrive)


def _arrive(g: Cotangent, ticket: Ticket, *args: Any, needs: Sequence[bool], **params: Any) -> Contributions:
    """The sweep came to a waiting node: have its segment computed again, then do what the sweep would do."""
    node = ticket.node()
    assert node is not None
    ticket.segment.refill()
    return contributions(node, ticket.primitive, g, tuple(needs), state.recording)


@unreported
def fingerprint(result: Any) -> list[Any]:
    """Dtypes and sums of what a function gave: enough to tell another computation, and nothing to keep alive."""
    return [(t._data.dtype, t._data.sum()) for t in tensors_in(result)]


def _equal(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        kind == other_kind and bool((x == y) | ((x != x) & (y != y)))  # nan equals nan here
        for (kind, x), (other_kind, y) in zip(first, second, strict=True)
    )


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    determinism_check: str = "default",
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, without keeping the values inside it for the backward pass.

    Args:
        function: must compute the same when it is called again; it may use weights that are not among its arguments.
        use_reentrant: accepted as in PyTorch; there is one way of doing it here, and it has no restrictions.
        preserve_rng_state: draw the same random numbers in the second run (of the default generator).
        determinism_check: "default" compares the sums of the results of both runs, "none" only operations and shapes.

    Raises:
        GraphError: (in the backward pass) the second run did something else.
        InplaceError: (in the backward pass) an input was written in place in between.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = checkpoint(lambda x: (x.exp() * x).sum(), x)
    >>> y.backward()
    >>> x.grad
    tensor([ 5.4366, 22.1672])
    """
    if determinism_check not in ("default", "none"):
        raise ArgumentError(f"determinism_check should be one of default, none, got {determinism_check!r}")
    if not state.recording or any(isinstance(watcher, Rerun) for watcher in state.watchers):
        return function(*args, **kwargs)  # a second run must not forget again what it is there to find
    segment = Segment(function, args, kwargs, preserve_rng_state, determinism_check == "default")
    result = watched(segment, function, *args, **kwargs)
    segment.result = fingerprint(result)
    return result


def decided(decide: Callable[[], T]) -> T:
    """``decide()``; in the second run of a checkpointed function what the same call gave in the first.

    For what is chosen by the time that something took, or by what is known by now: the second run must do the same.

    >>> import tinygrad_rnn as tg
    >>> numbers = iter(range(9))
    >>> x = tg.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: (x.exp() if decided(lambda: next(numbers)) == 0 else x).sum(), x).backward()
    >>> next(numbers)
    1
    """
    watchers = state.here.watchers
    for watcher in watchers:
        if isinstance(watcher, Rerun):
            return next(watcher.decisions)  # type: ignore[no-any-return]
    result = decide()
    for watcher in watchers:
        if isinstance(watcher, Segment):
            watcher.decisions.append(result)
    return result


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Apply functions one after the other, in ``segments`` groups of which all but the last are checkpointed.

    With about sqrt(n) segments for n functions, memory is of the order of sqrt(n) for one additional forward pass.

    Args:
        functions: a ``Sequential`` or a sequence of functions.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor(0.5, requires_grad=True)
    >>> checkpoint_sequential([tg.tanh] * 6, 3, x)
    tensor(0.3520, grad_fn=<TanhBackward0>)
    """
    chain = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= max(1, len(chain)):
        raise ArgumentError(f"checkpoint_sequential(): expected 1 to {len(chain)} segments, got {segments}")

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(value: Any) -> Any:
            for function in chain[start:end]:
                value = function(value)
            return value

        return forward

    size = len(chain) // segments
    for k in range(segments - 1):  # the last is swept first: its values would be back at once
        input = checkpoint(run(k * size, (k + 1) * size), input, use_reentrant=use_reentrant, **kwargs)
    return run((segments - 1) * size, len(chain))(input)
