"""Writes in place, law by law: what a write does to gradients, views, saved values, memory and time."""

from __future__ import annotations

import gc
import itertools
import weakref
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import DtypeError, IndexOutOfRange, InplaceError, ShapeRuntimeError
from tinygrad_rnn.tape.node import Node


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


def check(found: Any, *expected: float) -> None:
    np.testing.assert_array_equal(found.numpy(), np.array(expected).reshape(found.shape))


# saved values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.add_(1),
        lambda y: y.__setitem__(0, 1.0),
        lambda y: y[0].fill_(1.0),
        lambda y: y.detach().mul_(2),
        lambda y: y.data.zero_(),
        lambda y: y.detach()[1:].zero_(),
        lambda y: y.reshape(3, 1).T.zero_(),
        lambda y: y.normal_(),
        lambda y: y._touch(),
    ],
)
def test_every_way_to_write_to_a_saved_value_makes_its_backward_raise(write: Any) -> None:
    x = leaf(1, 2, 3)
    y = x.exp()
    z = y.sum()
    with tg.no_grad():
        write(y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


@pytest.mark.parametrize(
    "use",
    [
        lambda x, other: x.sin(),
        lambda x, other: x * other,
        lambda x, other: other * x,
        lambda x, other: tg.logaddexp(other, x),
        lambda x, other: x @ other,
        lambda x, other: other @ x,
        lambda x, other: tg.where(other > 0, x, other) * x,
        lambda x, other: tg.atan2(x, other),
        lambda x, other: x**other,
        lambda x, other: x.prod(),
    ],
)
def test_an_argument_that_was_never_written_to_is_watched_from_its_first_use_on(use: Any) -> None:
    x, other = leaf(1, 2, 3), leaf(3, 4, 5)
    z = use(x, other).sum()
    with tg.no_grad():
        x.add_(1)
    with pytest.raises(InplaceError, match="is at version 1; expected version 0 instead"):
        z.backward()


def test_the_message_has_pytorchs_sentence_then_says_who_saved_and_who_wrote() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.exp()
    z = y.sum()
    y.add_(1)
    with pytest.raises(InplaceError) as caught:
        z.backward()
    message = str(caught.value)
    assert message.startswith(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.FloatTensor [3]], which is output 0 of ExpBackward0, is at version 1; expected version 0 instead. Hint:"
    )
    assert "exp saved it (its output) for its gradient, and add_() wrote to it later. Write to a copy" in message


def test_the_message_names_the_line_of_the_write_if_a_tape_is_open() -> None:
    x = leaf(1, 2)
    y = x * 2
    with tg.Tape():
        z = (y * y).sum()
        y.add_(1)
    with pytest.raises(InplaceError, match=r"add_\(\) at test_laws.py:\d+ wrote"):
        z.backward()


@pytest.mark.parametrize("before", [0, 1, 3, 100])
def test_the_versions_in_the_message_count_the_writes_before_and_after_the_value_was_saved(before: int) -> None:
    x = leaf(1, 2)
    y = x * 1
    for _ in range(before):
        y.detach().add_(1)
    z = (y * y).sum()
    y.detach().add_(1)
    y.detach().add_(1)
    with pytest.raises(InplaceError, match=f"is at version {before + 2}; expected version {before} instead"):
        z.backward()
    assert y._version == before + 2


def test_a_write_before_the_value_is_saved_or_to_a_value_not_saved_does_no_harm() -> None:
    x = leaf(1, 2)
    y = x + 1
    y.mul_(3)
    z = y * y
    y.grad_fn  # noqa: B018
    w = y + 1  # saves nothing
    (z.sum() + w.sum()).backward()
    check(x.grad, 2 * 6 * 3 + 3, 2 * 9 * 3 + 3)
    w.zero_()


@pytest.mark.parametrize("layout", ["rows", "columns", "backwards", "entries"])
def test_a_value_is_stale_only_if_its_own_entries_were_written(layout: str) -> None:
    """outputs[t] = f(outputs[t - 1]): all steps share one memory, but none writes to what another saved."""
    w, T = leaf(0.5, 0.25), 12
    order = list(range(T))[:: -1 if layout == "backwards" else 1]
    outputs = tg.zeros(2, T, dtype=tg.float64).T if layout == "columns" else tg.zeros(T, 2, dtype=tg.float64)
    h: Any = tg.ones(2, dtype=tg.float64)
    outputs[order[0]] = h
    for before, t in itertools.pairwise(order):
        h = h * w
        if layout == "entries":
            outputs[t, 0] = outputs[before, 0] * w[0]
            outputs[t, 1] = outputs[before, 1] * w[1]
        else:
            outputs[t] = outputs[before] * w
    (expected,) = tg.autograd.grad(h.sum(), w)
    (found,) = tg.autograd.grad(outputs[order[-1]].sum(), w, retain_graph=True)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-14)  # the same products in another order
    assert np.abs(found.numpy()).min() > 1e-7
    outputs[order[5]][0] = 1
    with pytest.raises(InplaceError, match=f"is at version {outputs._version}; expected version"):
        outputs.sum().backward()


