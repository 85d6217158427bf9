"""Modules: what they hold, walks over it, modes and conversion, as PyTorch has them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.nn.models import net
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, DtypeError, GraphError
from tinygrad_rnn.nn.module.module import RegistrationError

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
    assert next(iter(model.modules())) is model


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
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {tg.float64}  # type: ignore[union-attr]
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
