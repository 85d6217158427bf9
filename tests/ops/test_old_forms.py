"""What programs from before PyTorch 0.4 call: numbers first, ``new``, ``resize_``, ``set_``, ``index_put_``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import ArgumentTypeError, InplaceError

ONE, SQUARE = tg.ones(1), tg.ones(1, 1)
CUBE = tg.ones(1, 1, 1)


def g() -> tg.Tensor:
    return tg.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "values"),
    [
        (lambda: tg.ones(2).add_(-0.1, g()), [0.9, 0.8]),
        (lambda: tg.ones(2).sub_(0.5, g()), [0.5, 0.0]),
        (lambda: tg.add(tg.ones(2), 2, g()), [3.0, 5.0]),
        (lambda: tg.ones(2).sub(2, g()), [-1.0, -3.0]),
        (lambda: tg.ones(2).addcmul_(0.5, g(), g()), [1.5, 3.0]),
        (lambda: tg.ones(2).addcdiv_(-0.5, g(), g()), [0.5, 0.5]),
        (lambda: tg.addcdiv(tg.ones(2), 3, g(), g()), [4.0, 4.0]),
        (lambda: tg.addmm(1, SQUARE, 2, SQUARE, SQUARE), [[3.0]]),
        (lambda: tg.addmm(3, SQUARE, SQUARE, SQUARE), [[4.0]]),
        (lambda: SQUARE.addmm(3, 2, SQUARE, SQUARE), [[5.0]]),
        (lambda: tg.ones(1, 1).addmm_(3, SQUARE, SQUARE), [[4.0]]),
        (lambda: tg.addmv(3, ONE, 2, SQUARE, ONE), [5.0]),
        (lambda: tg.addr(3, SQUARE, 2, ONE, ONE), [[5.0]]),
        (lambda: tg.baddbmm(3, CUBE, 2, CUBE, CUBE), [[[5.0]]]),
        (lambda: tg.addbmm(3, SQUARE, CUBE, CUBE), [[4.0]]),
    ],
)
def test_numbers_may_come_first_with_a_warning(call: Any, values: Any) -> None:
    with pytest.warns(UserWarning, match=r"This overload of \w+ is deprecated:\n\t.*\n.*instead:\n\t"):
        found = call()
    np.testing.assert_allclose(found.numpy(), values, rtol=1e-6)


def test_the_warning_shows_the_users_line_and_both_forms() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tg.ones(2).add_(-0.1, g())
    assert seen[0].filename == __file__
    assert str(seen[0].message).splitlines()[1::2] == [
        "\tadd_(Number alpha, Tensor other)",
        "\tadd_(Tensor other, *, Number alpha = 1)",
    ]


def test_a_gradient_passes_an_old_form() -> None:
    x, w = tg.ones(2, requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)
    with pytest.warns(UserWarning):
        tg.add(x * 1, 2, w).addcmul(5, w, w).sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert w.grad.tolist() == [2 + 10 * 3, 2 + 10 * 4]


def test_what_fits_no_form_is_refused_without_naming_the_old_one() -> None:
    with pytest.raises(TypeError, match=r"add\(\) takes 2 positional arguments but 3 were given"):
        tg.add(2, g(), g())
    with pytest.raises(TypeError) as caught:
        tg.addmm(SQUARE, SQUARE)
    assert "beta, Tensor input" not in str(caught.value)


def test_new_is_of_the_dtype_of_the_tensor_and_not_of_its_history() -> None:
    w = tg.nn.LSTM(2, 3).weight_hh_l0
    made = w.new(2, 1, 3).zero_()
    assert made.shape == (2, 1, 3) and made.dtype == tg.float32 and not made.requires_grad
    assert tg.tensor([1]).new(2).fill_(3).dtype == tg.int64
    assert w.new([1, 2]).tolist() == w.new((1, 2)).tolist() == w.new(np.array([1, 2])).tolist() == [1.0, 2.0]
    assert w.new().shape == (0,) and w.new(tg.Size([1, 2])).shape == w.new(size=(1, 2)).shape == (1, 2)
    x = g()
    shared = x.new(x)
    shared[0] = 7
    assert x.tolist() == [7, 2]
    with pytest.raises(ArgumentTypeError, match="use .to"):
        x.new(tg.tensor([1]))


def test_resized_memory_is_the_same_memory() -> None:
    a = tg.arange(6.0)
    before = a.view(2, 3)
    a.resize_(2).fill_(9)
    assert before.tolist() == [[9, 9, 2], [3, 4, 5]]
    assert tg.arange(6.0).reshape(2, 3).t().resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert tg.arange(6.0)[2:4].resize_(3).tolist() == [2, 3, 4]
    assert tg.arange(2.0).resize_(2, 2).tolist() == [[0, 1], [0, 0]]
    assert g().new().resize_((4, 1)).fill_(2.0).tolist() == [[2]] * 4


def test_a_write_to_what_was_resized_is_seen_by_a_sweep() -> None:
    """The memory is shared, so its version is."""
    x = tg.ones(3, requires_grad=True)
    a = tg.ones(3)
    y = (x * a).sum()
    a.detach().resize_(1).fill_(5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_set_takes_the_memory_of_another() -> None:
    x, y = tg.zeros(2, 2), tg.ones(3)
    assert x.set_(y) is x
    y[0] = 5
    assert x.tolist() == [5, 1, 1]
    assert x.set_().shape == (0,)


@pytest.mark.parametrize("name", ["resize_", "set_"])
def test_a_leaf_that_requires_grad_is_left_as_it_is(name: str) -> None:
    p = tg.nn.Parameter(tg.ones(2))
    with pytest.raises(InplaceError):
        getattr(p, name)(*([3] if name == "resize_" else [tg.ones(3)]))
    assert p.tolist() == [1, 1]


def test_index_put_adds_every_value_and_hands_gradients_to_each() -> None:
    x, v = tg.zeros(3, requires_grad=True), tg.tensor([1.0, 2.0, 4.0], requires_grad=True)
    y = x.index_put((tg.tensor([1, 1, 2]),), v, accumulate=True)
    (y * tg.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert y.tolist() == [0, 3, 4]
    assert x.grad.tolist() == [1, 10, 100] and v.grad.tolist() == [10, 10, 100]
    assert tg.autograd.gradgradcheck(
        lambda x, v: tg.index_put(x * x, (tg.tensor([0, 0]),), v * v, accumulate=True).sum(),
        (tg.rand(2, dtype=tg.float64, requires_grad=True), tg.rand(2, dtype=tg.float64, requires_grad=True)),
    )


def test_index_put_takes_masks_and_broadcasts() -> None:
    mask = tg.tensor([[True, False, True], [False] * 3])
    assert tg.zeros(2, 3).index_put_((mask,), tg.tensor([1.0, 2.0])).tolist() == [[1, 0, 2], [0, 0, 0]]
    added = tg.ones(2, 3).index_put_((tg.tensor([0, 0]),), tg.tensor(2.0), accumulate=True)
    assert added.tolist() == [[5, 5, 5], [1, 1, 1]]


def test_volatile_warns_and_means_nothing() -> None:
    with pytest.warns(UserWarning, match="volatile was removed"):
        x = tg.autograd.Variable(g(), volatile=True)
    assert x.tolist() == [1, 2] and not x.requires_grad


def test_programs_take_the_branch_for_a_new_pytorch() -> None:
    assert tuple(int(v) for v in tg.__version__.split(".")[:2]) >= (1, 0)
    assert tg.__version__ >= "1.0" and tg.__version__.endswith(tg.version.package)
    assert tg.version.__version__ == tg.__version__
    assert (tg.version.cuda is None) is not tg.cuda.is_available()
    assert tg.version.hip is None and tg.version.debug is False


def test_data_parallel_passes_through() -> None:
    layer = tg.nn.LSTM(2, 3)
    model = tg.nn.DataParallel(layer)
    x = tg.ones(4, 1, 2)
    assert model(x)[0].equal(layer(x)[0]) and model.module is layer
    assert next(iter(model.state_dict())) == "module.weight_ih_l0"
    assert repr(model) == "DataParallel(\n  (module): LSTM(2, 3)\n)"
    with pytest.raises(RuntimeError, match="one device"):
        tg.nn.DataParallel(layer, device_ids=[0, 1])