def test_of_more_places_than_are_remembered_the_older_are_called_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_rnn.tape.inplace import versions

    monkeypatch.setattr(versions, "MOST", 8)
    w, x = leaf(2), tg.zeros(200, 1, dtype=tg.float64)
    early = x[0] * w
    for t in range(1, 150):
        x[t] = 1
    late = x[0] * w
    x[151] = 1
    assert len(x._versions.log) <= 128
    late.backward()
    check(w.grad, 0)
    with pytest.raises(InplaceError, match="expected an earlier version instead"):
        early.backward()


def test_the_first_of_many_places_is_not_forgotten() -> None:
    w, x = leaf(2), tg.zeros(300, 1, dtype=tg.float64)
    y = x[0] * w
    for t in range(300):
        x[t] = t
    with pytest.raises(InplaceError):
        y.backward()


def test_a_write_to_everything_is_not_forgotten_among_many_small_ones() -> None:
    w, x = leaf(2), tg.zeros(4, 1, dtype=tg.float64)
    y = x[0] * w
    x.detach().add_(1)
    for t in range(1000):
        x[1 + t % 3] = t
    with pytest.raises(InplaceError):
        y.backward()


def test_an_output_of_a_fused_primitive_is_watched_though_its_residual_is_another_array() -> None:
    from tinygrad_rnn.tape.multi_output import fused

    double = fused(
        "double_of_tests",
        lambda a: ((np.stack([a, 2 * a])[1],), np.ones(3)),
        lambda gs, residual, a, needs: [2 * gs[0]],
        lambda a: (2 * a,),
    )
    x = leaf(1, 2, 3)
    (y,) = double(x)
    z = y + 1
    y.zero_()
    with pytest.raises(InplaceError, match="output 0 of DoubleOfTests"):
        z.sum().backward()


def test_what_the_second_order_of_a_fused_primitive_saved_is_watched() -> None:
    from tinygrad_rnn.tape.multi_output import fused

    cube = fused(
        "cube_of_tests",
        lambda a: ((a**3,), None),
        lambda gs, residual, a, needs: [3 * gs[0] * a**2],
        lambda a: (a * a * a,),
    )
    x = leaf(1, 2)
    (g,) = tg.autograd.grad(cube(x)[0].sum(), x, create_graph=True)
    (second,) = tg.autograd.grad(g.sum(), x, retain_graph=True)
    check(second, 6, 12)
    with tg.no_grad():
        x.mul_(2)
    with pytest.raises(InplaceError):
        g.sum().backward()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_outputs_of_recurrent_layers_can_be_written_to_or_say_why_not(kind: str) -> None:
    tg.manual_seed(0)
    layer = getattr(tg.nn, kind)(3, 4, num_layers=2, bidirectional=True).double()
    x = tg.randn(5, 2, 3, dtype=tg.float64, requires_grad=True)

    def run(write: Any) -> Any:
        output, state = layer(x)
        state = state[0] if isinstance(state, tuple) else state
        assert not np.shares_memory(output._data, state._data)
        write(output)
        return tg.autograd.grad((output * output).sum() + state.sum(), x)[0].numpy()

    expected = run(lambda output: None)
    try:
        found = run(lambda output: output.mul_(1))
    except InplaceError as error:
        assert "modified by an inplace operation" in str(error)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_writes_to_the_same_places_over_and_over_are_remembered_once() -> None:
    x = tg.zeros(4, 3)
    for t in range(1000):
        x[t % 4] = t
    assert len(x._versions.log) <= 128
    y = x[1] * tg.ones(3, requires_grad=True)
    x[2] = 1
    y.sum().backward()
    for _ in range(200):
        x._touch()
    assert len(x._versions.log) <= 128


def test_what_an_in_place_operation_saved_is_its_own_and_later_writes_do_not_touch_it() -> None:
    x = leaf(0.5, -1.0)
    y = x * 1
    y.exp_()
    y.mul_(y)
    y.tanh_()
    y.add_(1)
    y.sum().backward()
    e = np.exp(2 * np.array([0.5, -1.0]))
    np.testing.assert_allclose(x.grad.numpy(), (1 - np.tanh(e) ** 2) * 2 * e, rtol=1e-14)  # a few roundings


def test_an_operand_in_the_same_memory_counts_with_its_old_value() -> None:
    x = leaf(2, 3)
    y = x * 1
    y.mul_(y)
    check(y.detach(), 4, 9)
    y[0:1].mul_(y[1:2])
    y.sum().backward()
    check(x.grad, 2 * 2 * 9, 2 * 3 * 4 + 2 * 3)


# leaves -------------------------------------------------------------------------------------------------------------

