"""One recurrent layer's numbers in any library: the same inputs, weights and cotangents, and results by name.

Legend: ``T`` steps, ``N`` batch, ``H`` hidden and input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.backend import to_numpy

from .places import Places

__all__ = ["Work", "distance", "layer", "prepared", "reference"]


@dataclass(frozen=True)
class Work:
    """A layer and its input.

    Attributes:
        kind: ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
        lengths: of packed sequences; None for equal ones.
        options: of the layer's constructor.
    """

    kind: str
    H: int
    N: int
    T: int
    lengths: tuple[int, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A name for tables."""
        more = [f"{name}={value}" for name, value in self.options.items()] + ["packed"] * (self.lengths is not None)
        return " ".join([f"{self.kind} H={self.H} N={self.N} T={self.T}", *more])

    def numbers(self) -> dict[str, Any]:
        """float32 inputs and cotangents, and the weights by their names, the same in every call."""
        rng = np.random.default_rng([self.H, self.N, self.T])
        like = getattr(tg.nn, self.kind)(self.H, self.H, **self.options)
        directions, layers = 1 + like.bidirectional, like.num_layers

        def draw(*shape: int, scale: float = 1.0) -> Any:
            return (rng.standard_normal(shape) * scale).astype(np.float32)

        states = ("h", "c")[: 1 + (self.kind == "LSTM")]
        found = {"x": draw(self.T, self.N, self.H), "dy": draw(self.T, self.N, directions * self.H)}
        found |= {f"{s}0": draw(directions * layers, self.N, self.H, scale=0.5) for s in states}
        found |= {f"d{s}n": draw(directions * layers, self.N, self.H) for s in states}
        bound = self.H**-0.5
        for name, p in like.named_parameters():
            found[name] = rng.uniform(-bound, bound, tuple(p.shape)).astype(np.float32)
        return found


def layer(lib: Any, device: str, work: Work, numbers: dict[str, Any], dtype: str = "float32") -> Any:
    """The layer with its weights, in ``lib`` on ``device``."""
    made = getattr(lib.nn, work.kind)(work.H, work.H, **work.options)
    made.load_state_dict({name: lib.tensor(numbers[name]) for name, _ in made.named_parameters()})
    return made.to(getattr(lib, dtype)).to(device)


class prepared:
    """A layer with its input on the device: ``forward()``, ``both()``, and ``results()`` as NumPy arrays by name."""

    def __init__(
        self, lib: Any, device: str, work: Work, numbers: dict[str, Any], dtype: str = "float32", made: Any = None
    ) -> None:
        self.lib, self.work = lib, work
        self.layer = layer(lib, device, work, numbers, dtype) if made is None else made

        def there(name: str) -> Any:
            return lib.tensor(numbers[name]).to(getattr(lib, dtype)).to(device)

        names = ["h", "c"][: 1 + (work.kind == "LSTM")]
        self.x = there("x").requires_grad_()
        self.states = [there(f"{s}0").requires_grad_() for s in names]
        self.cotangents = [there("dy"), *[there(f"d{s}n") for s in names]]
        self.packed: Any = None
        if work.lengths is not None:
            pack = lib.nn.utils.rnn.pack_padded_sequence
            self.packed = pack(self.x, list(work.lengths), enforce_sorted=False)
            self.cotangents[0] = pack(self.cotangents[0], list(work.lengths), enforce_sorted=False).data
            self.x = self.packed.data.detach().requires_grad_()
            self.packed = type(self.packed)(self.x, *tuple(self.packed)[1:])
        self.inputs = [self.x, *self.states, *self.layer.parameters()]
        self.names = ["dx", *[f"d{s}0" for s in names], *[name for name, _ in self.layer.named_parameters()]]

    def forward(self) -> Any:
        """Outputs and final states, as a list."""
        state = self.states[0] if len(self.states) == 1 else tuple(self.states)
        y, finals = self.layer(self.x if self.packed is None else self.packed, state)
        return [y if self.packed is None else y.data, *(finals if isinstance(finals, tuple) else (finals,))]

    def both(self) -> Any:
        """The gradients of everything, forward and back."""
        return self.lib.autograd.grad(self.forward(), self.inputs, self.cotangents)

    def results(self) -> dict[str, Any]:
        """Everything that the layer computes."""
        outputs = self.forward()
        gradients = self.lib.autograd.grad(outputs, self.inputs, self.cotangents)
        names = ["y", *["h", "c"][: len(self.states)], *self.names]
        return {name: host(t) for name, t in zip(names, [*outputs, *gradients], strict=True)}


def host(t: Any) -> Any:
    """A tensor of either library as a NumPy array."""
    return to_numpy(t.detach()._data) if isinstance(t, tg.Tensor) else t.detach().cpu().numpy()


def reference(places: Places, work: Work, numbers: dict[str, Any]) -> dict[str, Any]:
    """The results in float64: by PyTorch where it is, by our own NumPy kernels otherwise."""
    torch = places.torch()
    if torch is None:
        with tg.backends.recurrent.only("numpy"):
            return prepared(tg, "cpu", work, numbers, "float64").results()
    return prepared(torch, places.theirs, work, numbers, "float64").results()


def distance(found: dict[str, Any], expected: dict[str, Any]) -> tuple[float, str]:
    """The largest norm of a difference over the norm of what is expected, and where; nan if there is one."""
    worst, where = 0.0, ""
    for name, right in expected.items():
        size = float(np.linalg.norm(right))
        error = float(np.linalg.norm(np.asarray(found[name], np.float64) - right)) / (size or 1.0)
        if not error <= worst:
            worst, where = error, name
    return worst, where


def uneven(T: int, N: int) -> tuple[int, ...]:
    """Lengths of a packed batch, not sorted: the longest is T, the shortest a quarter of it."""
    sizes = [int(n) for n in np.linspace(T, max(1, T // 4), N)]
    return tuple(sizes[::2] + sizes[1::2])


def several(kinds: Sequence[str], sizes: Sequence[tuple[int, int, int]]) -> list[Work]:
    """Every kind in every size (H, N, T)."""
    return [Work(kind, *size) for kind in kinds for size in sizes]
