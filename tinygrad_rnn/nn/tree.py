"""The tree of modules: what each holds, by name and in order, and walks over it.

A module keeps parameters, buffers and submodules in three dictionaries, in order of registration.  The order is
part of the interface: default initialisation draws random numbers in it, and a ``state_dict`` lists keys in it.
A parameter that is held in several places counts once, under the first name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..backend import scalar_name
from ..errors import ArgumentError, ArgumentTypeError, TinygradRnnError
from ..tape.tensor import Tensor
from .hooks import registered
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

__all__ = ["RegistrationError", "Tree", "typename"]


class RegistrationError(TinygradRnnError, KeyError):
    """A name under which nothing can be registered: taken, empty, or with a dot in it."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


def typename(value: object) -> str:
    """A type as PyTorch names it in messages: ``torch.FloatTensor`` for a tensor, ``list`` for a list."""
    if isinstance(value, Tensor):
        return f"torch.{scalar_name(value.dtype)}Tensor"
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class Tree:
    """What a module holds, and how to find it; the part of :class:`Module` that only looks."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Module | None]

    # registration -------------------------------------------------------------------------------------------

    def _check_name(self, kind: str, name: str, table: str) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise RegistrationError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise RegistrationError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise RegistrationError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Hold a parameter under ``name``; None reserves the name.

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
        """Hold a tensor that is part of the state but not learned.

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
        """Hold a submodule under ``name``.

        Raises:
            RegistrationError: the name is taken, empty or has a dot.
            ArgumentTypeError: not a Module.
        """
        if not isinstance(module, Tree) and module is not None:
            raise ArgumentTypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, "_modules")
        self._modules[name] = registered("module", self, name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as ``add_module``."""
        self.add_module(name, module)

    # walks --------------------------------------------------------------------------------------------------

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
        yield prefix, self  # type: ignore[misc]
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

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

    # finding by dotted name ---------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; this one for ``""``.

        Raises:
            AttributeError: nothing there, or something that is no module.
        """
        found: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(found, part):
                raise AttributeError(f"{type(found).__name__} has no attribute `{part}`")
            found = getattr(found, part)
            if not isinstance(found, Tree):
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
            AttributeError: nothing there, or something that is no parameter.
        """
        _, name, parameter = self._get_member(target)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name.

        Raises:
            AttributeError: nothing there, or something that is no buffer.
        """
        module, name, buffer = self._get_member(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        tensor: Tensor = buffer
        return tensor
