"""Recording modes hold inside, are put back whatever happens, and belong to one thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tinygrad_rnn as tg

MODES = ["no_grad", "enable_grad", "inference_mode"]


@pytest.fixture(autouse=True)
def modes_are_put_back(lib: Any) -> Iterator[None]:
    assert lib.is_grad_enabled()
    yield
    assert lib.is_grad_enabled()


@pytest.mark.parametrize("name", MODES)
def test_a_mode_ends_with_its_block_also_by_an_exception(lib: Any, name: str) -> None:
    mode = getattr(lib, name)
    with lib.set_grad_enabled(name != "enable_grad"):
        before = lib.is_grad_enabled()
        with pytest.raises(KeyError), mode():
            assert lib.is_grad_enabled() == (name == "enable_grad")
            raise KeyError
        assert lib.is_grad_enabled() == before


@pytest.mark.parametrize("name", MODES)
def test_a_mode_decorates_with_and_without_parentheses(lib: Any, name: str) -> None:
    mode = getattr(lib, name)

    def enabled() -> bool:
        """Says it."""
        return bool(lib.is_grad_enabled())

    with lib.set_grad_enabled(name != "enable_grad"):
        assert mode()(enabled)() == mode(enabled)() == (name == "enable_grad")
    assert mode(enabled).__doc__ == "Says it."


def test_one_object_can_be_entered_within_itself(lib: Any) -> None:
    off = lib.no_grad()
    with off:
        with lib.enable_grad():
            with off:
                assert not lib.is_grad_enabled()
            assert lib.is_grad_enabled()
        assert not lib.is_grad_enabled()


def test_a_decorated_generator_has_the_mode_only_while_it_runs(lib: Any) -> None:
    @lib.no_grad()
    def generator() -> Any:
        sent = yield lib.is_grad_enabled()
        try:
            yield sent, lib.is_grad_enabled()
        except ValueError:
            yield "caught", lib.is_grad_enabled()
        return "end"

    steps = generator()
    assert next(steps) is False and lib.is_grad_enabled()
    assert steps.send(5) == (5, False) and lib.is_grad_enabled()
    assert steps.throw(ValueError) == ("caught", False) and lib.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "end"


def test_a_decorated_generator_can_be_closed(lib: Any) -> None:
    closed: list[bool] = []

    @lib.no_grad()
    def generator() -> Any:
        try:
            yield 1
        finally:
            closed.append(lib.is_grad_enabled())

    steps = generator()
    next(steps)
    steps.close()
    assert closed == [False]


def test_set_grad_enabled_is_a_switch_a_block_and_a_decorator(lib: Any) -> None:
    switch = lib.set_grad_enabled(False)
    assert not lib.is_grad_enabled()
    with switch:
        assert not lib.is_grad_enabled()
    assert lib.is_grad_enabled()

    @lib.set_grad_enabled(False)
    def enabled() -> bool:
        return bool(lib.is_grad_enabled())

    assert lib.is_grad_enabled() and not enabled()


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_set_grad_enabled_takes_a_bool(lib: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"set_grad_enabled\(\): argument 'enabled' \(position 1\) must be bool"):
        lib.set_grad_enabled(wrong)


def test_a_thread_starts_with_recording_on_and_keeps_its_own_mode(lib: Any) -> None:
    seen: list[bool] = []
    with lib.no_grad():
        thread = threading.Thread(target=lambda: seen.append(lib.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_results_in_no_grad_do_not_require_grad(lib: Any) -> None:
    w = lib.tensor([1.0], requires_grad=True)
    with lib.no_grad():
        y = w * 2
        v = lib.ones(2, requires_grad=True)
    assert not y.requires_grad and y.grad_fn is None and v.requires_grad


def test_one_object_can_be_shared_by_threads() -> None:
    """Each thread gets back what it had: the one that came in with recording off keeps it off."""
    shared = tg.enable_grad()
    inside, out = threading.Event(), threading.Event()
    after: list[bool] = []

    def other() -> None:
        with tg.no_grad():
            with shared:
                inside.set()
                out.wait(10)
            after.append(tg.is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with shared:
        out.set()
        thread.join()
        assert tg.is_grad_enabled()
    assert after == [False]


def test_a_decorated_coroutine_does_not_leak_its_mode_to_others() -> None:
    @tg.no_grad()
    async def quiet() -> tuple[bool, bool]:
        before = tg.is_grad_enabled()
        await asyncio.sleep(0)
        return before, tg.is_grad_enabled()

    async def other() -> bool:
        await asyncio.sleep(0)
        return tg.is_grad_enabled()

    async def main() -> Any:
        return await asyncio.gather(quiet(), other(), other())

    assert asyncio.run(main()) == [(False, False), True, True]


def test_generators_resumed_out_of_order_do_not_mix_their_modes() -> None:
    @tg.no_grad()
    def off() -> Any:
        while True:
            yield tg.is_grad_enabled()

    @tg.enable_grad()
    def on() -> Any:
        while True:
            yield tg.is_grad_enabled()

    first, second = off(), on()
    assert [next(first), next(second), next(first), next(second)] == [False, True, False, True]


def test_tensors_made_in_inference_mode_are_ordinary_ones() -> None:
    """PyTorch refuses them in a recorded product; the gradient is right here."""
    w = tg.tensor([2.0], requires_grad=True)
    with tg.inference_mode():
        x = tg.tensor([5.0])
    (w * x).sum().backward()
    assert w.grad.item() == 5.0


def test_tensors_made_under_inference_mode_are_ordinary() -> None:
    with tg.inference_mode():
        x = tg.ones(2)
    assert not x.is_inference() and not tg.is_inference(x) and not x.requires_grad
    x.requires_grad_().sum().backward()
    assert x.grad is not None
