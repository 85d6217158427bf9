"""``Optimizer``, the base class: parameter groups, state per parameter, and both as a dictionary to save.

A subclass gives ``defaults`` (every option, by name) and a ``step`` that walks over :meth:`Optimizer._trained` and
writes into the raw arrays.  Nothing is recorded on the tape: arrays are not Tensors.  Layouts of ``param_groups``,
``state`` and ``state_dict()`` are PyTorch's, so that a state can be moved from one to the other.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from operator import is_
from typing import Any, TypeAlias

import numpy as np

from ..backend import array_device, array_module, class_name, is_array, on_gpu, to_device, to_numpy
from ..errors import ArgumentError, ArgumentTypeError, TinygradRnnError
from ..kernels.cuda_elementwise.multi_tensor import OverMany, placed
from ..source_line import warn_user
from ..tape.hooks.tensor_hooks import RemovableHandle, add_hook
from ..tape.modes import within
from ..tape.tensor import Tensor, wrap
from ..typing import Array
from .scalars import enabled, number
from .workspace import Row, Workspace

__all__ = ["Closure", "Group", "Optimizer", "OptimizerError", "ParamsT", "average_square_", "check_options", "lerp_"]
__all__ += ["penalised"]

Closure: TypeAlias = Callable[[], Any]
Group: TypeAlias = dict[str, Any]
ParamsT: TypeAlias = Iterable[Tensor] | Iterable[Group] | Iterable[tuple[str, Tensor]]


LATER = frozenset(
    "amsgrad capturable centered decoupled_weight_decay differentiable foreach fused maximize nesterov".split()
)
"""Options that came later, and may be missing in a state that was saved before."""

_HOST_SCALARS = frozenset({"step", "eta", "mu"})
"""Counts and rates that a step calculates with on the host; they keep their dtype."""

COMMON = frozenset({"params", "param_names", "initial_lr", "max_momentum", "base_momentum", "max_lr", "min_lr"})
"""Entries of a group other than options: names, and what schedules store there."""


class OptimizerError(TinygradRnnError, RuntimeError):
    """Options of an optimiser that exclude each other, or a state that does not fit its parameters."""


def check_options(defaults: Group, *non_negative: str) -> None:
    """Refuse options that PyTorch refuses in every optimiser that has them.

    Args:
        defaults: the options by name.
        non_negative: those that must be numbers of at least 0, in the order in which they are looked at.

    Raises:
        ArgumentError: "Invalid learning rate: -1.0 ..." and the like; a Tensor of several elements;
            ``differentiable``, which these optimisers do not do.
        OptimizerError: ``fused`` with ``differentiable`` or with ``foreach``.
    """
    for option in non_negative:
        value = defaults[option]
        what = {"lr": "learning rate", "eps": "epsilon value"}.get(option, f"{option} value")
        if isinstance(value, Tensor) and value._data.size != 1:
            name = "lr" if option == "lr" else what
            raise ArgumentError(f"Tensor {name} must be 1-element, got shape {tuple(value.shape)}")
        if not number(value) >= 0.0:  # nan is refused too
            raise ArgumentError(f"Invalid {what}: {value} (it must be at least 0)")
    if defaults.get("fused") and defaults.get("differentiable"):
        raise OptimizerError("`fused` does not support `differentiable`")
    if defaults.get("fused") and defaults.get("foreach"):
        raise OptimizerError("`fused` and `foreach` cannot be `True` together.")
    if defaults.get("differentiable"):
        raise ArgumentError(
            "differentiable=True is not available: a step writes into the parameters in place. To differentiate "
            "through an update, take the gradient with autograd.grad(loss, params, create_graph=True) and use "
            "p - lr * g as the new parameter"
        )


class Optimizer:
    """Base class of the optimisers.

    Args:
        params: Tensors, or (name, Tensor) pairs, or dicts ``{"params": [...], option: value, ...}``, one per
            group. Their order is the order of the state in ``state_dict()``, so it must not change between runs.
        defaults: the options of a group that does not give its own.

    Attributes:
        param_groups: list of dicts: ``params`` and every option. Change options here between steps.
        state: dict from parameter to its state; filled by ``step``. Its Tensors are updated in place.
        defaults: as given.

    Raises:
        ArgumentTypeError: a bare Tensor, a set, or something that is not a Tensor among the parameters.
        ArgumentError: no parameters; a parameter that is the result of an operation; one that is in two groups.

    >>> import tinygrad_rnn as tg
    >>> a, b = tg.zeros(2, requires_grad=True), tg.zeros(3, requires_grad=True)
    >>> optimizer = tg.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.1}], lr=1.0)
    >>> [group["lr"] for group in optimizer.param_groups]
    [1.0, 0.1]
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._prepare()
        # A Tensor is iterable too: its first row would be refused as a non-leaf, which hides the mistake.
        if isinstance(params, Tensor):
            raise ArgumentTypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{_described(params)}. Put it in a list: [parameter]"
            )
        groups = list(params)
        if not groups:
            raise ArgumentError(
                "optimizer got an empty parameter list (a generator such as model.parameters() can be used once only)"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Also for users' own optimisers: hooks run around their step without any code of theirs.
        if "step" in cls.__dict__:
            setattr(cls, "step", _with_hooks(cls.__dict__["step"]))  # noqa: B010 (mypy refuses the assignment)

    def _prepare(self) -> None:
        """Set up what is not part of the state: hooks and scratch memory."""
        self._workspace = Workspace()
        self._step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # Without hooks, which are code, and scratch memory; unpickled or copied, the optimiser makes its own.
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_workspace" not in self.__dict__:
            self._prepare()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines.extend(f"    {key}: {group[key]}" for key in sorted(group) if key != "params")
        return "\n".join([*lines, ")"])

    # Stepping -----------------------------------------------------------------------------------------------

    def step(self, closure: Closure | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: clears the gradients, evaluates the loss, calls backward and returns the loss. Needed by
                LBFGS, which evaluates more than once; the others call it once, before the update.

        Returns:
            the closure's loss, or None.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters.

        Args:
            set_to_none: if False, fill them with zeros instead. A parameter with ``grad`` None is skipped by
                ``step``; one with a zero gradient still moves by its momentum and weight decay.
        """
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    if p.grad.requires_grad:  # part of the graph of a double backward: keep the memory only
                        p.grad = p.grad.detach()
                    p.grad._data[...] = 0
                    p.grad._touch()

    def _evaluate(self, closure: Closure | None) -> Any:
        if closure is None:
            return None
        # A closure calls backward, also where the training loop switched recording off around the step.
        return within(True, closure)

    def _trained(self, group: Group) -> Iterator[tuple[Tensor, Array, Array]]:
        """The parameters of a group that have a gradient: Tensor, raw value, raw gradient."""
        for p in group["params"]:
            grad = p.grad
            if grad is not None:
                yield p, p._data, grad._data

    @staticmethod
    def _launched(
        kernel: OverMany, group: Group, rows: Sequence[Row], numbers: Sequence[Any], switches: Sequence[bool] = ()
    ) -> bool:
        """Do the update of ``rows`` by one CUDA kernel, if they are on a GPU and the options allow it.

        An array that appears in a row a second time, for a state that is not kept, is passed to the kernel as missing.
        """
        if not on_gpu(rows[0][0]) or group.get("fused") is False or group.get("foreach") is False:
            return False
        if any(on_gpu(x) for x in numbers):  # reading them would synchronise the device
            return False
        kinds = list(zip(*rows, strict=True))
        where = placed([None if any(all(map(is_, c, b)) for b in kinds[:k]) else c for k, c in enumerate(kinds)])
        return where is not None and kernel(where, numbers, switches)

    @staticmethod
    def _new_state(like: Array, fill: Any = 0) -> Tensor:
        """A state Tensor of the shape, dtype and device of a parameter."""
        return wrap(array_module(like).full_like(like, fill))

    @staticmethod
    def _advanced(p: Tensor, state: dict[str, Any]) -> float:
        """Count a step of a parameter, which is about to be written together with its state; the new count."""
        count = state["step"]._data
        np.add(count, 1, out=count)
        for entry in state.values():
            entry._touch()
        p._touch()
        return float(count.item())  # on the host: no synchronisation

    @staticmethod
    def _new_count() -> Tensor:
        """A step count, on the host, so that the bias corrections of Adam never wait for the GPU."""
        return wrap(np.zeros((), np.float32))

    # Parameter groups ---------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """Train more parameters, with other options; those not given are the defaults.

        Raises:
            ArgumentTypeError, ArgumentError: as the constructor does.
        """
        if not isinstance(param_group, dict):
            raise ArgumentTypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise ArgumentTypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
        given = [given] if isinstance(given, Tensor) else list(given)
        names = [item[0] for item in given if isinstance(item, tuple)]
        if names and len(names) != len(given):
            raise ArgumentError(
                "all optimizer params should be with/without names. Some param names are missing "
                f"({len(names)} of {len(given)} are named)"
            )
        params = [item[1] for item in given] if names else given
        for i, p in enumerate(params):
            self._check_parameter(i, p)
        # The caller's own dict becomes the group, as in PyTorch.
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for option, default in self.defaults.items():
            param_group.setdefault(option, default)
        self._check_group(param_group)
        self.param_groups.append(param_group)

    def _check_parameter(self, i: int, p: object) -> None:
        if not isinstance(p, Tensor):
            raise ArgumentTypeError(
                f"optimizer can only optimize Tensors, but one of the params is {_described(p)} (number {i} of its "
                "group)"
            )
        # PyTorch's condition: a result that keeps its gradient has what a step needs.
        if not (p.is_leaf or p.retains_grad):
            raise ArgumentError(
                f"can't optimize a non-leaf Tensor (number {i} of its group, shape {tuple(p.shape)}, is the result of "
                "an operation): pass the Tensor that it was made from, or detach().requires_grad_() it"
            )

    def _check_group(self, group: Group) -> None:
        # By id, because == compares entries.
        here = {id(p) for p in group["params"]}
        if len(here) != len(group["params"]):
            warn_user(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an "
                "error; see github.com/pytorch/pytorch/issues/40967 for more information",
            )
        named = "param_names" in group
        for place, other in enumerate(self.param_groups):
            if named != ("param_names" in other):
                raise ArgumentError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with' if named else 'without'} names to the optimizer"
                )
            for p in other["params"]:
                if id(p) in here:
                    raise ArgumentError(
                        "some parameters appear in more than one parameter group (one of shape "
                        f"{tuple(p.shape)} is in group {place} already; give a tied weight once)"
                    )

    # Saving and loading -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state by parameter number, and the groups with numbers in place of parameters.

        Returns:
            ``{"state": {0: {"momentum_buffer": Tensor}, ...}, "param_groups": [{"lr": ..., "params": [0, ...]}]}``.
            The Tensors are the optimiser's own, not copies: later steps change them. Save or deepcopy to keep.
        """
        numbers: dict[int, int] = {}
        groups: list[Group] = []
        start = 0
        for group in self.param_groups:
            for i, p in enumerate(group["params"], start):
                # A parameter that was given twice has the number of its first place.
                numbers.setdefault(id(p), i)
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append({**packed, "params": [numbers[id(p)] for p in group["params"]]})
            start += len(group["params"])
        # Other keys belong to an optimiser's state as a whole.
        state = {(numbers[id(k)] if isinstance(k, Tensor) else k): v for k, v in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`, of this library or of PyTorch.

        Values are copied, and cast to the dtype and device of their parameter (step counts excepted). Arrays and
        torch tensors in the dictionary are accepted.  Parameters are matched by position.

        Raises:
            ArgumentError: another number of groups, or of parameters in a group.
        """
        # A copy: the groups become this optimiser's own, and change with its options.
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ArgumentError(
                "loaded state dict has a different number of parameter groups: "
                f"expected {len(groups)}, got {len(saved)}"
            )
        for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
            if len(group["params"]) != len(new["params"]):
                raise ArgumentError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"group {i} has {len(group['params'])} parameters, the saved one {len(new['params'])}"
                )
            lacking = [option for option in self.defaults if option not in new and option not in LATER]
            foreign = [option for option in new if option not in self.defaults and option not in COMMON]
            # Either alone is harmless: an older file lacks options, a newer one has more.
            if lacking and foreign:
                raise ArgumentError(
                    f"the loaded state dict has no {lacking[0]!r} in group {i}, which {type(self).__name__} needs, but "
                    f"{foreign[0]!r}: it was saved by another kind of optimizer"
                )
        numbers, params = ([p for g in side for p in g["params"]] for side in (saved, groups))
        by_number = dict(zip(numbers, params, strict=True))
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_number:
                state[by_number[key]] = _restored(by_number[key], value)
            else:
                state[key] = value
        for group, new in zip(groups, saved, strict=True):
            new["params"] = group["params"]
            for option, default in self.defaults.items():
                new.setdefault(option, default)
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        # Through __setstate__, so that AdamW can complete what an old file lacks.
        self.__setstate__({"state": state, "param_groups": saved})

    # Hooks --------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new (args, kwargs)."""
        return add_hook(hook, self._step_pre_hooks)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return add_hook(hook, self._step_post_hooks)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A subclass's ``step`` between its hooks.  A step that calls ``super().step()`` runs them once."""

    @functools.wraps(step)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        # Called by a subclass's step, whose wrapper runs the hooks.
        if type(self).step is not wrapper:
            return step(self, *args, **kwargs)
        for hook in self._step_pre_hooks.values():
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise OptimizerError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        self.__dict__["_opt_called"] = True  # learning-rate schedulers check that an optimizer step came before theirs
        for hook in self._step_post_hooks.values():
            hook(self, args, kwargs)
        return result

    return wrapper


# Saved state ----------------------------------------------------------------------------------------------------


def _described(x: object) -> str:
    """What a value is, for an error: "Tensor (float32, shape (2, 3))" or "int"."""
    if isinstance(x, Tensor):
        return f"{type(x).__name__} ({x.dtype.name}, shape {tuple(x.shape)})"
    return class_name(x)


def _restored(p: Tensor, value: Any, key: object = None) -> Any:
    """A copy of a saved value that fits the parameter ``p``.

    Tensors and arrays of any library become Tensors of ``p``'s dtype and device; dicts, lists and tuples are
    walked; ``step`` becomes a count on the host even where an old file holds a plain number.
    """
    if isinstance(value, Mapping):
        return {k: _restored(p, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_restored(p, v) for v in value])
    if isinstance(value, Tensor):
        raw = value._data
    elif is_array(value):
        raw = value
    # Recognised by its ``detach``, so that torch need not be imported.
    elif hasattr(value, "detach"):  # a torch tensor, perhaps on a GPU or part of a graph
        raw = np.asarray(value.detach().cpu())
    elif key in _HOST_SCALARS:
        return wrap(np.array(value, np.float32))
    else:
        return value
    if key in _HOST_SCALARS:
        return wrap(np.array(to_numpy(raw)))
    moved = to_device(raw, array_device(p._data))
    dtype = p._data.dtype if p._data.dtype.kind == "f" else raw.dtype
    return wrap(array_module(moved).array(moved, dtype=dtype))


# Parts of a step that several optimisers share ------------------------------------------------------------------


def penalised(g: Array, p: Array, maximize: bool, decay: Any, out: Array, scratch: Array) -> Array:
    """The gradient of what is descended: ``g``, negated to maximise, plus ``decay * p``, that of the L2 penalty."""
    if maximize:
        g = np.negative(g, out=out)
    return np.add(g, np.multiply(p, decay, out=scratch), out=out) if enabled(decay) else g


def lerp_(average: Array, new: Array, weight: Any, scratch: Array) -> None:
    """``average += weight * (new - average)`` in place, from the nearer end.

    Starting from ``new`` when weight >= 1/2 makes weight 1 give ``new`` exactly.
    """
    np.subtract(new, average, out=scratch)
    # A weight on the GPU is not compared, since reading it would wait for the device.
    if isinstance(weight, (int, float)) and weight >= 0.5:
        np.multiply(scratch, 1 - weight, out=scratch)
        np.subtract(new, scratch, out=average)
    else:
        np.multiply(scratch, weight, out=scratch)
        np.add(average, scratch, out=average)


def average_square_(average: Array, new: Array, kept: Any, scratch: Array) -> None:
    """``average = kept * average + (1 - kept) * new**2`` in place."""
    np.multiply(average, kept, out=average)
    np.multiply(new, 1 - kept, out=scratch)
    np.multiply(scratch, new, out=scratch)
    np.add(average, scratch, out=average)
