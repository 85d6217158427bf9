"""RNNLayer: any user-defined cell as a layer, with stacking, directions, packing, dropout and skips."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ArgumentError, ArgumentTypeError, ShapeRuntimeError
from ...tape.tensor import Tensor
from ..module import Module
from .cells import LSTMCell
from .compiled_steps import IMPLEMENTATIONS, Work, tensors_of
from .layer_stack import Stack
from .options import Sizes, StackOptions, States

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import StackKeywords

__all__ = ["RNNLayer"]


class RNNLayer(Stack):
    """Cells over whole sequences: what RNN, LSTM and GRU are for their equations, for any equation.

    A cell is a module called as ``cell(x, state) -> state``: x (N, I); the state a Tensor (N, H), or a tuple of
    them of which the first is also the output.  Its attribute ``hidden_size`` gives the widths of its states:
    an int (one state) or a tuple of ints.  ``RNNCell``, ``GRUCell`` and ``LSTMCell`` are such cells.

    Args:
        cell: one cell; or, for several layers or two directions, a function that makes one for a given input size.
        input_size: I; None: the cell's ``input_size``.
        num_layers, batch_first, dropout, bidirectional: as in :class:`RNNBase`.
        impl: ``"composed"``: every step on the tape; ``"compiled"``: one record for each layer and direction, by
            kernels made of what the cell does; ``"auto"``: compiled as soon as that pays, composed if it is impossible
            (:mod:`~tinygrad_rnn.nn.recurrent.compiled_steps`).  Compiled, a cell that may read what changes unnoticed,
            or does more than to compute, is called once for each call of the layer, on two rows; others seldom.
        states: how many states a cell of int ``hidden_size`` has, all of that width (2 for ``LSTMCell``); None: 2
            for an LSTMCell, else 1.
        options: ``skip``, ``zoneout``, ``recurrent_dropout``, ``locked_dropout``, ``learn_state``,
            ``checkpoint_segments``; see :mod:`~tinygrad_rnn.nn.recurrent.options`.

    Returns:
        ``output, state``: output (T, N, D*H) arranged as the input, state (L*D, N, H) or a tuple of such, as the
        cell's.

    Raises:
        ArgumentError, ArgumentTypeError: impossible options, or a cell that does not say its width.
        Refused: (when called) ``impl`` is "compiled", and the cell cannot be compiled: the reason, and its line.

    >>> import tinygrad_rnn as tg
    >>> class Leaky(tg.nn.Module):                                      # h' = 0.9 h + 0.1 W x
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__()
    ...         self.input_size, self.hidden_size = input_size, hidden_size
    ...         self.read = tg.nn.Linear(input_size, hidden_size, bias=False)
    ...     def forward(self, x, h):
    ...         return 0.9 * h + 0.1 * self.read(x)
    >>> layer = RNNLayer(lambda size: Leaky(size, 5), input_size=3, num_layers=2, bidirectional=True)
    >>> output, h_n = layer(tg.zeros(7, 2, 3))
    >>> output.shape, h_n.shape
    (torch.Size([7, 2, 10]), torch.Size([4, 2, 5]))
    """

    def __init__(
        self,
        cell: Module | Callable[[int], Module],
        input_size: int | None = None,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        states: int | None = None,
        impl: str = "auto",
        **options: Unpack[StackKeywords],
    ) -> None:
        super().__init__()
        if not isinstance(num_layers, int) or num_layers <= 0:
            raise ArgumentError(f"num_layers must be greater than zero. Got {num_layers}")
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"dropout should be a number in range [0, 1]. Got {dropout!r}")
        size = getattr(cell, "input_size", None) if input_size is None else input_size
        if not isinstance(size, int):
            raise ArgumentError("RNNLayer(): give input_size, or a cell that has it as an attribute")
        self.input_size = size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        if impl not in IMPLEMENTATIONS:
            raise ArgumentError(f"impl must be one of {', '.join(IMPLEMENTATIONS)}, got {impl!r}")
        self.impl = impl
        self.options = StackOptions(**options)
        if isinstance(cell, Module):
            if num_layers * self._directions != 1:
                raise ArgumentError(
                    f"RNNLayer(): {num_layers} layers in {self._directions} direction(s) need as many cells: give a "
                    "function that makes a cell for an input size, lambda size: MyCell(size, 5)"
                )
            made: Module | None = cell
        else:
            made = None
        self._sizes: tuple[int, ...] = ()
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: self._directions]:
                one = cell(self._layer_input_size(layer)) if made is None else made
                self._sizes = _widths(one, states, self._sizes)
                self.add_module(f"cell_l{layer}{suffix}", one)
            self._add_skip(layer)
        # For its check: a tuple must have one probability for each state.
        self.options.zoneouts(len(self._sizes))
        self._add_initial_states()
        self._reset_stack()

    def _state_names(self) -> tuple[str, ...]:
        names = ("h", "c")
        return names[: len(self._sizes)] if len(self._sizes) <= 2 else tuple(map(str, range(len(self._sizes))))

    def _state_sizes(self) -> tuple[int, ...]:
        return self._sizes

    def extra_repr(self) -> str:
        """What differs from the defaults."""
        defaults = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False, "impl": "auto"}
        changed = [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([f"input_size={self.input_size}", *changed, *self.options.changed()])

    def _check_input(self, input: Tensor, packed: bool) -> None:
        axes = 2 if packed else 3
        if input.ndim != axes:
            raise ShapeRuntimeError(f"input must have {axes} dimensions, got {input.ndim}")
        if input.shape[-1] != self.input_size:
            raise ShapeRuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )
        if not packed and input.shape[0] == 0:
            raise ShapeRuntimeError("Expected sequence length to be larger than 0 in RNN")

    def _cell(self, layer: int, direction: int) -> Module:
        found = self._modules[f"cell_l{layer}_reverse" if direction else f"cell_l{layer}"]
        assert found is not None
        return found

    def _work(self, layer: int, direction: int) -> Work:
        cell = self._cell(layer, direction)
        single = len(self._sizes) == 1

        def step(x: Tensor, before: States) -> States:
            after = cell(x, before[0] if single else before)
            return (after,) if isinstance(after, Tensor) else tuple(after)

        name, place, size = type(cell).__name__, self._place(layer, direction), self._layer_input_size(layer)
        return Work(name, place, size, step, tensors_of(cell), cell=cell)

    def _direction(
        self, layer: int, direction: int, x: Tensor, states: States, sizes: Sizes
    ) -> tuple[tuple[Tensor, ...], States]:
        return self._over_steps(layer, direction, x, states, sizes)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """``output, state`` for an input and, if not zeros or learned, the initial state."""
        states = None if hx is None else (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if states is not None and len(states) != len(self._sizes):
            raise ArgumentTypeError(f"RNNLayer(): the cell has {len(self._sizes)} states, but {len(states)} were given")
        (output,), finals = self._run(input, states)
        return output, finals[0] if len(finals) == 1 else finals


def _widths(cell: Module, states: int | None, known: tuple[int, ...]) -> tuple[int, ...]:
    """The widths of a cell's states, the same for all cells of a layer."""
    width = getattr(cell, "hidden_size", None)
    if isinstance(width, int):
        # An LSTMCell has one hidden_size for its two states.
        count = states if states is not None else 2 if isinstance(cell, LSTMCell) else 1
        widths = (width,) * count
    elif isinstance(width, tuple) and width and all(isinstance(w, int) for w in width):
        widths = width
    else:
        raise ArgumentTypeError(
            f"RNNLayer(): {type(cell).__name__} must have an attribute hidden_size, an int or a tuple of ints, one for "
            f"each state; it is {width!r}"
        )
    if known and widths != known:
        raise ArgumentError(f"RNNLayer(): all cells must have states of the same widths, got {known} and {widths}")
    return widths
