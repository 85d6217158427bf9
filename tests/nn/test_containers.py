"""Containers: chains, lists and dictionaries of modules and of parameters."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentError, ArgumentTypeError, IndexOutOfRange


def acts(*names: str) -> list[Any]:
    return [getattr(nn, name)() for name in names]


def kinds(modules: Any) -> list[str]:
    return [type(module).__name__ for module in modules]


@pytest.mark.parametrize("make", [lambda m: nn.Sequential(*m), nn.ModuleList])
def test_numbered_containers_index_slice_insert_and_delete_as_lists_do(make: Any) -> None:
    c = make(acts("Tanh", "ReLU", "SELU"))
    assert len(c) == 3 and kinds(c) == ["Tanh", "ReLU", "SELU"]
    assert c[-1] is c[2] and kinds(c[:2]) == ["Tanh", "ReLU"] and type(c[:2]) is type(c)
    c.append(nn.ELU())
    c.insert(1, nn.GELU())
    c.insert(-1, nn.SiLU())
    assert kinds(c) == ["Tanh", "GELU", "ReLU", "SELU", "SiLU", "ELU"]
    c[0] = nn.Mish()
    del c[1], c[-1]
    assert kinds(c) == ["Mish", "ReLU", "SELU", "SiLU"]
    assert list(c._modules) == ["0", "1", "2", "3"]
    assert type(c.pop(1)).__name__ == "ReLU"
    del c[1:]
    assert kinds(c) == ["Mish"]
    c.extend(acts("Tanh", "Tanh"))
    assert len(c) == 3 and "0" in dict(c.named_children())
    for wrong in (lambda: c[3], lambda: c[-4], lambda: c.insert(9, nn.Tanh())):
        with pytest.raises(IndexOutOfRange):
            wrong()
    with pytest.raises(ArgumentTypeError):
        c.append(3)
    with pytest.raises(ArgumentTypeError, match="should be called with an iterable"):
        c.extend(3)
    with pytest.raises(ArgumentTypeError, match="module should be of type"):
        c.insert(0, 3)


def test_a_chain_applies_its_modules_in_order_and_can_be_named() -> None:
    chain = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), then=nn.Tanh()))
    x = tg.ones(1, 2)
    assert (chain(x)._data == chain.then(chain.first(x))._data).all()
    assert list(chain.state_dict()) == ["first.weight", "first.bias"]
    assert list(chain[1:]._modules) == ["then"]
    assert nn.Sequential()(7) == 7


def test_chains_are_joined_and_repeated() -> None:
    a, b = nn.Sequential(*acts("Tanh")), nn.Sequential(*acts("ReLU", "SELU"))
    assert kinds(a + b) == ["Tanh", "ReLU", "SELU"]
    assert kinds(b * 2) == kinds(2 * b) == ["ReLU", "SELU", "ReLU", "SELU"]
    a += b
    b *= 2
    assert kinds(a) == ["Tanh", "ReLU", "SELU"] and kinds(b) == ["ReLU", "SELU", "ReLU", "SELU"]
    for wrong, error in (
        (lambda: a + 3, ArgumentError),
        (lambda: a * "x", ArgumentTypeError),
        (lambda: a * 0, ArgumentError),
    ):
        with pytest.raises(error):
            wrong()


def test_lists_join_and_have_no_forward() -> None:
    c = nn.ModuleList(acts("Tanh")) + acts("ReLU")
    c += acts("SELU")
    assert kinds(c) == ["Tanh", "ReLU", "SELU"] and type(c) is nn.ModuleList
    with pytest.raises(NotImplementedError):
        c(1)


def test_module_dicts_behave_as_dicts() -> None:
    d = nn.ModuleDict([("a", nn.Tanh()), ("b", nn.ReLU())])
    d.update({"c": nn.SELU()})
    d.update(nn.ModuleDict({"a": nn.GELU()}))
    assert list(d) == list(d.keys()) == ["a", "b", "c"] and kinds(d.values()) == ["GELU", "ReLU", "SELU"]
    assert "a" in d and len(d) == 3 and dict(d.items())["b"] is d["b"]
    assert type(d.pop("b")).__name__ == "ReLU"
    del d["a"]
    d.clear()
    assert not len(d)
    for wrong, error in (
        (lambda: nn.ModuleDict(3), ArgumentTypeError),
        (lambda: nn.ModuleDict([3]), ArgumentTypeError),
        (lambda: nn.ModuleDict([("a", 1, 2)]), ArgumentError),
        (lambda: nn.ModuleDict({"a": 3}), ArgumentTypeError),
        (lambda: nn.ModuleDict({"keys": nn.Tanh()}), KeyError),
    ):
        with pytest.raises(error):
            wrong()


def test_parameter_lists_hold_parameters_under_numbers() -> None:
    c = nn.ParameterList([tg.ones(1), nn.Parameter(tg.ones(2)), "text"])
    assert len(c) == 3 and isinstance(c[0], nn.Parameter) and c[2] == "text"
    assert [name for name, _ in c.named_parameters()] == ["0", "1"]
    c += [tg.ones(3)]
    c[0] = tg.zeros(4)
    assert [tuple(p.shape) for p in c.parameters()] == [(4,), (2,), (3,)]
    assert len(c[:2]) == 2 and c[-1].shape == (3,)
    with pytest.raises(IndexOutOfRange):
        c[4]
    with pytest.raises(ArgumentTypeError):
        c.extend(tg.ones(3))
    with pytest.raises(NotImplementedError):
        c()


def test_parameter_dicts_hold_parameters_under_names() -> None:
    d = nn.ParameterDict({"a": tg.ones(1)})
    d["b"] = tg.ones(2)
    d.update([("c", "text")])
    assert [name for name, _ in d.named_parameters()] == ["a", "b"]
    assert list(d) == ["a", "b", "c"] and list(reversed(d)) == ["c", "b", "a"] and "a" in d and len(d) == 3
    assert d.get("z", 5) == 5 and d.setdefault("a") is d["a"] and d.setdefault("e", 1) == 1
    assert d.pop("e") == 1 and d.popitem() == ("c", "text")
    assert [key for key, _ in d.items()] == list(d.keys()) and len(list(d.values())) == 2
    both = d | nn.ParameterDict({"z": tg.ones(1)})
    d |= {"q": tg.ones(1)}
    assert list(both) == ["a", "b", "z"] and list(d) == ["a", "b", "q"]
    del d["q"]
    assert d.copy()["a"] is d["a"]
    d.clear()
    assert not len(d)
    for wrong, error in (
        (lambda: d["a"], KeyError),
        (lambda: d.update({3: 1}), ArgumentTypeError),
        (lambda: d(1), NotImplementedError),
    ):
        with pytest.raises(error):
            wrong()


@pytest.mark.parametrize("kind", ["ParameterList", "ParameterDict"])
def test_parameter_containers_print_as_in_pytorch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    made = []
    for lib in (tg, torch):
        values = [lib.nn.Parameter(lib.ones(2, 3)), lib.nn.Parameter(lib.ones(1)), "text"]
        made.append(getattr(lib.nn, kind)(values if kind == "ParameterList" else dict(zip("abc", values, strict=True))))
    ours, theirs = (repr(container) for container in made)
    assert ours == theirs


# what PyTorch 2.13 gives ---------------------------------------------------------------------------------------------


def chain(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*[nn.Linear(size, size) for size in sizes])


def shown(modules: Any) -> list[Any]:
    return [getattr(m, "in_features", type(m).__name__) for m in modules]


KINDS: dict[str, Any] = {
    "Sequential": lambda: chain(1, 2, 3),
    "ModuleList": lambda: nn.ModuleList(chain(1, 2, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_modules_change_as_lists_do(kind: str) -> None:
    make = KINDS[kind]
    for index, expected in (
        (-3, ["Tanh", 1, 2, 3]),
        (-1, [1, 2, "Tanh", 3]),
        (0, ["Tanh", 1, 2, 3]),
        (1, [1, "Tanh", 2, 3]),
        (3, [1, 2, 3, "Tanh"]),
    ):
        m = make()
        assert m.insert(index, nn.Tanh()) is m and shown(m) == expected and list(m._modules) == list("0123")
    for more in (chain(7, 8), [nn.Linear(7, 7), nn.Linear(8, 8)], (nn.Linear(k, k) for k in (7, 8))):
        m = make()
        assert m.extend(more) is m and shown(m) == [1, 2, 3, 7, 8]
    m = make()
    assert shown(m + chain(7)) == [1, 2, 3, 7] and shown(m) == [1, 2, 3] and type(m + chain(7)) is type(m)
    before = m
    m += chain(7)
    assert m is before and shown(m) == [1, 2, 3, 7]
    assert shown(m.extend(m)) == [1, 2, 3, 7] * 2  # PyTorch: dictionary changed size during iteration
    for index, left, taken in ((0, [2, 3], 1), (-1, [1, 2], 3), (slice(0, 2), [3], [1, 2])):
        m = make()
        found = m.pop(index)
        assert shown(m) == left and (shown(found) if isinstance(index, slice) else found.in_features) == taken
        m = make()
        del m[index]
        assert shown(m) == left and list(m._modules) == [str(k) for k in range(len(left))]
    m = make()
    assert shown(m[::-1]) == [3, 2, 1] and type(m[1:]) is type(m) and shown(m[5:]) == []
    assert list(m[1:]._modules) == (["1", "2"] if kind == "Sequential" else ["0", "1"])
    for index in (3, -4):
        for call in (m.__getitem__, m.__delitem__, m.pop, lambda k: m.__setitem__(k, nn.Tanh())):
            with pytest.raises(IndexError, match="out of range"):
                call(index)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [3, None, "x", nn.Tanh, len], ids=["number", "None", "text", "class", "function"])
def test_wrong_members_are_refused(kind: str, wrong: Any) -> None:
    m = KINDS[kind]()
    for error in (AssertionError, TypeError):
        with pytest.raises(error, match="module should be of type"):
            m.insert(0, wrong)
    if wrong is not None:  # which reserves a name
        for call in (lambda: m.append(wrong), lambda: m.extend([wrong]), lambda: m.__setitem__(0, wrong)):
            with pytest.raises(TypeError):
                call()
    assert shown(m) == [1, 2, 3]


def test_a_chain_is_repeated_by_a_positive_number_and_added_to_chains_alone() -> None:
    m = chain(1, 2)
    assert shown(m * 2) == shown(2 * m) == [1, 2, 1, 2] and (m * 2)[0] is (m * 2)[2]
    same = m
    same *= 2
    assert same is m and shown(m) == [1, 2, 1, 2]
    for times in (0, -1):
        with pytest.raises(ValueError, match=f"Non-positive multiplication factor {times}"):
            m * times
    for other in (1.5, "a"):
        with pytest.raises(TypeError, match="unsupported operand"):
            m * other  # type: ignore[operator]
    for more in ([nn.Tanh()], (nn.Tanh(),), nn.ModuleList([nn.Tanh()])):
        with pytest.raises(ValueError, match="add operator supports only objects of Sequential class"):
            m + more  # type: ignore[operator]
        with pytest.raises(ValueError, match="add operator supports only objects of Sequential class"):
            m += more  # type: ignore[arg-type]
    for index in (-5, 5):
        with pytest.raises(IndexError, match=f"Index out of range: {index}"):
            m.insert(index, nn.Tanh())


def test_a_chain_with_names_keeps_them_where_a_module_is_added_last() -> None:
    m = nn.Sequential(OrderedDict(a=nn.Tanh(), b=nn.ReLU()))
    m.insert(2, nn.Tanh())
    assert list(m._modules) == ["a", "b", "2"]
    with pytest.raises(TypeError, match="module name should be a string. Got int"):
        nn.Sequential(OrderedDict({1: nn.Tanh()}))


def test_parameters_of_a_plain_dictionary_are_in_the_order_of_their_names() -> None:
    values = {"b": tg.ones(1), "a": tg.ones(2)}
    m = nn.ParameterDict(values)
    assert list(m) == [name for name, _ in m.named_parameters()] == ["a", "b"]
    assert list(nn.ParameterDict(OrderedDict(values))) == list(nn.ParameterDict(values.items())) == ["b", "a"]
    assert list(m | {"c": 1}) == ["a", "b", "c"] and list({"c": 1} | m) == ["c", "a", "b"]
    assert list(m.fromkeys(["x", "y"], 3).items()) == [("x", 3), ("y", 3)]
    for call in (lambda: m[0], lambda: m.pop(0), lambda: m.__setitem__(0, 1)):  # type: ignore[index, arg-type]
        with pytest.raises(TypeError, match="cannot be used as a key as it is not a string"):
            call()
