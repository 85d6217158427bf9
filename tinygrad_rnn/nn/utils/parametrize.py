"""Parametrisations: weights that are computed from other parameters whenever they are read.

A parametrised ``weight`` is no longer a parameter but a property: reading it runs ``f(original)``, recorded like
any operation, so the gradient reaches the original.  A recurrent layer reads its weights once per call, so one
parametrisation serves all of its time steps.

Legend: g has the size of the kept axis, v the shape of the weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import ArgumentError, ArgumentTypeError, ShapeError
from ...tape.modes import no_grad, within
from ...tape.tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "weight_norm",
]


class ParametrizationList(ModuleList):
    """The parametrisations of one tensor, applied one after the other, and the original parameters.

    One original is called ``original``; several, from a ``right_inverse`` that gives a tuple, ``original0``,
    ``original1`` ...
    """

    def __init__(self, modules: Iterable[Module], weight: Tensor) -> None:
        super().__init__(list(modules))
        value = self.invert(weight.detach())
        self.is_tensor = isinstance(value, Tensor)
        self.ntensors = 1 if self.is_tensor else len(value)
        wants_grad = weight.requires_grad
        for name, original in zip(self.original_names(), [value] if self.is_tensor else list(value), strict=True):
            self.register_parameter(name, Parameter(original.clone(), requires_grad=wants_grad))

    @no_grad()
    def invert(self, value: Any) -> Any:
        """The original, or several, from which the parametrisations compute ``value``."""
        # The last parametrisation is undone first.
        for parametrization in reversed(list(self)):
            inverse = getattr(parametrization, "right_inverse", None)
            if inverse is not None:
                value = inverse(value)
        return value

    def original_names(self) -> list[str]:
        """The names of the original parameters."""
        return ["original"] if self.is_tensor else [f"original{k}" for k in range(self.ntensors)]

    def forward(self) -> Tensor:
        """The tensor, computed from its originals."""
        first, *rest = list(self)
        value: Tensor = first(*[getattr(self, name) for name in self.original_names()])
        for parametrization in rest:
            value = parametrization(value)
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Replace a parameter of ``module`` by ``parametrization(original)``, computed at every reading.

    Args:
        parametrization: maps the original to the weight.  If it has ``right_inverse(weight)``, the original is made
            by that, so that the weight keeps its value; else the original is the weight as it is.
        unsafe: allow the shape or dtype to change.

    Returns:
        The module, with ``module.parametrizations[tensor_name].original`` in place of the parameter.

    Raises:
        ArgumentError: the module has no such parameter.
        ShapeError: the result has another shape or dtype and ``unsafe`` is not set.

    >>> import tinygrad_rnn as tg
    >>> class Symmetric(tg.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).transpose(-1, -2)
    >>> layer = register_parametrization(tg.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all()), [name for name, _ in layer.named_parameters()]
    (True, ['bias', 'parametrizations.weight.original'])
    """
    if is_parametrized(module, tensor_name):
        held = module.parametrizations[tensor_name]
        held.append(parametrization)
        return module
    if tensor_name not in module._parameters or module._parameters[tensor_name] is None:
        raise ArgumentError(
            f"Module '{type(module).__name__}' does not have a parameter, a buffer, or a parametrized element with "
            f"name '{tensor_name}'. Its parameters are {', '.join(module._parameters) or 'none'}"
        )
    weight: Any = module._parameters[tensor_name]
    held = ParametrizationList([parametrization], weight)
    # Unrecorded: only shape and dtype are looked at.
    result = within(False, held)
    if not unsafe and (result.shape != weight.shape or result.dtype != weight.dtype):
        raise ShapeError(
            f"Registering a parametrization may not change the shape or the dtype of the tensor, unless unsafe=True: "
            f"{tensor_name} is {weight.dtype.name}{list(weight.shape)}, "
            f"and became {result.dtype.name}{list(result.shape)}"
        )
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
        kind = type(module)
        # A class for this one module: a property on the layer's class would appear on all of its siblings.
        module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {"__module__": kind.__module__})
    # The original is registered in its place; left here, the weight would count as a parameter too.
    del module._parameters[tensor_name]
    module.parametrizations[tensor_name] = held
    setattr(type(module), tensor_name, _computed(tensor_name))
    return module