WRITES: list[Any] = [
    lambda x: x.add_(1),
    lambda x: x.__setitem__(0, 1.0),
    lambda x: x.__iadd__(1),
    lambda x: x.zero_(),
    lambda x: x.normal_(),
    lambda x: x.copy_(tg.zeros(2)),
    lambda x: x.unsqueeze_(0),
    lambda x: x.__setitem__(0, x[0]),
]


@pytest.mark.parametrize("write", WRITES)
def test_a_leaf_that_requires_grad_cannot_be_written_to_while_recording(write: Any) -> None:
    x = leaf(1, 2)
    with pytest.raises(
        RuntimeError, match="^a leaf Variable that requires grad is being used in an in-place operation"
    ):
        write(x)
    with pytest.raises(
        RuntimeError, match="^a view of a leaf Variable that requires grad is being used in an in-place"
    ):
        write(x[:])
    check(x.detach(), 1, 2)
    assert x._version == 0 and x.is_leaf


def test_under_no_grad_a_leaf_is_written_to_and_stays_a_leaf() -> None:
    x = leaf(1, 2)
    with tg.no_grad():
        x -= 0.5
        x[0] = 7
        x[1:].mul_(2)
    check(x.detach(), 7, 3)
    assert x.is_leaf and x.requires_grad
    (x * x).sum().backward()
    check(x.grad, 14, 6)


def test_a_view_on_which_requires_grad_was_called_is_a_leaf_that_writes_to_its_base_respect() -> None:
    base = tg.zeros(3, dtype=tg.float64)
    x = base[:2].requires_grad_()
    base.add_(1)  # nothing recorded: only the values change
    check(x.detach(), 1, 1)
    w = leaf(1, 2, 3)
    with pytest.raises(InplaceError, match="^a leaf Variable"):
        base.mul_(w)
    check(base, 1, 1, 1)
    base[2] = w[2]  # not the memory of x
    (x.sum() + base.sum()).backward()
    check(x.grad, 1, 1)
    check(w.grad, 0, 0, 1)


def test_a_tensor_without_history_gets_one_by_a_write_and_its_views_too() -> None:
    x, w = tg.zeros(2, 2, dtype=tg.float64), leaf(3, 4)
    row, column = x[0], x[:, 1]
    x[0] = w
    assert x.requires_grad and row.requires_grad and column.requires_grad and not x.is_leaf
    (row.sum() + 10 * column.sum() + 100 * x.sum()).backward()
    check(w.grad, 101, 111)


def test_a_tensor_overwritten_with_constants_passes_zeros() -> None:
    x = leaf(1, 2)
    for write in (lambda y: y.zero_(), lambda y: y.fill_(3), lambda y: y.uniform_(), lambda y: y.lt_(0)):
        y = x * 2
        write(y)
        assert y.requires_grad
        (g,) = tg.autograd.grad(y.sum(), x)
        check(g, 0, 0)


# views --------------------------------------------------------------------------------------------------------------


def test_a_write_to_a_view_of_views_reaches_base_and_siblings() -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = x * 1
    row, column, turned = y[1], y[:, 2], y.T
    y.reshape(3, 2).transpose(0, 1)[1, 2:].mul_(10)  # the last entry
    for seen in (row[2], column[1], turned[2, 1], y[1, 2]):
        assert seen.item() == 50
        (g,) = tg.autograd.grad(seen, x, retain_graph=True)
        check(g, 0, 0, 0, 0, 0, 10)


def test_chained_indices_write_through() -> None:
    w = leaf(1, 2)
    t = tg.zeros(2, 3, 2, dtype=tg.float64)
    t[1][2] = w
    t[0][1][0] = w[1]
    t[0][1:][1][1] += w[0]
    check(t.detach(), 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 1, 2)
    (t * tg.tensor(np.arange(12.0).reshape(2, 3, 2))).sum().backward()
    check(w.grad, 5 + 10, 2 + 11)


def test_a_single_entry_is_a_view_too() -> None:
    x = tg.zeros(3, dtype=tg.float64)
    entry = x[1]
    entry.fill_(5)
    check(x, 0, 5, 0)
    assert entry.shape == () and entry._is_view() and entry._base is x
    assert x.reshape(3, 1)[2, 0]._base is x


def test_a_reshape_that_had_to_copy_is_no_view() -> None:
    x = tg.zeros(2, 3)
    flat = x.T.reshape(-1)
    flat.fill_(1)
    assert not flat._is_view() and x.sum().item() == 0


def test_a_detached_tensor_shares_values_and_clock_but_no_history() -> None:
    x, w = leaf(1, 2), leaf(5, 6)
    y = x * 2
    d = y.detach()
    d.mul_(w)
    assert d.requires_grad and y._version == d._version == 1
    check(y.detach(), 10, 24)
    y.sum().backward(retain_graph=True)
    check(x.grad, 2, 2)  # y's own history
    d.sum().backward()
    check(w.grad, 2, 4)


