"""``state_dict`` and ``load_state_dict``: a module's parameters and persistent buffers by dotted name.

Keys, their order and the messages of mismatches are PyTorch's, so that states go both ways.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..backend import NUMBERS, array_device, is_array, to_device
from ..backend.random.inplace import put
from ..errors import ArgumentTypeError, CheckpointError
from ..tape.tensor import Size, Tensor, wrap
from .hooks import HookTable, RemovableHandle
from .parameter import Parameter, UninitializedParameter
from .tree import Tree

__all__ = ["IncompatibleKeys", "State"]

EXTRA_STATE = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """``missing_keys``, that a module has and a state has not, and ``unexpected_keys``, the other way round."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if any(self) else "<All keys matched successfully>"

    __str__ = __repr__


class State(Tree):
    """The part of :class:`Module` that gives and takes its state."""

    _version = 1
    _state_dict_hooks: HookTable
    _state_dict_pre_hooks: HookTable
    _load_state_dict_pre_hooks: HookTable
    _load_state_dict_post_hooks: HookTable

    def get_extra_state(self) -> Any:
        """What else belongs to the state of this module; override together with ``set_extra_state``."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state: override get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what ``get_extra_state`` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state: override set_extra_state")

    # giving -------------------------------------------------------------------------------------------------

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """All parameters and persistent buffers, by dotted name, sharing memory.

        Args:
            destination: a dictionary to add to, instead of a new one.
            prefix: put before each key.
            keep_vars: give the parameters themselves, not detached tensors of the same memory.

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
            destination[prefix + name] = value if keep_vars or isinstance(value, UninitializedParameter) else value.data
        if type(self).get_extra_state is not State.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _local_state(self) -> dict[str, Tensor]:
        """This module's own parameters and persistent buffers."""
        transient = self._non_persistent_buffers_set
        both = [*self._parameters.items(), *[(k, b) for k, b in self._buffers.items() if k not in transient]]
        return {name: value for name, value in both if value is not None}

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, prefix, keep_vars)`` runs before ``state_dict`` of this module."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata)`` runs after it, and may change it in place."""
        return _register(self._state_dict_hooks, hook)

    # taking -------------------------------------------------------------------------------------------------

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of this module and all below it.

        Args:
            state_dict: tensors or arrays by dotted name; PyTorch's tensors are taken too.
            strict: whether the keys must be exactly those of ``self.state_dict()``.
            assign: take the given tensors themselves in place of copying their values.

        Returns:
            The missing and the unexpected keys.

        Raises:
            CheckpointError: keys are missing or unexpected (if strict) or shapes differ; all are listed, and what
                did fit has been copied.
            ArgumentTypeError: ``state_dict`` is no mapping.

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
        """Take this module's own values; override to accept states of an older layout."""
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
        if type(self).set_extra_state is not State.set_extra_state:
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
                    if first not in (self._modules if deeper else own):
                        unexpected_keys.append(key)

    def _take(self, name: str, held: Tensor, key: str, value: Any, assign: bool) -> str | None:
        """Take one value; say in PyTorch's words what is wrong with it, if anything."""
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
            put(held._data, to_device(source._data, array_device(held._data)))
            held._touch()
        return None

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors)`` runs before."""
        return _register(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, incompatible_keys)`` runs after, and may change the lists in place."""
        return _register(self._load_state_dict_post_hooks, hook)


def _shown(name: str) -> str:
    """A key in an error: one that comes from a file could command the terminal."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _register(table: HookTable, hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle
