"""``Module``: layers as objects that hold parameters and can be called, composed, saved, moved and switched.

A module keeps parameters, buffers and submodules in three dictionaries, in order of registration.  The order is
part of the interface: default initialisation draws random numbers in it, and a ``state_dict`` lists keys in it.
A parameter registered in several places counts once, under its first name.

Keys of a ``state_dict``, their order and the messages for mismatches are PyTorch's, so that a state can be moved
between the two libraries in either direction.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...backend import NUMBERS, Device, array_device, as_dtype, class_name, is_array, to_device
from ...backend.random.inplace import put
from ...errors import ArgumentError, ArgumentTypeError, CheckpointError, TinygradRnnError
from ...tape.hooks.tensor_hooks import RemovableHandle, add_hook
from ...tape.modes import no_grad
from ...tape.observe.pictures import html_of
from ...tape.tensor import Tensor, wrap
from ...typing import Size
from ..parameter import Parameter, UninitializedParameter
from .hooks import (
    ANYWHERE,
    HookTable,
    add_backward_hook,
    call_with_hooks,
    empty_tables,
    registered,
)

__all__ = ["IncompatibleKeys", "Module", "RegistrationError", "typename"]

Self = TypeVar("Self", bound="Module")

EXTRA_STATE = "_extra_state"


class RegistrationError(TinygradRnnError, KeyError):
    """A name under which nothing can be registered: taken, empty, or with a dot in it."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """``missing_keys``, which the module has and the state lacks, and ``unexpected_keys``, the reverse."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if any(self) else "<All keys matched successfully>"

    __str__ = __repr__


def _forward_missing(self: Module, *input: Any) -> Any:
    """The computation of a module, called by ``module(...)``; subclasses define it.

    Raises:
        NotImplementedError: a subclass did not.
    """
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