def test_views_of_a_tensor_that_forgets_its_history_keep_theirs() -> None:
    x = leaf(1, 2, 3)
    y = x * 2
    tail, middle = y[1:], y[1:2]
    y.detach_()
    tail.mul_(10)
    (middle.sum() + tail.sum()).backward()
    check(x.grad, 0, 40, 20)
    y.mul_(x)  # its own family now: the memory changes, the history of the views does not
    assert y.requires_grad and middle._base is not y


def test_data_can_be_exchanged_and_views_stay_with_the_old_memory() -> None:
    x = leaf(1, 2)
    z = (x * x).sum()
    old = x[0]
    other = tg.tensor([5.0, 6.0], dtype=tg.float64)
    x.data = other
    z.backward()
    check(x.grad, 2, 4)  # at the values that were squared
    with tg.no_grad():
        old.fill_(9)
    check(x.detach(), 5, 6)
    z = (x * x).sum()
    other.add_(1)  # the memory of x now
    with pytest.raises(InplaceError):
        z.backward()


def test_a_computed_tensor_that_gets_other_memory_leaves_its_family() -> None:
    x, w = leaf(1, 2), leaf(3)
    y = x * 2
    tail = y[1:]
    y.data = tg.tensor([7.0, 8.0], dtype=tg.float64)
    tail.mul_(w)  # no longer a part of y
    tail2, tail.data = tail.detach(), tg.tensor([9.0], dtype=tg.float64)
    tail.mul_(10)
    check(y.detach(), 7, 8)
    check(tail2, 12)
    check(tail.detach(), 90)
    y.sum().backward(retain_graph=True)
    check(x.grad, 2, 2)
    assert w.grad is None and not tail._is_view() and y._version == 0
    tail.sum().backward()
    check(x.grad, 2, 2 + 2 * 3 * 10)
    check(w.grad, 4 * 10)


def test_a_view_taken_without_recording_stays_without_history() -> None:
    x, w = tg.zeros(2, dtype=tg.float64), leaf(3, 4)
    with tg.no_grad():
        view = x[:1]
    x[...] = w
    assert x.requires_grad and not view.requires_grad
    check(view, 3)
    y = w * 2
    with tg.no_grad():
        view = y[0]
    y[0] = view  # no longer the value with a history
    y.sum().backward()
    check(w.grad, 0, 2)


def test_a_view_taken_without_recording_cannot_be_written_to_with_it() -> None:
    x = leaf(1, 2)
    y = x * 2
    with tg.no_grad():
        view = y[0]
    with pytest.raises(RuntimeError, match="^A view was created in no_grad mode and is being modified inplace"):
        view.mul_(2)
    with tg.no_grad():
        view.mul_(2)
    y.sum().backward()
    check(x.grad, 2, 2)


def test_memory_that_repeats_cannot_be_written_to() -> None:
    x = tg.zeros(2)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        x.expand(3, 2).add_(1)
    windows = tg.from_numpy(np.lib.stride_tricks.as_strided(np.zeros(4), (3, 2), (8, 8)))
    with pytest.raises(InplaceError, match="repeats memory"):
        windows[0] = 1.0
    apart = np.lib.stride_tricks.as_strided(np.zeros(6), (2, 3), (8, 16))
    tg.from_numpy(apart).add_(1)  # interleaved, but each entry has its own place
    assert apart.min() == 1


def test_read_only_memory_is_refused() -> None:
    values = np.zeros(3)
    values.flags.writeable = False
    with pytest.raises(InplaceError, match="read-only"):
        tg.from_numpy(values).add_(1)


def test_shape_changing_forms_make_the_tensor_a_view_of_what_it_was() -> None:
    x = leaf(1, 2, 3)
    y = x * 2
    tail = y[1:]
    y.unsqueeze_(0).transpose_(0, 1)
    assert y.shape == (3, 1)
    y[2] = 0
    tail.mul_(5)
    check(y.detach(), 2, 20, 0)
    (y.sum() + tail.sum()).backward()
    check(x.grad, 2, 20, 0)


def test_retained_gradients_and_hooks_follow_their_values() -> None:
    x = leaf(1, 2)
    y = x * 2
    y.retain_grad()
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g))  # of the value that y has now
    y.mul_(10)
    y.sum().backward()
    check(y.grad, 1, 1)
    check(seen[0], 10, 10)
    check(x.grad, 20, 20)


def test_a_tensor_that_forgot_its_history_retains_nothing_and_can_be_written_to() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    y = x * 2
    y.retain_grad()
    y.detach_()
    y.mul_(w)
    y.sum().backward()
    check(w.grad, 2, 4)
    assert x.grad is None


# assignment ---------------------------------------------------------------------------------------------------------


