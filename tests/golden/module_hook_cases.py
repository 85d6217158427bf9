"""What hooks of modules see and do: modules x hooks x inputs, as programs for either library.

``run(lib, module, hook, inputs)`` gives all that can be observed, as plain data: what the hooks were given (classes,
shapes and sums), the class of the output, the gradients that are left, the class and first sentence of an error.
"""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

Pair = collections.namedtuple("Pair", ["first", "second"])


class Table(dict[str, Any]):
    """A dictionary of a class of its own."""


def described(value: Any, lib: Any) -> Any:
    """A value as plain data: tensors by shape and sum."""
    if isinstance(value, lib.Tensor):
        return [list(value.shape), float(f"{float(value.detach().double().sum()):.4g}") + 0.0]
    if isinstance(value, dict):
        return [type(value).__name__, {key: described(v, lib) for key, v in value.items()}]
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, [described(v, lib) for v in value]]
    return value


def filled(lib: Any, *shape: int, start: float = 0.1, grad: bool = True) -> Any:
    count = 1
    for length in shape:
        count *= length
    values = lib.tensor([start + 0.01 * k for k in range(count)]).reshape(*shape)
    return values.requires_grad_() if grad else values


def modules(lib: Any) -> dict[str, Callable[[], Any]]:
    nn = lib.nn

    def module(forward: Callable[..., Any]) -> Callable[[], Any]:
        def made() -> Any:
            class Made(nn.Module):  # type: ignore[misc]
                def __init__(self) -> None:
                    super().__init__()
                    self.weight = nn.Parameter(filled(lib, 4, start=0.5, grad=False))

                def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
                    x = x[0] if isinstance(x, (tuple, list)) else x["x"] if isinstance(x, dict) else x
                    return forward(x * self.weight, *args, **kwargs)

            return Made()

        return made

    def constant(layer: Any) -> Any:
        with lib.no_grad():
            for k, parameter in enumerate(layer.parameters()):
                parameter.copy_(filled(lib, *parameter.shape, start=0.05 * k, grad=False))
        return layer

    return {
        "one": module(lambda x, *args, **kwargs: x.tanh()),
        "pair": module(lambda x, y=2.0, *args, plus=0.0: (x * y + plus, x.sin())),
        "with None": module(lambda x, *args, **kwargs: (x * 2, None)),
        "with a number": module(lambda x, *args, **kwargs: (3, x * 2, "text")),
        "tuple in a tuple": module(lambda x, *args, **kwargs: (x * 2, (x * 3, x * 5))),
        "only a tuple in a tuple": module(lambda x, *args, **kwargs: ((x * 3,),)),
        "list": module(lambda x, *args, **kwargs: [x * 2, x * 3]),
        "dict": module(lambda x, *args, **kwargs: {"a": x * 2, "b": 7}),
        "class of a dict": module(lambda x, *args, **kwargs: Table(a=x * 2)),
        "named tuple": module(lambda x, *args, **kwargs: Pair(x * 2, x * 3)),
        "named tuple with None": module(lambda x, *args, **kwargs: Pair(None, x * 3)),
        "no gradient": module(lambda x, *args, **kwargs: x.detach() * 2),
        "the input itself": module(lambda x, *args, **kwargs: (x, x)),
        "Linear": lambda: constant(nn.Linear(4, 2)),
        "Tanh": lambda: nn.Tanh(),
        "Sequential": lambda: constant(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))),
        "LSTM": lambda: constant(nn.LSTM(4, 3)),
        "GRU": lambda: constant(nn.GRU(4, 3)),
        "RNN": lambda: constant(nn.RNN(4, 3, bidirectional=True)),
        "LSTMCell": lambda: constant(nn.LSTMCell(4, 3)),
    }


RECURRENT = ("LSTM", "GRU", "RNN")
TENSORS_ALONE = ("Linear", "Tanh", "Sequential", *RECURRENT, "LSTMCell")


