"""The graph's nodes, watching them as they are recorded and swept, and hooks on the values that they save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import to_numpy
from ..tape.hooks.node_hooks import stand_in
from ..tape.modes import Watcher, state
from ..tape.node import Leaf, Node
from ..tape.observe.watcher import Watching, watching
from ..tape.partial_gradient import Contributions
from ..tape.primitive import Primitive
from ..tape.sweep import contributions
from ..tape.tensor import Tensor, wrap
from ..typing import Array, Cotangent
from .context import FunctionCtx, Packed

__all__ = ["Leaf", "Node", "Watcher", "save_on_cpu", "saved_tensors_hooks", "watching"]


class saved_tensors_hooks(Watching):
    """Inside ``with``, what an operation saves goes through ``pack``, and comes back through ``unpack`` when needed.

    Args:
        pack: ``pack(tensor)`` gives anything from which the tensor can be had back.
        unpack: ``unpack(packed)`` gives the tensor.

    What a fused layer saves of its own making stays as it is; its arguments are packed.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def recorded(self, node: Node, output: Array | tuple[Array, ...]) -> None:
        """Pack what a node has just saved, and have it unpacked when the sweep comes."""
        if isinstance(node.ans, FunctionCtx):  # a custom Function saves in its context, and unpacks there
            for saved in node.ans._saved:
                if saved is not None:
                    saved.data = self._packed(saved.data)
        elif node.primitive.saves_anything and node.args is not None:
            node.args = tuple([self._packed(value) for value in node.args])
            node.ans = self._packed(node.ans)
            stand_in(node, _pull)  # the sweep reads args and ans, and must find arrays there

    def _packed(self, value: Any) -> Any:
        """An array as the pack hook leaves it; anything else as it is."""
        # a number, or the parent in the place of what was not saved
        if not hasattr(value, "nbytes") or not hasattr(value, "dtype"):
            return value
        here = state.here
        watchers = here.watchers
        try:
            here.watchers = ()  # else what the hook computes would be packed, too, without end
            return Packed(self.pack_hook(wrap(value)), self.unpack_hook, value.shape, value.dtype)
        finally:
            here.watchers = watchers


def _pull(node: Node, original: Primitive, g: Cotangent, needs: tuple[bool, ...], record: bool) -> Contributions:
    """Unpack for as long as the vjps run."""
    args, ans = node.args, node.ans
    assert args is not None
    try:
        node.args, node.ans = tuple([_restored(value) for value in args]), _restored(ans)
        return contributions(node, original, g, needs, record)
    finally:
        node.args, node.ans = args, ans  # packed, for the next sweep of a graph that is retained


def _restored(value: Any) -> Any:
    return value.restore() if isinstance(value, Packed) else value


class save_on_cpu(saved_tensors_hooks):
    """Inside ``with``, saved values wait for the backward pass in the host's memory instead of the GPU's.

    >>> import tinygrad_rnn as tg
    >>> x = tg.tensor([2.0], requires_grad=True)
    >>> with tg.autograd.graph.save_on_cpu():  # what a GPU would keep for the backward pass
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([4.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, to_numpy(t._data)), lambda packed: wrap(packed[1]).to(device=packed[0]))
