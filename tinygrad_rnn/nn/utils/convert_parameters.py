"""Parameters as one flat vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import ArgumentTypeError, ShapeRuntimeError
from ...ops import cat
from ...tape.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All entries of all parameters in one vector, in order; differentiable.

    Args:
        parameters: Tensors on one device.

    Returns:
        (P,): P the number of entries in all.

    Raises:
        ArgumentTypeError: parameters on different devices.

    >>> import tinygrad_rnn as tg
    >>> parameters_to_vector([tg.tensor([[1.0, 2.0]]), tg.tensor(3.0)])
    tensor([1., 2., 3.])
    """
    listed = list(parameters)
    _check_devices(listed)
    joined: Tensor = cat([p.reshape(-1) for p in listed])
    return joined


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set the values of the parameters from consecutive slices of a vector.

    The parameters then share the vector's memory, as in PyTorch.

    Args:
        vec: (P,) with at least as many entries as all parameters together.
        parameters: whose values are replaced; their gradients stay.

    Raises:
        ArgumentTypeError: ``vec`` is not a Tensor, or parameters on different devices.
        ShapeRuntimeError: the vector is too short.

    >>> import tinygrad_rnn as tg
    >>> w, b = tg.zeros(1, 2), tg.zeros(())
    >>> vector_to_parameters(tg.tensor([1.0, 2.0, 3.0]), [w, b])
    >>> w, b
    (tensor([[1., 2.]]), tensor(3.))
    """
    if not isinstance(vec, Tensor):
        raise ArgumentTypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    listed = list(parameters)
    _check_devices(listed)
    needed, given = sum(p._data.size for p in listed), vec._data.size
    if given < needed:
        raise ShapeRuntimeError(f"vector_to_parameters(): the vector has {given} entries, the parameters {needed}")
    start = 0
    for p in listed:
        stop = start + p._data.size
        p.data = vec.detach()[start:stop].reshape(p.shape)
        start = stop


def _check_devices(parameters: list[Tensor]) -> None:
    for i, p in enumerate(parameters):
        if p.device != parameters[0].device:
            raise ArgumentTypeError(
                "Found two parameters on different devices, this is currently not supported. "
                f"(parameters[0] is on {parameters[0].device}, parameters[{i}] on {p.device})"
            )