class Module:
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

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Module | None]

    _forward_hooks: HookTable
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: HookTable
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _backward_hooks: HookTable
    _backward_pre_hooks: HookTable
    _is_full_backward_hook: bool | None = None

    _version = 1
    _state_dict_hooks: HookTable
    _state_dict_pre_hooks: HookTable
    _load_state_dict_pre_hooks: HookTable
    _load_state_dict_post_hooks: HookTable

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

    # calling -----------------------------------------------------------------------------------------------------

    forward: Callable[..., Any] = _forward_missing

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``forward``, with the hooks before and after it."""
        # One condition on five tables, and no loop: nearly all calls have no hooks, and a step of a loop calls many
        # modules.
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or ANYWHERE
        ):
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # attributes --------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """Look up a parameter, buffer or submodule, which are not plain attributes.

        Raises:
            AttributeError: there is none of that name.
        """
        held = self.__dict__
        for table in ("_parameters", "_buffers", "_modules"):
            if table in held and name in held[table]:
                return held[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        """Register a parameter, buffer or submodule; set anything else as a plain attribute.

        Raises:
            AttributeError: ``Module.__init__`` has not run yet.
            ArgumentTypeError: a value of another type for a name that is registered as one of the three.
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
        # Before Module.__init__ there are no tables; subclasses may set plain attributes already.
        elif "_parameters" not in held:
            object.__setattr__(self, name, value)
        elif name in self._parameters:
            # None keeps the name, for a parameter that is absent, such as a bias.
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
        # Without the names of containers, such as "0", which cannot be written as attributes.
        return sorted(name for name in {*dir(type(self)), *self.__dict__, *held} if not name[0].isdigit())

    # registration ------------------------------------------------------------------------------------------------

    def _check_name(self, kind: str, name: str, table: str) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise RegistrationError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise RegistrationError(f'{kind} name can\'t be empty string ""')
        # A name may be taken by an entry of its own kind, which it then replaces.
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise RegistrationError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter under ``name``; None reserves the name.

        Raises:
            RegistrationError: the name is taken, empty or has a dot.
            ArgumentTypeError: not a Parameter.
            ArgumentError: a Parameter that was computed from others.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise ArgumentTypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ArgumentError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                    "forward() method."
                )
        self._parameters[name] = param if param is None else registered("parameter", self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is part of the state but not learned.

        Args:
            persistent: whether it is part of ``state_dict``.

        Raises:
            RegistrationError: the name is taken, empty or has a dot.
            ArgumentTypeError: not a Tensor.

        >>> import tinygrad_rnn as tg
        >>> m = tg.nn.Module()
        >>> m.register_buffer("mean", tg.zeros(2))
        >>> list(m.state_dict())
        ['mean']
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentTypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._buffers[name] = registered("buffer", self, name, tensor)
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a submodule under ``name``.

        Raises:
            RegistrationError: the name is taken, empty or has a dot.
            ArgumentTypeError: not a Module.
        """
        if not isinstance(module, Module) and module is not None:
            raise ArgumentTypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as ``add_module``."""
        self.add_module(name, module)

    # walks -------------------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, parents first, with dotted names; the root's name is ``prefix``.

        >>> import tinygrad_rnn as tg
        >>> layer = tg.nn.Linear(2, 2)
        >>> [name for name, _ in tg.nn.Sequential(layer, layer, tg.nn.ReLU()).named_modules()]
        ['', '0', '2']
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, parents first, each once."""
        waiting, seen = [self], set[int]()  # one loop for all levels: every update of the weights comes by here
        while waiting:
            module = waiting.pop()
            if remove_duplicate:
                if id(module) in seen:
                    continue
                seen.add(id(module))
            yield module
            waiting += [child for child in reversed(module._modules.values()) if child is not None]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        memo = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in memo:
                memo.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        return (module for _, module in self.named_children())

    def _named_members(
        self,
        members: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        memo = set()
        own: list[tuple[str, Any]] = [(prefix, self)]
        for place, module in self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else own:
            for name, member in members(module):
                if member is None or id(member) in memo:
                    continue
                if remove_duplicate:
                    memo.add(id(member))
                yield f"{place}.{name}" if place else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with dotted names, in order of registration.

        Args:
            prefix: put before each name.
            recurse: with those of the modules below.
            remove_duplicate: tied parameters count once.

        >>> import tinygrad_rnn as tg
        >>> [name for name, _ in tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.Tanh()).named_parameters()]
        ['0.weight', '0.bias']
        """
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, tied ones once: what an optimiser is given."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with dotted names, in order of registration."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # finding by dotted name --------------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; this one for ``""``.

        Raises:
            AttributeError: nothing there, or something that is not a module.
        """
        found: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(found, part):
                raise AttributeError(f"{type(found).__name__} has no attribute `{part}`")
            found = getattr(found, part)
            if not isinstance(found, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
        module: Module = found
        return module

    def _get_member(self, target: str) -> tuple[Module, str, Any]:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        return module, name, getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name.

        Raises:
            AttributeError: nothing there, or something that is not a parameter.
        """
        _, name, parameter = self._get_member(target)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name.

        Raises:
            AttributeError: nothing there, or something that is not a buffer.
        """
        module, name, buffer = self._get_member(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        tensor: Tensor = buffer
        return tensor

    # modes -------------------------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to training mode (dropout active), with all modules below.

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
        """Switch to evaluation mode (dropout inactive), with all modules below."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set for all parameters whether gradients are computed."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or to zeros."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None and parameter.grad is not None:
                    if set_to_none:
                        parameter.grad = None
                    else:
                        # Out of the graph of a double backward: the memory is kept, its history is not.
                        parameter.grad.detach_()
                        parameter.grad._data[...] = 0
                        parameter.grad._touch()

    # conversion --------------------------------------------------------------------------------------------------

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
                # fn returns the parameter itself where nothing changes: then its gradient stays too.
                if new is not parameter:
                    # Taken off first: for a moment it would be of another type or device than the new values.
                    parameter.grad = None
                    parameter.data = new
                    parameter.grad = None if grad is None else fn(grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                # Replaced, as in PyTorch: parameters alone must stay the same objects, which an optimiser holds.
                self._buffers[name] = fn(buffer)
        return self

    def to(self: Self, *args: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Move and convert all parameters and buffers, in place: ``to("cuda")``, ``to(float64)``, ``to(tensor)``.

        Only floating values are converted, integers keep their dtype.

        Raises:
            ArgumentTypeError: a dtype that is not floating, or not a dtype.
            DeviceError: a device that is not available.
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

    # state -------------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        """Further state of this module, for ``state_dict``; override together with ``set_extra_state``."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state: override get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Restore what ``get_extra_state`` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state: override set_extra_state")

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """All parameters and persistent buffers, by dotted name, sharing memory.

        Args:
            destination: a dictionary to add to, instead of a new one.
            prefix: put before each key.
            keep_vars: the parameters themselves, not detached tensors of the same memory.

        >>> import tinygrad_rnn as tg
        >>> list(tg.nn.Linear(2, 1).state_dict(prefix="out."))
        ['out.weight', 'out.bias']
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local: dict[str, Any] = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            hook(self, destination, prefix, local)
        state: dict[str, Any] = destination
        return state

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, value in self._local_state().items():
            # One without a shape cannot be detached.
            destination[prefix + name] = value if keep_vars or isinstance(value, UninitializedParameter) else value.data
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _local_state(self) -> dict[str, Tensor]:
        """This module's own parameters and persistent buffers."""
        transient = self._non_persistent_buffers_set
        both = [*self._parameters.items(), *[(k, b) for k, b in self._buffers.items() if k not in transient]]
        return {name: value for name, value in both if value is not None}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of this module and all below it.

        Args:
            state_dict: tensors or arrays by dotted name; PyTorch's tensors are accepted.
            strict: whether the keys must be exactly those of ``self.state_dict()``.
            assign: use the given tensors themselves instead of copying their values.

        Returns:
            The missing and the unexpected keys.

        Raises:
            CheckpointError: keys are missing or unexpected (if strict) or shapes differ; all are listed, and the
                values that fit have been copied.
            ArgumentTypeError: ``state_dict`` is not a mapping.

        >>> import tinygrad_rnn as tg
        >>> a, b = tg.nn.Linear(2, 1), tg.nn.Linear(2, 1)
        >>> b.load_state_dict(a.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        keys = IncompatibleKeys([], [])
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None) or {}
        # A copy: hooks that rename keys must not change the caller's.
        self._load(OrderedDict(state_dict), "", metadata, assign, keys, errors)
        if strict:
            wrong = (("Missing", keys.missing_keys), ("Unexpected", keys.unexpected_keys))
            listed = [(word, ", ".join(f'"{_shown(name)}"' for name in names)) for word, names in wrong if names]
            errors = [f"{word} key(s) in state_dict: {names}. " for word, names in listed] + errors
        if errors:
            raise CheckpointError(
                "Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors))
            )
        return keys

    def _load(
        self,
        state: dict[str, Any],
        prefix: str,
        metadata: Mapping[str, Any],
        assign: bool,
        keys: IncompatibleKeys,
        errors: list[str],
    ) -> None:
        local = dict(metadata.get(prefix[:-1], {}), **({"assign_to_params_buffers": True} if assign else {}))
        self._load_from_state_dict(state, prefix, local, True, keys.missing_keys, keys.unexpected_keys, errors)
        for name, child in self._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                # A module sees its own keys alone: what its hooks rename or remove concerns no other.
                inner = {key: value for key, value in state.items() if key.startswith(below)}
                child._load(inner, below, metadata, assign, keys, errors)
        for hook in self._load_state_dict_post_hooks.values():
            hook(self, keys)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own values; override to accept states of an older layout."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = self._local_state()
        for name, held in own.items():
            key = prefix + name
            if key in state_dict:
                problem = self._take(name, held, key, state_dict[key], assign)
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not Module.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    first, *deeper = key[len(prefix) :].split(".", 1)
                    # A key with more dots belongs to a submodule, which reports it itself if it is unknown.
                    if first not in (self._modules if deeper else own):
                        unexpected_keys.append(key)

    def _take(self, name: str, held: Tensor, key: str, value: Any, assign: bool) -> str | None:
        """Load one value; return PyTorch's message if it does not fit, else None."""
        if not isinstance(value, Tensor) and not is_array(value) and not hasattr(value, "__array__"):
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                f"checkpoint but received {type(value)}"
            )
        source = value if isinstance(value, Tensor) else wrap(value if is_array(value) else np.asarray(value))
        if source._data.dtype.newbyteorder("=") not in NUMBERS:
            kind = source.dtype.name
            return f'While copying the parameter named "{key}", expected numbers, but the array holds {kind}'
        if isinstance(held, UninitializedParameter):
            held.materialize(source.shape)
        # States from before PyTorch 0.4, which had no 0-d tensors.
        if held.shape == () and source.shape == (1,):
            source = source[0]
        if source.shape != held.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {Size(source.shape)} from checkpoint, "
                f"the shape in current model is {held.shape}."
            )
        if assign:
            if isinstance(held, Parameter) and not isinstance(source, Parameter):
                source = Parameter(source, requires_grad=held.requires_grad)
            elif isinstance(held, Parameter):
                source.requires_grad_(held.requires_grad)
            setattr(self, name, source)
        else:
            # Into the array, which other tensors (an optimiser's, tied weights) share.
            put(held._data, to_device(source._data, array_device(held._data)))
            held._touch()
        return None

    # hooks -------------------------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """``hook(module, args)`` runs before ``forward`` and may return other arguments.

        Args:
            prepend: run before the hooks registered so far.
            with_kwargs: call ``hook(module, args, kwargs)``, which may return ``(args, kwargs)``.
        """
        flags = [self._forward_pre_hooks_with_kwargs] * with_kwargs
        return add_hook(hook, self._forward_pre_hooks, *flags, prepend=prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """``hook(module, args, output)`` runs after ``forward`` and may return another output.

        Args:
            prepend: run before the hooks registered so far.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: run also if ``forward`` raised, then with output None.

        >>> import tinygrad_rnn as tg
        >>> layer, seen = tg.nn.Linear(2, 3), []
        >>> with layer.register_forward_hook(lambda module, args, output: seen.append(output.shape)):
        ...     _ = layer(tg.zeros(4, 2))
        >>> seen
        [torch.Size([4, 3])]
        """
        flags = [self._forward_hooks_with_kwargs] * with_kwargs + [self._forward_hooks_always_called] * always_call
        return add_hook(hook, self._forward_hooks, *flags, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` runs in the backward sweep, once the gradients are known.

        Both are tuples, in the order of the positional arguments and of the outputs, with None where there is no
        gradient or no tensor.  The hook may return other gradients of the inputs.  The module's output must be a
        tensor or a tuple; gradients of tensors in a dictionary, a list or a nested tuple are not seen.

        Raises:
            MixedHooksError: the module has a hook of ``register_backward_hook``.

        >>> import tinygrad_rnn as tg
        >>> layer, seen = tg.nn.Linear(2, 1), []
        >>> handle = layer.register_full_backward_hook(lambda module, before, after: seen.append(after[0].tolist()))
        >>> (3 * layer(tg.zeros(1, 2, requires_grad=True))).sum().backward()
        >>> seen
        [[[3.0]]]
        """
        return add_backward_hook(self, hook, True, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_output)`` runs before the sweep enters the module, and may return other gradients."""
        return add_hook(hook, self._backward_pre_hooks, prepend=prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, grad_input, grad_output)`` around the last operation alone: use the full hook.

        Raises:
            MixedHooksError: the module has a hook of ``register_full_backward_hook``.
        """
        return add_backward_hook(self, hook, False)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, prefix, keep_vars)`` runs before ``state_dict`` of this module."""
        return add_hook(hook, self._state_dict_pre_hooks)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata)`` runs after it, and may change it in place."""
        return add_hook(hook, self._state_dict_hooks)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)`` runs before."""
        return add_hook(hook, self._load_state_dict_pre_hooks)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, incompatible_keys)`` runs after, and may change the lists in place."""
        return add_hook(hook, self._load_state_dict_post_hooks)

    # printing ----------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """Text for ``repr``, printed in the brackets before the modules below; override in layers."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        below = [f"({name}): " + repr(module).replace("\n", "\n  ") for name, module in self._modules.items()]
        if len(lines) == 1 and not below:
            return f"{self._get_name()}({lines[0]})"
        inside = "".join(f"\n  {line}" for line in lines + below)
        return f"{self._get_name()}({inside}\n)" if inside else f"{self._get_name()}()"

    def _repr_html_(self) -> str | None:
        """In a notebook: a tree that folds, with the numbers of parameters, and what is shared."""
        return html_of("model_tree", "module", self)


def typename(value: object) -> str:
    """The type of a value as PyTorch names it in messages: ``torch.FloatTensor`` for a tensor, ``list`` for a list."""
    return str(value.type()) if isinstance(value, Tensor) else class_name(value)


def _refusal(value: object, what: str, name: str, expected: str) -> str:
    return f"cannot assign '{typename(value)}' as {what} '{name}' ({expected} or None expected)"


def _shown(name: str) -> str:
    """A key for an error message, escaped: control characters in a file could command the terminal."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()
