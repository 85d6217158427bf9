r"""Direct connections around any module: added (Residual), gated (Highway), concatenated (Dense).

Legend: x input, F or H the wrapped module, K the size of the last axis of x.

A deep or long chain multiplies Jacobians, and a product of many vanishes or explodes.  Each of the three leaves a way
for the gradient that is no product:

    Residual    dy/dx = I + J_F
    Highway     dy/dx = diag(T) J_H + diag(1 - T) + diag(H - x) dT/dx
    Dense       every module reads the input itself

What they wrap is any module.  Of a recurrent layer, which returns ``(output, state)``, the output is connected and the
state handed on.  They stand between recurrent layers, too: of a tuple that comes in, the first entry is read, as in
``Sequential(LSTM(2, 4), Residual(Sequential(Linear(4, 4), Tanh())), LSTM(4, 4))``, and a ``PackedSequence`` gives one.
It is handed on packed to what contains a recurrent layer, and by its rows (S, K), which are steps, to all else.
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, ShapeError, ShapeRuntimeError
from ..ops import cat, sigmoid
from ..tape.tensor import Tensor
from . import init
from .containers import ModuleList
from .linear import Linear
from .module import Module
from .recurrent import RNNCellBase
from .recurrent.layer_stack import Stack
from .utils.rnn import PackedSequence

__all__ = ["Dense", "Highway", "Residual"]


def _wrapped(owner: str, module: object) -> Module:
    """A module that can be wrapped.

    Raises:
        ArgumentTypeError: no module, or a cell, whose output is its state.
    """
    if not isinstance(module, Module):
        hint = ". The fully connected layer is nn.Linear(in_features, out_features)" if owner == "Dense" else ""
        raise ArgumentTypeError(f"{owner}: expected a module, got {type(module).__name__}{hint}")
    if isinstance(module, RNNCellBase):
        kind = type(module).__name__
        raise ArgumentTypeError(
            f"{owner}: the output of {kind} is its state, and a connection around it would change what it remembers. "
            f"Connect the layer: nn.{owner}(nn.RNNLayer(cell), ...)"
        )
    return module


def _input(owner: str, given: object) -> tuple[Tensor, PackedSequence | None]:
    """The tensor that comes in, and the packed sequence whose rows it is.

    Raises:
        ArgumentTypeError: neither of them, nor a tuple that begins with one.
    """
    if isinstance(given, tuple) and not isinstance(given, PackedSequence) and given:
        given = given[0]
    packed = given if isinstance(given, PackedSequence) else None
    x = given if packed is None else packed.data
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{owner}: expected a Tensor or a PackedSequence, got {type(given).__name__}")
    return x, packed


def _packed_as(packed: PackedSequence | None, rows: Tensor) -> Any:
    return rows if packed is None else PackedSequence(rows, *packed[1:])


def _run(
    owner: str, module: Module, x: Tensor, packed: PackedSequence | None, *args: Any, **kwargs: Any
) -> tuple[Tensor, tuple[Any, ...]]:
    """What a module makes of the input, and what it returns beside that.

    Raises:
        ArgumentTypeError: the result is no tensor, or not packed as the input is.
    """
    sequences = packed is not None and any(isinstance(m, Stack) for m in module.modules())
    result = module(_packed_as(packed, x) if sequences else x, *args, **kwargs)
    rest: tuple[Any, ...] = ()
    if isinstance(result, tuple) and not isinstance(result, PackedSequence) and result:
        result, *others = result
        rest = tuple(others)
    if sequences and isinstance(result, PackedSequence):
        result = result.data
    elif sequences or not isinstance(result, Tensor):
        wanted = "a PackedSequence" if sequences else "a Tensor"
        raise ArgumentTypeError(
            f"{owner}: {type(module).__name__} must return {wanted}, alone or as the first of a tuple, "
            f"and returned {type(result).__name__}"
        )
    return result, rest


def _returned(packed: PackedSequence | None, output: Tensor, rest: tuple[Any, ...]) -> Any:
    joined = _packed_as(packed, output)
    return (joined, *rest) if rest else joined


class Residual(Module):
    """y = F(x) + x, or F(x) + S(x) with a module S on the shortcut.

    Args:
        module: F.
        shortcut: S, for an F that changes the size (a ``Linear``, say); None: the identity.

    Shapes:
        F(x), S(x) and y have one shape; without a shortcut it is that of x.  Nothing is broadcast.

    Returns:
        y; of a module that returns a tuple, ``(y, *the rest)``.  Further arguments of a call go to F: ``layer(x, hx)``.

    Raises:
        ArgumentTypeError: F or S is no module, or a cell; the input or F(x) is no tensor.
        ShapeError: (when called) F(x) and the shortcut differ in shape.

    Source: K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition" (2015), equations 1 and
    2, without the activation after the sum, as in their "Identity mappings in deep residual networks" (2016).

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Residual(tg.nn.LSTM(3, 3))
    >>> x = tg.randn(7, 2, 3)
    >>> y, (h, c) = layer(x)
    >>> tg.equal(y, layer.module(x)[0] + x), h.shape
    (True, torch.Size([1, 2, 3]))
    >>> tg.nn.Residual(tg.nn.LSTM(3, 4), shortcut=tg.nn.Linear(3, 4))(x)[0].shape
    torch.Size([7, 2, 4])
    """

    module: Module
    shortcut: Module | None

    def __init__(self, module: Module, shortcut: Module | None = None) -> None:
        super().__init__()
        self.module = _wrapped("Residual", module)
        self.shortcut = None if shortcut is None else _wrapped("Residual", shortcut)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        """The sum, in the arrangement of the input."""
        x, packed = _input("Residual", input)
        y, rest = _run("Residual", self.module, x, packed, *args, **kwargs)
        kept = x if self.shortcut is None else _run("Residual", self.shortcut, x, packed)[0]
        if y.shape != kept.shape:
            kind = type(self.module).__name__
            if self.shortcut is None:
                raise ShapeError(
                    f"Residual: {kind} turns {list(x.shape)} into {list(y.shape)}, and what is added to must have the "
                    f"shape of the input. Give a shortcut: nn.Residual(module, nn.Linear({x.shape[-1]}, {y.shape[-1]}))"
                )
            raise ShapeError(
                f"Residual: {kind} turns {list(x.shape)} into {list(y.shape)}, and the shortcut into "
                f"{list(kept.shape)}; both must have one shape"
            )
        return _returned(packed, y + kept, rest)


class Highway(Module):
    """y = T(x) * H(x) + (1 - T(x)) * x, with the transform gate T(x) = sigmoid(W x + b).

    Where the gate is shut the layer is the identity, where it is open it is H.  With b < 0 at the start most of the
    input is carried, and a deep stack passes gradients on before it has learned anything.

    Args:
        module: H.
        size: K, of x and of H(x).
        bias: every entry of b at first: the lower, the more is carried.

    Shapes:
        x, H(x) and y ``(..., K)``; ``gate.weight`` (K, K), uniform on +-1/sqrt(K); ``gate.bias`` (K,).

    Returns:
        y; of a module that returns a tuple, ``(y, *the rest)``.  Further arguments of a call go to H: ``layer(x, hx)``.

    Raises:
        ArgumentTypeError: H is no module, or a cell; the input or H(x) is no tensor.
        ArgumentError: size is no positive int.
        ShapeError: (when called) the last axis of the input is not of that size, or H changes the shape.

    Source: R. K. Srivastava, K. Greff and J. Schmidhuber, "Highway networks" (2015), equation 3, and section 2.2 for
    the bias.

    >>> import tinygrad_rnn as tg
    >>> layer = tg.nn.Highway(tg.nn.GRU(3, 3), 3, bias=-2.0)
    >>> y, h = layer(tg.randn(7, 2, 3))
    >>> y.shape, h.shape
    (torch.Size([7, 2, 3]), torch.Size([1, 2, 3]))
    >>> _ = tg.nn.init.constant_(layer.gate.bias, -800.0)             # shut
    >>> x = tg.randn(7, 2, 3)
    >>> tg.equal(layer(x)[0], x)
    True
    """

    module: Module
    gate: Linear

    def __init__(self, module: Module, size: int, bias: float = -1.0, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
            raise ArgumentError(f"Highway: size must be an int greater than zero. Got {size!r}")
        self.size = size
        self.initial_bias = float(bias)
        self.module = _wrapped("Highway", module)
        self.gate = Linear(size, size, device=device, dtype=dtype)
        self._carry()

    def reset_parameters(self) -> None:
        """Draw the weight of the gate again, and set its bias; the module stays as it is."""
        self.gate.reset_parameters()
        self._carry()

    def _carry(self) -> None:
        if self.gate.bias is not None:
            init.constant_(self.gate.bias, self.initial_bias)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        """The mixture, in the arrangement of the input."""
        x, packed = _input("Highway", input)
        if x.ndim == 0 or x.shape[-1] != self.size:
            raise ShapeError(f"Highway: the last axis must have size {self.size}; the input has shape {list(x.shape)}")
        y, rest = _run("Highway", self.module, x, packed, *args, **kwargs)
        if y.shape != x.shape:
            raise ShapeError(
                f"Highway: {type(self.module).__name__} turns {list(x.shape)} into {list(y.shape)}, and what is mixed "
                "with the input must have its shape"
            )
        t = sigmoid(self.gate(x))
        return _returned(packed, t * y + (1 - t) * x, rest)  # not x + t (y - x), which is not y where t is 1

    def extra_repr(self) -> str:
        """The size, and the bias that the gate had at first."""
        return f"{self.size}, bias={self.initial_bias:g}"


class Dense(Module):
    """x_k = H_k([x_0, ..., x_(k-1)]), returned as [x_0, ..., x_n]: every module reads the outputs of all before it.

    [...] joins along the last axis; x_0 is the input.

    Args:
        modules: H_1, ..., H_n.  If each adds G features (the growth rate), H_k reads K + (k - 1) G.

    Shapes:
        x_0 (..., K), x_k (..., G_k), result (..., K + G_1 + ... + G_n).

    Returns:
        The features; where some modules return tuples ``(output, state, ...)``, the tuple of the features and, for
        each further place, a tuple with an entry for each module, None for one that returned less.

    Raises:
        ArgumentTypeError: an H is no module, or a cell; the input or an output is no tensor.
        ArgumentError: no modules; or (when called) not as many states as modules.
        ShapeError: (when called) a module changes more than the last axis.
        ShapeError, ShapeRuntimeError: (when called) a module does not take that many features.

    Source: G. Huang, Z. Liu, L. van der Maaten and K. Q. Weinberger, "Densely connected convolutional networks" (2016),
    equation 2.  (What other libraries call Dense, a fully connected layer, is ``Linear``.)

    >>> import tinygrad_rnn as tg
    >>> block = tg.nn.Dense(tg.nn.Linear(3, 4), tg.nn.Linear(7, 4))   # growth rate 4
    >>> x = tg.randn(2, 3)
    >>> y = block(x)
    >>> y.shape, tg.equal(y[:, :3], x)
    (torch.Size([2, 11]), True)
    >>> layers = tg.nn.Dense(tg.nn.LSTM(3, 4), tg.nn.GRU(7, 5))
    >>> features, states = layers(tg.randn(6, 2, 3))
    >>> features.shape, len(states)
    (torch.Size([6, 2, 12]), 2)
    >>> features, states = layers(tg.randn(6, 2, 3), states)          # goes on where that ended
    """

    layers: ModuleList

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        if not modules:
            raise ArgumentError("Dense: there are no modules")
        self.layers = ModuleList([_wrapped("Dense", module) for module in modules])

    def forward(self, input: Any, hx: Any = None) -> Any:
        """All features, in the arrangement of the input; hx: a state, or None, for each module."""
        x, packed = _input("Dense", input)
        states = [None] * len(self.layers) if hx is None else [*hx] if isinstance(hx, (tuple, list)) else []
        if len(states) != len(self.layers):
            raise ArgumentError(
                f"Dense: hx must be a tuple with a state, or None, for each of {len(self.layers)} modules"
            )
        sizes, rests = [x.shape[-1] if x.ndim else 1], []
        for number, (module, state) in enumerate(zip(self.layers, states, strict=True)):
            kind = f"module {number} ({type(module).__name__})"
            try:
                y, rest = _run("Dense", module, x, packed, *(() if state is None else (state,)))
            except (ShapeError, ShapeRuntimeError) as error:
                parts = " + ".join(map(str, sizes))
                raise type(error)(
                    f"{error}. Dense: {kind} reads {x.shape[-1]} features ({parts}: of the input, then of each module "
                    "before it)"
                ) from error
            if y.shape[:-1] != x.shape[:-1] or y.ndim != x.ndim:
                raise ShapeError(
                    f"Dense: {kind} turns {list(x.shape)} into {list(y.shape)}; only the last axis may change"
                )
            sizes.append(y.shape[-1])
            rests.append(rest)
            x = cat([x, y], -1)
        places = range(max(map(len, rests)))
        return _returned(packed, x, tuple(tuple(r[k] if k < len(r) else None for r in rests) for k in places))
