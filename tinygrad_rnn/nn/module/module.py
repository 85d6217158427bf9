"""Module: layers as objects that hold parameters and can be composed, saved, moved and switched.

``tree.py`` says what a module holds and how to walk it, ``state.py`` how its values go out and in, ``calling.py``
how it runs.  Here is the rest: attributes, modes, conversion, and the printed form.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from ..backend import Device, as_dtype
from ..errors import ArgumentTypeError
from ..tape.modes import no_grad
from ..tape.tensor import Tensor
from .calling import Calling
from .hooks import empty_tables, registered
from .parameter import Parameter
from .tree import typename

__all__ = ["Module"]

Self = TypeVar("Self", bound="Module")


class Module(Calling):
    """Base class of layers and models: subclass it, make parameters and submodules attributes, write ``forward``.

    >>> import tinygrad_rnn as tg
    >>> class Scale(tg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = tg.nn.Parameter(tg.tensor([2.0]))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(tg.tensor([3.0])).item(), [name for name, _ in Scale().named_parameters()]
    (6.0, ['factor'])
    """

    training: bool

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
            **empty_tables(),
            _state_dict_hooks=OrderedDict(),
            _state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_post_hooks=OrderedDict(),
        )

    # attributes ---------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """Parameters, buffers and submodules, which are kept apart from plain attributes.

        Raises:
            AttributeError: there is nothing of that name, as for a misspelt one.
        """
        held = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in held and name in held[table]:
                return held[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        """Put a parameter, buffer or submodule into its table, anything else into the object itself.

        Raises:
            AttributeError: ``Module.__init__`` has not run yet.
            ArgumentTypeError: something else for a name that is registered as one of the three.
        """
        held = self.__dict__
        if isinstance(value, Parameter):
            if "_parameters" not in held:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if "_modules" not in held:
                raise AttributeError("cannot assign module before Module.__init__() call")
            if name in self._parameters:
                raise ArgumentTypeError(_refusal(value, "parameter", name, "torch.nn.Parameter"))
            self._forget(name, "_buffers")
            self._modules[name] = registered("module", self, name, value)
        elif "_parameters" not in held:
            object.__setattr__(self, name, value)
        elif name in self._parameters:
            if value is not None:
                raise ArgumentTypeError(_refusal(value, "parameter", name, "torch.nn.Parameter"))
            self._parameters[name] = None
        elif name in self._modules:
            if value is not None:
                raise ArgumentTypeError(_refusal(value, "child module", name, "torch.nn.Module"))
            self._modules[name] = registered("module", self, name, None)
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise ArgumentTypeError(_refusal(value, "buffer", name, "torch.nn.Buffer, torch.Tensor"))
            self._buffers[name] = registered("buffer", self, name, value)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, *tables: str) -> None:
        """Remove an attribute or entry that is about to be replaced by one of another kind."""
        self.__dict__.pop(name, None)
        for table in tables:
            self.__dict__[table].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        held = [*self._parameters, *self._buffers, *self._modules]
        return sorted(name for name in {*dir(type(self)), *self.__dict__, *held} if not name[0].isdigit())

    # modes --------------------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to training (dropout at work), with all modules below.

        Raises:
            ArgumentTypeError: ``mode`` is not a bool.
        """
        if not isinstance(mode, bool):
            raise ArgumentTypeError(f"training mode is expected to be boolean, got {typename(mode)}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Switch to evaluation (dropout does nothing), with all modules below."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Say for all parameters whether gradients are wanted."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None and parameter.grad is not None:
                    if set_to_none:
                        parameter.grad = None
                    else:
                        parameter.grad.detach_()
                        parameter.grad._data[...] = 0
                        parameter.grad._touch()

    # conversion ---------------------------------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], object]) -> Self:
        """Call ``fn`` on every module below, then on this one.

        >>> import tinygrad_rnn as tg
        >>> def zero_bias(module):
        ...     if isinstance(module, tg.nn.Linear):
        ...         tg.nn.init.zeros_(module.bias)
        >>> tg.nn.Sequential(tg.nn.Linear(2, 1)).apply(zero_bias)[0].bias.item()
        0.0
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    @no_grad()
    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the values of all parameters, their gradients and the buffers by ``fn`` of them."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is not None:
                grad, new = parameter.grad, fn(parameter)
                if new is not parameter:
                    parameter.grad = None
                    parameter.data = new
                    parameter.grad = None if grad is None else fn(grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Move and convert all parameters and buffers, in place: ``to("cuda")``, ``to(float64)``, ``to(tensor)``.

        Only floating values are converted, integers keep their dtype.

        Raises:
            ArgumentTypeError: a dtype that is not floating, or no dtype.
            DeviceError: a device that is not there.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, (Device, int)) and not isinstance(arg, bool):
                device = arg
            elif isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda"):
                device = arg
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        target = None if dtype is None else as_dtype(dtype, "to")
        if target is not None and target.kind not in "fc":
            raise ArgumentTypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=torch.{target.name}"
            )
        return self._apply(lambda t: t.to(device=device, dtype=target if t.dtype.kind in "fc" else None))

    def type(self: Self, dst_type: Any) -> Self:
        """All parameters and buffers in another dtype, given as to :meth:`Tensor.type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: Self) -> Self:
        """All floating values in float32."""
        return self.to(dtype="float32")

    def double(self: Self) -> Self:
        """All floating values in float64."""
        return self.to(dtype="float64")

    def half(self: Self) -> Self:
        """All floating values in float16."""
        return self.to(dtype="float16")

    def cpu(self: Self) -> Self:
        """All values on the host."""
        return self.to(device="cpu")

    def cuda(self: Self, device: int | str | Device | None = None) -> Self:
        """All values on a GPU, the current one by default."""
        return self.to(device=Device("cuda" if device is None else device))

    # printing -----------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """What to print between the brackets, before the modules below; override in layers."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        below = [f"({name}): {indent(repr(module))}" for name, module in self._modules.items()]
        if len(lines) == 1 and not below:
            return f"{self._get_name()}({lines[0]})"
        inside = "".join(f"\n  {line}" for line in lines + below)
        return f"{self._get_name()}({inside}\n)" if inside else f"{self._get_name()}()"


def _refusal(value: object, what: str, name: str, expected: str) -> str:
    return f"cannot assign '{typename(value)}' as {what} '{name}' ({expected} or None expected)"


def indent(text: str, by: int = 2) -> str:
    """``text`` with all lines but the first moved right."""
    return text.replace("\n", "\n" + " " * by)
