"""Masks drawn before a sequence are those that the composed form draws step by step: the same numbers, bit for bit."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.backend.random.generator import default_generator, draws_undone
from tinygrad_rnn.nn.recurrent import options
from tinygrad_rnn.nn.recurrent.options import Masking, drawn_masks, with_masks, with_recurrent_dropout, with_zoneout
from tinygrad_rnn.ops.recurrent.unroll import unroll

ODDS = st.sampled_from([0.0, 0.3, 0.3, 0.7, 1.0])


def step(x: tg.Tensor, states: Any) -> Any:
    """Two states of different widths, and a value that is emitted."""
    h, c = states
    return tg.tanh(x + h), c + x[:, :1], 2 * h


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_drawn_masks_are_those_of_the_composed_form(data: st.DataObject) -> None:
    reverse = data.draw(st.booleans())
    sizes = data.draw(st.none() | st.lists(st.integers(1, 4), min_size=1, max_size=5).map(lambda s: sorted(s)[::-1]))
    steps, rows = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))) if sizes is None else (0, sizes[0])
    zoneouts = (data.draw(ODDS), data.draw(ODDS))
    dropout, dtype = data.draw(ODDS), data.draw(st.sampled_from(["float32", "float64"]))
    random = np.random.default_rng(0)
    x = tg.tensor(random.normal(size=(steps, rows, 3) if sizes is None else (sum(sizes), 3)).astype(dtype))
    states = tuple([tg.tensor(random.normal(size=(rows, w)).astype(dtype)) for w in (3, 2)])
    given = None if sizes is None else tuple(sizes)

    tg.manual_seed(5)
    one = with_recurrent_dropout(step, states[0], dropout) if dropout else step
    one = with_zoneout(one, zoneouts, True)
    expected, ends = unroll(one, x, states, sizes=given, reverse=reverse, emit=(0, 1, 2))
    next_number = default_generator.words(1)

    tg.manual_seed(5)
    masking = Masking(zoneouts, dropout, True)
    of_steps, of_sequences = drawn_masks(masking, x, states, given, reverse)
    assert default_generator.words(1) == next_number
    assert all(m.shape[:-1] == x.shape[:-1] and m.dtype == bool for m in of_steps)
    assert all(m.shape == states[0].shape and m.dtype == x.dtype for m in of_sequences)
    masked = with_masks(step, masking)
    bounds = np.cumsum([0, *([rows] * steps if given is None else given)])

    def again(numbered: tg.Tensor, states: Any) -> Any:
        t, n = int(numbered[0, -1]), len(states[0])
        masks = [tg.tensor(m.reshape(-1, m.shape[-1])[bounds[t] : bounds[t + 1]]) for m in of_steps]
        return masked(numbered[:, :-1], states, *masks, *[tg.tensor(m[:n]) for m in of_sequences])

    places = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)).reshape(*x.shape[:-1], 1)
    numbered = tg.cat([x, tg.tensor(places.astype(dtype))], -1)
    found, finals = unroll(again, numbered, states, sizes=given, reverse=reverse, emit=(0, 1, 2))
    for a, b in zip([*found, *finals], [*expected, *ends], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_in_evaluation_nothing_is_drawn_and_states_are_mixed_as_expected() -> None:
    masking = Masking((0.25, 0.5), 0.0, False)
    x, states = tg.ones(1, 1, 3), (tg.full((1, 3), 2.0), tg.full((1, 2), 4.0))
    before = default_generator.get_state()
    assert drawn_masks(masking, x, states, None, False) == ((), ())
    assert tg.equal(default_generator.get_state(), before)
    h, c, emitted = with_masks(step, masking)(x[0], states)
    np.testing.assert_allclose(h.numpy(), 0.75 * np.tanh(3.0) + 0.25 * 2.0, rtol=1e-6)  # float32
    np.testing.assert_array_equal(c.numpy(), [[4.5, 4.5]])
    np.testing.assert_array_equal(emitted.numpy(), [[4.0, 4.0, 4.0]])
    plain = with_zoneout(step, masking.zoneouts, False)(x[0], states)
    assert all(tg.equal(a, b) for a, b in zip(plain, (h, c, emitted), strict=True))


def test_a_value_that_is_not_kept_may_be_nan() -> None:
    """A kept value is chosen, not multiplied: what it replaces does not matter."""

    def broken(x: tg.Tensor, states: Any) -> Any:
        return (states[0] * float("nan"),)

    h = tg.ones(1, 2)
    (found,) = with_masks(broken, Masking((0.5,), 0.0, True))(h, (h,), tg.tensor([[True, False]]))
    assert found[0, 0] == 1 and np.isnan(found[0, 1].item())


def test_all_numbers_are_drawn_at_once_where_that_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    real = options.dropout_like
    monkeypatch.setattr(options, "dropout_like", lambda a, p: calls.append(a.shape) or real(a, p))
    x, states = tg.ones(4, 2, 3), (tg.ones(2, 3), tg.ones(2, 2))
    drawn_masks(Masking((0.5, 0.5), 0.0, True), x, states, None, False)
    assert calls == [(40,)]


def test_draws_of_this_thread_are_undone() -> None:
    tg.manual_seed(1)
    expected = default_generator.words(4)
    tg.manual_seed(1)
    default_generator.words(1)
    with draws_undone():
        default_generator.words(7)
        with draws_undone():
            default_generator.words(2)
        default_generator.words(1)
    with draws_undone():
        pass
    assert not default_generator.instead
    np.testing.assert_array_equal(default_generator.words(3), expected[1:])


def test_all_that_a_thread_does_to_the_stream_is_undone() -> None:
    tg.manual_seed(1)
    tg.randn(1)  # of a pair, the second number is kept
    before, second = tg.get_rng_state(), tg.randn(1)
    tg.set_rng_state(before)
    with draws_undone():
        assert tg.equal(tg.get_rng_state(), before) and tg.equal(tg.randn(1), second)
        tg.manual_seed(2)
        assert tg.initial_seed() == 2
        state = tg.get_rng_state()
        drawn = tg.randn(3)
        tg.set_rng_state(state)
        assert tg.equal(tg.randn(3), drawn)
    assert tg.initial_seed() == 1 and tg.equal(tg.get_rng_state(), before) and tg.equal(tg.randn(1), second)


def test_draws_of_other_threads_are_not_undone() -> None:
    tg.manual_seed(1)
    expected = default_generator.words(4)
    tg.manual_seed(1)
    found: list[Any] = []
    with draws_undone():
        default_generator.words(7)
        other = threading.Thread(target=lambda: found.append(default_generator.words(2)))
        other.start(), other.join()
        default_generator.words(1)
    np.testing.assert_array_equal(found[0], expected[:2])
    np.testing.assert_array_equal(default_generator.words(2), expected[2:])


@pytest.mark.parametrize("zoneouts", [(0.5, 0.5), (0.5, 0.1)])
def test_without_sequences_masks_are_empty(zoneouts: Any) -> None:
    x, states = tg.ones(4, 0, 3), (tg.ones(0, 3), tg.ones(0, 2))
    of_steps, of_sequences = drawn_masks(Masking(zoneouts, 0.5, True), x, states, None, True)
    assert [m.shape for m in (*of_steps, *of_sequences)] == [(4, 0, 3), (4, 0, 2), (0, 3)]
