"""What arrives in ``.grad``: sums over uses and sweeps, in memory that nobody else has."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.support.profiles import examples
from tinygrad_rnn.tape.multi_output import fused
from tinygrad_rnn.tape.tensor import wrap
from tinygrad_rnn.testing import Program, assert_tied_is_sum_of_untied, programs

TAME = ["neg", "tanh", "sigmoid", "square", "add", "sub", "mul", "sum", "mean", "matmul", "softmax", "getitem", "place"]
TAME += ["reshape", "permute", "stack", "cat", "gather", "scatter_add", "broadcast_to", "sum_to", "relu", "maximum"]


@pytest.mark.parametrize("recorded", [False, True])
def test_gradients_lie_in_c_order_in_memory_of_their_own(recorded: bool) -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    w, seed = tg.zeros(3, 2, dtype=tg.float64, requires_grad=True), tg.ones(3, 2, dtype=tg.float64)
    y = x.T * 2 + x.T * 3 + w  # both ways to x lead through a transposed array, and w gets the seed itself
    found = list(tg.autograd.grad(y, [x, w, x], seed, retain_graph=True, create_graph=recorded))
    if not recorded:
        y.backward(seed)
        found += [x.grad, w.grad]
        assert all(g._data.flags.c_contiguous and g._data.flags.writeable for g in found)
        pairs = itertools.combinations([*found, seed], 2)
        assert not any(np.shares_memory(a._data, b._data) for a, b in pairs)
    assert [g.tolist() for g in found[:3]] == [[[5.0] * 3] * 2, [[1.0] * 2] * 3, [[5.0] * 3] * 2]


@pytest.mark.parametrize("name", ["reshape", "view", "squeeze", "unsqueeze", "flatten", "T", "getitem", "clone", "add"])
def test_a_gradient_that_only_changes_shape_is_never_the_memory_that_was_given(name: str) -> None:
    x, w = tg.zeros(2, 1, 3, requires_grad=True), tg.ones(2, 1, 3, requires_grad=True)
    uses: dict[str, Any] = {
        "reshape": lambda x: x.reshape(6),
        "view": lambda x: x.view(3, 2),
        "squeeze": lambda x: x.squeeze(1),
        "unsqueeze": lambda x: x.unsqueeze(0),
        "flatten": lambda x: x.flatten(),
        "T": lambda x: x.transpose(0, 2),
        "getitem": lambda x: x[:],
        "clone": lambda x: x.clone(),
        "add": lambda x: x + w,
    }
    y = uses[name](x)
    seed = tg.ones(*y.shape)
    (found,) = tg.autograd.grad(y, x, seed, retain_graph=True)
    for _ in range(2):
        y.backward(seed, retain_graph=True)
    both = [(y, seed), (y * 1, tg.ones(*y.shape))]  # a sum of two, which the sweep may keep
    tg.autograd.backward([t for t, _ in both], [s for _, s in both])
    memories = [t._data for t in (found, x.grad, seed, both[1][1], x, *([w.grad, w] if name == "add" else []))]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(memories, 2))
    assert found.tolist() == np.ones((2, 1, 3)).tolist() and x.grad.tolist() == np.full((2, 1, 3), 4.0).tolist()
    assert seed.sum() == seed.numel()


def test_an_input_that_is_given_twice_gets_two_results() -> None:
    x = tg.zeros(2, requires_grad=True)
    first, second, third = tg.autograd.grad((x * 2 + x * 3).sum(), [x, x, x])
    first.zero_()
    second.mul_(10)
    assert (first.tolist(), second.tolist(), third.tolist()) == ([0.0, 0.0], [50.0, 50.0], [5.0, 5.0])


made: list[np.ndarray] = []


@functools.cache
def doubled() -> Any:
    """A fused primitive that makes its cotangents for the purpose, and shows which arrays they are."""

    def pull(gs: Any, residual: Any, a: Any, needs: Any) -> list[np.ndarray]:
        made.append(gs[0] * 2)
        return made[-1:]

    return fused("doubled_of_tests", lambda a: ((a * 2,), None), pull, lambda a: (a * 2,), gives_new=True)


@pytest.mark.parametrize("through", ["nothing", "reshape"])
@pytest.mark.parametrize("how", ["backward", "inputs", "grad"])
def test_a_gradient_that_was_made_for_the_purpose_is_kept_without_a_copy(through: str, how: str) -> None:
    x = tg.zeros(2, 3, requires_grad=True)
    (y,) = doubled()(x if through == "nothing" else x.reshape(6))
    if how == "grad":
        (g,) = tg.autograd.grad(y.sum(), x)
    else:
        y.sum().backward(inputs=[x] if how == "inputs" else None)
        g = x.grad
    assert g.tolist() == [[2.0] * 3] * 2 and np.shares_memory(g._data, made[-1])


def seeds_for(outputs: tuple[tg.Tensor, ...], seed: int = 0) -> list[tg.Tensor]:
    rng = np.random.default_rng(seed)
    return [wrap(rng.standard_normal(y.shape)) for y in outputs]


@settings(max_examples=examples(40, 2000))
@given(programs(only=TAME, max_inputs=3, max_steps=12, shape=st.just((3,))))
def test_a_tied_tensor_gets_the_sum_of_the_gradients_of_its_uses(program: Program) -> None:
    """All inputs of a program tied into one: whatever the program, whatever the tape does with repeated uses."""
    tied = tg.tensor(program.inputs[0], dtype=tg.float64, requires_grad=True)
    assert_tied_is_sum_of_untied(program, tied, len(program.inputs))


@settings(max_examples=examples(40, 2000))
@given(programs(max_steps=12))
def test_gradients_share_memory_with_nothing(program: Program) -> None:
    """Not with inputs, cotangents, values of the program, nor each other: all may be written to afterwards."""
    leaves = program.tensors()
    values = program.values(*leaves)
    outputs = tuple(values[k] for k in program.outputs)
    seeds = seeds_for(outputs)
    tg.autograd.backward(list(outputs), seeds)
    others = [t._data for t in (*values, *seeds)]
    for leaf in leaves:
        if leaf.grad is not None:
            grad = leaf.grad._data
            assert grad.flags.c_contiguous and grad.flags.writeable and grad.shape == leaf.shape
            assert not any(np.shares_memory(grad, other) for other in others)
            others.append(grad)


@settings(max_examples=examples(40, 2000))
@given(programs(max_steps=12))
def test_a_second_sweep_adds_the_same_again(program: Program) -> None:
    leaves = program.tensors()
    outputs = program(*leaves)
    seeds = seeds_for(outputs)
    tg.autograd.backward(list(outputs), seeds, retain_graph=True)
    first = [None if leaf.grad is None else leaf.grad.numpy().copy() for leaf in leaves]
    tg.autograd.backward(list(outputs), seeds)
    for leaf, once in zip(leaves, first, strict=True):
        if once is None:
            assert leaf.grad is None
        else:
            np.testing.assert_array_equal(leaf.grad.numpy(), once + once)  # type: ignore[union-attr]


@settings(max_examples=examples(40, 2000))
@given(programs(max_steps=12))
def test_several_outputs_at_once_are_the_sum_of_each_alone(program: Program) -> None:
    together, apart = program.tensors(), program.tensors()
    outputs = program(*together)
    seeds = seeds_for(outputs)
    tg.autograd.backward(list(outputs), seeds)
    each = program(*apart)
    for y, seed in zip(each, seeds, strict=True):
        if y.requires_grad:
            y.backward(seed, retain_graph=True)
    for one, other in zip(together, apart, strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None and other.grad is not None:
            scale = np.abs(other.grad.numpy()).max(initial=1.0)
            np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-12 * scale)


@settings(max_examples=examples(25, 1000))
@given(programs(max_steps=10))
def test_a_recorded_sweep_gives_the_same_gradients_as_a_plain_one(program: Program) -> None:
    """``create_graph`` runs the vjps on tensors instead of arrays: the numbers are the same, bit for bit or nearly."""
    leaves = program.tensors()
    outputs = [y for y in program(*leaves) if y.requires_grad]
    seeds = seeds_for(tuple(outputs))
    plain = tg.autograd.grad(outputs, leaves, seeds, retain_graph=True, allow_unused=True)
    recorded = tg.autograd.grad(outputs, leaves, seeds, create_graph=True, allow_unused=True)
    for g, h in zip(plain, recorded, strict=True):
        assert (g is None) == (h is None)
        if g is not None and h is not None:
            assert g.shape == h.shape and g.dtype == h.dtype and not g.requires_grad
            scale = np.abs(g.numpy()).max(initial=1.0)
            np.testing.assert_allclose(h.numpy(force=True), g.numpy(), rtol=1e-12, atol=1e-13 * scale)


@settings(max_examples=examples(25, 1000))
@given(programs(max_steps=10), st.integers(0, 2))
def test_the_gradient_of_one_input_does_not_depend_on_which_others_want_one(program: Program, which: int) -> None:
    """What is saved, and which ways are walked, follows from who requires grad; the numbers must not."""
    which = min(which, len(program.inputs) - 1)
    everyone = program.tensors()
    alone = [wrap(a.copy()).requires_grad_(k == which) for k, a in enumerate(program.inputs)]
    gradients = []
    for leaves in (everyone, alone):
        pairs = [(y, s) for y, s in _with_seeds(program(*leaves)) if y.requires_grad]
        found: Any = (None,)
        if pairs:
            found = tg.autograd.grad([y for y, _ in pairs], leaves[which], [s for _, s in pairs], allow_unused=True)
        gradients.append(found[0])
    first, second = gradients
    if first is None or second is None:
        assert (first is None or not first.numpy().any()) and (second is None or not second.numpy().any())
    else:
        scale = np.abs(first.numpy()).max(initial=1.0)
        np.testing.assert_allclose(second.numpy(), first.numpy(), rtol=1e-12, atol=1e-13 * scale)


def _with_seeds(outputs: tuple[tg.Tensor, ...]) -> list[tuple[tg.Tensor, tg.Tensor]]:
    return list(zip(outputs, seeds_for(outputs), strict=True))


def test_weights_of_a_recurrent_layer_get_the_sum_over_its_steps() -> None:
    """A layer of T steps against T cells with weights of their own."""
    rng = np.random.default_rng(0)
    layer = tg.nn.LSTM(2, 3, dtype=tg.float64)
    x = tg.tensor(rng.standard_normal((5, 1, 2)), dtype=tg.float64)
    layer(x)[0].sum().backward()
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    cells = []
    for _ in range(5):
        cell = tg.nn.LSTMCell(2, 3, dtype=tg.float64)
        cell.load_state_dict({name: getattr(layer, f"{name}_l0").detach() for name in names})
        cells.append(cell)
    state, total = None, tg.zeros((), dtype=tg.float64)
    for cell, x_t in zip(cells, x, strict=True):
        state = cell(x_t, state)
        total = total + state[0].sum()
    total.backward()
    for name in names:
        summed = sum(getattr(cell, name).grad.numpy() for cell in cells)
        np.testing.assert_allclose(getattr(layer, f"{name}_l0").grad.numpy(), summed, rtol=1e-12, atol=1e-14)
        assert np.abs(summed).max() > 1e-3


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 0, 3)])
def test_small_and_empty_shapes_accumulate_too(shape: tuple[int, ...]) -> None:
    x = tg.tensor(np.full(shape, 3.0), dtype=tg.float64, requires_grad=True)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad is not None and x.grad.shape == shape
    np.testing.assert_array_equal(x.grad.numpy(), np.full(shape, 12.0))


@pytest.mark.parametrize("wanted", [False, True])
def test_parts_are_added_to_a_sum_of_numbers(wanted: bool) -> None:
    """The sum of two 0-d cotangents is a number to NumPy: there is no memory in it to add to."""
    s = tg.tensor(0.75, dtype=tg.float64, requires_grad=True)
    part = s[None]
    loss = (part * s + s * 3).sum() + part.exp().sum()
    (found,) = tg.autograd.grad(loss, [s], retain_graph=True) if wanted else (loss.backward(), s.grad)[1:]
    assert found is not None and found.shape == ()
    assert found.item() == pytest.approx(2 * 0.75 + 3 + np.exp(0.75), rel=1e-14)


def test_a_plain_gradient_is_added_to_where_it_lies_and_a_recorded_one_is_replaced() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and first.tolist() == [5.0, 5.0] and first._version == 1
    x.grad = None
    (x * x).sum().backward(create_graph=True)
    recorded = x.grad
    (x * 3).sum().backward()
    assert recorded.tolist() == [2.0, 4.0] and recorded.requires_grad and recorded._version == 0
    assert x.grad.tolist() == [5.0, 7.0] and not x.grad.requires_grad
