"""A vjp is mathematics for every sweep, and may have a faster form for sweeps that are not recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.tape.apply import primitive
from tinygrad_rnn.tape.primitive import REGISTRY, Primitive
from tinygrad_rnn.typing import Value

calls: list[str] = []


def declared(form: str, factor: float = 1.0) -> object:
    def vjp(g: Value, y: Value, *args: Value) -> Value:
        calls.append(form)
        return g * factor

    return vjp


@pytest.fixture
def identity() -> Iterator[Primitive]:
    """A primitive of one argument whose vjp has a raw form."""
    primitive("identity_with_forms", lambda a: a * 1.0, declared("mathematics"))  # type: ignore[arg-type]
    p = REGISTRY["identity_with_forms"]
    p.add_raw_form(0, declared("raw"))  # type: ignore[arg-type]
    calls.clear()
    yield p
    del REGISTRY["identity_with_forms"]


def called(p: Primitive, create_graph: bool) -> list[str]:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    tg.autograd.grad(p.apply(x).sum(), x, create_graph=create_graph)
    return [calls.pop() for _ in list(calls)]


def test_an_unrecorded_sweep_calls_the_raw_form_and_a_recorded_one_the_mathematics(identity: Primitive) -> None:
    assert called(identity, create_graph=False) == ["raw"]
    assert called(identity, create_graph=True) == ["mathematics"]


def test_a_sweep_with_goals_or_observers_calls_the_raw_form(identity: Primitive) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.Tape():
        identity.apply(x).sum().backward()
    assert calls == ["raw"]


def test_an_exchanged_vjp_is_exchanged_in_every_sweep_and_its_raw_form_comes_back_with_it(
    identity: Primitive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(identity, "vjps", (declared("other"),))
        assert called(identity, create_graph=False) == called(identity, create_graph=True) == ["other"]
    assert called(identity, create_graph=False) == ["raw"]


def test_an_exchanged_raw_form_leaves_recorded_sweeps_alone(
    identity: Primitive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "raw_vjps", (declared("other"),))
    assert called(identity, create_graph=False) == ["other"]
    assert called(identity, create_graph=True) == ["mathematics"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_raw_form_belongs_to_one_argument(position: int) -> None:
    vjps = tuple(declared(f"mathematics {k}") for k in range(3))
    apply = primitive("sum_with_forms", lambda a, b, c: a + b + c, vjps, ("", "", ""))  # type: ignore[arg-type]
    try:
        REGISTRY["sum_with_forms"].add_raw_form(position, declared("raw"))  # type: ignore[arg-type]
        calls.clear()
        apply(*[tg.tensor(np.ones(2), requires_grad=True) for _ in range(3)]).sum().backward()
        assert calls == ["raw" if k == position else f"mathematics {k}" for k in range(3)]
    finally:
        del REGISTRY["sum_with_forms"]


def test_one_vjp_of_all_arguments_has_a_raw_form_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of(form: str) -> Callable[..., list[Value]]:
        def vjp_all(g: Value, y: Value, *args: Value, needs: tuple[bool, ...]) -> list[Value]:
            calls.append(form)
            return [g for _ in needs]

        return vjp_all

    primitive("sum_of_all", lambda a: a * 1.0, vjp_all=all_of("mathematics"))
    p = REGISTRY["sum_of_all"]
    calls.clear()
    try:
        assert called(p, create_graph=False) == called(p, create_graph=True) == ["mathematics"]
        p.add_raw_form(None, all_of("raw"))
        assert (called(p, create_graph=False), called(p, create_graph=True)) == (["raw"], ["mathematics"])
        with monkeypatch.context() as patch:
            patch.setattr(p, "vjp_all", all_of("other"))
            assert called(p, create_graph=False) == called(p, create_graph=True) == ["other"]
        assert (called(p, create_graph=False), called(p, create_graph=True)) == (["raw"], ["mathematics"])
    finally:
        del REGISTRY["sum_of_all"]