def test_the_last_of_several_values_for_one_place_stays_and_gets_the_gradient() -> None:
    x, v, s = leaf(1, 2, 3), leaf(4, 5, 6), leaf(7)
    y = x * 1
    y[[0, 2, 0]] = v
    check(y.detach(), 6, 2, 5)
    y[[1, 1]] = s  # one value for both: it is in one place
    (y * tg.tensor([1.0, 10.0, 100.0], dtype=tg.float64)).sum().backward()
    check(x.grad, 0, 0, 0)
    check(v.grad, 0, 100, 1)
    check(s.grad, 10)


@pytest.mark.parametrize(
    "index",
    [([0, 0], [1, -2]), (slice(None), [1, 1]), ([0, -2],), (..., [2, -1]), ([0, 1, 0], slice(0, 2)), (0, [1, 1], None)],
)
def test_places_named_twice_are_found_in_every_form_of_index(index: Any) -> None:
    v, x = tg.tensor(1.0, dtype=tg.float64, requires_grad=True), tg.zeros(2, 3, dtype=tg.float64)
    x[index] = v
    x.sum().backward()
    assert v.grad is not None and v.grad.item() == x.detach().sum().item()


def test_an_entry_is_assigned_to_another_or_to_itself() -> None:
    w = leaf(1, 2, 3)
    x = w * 2
    x[0] = x[1]
    x[2] = x[2]
    x[:2] = x[1:]
    check(x.detach(), 4, 6, 6)
    (x * tg.tensor([1.0, 10.0, 100.0], dtype=tg.float64)).sum().backward()
    check(w.grad, 0, 2, 220)
    assert x._version == 2  # there was nothing to do for the one in the middle


def test_numbers_are_taken_before_index_arrays_as_pytorch_does() -> None:
    x, v = tg.zeros(2, 2, 3, dtype=tg.float64), tg.tensor(np.arange(4.0).reshape(2, 2), requires_grad=True)
    x[0, :, [2, 1]] = v  # NumPy would want the axis of the array first
    check(x.detach(), 0, 1, 0, 0, 3, 2, *[0] * 6)
    (x * tg.tensor(np.arange(12.0).reshape(2, 2, 3))).sum().backward()
    check(v.grad, 2, 1, 5, 4)


def test_what_is_assigned_is_broadcast_and_its_gradient_summed() -> None:
    x, v = tg.zeros(2, 3, dtype=tg.float64), tg.ones(1, 1, 3, dtype=tg.float64, requires_grad=True)
    x[1] = v
    x[:, 0] = v[0, 0, 0]
    x.sum().backward()
    check(v.grad, 2, 1, 1)


def test_an_index_may_be_changed_after_it_was_used() -> None:
    rows, more = np.array([0, 1]), tg.tensor([2])
    mask = tg.tensor([False, False, False, True])
    v, x = leaf(1, 2, 3, 4), tg.zeros(4, dtype=tg.float64)
    x[rows] = v[:2]
    x[more] = v[2]
    x[mask] = v[3]
    rows[...], more[...], mask[...] = 3, 3, True
    (x * tg.tensor([1.0, 2.0, 3.0, 4.0], dtype=tg.float64)).sum().backward()
    check(v.grad, 1, 2, 3, 4)


@pytest.mark.parametrize(
    "use",
    [
        lambda x, a: x * a,
        lambda x, a: a / x,
        lambda x, a: a @ x,
        lambda x, a: x @ a,
        lambda x, a: x / a,
        lambda x, a: tg.atan2(x, a),
        lambda x, a: tg.nn.functional.linear(x, a),
        lambda x, a: tg.einsum("ij,jk->ik", x, a),
        lambda x, a: tg.where(a > 0, x, 0),
        lambda x, a: x[a > 0],
    ],
)
def test_a_users_array_may_be_changed_after_it_was_used(use: Any) -> None:
    gradients = []
    for change in (False, True):
        x, a = tg.tensor(np.arange(1.0, 5).reshape(2, 2), requires_grad=True), np.array([[1.0, -2.0], [3.0, 4.0]])
        y = use(x, a).sum()
        if change:
            a[...] = 100
        gradients.append(tg.autograd.grad(y, x)[0].numpy())
    np.testing.assert_array_equal(*gradients)


def test_a_value_is_converted_to_the_type_that_it_is_written_to() -> None:
    x, v = tg.zeros(2), leaf(1, 2)
    x[...] = v
    assert x.dtype == tg.float32
    x.sum().backward()
    check(v.grad, 1, 1)
    n = tg.zeros(2, dtype=tg.int64)
    n[0] = v[1]
    assert n.tolist() == [2, 0] and not n.requires_grad


