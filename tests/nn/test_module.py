"""Modules: attributes, walks, states, hooks, modes and printing, as PyTorch has them."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, CheckpointError, DtypeError, GraphError
from tinygrad_rnn.nn.tree import RegistrationError


def net(lib: Any) -> Any:
    """The same model of PyTorch or of this package: tied weights, a buffer, modules in modules."""

    class Net(lib.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = lib.nn.Embedding(5, 4)
            self.body = lib.nn.Sequential(lib.nn.Linear(4, 4), lib.nn.Dropout(0.5), lib.nn.Tanh())
            self.head = lib.nn.Linear(4, 5, bias=False)
            self.head.weight = self.embed.weight
            self.scale = lib.nn.Parameter(lib.ones(1))
            self.register_buffer("seen", lib.zeros(2))
            self.register_buffer("scratch", lib.zeros(3), persistent=False)
            self.register_parameter("nothing", None)
            self.plain = "text"

        def forward(self, i: Any) -> Any:
            return self.head(self.body(self.embed(i))) * self.scale

    return Net()


# walks ------------------------------------------------------------------------------------------------------


def test_walks_give_names_in_order_of_registration_and_tied_parameters_once() -> None:
    model = net(tg)
    names = ["scale", "embed.weight", "body.0.weight", "body.0.bias"]
    assert [name for name, _ in model.named_parameters()] == names
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    twice = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert twice == [*names, "head.weight"]
    assert [name for name, _ in model.named_parameters(prefix="m", recurse=False)] == ["m.scale"]
    assert [name for name, _ in model.named_buffers()] == ["seen", "scratch"]
    assert [name for name, _ in model.named_children()] == ["embed", "body", "head"]
    modules = ["", "embed", "body", "body.0", "body.1", "body.2", "head"]
    assert [name for name, _ in model.named_modules()] == modules
    assert list(model.modules())[0] is model


def test_a_module_used_twice_is_walked_once() -> None:
    layer = nn.Linear(2, 2)
    chain = nn.Sequential(layer, layer)
    assert len(list(chain.modules())) == 2
    assert len(list(chain.parameters())) == 2
    assert [name for name, _ in chain.named_modules(remove_duplicate=False)] == ["", "0", "1"]
    assert len(list(chain.children())) == 1


def test_dotted_names_find_modules_parameters_and_buffers() -> None:
    model = net(tg)
    assert model.get_submodule("body.0") is model.body[0]
    assert model.get_submodule("") is model
    assert model.get_parameter("body.0.bias") is model.body[0].bias
    assert model.get_buffer("seen") is model.seen
    for find in (
        lambda: model.get_submodule("body.9"),
        lambda: model.get_submodule("scale"),
        lambda: model.get_parameter("plain"),
        lambda: model.get_parameter("nobody"),
        lambda: model.get_buffer("scale"),
    ):
        with pytest.raises(AttributeError):
            find()


# attributes -------------------------------------------------------------------------------------------------


def test_a_misspelt_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        _ = nn.Linear(1, 1).wieght
    assert not hasattr(nn.Linear(1, 1), "wieght")


def test_attributes_go_where_their_kind_belongs_and_leave_where_they_were() -> None:
    m = nn.Module()
    m.x = 3
    assert m.x == 3 and not list(m.parameters())
    m.x = nn.Parameter(tg.ones(1))
    assert "x" in m._parameters and "x" not in m.__dict__
    m.x = None
    assert m._parameters == {"x": None} and m.x is None
    del m.x
    m.x = nn.Linear(1, 1)
    assert list(m._modules) == ["x"]
    m.x = nn.Parameter(tg.ones(1))
    assert list(m._parameters) == ["x"] and not m._modules
    m.register_buffer("b", tg.zeros(1))
    m.b = tg.ones(1)
    assert m.state_dict()["b"].item() == 1
    m.b = None
    assert "b" not in m.state_dict()
    del m.b
    with pytest.raises(AttributeError):
        del m.nothing_of_that_name


def test_what_cannot_be_an_attribute_is_refused_in_pytorchs_words() -> None:
    layer = nn.Linear(2, 2)
    layer.inner = nn.Tanh()
    layer.register_buffer("b", tg.zeros(1))
    w = nn.Parameter(tg.ones(1))

    class Early(nn.Module):
        def __init__(self, value: Any) -> None:
            self.value = value

    for action, error, words in (
        (lambda: setattr(layer, "weight", tg.ones(2, 2)), ArgumentTypeError,
         "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None expected)"),
        (lambda: setattr(layer, "weight", nn.Tanh()), ArgumentTypeError, "as parameter 'weight'"),
        (lambda: setattr(layer, "inner", 3), ArgumentTypeError,
         "cannot assign 'int' as child module 'inner' (torch.nn.Module or None expected)"),
        (lambda: setattr(layer, "b", 3), ArgumentTypeError, "cannot assign 'int' as buffer 'b'"),
        (lambda: layer.register_buffer("b2", 3), ArgumentTypeError, "object to buffer 'b2' (torch Tensor or None"),
        (lambda: layer.register_buffer("weight", tg.ones(1)), RegistrationError, "attribute 'weight' already exists"),
        (lambda: layer.register_buffer("a.b", tg.ones(1)), RegistrationError, 'buffer name can\'t contain "."'),
        (lambda: layer.register_buffer("", tg.ones(1)), RegistrationError, "buffer name can't be empty"),
        (lambda: layer.register_buffer(3, tg.ones(1)), ArgumentTypeError, "buffer name should be a string. Got int"),
        (lambda: layer.register_parameter("p", tg.ones(1)), ArgumentTypeError, "cannot assign 'torch.FloatTensor' obj"),
        (lambda: layer.register_parameter("b", w), RegistrationError, "attribute 'b' already exists"),
        (lambda: layer.add_module("x", 3), ArgumentTypeError, "int is not a Module subclass"),
        (lambda: layer.add_module("a.b", nn.Tanh()), RegistrationError, 'module name can\'t contain ".", got: a.b'),
        (lambda: Early(w), AttributeError, "cannot assign parameters before Module.__init__() call"),
        (lambda: Early(nn.Tanh()), AttributeError, "cannot assign module before Module.__init__() call"),
        (lambda: nn.Module().train("yes"), ArgumentTypeError, "training mode is expected to be boolean"),
        (lambda: nn.Module()(1), NotImplementedError, 'Module [Module] is missing the required "forward" function'),
        (lambda: nn.Parameter([1.0]), ArgumentTypeError, "must be a Tensor, not list"),
        (lambda: nn.Parameter(tg.tensor([1])), DtypeError, "floating point dtype can require gradients"),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            action()
        assert words in str(caught.value)
    assert isinstance(RegistrationError("x"), KeyError)


def test_a_parameter_that_was_computed_is_refused() -> None:
    w = nn.Parameter(tg.ones(1))
    w._node = (w * 2)._node
    with pytest.raises(ArgumentError, match="Cannot assign non-leaf Tensor to parameter 'w'"):
        nn.Module().register_parameter("w", w)


def test_a_parameter_shares_memory_and_writes_are_seen_by_both() -> None:
    t = tg.ones(2)
    w = nn.Parameter(t)
    w.data[0] = 5.0
    assert t.tolist() == [5.0, 1.0]
    assert t._version == w._version > 0
    assert nn.Parameter().shape == (0,)
    assert not nn.Parameter(t, requires_grad=False).requires_grad
    assert repr(nn.Parameter(tg.ones(1))) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_deep_copies_are_independent_and_keep_ties() -> None:
    model = net(tg)
    model.scale.grad = tg.ones(1)
    twin = copy.deepcopy(model)
    assert twin.head.weight is twin.embed.weight is not model.embed.weight
    assert twin.scale.grad is None
    twin.scale.data[0] = 9.0
    assert model.scale.item() == 1
    assert twin.load_state_dict(model.state_dict()) == ([], [])


# states -----------------------------------------------------------------------------------------------------


def test_state_dict_has_pytorchs_keys_in_its_order_and_shares_memory() -> None:
    model = net(tg)
    state = model.state_dict()
    assert list(state) == ["scale", "seen", "embed.weight", "body.0.weight", "body.0.bias", "head.weight"]
    assert isinstance(state, OrderedDict)
    assert not any(value.requires_grad for value in state.values())
    state["scale"][0] = 7.0
    assert model.scale.item() == 7
    assert model.state_dict(keep_vars=True)["scale"] is model.scale
    assert list(model.body.state_dict(prefix="p.")) == ["p.0.weight", "p.0.bias"]
    given: dict[str, Any] = {"first": 1}
    assert model.head.state_dict(destination=given) is given and list(given) == ["first", "weight"]


def test_states_go_both_ways_between_pytorch_and_here() -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = net(torch), net(tg)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.eval(), ours.eval()
    numbers = np.array([[0, 4, 2]])
    out = ours(tg.tensor(numbers))
    np.testing.assert_allclose(out.detach().numpy(), theirs(torch.tensor(numbers)).detach().numpy(), rtol=1e-5)
    with tg.no_grad():
        ours.scale.data[0] = 3.0
    theirs.load_state_dict({key: torch.from_numpy(value.numpy()) for key, value in ours.state_dict().items()})
    assert theirs.scale.item() == 3


def test_loading_copies_values_and_tells_versions() -> None:
    a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    weight, before = b.weight, b.weight._version
    assert repr(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    assert b.weight is weight and (b.weight._data == a.weight._data).all()
    assert b.weight._data is not a.weight._data and b.weight._version > before
    b.double().load_state_dict({"weight": np.zeros((3, 2), "float32"), "bias": tg.ones(3)})
    assert b.weight.dtype == np.float64 and b.bias.tolist() == [1.0, 1.0, 1.0]
    nn.LayerNorm(1).load_state_dict({"weight": tg.ones(1), "bias": tg.ones(1)})


MISFITS = {
    "missing": lambda s: s.pop("scale"),
    "unexpected": lambda s: s.update({"body.0.gain": s["scale"], "other.x": s["scale"], "y": s["scale"]}),
    "both": lambda s: (s.pop("scale"), s.pop("head.weight"), s.update({"z": s["seen"]})),
    "shape": lambda s: s.update({"seen": s["scale"], "body.0.weight": s["scale"]}),
    "kind": lambda s: s.update({"seen": "text"}),
    "all": lambda s: (s.pop("scale"), s.update({"seen": s["head.weight"], "z": s["seen"]})),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfits_are_all_listed_in_pytorchs_words(misfit: str) -> None:
    model = net(tg)
    state = model.state_dict()
    MISFITS[misfit](state)
    with pytest.raises(CheckpointError) as caught:
        model.load_state_dict(state)
    assert isinstance(caught.value, RuntimeError)
    keys = model.load_state_dict(state, strict=False) if misfit in ("missing", "unexpected", "both") else None
    torch = pytest.importorskip("torch")
    theirs = net(torch)
    other = theirs.state_dict()
    MISFITS[misfit](other)
    with pytest.raises(RuntimeError) as expected:
        theirs.load_state_dict(other)
    assert str(caught.value) == str(expected.value)
    if keys is not None:
        assert tuple(keys) == tuple(theirs.load_state_dict(other, strict=False))


def test_a_state_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="Expected state_dict to be dict-like"):
        nn.Linear(1, 1).load_state_dict([1])  # type: ignore[arg-type]


def test_assign_takes_the_tensors_themselves() -> None:
    layer = nn.Linear(2, 1)
    given = {"weight": tg.zeros(1, 2, dtype="float64"), "bias": tg.zeros(1)}
    layer.load_state_dict(given, assign=True)
    assert layer.weight._data is given["weight"]._data
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.requires_grad


def test_extra_state_and_hooks_take_part() -> None:
    class Counter(nn.Module):
        count = 3

        def get_extra_state(self) -> Any:
            return {"count": self.count}

        def set_extra_state(self, state: Any) -> None:
            self.count = state["count"]

    a, b = Counter(), Counter()
    a.count = 8
    events: list[str] = []
    a.register_state_dict_pre_hook(lambda module, prefix, keep_vars: events.append("before"))
    a.register_state_dict_post_hook(lambda module, state, prefix, local: state.update(more=1))
    state = a.state_dict()
    assert list(state) == ["_extra_state", "more"] and events == ["before"]
    b.register_load_state_dict_pre_hook(lambda module, state, *rest: state.pop("more"))
    b.register_load_state_dict_post_hook(lambda module, keys: events.append(f"after {len(keys.missing_keys)}"))
    b.load_state_dict(state)
    assert b.count == 8 and events[-1] == "after 0"
    with pytest.raises(CheckpointError, match="_extra_state"):
        b.load_state_dict({"more": 1})
    with pytest.raises(CheckpointError, match="Unexpected"):
        nn.Module().load_state_dict({"_extra_state": 1})


# modes, conversion ------------------------------------------------------------------------------------------


def test_train_and_eval_reach_all_modules() -> None:
    model = net(tg)
    assert model.training and model.eval() is model
    assert not any(module.training for module in model.modules())
    model.body.train()
    assert model.body[1].training and not model.training


def test_zero_grad_forgets_or_clears_and_requires_grad_freezes() -> None:
    model = net(tg)
    model(tg.tensor([1, 2])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad._data.any() for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(tg.tensor([1])).requires_grad


def test_to_converts_floats_in_place_with_their_gradients_and_keeps_identity() -> None:
    model = net(tg)
    model.register_buffer("steps", tg.tensor([3]))
    parameters = list(model.parameters())
    model(tg.tensor([1, 2])).sum().backward()
    assert model.double() is model
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    assert {str(p.dtype) for p in parameters} == {str(p.grad.dtype) for p in parameters} == {"float64"}  # type: ignore[union-attr]
    assert model.steps.dtype == np.int64 and model.seen.dtype == np.float64
    assert model.head.weight is model.embed.weight
    model(tg.tensor([1])).sum().backward()
    assert model.to(tg.zeros(1)).scale.dtype == np.float32
    assert model.to("cpu", "float64").to(device="cpu", dtype=np.float32).half().float().scale.dtype == np.float32
    assert model.type("float64").steps.dtype == np.float64
    assert model.cpu() is model
    with pytest.raises(ArgumentTypeError, match="only accepts floating point or complex dtypes"):
        model.to(np.int64)


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    net(tg).apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Embedding", "Linear", "Dropout", "Tanh", "Sequential", "Linear", "Net"]


# hooks ------------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    def forward(self, x: Any, plus: Any = 0) -> Any:
        return x * 2 + plus


def test_hooks_run_in_order_may_replace_and_can_be_removed() -> None:
    m = Twice()
    first = m.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    m.register_forward_pre_hook(lambda module, args: args[0] * 10, prepend=True)
    m.register_forward_hook(lambda module, args, out: out + 0.5)
    seen: list[Any] = []
    last = m.register_forward_hook(lambda module, args, out: seen.append((args, out)))
    assert m(1) == 22.5
    assert seen == [((11,), 22.5)]
    first.remove(), first.remove(), last.remove()
    assert m(1) == 20.5 and len(seen) == 1


def test_hooks_with_keywords_see_and_replace_them() -> None:
    m = Twice()
    m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"plus": kwargs["plus"] + 1}), with_kwargs=True)
    m.register_forward_hook(lambda module, args, kwargs, out: (out, kwargs["plus"]), with_kwargs=True)
    assert m(1, plus=5) == (8, 6)
    m.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        m(1, plus=5)


def test_a_hook_that_is_always_called_runs_after_an_error() -> None:
    m = Twice()
    seen: list[Any] = []
    m.register_forward_hook(lambda module, args, out: seen.append(out), always_call=True)
    m.register_forward_hook(lambda module, args, out: seen.append("not reached"))
    with pytest.raises(TypeError):
        m(None)
    assert seen == [None]
    m.register_forward_hook(lambda module, args, out: 1 / 0, always_call=True)
    with pytest.raises(TypeError), pytest.warns(UserWarning, match="always_call=True"):
        m(None)


def test_a_hook_used_as_a_context_is_gone_after_it() -> None:
    m = Twice()
    with m.register_forward_hook(lambda module, args, out: 0):
        assert m(1) == 0
    assert m(1) == 2


def test_modules_leave_no_cycles_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        model = net(tg)
        model(tg.tensor([1, 2])).sum().backward()
        model.register_forward_hook(lambda module, args, out: None)
        watch = [weakref.ref(model), weakref.ref(model.body[0]), weakref.ref(model.scale)]
        del model
        assert [w() for w in watch] == [None] * 3
    finally:
        gc.enable()


# printing ---------------------------------------------------------------------------------------------------

PRINTED = {
    "net": net,
    "linear": lambda lib: lib.nn.Linear(2, 3, bias=False),
    "bilinear": lambda lib: lib.nn.Bilinear(2, 3, 4),
    "nested": lambda lib: lib.nn.Sequential(lib.nn.Sequential(lib.nn.Linear(1, 1)), lib.nn.Sequential(), lib.nn.Tanh()),
    "list": lambda lib: lib.nn.ModuleList([lib.nn.Linear(2, 2) for _ in range(3)] + [lib.nn.Sequential(lib.nn.ReLU())]),
    "empty list": lambda lib: lib.nn.ModuleList(),
    "dict": lambda lib: lib.nn.ModuleDict({"a": lib.nn.ReLU(inplace=True), "b": lib.nn.ModuleDict()}),
    "embedding": lambda lib: lib.nn.Embedding(5, 4, padding_idx=-1, max_norm=2.0, norm_type=1.0, sparse=True),
    "bag": lambda lib: lib.nn.EmbeddingBag(5, 4, mode="sum", padding_idx=1, max_norm=2.0),
    "norm": lambda lib: lib.nn.LayerNorm((2, 3), eps=0.1, bias=False),
    "rms": lambda lib: lib.nn.RMSNorm(3),
    "dropout": lambda lib: lib.nn.Dropout(0.25),
    "flatten": lambda lib: lib.nn.Sequential(lib.nn.Flatten(), lib.nn.Identity(3), lib.nn.Unflatten(1, (2, 3))),
    "losses": lambda lib: lib.nn.ModuleList(
        [lib.nn.CrossEntropyLoss(), lib.nn.MSELoss(), lib.nn.BCEWithLogitsLoss(), lib.nn.KLDivLoss()]
    ),
    "lazy": lambda lib: _quietly(lambda: lib.nn.LazyLinear(3)),
    **{
        name: (lambda lib, name=name, args=args: getattr(lib.nn, name)(*args))
        for name, args in {
            "Tanh": (), "Sigmoid": (), "LogSigmoid": (), "Softsign": (), "Tanhshrink": (), "ReLU": (), "SELU": (True,),
            "SiLU": (True,), "Mish": (), "Hardsigmoid": (True,), "Hardswish": (), "LeakyReLU": (0.2, True), "ELU": (),
            "CELU": (2.0, True), "Hardtanh": (-2.0, 2.0), "ReLU6": (True,), "Threshold": (0.1, 20), "Softplus": (),
            "Hardshrink": (), "Softshrink": (0.3,), "GELU": ("tanh",), "PReLU": (3,), "GLU": (), "Softmax": (1,),
            "LogSoftmax": (), "Softmin": (0,),
        }.items()
    },
}  # fmt: skip


def _quietly(make: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


@pytest.mark.parametrize("name", PRINTED)
def test_modules_print_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert repr(PRINTED[name](tg)) == repr(PRINTED[name](torch))


def test_a_lines_of_extra_representation_stand_before_the_modules() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Tanh()

        def extra_repr(self) -> str:
            return "a=1\nb=2"

    assert repr(Two()) == "Two(\n  a=1\n  b=2\n  (inner): Tanh()\n)"


def test_dir_lists_what_a_module_holds() -> None:
    assert {"scale", "embed", "seen", "forward", "plain"} <= set(dir(net(tg)))
    assert "0" not in dir(nn.Sequential(nn.Tanh()))


# lazy -------------------------------------------------------------------------------------------------------


def test_a_lazy_layer_settles_at_the_first_input_and_draws_what_linear_draws() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3), nn.Tanh())
    assert nn.parameter.is_lazy(lazy[0].weight)
    with pytest.raises(GraphError, match="Can't access the shape of an uninitialized parameter"):
        _ = lazy[0].weight.shape
    weight = lazy[0].weight
    tg.manual_seed(4)
    lazy(tg.zeros(5, 2))
    tg.manual_seed(4)
    plain = nn.Linear(2, 3)
    assert type(lazy[0]) is nn.Linear and lazy[0].weight is weight and type(weight) is nn.Parameter
    assert weight.requires_grad and (weight._data == plain.weight._data).all()
    assert (lazy[0].bias._data == plain.bias._data).all()


def test_a_lazy_layer_settles_when_a_state_is_loaded() -> None:
    lazy, plain = nn.LazyLinear(3), nn.Linear(2, 3)
    lazy.load_state_dict(plain.state_dict())
    x = tg.ones(1, 2)
    assert (lazy(x)._data == plain(x)._data).all()
    assert repr(lazy) == repr(plain)
    assert repr(copy.deepcopy(nn.LazyLinear(3)).weight) == "<UninitializedParameter>"


# backward hooks ----------------------------------------------------------------------------------------------


def hooked(lib: Any) -> list[Any]:
    """What hooks see, and the gradients that are left after they replaced some."""

    class Two(lib.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, y: Any, k: int) -> Any:
            return x * y, x + k

    seen: list[Any] = []

    def plain(grads: Any) -> Any:
        return tuple(None if g is None else g.tolist() for g in grads)

    m = Two()
    m.register_full_backward_pre_hook(lambda module, after: seen.append(("pre", plain(after))))
    m.register_full_backward_pre_hook(lambda module, after: (after[0] * 2, after[1]))
    m.register_full_backward_hook(lambda module, before, after: seen.append((plain(before), plain(after))))
    last = m.register_full_backward_hook(lambda module, before, after: (before[0] * 10, before[1], None))
    x, y = lib.tensor([1.0, 2.0], requires_grad=True), lib.tensor([3.0, 4.0], requires_grad=True)
    for _ in range(2):
        a, b = m(x, y, 5)
        (a.sum() + 7 * b.sum()).backward()
        seen.append((x.grad.tolist(), y.grad.tolist()))
        last.remove()
    (grad,) = lib.autograd.grad(m(x, y, 1)[0].sum(), x, create_graph=True)
    grad.sum().backward()
    seen.append(y.grad.tolist())
    layer = lib.nn.Linear(2, 1)
    lib.nn.init.ones_(layer.weight)
    lib.nn.init.zeros_(layer.bias)
    layer.register_full_backward_hook(lambda module, before, after: seen.append(("layer", plain(before), plain(after))))
    layer(lib.zeros(1, 2)).sum().backward()
    chain = lib.nn.Sequential(layer, lib.nn.Tanh())
    x.grad = None
    chain(x[None] * 0).sum().backward()
    seen.append(x.grad.tolist())
    with lib.no_grad():
        layer(lib.zeros(1, 2))
    return seen


def test_backward_hooks_see_and_replace_what_they_do_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = hooked(tg)
    assert ours == _quietly(lambda: hooked(torch))


def test_a_backward_hook_that_returns_too_many_gradients_is_refused() -> None:
    m = Twice()
    m.register_full_backward_hook(lambda module, before, after: (before[0], before[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        m(tg.ones(1, requires_grad=True)).sum().backward()


def test_backward_hooks_need_tensors_as_outputs() -> None:
    class Named(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"out": x * 2}

    m = Named()
    m.register_full_backward_hook(lambda module, before, after: None)
    with pytest.warns(UserWarning, match="For backward hooks to be called"):
        m(tg.ones(1, requires_grad=True))


def test_a_write_inside_a_module_with_backward_hooks_does_not_reach_its_input() -> None:
    layer = nn.ReLU(inplace=True)
    layer.register_full_backward_hook(lambda module, before, after: None)
    x = tg.tensor([-1.0, 2.0], requires_grad=True)
    layer(x).sum().backward()
    assert x.tolist() == [-1.0, 2.0] and x.grad.tolist() == [0.0, 1.0]  # type: ignore[union-attr]