def inputs(lib: Any, kind: str, module: str) -> tuple[tuple[Any, ...], dict[str, Any], list[Any]]:
    """Arguments, keywords, and the leaves among them."""
    steps = module in RECURRENT
    x = filled(lib, 3, 2, 4) if steps else filled(lib, 2, 4)
    if kind == "tensor":
        return (x,), {}, [x]
    if kind == "without grad":
        return (x.detach(),), {}, []
    if kind == "two":
        y = filled(lib, 2, 4, start=2.0)
        return (x, y), {}, [x, y]
    if kind == "two, one without grad":
        return (x, filled(lib, 2, 4, start=2.0, grad=False)), {}, [x]
    if kind == "number":
        return (x, 3.0), {}, [x]
    if kind == "keyword":
        plus = filled(lib, 2, 4, start=1.0)
        return (x,), {"plus": plus}, [x, plus]
    if kind == "in a tuple":
        return ((x,),), {}, [x]
    if kind == "in a dict":
        return ({"x": x},), {}, [x]
    if kind == "states":
        h = filled(lib, 2 if module == "RNN" else 1, 2, 3) if steps else filled(lib, 2, 3)
        c = filled(lib, *h.shape, start=0.3)
        return (x, (h, c) if module.startswith("LSTM") else h), {}, [x, h, c]
    assert kind == "packed"
    packed = lib.nn.utils.rnn.pack_padded_sequence(x, [3, 1])
    return (packed,), {}, [x]


def combinations() -> Iterator[tuple[str, str, str]]:
    """All that make sense: a layer takes tensors alone, states and packed sequences go to recurrent ones."""
    names = ["one", "pair", "with None", "with a number", "tuple in a tuple", "only a tuple in a tuple", "list", "dict"]
    names += ["class of a dict", "named tuple", "named tuple with None", "no gradient", "the input itself"]
    kinds = ["tensor", "without grad", "two", "two, one without grad", "number", "keyword", "in a tuple", "in a dict"]
    refused = ("with a number", "named tuple with None")  # by PyTorch's old hooks, with a TypeError
    for module, kind, hook in itertools.product(names, kinds, HOOKS):
        seen = kind in ("tensor", "two") or module in ("one", "pair", "with None")
        if seen and (hook != "old" or module not in refused):
            yield module, hook, kind
    for module, kind, hook in itertools.product(TENSORS_ALONE, ("tensor", "without grad", "states", "packed"), HOOKS):
        states = module in RECURRENT or module == "LSTMCell"
        if hook == "old" and module != "Tanh":
            continue  # shows the last node of a graph, and these have other nodes than PyTorch's
        if (kind != "states" or states) and (kind != "packed" or module in RECURRENT):
            yield module, hook, kind


def _see(seen: list[Any], lib: Any, name: str) -> Callable[..., None]:
    return lambda module, *values: seen.append([name, *[described(v, lib) for v in values]])


def _zeroed(grads: Any) -> Any:
    return tuple(None if g is None else g * 0 for g in grads)


def _observe_all(m: Any, seen: list[Any], lib: Any) -> None:
    m.register_full_backward_hook(_see(seen, lib, "full"))
    m.register_full_backward_pre_hook(_see(seen, lib, "pre"))
    m.register_forward_hook(_see(seen, lib, "after"), with_kwargs=True)
    m.register_forward_pre_hook(_see(seen, lib, "before"), with_kwargs=True)


def _replace(m: Any, seen: list[Any], lib: Any) -> None:
    m.register_full_backward_hook(lambda module, gi, go: _zeroed(gi))
    m.register_full_backward_hook(_see(seen, lib, "full"))


def _replace_after(m: Any, seen: list[Any], lib: Any) -> None:
    def doubled(module: Any, go: Any) -> Any:
        return tuple(None if g is None else g * 2 for g in go)

    m.register_full_backward_pre_hook(doubled)
    m.register_full_backward_pre_hook(_see(seen, lib, "pre"))
    m.register_full_backward_hook(_see(seen, lib, "full"))


