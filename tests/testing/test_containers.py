"""What is in a container is checked too: results and arguments of every check, and no check passes for nothing."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.support.rows import together
from tinygrad_rnn import nn
from tinygrad_rnn.autograd import GradcheckError, gradcheck, gradgradcheck
from tinygrad_rnn.testing import (
    CheckFailed,
    assert_adjoint,
    assert_batch_permutes,
    assert_deterministic,
    assert_gradient_of_sum,
    assert_gradients,
    assert_laws,
    assert_tied_is_sum_of_untied,
    assert_unmutated,
    assert_vjp_linear,
)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass(frozen=True)
class State:
    h: Any
    step: Any = None


class Twice(tg.autograd.Function):
    """Its gradient is twice too large."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return 4 * g


def leaf(*values: Any) -> tg.Tensor:
    return tg.tensor(np.array(values), dtype=tg.float64, requires_grad=True)


WRAPPERS = [
    (lambda y, z: (y, (y, z)), "output[1][1]"),
    (lambda y, z: [y, [[z]]], "output[1][0][0]"),
    (lambda y, z: {"value": y, "aux": z}, "output['aux']"),
    (lambda y, z: {"aux": [None, z]}, "output['aux'][1]"),
    (lambda y, z: OrderedDict(aux=(z,)), "output['aux'][0]"),
    (lambda y, z: Pair(y, z), "output.second"),
    (lambda y, z: (None, State(z)), "output[1].h"),
    (lambda y, z: (y, None, z), "output 2"),
    (lambda y, z: (y.argmax(), z), "output 1"),
    (lambda y, z: z, "output 0"),
]
BY_NUMBERS = [
    lambda f, x: gradcheck(f, (x,)),
    lambda f, x: gradcheck(f, (x,), fast_mode=True),
    lambda f, x: assert_gradients(f, [x]),
    lambda f, x: assert_gradients(f, x, order=2),
]


@pytest.mark.parametrize("check", BY_NUMBERS)
@pytest.mark.parametrize(("wrap", "name"), WRAPPERS)
def test_a_wrong_gradient_is_found_in_every_container(wrap: Any, name: str, check: Any) -> None:
    right = check(lambda x: wrap(tg.tanh(x), tg.exp(x)), leaf(1.0, 2.0))
    assert right is True or right.signal > 0.1
    with pytest.raises(GradcheckError) as caught:
        check(lambda x: wrap(tg.tanh(x), Twice.apply(x)), leaf(1.0, 2.0))
    assert f"Jacobian mismatch for {name} with respect to input 0," in str(caught.value)
    assert "Twice([2])" in str(caught.value) and "has a wrong vjp" in str(caught.value)
    assert caught.value.mismatch is not None and caught.value.mismatch.output_name == name


@pytest.mark.parametrize(("wrap", "name"), WRAPPERS)
def test_a_wrong_second_derivative_is_found_in_every_container(wrap: Any, name: str) -> None:
    class HalfDone(tg.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * 3 * (x * x.detach())

    x = leaf(1.0, 2.0)
    assert gradgradcheck(lambda x: wrap(tg.tanh(x), tg.exp(x)), x)
    with pytest.raises(GradcheckError, match=r"HalfDone\(\[2\]\).* has a right vjp with a wrong derivative"):
        gradgradcheck(lambda x: wrap(tg.tanh(x), HalfDone.apply(x)), x)
    with pytest.raises(GradcheckError, match=r"HalfDone\(\[2\]\).* has a right vjp with a wrong derivative"):
        assert_gradients(lambda x: wrap(tg.tanh(x), HalfDone.apply(x)), x, order=2)


def test_tensors_in_arguments_are_inputs_and_are_named_by_their_path() -> None:
    def layer(x: Any, state: Any, *, wrong: bool = False) -> Any:
        h, (c, options) = state
        return x * h + (Twice.apply(c) if wrong else c.exp()) * options["scale"]

    state = [leaf(0.5, 1.0), (leaf(2.0, 3.0), {"scale": leaf(1.0), "name": "unused"})]
    assert gradcheck(layer, (leaf(1.0, 2.0), state)) and gradgradcheck(layer, (leaf(1.0, 2.0), state))
    assert assert_gradients(layer, [leaf(1.0, 2.0), state], order=2).signal > 0.1
    assert_laws(layer, [leaf(1.0, 2.0), state])
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x, state: layer(x, state, wrong=True), (leaf(1.0, 2.0), state))
    assert "with respect to input[1][1][0]," in str(caught.value)
    assert "by input[1][1][0] 'state[1][0]'[" in str(caught.value)