def test_errors_of_assignment() -> None:
    x = tg.zeros(2, 3)
    with pytest.raises(IndexOutOfRange, match="index 2 is out of bounds for dimension 0 with size 2"):
        x[2] = 1
    with pytest.raises(IndexOutOfRange, match="too many indices"):
        x[0, 0, 0] = 1
    with pytest.raises(ShapeRuntimeError) as caught:
        x[0] = tg.zeros(4)
    assert str(caught.value) == (
        "The expanded size of the tensor (3) must match the existing size (4) at non-singleton dimension 0.  "
        "Target sizes: [3].  Tensor sizes: [4]"
    )
    with pytest.raises(ShapeRuntimeError, match=r"shape mismatch: value tensor of shape \[4\] cannot be broadcast to"):
        x[[0, 1, 0]] = tg.zeros(4)
    with pytest.raises(TypeError, match="can't assign a str to a"):
        x[0] = "a"
    assert x._version == 0 and x.sum().item() == 0


def test_errors_of_in_place_operations() -> None:
    x, n = tg.zeros(3), tg.zeros(3, dtype=tg.int64)
    with pytest.raises(ShapeRuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"):
        x.add_(tg.zeros(2, 3))
    with pytest.raises(DtypeError, match="result type Float can't be cast to the desired output type Long"):
        n += 0.5
    with pytest.raises(DtypeError, match="result type Float can't be cast to the desired output type Long"):
        n.mul_(x)
    with pytest.raises(ShapeRuntimeError, match="fill_ only supports 0-dimension value tensor"):
        x.fill_(x)
    with pytest.raises(ShapeRuntimeError, match=r"size of tensor a \(3\) must match the size of tensor b \(2\)"):
        x.mul_(tg.zeros(2))
    assert x._version == n._version == 0


@pytest.mark.parametrize("recorded", [True, False])
def test_augmented_assignment_keeps_tensor_memory_and_type(recorded: bool) -> None:
    x = tg.tensor([4.0, 9.0])
    same, memory = x, x.numpy()
    with tg.set_grad_enabled(recorded):
        x += 1
        x -= tg.tensor([1.0, 1.0], dtype=tg.float64)
        x *= 2
        x /= 4
        x **= 2
    assert same is x and x.dtype == tg.float32
    np.testing.assert_array_equal(memory, np.float32([4.0, 20.25]))
    assert x._version == 5


def test_random_fills_draw_the_stream_of_the_generator() -> None:
    tg.manual_seed(3)
    x = tg.zeros(5).uniform_()
    y = tg.zeros(5).normal_(1, 2)
    tg.manual_seed(3)
    assert x.tolist() == tg.rand(5).tolist()
    np.testing.assert_array_equal(y.numpy(), tg.randn(5).numpy() * 2 + 1)


# order 2, memory, time ----------------------------------------------------------------------------------------------


def test_second_derivatives_go_through_writes() -> None:
    x = leaf(0.3, -0.7)
    h = tg.zeros(3, 2, dtype=tg.float64)
    h[0] = x
    for t in (1, 2):
        h[t] = h[t - 1] * h[t - 1]
    k = h.clone()  # what h was made of must stay
    k.T[1].mul_(x[0])
    k[[0, 0]] = x * 3
    y = k.sum()  # 3 x0 + x0^2 + x0^4 + 3 x1 + x0 x1^2 + x0 x1^4
    (g,) = tg.autograd.grad(y, x, create_graph=True)
    a, b = 0.3, -0.7
    np.testing.assert_allclose(g.detach().numpy(), [3 + 2 * a + 4 * a**3 + b**2 + b**4, 3 + 2 * a * b + 4 * a * b**3])
    (gg,) = tg.autograd.grad(g[0], x)
    np.testing.assert_allclose(gg.numpy(), [2 + 12 * a**2, 2 * b + 4 * b**3])


def test_no_cycles_and_nothing_is_kept_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(1, 2, 3)
        y = x * 2
        view = y[1:]
        other = y.reshape(3, 1)
        view.mul_(y[:2])
        y[0] = view[0]
        other += 1
        y.unsqueeze_(0)
        view.detach_()
        gone = [weakref.ref(t) for t in (y, view, other)]
        nodes = [weakref.ref(t._node) for t in (y, other)]
        versions = x._own_versions()
        for _ in range(100):
            x.reshape(1, 3)
        assert not versions.views
        del y, view, other
        assert all(reference() is None for reference in gone + nodes)
    finally:
        gc.enable()


def test_filling_a_tensor_over_time_records_one_node_per_step() -> None:
    w = leaf(0.5)
    outputs = tg.zeros(50, 4, dtype=tg.float64)
    h = tg.ones(4, dtype=tg.float64)
    for t in range(50):
        h = h * w
        outputs[t] = h
    depth, node = 0, outputs.grad_fn
    while isinstance(node, Node):
        assert node.primitive.name == "setitem"
        depth, node = depth + 1, node.parents[0]
    assert depth == 50
    outputs.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), [4 * sum(t * 0.5 ** (t - 1) for t in range(1, 51))], rtol=1e-14)