def _computed(name: str) -> property:
    def read(module: Any) -> Tensor:
        value: Tensor = module.parametrizations[name]()
        return value

    @no_grad()
    def write(module: Any, value: Tensor) -> None:
        held = module.parametrizations[name]
        originals = held.invert(value)
        for target, new in zip(held.original_names(), [originals] if held.is_tensor else originals, strict=True):
            getattr(held, target).copy_(new)

    return property(read, write)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether anything, or the tensor of that name, is parametrised in ``module``.

    >>> import tinygrad_rnn as tg
    >>> tg.nn.utils.parametrize.is_parametrized(tg.nn.Linear(2, 2))
    False
    """
    held = module._modules.get("parametrizations")
    return isinstance(held, ModuleDict) and len(held) > 0 and (tensor_name is None or tensor_name in held)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrised tensor a plain parameter again, with the value that it has now.

    Raises:
        ArgumentError: it is not parametrised, or its originals were asked for and there are several.

    >>> import tinygrad_rnn as tg
    >>> from tinygrad_rnn.nn.utils import parametrize
    >>> class Double(tg.nn.Module):
    ...     def forward(self, w):
    ...         return 2 * w
    >>> layer = parametrize.register_parametrization(tg.nn.Linear(1, 1), "weight", Double())
    >>> layer = parametrize.remove_parametrizations(layer, "weight")
    >>> parametrize.is_parametrized(layer)
    False
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"Module {type(module).__name__} does not have a parametrization on {tensor_name}")
    held = module.parametrizations[tensor_name]
    if not leave_parametrized and not held.is_tensor:
        raise ArgumentError(f"leave_parametrized=False: {tensor_name} is computed from {held.ntensors} originals")
    value = within(False, held) if leave_parametrized else held.original
    wants_grad = any(p.requires_grad for p in held.parameters())
    del module.parametrizations[tensor_name]
    delattr(type(module), tensor_name)
    if len(module.parametrizations) == 0:
        del module.parametrizations
        # Back from the subclass, which was made for the properties alone.
        module.__class__ = type(module).__mro__[1]
    module.register_parameter(tensor_name, Parameter(value.detach().clone(), requires_grad=wants_grad))
    return module


class _WeightNorm(Module):
    """w = g v / ||v||, the norm taken over all axes but ``dim``."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        weight: Tensor = v * (g / self._norm(v))
        return weight

    def right_inverse(self, weight: Tensor) -> Sequence[Tensor]:
        return self._norm(weight), weight

    def _norm(self, v: Tensor) -> Any:
        # -1 is not the last axis here: PyTorch's norm_except_dim reads it as "no axis is kept".
        if self.dim is None or self.dim == -1:
            return (v * v).sum().sqrt()
        kept = self.dim % v.ndim
        return (v * v).sum(tuple(k for k in range(v.ndim) if k != kept), keepdim=True).sqrt()


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split a weight into length and direction: w = g v / ||v||  (Salimans and Kingma 2016, eq. 2).

    Args:
        dim: the axis whose slices have separate lengths; None for one length of the whole.

    Returns:
        The module, with the originals ``parametrizations.<name>.original0`` (g) and ``original1`` (v).

    >>> import tinygrad_rnn as tg
    >>> lstm = weight_norm(tg.nn.LSTM(2, 3), "weight_hh_l0")
    >>> tuple(lstm.parametrizations.weight_hh_l0.original0.shape)
    (12, 1)
    """
    if not isinstance(module, Module):
        raise ArgumentTypeError(f"weight_norm(): expected a Module, got {type(module).__name__}")
    return register_parametrization(module, name, _WeightNorm(dim))