def test_containers_without_tensors_are_arguments_like_others() -> None:
    func = lambda x, shape, w: x.reshape(shape) * w  # noqa: E731
    inputs = (leaf(1.0, 2.0), (2, 1), leaf(3.0))
    assert gradcheck(func, inputs)
    with pytest.raises(GradcheckError, match="with respect to input 2"):
        gradcheck(lambda x, shape, w: x.reshape(shape) * Twice.apply(w), inputs)


NO_TENSORS = [
    (lambda x: np.tanh(x.numpy(force=True)), "ndarray", "output 0"),
    (lambda x: 3.0, "float", "output 0"),
    (lambda x: (x * 2, 3.0), "float", "output 1"),
    (lambda x: (x * 2, (x, np.float64(1.0))), "float64", r"output\[1\]\[1\]"),
    (lambda x: {"y": x * 2, "name": "y"}, "str", r"output\['name'\]"),
    (lambda x: None, "NoneType", "no tensor to check"),
    (lambda x: (), "tuple", "no tensor to check"),
    (lambda x: {"y": None}, "dict", "no tensor to check"),
]
EVERY_CHECK = [
    lambda f, x: gradcheck(f, x),
    lambda f, x: gradgradcheck(f, x),
    lambda f, x: assert_gradients(f, x),
    lambda f, x: assert_laws(f, x),
    lambda f, x: assert_vjp_linear(f, x),
    lambda f, x: assert_adjoint(f, x),
    lambda f, x: assert_unmutated(f, x),
    lambda f, x: assert_deterministic(f, x),
    lambda f, x: assert_gradient_of_sum([f, tg.tanh], x),
    lambda f, x: assert_tied_is_sum_of_untied(f, x, 1),
    lambda f, x: assert_batch_permutes(f, x, [0], [0]),
]


@together
@pytest.mark.parametrize("check", EVERY_CHECK)
@pytest.mark.parametrize(("func", "kind", "where"), NO_TENSORS)
def test_a_result_that_is_no_tensor_is_refused_as_in_pytorch(func: Any, kind: str, where: str, check: Any) -> None:
    with pytest.raises(AttributeError, match=f"'{kind}' object has no attribute 'requires_grad': .*{where}") as caught:
        check(func, leaf(1.0, 2.0))
    assert isinstance(caught.value, tg.errors.TinygradRnnError)


def test_pytorch_refuses_the_same_results() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for result in (3.0, None, (x * 2, 3.0), (x * 2, (x,)), {"y": x * 2}):
        with pytest.raises(AttributeError, match="object has no attribute 'requires_grad'"):
            torch.autograd.gradcheck(lambda x, result=result: result, (x,))


# one tensor as several outputs or inputs ---------------------------------------------------------------------------

RIGHT = [
    (lambda x, y: x + y, gradgradcheck),
    (lambda x, y: (x + y).tanh(), gradgradcheck),
    (lambda x, y: 2 * x - y, gradgradcheck),
    (lambda x, y: (x * 2,) * 2, gradcheck),
    (lambda x, y: [x, x, y], gradcheck),
    (lambda x, y: (x, (x, x * y), {"again": x}), gradgradcheck),
    (lambda x, y: {"y": y, "same": (y, y)}, gradcheck),
    (lambda x, y: (x.view(2, 1), x), gradgradcheck),
    (lambda x, y: [z := tg.exp(x * y), z, z[:1]], gradgradcheck),
    (lambda x, y: 1e8 * (x + y) + (x - y), gradgradcheck),
]


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(("func", "check"), RIGHT)
def test_right_functions_are_accepted_whatever_they_give_twice(
    func: Any, check: Any, same: bool, fast_mode: bool
) -> None:
    x = leaf(0.5, -1.25)
    inputs = (x, x if same else leaf(2.0, 0.75))
    assert check(func, inputs, fast_mode=fast_mode) and gradcheck(func, inputs, check_forward_ad=True)
    assert_gradients(func, inputs, order=2)
    assert_laws(func, inputs)


def test_a_product_of_one_tensor_with_itself_given_twice() -> None:
    x = leaf(0.5, -1.25)
    assert gradgradcheck(lambda a, b: a * b, (x, x))


# laws --------------------------------------------------------------------------------------------------------------


