"""A vector of all parameters, and back."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.nn.utils import parameters_to_vector, vector_to_parameters


def test_the_vector_holds_all_entries_in_order_and_gradients_flow_through_it() -> None:
    w, b = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), tg.tensor(5.0, requires_grad=True)
    v = parameters_to_vector(p for p in (w, b))
    assert v.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    (v * tg.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert w.grad is not None and w.grad.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert b.grad is not None and b.grad.item() == 5.0


def test_there_and_back_is_the_identity_and_shares_the_vectors_memory() -> None:
    w, b = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), tg.tensor([5.0], requires_grad=True)
    vector = parameters_to_vector([w, b]).detach() * 2
    vector_to_parameters(vector, iter([w, b]))
    assert w.tolist() == [[2.0, 4.0], [6.0, 8.0]] and b.tolist() == [10.0]
    assert w.requires_grad and w.is_leaf
    assert np.shares_memory(w._data, vector._data)


def test_mistakes() -> None:
    w = tg.zeros(2, requires_grad=True)
    with pytest.raises(TypeError, match="expected torch.Tensor, but got: list"):
        vector_to_parameters([1.0, 2.0], [w])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the vector has 1 entries, the parameters 2"):
        vector_to_parameters(tg.zeros(1), [w])
    assert w.tolist() == [0.0, 0.0]