def _too_many(m: Any, seen: list[Any], lib: Any) -> None:
    m.register_full_backward_hook(lambda module, gi, go: (*gi, None))


def _another_shape(m: Any, seen: list[Any], lib: Any) -> None:
    m.register_full_backward_hook(lambda module, gi, go: tuple(None if g is None else g[:1] for g in gi))


def _raises(m: Any, seen: list[Any], lib: Any) -> None:
    def hook(module: Any, gi: Any, go: Any) -> None:
        raise LookupError("a hook that raises")

    m.register_full_backward_hook(_see(seen, lib, "full"))
    m.register_full_backward_hook(hook)


def _removed(m: Any, seen: list[Any], lib: Any) -> None:
    """Hooks that take out themselves, or one that would come later."""
    handles: list[Any] = []

    def forward(module: Any, args: Any, out: Any) -> None:
        seen.append("once")
        for handle in handles:
            handle.remove()

    handles.append(m.register_forward_hook(forward))
    handles.append(m.register_forward_hook(_see(seen, lib, "later")))
    handles.append(m.register_full_backward_hook(lambda module, gi, go: handles[-1].remove()))
    handles.append(m.register_full_backward_hook(_see(seen, lib, "full")))


def _everywhere(m: Any, seen: list[Any], lib: Any) -> Any:
    register = lib.nn.modules.module
    m.register_full_backward_hook(_see(seen, lib, "own"))
    m.register_forward_hook(_see(seen, lib, "own after"))
    return [
        register.register_module_full_backward_hook(_see(seen, lib, "all")),
        register.register_module_full_backward_pre_hook(_see(seen, lib, "all pre")),
        register.register_module_forward_hook(_see(seen, lib, "all after")),
        register.register_module_forward_pre_hook(_see(seen, lib, "all before")),
    ]


def _old(m: Any, seen: list[Any], lib: Any) -> None:
    m.register_backward_hook(lambda module, gi, go: seen.append(["old", described(go, lib)]))


HOOKS: dict[str, Callable[[Any, list[Any], Any], Any]] = {
    "observe": _observe_all,
    "replace": _replace,
    "replace after": _replace_after,
    "too many": _too_many,
    "another shape": _another_shape,
    "raises": _raises,
    "removed": _removed,
    "everywhere": _everywhere,
    "old": _old,
}


def _tensors(value: Any, lib: Any) -> Iterator[Any]:
    if isinstance(value, lib.Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _tensors(member, lib)


def run(lib: Any, module: str, hook: str, kind: str) -> Any:
    """The module called twice with the hooks on it, each output pulled back; all that can be observed."""
    seen: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m = modules(lib)[module]()
        args, kwargs, leaves = inputs(lib, kind, module)
        handles = HOOKS[hook](m, seen, lib) or []
        try:
            for times in (1, 10):
                out = m(*args, **kwargs)
                seen.append(type(out).__name__)
                parts = [t for t in _tensors(out, lib) if t.requires_grad]
                for k, t in enumerate(parts[:1] if hook == "everywhere" else parts):
                    (t * (times + k)).sum().backward(retain_graph=True)
                    seen.append([described(leaf.grad, lib) for leaf in leaves])
            if hook in ("observe", "replace after") and parts and leaves:
                (g,) = lib.autograd.grad(parts[0].sum(), leaves[0], create_graph=True, allow_unused=True)
                if g is not None and g.requires_grad:
                    (g * g).sum().backward()
        except Exception as error:
            kinds = [c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"]
            seen.append([kinds[0], str(error).split(":")[0].split("'")[0]])
            return seen  # which gradients are there by now depends on the order in which the nodes are swept
        finally:
            for handle in handles:
                handle.remove()
        seen.append([described(leaf.grad, lib) for leaf in leaves])
        seen.append([described(p.grad, lib) for p in m.parameters()])
    return seen