def test_a_batch_must_be_followed_inside_a_container() -> None:
    rows = tg.tensor(np.arange(12.0).reshape(4, 3) / 5, requires_grad=True)
    mixed = lambda b: (b * 2, (b - b[0],))  # noqa: E731
    with pytest.raises(tg.errors.ArgumentError, match=r"output_axes .* each of 2, got \[0\]: of output 0, output\[1\]"):
        assert_batch_permutes(mixed, [rows], axes=[0], output_axes=[0])
    for axes in ([0, 0], (0, (0,)), [[0], 0]):
        with pytest.raises(CheckFailed, match=r"output\[1\]\[0\] does not follow its batch"):
            assert_batch_permutes(mixed, [rows], axes=[0], output_axes=axes)
        assert_batch_permutes(lambda b: (b * 2, (b - 1,)), [rows], axes=[0], output_axes=axes)
    assert_batch_permutes(lambda x: x["b"] * x["w"], [{"b": rows, "w": leaf(1.0, 2.0, 3.0)}], [[0, None]], [0])
    with pytest.raises(CheckFailed, match="output 0 does not follow its batch"):
        assert_batch_permutes(lambda x: x["b"] - x["b"][0], [{"b": rows}], [0], [0])
    with pytest.raises(CheckFailed, match="output 1 does not follow its batch"):  # one that needs no gradient
        assert_batch_permutes(lambda b: (b * 2, b.detach() - b.detach()[0]), [rows], [0], [0, 0])


def test_the_parts_of_a_container_must_be_deterministic() -> None:
    rng = np.random.default_rng(0)
    for wrap in (lambda y: (tg.ones(1), (y,)), lambda y: {"noise": y}, lambda y: [None, y]):
        with pytest.raises(CheckFailed, match="two runs gave different values of output"):
            assert_deterministic(lambda x, wrap=wrap: wrap(x * float(rng.random())), leaf(1.0))
    with pytest.raises(CheckFailed, match="two runs gave different values of output 1"):  # integers too
        assert_deterministic(lambda x: (x, tg.tensor(int(rng.integers(10**9)))), leaf(1.0))


def test_ties_inside_a_container() -> None:
    assert_tied_is_sum_of_untied(lambda a, b: (a, {"product": a * b}), leaf(1.0, 2.0), 2)
    with pytest.raises(CheckFailed, match="a tensor used 2 times did not get the sum"):
        assert_tied_is_sum_of_untied(lambda a, b: (a, {"p": a * b if a is b else 2 * a * b}), leaf(1.0, 2.0), 2)


def test_a_tensor_or_array_inside_an_argument_must_not_be_written_to() -> None:
    def writes(parts: Any) -> Any:
        parts[0].add_(1.0)
        return parts[0] * parts[1]["w"]

    with pytest.raises(CheckFailed, match=r"tensor input\[0\]\[0\] was written to"):
        assert_unmutated(writes, [[tg.ones(2, dtype=tg.float64), {"w": leaf(1.0, 2.0)}]])

    def writes_array(x: Any, table: Any) -> Any:
        table["a"][0] = 7.0
        return x * 2

    with pytest.raises(CheckFailed, match=r"input\[1\]\['a'\] was written to"):
        assert_unmutated(writes_array, [leaf(1.0), {"a": np.zeros(2)}])


# recurrent layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("packed", [False, True])
def test_recurrent_layers_are_checked_whole(kind: str, packed: bool) -> None:
    """The states among the results, the states among the arguments, and packed sequences on both sides."""
    tg.manual_seed(0)
    layer = getattr(nn, kind)(2, 3, dtype=tg.float64)
    x = tg.randn(3, 2, 2, dtype=tg.float64, requires_grad=True)
    states = [tg.randn(1, 2, 3, dtype=tg.float64, requires_grad=True) for _ in range(2)]
    state = tuple(states) if kind == "LSTM" else states[0]
    if packed:
        batch = nn.utils.rnn.pack_padded_sequence(x, [3, 2])
        given = nn.utils.rnn.PackedSequence(batch.data.detach().requires_grad_(), *batch[1:])
    else:
        given = x
    assert gradcheck(layer, (given, state), fast_mode=True) and gradgradcheck(layer, (given, state), fast_mode=True)
    assert_gradients(layer, (given, state), order=2)
    assert_laws(layer, (given, state))

    def spoiled(given: Any, state: Any) -> Any:
        output, final = layer(given, state)
        return output, (final[0], Twice.apply(final[1])) if kind == "LSTM" else [Twice.apply(final)]

    place = r"output\[1\]\[1\]" if kind == "LSTM" else r"output\[1\]\[0\]"
    with pytest.raises(GradcheckError, match=f"Jacobian mismatch for {place}"):
        gradcheck(spoiled, (given, state))
    with pytest.raises(GradcheckError, match=f"Jacobian mismatch for {place}"):
        assert_gradients(spoiled, (given, state))
