"""Random tensors.  For the same seed they hold the numbers that PyTorch draws on the CPU, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import as_dtype, chosen_device, to_device, to_numpy
from ..errors import ArgumentRuntimeError, ArgumentTypeError
from ..tape.modes import defaults
from ..tape.tensor import Tensor
from ..typing import Array, Shape
from .creation import finish
from .elementwise import constant_in
from .nondifferentiable import raw, without_derivative
from .shape import sizes_of

__all__ = ["bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like"]
__all__ += ["randperm"]


def _made(values: Array, device: Any, requires_grad: bool) -> Tensor:
    place = chosen_device(device)  # drawn on the host, then moved: the numbers are those of PyTorch's CPU
    return finish(values if place is None else to_device(values, place), requires_grad)


def _draws() -> Any:
    """The module that draws arrays, loaded at the first draw."""
    from ..backend.random import draws

    return draws


def _fills() -> Any:
    """The module that fills memory in place."""
    from ..backend.random import inplace

    return inplace


FILLED_BY = {"rand": "uniform", "randn": "normal"}


def _room_like(like: Tensor, dtype: Any, op: str) -> Array:
    """Memory for a tensor of the same size, with the axes in the memory order of ``like``."""
    # PyTorch fills in memory order: a transposed like gets the numbers transposed
    order = _fills().memory_order(like._data)
    chosen = like._data.dtype if dtype is None else as_dtype(dtype, op)
    room: Array = np.empty([like.shape[axis] for axis in order], chosen)
    return room.transpose(sorted(range(len(order)), key=order.__getitem__))


def _of_size(name: str, doc: str) -> Any:
    def make(
        *size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        chosen = defaults.dtype if dtype is None else as_dtype(dtype, name)
        values = getattr(_draws(), name)(sizes_of(size), chosen, generator)
        return _made(values, device, requires_grad)

    def make_like(
        like: Tensor, *, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> Tensor:
        values = _room_like(like, dtype, make_like.__name__)
        getattr(_fills(), f"fill_{FILLED_BY[name]}")(values, generator=generator)
        return _made(values, like.device if device is None else device, requires_grad)

    make.__name__ = make.__qualname__ = name
    make_like.__name__ = make_like.__qualname__ = f"{name}_like"
    make.__doc__ = f"A tensor of the given size of {doc}."
    make_like.__doc__ = f"A tensor of the size and dtype of ``like`` of {doc}."
    return make, make_like


rand, rand_like = _of_size("rand", "numbers uniform on [0, 1)")
randn, randn_like = _of_size("randn", "normal numbers of mean 0 and standard deviation 1")


def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers uniform on low, ..., high - 1: ``randint(high, size)`` or ``randint(low, high, size)``.

    >>> import tinygrad_rnn as tg
    >>> _ = tg.manual_seed(0)
    >>> tg.randint(10, (5,))
    tensor([4, 9, 3, 0, 3])
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    if high is None or low is None:
        low, high = 0, low if high is None else high
    if size is None or high is None:
        raise ArgumentTypeError("randint(): the size is missing: randint(high, size) or randint(low, high, size)")
    chosen = np.dtype(np.int64) if dtype is None else as_dtype(dtype, "randint")
    return _made(_draws().randint(int(low), int(high), sizes_of((size,)), chosen, generator), device, requires_grad)


def randint_like(
    like: Tensor, low: int, high: int | None = None, *, generator: Any = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Whole numbers uniform on low, ..., high - 1, of the size and dtype of ``like``."""
    low, high = (0, low) if high is None else (low, high)
    place = like.device if device is None else device
    values = _room_like(like, dtype, "randint_like")
    _fills().fill_random(values, low, high, generator)
    return _made(values, place, False)


def randperm(n: int, *, generator: Any = None, dtype: Any = None, device: Any = None) -> Tensor:
    """The numbers 0, ..., n - 1 in a random order."""
    chosen = np.dtype(np.int64) if dtype is None else as_dtype(dtype, "randperm")
    return _made(_draws().randperm(n, chosen, generator), device, False)


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: of one mean and deviation and a size, or of a mean or deviation for each entry.

    Their derivative by means and deviations is 0: write ``mean + std * randn_like(std)`` for one that is not.
    """
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise ArgumentTypeError("normal(): the size is missing: normal(mean, std, size) for two numbers")
        chosen = defaults.dtype if dtype is None else as_dtype(dtype, "normal")
        values = _draws().normal(sizes_of((size,)), float(mean), float(std), chosen, generator)
        return _made(values, device, requires_grad)
    like = mean if isinstance(mean, Tensor) else std
    # before the draw: a refused call must not advance the generator
    if isinstance(std, Tensor) and (to_numpy(std._data) < 0).any():
        raise ArgumentRuntimeError("normal expects all elements of std >= 0.0")
    shape: Shape = np.broadcast_shapes(np.shape(raw(mean)), np.shape(raw(std)))
    # standard numbers first, then the scale: the order of PyTorch's roundings
    drawn = _made(_draws().normal(shape, 0.0, 1.0, like.dtype, generator), like.device, False)
    # detached: PyTorch's derivative by mean and std is 0
    out = drawn * (std.detach() if isinstance(std, Tensor) else std)
    out = out + (mean.detach() if isinstance(mean, Tensor) else mean)
    for of in (mean, std):
        if isinstance(of, Tensor):
            out = _drawn_from(out, of)
    return out


def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that each entry says (or all with probability ``p``), else 0.

    Its derivative by the probabilities is 0.
    """
    if p is not None:
        drawn = _draws().bernoulli(p, tuple(input.shape), input.dtype, generator)
        return _of_a_number(_made(drawn, input.device, False), input)
    drawn = _draws().bernoulli(to_numpy(input._data), None, input.dtype, generator)
    return _drawn_from(_made(drawn, input.device, False), input)


def _drawn_from(values: Tensor, parameter: Tensor) -> Tensor:
    """The drawn values, which require grad where a parameter of the distribution does; the derivative is 0."""
    return constant_in(values, parameter) if parameter.requires_grad else values


_of_a_number = without_derivative(
    "bernoulli", "derivative for aten::bernoulli is not implemented. Draw on x.detach(): what it holds does not matter"
)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None) -> Tensor:
    """Categories drawn with probabilities proportional to the weights: ``(K,)`` or ``(N, K)`` in, int64 out."""
    chosen = _draws().multinomial(to_numpy(input._data), num_samples, replacement, generator)
    return _made(chosen, input.device, False)