@pytest.mark.parametrize("how", ["backward", "inputs", "grad"])
def test_the_way_back_through_writes_to_slices_moves_slices_not_wholes(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinygrad_rnn.tape.inplace.writes import Erased

    wholes: list[int] = []
    start = Erased.start
    monkeypatch.setattr(Erased, "start", lambda self: wholes.append(1) or start(self))
    w = leaf(0.5)
    x = tg.zeros(50, 4, dtype=tg.float64)
    h = w * tg.ones(4, dtype=tg.float64)
    x[0] = h
    for t in range(1, 50):
        x[t] = x[t - 1] * w
    if how == "grad":
        tg.autograd.grad(x.sum(), w)
    else:
        x.sum().backward(inputs=[w] if how == "inputs" else None)
    assert len(wholes) == 1  # the first one: the cotangent that came with backward() is not the sweep's to write to


def test_a_cotangent_in_another_order_of_memory_is_erased_too() -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = x * 1
    y.reshape(-1)[4] = 0
    (y.T * 2 + y.T * 3).sum().backward()
    check(x.grad, 5, 5, 5, 5, 0, 5)


def test_a_cotangent_that_was_delivered_is_not_written_to() -> None:
    x = leaf(1, 2)
    y = x * 1
    y[0] = 5
    of_y, of_x = tg.autograd.grad((y * 2 + y * 3).sum(), [y, x])
    check(of_y, 5, 5)
    check(of_x, 0, 5)


def test_a_cotangent_that_others_use_is_not_written_to() -> None:
    x, seed = leaf(1, 2), np.array([1.0, 1.0])
    y = x * 1
    z = y + 0  # passes its cotangent on as it is
    z[0] = 5
    total = z + y
    given = tg.tensor(seed)
    total.backward(given)
    check(given, 1, 1)
    check(x.grad, 1, 2)
    y = x * 1
    y[0] = 0
    y.retain_grad()
    y.backward(given)
    check(given, 1, 1)
    check(y.grad, 1, 1)


def test_the_message_names_the_node_that_made_a_value_and_nobody_for_a_leaf() -> None:
    x = leaf(1, 2, 3)
    y = x.sin()
    with tg.no_grad():
        x.add_(1)
    with pytest.raises(InplaceError, match=r": \[torch.DoubleTensor \[3\]\] is at version 1; .*\(its argument 0\)"):
        y.sum().backward()
    h = leaf(1, 2, 3) * 2
    y = tg.ones(3, dtype=tg.float64) * h.sin()
    h.add_(1)
    with pytest.raises(InplaceError, match=r"\[3\]\], which is output 0 of MulBackward0, is at version 1"):
        y.sum().backward()


def test_the_message_tells_the_shape_of_the_argument_not_of_the_result() -> None:
    a, b = tg.ones(2, 3, requires_grad=True), tg.ones(3, 4, requires_grad=True)
    for written, sentence in ((a, r"\[2, 3\]\] is .*argument 0"), (b, r"\[3, 4\]\] is .*argument 1")):
        y = (a @ b).sum()
        with tg.no_grad():
            written.add_(1)
        with pytest.raises(InplaceError, match=sentence):
            y.backward()


@pytest.mark.parametrize("name", ["tanh", "pow"])
def test_a_node_with_a_hook_watches_what_it_saved_also_in_the_second_order(name: str) -> None:
    x, other = leaf(1, 2, 3), leaf(2, 3, 4)
    y = x.tanh() if name == "tanh" else other**x
    y.grad_fn.register_hook(lambda gi, go: None)
    (g,) = tg.autograd.grad(y.sum(), x, create_graph=True)
    with tg.no_grad():
        y.add_(1)
    with pytest.raises(InplaceError, match="modified by an inplace operation"):
        g.sum().backward()


class SavesSecond(tg.autograd.Function):
    """A copy of its first argument, which saves the second."""

    @staticmethod
    def forward(ctx: Any, x: Any, kept: Any) -> Any:
        ctx.save_for_backward(kept)
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (kept,) = ctx.saved_tensors
        return g + 0 * kept.sum(), None


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (tg.float32, "FloatTensor"),
        (tg.float64, "DoubleTensor"),
        (tg.int64, "LongTensor"),
        (tg.bool, "BoolTensor"),
        (tg.uint8, "ByteTensor"),
    ],
)
def test_the_message_calls_types_as_pytorch_does(dtype: Any, name: str) -> None:
    kept = tg.zeros(2, dtype=dtype)
    z = SavesSecond.apply(leaf(1, 2), kept).sum()
    kept.fill_(1)
    with pytest.raises(InplaceError, match=rf": \[torch\.{name} \[2\]\]"):
        z.backward()


