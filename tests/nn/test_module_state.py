"""States of modules: keys, order, sharing, loading, and the words for what does not fit."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.nn.models import net
from tinygrad_rnn import nn
from tinygrad_rnn.errors import ArgumentTypeError, CheckpointError


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
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs, ours = net(torch), net(tg)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    theirs.eval(), ours.eval()
    numbers = np.array([[0, 4, 2]])
    out = ours(tg.tensor(numbers))
    expected = theirs(torch.tensor(numbers)).detach().numpy()
    np.testing.assert_allclose(out.detach().numpy(), expected, 1e-5, 1e-6)  # float32 sums of terms of order 1
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


def test_keys_of_a_strange_state_cannot_command_the_terminal() -> None:
    with pytest.raises(CheckpointError) as caught:
        tg.nn.Linear(1, 1).load_state_dict({"\x1b[2J": tg.ones(1), "schön": tg.ones(1)})
    assert r'Unexpected key(s) in state_dict: "\x1b[2J", "schön"' in str(caught.value)


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
