"""A view of a weight does not hide its use: the shares are those of the records that computed with the view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def weight(*shape: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def test_the_use_of_a_transposed_weight_is_the_product() -> None:
    W = weight(3, 2)
    x = tg.tensor([[1.0, 2.0]], dtype=tg.float64)
    with tg.Tape() as tape:
        (x @ W.T).sum().backward()
    (share,) = tape.shares(W)
    assert share.record is tape[1] and share.record.name == "matmul" and share.position == 1
    assert share.through == ("%0",) and tape[0].name == "permute"
    np.testing.assert_array_equal(share.value, W.grad.numpy())  # type: ignore[union-attr]
    np.testing.assert_array_equal(share.value, [[1.0, 2.0]] * 3)


def recurrent(view: Any, W: tg.Tensor) -> tuple[tg.Tape, list[int]]:
    """A weight that is used at five steps by way of one view that is taken before; the numbers of the products."""
    h = tg.tensor([[0.5, -1.0]], dtype=tg.float64)
    with tg.Tape() as tape:
        seen = view(W)
        for _ in range(5):
            h = tg.tanh(h @ seen)
        h.sum().backward()
    return tape, [r.number for r in tape if r.name == "matmul"]


@pytest.mark.parametrize(
    ("view", "shape"),
    [
        (lambda W: W.T, (2, 2)),
        (lambda W: W.T.reshape(4).reshape(2, 2).T, (2, 2)),
        (lambda W: W[1:3].transpose(0, 1), (4, 2)),
        (lambda W: W[0], (3, 2, 2)),
        (lambda W: W.unsqueeze(0)[0], (2, 2)),
        (lambda W: W.view(4)[None].squeeze(0).view(2, 2), (2, 2)),
    ],
)
def test_one_view_used_at_every_step_has_a_share_for_each(view: Any, shape: tuple[int, ...]) -> None:
    W = weight(*shape)
    tape, products = recurrent(view, W)
    shares = tape.shares(W)
    assert [s.record.number for s in shares if s.record is not None] == products[::-1]
    assert all(s.value.shape == shape and s.through for s in shares)
    np.testing.assert_array_equal(shares.total(), W.grad.numpy())  # type: ignore[union-attr]
    assert min(np.abs(s.value).max() for s in shares) > 1e-3
    # each is what the weight of that step alone would get
    untied = [tg.tensor(W.detach().numpy().copy(), requires_grad=True) for _ in range(5)]
    h = tg.tensor([[0.5, -1.0]], dtype=tg.float64)
    for copy in untied:
        h = tg.tanh(h @ view(copy))
    h.sum().backward()
    for share, copy in zip(shares, reversed(untied), strict=True):
        np.testing.assert_allclose(share.value, copy.grad.numpy(), rtol=1e-14)  # type: ignore[union-attr]


def test_direct_uses_and_uses_through_views_are_summed_in_the_order_of_the_sweep() -> None:
    W = weight(2, 2)
    with tg.Tape() as tape:
        T = W.T
        y = (W @ T + T @ W * 0.3 + W * 0.1).sum() + (T[0] * 0.7).sum()
        y.backward()
    shares = tape.shares(W)
    assert [len(s.through) for s in shares].count(0) == 3 and {len(s.through) for s in shares} == {0, 1, 2}
    np.testing.assert_array_equal(shares.total(), W.grad.numpy())  # type: ignore[union-attr]
    plain = shares[0].value
    for share in shares[1:]:
        plain = plain + share.value
    np.testing.assert_allclose(plain, W.grad.numpy(), rtol=1e-14)  # type: ignore[union-attr]


def test_a_view_that_was_taken_before_the_tape_was_opened() -> None:
    W = weight(2, 2)
    T = W.T
    with tg.Tape() as tape:
        (tg.ones(1, 2, dtype=tg.float64) @ T).sum().backward()
    (share,) = tape.shares(W)
    assert share.record is tape[0] and share.through[0].startswith("permute#")


def test_of_a_view_from_which_a_sweep_starts_the_view_itself_is_the_use() -> None:
    W = weight(2, 2)
    with tg.Tape() as tape:
        T = W.T
        y = (T * 2).sum()
        tg.autograd.backward([y, T], [None, tg.ones(2, 2, dtype=tg.float64)])
    (share,) = tape.shares(W)
    assert share.record is tape[0] and share.value.tolist() == [[3.0, 3.0]] * 2 and share.through == ()
    with tg.Tape() as tape:
        W.T.backward(tg.ones(2, 2, dtype=tg.float64))
    assert [s.record for s in tape.shares(W)] == [tape[0]]


def test_of_a_view_whose_cotangent_a_hook_replaced_the_view_itself_is_the_use() -> None:
    W = weight(2, 2)
    with tg.Tape() as tape:
        T = W.T
        T.register_hook(lambda g: g * 10)
        (T * 2).sum().backward()
    (share,) = tape.shares(W)
    assert share.record is tape[0] and share.value.tolist() == [[20.0, 20.0]] * 2


def test_hooks_of_a_view_are_not_run_again() -> None:
    W = weight(2, 2)
    calls = []
    with tg.Tape() as tape:
        T = W.T
        T.grad_fn.register_hook(lambda inputs, outputs: calls.append(1))  # type: ignore[union-attr]
        (T * 2).sum().backward()
        assert len(calls) == 1
        (share,) = tape.shares(W)
    assert len(calls) == 1 and share.record is tape[0] and share.value.tolist() == [[2.0, 2.0]] * 2


def test_an_expanded_bias_is_used_where_it_is_added() -> None:
    b = weight(2)
    with tg.Tape() as tape:
        rows = b.expand(3, 2)
        (rows * 2 + rows * 3).sum().backward()
    shares = tape.shares(b)
    assert [s.record.name for s in shares if s.record is not None] == ["mul", "mul"]
    assert [s.value.tolist() for s in shares] == [[9.0, 9.0], [6.0, 6.0]]


def test_nan_and_infinite_contributions_are_followed_too() -> None:
    W = weight(2, 2)
    with tg.Tape() as tape:
        (W.T * np.inf + W.T * np.nan).sum().backward()
    assert [s.record.name for s in tape.shares(W) if s.record is not None] == ["mul", "mul"]


def test_within_a_budget_the_use_is_known_and_the_share_a_summary() -> None:
    W = weight(4, 5)
    with tg.Tape(values=2) as tape:
        (tg.ones(1, 5, dtype=tg.float64) @ W.T).sum().backward()
    (share,) = tape.shares(W)
    assert share.record is tape[1] and share.value.norm == pytest.approx(20**0.5) and share.value.shape == (5, 4)


def test_in_a_recorded_sweep_views_are_followed_as_well() -> None:
    W = weight(2, 2)
    with tg.Tape() as tape:
        (tg.ones(1, 2, dtype=tg.float64) @ W.T).square().sum().backward(create_graph=True)
    shares = tape.shares(W)
    assert [s.record.name for s in shares if s.record is not None] == ["matmul"]
    np.testing.assert_allclose(shares.total(), W.grad.detach().numpy(), rtol=1e-14)  # type: ignore[union-attr]


def test_tokens_of_an_embedding_keep_their_own_record() -> None:
    table = weight(4, 2)
    with tg.Tape() as tape:
        (table[tg.tensor([1, 1, 3])] * 2).sum().backward()
    (share,) = tape.shares(table)
    assert share.record is not None and share.through == () and share.value.tolist() == [[0, 0], [4, 4], [0, 0], [2, 2]]


def test_outputs_of_a_fused_layer_have_shares() -> None:
    lstm = tg.nn.LSTM(2, 3)
    with tg.Tape() as tape:
        out, (h, c) = lstm(tg.ones(4, 1, 2))
        ((out * 2).sum() + (out * 3).sum() + h.sum()).backward()
    assert [share.record.name for share in tape.shares(out) if share.record is not None] == ["mul", "mul"]
    assert (tape.shares(out).total() == 5).all() and (tape.shares(h).total() == 1).all()
    with pytest.raises(tg.errors.GraphError, match=r"was not used by anything"):
        tape.shares(c)


def test_a_total_of_what_was_not_kept_says_so() -> None:
    W = weight(4, 5)
    for uses in (1, 2):
        with tg.Tape(values=2) as tape:
            sum((W * k).sum() for k in range(uses)).backward()
        with pytest.raises(tg.errors.GraphError, match=r"kept no more than float64\[4, 5\] of norm .* values='all'"):
            tape.shares(W).total()