def test_the_way_back_past_writes_looks_at_each_place_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In ``outputs[t] = f(outputs[t - 1])`` every saved value is held against the writes after it."""
    from tinygrad_rnn.tape.inplace import versions

    looked: list[int] = []
    bounds = versions._bounds
    monkeypatch.setattr(versions, "_bounds", lambda a: looked.append(1) or bounds(a))
    w, T = leaf(0.5, 0.25), 100
    outputs = tg.zeros(T, 2, dtype=tg.float64)
    outputs[0] = w
    for t in range(1, T):
        outputs[t] = outputs[t - 1] * w
    outputs.sum().backward()
    assert T < len(looked) < 3 * T  # of each write and of each saved value; all writes for each value: T * T / 2


def test_a_write_to_a_diagonal_reaches_the_whole_and_its_gradient() -> None:
    for recorded in (False, True):
        x, w = tg.tensor(np.arange(1.0, 10).reshape(3, 3), requires_grad=True), leaf(1, 2, 3)
        y = x * 1
        y.diagonal().mul_(w)
        of_x, of_w = tg.autograd.grad((y * y).sum() / 2, [x, w], create_graph=recorded)
        assert of_x.requires_grad == recorded
        check(of_x.detach(), 1, 2, 3, 4, 4 * 5, 6, 7, 8, 9 * 9)  # y, and on the diagonal w^2 x
        check(of_w.detach(), 1, 2 * 25, 3 * 81)
        if recorded:
            (second,) = tg.autograd.grad(of_x.sum(), w)
            check(second, 2, 4 * 5, 6 * 9)


@pytest.mark.parametrize("whole", [False, True])
def test_the_gradient_of_what_a_view_replaced_is_found_alone(whole: bool) -> None:
    """Only one of the two ways through a write to a view leads to what was asked for."""
    for wanted, expected in ((0, [0, 3]), (1, [5])):
        x, v = leaf(2, 3), leaf(5)
        y = x * 1
        if whole:
            y[:1].copy_(v)
        else:
            y[0] = v[0]
        loss = (y * y * y).sum()
        for recorded in (False, True):
            (g,) = tg.autograd.grad(loss, (x, v)[wanted], retain_graph=True, create_graph=recorded)
            check(g.detach(), *(3 * value**2 for value in expected))
        (second,) = tg.autograd.grad(g.sum(), (x, v)[wanted])
        check(second, *(6 * value for value in expected))


def test_a_leaf_in_memory_that_was_detached_does_not_hinder_writes_to_the_original() -> None:
    y, w = tg.zeros(3, dtype=tg.float64), leaf(1, 2, 3)
    twin = y.detach()
    x = twin[:2].requires_grad_()
    y.add_(w)
    check(x.detach(), 1, 2)
    (x.sum() * 10 + y.sum()).backward()
    check(x.grad, 10, 10)
    check(w.grad, 1, 1, 1)


def test_a_detached_diagonal_can_be_written_to_and_what_the_user_locked_cannot() -> None:
    x = tg.zeros(2, 2)
    x.diagonal().detach().fill_(3)
    x.diagonal().data[1] = 4
    assert x.tolist() == [[3.0, 0.0], [0.0, 4.0]]
    values = np.zeros((2, 2))
    values.flags.writeable = False
    locked = tg.from_numpy(values)
    for view in (locked[0], locked.diagonal(), locked.T[1:], locked.detach(), locked.diagonal().detach()):
        with pytest.raises(InplaceError, match=r"fill_\(\): the memory of this tensor of shape \[.*\] is read-only"):
            view.fill_(1)
    assert not values.any()


def test_a_quotient_can_be_written_to() -> None:
    """``y = x / x.sum(); y *= mask``: the derivative of a quotient needs its arguments, not itself."""
    x = tg.tensor([1.0, 2.0, 5.0], dtype=tg.float64, requires_grad=True)
    y = x / x.sum()
    y *= tg.tensor([1.0, 0.0, 1.0], dtype=tg.float64)
    y += 1
    y.sum().backward()
    assert x.grad is not None  # of (x0 + x2) / (x0 + x1 + x2)
    np.testing.assert_allclose(x.grad.numpy(), [2 / 64, -6 / 64, 2 / 64], rtol=1e-12)


@pytest.mark.parametrize("unlocked", [False, True])
@pytest.mark.parametrize("repeat", ["expand", "unfold"])
def test_a_part_of_a_tensor_that_repeats_memory_is_not_written_to_while_recording(repeat: str, unlocked: bool) -> None:
    """The other places of the same memory would change with it, and their gradients would not know."""
    b = tg.tensor([1.5, -0.5], dtype=tg.float64, requires_grad=True)
    k = tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64)
    y = k[:2].expand(2, 2) if repeat == "expand" else k.unfold(0, 2, 1)
    if unlocked:
        y.detach()  # which makes the memory writeable for NumPy
    with pytest.raises(InplaceError, match="more than one element of the written-to tensor"):
        y[0] += b
    with pytest.raises(InplaceError, match="more than one element of the written-to tensor"):
        y[0, 1:].copy_(b[:1])
    assert k.tolist() == [1, 2, 3]
    with tg.no_grad():
        y[0] += 1
    y[0] += 1  # nor is there a history to go wrong here
    assert k.tolist() == [3, 4, 3]
